// SPDX-License-Identifier: Apache-2.0
//
// progress: how far a long job has come, on standard error.
//
// On a terminal it is a bar that redraws itself. Elsewhere (a pipe, a CI log) it is a line for
// every 10 %. A job that is done within half a second shows nothing.
// Not thread-safe.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>

namespace lockbyfile::cli {

class progress {
 public:
  progress(std::string label, std::size_t total);
  ~progress();  // clears the bar; a later message reports the result
  progress(const progress&) = delete;
  progress& operator=(const progress&) = delete;

  /// `done` of the total. Cheap when there is nothing new to show.
  void update(std::size_t done);

 private:
  void draw_bar(std::size_t done) const;
  [[nodiscard]] std::string time_left(std::size_t done) const;

  std::string label_;
  std::size_t total_;
  bool on_terminal_;
  std::chrono::steady_clock::time_point start_;
  std::size_t shown_ = 0;  // percent, or tenths of it off a terminal
};

}  // namespace lockbyfile::cli
