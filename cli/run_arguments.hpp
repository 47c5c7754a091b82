// SPDX-License-Identifier: Apache-2.0
//
// Where the options of `run` end and the command begins.
//
//   lockbyfile run -w 3 NAME ls -l        everything after NAME is the command's,
//   lockbyfile run NAME -- -odd-name -w   with or without "--";
//   lockbyfile run NAME -c 'a | b'        -c alone may follow, as in flock(1)
//
// CLI11 would take every option that it knows, wherever the option stands. So the command is cut
// off before CLI11 sees the rest. CLI11 is asked which options take a value.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

namespace lockbyfile::cli {

/// Cuts everything after NAME from `arguments`, the arguments after "run", and returns it. Throws
/// CLI::ExtrasError at an option that `run` does not have.
[[nodiscard]] std::vector<std::string> cut_after_name(const CLI::App& run,
                                                      std::vector<std::string>& arguments);

}  // namespace lockbyfile::cli
