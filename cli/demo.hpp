// SPDX-License-Identifier: Apache-2.0
//
// lockbyfile demo: shows the lock at work, with real processes.
//
// It is a program of its own, lockbyfile-demo, because it needs SQLite. In one program, every `run`
// would load SQLite before it starts a command.
#pragma once

#include <string>
#include <vector>

namespace lockbyfile::cli {

inline constexpr const char* about_demo = "Show the lock at work, with real processes";

/// Becomes lockbyfile-demo, which lies beside this program or in ../libexec/lockbyfile.
/// Throws std::runtime_error if it is not there, std::system_error if it cannot be executed.
[[noreturn]] void become_demo(std::vector<std::string> arguments);

}  // namespace lockbyfile::cli
