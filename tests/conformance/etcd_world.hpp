// SPDX-License-Identifier: Apache-2.0
//
// The etcd engine for the conformance suite: processes, time and etcd are real. The differences
// from the file engine's world are:
//
//   short_lease, long_time  longer, since a grant and a renewal are messages to another process
//   ttl=3                   how long the suite waits for a dead holder's lock to open. The etcd of
//                           the tests grants leases as short as that (support/etcd_server.hpp).
//   is_held                 is true if it stays true for a moment. A message reports a broken
//                           grant, and the grant is watched only after 100 ms.
#pragma once

#include <chrono>
#include <string>
#include <thread>

#include "conformance/real_world.hpp"
#include "support/etcd_server.hpp"
#include "support/lock_process.hpp"

class process_with_etcd : public lock_process {
 public:
  using lock_process::lock_process;
  bool is_held() {
    for (int i = 0; i < 20; ++i) {
      if (!lock_process::is_held()) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    return true;
  }
};

class etcd_world : public real_world<process_with_etcd> {
 public:
  static constexpr std::chrono::nanoseconds short_lease = std::chrono::milliseconds(500);
  static constexpr std::chrono::nanoseconds long_time = std::chrono::milliseconds(700);

  static std::string missing() { return etcd_server::missing(); }

 private:
  /// Not in the constructor: there may be no etcd.
  const std::string& name() override {
    static int number = 0;
    if (name_.empty())
      name_ = etcd_server::shared().url("bed/" + std::to_string(++number) + "?ttl=3");
    return name_;
  }

  std::string name_;
};
