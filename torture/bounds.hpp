// SPDX-License-Identifier: Apache-2.0
//
// The bounds of P5 to P8, judged with an honest yardstick.
//
// Times are promised to processes that get to run, and this machine may have other work.
// So each wait has its bound and an allowance, made of what was measured during it:
//   - how long the kernel kept the thread, ready to run, from running (run_delay.hpp: the
//     kernel's own count, exact, for that thread and that call);
//   - for how long its process was forking: meanwhile the kernel lets no thread of it touch
//     memory that is new to it;
//   - for how long of that time some processor did not wake up its witness, who sleeps from
//     millisecond to millisecond and does nothing else (witnesses.hpp): for what stops the
//     whole machine, such as its host, and is late in waking anybody.
// On a quiet machine all that is some tens of microseconds. A process that was stopped
// is not judged for that time. Beside the violations, which are waits beyond bound and
// allowance, the tally counts the waits within the bare bound.
//
// P5, P6 How long was the lock certainly free, or to be had, while somebody waited? It is so
//    from the end of the release; or from when the dead holder was certainly gone; or from
//    the end of the lease, as its holder heard it; until the next acquire returned. Of all
//    waiters the longest to wait in that time is judged.
//    Bound: 1 ms after a release or the end of a lease, 10 ms after a death; and 25 ms for
//    each process in line, or releasing, that was stopped or killed in that time, or that the
//    scheduler kept from running for 15 ms: the line takes it for stopped after 20.
//    A death or the end of a lease is noticed 8 ms later for each waiter who died in line
//    less than 50 ms before it: nobody tells those behind. (docs/guarantees.md, P5, allows
//    20 for those who die together with the holder; what is judged is stricter.)
//    Allowance: the delays of all who waited, since any of them may have been the head.
//    If the next holder was stopped while it waited, nobody knows how late it took the
//    lock, and the time is judged only up to where it was stopped; unless it was all the time,
//    then up to where it went on. Not judged: where somebody in line may have had to open the
//    file, or moved to another one.
// P7 A waiter is overtaken if another, whose acquire was begun 1 ms and the allowance after
//    its own, is granted the lock while it still waits. (The call needs a few microseconds to
//    get in the line, where its waiting begins: they are taken to be 50.) Not judged: who was
//    stopped, or kept from running for 15 ms, and so may have been passed over; who had to open the
//    file; and who may have moved to another file.
// P8 A refused wait was not shorter than its patience, and no wait was longer than that, or
//    than until the stop request, by more than 1 ms and the allowance. A wait that had to
//    open the file, or during which the file was removed or replaced, may be longer.
//
// Locks in etcd have a yardstick of their own, with the etcd lease of 2 s in it: a dead holder, or
// one that is stopped, is noticed after that and half a second; so is each in line who died or was
// stopped, at the worst one after the other. Messages take their time, and servers too, which no
// kernel counts for the waiting thread: 1.5 s are allowed for each. While members are out, and
// until they have recovered from it (timeline.hpp), nothing has to move; after that everything
// has to. Order is judged of those that began 1.5 s apart, while no member was out.
//
// Of what is documented as excused nothing else is: break, kill, exec, fork and signals
// excuse nothing.
#pragma once

#include "checker.hpp"
#include "timeline.hpp"

namespace lockbyfile::torture {

void judge_bounds(const timeline& time, std::uint8_t index, const name_record& name, engine of,
                  report& out);

}  // namespace lockbyfile::torture
