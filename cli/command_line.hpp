// SPDX-License-Identifier: Apache-2.0
//
// Turns the arguments into an action. Nothing is done here: reading touches no lock, starts no
// command and writes nothing.
#pragma once

#include <string>
#include <vector>

#include "action.hpp"

namespace CLI {  // NOLINT(readability-identifier-naming): CLI11's
class App;
class ParseError;
}  // namespace CLI

namespace lockbyfile::cli {

/// One of these is set.
struct command_line {
  action act;             // a verb with all it needs
  std::string help;       // --help or --version: what to print
  std::string complaint;  // wrong usage: what to say about it,
  std::string hint;       // and where to read more
};

/// Reads the arguments, those after the program's own name.
[[nodiscard]] command_line read_command_line(std::vector<std::string> arguments);

/// Has `app` read the arguments. Throws CLI::ParseError.
void parse(CLI::App& app, std::vector<std::string> arguments);

/// The result of a parser that has thrown. Help and version are no errors. Everything else is the
/// user's error.
[[nodiscard]] command_line answer_to(const CLI::ParseError& error, const CLI::App& app,
                                     const std::string& where_to_read_more);

}  // namespace lockbyfile::cli
