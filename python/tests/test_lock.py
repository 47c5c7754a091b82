# SPDX-License-Identifier: Apache-2.0
"""Lock: what it promises in Python. What the lock itself promises is tested in C++."""

from __future__ import annotations

import copy
import datetime
import errno
import fcntl
import gc
import logging
import math
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any
from unittest import mock

import lockbyfile
from lockbyfile import AsyncLock, LeaseLost, Lock, LockError, LockTimeout, filelock, observe
from support import eventually


class InADirectory(unittest.TestCase):
    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.name = os.path.join(directory.name, "bed.lockfile")
        self.directory = directory.name

    def waiters(self) -> int:
        return len(observe(self.name).waiters)

    def run_python(self, code: str, **more: Any) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-c", code, self.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **more,
        )
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        return process


HOLD = """
import sys, lockbyfile
lock = lockbyfile.Lock(sys.argv[1])
lock.acquire()
print("held", flush=True)
sys.stdin.read()
"""

WAIT = """
import signal, sys, lockbyfile
signal.signal(signal.SIGUSR1, lambda *_: print("handled", flush=True))
try:
    lockbyfile.Lock(sys.argv[1]).acquire()
except KeyboardInterrupt:
    print("interrupted", flush=True)
    sys.stdin.read()
"""


class Grants(InADirectory):
    def test_with_gives_the_grant_and_takes_it_back(self) -> None:
        lock = Lock(self.name)
        with lock as grant:
            self.assertTrue(lock.held)
            self.assertEqual(grant.token, lock.token)
            self.assertEqual(grant.how, "free")
            self.assertIsNone(grant.previous)
        self.assertFalse(lock.held)

    def test_tokens_grow(self) -> None:
        lock = Lock(self.name)
        with lock as first:
            pass
        with lock as second:
            self.assertGreater(second.token, first.token)

    def test_a_second_acquire_by_its_thread_is_refused(self) -> None:
        with Lock(self.name) as _, self.assertRaises(LockTimeout):
            Lock(self.name).acquire(0)
        lock = Lock(self.name)
        with lock, self.assertRaises(LockError) as caught:
            lock.acquire()
        self.assertEqual(caught.exception.errno, errno.EDEADLK)
        self.assertIn("this thread holds it already", str(caught.exception))
        with self.assertRaisesRegex(LockError, "this thread does not hold it"):
            lock.release()

    def test_a_killed_holder_is_followed_and_named(self) -> None:
        holder = self.run_python(HOLD)
        self.assertEqual(holder.stdout.readline(), "held\n")
        holder.kill()
        with self.assertLogs("lockbyfile", logging.WARNING):
            grant = Lock(self.name).acquire(60)
        self.assertEqual(grant.how, "abandoned")
        self.assertEqual(grant.previous.pid, holder.pid)

    def test_a_decorated_function_runs_under_the_lock(self) -> None:
        lock = Lock(self.name)

        @lock
        def work(n: int, *, more: int) -> int:
            """Says what it does."""
            self.assertTrue(lock.held)
            return n + more

        self.assertEqual(work(1, more=2), 3)
        self.assertEqual(work.__doc__, "Says what it does.")
        self.assertFalse(lock.held)

    def test_what_a_lock_cannot_decorate_is_refused(self) -> None:
        async def coroutine() -> None: ...

        def generator() -> Any:
            yield

        for function in (coroutine, generator, 3):
            with self.assertRaises(TypeError):
                Lock(self.name)(function)


class Leases(InADirectory):
    def test_a_lost_lease_is_raised_at_the_end_of_the_block(self) -> None:
        with self.assertRaises(LeaseLost) as caught:
            with Lock(self.name, lease=0.001):
                time.sleep(0.01)
        self.assertEqual(caught.exception.filename, self.name)
        self.assertEqual(caught.exception.reason, "lease_lost")

    def test_a_lost_lease_does_not_hide_another_exception(self) -> None:
        with self.assertLogs("lockbyfile", logging.WARNING), self.assertRaises(KeyError):
            with Lock(self.name, lease=0.001):
                time.sleep(0.01)
                raise KeyError

    def test_renew_starts_the_lease_again(self) -> None:
        lock = Lock(self.name, lease=datetime.timedelta(hours=1))
        with lock as grant:
            lock.lease = 7200
            lock.renew()
            self.assertGreater(lock.remaining, 3600)
            self.assertEqual(lock.token, grant.token)

    def test_without_a_lease_it_never_ends(self) -> None:
        with Lock(self.name) as _:
            self.assertIsNone(observe(self.name).holder.lease)
        lock = Lock(self.name)
        with lock:
            self.assertEqual(lock.remaining, math.inf)
        self.assertEqual(lock.remaining, 0)

    def test_keep_alive_renews_past_the_lease(self) -> None:
        lock = Lock(self.name, lease=0.3)
        with lock, lock.keep_alive():
            time.sleep(0.5)  # longer than the lease: that is the claim
            self.assertTrue(lock.held)

    def test_keep_alive_tells_of_a_break(self) -> None:
        told: "list[LockError]" = []
        lock = Lock(self.name, lease=0.3)
        lock.acquire()
        with lock.keep_alive(told.append), self.assertLogs("lockbyfile", logging.WARNING):
            lockbyfile.break_lock(self.name)
            eventually(lambda: bool(told))
        self.assertIsInstance(told[0], LeaseLost)
        with self.assertRaises(LeaseLost):
            lock.release()


