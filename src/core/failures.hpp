// SPDX-License-Identifier: Apache-2.0
//
// What a failed call reports: the sentence, the cause, the holder. Every function that users call
// and that can fail goes through told() or caught(). So last_failure() has the same as the
// lock_error.
#pragma once

#include <lockbyfile/error.hpp>
#include <string>
#include <system_error>

#include "core/engine.hpp"
#include "core/error_text.hpp"
#include "linux/uncancelled.hpp"

namespace lockbyfile {

/// The party as a sentence shows it: "make (pid 7)". Unprintable characters of a name become "?".
[[nodiscard]] std::string text_of(const party& who);

/// The failure of a call on `s`. `tried` is like "cannot renew". Asks the engine for the cause of a
/// loss, unless it is `known`, and for the holder; that may wait for a server. Does not throw. With
/// too little memory the result has only the code.
[[nodiscard]] failure failure_of(const session& s, std::error_code code, const char* tried,
                                 lost_cause known = lost_cause::none) noexcept;

/// How a wait ended without a grant.
struct refusal {
  std::error_code code = {};
  std::chrono::nanoseconds waited{0};
  std::size_t in_process = 0;  // threads that wait for their turn with this object
  bool is_to_be_told = true;   // false: nobody reads `seen`
  std::optional<session::surroundings> seen = {};
};

/// The failure of acquiring by `s`. Looks at the lock if nobody has looked yet: only for a caller
/// that reports what it saw.
[[nodiscard]] failure failure_of(const session& s, const refusal& how) noexcept;

/// remember() for an exception that is on its way to the user.
void remember(const std::system_error& e) noexcept;

/// Runs `call`, and remembers what it throws. pthread_cancel waits until it has returned.
template <class F>
auto told(F&& call) -> decltype(call()) {
  const uncancelled us;
  try {
    return call();
  } catch (const std::system_error& e) {
    remember(e);
    throw;
  }
}

/// An error_code overload calls the throwing one and catches.
template <class F>
auto caught(std::error_code& ec, F&& call) -> decltype(call()) {
  const uncancelled us;
  try {
    ec.clear();
    return call();
  } catch (const std::system_error& e) {
    remember(e);
    ec = e.code();
    return decltype(call())();
  }
}

}  // namespace lockbyfile
