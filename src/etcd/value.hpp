// SPDX-License-Identifier: Apache-2.0
//
// What we write into our keys, as JSON: who has a place in line, and how the last grant ended.
// It is there to be shown and to tell the next holder how it got the lock; who holds the lock is
// decided by create revisions alone. Others may write anything: what cannot be read counts
// as nothing known, never as an error.
#pragma once

#include <cstdint>
#include <lockbyfile/grant.hpp>
#include <lockbyfile/observe.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace lockbyfile::etcd {

/// A place in line, or the holder's.
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

/// What the record keeps beyond the grant after it: whoever writes the record hands it on.
struct history {
  std::optional<break_info> last_break;
  std::optional<run_info> last_run;
};

enum class ending { released, expired, broken };

/// How the last grant that was ended by somebody, not by a lease in etcd, ended.
struct record {
  entry holder;
  std::int64_t created = 0;  // create revision of the holder's key
  ending end = ending::released;
  bool is_told = false;  // a later holder has been told of this end
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
