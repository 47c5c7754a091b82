// SPDX-License-Identifier: Apache-2.0
//
// lockbyfile VERB ...: the command.
#include "command_line.hpp"
#include "whole_program.hpp"

int main(int argc, char** argv) {
  return lockbyfile::cli::whole_program(argc, argv, lockbyfile::cli::read_command_line);
}
