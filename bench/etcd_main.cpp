// SPDX-License-Identifier: Apache-2.0
//
// lockbyfile_etcd_bench --list
// lockbyfile_etcd_bench SCENARIO CONTENDER KEY=VALUE...
//
// As lockbyfile_bench (main.cpp), for locks in etcd. The server is bench.py's:
// LOCKBYFILE_BENCH_ETCD is its HOST:PORT.
#include "etcd_plays.hpp"

int main(int argc, char** argv) {
  return bench::program_main(bench::etcd_plays(), {argv + 1, argv + argc});
}
