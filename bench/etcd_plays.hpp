// SPDX-License-Identifier: Apache-2.0
//
// What is played on a server of etcd.
//
//   etcd_alone    acquire and release while nobody else is there
//   etcd_handoff  from release in one process to the return of acquire in another
//   etcd_line     a long line: what it costs while it waits, and what each release costs then
//   etcd_command  a whole process that runs `true` under a lock
//
// Each also counts what etcd did, for each grant (etcd_metrics.hpp).
#pragma once

#include "program.hpp"

namespace bench {

plays etcd_plays();

}  // namespace bench
