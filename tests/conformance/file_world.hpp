// SPDX-License-Identifier: Apache-2.0
//
// The file engine, as the conformance suite wants it: processes and time are real.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>

#include "conformance/real_world.hpp"
#include "support/lock_process.hpp"
#include "support/lock_test.hpp"
#include "support/temporary_directory.hpp"

class file_world : public real_world<lock_process> {
 public:
  static constexpr std::chrono::nanoseconds short_lease = std::chrono::milliseconds(100);
  static constexpr std::chrono::nanoseconds long_time = std::chrono::milliseconds(150);

  /// Also waits until they sleep: a waiter that has only just joined does not know its place yet.
  void wait_for_line_of(std::size_t count) {
    real_world::wait_for_line_of(count);
    wait_for_sleepers(name_, count);
  }

 private:
  const std::string& name() override { return name_; }

  temporary_directory directory_;
  std::string name_ = directory_.path() + "/bed.lockfile";
};
