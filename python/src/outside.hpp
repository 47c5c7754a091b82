// SPDX-License-Identifier: Apache-2.0
//
// Calls of the library that may wait: outside of the GIL, and outside of the thread where
// greenlets take turns on it (lockbyfile/_cooperative.py).
#pragma once

#include <exception>
#include <functional>
#include <memory>
#include <stop_token>
#include <thread>

#include "convert.hpp"

namespace lockbyfile::python {

/// A call, and how it went. Shared by the thread that waits for it and the one that makes it: what
/// is on the stack of a greenlet is elsewhere while another one runs.
struct job {
  std::function<void(job&)> call;  // touches nothing of Python
  std::chrono::nanoseconds patience = forever;
  std::stop_source stop;
  std::exception_ptr error;  // what it threw
  failure why;               // the last_failure() of the thread that made it

  job() = default;
  ~job();
  job(const job&) = delete;
  job& operator=(const job&) = delete;

  void run() noexcept;
  /// In a thread of its own, after which `done` is readable. Throws std::system_error.
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

/// Makes the call without the GIL. `queue`: the path for which greenlets of this thread stand in a
/// queue; null: none, and only a call that `is_slow` leaves the thread.
ran run(const std::shared_ptr<job>& work, const std::string* queue, bool is_slow);

/// The same for a call that may take long if the name, or its directory, is that of a server.
/// False: an exception is set.
bool run_outside(const std::string& name, std::function<void()> call,
                 const std::string& directory = {});

/// For when nobody can wait: in a thread that nobody joins, or else here.
void run_unattended(std::function<void()> call);

/// Whether greenlets are the threads of this program.
bool is_cooperative();
/// ... and others of them wait for their turn on this thread.
bool has_hub();
/// Of the running greenlet or thread; null with an error set.
object current_storage();
/// The same object for all that the running greenlet or thread does; null with an error set.
object current_unit();
/// Lets others run for a moment, with an exception set if that raised.
bool pause_for_others();

bool is_of_a_server(const std::string& name) noexcept;

/// How many forks this process descends from.
unsigned forks() noexcept;

bool add_work_type(PyObject* module);

}  // namespace lockbyfile::python
