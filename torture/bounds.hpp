// SPDX-License-Identifier: Apache-2.0
//
// The bounds of P5 to P8, judged with an honest yardstick.
//
// Times are promised to processes that get to run, and this machine may have other work. So each
// wait has its bound and an allowance. The allowance is the sum of three measurements:
//   - How long the kernel kept the thread, ready to run, from running. The kernel counts that
//     exactly, for that thread and that call (run_delay.hpp).
//   - How long the process of the thread was forking. Meanwhile the kernel lets no thread of the
//     process touch memory that is new to it.
//   - How long some processor failed to wake up its witness during the wait. The witness sleeps
//     from millisecond to millisecond and does nothing else (witnesses.hpp). It notices everything
//     that stops the whole machine, for example its host, or that delays every wake.
// On a quiet machine the allowance is some tens of microseconds. A process that was stopped is not
// judged for that time. A violation is a wait beyond bound and allowance. Beside the violations,
// the tally counts the waits within the bare bound.
//
// P5, P6 How long was the lock certainly open while somebody waited?
//    That time begins at the end of the release, when the dead holder was certainly gone, or at
//    the end of the lease as its holder heard it. It ends when the next acquire returned. Of all
//    waiters, the one that waited longest in that time is judged.
//    Bound: 1 ms after a release or the end of a lease, 10 ms after a death. Each process in the
//    wait queue, or releasing, adds 25 ms if it was stopped or killed in that time. It also adds
//    them if the scheduler kept it from running for 15 ms: the wait queue takes it for stopped
//    after 20 ms.
//    A death or the end of a lease is noticed 20 ms later for each waiter that died in the wait
//    queue less than 50 ms before it. Nobody notifies the waiters behind a dead one.
//    (docs/guarantees.md, P5, allows the same for waiters that die together with the holder.)
//    Allowance: the delays of all waiters, since any of them may have been the first waiter.
//    The next holder may have been stopped while it waited. Then nobody knows how late it took
//    the lock, and the time is judged only up to the stop. If it was stopped from the beginning,
//    the time is judged up to where it went on.
//    Not judged: a time in which a waiter may have had to open the file, or moved to another file.
// P7 A waiter is overtaken if another waiter is granted the lock before it, although the other's
//    acquire began more than 1 ms and the allowance after its own. (The call needs a few
//    microseconds to enter the wait queue, where waiting begins. They count as 50.) A waiter that
//    was stopped, or kept from running for 15 ms, is not judged: it may have been skipped. Nor is
//    a waiter that had to open the file, or that may have moved to another file.
// P8 A refused wait was not shorter than its patience. No wait was longer than its patience, or
//    than the time until its stop request, by more than 1 ms and the allowance. A wait that had to
//    open the file, or during which the file was removed or replaced, may be longer.
//
// Locks in etcd have a yardstick of their own, which includes the etcd lease of 2 s. A dead or
// stopped holder is noticed after that lease and half a second. So is each waiter that died or was
// stopped; in the worst case they are noticed one after the other. Messages and servers take time
// that no kernel counts for the waiting thread: 1.5 s are allowed for each. While members are out,
// and until they have recovered (timeline.hpp), nothing has to move. After that everything has to.
// Order is judged only between waits that began 3 s apart, while no member was out.
//
// Nothing else is excused, even if the documents excuse more: break, kill, exec, fork and signals
// excuse nothing.
#pragma once

#include "checker.hpp"
#include "timeline.hpp"

namespace lockbyfile::torture {

void judge_bounds(const timeline& time, std::uint8_t index, const name_record& name, engine of,
                  report& out);

}  // namespace lockbyfile::torture
