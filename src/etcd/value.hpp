// SPDX-License-Identifier: Apache-2.0
//
// The values of our keys, as JSON: who has a place in the wait queue, and how the last grant ended.
// They are there to be shown, and to tell the next holder how it got the lock. Create revisions
// alone decide who holds the lock. Others may write anything: a value that cannot be read counts as
// nothing known, never as an error.
#pragma once

#include <cstdint>
#include <lockbyfile/grant.hpp>
#include <lockbyfile/observe.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace lockbyfile::etcd {

/// A place in the wait queue, or the holder's.
struct entry {
  bool is_ours = false;  // written by lockbyfile, not by etcdctl or anyone
  unsigned pid = 0;
  unsigned user = 0;
  std::string command;
  std::string host;
  std::int64_t since_ms = 0;  // wall clock: of joining, then of the grant
  std::int64_t lease_ns = 0;  // 0: none
  bool is_granted = false;
  bool is_expired = false;  // its lease ran out while nobody waited: anybody may take it away
  std::uint64_t token = 0;  // 0: the revision that wrote this
  grant_kind how = grant_kind::free;

  [[nodiscard]] party who() const;  // its host is empty if it is this one
};

/// The part that the record keeps beyond the next grant: every writer of the record copies it.
struct history {
  std::optional<break_info> last_break;
  std::optional<run_info> last_run;
};

enum class ending { released, expired, broken };

/// The end of the last grant that a process ended, as opposed to the end of an etcd lease.
struct record {
  entry holder;
  std::int64_t created = 0;  // create revision of the holder's key
  ending end = ending::released;
  bool is_told = false;  // this end was reported to a later holder
  history before = {};
};

std::string written(const entry& e);
std::string written(const record& r);
entry read_entry(std::string_view text);
std::optional<record> read_record(std::string_view text);

/// This process, with `description` as its command, or its short name if that is empty.
entry this_process(const std::string& description);

/// The name of this machine, for entries.
std::string this_host();

}  // namespace lockbyfile::etcd
