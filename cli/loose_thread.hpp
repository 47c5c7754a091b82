// SPDX-License-Identifier: Apache-2.0
//
// Threads that nobody joins, for work that may hang and that nothing waits for. Examples are a
// write to a full pipe, a look at a lock whose server is silent, and a slow directory of users.
//
// A loose thread may still run when the process ends. Then the destructors of static objects must
// not run, because the thread may be using those objects.
#pragma once

#include <functional>

namespace lockbyfile::cli {

/// Runs `work` in a new thread that takes no signals. False if no thread can be started.
bool start_loose_thread(std::function<void()> work);

/// Whether all loose threads have ended. Waits at most 20 ms for them. For the end of the process.
[[nodiscard]] bool loose_threads_have_ended();

}  // namespace lockbyfile::cli
