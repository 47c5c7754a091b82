// SPDX-License-Identifier: Apache-2.0
//
// The lives of the processes of a storm, until the round ends or they are killed.
#pragma once

#include <cstdint>
#include <functional>

#include "history.hpp"
#include "plan.hpp"

namespace lockbyfile::torture {

/// A process that uses locks, in one or two threads. It may end itself in any way, and
/// fork, and execute another program.
[[noreturn]] void work(history& log, const plan& p, std::uint64_t seed);

/// A process that breaks, removes and prunes locks where the weather allows it.
[[noreturn]] void operate(history& log, const plan& p, std::uint64_t seed);

/// A process that damages lockfiles where the weather allows it. It must not be killed: nobody
/// would tidy up after it.
[[noreturn]] void play_with_files(history& log, const plan& p, std::uint64_t seed);

/// A process that takes each lock once, when no other process is there. Each lock must be open.
[[noreturn]] void pass_through(history& log, const plan& p, std::uint64_t seed);

/// The program that a holder executes. It records in `log` that it has begun, which proves that its
/// predecessor is gone. Then it lives on for a while.
int live_on_after_exec(int log);

/// The common part of all these lives: they die with their parent, and survive SIGUSR1.
[[noreturn]] void live(history& log, const std::function<void()>& life);

inline constexpr const char* executed_option = "--executed";

}  // namespace lockbyfile::torture
