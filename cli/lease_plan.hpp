// SPDX-License-Identifier: Apache-2.0
//
// lease_plan: when a command must be asked to end, and when it must be killed, so
// that it never runs on while the lock is open.
//
//   granted                                 SIGTERM        SIGKILL   lease ends
//   |---------------------------------------|---- grace ---|- margin -|
//
//   margin   a twentieth of the lease, at most 100 ms: the time that killing takes
//   SIGTERM  a tenth of the lease, at most 5 s, before its end. If --kill-after was given, that
//            long before its end (but never after SIGKILL).
#pragma once

#include <chrono>
#include <optional>

namespace lockbyfile::cli {

/// Both count back from the end of the lease.
struct lease_plan {
  std::chrono::nanoseconds term_before_end;
  std::chrono::nanoseconds kill_before_end;
};

[[nodiscard]] lease_plan plan_for(std::chrono::nanoseconds lease,
                                  std::optional<std::chrono::nanoseconds> kill_after) noexcept;

}  // namespace lockbyfile::cli