class Waits(InADirectory):
    def test_a_timeout_names_the_holder(self) -> None:
        holder = self.run_python(HOLD)
        self.assertEqual(holder.stdout.readline(), "held\n")
        with self.assertRaises(LockTimeout) as caught:
            Lock(self.name, patience=0.01).acquire()
        error = caught.exception
        self.assertIsInstance(error, TimeoutError)
        self.assertEqual(error.errno, errno.ETIMEDOUT)
        self.assertEqual(error.filename, self.name)
        self.assertEqual(error.holder.pid, holder.pid)
        self.assertIn(str(holder.pid), str(error))

    def test_control_c_ends_a_wait_with_nothing_held_and_no_place_in_line(self) -> None:
        lock = Lock(self.name)
        lock.acquire()
        waiter = self.run_python(WAIT)
        eventually(lambda: self.waiters() == 1)
        waiter.send_signal(signal.SIGINT)
        self.assertEqual(waiter.stdout.readline(), "interrupted\n")
        self.assertEqual(self.waiters(), 0)
        lock.release()
        lock.acquire(0)

    def test_signal_handlers_run_while_it_waits_and_do_not_end_the_wait(self) -> None:
        lock = Lock(self.name)
        lock.acquire()
        waiter = self.run_python(WAIT)
        eventually(lambda: self.waiters() == 1)
        waiter.send_signal(signal.SIGUSR1)
        self.assertEqual(waiter.stdout.readline(), "handled\n")
        self.assertEqual(self.waiters(), 1)
        lock.release()
        self.assertEqual(waiter.wait(60), 0)

    def test_other_threads_run_while_one_waits(self) -> None:
        holder = Lock(self.name)
        holder.acquire()
        waiting = threading.Thread(target=Lock(self.name).acquire)
        waiting.start()
        eventually(lambda: self.waiters() == 1)  # which takes the GIL
        holder.release()
        waiting.join(60)
        self.assertFalse(waiting.is_alive())

    def test_the_interpreter_ends_while_a_thread_waits(self) -> None:
        lock = Lock(self.name)
        lock.acquire()
        process = self.run_python(
            "import sys, threading, time, lockbyfile\n"
            "lock = lockbyfile.Lock(sys.argv[1])\n"
            "threading.Thread(target=lock.acquire, daemon=True).start()\n"
            "while not lockbyfile.observe(sys.argv[1]).waiters: time.sleep(0.001)\n"
        )
        self.assertEqual(process.wait(60), 0, process.stderr.read())


class ThreadsAndProcesses(InADirectory):
    def test_threads_that_share_a_lock_exclude_each_other(self) -> None:
        lock = Lock(self.name)
        inside = 0

        def work(_: int) -> int:
            nonlocal inside
            with lock:
                inside += 1
                seen = inside
                time.sleep(0.0005)
                inside -= 1
            return seen

        with ThreadPoolExecutor(8) as pool:
            self.assertEqual(set(pool.map(work, range(80))), {1})

    def test_what_a_thread_holds_when_it_ends_is_given_back(self) -> None:
        lock = Lock(self.name)
        thread = threading.Thread(target=lock.acquire)
        thread.start()
        thread.join()
        lock.acquire(60)

    def test_a_lock_that_is_gone_holds_nothing(self) -> None:
        Lock(self.name).acquire()
        gc.collect()
        Lock(self.name).acquire(0)

    def test_after_fork_the_child_holds_nothing_and_the_parent_keeps_it(self) -> None:
        lock = Lock(self.name)
        lock.acquire()
        child = os.fork()
        if child == 0:
            ok = not lock.held and lock.token is None
            try:
                lock.acquire(0)
            except LockTimeout:
                os._exit(0 if ok else 1)
            os._exit(2)
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 0)
        self.assertTrue(lock.held)

    def test_processes_of_every_start_method_exclude_each_other(self) -> None:
        for method in ("fork", "spawn", "forkserver"):
            with self.subTest(method):
                path = os.path.join(self.directory, "count-" + method)
                with open(path, "w", encoding="ascii") as file:
                    file.write("0")
                context = multiprocessing.get_context(method)
                with ProcessPoolExecutor(3, mp_context=context) as pool:
                    list(pool.map(count, [(self.name, path)] * 60))
                with open(path, encoding="ascii") as file:
                    self.assertEqual(file.read(), "60")

    def test_a_sub_interpreter_is_refused_with_the_reason(self) -> None:
        process = self.run_python(SUB_INTERPRETER)  # whose sub-interpreter is nobody else's
        out, err = process.communicate(timeout=60)
        if "ModuleNotFoundError" in err:
            self.skipTest("this Python has no such module")
        self.assertRegex(out, "sub-?interpreter", err)
        self.assertIn("ImportError", out)


