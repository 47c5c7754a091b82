// SPDX-License-Identifier: Apache-2.0
//
// The exit codes of the command, one per cause. They avoid the small numbers that commands use
// themselves. They follow <sysexits.h> where it has a matching code.
#pragma once

#include <string>
#include <system_error>

namespace lockbyfile::cli {

inline constexpr int exit_ok = 0;
inline constexpr int exit_no = 1;                 // no such lock, or not under that token
inline constexpr int exit_usage = 64;             // EX_USAGE
inline constexpr int exit_wrong_file = 69;        // EX_UNAVAILABLE
inline constexpr int exit_other = 70;             // EX_SOFTWARE
inline constexpr int exit_cannot_create = 73;     // EX_CANTCREAT
inline constexpr int exit_patience_ran_out = 75;  // EX_TEMPFAIL
inline constexpr int exit_is_held = exit_patience_ran_out;
inline constexpr int exit_grant_lost = 76;       // EX_PROTOCOL
inline constexpr int exit_not_permitted = 77;    // EX_NOPERM
inline constexpr int exit_not_executable = 126;  // as shells do
inline constexpr int exit_not_found = 127;       // as shells do
inline constexpr int exit_killed = 128;          // plus the signal's number

/// The exit code for `error`, which is an error of the library or of the system.
[[nodiscard]] int exit_code_of(const std::error_code& error) noexcept;

/// The one for a command that could not be started, with `error` of exec(3).
[[nodiscard]] int exit_code_of_failed_start(int error) noexcept;

/// The text about them in --help: the codes of every verb, and the codes of `run`.
[[nodiscard]] std::string exit_codes_help();
[[nodiscard]] std::string run_exit_codes_help();

}  // namespace lockbyfile::cli
