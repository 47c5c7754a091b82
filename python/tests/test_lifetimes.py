# SPDX-License-Identifier: Apache-2.0
"""What lives as long as what: locks, keep_alives, threads, forks, and the interpreter."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
import unittest
from typing import Any, Callable, List

import lockbyfile
from lockbyfile import LeaseLost, Lock, LockError, observe
from support import eventually
from test_lock import HOLD, InADirectory

LONG = 60


class Scripts(InADirectory):
    def script(self, code: str, *more: str) -> "subprocess.CompletedProcess[str]":
        """Runs it to its end, which has to come."""
        return subprocess.run(
            [sys.executable, "-c", "import lockbyfile, os, sys, threading, time\n" + code, self.name, *more],
            text=True,
            capture_output=True,
            timeout=LONG,
        )

    def assert_it_ends_well(self, code: str) -> str:
        done = self.script(code)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout


class AKeptLeaseThatIsLost(Scripts):
    """The lock was the interpreter's death: two objects died without the GIL (13 of 13)."""

    LOSE = """
lock = lockbyfile.Lock(sys.argv[1], lease=0.3)
said = threading.Event()
try:
    with lock, lock.keep_alive({on_lost}):
        {lose}
        time.sleep(0.5)
except lockbyfile.LeaseLost:
    print("raised", said.is_set())
"""
    BREAK = "lockbyfile.break_lock(sys.argv[1])"

    def test_calls_a_callback_that_nobody_else_refers_to(self) -> None:
        code = self.LOSE.format(on_lost="lambda error: said.set()", lose=self.BREAK)
        self.assertEqual(self.assert_it_ends_well(code), "raised True\n")

    def test_is_told_without_a_callback(self) -> None:
        code = self.LOSE.format(on_lost="", lose=self.BREAK)
        self.assertEqual(self.assert_it_ends_well(code), "raised False\n")

    def test_may_be_printed(self) -> None:
        code = self.LOSE.format(on_lost="print", lose=self.BREAK)
        self.assertIn("lost", self.assert_it_ends_well(code))

    def test_by_a_deleted_file_is_told(self) -> None:
        code = self.LOSE.format(on_lost="lambda error: said.set()", lose="os.remove(sys.argv[1])")
        self.assertEqual(self.assert_it_ends_well(code), "raised True\n")

    def test_survives_a_callback_that_raises(self) -> None:
        code = self.LOSE.format(on_lost="lambda error: 1 / 0", lose=self.BREAK)
        self.assertIn("raised", self.assert_it_ends_well(code))

    def test_survives_a_callback_that_closes_the_lock(self) -> None:
        code = self.LOSE.format(on_lost="lambda error: (lock.close(), said.set())", lose=self.BREAK)
        self.assert_it_ends_well(code)

    def test_survives_a_callback_that_drops_the_last_reference(self) -> None:
        self.assert_it_ends_well("""
class Owner:
    def __init__(self):
        self.lock = lockbyfile.Lock(sys.argv[1], lease=0.3)
        self.lock.acquire()
        self.kept = self.lock.keep_alive(self.lost)
    def lost(self, error):
        said.set()
        del everyone[:]
said = threading.Event()
everyone = [Owner()]
lockbyfile.break_lock(sys.argv[1])
assert said.wait(60)
""")


class AThreadThatEnds(Scripts):
    def test_with_a_keep_alive_running_gives_the_lock_back(self) -> None:
        self.assert_it_ends_well("""
lock = lockbyfile.Lock(sys.argv[1], lease=60)
def work():
    lock.acquire()
    lock.keep_alive(print)
for _ in range(20):
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert lockbyfile.observe(sys.argv[1]).holder is None
""")

    def test_just_as_the_lock_is_lost_does_not_freeze_the_interpreter(self) -> None:
        self.assert_it_ends_well("""
lock = lockbyfile.Lock(sys.argv[1], lease=0.003)
def work(n):
    lock.acquire()
    lock.keep_alive(lambda error: time.sleep(0.001))
    lockbyfile.break_lock(sys.argv[1])
    time.sleep(n / 10000)
for n in range(40):
    thread = threading.Thread(target=work, args=(n,))
    thread.start()
    thread.join()
""")


