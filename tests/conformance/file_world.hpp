// SPDX-License-Identifier: Apache-2.0
//
// The file engine, as the conformance suite wants it: processes and time are real.
#pragma once

#include <thread>

#include "core/engine.hpp"
#include "support/lock_process.hpp"
#include "support/lock_test.hpp"
#include "support/temporary_directory.hpp"

class file_world {
 public:
  static constexpr std::chrono::nanoseconds short_lease = std::chrono::milliseconds(100);
  static constexpr std::chrono::nanoseconds long_time = std::chrono::milliseconds(150);

  using process = lock_process;

  process join(const lockbyfile::lock_options& options = {}) { return process(name_, options); }
  std::unique_ptr<lockbyfile::session> open(const lockbyfile::lock_options& options = {}) {
    return lockbyfile::open_session(name_, options);
  }
  void pass(std::chrono::nanoseconds d) { std::this_thread::sleep_for(d); }

  void wait_for_line_of(std::size_t count) {
    if (!eventually([&] { return lockbyfile::observe(name_).waiters.size() == count; }))
      throw std::runtime_error("the line is of another length");
  }

  std::error_code break_lock(lockbyfile::fencing_token expected = {}) {
    std::error_code ec;
    lockbyfile::break_lock(name_, expected, {}, ec);
    return ec;
  }

 private:
  temporary_directory directory_;
  std::string name_ = directory_.path() + "/bed.lockfile";
};
