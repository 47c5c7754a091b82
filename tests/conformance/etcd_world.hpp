// SPDX-License-Identifier: Apache-2.0
//
// The etcd engine, as the conformance suite wants it: processes, time and etcd are real. What
// differs from the file engine's world, and why:
//
//   short_lease, long_time  longer, since a grant and a renewal are messages to another process
//   ttl=3                   how long the suite waits for a dead holder's lock to open; the etcd of
//                           the tests grants such short ones (support/etcd_server.hpp)
//   is_held                 is true if it stays so for a moment: that a grant was broken comes as a
//                           message, too, and the grant is watched only after 100 ms
#pragma once

#include <cstdlib>
#include <memory>
#include <string>
#include <thread>

#include "core/engine.hpp"
#include "support/etcd_server.hpp"
#include "support/lock_process.hpp"
#include "support/lock_test.hpp"

class etcd_world {
 public:
  static constexpr std::chrono::nanoseconds short_lease = std::chrono::milliseconds(500);
  static constexpr std::chrono::nanoseconds long_time = std::chrono::milliseconds(700);

  static std::string missing() { return etcd_server::missing(); }

  class process : public lock_process {
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

  process join(const lockbyfile::lock_options& options = {}) { return process(name(), options); }
  std::unique_ptr<lockbyfile::session> open(const lockbyfile::lock_options& options = {}) {
    return lockbyfile::open_session(name(), options);
  }
  void pass(std::chrono::nanoseconds d) { std::this_thread::sleep_for(d); }

  void wait_for_line_of(std::size_t count) {
    if (!eventually([&] { return lockbyfile::observe(name()).waiters.size() == count; }))
      throw std::runtime_error("the line is of another length");
  }

  std::error_code break_lock(lockbyfile::fencing_token expected = {}) {
    std::error_code ec;
    lockbyfile::break_lock(name(), expected, {}, ec);
    return ec;
  }

 private:
  /// Not in the constructor: there may be no etcd.
  const std::string& name() {
    static int number = 0;
    if (name_.empty())
      name_ = etcd_server::shared().url("bed/" + std::to_string(++number) + "?ttl=3");
    return name_;
  }

  std::string name_;
};
