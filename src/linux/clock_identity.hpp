// SPDX-License-Identifier: Apache-2.0
//
// Whose CLOCK_MONOTONIC is it? Two processes may compare instants only if they run on the same boot
// of the same kernel and in the same time namespace.
//
// Three sources, and how far each can be trusted:
//
//   boot id: from /proc. A container may have one of its own (LXC, systemd-nspawn), and a chroot or
//   a sandbox none. Equal ids prove the same boot. Different ids prove nothing as long as somebody
//   has the file open.
//
//   origin: CLOCK_REALTIME at the instant 0 of CLOCK_BOOTTIME, which is when the machine was
//   booted, by its clock. It changes when the wall clock is set, not when the clock is slewed. It
//   is used where an id or the namespace is not known.
//
//   time namespace: its inode in /proc. Instants of different ones are never compared.
//
// "Another boot" is believed only while no lifeline of the file is held. A lifeline is a lock of
// this kernel, so a process that holds one runs on it (file/lockfile.hpp). So a wrong belief finds
// no live holder, and P3 holds. Its price is small. If it is believed wrongly, the grant of a dead
// holder reads as "free" instead of "abandoned". If it is true and not believed, the grant reads as
// "abandoned". That happens on a board without a battery, which boots at the same second of 1970
// each time. The word's counter grows either way, so P1 and P2 do not depend on it.
#pragma once

#include <cstdint>

namespace lockbyfile {

struct clock_identity {
  std::uint64_t boot_id[2] = {0, 0};
  std::uint64_t time_namespace = 0;  // its inode; 0 where there is none, or none can be seen
  std::uint64_t origin = 0;          // ns since 1970; 0: not known

  [[nodiscard]] bool has_boot_id() const noexcept { return (boot_id[0] | boot_id[1]) != 0; }
};

/// The identity of this process, without its origin; read from /proc once per process. Where /proc
/// does not exist or is hidden, the values from there stay 0. Throws lock_error if /proc contains
/// nonsense, or if reading fails for a reason that may pass.
clock_identity this_clock();

/// The same with its origin, which asks the kernel each time.
clock_identity this_clock_and_origin();

/// Whether both are of the same boot, by ids or else by origins.
bool same_boot(const clock_identity& a, const clock_identity& b) noexcept;

/// Whether both have the same boot id, and are not just of the same origin.
bool same_boot_id(const clock_identity& a, const clock_identity& b) noexcept;

/// Whether both are in the same time namespace, given that they run on the same kernel. If one of
/// them does not know its namespace, only the same origin proves it. If neither knows one but both
/// know their boot id, the kernel has no time namespaces.
bool same_time_namespace(const clock_identity& a, const clock_identity& b) noexcept;

/// Whether both give the same wall clock time at boot.
bool same_origin(const clock_identity& a, const clock_identity& b) noexcept;

/// Whether CLOCK_MONOTONIC is the kernel's, by which the kernel also times our sleep. libfaketime
/// fakes it, and instants of a process under libfaketime mean nothing to others. Asks the kernel.
bool clock_is_the_kernels() noexcept;

/// Makes the next this_clock() read again. For tests.
void forget_this_clock() noexcept;

}  // namespace lockbyfile