SUB_INTERPRETER = """
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
other = interpreters.create()
try:
    print(interpreters.run_string(other, "import lockbyfile"))
except interpreters.RunFailedError as error:
    print(error)
interpreters.destroy(other)
"""


def count(job: "tuple[str, str]") -> None:
    name, path = job
    with Lock(name):
        with open(path, encoding="ascii") as file:
            n = int(file.read())
        time.sleep(0.0005)
        with open(path, "w", encoding="ascii") as file:
            file.write(str(n + 1))


class BadInput(InADirectory):
    def test_durations(self) -> None:
        nan, day = math.nan, datetime.timedelta(days=1)
        for what in ("lease", "patience"):
            for bad in (-1, -0.1, nan, -math.inf, -day, -(10**400)):
                with self.subTest(f"{what}={bad}"), self.assertRaisesRegex(ValueError, what):
                    Lock(self.name, **{what: bad})
            for bad in ("1", b"1", True, [], object()):
                with self.subTest(f"{what}={bad}"), self.assertRaisesRegex(TypeError, what):
                    Lock(self.name, **{what: bad})
            for huge in (math.inf, 1e300, 10**400, datetime.timedelta.max, None):
                with self.subTest(f"{what}={huge}"):
                    self.assertIsNone(getattr(Lock(self.name, **{what: huge}), what))
        with self.assertRaisesRegex(ValueError, "above zero"):
            Lock(self.name, lease=0)

    def test_names(self) -> None:
        for bad in ("", "a\0b", "\ud800", "x" * 300):
            with self.subTest(repr(bad)), self.assertRaises((ValueError, LockError)):
                Lock(bad, directory=self.directory)
        for bad in (None, 3, []):
            with self.subTest(repr(bad)), self.assertRaises(TypeError):
                Lock(bad)

    def test_a_foreign_file_is_left_alone_and_named(self) -> None:
        with open(self.name, "w", encoding="ascii") as file:
            file.write("mine")
        with self.assertRaises(LockError) as caught:
            Lock(self.name)
        self.assertEqual(caught.exception.reason, "wrong_engine")
        self.assertEqual(caught.exception.filename, self.name)

    def test_the_errors_of_the_system_keep_errno_and_path(self) -> None:
        path = os.path.join(self.directory, "none", "bed")
        with self.assertRaises(LockError) as caught:
            Lock(path)
        self.assertEqual(caught.exception.errno, errno.ENOENT)
        self.assertEqual(caught.exception.filename, os.path.join(self.directory, "none", ""))

    def test_a_closed_lock_says_so(self) -> None:
        lock = Lock(self.name)
        lock.acquire()
        lock.close()
        lock.close()
        for use in (lock.acquire, lock.release, lock.renew, lock.__enter__):
            with self.assertRaisesRegex(ValueError, "closed"):
                use()
        self.assertFalse(lock.held)
        Lock(self.name).acquire(0)

    def test_close_is_refused_while_a_thread_waits(self) -> None:
        holder, lock = Lock(self.name), Lock(self.name)
        holder.acquire()
        thread = threading.Thread(target=lock.acquire)
        thread.start()
        eventually(lambda: self.waiters() == 1)
        with self.assertRaises(RuntimeError):
            lock.close()
        holder.release()
        thread.join()

    def test_an_uninitialised_lock_is_an_error_not_a_crash(self) -> None:
        lock = Lock.__new__(Lock)
        with self.assertRaises(ValueError):
            lock.acquire()
        self.assertFalse(lock.held)

    def test_copies_are_refused(self) -> None:
        for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
            with self.assertRaisesRegex(TypeError, "pickled"):
                attempt(Lock(self.name))


