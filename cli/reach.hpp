// SPDX-License-Identifier: Apache-2.0
//
// The processes of a holder that this process can reach.
#pragma once

#include <lockbyfile/observe.hpp>
#include <string>
#include <vector>

#include "open_lifelines.hpp"

namespace lockbyfile::cli {

struct reached {
  std::vector<lifeline_process> processes;
  int exit_code = 0;  // if there are none: the one that says why,
  std::string why;    // and the sentence that does
};

/// For a lock in a file: the processes that have the holder's lifeline open. For a lock on a
/// server: the process that the holder recorded, if it is on this machine and can be verified.
[[nodiscard]] reached reach(const lock_state& state);

/// Whether `process` acquired the lock itself, and does not merely share the lifeline.
[[nodiscard]] bool is_recorded_holder(const lifeline_process& process, const holder_info& holder);

/// Whether `process` is `lockbyfile run`, which ends its command by itself.
[[nodiscard]] bool is_run(const lifeline_process& process);

/// Whether the process still has the holder's lifeline open, or is still the verified holder.
/// Ask after opening a pidfd: a yes then proves that the pidfd is of this process.
[[nodiscard]] bool still_holds(const lifeline_process& process, const lock_state& state);

}  // namespace lockbyfile::cli
