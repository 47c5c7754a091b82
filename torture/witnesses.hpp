// SPDX-License-Identifier: Apache-2.0
//
// witnesses: one thread on each processor. It sleeps from millisecond to millisecond, and records
// how much later than asked it woke up. The same delay may hit any process of the storm, and is not
// the lock's fault.
#pragma once

#include <atomic>
#include <thread>
#include <vector>

#include "history.hpp"

namespace lockbyfile::torture {

class witnesses {
 public:
  explicit witnesses(history& log);
  ~witnesses() { over_ = true; }  // and their threads are joined

 private:
  void watch(history& log, int processor) const;

  std::atomic<bool> over_{false};
  std::vector<std::jthread> threads_;
};

}  // namespace lockbyfile::torture
