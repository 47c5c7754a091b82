// SPDX-License-Identifier: Apache-2.0
//
// linearisable: whether the changes of a register can have happened one after the other, each in
// an instant between its begin and its end. A pure function.
//
// A change is "read x, then write y" as one step (registers.hpp), or only "read x"; every y is
// written once. So the order is no matter of search: who wrote x comes right before who
// changed it, and there is a chain from 0 that all changes are in, or there is no order. It is
//   - a lost update, if two changes read the same x: one of them was overwritten unseen;
//   - a value from nowhere, if x was never written, or by a write that was refused;
//   - a change outside the chain, if it is not reached from 0;
//   - against time, if a change comes after one in the chain that was begun after its end.
// A change whose process was killed in it happened if somebody read what it wrote.
#pragma once

#include <string>
#include <vector>

#include "history.hpp"
#include "timeline.hpp"

namespace lockbyfile::torture {

/// What is wrong, a sentence each.
std::vector<std::string> faults_of_register(const std::vector<const deed*>& changes,
                                            const timeline& time);

}  // namespace lockbyfile::torture
