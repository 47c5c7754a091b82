// SPDX-License-Identifier: Apache-2.0
//
// linearisable: whether the changes of a register can have happened one after the other, each at
// an instant between its begin and its end. A pure function.
//
// A change is "read x, then write y" as one step (registers.hpp), or only "read x". Every y is
// written once. So there is no need to search for an order. The change that wrote x comes right
// before the change that read x and replaced it. Either one chain from 0 has all changes in it, or
// there is no order. The faults are:
//   - a lost update: two changes read the same x, so one of them was overwritten unseen;
//   - a value from nowhere: x was never written, or only by a refused write;
//   - a change outside the chain: it is not reached from 0;
//   - against time: a change comes in the chain after one that began after its end.
// A change whose process was killed in it has happened if somebody read the value that it wrote.
#pragma once

#include <string>
#include <vector>

#include "history.hpp"
#include "timeline.hpp"

namespace lockbyfile::torture {

/// The faults, one sentence each.
std::vector<std::string> faults_of_register(const std::vector<const deed*>& changes,
                                            const timeline& time);

}  // namespace lockbyfile::torture
