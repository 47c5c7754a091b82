// SPDX-License-Identifier: Apache-2.0
//
// Options that several verbs take, and types of values that CLI11 lacks. A value that cannot be
// parsed becomes a CLI::ValidationError with the option's name.
#pragma once

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

namespace lockbyfile::cli {

/// An option whose value is a duration (duration.hpp).
CLI::Option* add_duration(CLI::App& verb, const std::string& names,
                          std::optional<std::chrono::nanoseconds>& target,
                          const std::string& about);

/// An option whose value is a whole number from `least` to `most`.
CLI::Option* add_number(CLI::App& verb, const std::string& names, std::uint64_t least,
                        std::uint64_t most, std::function<void(std::uint64_t)> use,
                        const std::string& about);

/// NAME and --dir, which select the lock.
struct lock_address {
  std::string name;
  std::string directory;
  bool any_filesystem = false;
};
void add_lock_address(CLI::App& verb, lock_address& target);
void add_lock_name(CLI::App& verb, lock_address& target);
void add_lock_directory(CLI::App& verb, lock_address& target);

/// DIR or --dir DIR, which selects the directory of the locks. `target` holds its default.
void add_directory(CLI::App& verb, std::string& target);

/// A check for CLI11.
[[nodiscard]] std::string is_not_empty(const std::string& given);

/// The directory of names without a slash if no option selects another.
[[nodiscard]] std::string default_directory();

/// --mode, permission bits in octal.
CLI::Option* add_mode(CLI::App& verb, unsigned& target);

}  // namespace lockbyfile::cli
