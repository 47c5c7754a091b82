// SPDX-License-Identifier: Apache-2.0
//
// waiting_line: shows, while the command waits, for which holder it waits.
//
//   waiting for 'backup' (12 s), 2 ahead: held by rsync (pid 4711, anna) since
//   14:03:12, lease left 48 s
//
// On a terminal it is one live line, redrawn every second and erased at the end. The line is cut
// off where the terminal ends. While we are in the background it is not drawn, because it would
// disturb others. In a log it is one line, then one a minute. Both begin after a tenth of a second,
// so that a short wait prints nothing.
//
// It looks with observe(), which disturbs nobody. A thread that nobody joins does this. So neither
// a slow look nor a terminal that takes no output delays the end of the wait.
#pragma once

#include <chrono>
#include <lockbyfile/observe.hpp>
#include <memory>
#include <string>

namespace lockbyfile::cli {

class waiting_line {
 public:
  /// Begins to report on the lock `name`, whose file is `path`.
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

/// The text about a lock for which process `self` waits.
[[nodiscard]] std::string describe_waiting(const std::string& name, const lock_state& state,
                                           std::chrono::nanoseconds waited, unsigned self);

}  // namespace lockbyfile::cli
