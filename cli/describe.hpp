// SPDX-License-Identifier: Apache-2.0
//
// Describes locks, holders and waiters in words. Commands come from the lockfile and are made
// printable here. The results may go to a terminal unchanged.
#pragma once

#include <chrono>
#include <lockbyfile/grant.hpp>
#include <lockbyfile/observe.hpp>
#include <string>

namespace lockbyfile::cli {

/// "rsync (pid 4711, anna)", or with a host "rsync (pid 4711, anna, on web3)"
[[nodiscard]] std::string party_text(const party& who);

/// Local time: "2015-06-30 23:59:58".
[[nodiscard]] std::string time_text(std::chrono::system_clock::time_point time);

/// How long ago `time` was, by the wall clock: "3 min ago".
[[nodiscard]] std::string ago_text(std::chrono::system_clock::time_point time);

/// The state of a lock in one word: "free", "held", "expired" (the lease ran out) or "abandoned"
/// (the holder died). The words are stable. The lock is open in every state except "held".
[[nodiscard]] const char* state_word(const lock_state& state) noexcept;

/// "free", "expired" or "abandoned".
[[nodiscard]] const char* kind_word(grant_kind how) noexcept;

/// The name by which `path` is opened in its directory: without the directory and
/// ".lockfile". A path that is no NAME.lockfile stays unchanged.
[[nodiscard]] std::string name_of(const std::string& path);

}  // namespace lockbyfile::cli
