// SPDX-License-Identifier: Apache-2.0
//
// The engine of etcd as a part of this program, instead of a loaded module.
//
// The RPC library starts threads with its first user and ends them with its last user, which takes
// milliseconds. This program ends soon, and the kernel ends the threads faster. So the library is
// kept, and the program ends without tidying up. It only writes its pending output first.
#include <grpc/grpc.h>
#include <stdlib.h>
#include <unistd.h>

#include <cstdio>
#include <iostream>

#include "etcd/engine.hpp"
#include "etcd/no_signals.hpp"

namespace lockbyfile {

namespace {

bool keep_the_library() {
  const etcd::no_signals guard;
  ::grpc_init();
  ::on_exit(
      [](int code, void* /*unused*/) {
        std::cout.flush();
        std::fflush(nullptr);
        ::_exit(code);
      },
      nullptr);
  return true;
}

}  // namespace

const engine_table& etcd_engine(std::string_view /*name*/) {
  static const bool is_kept = keep_the_library();
  (void)is_kept;
  return etcd::engine();
}

}  // namespace lockbyfile
