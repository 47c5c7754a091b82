// SPDX-License-Identifier: Apache-2.0
//
// The counters of etcd (its /metrics) that show the cost of a lock.
#pragma once

#include <map>
#include <string>

#include "round.hpp"

namespace bench {

/// The server that bench.py has started: LOCKBYFILE_BENCH_ETCD, HOST:PORT.
std::string etcd_endpoint();

/// The present counters:
///   requests  calls of KV and Lease that are answered once
///   watches   watches that were requested
///   writes    entries of etcd's log, each on the disk of most members before it counts
///   puts, deletes, ranges    the operations in the requests
///   events    the events that watches received
using counters = std::map<std::string, double>;
counters etcd_counters();

/// What was counted since, for each of `times`.
void add_counts(findings& to, const counters& since, double times);

}  // namespace bench
