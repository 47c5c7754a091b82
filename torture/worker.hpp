// SPDX-License-Identifier: Apache-2.0
//
// What the processes of a storm do, until the round ends or they are killed.
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

/// A process that damages lockfiles where the weather allows it. Not to be killed: who
/// would tidy up after it?
[[noreturn]] void play_with_files(history& log, const plan& p, std::uint64_t seed);

/// A process that takes each lock once, when nobody else is there: each is to be had.
[[noreturn]] void pass_through(history& log, const plan& p, std::uint64_t seed);

/// The program that a holder executes: it shows by `log` that it has begun, and so that its
/// predecessor is gone, and lives on for a while.
int live_on_after_exec(int log);

/// What all of them have in common: they die with their parent, and are not disturbed by
/// SIGUSR1.
[[noreturn]] void live(history& log, const std::function<void()>& life);

inline constexpr const char* executed_option = "--executed";

}  // namespace lockbyfile::torture
