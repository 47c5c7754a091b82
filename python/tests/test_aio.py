# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from typing import Any, Callable, List

import lockbyfile
from lockbyfile.aio import AsyncLock

LONG = 60.0  # longer than anything takes that works

HOLDER = """
import sys, lockbyfile
lock = lockbyfile.Lock(sys.argv[1])
lock.acquire()
print("held", flush=True)
sys.stdin.readline()
lock.release()
print("released", flush=True)
sys.stdin.readline()
"""

COUNTERS = """
import asyncio, pathlib, sys
from lockbyfile.aio import AsyncLock
async def count(lock, file):
    for _ in range(25):
        async with lock:
            number = int(file.read_text())
            await asyncio.sleep(0)
            file.write_text(str(number + 1))
async def main():
    locks = AsyncLock(sys.argv[1]), AsyncLock(sys.argv[1], lease=3600)
    await asyncio.gather(*(count(lock, pathlib.Path(sys.argv[2])) for lock in locks))
asyncio.run(main())
"""


def threads() -> List[threading.Thread]:
    return [t for t in threading.enumerate() if t.name.startswith("lockbyfile")]


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(LONG):
        while not condition():
            await asyncio.sleep(0.001)


class Holder:
    """Another process that holds the lock."""

    def __init__(self, path: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "held\n"

    def release(self) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "released\n"

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


class AsyncLockTest(unittest.IsolatedAsyncioTestCase):
    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = os.path.join(directory.name, "test.lockfile")

    async def asyncSetUp(self) -> None:
        asyncio.get_running_loop().set_debug(False)  # it would tell of each callback of 100 ms

    def hold_elsewhere(self) -> Holder:
        holder = Holder(self.path)
        self.addCleanup(holder.end)
        return holder

    def waiters(self) -> int:
        return len(lockbyfile.observe(self.path).waiters)

    def assert_nothing_is_left(self) -> None:
        state = lockbyfile.observe(self.path)
        self.assertIsNone(state.holder)
        self.assertEqual(state.waiters, [])
        self.assertEqual(threads(), [])

    async def test_tasks_exclude_each_other_with_one_lock_and_with_several(self) -> None:
        shared = AsyncLock(self.path)
        inside = 0
        tokens: List[int] = []

        async def work(lock: AsyncLock) -> None:
            nonlocal inside
            for _ in range(10):
                async with lock as grant:
                    inside += 1
                    self.assertEqual(inside, 1)
                    await asyncio.sleep(0)
                    tokens.append(grant.token)
                    inside -= 1

        locks = [shared, shared, AsyncLock(self.path), AsyncLock(self.path, lease=3600)]
        await asyncio.gather(*map(work, locks))
        self.assertEqual(len(set(tokens)), 40)
        self.assertEqual(tokens, sorted(tokens))
        self.assert_nothing_is_left()

    async def test_processes_exclude_each_other(self) -> None:
        counter = pathlib.Path(self.path + ".count")
        counter.write_text("0")
        argv = [sys.executable, "-c", COUNTERS, self.path, str(counter)]
        processes = [await asyncio.create_subprocess_exec(*argv) for _ in range(3)]
        codes = await asyncio.gather(*(p.wait() for p in processes))
        self.assertEqual(codes, [0, 0, 0])
        self.assertEqual(counter.read_text(), "150")

    async def test_loops_of_different_threads_exclude_each_other(self) -> None:
        lock = AsyncLock(self.path)
        counter = [0]

        async def count() -> None:
            for _ in range(50):
                async with lock:
                    number = counter[0]
                    await asyncio.sleep(0)
                    counter[0] = number + 1

        others = [threading.Thread(target=lambda: asyncio.run(count())) for _ in range(2)]
        for other in others:
            other.start()
        await count()
        await until(lambda: not any(other.is_alive() for other in others))
        self.assertEqual(counter, [150])
        self.assert_nothing_is_left()

    async def test_tasks_are_served_in_order_of_arrival(self) -> None:
        holder = self.hold_elsewhere()
        order: List[int] = []

        async def work(number: int, lock: AsyncLock) -> None:
            async with lock:
                order.append(number)

        locks = AsyncLock(self.path), AsyncLock(self.path, lease=3600)
        tasks = [asyncio.create_task(work(n, locks[n // 3 % 2])) for n in range(30)]
        await until(self.waiters)
        holder.release()
        await asyncio.gather(*tasks)
        self.assertEqual(order, list(range(30)))

    async def test_one_who_comes_later_does_not_overtake(self) -> None:
        lock = AsyncLock(self.path)
        await lock.acquire()
        order: List[str] = []

        async def work(name: str) -> None:
            async with lock:
                order.append(name)

        first = asyncio.create_task(work("first"))
        await until(self.waiters)
        lock.release()
        await work("second")
        await first
        self.assertEqual(order, ["first", "second"])

    async def test_a_free_lock_is_taken_without_a_thread(self) -> None:
        lock = AsyncLock(self.path)
        async with lock:
            self.assertEqual(threads(), [])
            self.assertTrue(lock.held)
        self.assertFalse(lock.held)

    async def test_who_is_cancelled_while_waiting_leaves_the_line_at_once(self) -> None:
        self.hold_elsewhere()
        lock = AsyncLock(self.path)
        waiter = asyncio.create_task(lock.acquire())
        await until(self.waiters)
        waiter.cancel()
        with self.assertRaises(asyncio.CancelledError):
            await waiter
        self.assertEqual(self.waiters(), 0)
        self.assertEqual(threads(), [])
        self.assertFalse(lock.held)

    async def test_timeout_of_asyncio_leaves_the_line_at_once(self) -> None:
        self.hold_elsewhere()
        with self.assertRaises(TimeoutError):
            async with asyncio.timeout(0.02):
                await AsyncLock(self.path).acquire()
        self.assertEqual(self.waiters(), 0)
        self.assertEqual(threads(), [])

    async def test_if_the_head_is_cancelled_the_next_keeps_the_place_in_line(self) -> None:
        holder = self.hold_elsewhere()
        lock = AsyncLock(self.path)
        first = asyncio.create_task(lock.acquire())
        await until(self.waiters)
        worker = threads()
        second = asyncio.create_task(lock.acquire())
        await asyncio.sleep(0)
        first.cancel()
        with self.assertRaises(asyncio.CancelledError):
            await first
        self.assertEqual(threads(), worker)
        holder.release()
        await second
        self.assertEqual(threads(), worker)
        lock.release()
        self.assert_nothing_is_left()

    async def test_a_grant_has_the_lease_of_its_lock_if_another_head_was_cancelled(self) -> None:
        holder = self.hold_elsewhere()
        first = asyncio.create_task(AsyncLock(self.path).acquire())
        await until(self.waiters)
        lock = AsyncLock(self.path, lease=3600)
        second = asyncio.create_task(lock.acquire())
        await asyncio.sleep(0)
        first.cancel()
        await until(first.done)
        holder.release()
        await second
        self.assertLessEqual(lock.remaining, 3600)
        lock.release()
        self.assert_nothing_is_left()

    async def test_a_grant_that_comes_together_with_cancellation_is_given_back(self) -> None:
        for has_loop_heard in (False, True):
            with self.subTest(has_loop_heard=has_loop_heard):
                lock = AsyncLock(self.path)
                await lock.acquire()
                waiter = asyncio.create_task(lock.acquire())
                await until(self.waiters)
                token = lock.token
                lock.release()
                while (held := lockbyfile.observe(self.path).holder) is None or held.token == token:
                    time.sleep(0.0001)
                if has_loop_heard:
                    time.sleep(0.05)  # the worker tells the loop
                    await asyncio.sleep(0)  # which tells the task, that has not run yet
                self.assertFalse(waiter.done())
                waiter.cancel()
                with self.assertRaises(asyncio.CancelledError):
                    await waiter
                self.assertFalse(lock.held)
                self.assert_nothing_is_left()

    async def test_cancellation_at_any_moment_leaves_nothing(self) -> None:
        seed = random.randrange(2**32)
        print(f"seed {seed}")
        dice = random.Random(seed)
        locks = [AsyncLock(self.path), AsyncLock(self.path, lease=3600)]
        inside = 0

        async def work() -> None:
            nonlocal inside
            async with dice.choice(locks):
                inside += 1
                try:
                    self.assertEqual(inside, 1)
                    await asyncio.sleep(dice.choice((0, 0.0005)))
                finally:
                    inside -= 1

        for _ in range(40):
            tasks = [asyncio.create_task(work()) for _ in range(dice.randrange(1, 6))]
            for task in dice.sample(tasks, len(tasks)):
                if dice.random() < 0.5:
                    time.sleep(dice.random() * 0.0005)
                for _ in range(dice.randrange(3)):
                    await asyncio.sleep(dice.choice((0, 0.0002)))
                if dice.random() < 0.8:
                    task.cancel()
            for result in await asyncio.gather(*tasks, return_exceptions=True):
                self.assertIn(type(result), (type(None), asyncio.CancelledError), result)
            self.assert_nothing_is_left()

    async def test_a_loop_that_ends_takes_its_waiters_along(self) -> None:
        self.hold_elsewhere()
        tasks: List[Any] = []

        async def leave_one_waiting() -> None:
            tasks.append(asyncio.create_task(AsyncLock(self.path).acquire()))
            await asyncio.sleep(0)

        other = threading.Thread(target=lambda: asyncio.run(leave_one_waiting()))
        other.start()
        await until(lambda: not other.is_alive())
        self.assertEqual(self.waiters(), 0)
        self.assertEqual(threads(), [])

    async def test_ten_thousand_wait_with_two_threads(self) -> None:
        lock = AsyncLock(self.path)
        await lock.acquire()
        served: List[int] = []
        wanted = asyncio.Event()

        async def work(number: int) -> None:
            async with lock:
                # One that waits and one that holds. Others may be about to end.
                await until(lambda: len(threads()) <= 2)
                served.append(number)
                if len(served) == 1000:
                    wanted.set()
                    await asyncio.sleep(LONG)

        tasks = [asyncio.create_task(work(n)) for n in range(10_000)]
        await until(self.waiters)
        self.assertEqual(len(threads()), 1)
        lock.release()
        await wanted.wait()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        self.assertEqual(served, list(range(1000)))
        self.assert_nothing_is_left()

    async def test_patience_runs_out_with_lock_timeout_that_names_the_holder(self) -> None:
        holder = self.hold_elsewhere()
        lock = AsyncLock(self.path, patience=LONG)
        for patience in (0, 0.02):
            with self.assertRaises(lockbyfile.LockTimeout) as caught:
                await lock.acquire(patience=patience)
            self.assertEqual(caught.exception.patience, patience)
            assert caught.exception.holder is not None
            self.assertEqual(caught.exception.holder.pid, holder.process.pid)
            self.assertEqual(self.waiters(), 0)
            self.assertEqual(threads(), [])

    async def test_lock_timeout_counts_the_others_that_wait_and_not_itself(self) -> None:
        self.hold_elsewhere()
        lock = AsyncLock(self.path)
        with self.assertRaises(lockbyfile.LockTimeout) as caught:
            await lock.acquire(0.02)
        self.assertEqual(caught.exception.waiters, 0)
        others = [asyncio.create_task(lock.acquire()) for _ in range(3)]
        await until(self.waiters)
        with self.assertRaises(lockbyfile.LockTimeout) as caught:
            await lock.acquire(0.05)
        self.assertEqual(caught.exception.waiters, 3)
        self.assertGreaterEqual(caught.exception.waited, 0.05)
        for other in others:
            other.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def test_keep_alive_renews_past_the_lease_however_the_lock_came(self) -> None:
        holder = self.hold_elsewhere()
        lock = AsyncLock(self.path, lease=0.4)
        waiting = asyncio.create_task(lock.acquire())
        await until(self.waiters)
        holder.release()
        await waiting
        async with lock.keep_alive():
            await asyncio.sleep(0.6)  # longer than the lease: that is the claim
            self.assertTrue(lock.held)
        lock.release()
        async with lock:
            with lock.keep_alive():
                time.sleep(0.6)  # which blocks the loop
                self.assertTrue(lock.held)

    async def test_keep_alive_tells_of_a_loss_in_the_loop(self) -> None:
        told: List[Any] = []
        lock = AsyncLock(self.path, lease=0.2)
        loop = asyncio.get_running_loop()

        def on_lost(error: lockbyfile.LockError) -> None:
            told.append((error, asyncio.get_running_loop() is loop))

        with self.assertRaises(lockbyfile.LeaseLost), self.assertLogs("lockbyfile"):
            async with lock, lock.keep_alive(on_lost):
                lockbyfile.break_lock(self.path)
                await until(lambda: told)
        self.assertIsInstance(told[0][0], lockbyfile.LeaseLost)
        self.assertTrue(told[0][1])

    async def test_keep_alive_of_what_is_not_held_is_an_error(self) -> None:
        with self.assertRaises(lockbyfile.LockError) as caught:
            AsyncLock(self.path).keep_alive()
        self.assertEqual(caught.exception.reason, "not_holder")

    async def test_release_and_renew_may_be_awaited_or_not(self) -> None:
        lock = AsyncLock(self.path, lease=30)
        await lock.acquire()
        await lock.renew()
        lock.renew()
        await lock.release()
        await lock.acquire()
        lock.release()
        self.assert_nothing_is_left()

    async def test_one_whose_patience_runs_out_is_in_nobodys_way(self) -> None:
        holder = self.hold_elsewhere()
        lock = AsyncLock(self.path)
        hasty = asyncio.create_task(lock.acquire(0.02))
        patient = asyncio.create_task(lock.acquire())
        with self.assertRaises(lockbyfile.LockTimeout):
            await hasty
        self.assertFalse(patient.done())
        holder.release()
        await patient
        lock.release()
        self.assert_nothing_is_left()

    async def test_bad_patience_is_refused(self) -> None:
        lock = AsyncLock(self.path)
        with self.assertRaises(ValueError):
            await lock.acquire(-1)
        with self.assertRaises(TypeError):
            await lock.acquire("soon")
        self.assert_nothing_is_left()

    async def test_a_lock_broken_while_held_is_told_by_lease_lost(self) -> None:
        for waited in (False, True):
            with self.subTest(waited=waited):
                lock = AsyncLock(self.path)
                if waited:
                    holder = self.hold_elsewhere()
                    task = asyncio.create_task(lock.acquire())
                    await until(self.waiters)
                    holder.release()
                    await task
                else:
                    await lock.acquire()
                lockbyfile.break_lock(self.path)
                self.assertFalse(lock.held)
                with self.assertRaises(lockbyfile.LeaseLost):
                    lock.renew()
                with self.assertRaises(lockbyfile.LeaseLost):
                    lock.release()
                with self.assertRaises(lockbyfile.LockError) as caught:
                    lock.release()
                self.assertEqual(caught.exception.reason, "not_holder")
                self.assert_nothing_is_left()

    async def test_loss_leaves_the_block_unless_another_exception_does(self) -> None:
        lock = AsyncLock(self.path)
        with self.assertRaises(lockbyfile.LeaseLost):
            async with lock:
                lockbyfile.break_lock(self.path)
        with self.assertLogs("lockbyfile"), self.assertRaises(ZeroDivisionError):
            async with lock:
                lockbyfile.break_lock(self.path)
                raise ZeroDivisionError

    async def test_who_lost_the_lock_does_not_release_it_for_the_next(self) -> None:
        lock = AsyncLock(self.path)
        has_it = asyncio.Event()
        may_end = asyncio.Event()

        async def next_one() -> None:
            async with lock:
                has_it.set()
                await may_end.wait()
                self.assertTrue(lock.held)

        await lock.acquire()
        task = asyncio.create_task(next_one())
        await until(self.waiters)
        lockbyfile.break_lock(self.path)
        await has_it.wait()
        with self.assertRaises(lockbyfile.LeaseLost):
            lock.release()
        may_end.set()
        await task
        self.assert_nothing_is_left()

    async def test_leaving_the_block_after_release_in_it_spares_the_next(self) -> None:
        lock = AsyncLock(self.path)
        may_end = asyncio.Event()

        async def next_one() -> None:
            async with lock:
                await may_end.wait()
                self.assertTrue(lock.held)

        async with lock:
            lock.release()
            task = asyncio.create_task(next_one())
            await until(lambda: lock.held)
        may_end.set()
        await task

    async def test_a_task_that_holds_it_does_not_wait_for_itself(self) -> None:
        lock = AsyncLock(self.path)
        async with lock:
            with self.assertRaises(lockbyfile.LockError) as caught:
                await lock.acquire()
            self.assertEqual(caught.exception.reason, "would_deadlock")

    async def test_what_wait_for_acquired_can_be_released(self) -> None:
        holder = self.hold_elsewhere()
        lock = AsyncLock(self.path)
        task = asyncio.create_task(asyncio.wait_for(lock.acquire(), LONG))
        await until(self.waiters)
        holder.release()
        grant = await task
        self.assertEqual(lock.token, grant.token)
        lock.release()
        self.assert_nothing_is_left()

    async def test_grant_tells_how_long_the_task_waited(self) -> None:
        lock = AsyncLock(self.path)
        await lock.acquire()
        start = time.monotonic()
        task = asyncio.create_task(lock.acquire())
        await until(self.waiters)
        least = time.monotonic()
        lock.release()
        grant = await task
        self.assertLessEqual(grant.waited, time.monotonic() - start)
        self.assertGreater(grant.waited, 0)
        self.assertGreaterEqual(grant.waited + 0.05, least - start)
        lock.release()

    async def test_close_gives_back_and_refuses_while_tasks_wait(self) -> None:
        lock = AsyncLock(self.path)
        await lock.acquire()
        task = asyncio.create_task(lock.acquire())
        await until(self.waiters)
        with self.assertRaises(RuntimeError):
            lock.close()
        lock.release()
        await task
        lock.close()
        lock.close()
        self.assert_nothing_is_left()
        with self.assertRaises(ValueError):
            await lock.acquire()

    async def test_a_lock_nobody_refers_to_gives_back_what_it_holds(self) -> None:
        holder = self.hold_elsewhere()
        lock = AsyncLock(self.path)
        task = asyncio.create_task(lock.acquire())
        await until(self.waiters)
        holder.release()
        await task
        del task, lock
        await until(lambda: lockbyfile.observe(self.path).holder is None and not threads())

    async def test_a_child_after_fork_holds_nothing(self) -> None:
        by_waiting = AsyncLock(self.path)
        at_once = AsyncLock(self.path + "2")
        holder = self.hold_elsewhere()
        task = asyncio.create_task(by_waiting.acquire())
        await until(self.waiters)
        holder.release()
        await task
        await at_once.acquire()
        waiting = AsyncLock(self.path)
        waiter = asyncio.create_task(waiting.acquire())
        await until(self.waiters)
        pid = os.fork()
        if pid == 0:
            status = 2
            try:
                held = by_waiting.held or at_once.held or waiting.held
                by_waiting.close()
                at_once.close()
                waiting.close()  # the task that waits is the parent's
                status = 1 if held else 0
            finally:
                os._exit(status)
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 0)
        self.assertTrue(by_waiting.held)
        self.assertTrue(at_once.held)
        by_waiting.release()
        at_once.release()
        await waiter
        waiting.release()


if __name__ == "__main__":
    unittest.main()
