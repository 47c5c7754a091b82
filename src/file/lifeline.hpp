// SPDX-License-Identifier: Apache-2.0
//
// lifeline: how a process can tell whether a session is alive, without trusting a pid.
//
// Session i holds an open-file-description lock (fcntl F_OFD_SETLK) for as long as it is open. The
// lock is on byte lifelines + i of its lockfile, past the data. The kernel drops it when the last
// descriptor of that open file is closed: when the process dies, however it dies, and not before.
// Any process that has the file open may ask. There is no pid, so no pid reuse, no pid namespace,
// no host name.
//
// The older process-owned locks (F_SETLK) are dropped when the process closes some other descriptor
// of the same file. These locks are not, and two sessions in one process exclude each other. The
// price: fork shares them, by the descriptor and by any mapping of that open file (attachment.hpp).
//
//   | byte                     | held by
//   | -------------------------+-----------------------------------------------------------
//   | lifelines - 1            | maintenance: the process that creates, grows, resets or
//   |                          | removes the file, one at a time
//   | lifelines + i, i < 4000  | the session in slot i
//   | all lifelines at once    | the process that resets the file, to prove that there is no
//   |                          | session and to keep new ones out
//
// Nothing here blocks. Locks are tried, never waited for, so the kernel's deadlock detection
// (EDEADLK) has no part in it.
#pragma once

#include <sys/types.h>

#include <cstdint>

#include "file/layout.hpp"

namespace lockbyfile::file {

struct byte_range {
  off_t start;
  off_t length;
};

inline constexpr off_t lifelines = 1 << 30;
inline constexpr byte_range maintenance_byte{lifelines - 1, 1};
inline constexpr byte_range all_lifelines{lifelines, slot_limit};
inline constexpr byte_range lifeline_of(std::uint32_t slot) { return {lifelines + slot, 1}; }

enum class try_result { taken, busy, failed };  // failed: errno

/// Tries to lock the range for this open file.
try_result try_hold(int fd, byte_range range) noexcept;

/// Tries to keep others from holding the range, without counting as its holder: a lock for reading.
/// Several may reserve the range; none of them can hold it then.
try_result try_reserve(int fd, byte_range range) noexcept;

/// Gives the range up.
void let_go(int fd, byte_range range) noexcept;

/// Whether another open file holds any of the range. Locks for reading do not count: a process that
/// may only read the file cannot make the dead look alive. If the system does not answer, the
/// result is the safe one, yes: a holder that may be alive is not displaced.
bool is_held_elsewhere(int fd, byte_range range) noexcept;

}  // namespace lockbyfile::file
