// SPDX-License-Identifier: Apache-2.0
//
// waiting_line: tells people, while the command waits, whom it waits for.
//
//   waiting for 'backup' (12 s), 2 ahead: held by rsync (pid 4711, anna) since
//   14:03:12, lease left 48 s
//
// On a terminal it is one live line, drawn anew every second and erased at the end,
// cut off where the terminal ends; not while we are in the background, where it would
// disturb others. In a log it is one line, then one a minute. Both begin after a tenth of a second,
// so that a short wait says nothing.
//
// It looks with observe(), which disturbs nobody, from a thread that nobody joins: neither a look
// that takes long nor a terminal that takes nothing delays the end of the wait.
#pragma once

#include <chrono>
#include <lockbyfile/observe.hpp>
#include <memory>
#include <string>

namespace lockbyfile::cli {

class waiting_line {
 public:
  /// Begins to tell of the lock `name`, whose file is `path`.
  waiting_line(std::string name, std::string path);

  /// Erases the line. Never waits.
  ~waiting_line();
  waiting_line(const waiting_line&) = delete;
  waiting_line& operator=(const waiting_line&) = delete;

 private:
  struct shared;
  std::shared_ptr<shared> shared_;
};

/// "held by rsync (pid 4711, anna) since 14:03:12, lease left 48 s"
[[nodiscard]] std::string holder_text(const lock_state& state);

/// What there is to tell about a lock that process `self` waits for.
[[nodiscard]] std::string describe_waiting(const std::string& name, const lock_state& state,
                                           std::chrono::nanoseconds waited, unsigned self);

}  // namespace lockbyfile::cli
