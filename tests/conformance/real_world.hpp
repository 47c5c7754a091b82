// SPDX-License-Identifier: Apache-2.0
//
// What the worlds of the conformance suite share whose processes and time are real: all they need
// is a lock's name.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <system_error>
#include <thread>

#include "core/engine.hpp"
#include "support/lock_test.hpp"

template <class Process>
class real_world {
 public:
  using process = Process;

  real_world() = default;
  virtual ~real_world() = default;
  real_world(const real_world&) = delete;
  real_world& operator=(const real_world&) = delete;

  process join(const lockbyfile::lock_options& options = {}) { return process(name(), options); }
  std::unique_ptr<lockbyfile::session> open(const lockbyfile::lock_options& options = {}) {
    return lockbyfile::open_session(name(), options);
  }
  void pass(std::chrono::nanoseconds d) { std::this_thread::sleep_for(d); }
  void wait_for_line_of(std::size_t count) { ::wait_for_line_of(name(), count); }

  std::error_code break_lock(lockbyfile::fencing_token expected = {}) {
    std::error_code ec;
    lockbyfile::break_lock(name(), expected, {}, ec);
    return ec;
  }

 private:
  virtual const std::string& name() = 0;
};
