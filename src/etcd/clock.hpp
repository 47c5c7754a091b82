// SPDX-License-Identifier: Apache-2.0
//
// The clock of this engine: CLOCK_BOOTTIME, which goes on while the machine sleeps. etcd's leases
// go on, too: a holder that awakes has to find that its lease has ended. (CLOCK_MONOTONIC would let
// it believe in the lease for another TTL. The file engine is right to use CLOCK_MONOTONIC: there,
// all waiters sleep with the holder.)
//
// Every instant in src/etcd is one of this clock, with two exceptions: the deadline of
// session::acquire, and the deadlines of the RPC library. Those two are converted where they come
// in or go out.
#pragma once

#include "core/instant.hpp"

namespace lockbyfile::etcd {

inline instant now() noexcept { return read_clock(CLOCK_BOOTTIME); }

inline constexpr instant seconds(std::uint64_t n) { return n * 1'000'000'000; }

/// How long one call of etcd may take when nothing else limits it.
inline constexpr instant longest_call = seconds(3);

/// An instant of CLOCK_MONOTONIC by our clock, at their present difference; 0 and never stay as
/// they are.
inline instant from_monotonic(instant t) noexcept {
  return t == 0 ? 0 : after(now(), between(lockbyfile::now(), t));
}

/// An instant of ours by CLOCK_MONOTONIC.
inline instant to_monotonic(instant t) noexcept {
  return after(lockbyfile::now(), between(now(), t));
}

}  // namespace lockbyfile::etcd
