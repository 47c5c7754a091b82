// SPDX-License-Identifier: Apache-2.0
//
// user: one thread's use of one name, with everything recorded.
#pragma once

#include <lockbyfile/lockbyfile.hpp>
#include <memory>
#include <optional>

#include "dice.hpp"
#include "history.hpp"
#include "plan.hpp"
#include "run_delay.hpp"

namespace lockbyfile::torture {

class user {
 public:
  user(history& log, const plan& p, std::uint8_t name, std::uint64_t seed);
  /// Releases what is held, and records that.
  ~user();
  user(const user&) = delete;
  user& operator=(const user&) = delete;

  /// Acquires or gives up. Uses a grant and releases it.
  void use_once();

  /// The parts of use_once(). False if the lock could not be acquired.
  bool acquire();
  void hold();
  void let_go();

  /// In a forked child, with the lock that it inherited: checks that it holds nothing,
  /// and goes on as a session of its own.
  void wake_up_as_a_child();

  /// Changes the register that the lock protects, with a pause between reading and writing.
  void change();

  /// Acquires the lock, reads its register and releases it, when no other user is there. False if
  /// that fails.
  bool pass_through();

  /// Records that this process ends itself.
  void note_end();

 private:
  [[nodiscard]] deed about(deed_kind kind) const;
  void wrong(wrong_kind what);
  void note_fenced_off();
  [[nodiscard]] std::chrono::nanoseconds mostly_short(std::chrono::nanoseconds longest);
  bool open();
  void close();
  bool acquire(std::chrono::nanoseconds patience, bool is_to_be_stopped);
  void choose_lease();
  void ask();
  void renew();
  void keep_alive_for(std::chrono::nanoseconds duration);
  void describe_lease(outcome& r) const;

  history& log_;
  const plan& plan_;
  std::uint8_t name_;
  dice dice_;
  std::unique_ptr<run_delay> delay_;
  std::optional<named_lock> lock_;
  std::uint32_t process_;
  std::uint32_t session_ = 0;
  instant looked_ = 0;  // like `deed::looked`
};

}  // namespace lockbyfile::torture
