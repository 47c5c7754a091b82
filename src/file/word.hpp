// SPDX-License-Identifier: Apache-2.0
//
// The state of a lock is one 64-bit word, and this is its transition function.
//
//   63                                   12 11           0
//   +--------------------------------------+-------------+
//   | counter                              | holder      |
//   +--------------------------------------+-------------+
//
//   | holder     | meaning
//   | -----------+--------------------------------------------------------------------
//   | 0          | free
//   | 1..4000    | held by the session in slot holder - 1
//   | 4001..4093 | reserved (later: readers, N holders, held without a process)
//   | 4094       | free, and the last grant was broken
//   | 4095       | tombstone: the file is being removed, go to the path again
//
//   | from         | to        | by       | counter
//   | -------------+-----------+----------+------------------------------------------
//   | free         | held(s)   | grant    | + 1, and that is the grant's token
//   | held(s)      | held(s)   | renew    | + 1
//   | held(s)      | free      | release  | + 1
//   | held(s)      | broken    | break    | + 1
//   | broken       | held(s)   | grant    | + 1, and that is the grant's token
//   | free         | broken    | deletion | + 1 or more (session.hpp, S8)
//   | held(r)      | held(s)   | takeover | + 1, and that is the grant's token
//   | free, broken | tombstone | remove   | + 1
//   | or abandoned |           |          |
//   | tombstone    | free      | revive   | + 1
//
// (W1) Every transition is ONE compare-exchange on the whole word.
// (W2) Every transition adds one to the counter (a grant seldom adds more: session.hpp, S5). So the
//      word never returns to an old value. A compare-exchange by a process that slept through a
//      change fails. Of any number of processes that saw the same expired or abandoned grant,
//      exactly one takes it over.
// (W3) The counter is never 0 in an initialised file. A truncated file reads as a word of 0, which
//      is no state at all.
// (W4) The word itself says that a lock was broken. So the break and the mark that the next grant
//      reports are one compare-exchange. A counter beside the word, "the break wrote this one",
//      fails in three ways. Written after the word, it is late for a waiter that watches the word.
//      It is missing if the breaker dies. Written before the word, it is false if the break fails
//      and a renewal and a release reach that counter. The fast path takes only a free word that is
//      not broken, by the comparison that it needs anyway.
#pragma once

#include <cstdint>

namespace lockbyfile::file {

inline constexpr std::uint32_t slot_limit = 4000;

class word {
 public:
  constexpr word() noexcept = default;
  explicit constexpr word(std::uint64_t bits) noexcept : bits_(bits) {}

  /// A free lock whose next grant has a token above `counter`.
  static constexpr word free_at(std::uint64_t counter) noexcept { return make(counter, 0); }

  [[nodiscard]] constexpr std::uint64_t bits() const noexcept { return bits_; }
  [[nodiscard]] constexpr std::uint64_t counter() const noexcept { return bits_ >> holder_bits; }

  /// A free lock whose last grant was broken.
  static constexpr word broken_at(std::uint64_t counter) noexcept {
    return make(counter, broken_mark);
  }

  /// Broken or not.
  [[nodiscard]] constexpr bool is_free() const noexcept { return holder() == 0 || was_broken(); }
  [[nodiscard]] constexpr bool was_broken() const noexcept { return holder() == broken_mark; }
  [[nodiscard]] constexpr bool is_tombstone() const noexcept { return holder() == tomb; }
  [[nodiscard]] constexpr bool is_held() const noexcept {
    return holder() >= 1 && holder() <= slot_limit;
  }
  [[nodiscard]] constexpr bool is_held_by(std::uint32_t slot) const noexcept {
    return holder() == slot + 1;
  }
  /// The holder's slot. Only if is_held().
  [[nodiscard]] constexpr std::uint32_t slot() const noexcept {
    return static_cast<std::uint32_t>(holder() - 1);
  }

  /// Whether this is a state at all (W3), with room for more transitions.
  [[nodiscard]] constexpr bool is_sane() const noexcept {
    return counter() != 0 && counter() < counter_end && (is_free() || is_held() || is_tombstone());
  }

  [[nodiscard]] constexpr word granted_to(std::uint32_t slot) const noexcept {
    return make(counter() + 1, slot + 1);
  }
  [[nodiscard]] constexpr word renewed() const noexcept { return make(counter() + 1, holder()); }
  [[nodiscard]] constexpr word freed() const noexcept { return make(counter() + 1, 0); }
  [[nodiscard]] constexpr word broken() const noexcept { return make(counter() + 1, broken_mark); }
  [[nodiscard]] constexpr word entombed() const noexcept { return make(counter() + 1, tomb); }

  friend constexpr bool operator==(word, word) noexcept = default;

  /// Counters stay below; the rest of the 52 bits is for marks (tokens.hpp).
  static constexpr std::uint64_t counter_end = (std::uint64_t{1} << 52) - (std::uint64_t{1} << 32);

 private:
  static constexpr unsigned holder_bits = 12;
  static constexpr std::uint64_t broken_mark = 4094;
  static constexpr std::uint64_t tomb = 4095;

  [[nodiscard]] constexpr std::uint64_t holder() const noexcept {
    return bits_ & ((1U << holder_bits) - 1);
  }
  static constexpr word make(std::uint64_t counter, std::uint64_t holder) noexcept {
    return word((counter << holder_bits) | holder);
  }

  std::uint64_t bits_ = 0;
};

}  // namespace lockbyfile::file
