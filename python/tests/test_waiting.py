# SPDX-License-Identifier: Apache-2.0
"""No call that may wait keeps other threads or an event loop from running.

This holds no matter what does not answer.
"""

from __future__ import annotations

import asyncio
import shutil
import threading
import time
import unittest
from typing import Any, Callable, Tuple

import lockbyfile
from etcd_server import EtcdServer
from lockbyfile import Lock, LockError
from lockbyfile.aio import AsyncLock

A_WHILE = 0.3  # seconds: what takes longer has waited for the server
SOME = 10  # times that others have run meanwhile, out of some hundred


class Ticker(threading.Thread):
    """Another thread, which counts how often it runs."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.count = 0
        self.is_over = False
        self.start()

    def run(self) -> None:
        while not self.is_over:
            self.count += 1
            time.sleep(0.002)


@unittest.skipUnless(shutil.which("etcd"), "there is no etcd")
class WhileAServerDoesNotAnswer(unittest.TestCase):
    server: EtcdServer

    @classmethod
    def setUpClass(cls) -> None:
        cls.server = EtcdServer()
        cls.addClassCleanup(cls.server.close)

    def setUp(self) -> None:
        self.addCleanup(self.server.go_on)
        self.name = f"{self.server.name}/{self.id().rpartition('.')[2]}"

    def assert_others_run(self, call: Callable[[], Any]) -> None:
        ticker = Ticker()
        begun, before = time.monotonic(), ticker.count
        try:
            call()
        except LockError:
            pass
        took, ran = time.monotonic() - begun, ticker.count - before
        ticker.is_over = True
        self.assertGreater(took, A_WHILE, "it did not wait, and so shows nothing")
        self.assertGreater(ran, SOME)

    def test_other_threads_run_while_one_opens(self) -> None:
        self.server.stop()
        self.assert_others_run(lambda: Lock(self.name, patience=1))

    def test_other_threads_run_while_one_tries(self) -> None:
        lock = Lock(self.name, patience=1)
        self.server.stop()
        self.assert_others_run(lambda: lock.acquire(0))

    def test_other_threads_run_while_one_renews(self) -> None:
        lock = Lock(self.name, lease=2)
        lock.acquire()
        self.server.stop()
        self.assert_others_run(lock.renew)

    def test_other_threads_run_while_one_releases(self) -> None:
        lock = Lock(self.name, lease=2)
        lock.acquire()
        self.server.stop()
        self.assert_others_run(lock.release)

    def test_other_threads_run_while_one_closes_what_it_holds(self) -> None:
        lock = Lock(self.name, lease=2)
        lock.acquire()
        self.server.stop()
        self.assert_others_run(lock.close)

    def test_other_threads_run_while_one_observes(self) -> None:
        self.server.stop()
        self.assert_others_run(lambda: lockbyfile.observe(self.name))

    def test_other_threads_run_while_one_breaks(self) -> None:
        self.server.stop()
        self.assert_others_run(lambda: lockbyfile.break_lock(self.name))

    def test_other_threads_run_while_one_removes(self) -> None:
        self.server.stop()
        self.assert_others_run(lambda: lockbyfile.remove(self.name))

    def test_other_threads_run_while_one_lists(self) -> None:
        self.server.stop()
        self.assert_others_run(lambda: lockbyfile.list_locks(self.server.name))

    def test_other_threads_run_while_a_thread_ends_that_holds_it(self) -> None:
        is_held, may_end = threading.Event(), threading.Event()

        lock = Lock(self.name, lease=2)

        def hold() -> None:
            lock.acquire()
            is_held.set()
            may_end.wait()

        thread = threading.Thread(target=hold)
        thread.start()
        is_held.wait()
        self.server.stop()
        may_end.set()
        self.assert_others_run(thread.join)

    def assert_the_loop_runs(self, act: Callable[[AsyncLock], Any], is_held: bool) -> None:
        """`act` may be awaited, or not. Closing the lock then must not keep the loop either."""

        async def main() -> Tuple[float, int]:
            lock = AsyncLock(self.name, lease=2, patience=1)
            if is_held:
                await lock.acquire()
            self.server.stop()
            ran = 0

            async def tick() -> None:
                nonlocal ran
                while True:
                    await asyncio.sleep(0.002)
                    ran += 1

            ticking = asyncio.create_task(tick())
            await asyncio.sleep(0)
            begun = time.monotonic()
            try:
                result = act(lock)
                if result is not None:
                    await result
            except LockError:
                pass
            if is_held:
                lock.close()
            took = time.monotonic() - begun
            ticking.cancel()
            return took, ran

        took, ran = asyncio.run(main())
        if took > A_WHILE:  # else it has kept nobody
            self.assertGreater(ran, SOME)

    def test_the_loop_runs_while_a_task_opens(self) -> None:
        self.assert_the_loop_runs(lambda _: AsyncLock(self.name + "2", patience=1).acquire(), False)

    def test_the_loop_runs_while_a_task_tries(self) -> None:
        self.assert_the_loop_runs(lambda lock: lock.acquire(0), False)

    def test_the_loop_runs_while_a_task_waits_in_vain(self) -> None:
        self.assert_the_loop_runs(lambda lock: lock.acquire(0.5), False)

    def test_the_loop_runs_while_a_task_renews(self) -> None:
        self.assert_the_loop_runs(lambda lock: lock.renew(), True)

    def test_the_loop_runs_while_a_task_releases(self) -> None:
        self.assert_the_loop_runs(lambda lock: lock.release(), True)

    def test_the_loop_runs_while_a_lock_is_closed(self) -> None:
        self.assert_the_loop_runs(lambda _: None, True)

    def test_the_loop_runs_while_one_asks_for_the_lease(self) -> None:
        def ask(lock: AsyncLock) -> Any:
            renewal = lock.renew()
            _ = lock.held, lock.token, lock.remaining
            return renewal

        self.assert_the_loop_runs(ask, True)

    def test_a_lock_that_could_not_be_opened_opens_when_the_server_is_back(self) -> None:
        async def is_granted(lock: AsyncLock) -> bool:
            try:
                await lock.acquire(1)
            except LockError as error:
                self.assertEqual(error.reason, "unreachable")
                return False
            return True

        async def main() -> None:
            self.server.stop()
            lock = AsyncLock(self.name, patience=1)
            self.assertFalse(any(await asyncio.gather(*(is_granted(lock) for _ in range(3)))))
            self.server.go_on()
            end = time.monotonic() + 60
            while not await is_granted(lock):
                self.assertLess(time.monotonic(), end, "the error of the first attempt stays")

        asyncio.run(main())

    def test_the_cause_of_a_loss_is_the_clock_that_ran_out_first(self) -> None:
        lock = Lock(self.name + "?ttl=2", lease=3)
        grant_ends = time.monotonic() + 3.1
        told = threading.Event()
        causes = []

        def on_lost(error: LockError) -> None:
            causes.append(error.cause)
            told.set()

        with self.assertRaises(lockbyfile.LeaseLost) as caught:
            with lock, lock.keep_alive(on_lost):
                self.server.stop()
                self.assertTrue(told.wait(60))
                while time.monotonic() < grant_ends:
                    time.sleep(0.05)
        self.assertEqual(causes + [caught.exception.cause], ["unreachable"] * 2)


if __name__ == "__main__":
    unittest.main()