class Maintenance(InADirectory):
    def test_observe_shows_holder_and_waiters(self) -> None:
        lock = Lock(self.name, lease=60, description="the night shift")
        lock.acquire()
        thread = threading.Thread(target=Lock(self.name).acquire)
        thread.start()
        eventually(lambda: self.waiters() == 1)
        state = observe(self.name)
        self.assertEqual(state.path, self.name)
        self.assertEqual(state.holder.command, "the night shift")
        self.assertEqual(state.holder.token, lock.token)
        self.assertEqual(state.waiters[0].who.pid, os.getpid())
        lock.release()
        thread.join()

    def test_break_takes_no_number_that_is_no_token(self) -> None:
        with Lock(self.name) as grant:
            for wrong in (2**64, -(2**64), -1, 2**64 + grant.token):
                with self.assertRaises(ValueError):
                    lockbyfile.break_lock(self.name, wrong)
            for other in (True, None, "7"):
                with self.assertRaises(TypeError):
                    lockbyfile.break_lock(self.name, other)  # type: ignore[arg-type]

    def test_list_prune_and_remove(self) -> None:
        held = Lock(self.name)
        held.acquire()
        with self.assertRaises(LockError):
            lockbyfile.remove(self.name)
        Lock("other", directory=self.directory).close()
        other = os.path.join(self.directory, "other.lockfile")
        self.assertEqual(lockbyfile.list_locks(self.directory), [self.name, other])
        with mock.patch.dict(os.environ, LOCKBYFILE_DIR=self.directory):
            self.assertEqual(lockbyfile.list_locks(), [self.name, other])
            self.assertEqual(lockbyfile.prunable(), [other])
            self.assertEqual(lockbyfile.prunable(self.directory), [other])
            self.assertIn(other, lockbyfile.list_locks())
            self.assertEqual(lockbyfile.prune(), [other])
            self.assertEqual(lockbyfile.prunable(), [])
        self.assertNotIn(other, lockbyfile.list_locks(self.directory))


class PosixLocksOfTheProgram(InADirectory):
    """A process loses those that it has on a file when it closes any descriptor of that file."""

    TRY = """
import fcntl, sys
for path in sys.stdin:
    with open(path.rstrip("\\n"), "r+b") as file:
        try: fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError: print("kept", flush=True)
        else: print("lost", flush=True)
"""
    NAMES = ("db.sqlite3", "db", "db.lockfile~", "db.lockfile.old", "db.LOCKFILE", "lockfile", ".db")

    def setUp(self) -> None:
        super().setUp()
        self.files = [os.path.join(self.directory, name) for name in self.NAMES]
        for path in self.files:
            file = open(path, "wb")
            self.addCleanup(file.close)
            file.write(b"SQLite format 3\0" + bytes(5000))
            file.flush()
            fcntl.lockf(file, fcntl.LOCK_EX)
        self.prober = self.run_python(self.TRY)

    def assert_kept(self, path: str) -> None:
        assert self.prober.stdin is not None and self.prober.stdout is not None
        self.prober.stdin.write(path + "\n")
        self.prober.stdin.flush()
        self.assertEqual(self.prober.stdout.readline(), "kept\n", path)

    def test_stay_where_the_locks_of_their_directory_are_listed_and_pruned(self) -> None:
        calls = lockbyfile.list_locks, lockbyfile.prunable, lockbyfile.prune
        for call in calls:
            Lock(self.name).close()
            self.assertEqual(call(self.directory), [self.name])
            with mock.patch.dict(os.environ, LOCKBYFILE_DIR=self.directory):
                call()
            for path in self.files:
                with self.subTest(call=call.__name__, file=path):
                    self.assert_kept(path)

    def test_stay_where_an_empty_file_is_observed(self) -> None:
        empty = os.path.join(self.directory, "new.sqlite3")
        with open(empty, "wb") as file:
            fcntl.lockf(file, fcntl.LOCK_EX)
            with self.assertRaises(LockError) as caught:
                observe(empty)
            self.assertEqual(caught.exception.reason, "not_found")
            self.assert_kept(empty)

    def test_stay_where_their_file_is_named_outright(self) -> None:
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(self.directory)
        calls = [Lock, observe, lockbyfile.break_lock, lockbyfile.remove, AsyncLock]
        for path in self.files:
            for name in (path, "./" + os.path.basename(path)):
                for call in calls:
                    with self.assertRaises(LockError) as caught:
                        call(name)
                    self.assertEqual(caught.exception.reason, "wrong_engine")
                    with self.subTest(call=call.__name__, name=name):
                        self.assert_kept(path)
                with self.assertRaises(LockError):
                    filelock.FileLock(name).acquire(timeout=0)
                lockbyfile.FLock(name).locking()  # appends .lockfile
                with self.subTest(name=name):
                    self.assert_kept(path)


if __name__ == "__main__":
    unittest.main()
