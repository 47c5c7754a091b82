// SPDX-License-Identifier: Apache-2.0
//
// A grant: one successful acquisition, and what is known of it.
#pragma once

#include <chrono>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

namespace lockbyfile {
inline namespace v0 {

/// A number larger than that of every earlier grant of the same name. It is below 2^52 and so exact
/// in JSON and in a double. Zero means none. Send the token with each write, and let the resource
/// refuse tokens smaller than the largest it saw.
class fencing_token {
 public:
  constexpr fencing_token() noexcept = default;
  explicit constexpr fencing_token(std::uint64_t value) noexcept : value_(value) {}

  [[nodiscard]] constexpr std::uint64_t value() const noexcept { return value_; }
  [[nodiscard]] explicit constexpr operator bool() const noexcept { return value_ != 0; }
  friend constexpr auto operator<=>(fencing_token, fencing_token) noexcept = default;

 private:
  std::uint64_t value_ = 0;
};

/// How a grant came.
enum class grant_kind : std::uint8_t {
  free,       // nobody held the lock
  expired,    // taken over: the last holder's lease had run out
  abandoned,  // taken over: the last holder had died
  broken,     // the last grant was ended by break_lock, or by a deleted lockfile
};

/// A process as it described itself in the lockfile. Only for display: no decision rests on it. The
/// pid is that of the process's own pid namespace.
struct party {
  unsigned pid = 0;
  unsigned user = 0;  // uid
  std::string command;
  std::string host = {};  // empty: this machine, as for every lock in a file
  friend bool operator==(const party&, const party&) = default;
};

struct grant {
  fencing_token token;
  grant_kind how = grant_kind::free;

  /// Who held the lock before, if it was taken over.
  std::optional<party> previous;

  /// From the call of acquire to the grant.
  std::chrono::nanoseconds waited{0};

  /// How many waited when this waiter joined the wait queue; 0 if it went straight in.
  std::size_t place = 0;
};

}  // namespace v0
}  // namespace lockbyfile