class TheInterpretersEnd(Scripts):
    def test_comes_though_a_keep_alive_runs(self) -> None:
        self.assert_it_ends_well("""
lock = lockbyfile.Lock(sys.argv[1], lease=0.01)
lock.acquire()
lock.keep_alive(print)
""")

    def test_comes_while_a_loss_is_being_told(self) -> None:
        for n in range(10):
            self.assert_it_ends_well(f"""
lock = lockbyfile.Lock(sys.argv[1], lease=0.03)
lock.acquire()
try:
    lock.keep_alive(lambda error: time.sleep({n} / 1000))
    lockbyfile.break_lock(sys.argv[1])
except lockbyfile.LockError:  # a machine that is so busy that the lease is over
    sys.exit()
time.sleep((10 + {n}) / 1000)
""")

    def test_comes_inside_of_a_block(self) -> None:
        done = self.script("""
with lockbyfile.Lock(sys.argv[1], lease=60) as lock:
    sys.exit(3)
""")
        self.assertEqual(done.returncode, 3, done.stderr)
        self.assertIsNone(observe(self.name).holder)

    def test_comes_while_daemon_threads_wait_try_and_keep_alive(self) -> None:
        for _ in range(5):
            self.assert_it_ends_well("""
lock = lockbyfile.Lock(sys.argv[1], lease=0.5)
def wait():
    while True:
        with lock, lock.keep_alive(print):
            pass
def impatient():
    while True:
        try:
            lock.acquire(0.0001)
            lock.release()
        except lockbyfile.LockError:
            pass
def look():
    while True:
        lockbyfile.observe(sys.argv[1])
        lockbyfile.Lock(sys.argv[1]).close()
for work in [wait, impatient, look] * 2:
    threading.Thread(target=work, daemon=True).start()
time.sleep(0.1)
""")


class Closing(Scripts):
    def test_while_other_threads_use_the_lock_frees_nothing_that_is_in_use(self) -> None:
        self.assert_it_ends_well("""
end = time.monotonic() + 3
rounds = 0
while time.monotonic() < end:
    lock = lockbyfile.Lock(sys.argv[1], lease=0.05)
    def use():
        try:
            while True:
                try:
                    lock.acquire(0)
                    with lock.keep_alive(lambda error: None):
                        lock.renew()
                    lock.release()
                except lockbyfile.LockError:
                    pass
        except ValueError:  # it is closed
            pass
    threads = [threading.Thread(target=use) for _ in range(3)]
    for t in threads: t.start()
    time.sleep(0.001)
    lock.close()
    for t in threads: t.join()
    rounds += 1
assert rounds > 3, rounds
""")

    def test_waits_for_a_keep_alive_that_tells_of_a_loss(self) -> None:
        said: List[str] = []
        is_telling, may_go_on = threading.Event(), threading.Event()

        def on_lost(error: LockError) -> None:
            is_telling.set()
            may_go_on.wait(LONG)
            said.append("told")

        lock = Lock(self.name, lease=0.05)

        def hold() -> None:
            lock.acquire()
            lock.keep_alive(on_lost)
            is_telling.wait(LONG)
            may_end.wait(LONG)

        may_end = threading.Event()
        holder = threading.Thread(target=hold)
        with self.assertLogs("lockbyfile"):
            holder.start()
            eventually(lambda: observe(self.name).holder is not None)
            lockbyfile.break_lock(self.name)
            is_telling.wait(LONG)
            closer = threading.Thread(target=lambda: (lock.close(), said.append("closed")))
            closer.start()
            eventually(lambda: lock.closed)  # marked first
            self.assertEqual(said, [])
            may_go_on.set()
            closer.join(LONG)
        may_end.set()
        holder.join(LONG)
        self.assertEqual(said, ["told", "closed"])

    def test_by_a_finalizer_in_the_middle_of_a_call_is_refused_or_done(self) -> None:
        lock = Lock(self.name, lease=60)

        class Closes:
            def __init__(self) -> None:
                self.cycle = self

            def __del__(self) -> None:
                try:
                    lock.close()
                except RuntimeError:
                    pass

        gc.set_threshold(1)
        self.addCleanup(gc.set_threshold, *gc.get_threshold())
        for _ in range(200):
            Closes()
            try:
                lock.acquire()
                lock.release()
            except ValueError:
                break


class AFork(Scripts):
    def test_inside_of_a_block_is_told_to_the_child_that_leaves_it(self) -> None:
        said = self.assert_it_ends_well("""
try:
    with lockbyfile.Lock(sys.argv[1]):
        if os.fork(): os._exit(0)
        os.setsid()
        if os.fork(): os._exit(0)
        time.sleep(0.05)
except lockbyfile.LeaseLost as error:
    print(error.cause, "after the last fork" in str(error), flush=True)
""")
        self.assertEqual(said, "lifeline_closed True\n")

    def test_is_told_to_a_child_that_releases(self) -> None:
        lock = Lock(self.name)
        lock.acquire()
        self.assertEqual(self.in_child(lambda: self.assertRaises(LeaseLost, lock.release)), 0)
        lock.release()

    def test_leaves_a_child_that_locks_anew_alone(self) -> None:
        def work() -> None:
            with lock:
                pass
            with lock:
                pass

        lock = Lock(self.name)
        with lock:
            pass
        self.assertEqual(self.in_child(work), 0)

    def test_while_other_threads_wait_and_keep_alive_lets_the_child_close(self) -> None:
        lock = Lock(self.name, lease=30)
        lock.acquire()
        kept = lock.keep_alive(print)
        waiting = threading.Thread(target=lock.acquire)
        waiting.start()
        eventually(lambda: len(observe(self.name).waiters) == 1)
        self.assertEqual(self.in_child(lock.close), 0)
        self.assertEqual(self.in_child(lambda: kept.stop()), 0)
        self.assertTrue(lock.held)
        lock.release()
        waiting.join(LONG)

    def in_child(self, work: Callable[[], Any]) -> int:
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                signal.alarm(LONG)
                work()
                code = 0
            finally:
                os._exit(code)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


