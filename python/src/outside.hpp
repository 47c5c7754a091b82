// SPDX-License-Identifier: Apache-2.0
//
// Calls of the library that may wait. They run outside the GIL. Where greenlets take turns on a
// thread, they run outside that thread, too (lockbyfile/_cooperative.py).
#pragma once

#include <exception>
#include <functional>
#include <memory>
#include <stop_token>
#include <thread>

#include "convert.hpp"

namespace lockbyfile::python {

/// A call, and its result. The thread that waits for the call shares it with the thread that makes
/// the call: data on the stack of a greenlet is elsewhere while another greenlet runs.
struct job {
  std::function<void(job&)> call;  // touches nothing of Python
  std::chrono::nanoseconds patience = forever;
  std::stop_source stop;
  std::exception_ptr error;  // that the call threw
  failure why;               // the last_failure() of the thread that made it

  job() = default;
  ~job();
  job(const job&) = delete;
  job& operator=(const job&) = delete;

  void run() noexcept;
  /// Runs the call in a thread of its own; afterwards `done` is readable. Throws std::system_error.
  void start();
  void join() noexcept;

  int done = -1;
  std::thread thread;
};

enum class ran {
  yes,
  too_late,  // its turn did not come within its patience
  raised,    // a Python exception is set; the call has been made, perhaps cancelled, or never began
};

/// Makes the call without the GIL. `queue` is the path for which greenlets of this thread queue.
/// With null there is no queue, and only a call that `is_slow` leaves the thread.
ran run(const std::shared_ptr<job>& work, const std::string* queue, bool is_slow);

/// The same for a call that may take long if the name, or its directory, is on a server. False: an
/// exception is set.
bool run_outside(const std::string& name, std::function<void()> call,
                 const std::string& directory = {});

/// For callers that cannot wait: runs the call in a thread that nobody joins, or else here.
void run_unattended(std::function<void()> call);

/// Whether greenlets are the threads of this program.
bool is_cooperative();
/// Whether greenlets are threads here and others of them wait for their turn on this thread.
bool has_hub();
/// The dictionary of the running greenlet or thread; null with an error set.
object current_storage();
/// The same object everywhere in the running greenlet or thread; null with an error set.
object current_unit();
/// Lets others run for a moment. If that raises, the exception is set.
bool pause_for_others();

bool is_of_a_server(const std::string& name) noexcept;

/// How many forks this process descends from.
unsigned forks() noexcept;

bool add_work_type(PyObject* module);

}  // namespace lockbyfile::python
