// SPDX-License-Identifier: Apache-2.0
//
// What etcd counts about itself (its /metrics), as far as it tells what a lock costs.
#pragma once

#include <map>
#include <string>

#include "round.hpp"

namespace bench {

/// The server that bench.py has started: LOCKBYFILE_BENCH_ETCD, HOST:PORT.
std::string etcd_endpoint();

/// How far the counters have come:
///   requests  calls of KV and Lease that are answered once
///   watches   watches that were asked for
///   writes    entries of etcd's log, each on the disk of most members before it counts
///   puts, deletes, ranges    what was done in them
///   events    what watches were told
using counters = std::map<std::string, double>;
counters etcd_counters();

/// What was counted since, for each of `times`.
void add_counts(findings& to, const counters& since, double times);

}  // namespace bench
