// SPDX-License-Identifier: Apache-2.0
//
// lockbyfile-demo PLAY ...: what `lockbyfile demo PLAY ...` executes (demo.hpp).
#include "demo_command_line.hpp"
#include "whole_program.hpp"

int main(int argc, char** argv) {
  return lockbyfile::cli::whole_program(argc, argv, lockbyfile::cli::read_demo_command_line);
}
