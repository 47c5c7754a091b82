// SPDX-License-Identifier: Apache-2.0
//
// The scenarios that are played on a server of etcd.
//
//   etcd_alone    acquire and release while no other process is there
//   etcd_handoff  from release in one process to the return of acquire in another
//   etcd_line     a long wait queue: its cost while it waits, and the cost of each release then
//   etcd_command  a whole process that runs `true` under a lock
//
// Each also counts the work of etcd for each grant (etcd_metrics.hpp).
#pragma once

#include "program.hpp"

namespace bench {

plays etcd_plays();

}  // namespace bench
