// SPDX-License-Identifier: Apache-2.0
//
// The cost of using a file as a lock.
//
//   open   the first use of a name, and opening one that is there, beside open(2),
//          flock(2), close(2); how many locks a process can have, and their memory
//   names  creating, listing and pruning many names in a directory
#pragma once

#include "round.hpp"

namespace bench {

findings open_ours(const options& o);
findings open_flock_close(const options& o);
findings names(const options& o);

}  // namespace bench
