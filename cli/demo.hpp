// SPDX-License-Identifier: Apache-2.0
//
// lockbyfile demo: shows the lock at work, with real processes.
//
// It is a program of its own, lockbyfile-demo, because it needs SQLite, and what it needs
// would have to be loaded whenever `run` is to start a command.
#pragma once

#include <string>
#include <vector>

namespace lockbyfile::cli {

inline constexpr const char* about_demo = "Show the lock at work, with real processes";

/// Becomes lockbyfile-demo, which stands beside this program or in ../libexec/lockbyfile.
/// Throws std::system_error if that cannot be, std::runtime_error if it is not there.
[[noreturn]] void become_demo(std::vector<std::string> arguments);

}  // namespace lockbyfile::cli
