// SPDX-License-Identifier: Apache-2.0
//
// The file, format 1, as it is mapped. docs/file-format.md shows it with a dump.
//
//   offset  what
//   0       header: 1,024 bytes
//   1024    slots: 128 bytes each, up to 4,000
//
// All numbers are in the machine's byte order: a lockfile never leaves its kernel. Every field is
// an atomic, because any process may look at any time. Values that another process wrote are input:
// they are bounds-checked before use.
//
// Who writes what
//   | field                       | writer
//   | ----------------------------+-------------------------------------------------------
//   | signature .. clock_origin   | the initialiser of the file, alone (lockfile.cpp);
//   |                             | the origin also a session that finds the wall clock set
//   | word                        | everyone, by the transitions in word.hpp
//   | last_to_join .. granted_on, | see line.hpp
//   | tickets .. barge_until,     |
//   | moves, laziest, front       |
//   | capacity                    | grows, or is reset, under the maintenance lock
//   | slot_hint                   | anyone; only speeds up the search for a free slot
//   | first_counter               | the process that initialises, resets or revives the
//   |                             | file, alone
//   | deletion_told               | a session that leaves a deleted file
//   | broken_..., run_...         | see records.hpp; only shown, and read to find out why a
//   |                             | grant was lost
//   | a slot                      | the session that holds its lifeline, except:
//   |   `wake`                    | anyone adds to it
//   |   `ticket`                  | a finder may clear a dead one or mark a skipped one
//   |   `next_look`               | a waiter behind may call
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "file/word.hpp"

namespace lockbyfile::file {

template <class T>
using shared = std::atomic<T>;
static_assert(shared<std::uint64_t>::is_always_lock_free);
static_assert(shared<std::uint32_t>::is_always_lock_free);

inline constexpr char signature[64] = "lockbyfile lockfile, format 1. See lockbyfile --help\n";
inline constexpr std::size_t signature_kind = 20;  // "lockbyfile lockfile,", any format
inline constexpr std::uint32_t format_version = 1;

struct slot {
  // Fields that others act on.
  shared<std::uint64_t> lease_deadline;  // instant; written before the word names this slot
  shared<std::uint64_t> token;           // of the grant, likewise
  shared<std::uint64_t> since;           // instant of the grant
  shared<std::uint64_t> lease;           // ns, as asked for
  shared<std::uint64_t> ticket;          // place in the wait queue, 0: not waiting (line.hpp)
  shared<std::uint64_t> waiting_since;   // instant
  shared<std::uint64_t> next_look;       // instant: at which it wakes by itself, or began to look;
                                         // + 2^63: at which it was called (line.hpp, L5)
  shared<std::uint32_t> wake;            // futex
  shared<std::uint32_t> session;         // any number: whose slot this is, among its owners
  // Fields that are only shown.
  shared<std::uint32_t> pid;
  shared<std::uint32_t> user;
  shared<std::uint64_t> last_grant;  // token, and above it how it came (grant_mark)
  shared<std::uint64_t> command[6];
};
static_assert(sizeof(slot) == 128);

/// The value of `last_grant`. It is written after the word has made the grant true, so that a mere
/// try is not shown as a grant.
constexpr std::uint64_t grant_mark(std::uint64_t token, std::uint64_t how) noexcept {
  return token | how << 56;
}
constexpr std::uint64_t token_in(std::uint64_t mark) noexcept {
  return mark & ((std::uint64_t{1} << 56) - 1);
}
constexpr std::uint64_t how_in(std::uint64_t mark) noexcept { return mark >> 56; }

struct header {
  char signature[64];

  shared<std::uint32_t> format;
  shared<std::uint32_t> flags;  // 0; a reader that finds an unknown bit leaves the file alone
  shared<std::uint64_t> boot_id[2];
  shared<std::uint64_t> time_namespace;
  shared<std::uint64_t> clock_origin;  // ns since 1970 at instant 0 (linux/clock_identity.hpp)
  shared<std::uint64_t> reserved_static[2];
  shared<std::uint64_t> home;  // hash of this file's inode, directory and name; 0: not known

  shared<std::uint64_t> word;          // file/word.hpp
  shared<std::uint64_t> last_to_join;  // a ticket; not 0: somebody may wait
  shared<std::uint64_t> wanted;        // not 0: a waiter may sleep, and a release has to wake
  shared<std::uint64_t> standing_by;   // ticket of the waiter that watches the word (line.hpp, L7)
  shared<std::uint32_t> usual_hold;  // ns, of the last grants that ended beside a queue (note_hold)
  shared<std::uint32_t> granted_on;  // processor + 1 of the last grant after waiting
  shared<std::uint64_t> reserved_word[3];

  shared<std::uint64_t> tickets;         // handed out so far
  shared<std::uint64_t> opened_counter;  // the word's counter when the lock opened, and
  shared<std::uint64_t> opened_at;       // the instant: a pair, valid if that counter is current
  shared<std::uint64_t> barge_until;     // instant; a newcomer may go first until then
  shared<std::uint32_t> capacity;        // slots that the file has room for
  shared<std::uint32_t> slot_hint;
  shared<std::uint64_t> moves;   // of the wait queue: how often a waiter has left it or was skipped
  shared<std::int64_t> laziest;  // among the waiters (line.hpp, L4)
  shared<std::uint64_t> front;   // the first waiter and the next one (line.hpp, L6)

  shared<std::uint64_t> first_counter;  // the word's when the file began; 0: not known

  // The last break (records.hpp).
  shared<std::uint64_t> broken_token;  // of the grant that it ended
  shared<std::uint64_t> broken_at;     // us of the wall clock since 1970
  shared<std::uint32_t> broken_by_pid;
  shared<std::uint32_t> broken_by_user;
  shared<std::uint64_t> broken_by_command[6];
  shared<std::uint64_t> broken_check;

  // How the work under a grant ended: the last grant whose holder reported it (records.hpp).
  shared<std::uint64_t> run_token;     // of that grant
  shared<std::uint64_t> run_ended;     // us of the wall clock since 1970
  shared<std::uint64_t> run_duration;  // ns
  shared<std::uint64_t> run_exit_code;
  shared<std::uint64_t> run_check;

  shared<std::uint64_t> deletion_told;  // not 0: a session has reported it (session.hpp, S8)

  shared<std::uint64_t> reserved[79];
};
static_assert(sizeof(header) == 1024);
static_assert(offsetof(header, format) == 64);
static_assert(offsetof(header, word) == 128);
static_assert(offsetof(header, tickets) == 192);
static_assert(offsetof(header, first_counter) == 256);

struct image {
  file::header header;
  file::slot slots[slot_limit];
};
static_assert(sizeof(image) == 1024 + 128 * slot_limit);

inline constexpr std::size_t first_size = 4096;
inline constexpr std::uint32_t first_capacity = (first_size - sizeof(header)) / sizeof(slot);
static_assert(first_capacity == 24);

inline constexpr std::size_t size_for(std::uint32_t capacity) {
  return sizeof(header) + capacity * sizeof(slot);
}

/// The mapping covers the whole range at once; pages past the file's end are not touched.
inline constexpr std::size_t map_size = (sizeof(image) + 65535) / 65536 * 65536;

}  // namespace lockbyfile::file
