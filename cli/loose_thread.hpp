// SPDX-License-Identifier: Apache-2.0
//
// Threads that nobody joins, for work that may hang and that nothing waits for: a write to a
// pipe that is full, a look at a lock whose server is silent, a slow directory of users.
//
// Such a thread may still run when the process ends. Then the destructors of static objects,
// which that thread may be using, must not run.
#pragma once

#include <functional>

namespace lockbyfile::cli {

/// Runs `work` in a thread of its own that takes no signals. False if there can be no thread.
bool start_loose_thread(std::function<void()> work);

/// Before the process ends: whether they have all ended. Waits 20 ms for it at the most.
[[nodiscard]] bool loose_threads_have_ended();

}  // namespace lockbyfile::cli