class AnError(InADirectory):
    def test_of_patience_says_how_long_and_how_many_wait(self) -> None:
        holder = self.run_python(HOLD)
        self.assertEqual(holder.stdout.readline(), "held\n")
        waiting = threading.Thread(target=lambda: Lock(self.name).acquire())
        waiting.start()
        eventually(lambda: len(observe(self.name).waiters) == 1)
        with self.assertRaises(lockbyfile.LockTimeout) as caught:
            Lock(self.name, patience=0.05).acquire()
        error = caught.exception
        self.assertGreaterEqual(error.waited, 0.05)
        self.assertEqual(error.waiters, 1)
        self.assertEqual(error.holder.pid, holder.pid)
        self.assertIsNone(error.cause)
        holder.kill()
        waiting.join(LONG)

    def test_of_a_broken_grant_names_the_cause(self) -> None:
        lock = Lock(self.name)
        lock.acquire()
        lockbyfile.break_lock(self.name)
        for call in lock.renew, lock.release:
            with self.assertRaises(LeaseLost) as caught:
                call()
            self.assertEqual(caught.exception.cause, "broken")
            self.assertIn("broken", str(caught.exception))

    def test_of_an_expired_grant_names_the_cause_and_who_has_it_now(self) -> None:
        lock = Lock(self.name, lease=0.01)
        lock.acquire()
        successor = self.run_python(HOLD)
        self.assertEqual(successor.stdout.readline(), "held\n")
        with self.assertRaises(LeaseLost) as caught:
            lock.release()
        self.assertEqual(caught.exception.cause, "expired")
        self.assertEqual(caught.exception.holder.pid, successor.pid)

    def test_of_a_deleted_lockfile_names_the_cause(self) -> None:
        lock = Lock(self.name)
        lock.acquire()
        os.remove(self.name)
        time.sleep(0.01)  # it looks at the path every millisecond
        with self.assertRaises(LeaseLost) as caught:
            lock.renew()
        self.assertEqual(caught.exception.cause, "deleted")

    def test_of_keep_alive_names_the_cause(self) -> None:
        told: List[LockError] = []
        lock = Lock(self.name, lease=0.1)
        lock.acquire()
        with lock.keep_alive(told.append), self.assertLogs("lockbyfile"):
            lockbyfile.break_lock(self.name)
            eventually(lambda: bool(told))
        self.assertEqual(told[0].cause, "broken")

    def test_of_none_has_no_cause(self) -> None:
        with self.assertRaises(LockError) as caught:
            Lock(self.name).release()
        self.assertEqual(caught.exception.reason, "not_holder")
        self.assertIsNone(caught.exception.cause)


class ACycle(Scripts):
    def test_of_an_owner_whose_kept_lock_calls_it_is_collected_in_any_thread(self) -> None:
        self.assert_it_ends_well("""
import gc
class Owner:
    def __init__(self, kind):
        self.lock = kind(sys.argv[1], lease=60)
        self.lock.acquire()
        self.kept = self.lock.keep_alive(self.lost)
    def lost(self, error): pass
def in_a_thread():
    thread = threading.Thread(target=gc.collect)
    thread.start()
    thread.join()
class Mine(lockbyfile.Lock): pass
for kind in lockbyfile.Lock, Mine:
    for collect in gc.collect, in_a_thread:
        owner = Owner(kind)
        gc.collect()
        assert owner.lock.held
        del owner
        collect()
        assert lockbyfile.observe(sys.argv[1]).holder is None, (kind, collect)
""")


class AGrant(InADirectory):
    def test_after_a_break_says_so_and_the_lock_remembers_it(self) -> None:
        lock = Lock(self.name, description="the first")
        token = lock.acquire().token
        lockbyfile.break_lock(self.name)
        with self.assertLogs("lockbyfile"):
            self.assertEqual(Lock(self.name).acquire().how, "broken")
        state = observe(self.name)
        self.assertEqual(state.last_break.token, token)
        self.assertEqual(state.last_break.by.pid, os.getpid())
        self.assertIn((token, "free"), [(g.token, g.how) for g in state.grants])

    def test_shows_the_script_as_the_command(self) -> None:
        script = os.path.join(self.directory, "nightly_job.py")
        with open(script, "w") as file:
            file.write(HOLD)
        holder = subprocess.Popen(
            [sys.executable, script, self.name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.addCleanup(holder.communicate)
        self.assertEqual(holder.stdout.readline(), "held\n")
        self.assertEqual(observe(self.name).holder.command, "nightly_job.py")


if __name__ == "__main__":
    unittest.main()
