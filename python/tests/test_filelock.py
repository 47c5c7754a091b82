# SPDX-License-Identifier: Apache-2.0
"""The API of filelock: what the original promises, of both; and what is ours, of ours."""

from __future__ import annotations

import asyncio
import _thread
import contextlib
import copy
import functools
import gc
import importlib.util
import logging
import multiprocessing
import os
import pickle
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import unittest.mock
import warnings
from typing import Any, Callable

import lockbyfile
from lockbyfile import filelock as ours
from support import eventually, interrupt

try:
    import filelock as original
except ImportError:
    original = None  # type: ignore[assignment]

HOLD = """
import sys
{migrate}
import filelock
lock = getattr(filelock, sys.argv[2])(sys.argv[1], **eval(sys.argv[3]))
lock.acquire()
print("held", flush=True)
sys.stdin.readline()
lock.release()
print("released", flush=True)
sys.stdin.readline()
"""
MIGRATE = "import lockbyfile.filelock; sys.modules['filelock'] = lockbyfile.filelock"


def in_thread(function: Callable[[], Any]) -> Any:
    """What it returns or raises in another thread, which has ended then."""
    result: list[Any] = []

    def run() -> None:
        try:
            result.append(function())
        except BaseException as error:
            result.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(30)
    return result[0]


def add_one(lock: Any, _: int) -> None:
    with lock:
        with open(lock.lock_file + ".count") as file:
            count = int(file.read())
        with open(lock.lock_file + ".count", "w") as file:
            file.write(str(count + 1))


class Case(unittest.TestCase):
    module: Any = ours
    migrate = MIGRATE

    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = directory.name
        self.path = os.path.join(directory.name, "the.lock")

    def holder(self, kind: str = "FileLock", **options: Any) -> subprocess.Popen[str]:
        code = HOLD.format(migrate=self.migrate)
        process = subprocess.Popen(
            [sys.executable, "-c", code, self.path, kind, repr(options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        self.tells(process, "held")
        return process

    def tells(self, process: subprocess.Popen[str], what: str) -> None:
        assert process.stdout is not None
        self.assertEqual(process.stdout.readline().strip(), what)

    def go_on(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()

    def is_free(self) -> bool:
        """As another lock sees it."""
        other = self.module.FileLock(self.path)
        try:
            other.acquire(timeout=0)
        except self.module.Timeout:
            return False
        other.release()
        return True


class Claims:
    """What the original does, and ours has to do."""

    def test_two_processes_exclude_each_other(self: Any) -> None:
        process = self.holder()
        self.assertFalse(self.is_free())
        self.go_on(process)
        self.tells(process, "released")
        self.assertTrue(self.is_free())

    def test_a_killed_holders_lock_is_had_at_once(self: Any) -> None:
        process = self.holder()
        process.kill()
        process.wait()
        with self.module.FileLock(self.path, timeout=1) as lock:
            self.assertTrue(lock.is_locked)

    def test_a_waiter_gets_it_when_it_is_released(self: Any) -> None:
        process = self.holder()
        lock = self.module.FileLock(self.path)
        self.go_on(process)
        with lock.acquire(timeout=30):
            self.tells(process, "released")

    def test_only_the_last_release_opens_a_nested_lock(self: Any) -> None:
        lock = self.module.FileLock(self.path)
        with lock:
            with lock:
                with lock.acquire():
                    pass
            self.assertTrue(lock.is_locked)
            self.assertFalse(self.is_free())
        self.assertFalse(lock.is_locked)
        self.assertTrue(self.is_free())

    def test_release_by_force_opens_a_nested_lock(self: Any) -> None:
        lock = self.module.FileLock(self.path)
        lock.acquire()
        lock.acquire()
        lock.release(force=True)
        self.assertFalse(lock.is_locked)
        self.assertTrue(self.is_free())
        lock.acquire()
        lock.release()
        self.assertTrue(self.is_free())

    def test_release_without_a_lock_does_nothing(self: Any) -> None:
        lock = self.module.FileLock(self.path)
        lock.release()
        lock.release(force=True)
        with lock:
            self.assertFalse(self.is_free())

    def test_the_proxy_gives_the_lock_and_releases_it(self: Any) -> None:
        lock = self.module.FileLock(self.path)
        proxy = lock.acquire()
        self.assertIs(type(proxy), self.module.AcquireReturnProxy)
        with proxy as inner:
            self.assertIs(inner, lock)
        self.assertTrue(self.is_free())

    def test_with_releases_when_the_block_raises(self: Any) -> None:
        with self.assertRaises(KeyError):
            with self.module.FileLock(self.path):
                raise KeyError
        self.assertTrue(self.is_free())

    def test_a_decorated_function_runs_under_the_lock(self: Any) -> None:
        seen = []
        lock = self.module.FileLock(self.path)

        @lock
        def work() -> str:
            seen.append(lock.is_locked and not self.is_free())
            return "done"

        self.assertEqual(work(), "done")
        self.assertEqual(seen, [True])
        self.assertTrue(self.is_free())

    def test_a_dropped_lock_is_released(self: Any) -> None:
        lock = self.module.FileLock(self.path)
        lock.acquire()
        del lock
        self.assertTrue(self.is_free())

    def test_timeout_is_a_timeouterror_that_names_the_file(self: Any) -> None:
        with self.module.FileLock(self.path):
            with self.assertRaises(TimeoutError) as caught:
                self.module.FileLock(self.path, timeout=0.01).acquire()
        error = caught.exception
        self.assertIs(type(error), self.module.Timeout)
        self.assertEqual(error.lock_file, self.path)
        self.assertEqual(str(error), f"The file lock '{self.path}' could not be acquired.")

    def test_a_failed_acquire_leaves_nothing_behind(self: Any) -> None:
        waiter = self.module.FileLock(self.path)
        with self.module.FileLock(self.path):
            for options in ({"timeout": 0}, {"timeout": 0.01}, {"blocking": False}):
                with self.assertRaises(self.module.Timeout):
                    waiter.acquire(**options)
            self.assertFalse(waiter.is_locked)
        with waiter:
            pass
        self.assertTrue(self.is_free())

    def test_the_timeout_of_the_lock_is_the_default_of_acquire(self: Any) -> None:
        waiter = self.module.FileLock(self.path)
        self.assertEqual(waiter.timeout, -1)
        waiter.timeout = "0"
        self.assertEqual(waiter.timeout, 0.0)
        with self.module.FileLock(self.path):
            with self.assertRaises(self.module.Timeout):
                waiter.acquire()

    def test_the_path_reads_back_as_given(self: Any) -> None:
        self.assertEqual(self.module.FileLock("./a/../b").lock_file, "./a/../b")
        self.assertEqual(self.module.FileLock(__import__("pathlib").Path("x")).lock_file, "x")

    def test_the_file_is_at_the_path_and_not_before_acquire(self: Any) -> None:
        lock = self.module.FileLock(self.path)
        self.assertEqual(os.listdir(self.directory), [])
        with lock:
            self.assertTrue(os.path.isfile(self.path))

    def test_a_name_without_a_slash_is_in_the_directory_at_acquire(self: Any) -> None:
        lock = self.module.FileLock("plain")
        before = os.getcwd()
        os.chdir(self.directory)
        try:
            with lock:
                self.assertTrue(os.path.isfile("plain"))
            os.mkdir("below")
            os.chdir("below")
            with lock:
                self.assertTrue(os.path.isfile("plain"))
        finally:
            os.chdir(before)

    def test_an_empty_file_can_be_locked(self: Any) -> None:
        open(self.path, "w").close()
        with self.module.FileLock(self.path, timeout=0):
            self.assertFalse(self.is_free())

    def test_the_deprecated_spelling_warns(self: Any) -> None:
        with self.assertWarnsRegex(DeprecationWarning, "use poll_interval instead of") as caught:
            with self.module.FileLock(self.path).acquire(poll_intervall=0.01):
                pass
        self.assertEqual(caught.filename, __file__)

    def test_a_soft_locks_file_is_gone_after_release(self: Any) -> None:
        with self.module.SoftFileLock(self.path) as lock:
            self.assertTrue(os.path.exists(self.path))
            with self.assertRaises(self.module.Timeout):
                self.module.SoftFileLock(self.path, timeout=0).acquire()
        self.assertFalse(os.path.exists(self.path))
        with lock:
            self.assertTrue(os.path.exists(self.path))

    def test_it_logs_what_it_does(self: Any) -> None:
        lock = self.module.FileLock(self.path)
        other = self.module.FileLock(self.path)
        with self.assertLogs("filelock", logging.DEBUG) as logs:
            with lock:
                for options in ({"blocking": False}, {"timeout": 0.01}):
                    with self.assertRaises(self.module.Timeout):
                        other.acquire(poll_interval=0.01, **options)
        attempt = "Attempting to acquire lock %s on %s"
        texts = [str(record.msg) for record in logs.records]
        steps = [text for i, text in enumerate(texts) if i == 0 or text != texts[i - 1]]
        while attempt in steps[5:]:  # of the original, at each poll
            del steps[5 + steps[5:].index(attempt)]
        steps = [text for i, text in enumerate(steps) if i == 0 or text != steps[i - 1]]
        self.assertEqual(
            steps,
            [
                attempt,
                "Lock %s acquired on %s",
                attempt,
                "Failed to immediately acquire lock %s on %s",
                attempt,
                "Lock %s not acquired on %s, waiting %s seconds ...",
                "Timeout on acquiring lock %s on %s",
                "Attempting to release lock %s on %s",
                "Lock %s released on %s",
            ],
        )
        self.assertEqual({record.levelno for record in logs.records}, {logging.DEBUG})
        self.assertEqual(logs.records[0].args, (id(lock), self.path))

    def test_the_public_names_are_there(self: Any) -> None:
        for name in ours.__all__ if self.module is ours else original.__all__:
            self.assertTrue(hasattr(self.module, name), name)
        for kind in (self.module.FileLock, self.module.UnixFileLock, self.module.SoftFileLock):
            self.assertTrue(issubclass(kind, self.module.BaseFileLock))


class Ours(Claims, Case):
    pass


@unittest.skipIf(original is None, "filelock is not installed")
class TheOriginal(Claims, Case):
    module = original
    migrate = ""


class TheNewerApi(Case):
    """Of filelock after 3.9, and what only ours can do."""

    def tearDown(self) -> None:
        for thread in threading.enumerate():
            if thread.name.startswith("filelock "):
                thread.join(30)
                self.assertFalse(thread.is_alive(), "a lock left its thread behind")

    @unittest.skipIf(original is None, "filelock is not installed")
    def test_every_public_name_of_the_original_is_there(self) -> None:
        self.assertLessEqual(set(original.__all__), set(ours.__all__))
        for name in ("FileLock", "SoftFileLock"):
            members = {m for m in dir(getattr(original, name)) if not m.startswith("_")}
            self.assertLessEqual(members, set(dir(getattr(ours, name))))

    def test_the_counter_counts(self) -> None:
        lock = ours.FileLock(self.path)
        counts = [lock.lock_counter]
        with lock:
            counts.append(lock.lock_counter)
            with lock:
                counts.append(lock.lock_counter)
            counts.append(lock.lock_counter)
        counts.append(lock.lock_counter)
        self.assertEqual(counts, [0, 1, 2, 1, 0])

    def test_threads_exclude_each_other_by_default(self) -> None:
        lock = ours.FileLock(self.path)
        with lock:
            self.assertFalse(in_thread(lambda: lock.is_locked))
            self.assertIsInstance(in_thread(lambda: lock.acquire(timeout=0)), ours.Timeout)
            in_thread(lambda: lock.release(force=True))
            self.assertTrue(lock.is_locked)

    def test_what_a_thread_holds_by_default_is_given_back_when_it_ends(self) -> None:
        lock = ours.FileLock(self.path)
        in_thread(lock.acquire)
        self.assertTrue(self.is_free())

    def test_a_shared_lock_outlives_its_thread_and_another_releases_it(self) -> None:
        lock = ours.FileLock(self.path, thread_local=False)
        in_thread(lock.acquire)
        self.assertTrue(lock.is_locked)
        self.assertFalse(self.is_free())
        lock.release()
        self.assertTrue(self.is_free())

    def test_a_shared_lock_is_nested_across_threads(self) -> None:
        lock = ours.FileLock(self.path, thread_local=False)
        with lock:
            in_thread(lambda: lock.acquire(timeout=0))
            self.assertEqual(lock.lock_counter, 2)
        self.assertFalse(self.is_free())
        in_thread(lock.release)
        self.assertTrue(self.is_free())

    def test_threads_that_wait_with_a_shared_lock_get_it_together(self) -> None:
        lock = ours.FileLock(self.path, thread_local=False)
        everyone = threading.Barrier(3)

        def hold_with_the_other() -> None:
            with lock.acquire(timeout=30):
                everyone.wait(30)

        with ours.FileLock(self.path):
            threads = [threading.Thread(target=hold_with_the_other) for _ in range(2)]
            for thread in threads:
                thread.start()
            while not lockbyfile.observe(self.path).waiters:
                pass
            with self.assertRaises(ours.Timeout):
                lock.acquire(blocking=False)
        everyone.wait(30)
        for thread in threads:
            thread.join()
        self.assertEqual(lock.lock_counter, 0)
        self.assertTrue(self.is_free())

    def test_a_failed_acquire_of_a_shared_lock_leaves_nothing_behind(self) -> None:
        lock = ours.FileLock(self.path, thread_local=False)
        with ours.FileLock(self.path):
            for timeout in (0, 0.01):
                with self.assertRaises(ours.Timeout):
                    lock.acquire(timeout)
        self.assertEqual(lock.lock_counter, 0)
        self.assertTrue(self.is_free())

    def test_a_kept_timeout_of_a_shared_lock_keeps_no_file_open(self) -> None:
        def open_files() -> int:
            return len(os.listdir("/proc/self/fd"))

        lock = ours.FileLock(self.path, thread_local=False)
        with ours.FileLock(self.path):
            before = open_files()
            try:
                lock.acquire(0)
            except ours.Timeout as timeout:
                kept = timeout
            self.tearDown()
            self.assertEqual(open_files(), before)
            self.assertIsNotNone(kept.__cause__)

    def test_an_interrupted_wait_leaves_nothing_behind(self) -> None:
        class Interrupt(BaseException):
            pass

        def interrupt(*ignored: object) -> None:
            raise Interrupt

        before = signal.signal(signal.SIGUSR1, interrupt)
        self.addCleanup(signal.signal, signal.SIGUSR1, before)

        def interrupt_the_waiter() -> None:
            while not lockbyfile.observe(self.path).waiters:
                pass
            os.kill(os.getpid(), signal.SIGUSR1)

        for thread_local in (True, False):
            with self.subTest(thread_local=thread_local):
                lock = ours.FileLock(self.path, thread_local=thread_local)
                with ours.FileLock(self.path):
                    thread = threading.Thread(target=interrupt_the_waiter)
                    thread.start()
                    with self.assertRaises(Interrupt):
                        lock.acquire(timeout=600)
                    thread.join()
                    self.assertEqual(lockbyfile.observe(self.path).waiters, [])
                self.assertEqual(lock.lock_counter, 0)
                self.assertTrue(self.is_free())

    def test_an_interrupt_that_wakes_nobody_ends_the_wait(self) -> None:
        def interrupt_unheard() -> None:
            while not lockbyfile.observe(self.path).waiters:
                pass
            _thread.interrupt_main()  # marks a signal as come, as one does right before a sleep

        for thread_local in (True, False):
            with self.subTest(thread_local=thread_local), ours.FileLock(self.path):
                lock = ours.FileLock(self.path, thread_local=thread_local)
                thread = threading.Thread(target=interrupt_unheard)
                thread.start()
                begun = time.monotonic()
                with self.assertRaises(KeyboardInterrupt):
                    lock.acquire(timeout=30)
                self.assertLess(time.monotonic() - begun, 15)
                thread.join()
                self.assertEqual(lockbyfile.observe(self.path).waiters, [])

    def test_an_interrupt_at_any_line_leaves_a_lock_that_can_be_had(self) -> None:
        def use() -> None:
            with lock:
                pass

        lock, at = ours.FileLock(self.path), 1
        while interrupt(use, "lockbyfile/filelock.py", at):
            with contextlib.suppress(lockbyfile.LockError):
                lock.release(force=True)  # which may find it given back already
            with lock:
                self.assertEqual(lock.lock_counter, 1)
            self.assertTrue(self.is_free(), f"line {at}")
            at += 1
        self.assertGreater(at, 50)

    def test_a_process_can_end_while_it_holds_a_shared_lock(self) -> None:
        code = "import sys, lockbyfile.filelock as f\n"
        code += "lock = f.FileLock(sys.argv[1], thread_local=False)\nlock.acquire()"
        subprocess.run([sys.executable, "-c", code, self.path], check=True, timeout=30)
        self.assertTrue(self.is_free())

    def test_a_singleton_is_one_per_path_and_class(self) -> None:
        first = ours.FileLock(self.path, is_singleton=True)
        detour = os.path.join(self.directory, ".", "the.lock")
        self.assertIs(ours.FileLock(detour, is_singleton=True), first)
        self.assertTrue(first.is_singleton)
        self.assertIsNot(ours.FileLock(self.path), first)
        self.assertIsNot(ours.SoftFileLock(self.path, is_singleton=True), first)
        self.assertIsNot(ours.FileLock(self.path + "2", is_singleton=True), first)
        with self.assertRaisesRegex(ValueError, "existing lock has -1 but 3 was passed"):
            ours.FileLock(self.path, timeout=3, is_singleton=True)

    def test_arguments_read_back(self) -> None:
        lock = ours.FileLock(
            self.path, 3, 0o600, False, blocking=False, poll_interval=1, lifetime=9
        )
        self.assertEqual((lock.timeout, lock.mode, lock.is_thread_local()), (3, 0o600, False))
        self.assertEqual((lock.blocking, lock.poll_interval, lock.lifetime), (False, 1, 9))
        self.assertFalse(lock.is_singleton)

    def test_a_lock_that_does_not_block_tries_once(self) -> None:
        lock = ours.FileLock(self.path, blocking=False)
        with ours.FileLock(self.path):
            with self.assertRaises(ours.Timeout):
                lock.acquire()
        with lock:
            pass

    def test_the_mode_is_that_of_the_file(self) -> None:
        for mode in (0o600, 0o644):
            path = f"{self.path}{mode}"
            with ours.FileLock(path, mode=mode):
                self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), mode)

    def test_a_lifetime_opens_the_lock_and_the_late_holder_is_told(self) -> None:
        for thread_local in (True, False):
            with self.subTest(thread_local=thread_local):
                late = ours.FileLock(self.path, lifetime=0.05, thread_local=thread_local)
                late.acquire()
                with ours.FileLock(self.path, timeout=30):
                    self.assertFalse(late.is_locked)
                    with self.assertRaises(lockbyfile.LeaseLost):
                        late.acquire()
                    with self.assertRaises(lockbyfile.LeaseLost):
                        late.release()
                    self.assertEqual(late.lock_counter, 0)
                    self.assertFalse(self.is_free())
                with late:
                    self.assertTrue(late.is_locked)

    def test_a_lifetime_is_in_the_lock(self) -> None:
        with ours.FileLock(self.path, lifetime=1000):
            holder = lockbyfile.observe(self.path).holder
            assert holder is not None
            self.assertEqual(holder.lease, 1000)

    def test_a_lifetime_that_is_none_is_refused(self) -> None:
        for value in (0, -1, float("inf"), float("nan")):
            with self.assertRaises(ValueError):
                ours.FileLock(self.path, lifetime=value)
        for wrong in (True, "1"):
            with self.assertRaises(TypeError):
                ours.FileLock(self.path, lifetime=wrong)  # type: ignore[arg-type]

    def test_a_broken_lock_is_logged_and_not_raised(self) -> None:
        lock = ours.FileLock(self.path)
        lock.acquire()
        lockbyfile.break_lock(self.path)
        with self.assertLogs("filelock", logging.WARNING) as logs:
            lock.release()
        self.assertIn("was lost on", logs.output[0])
        self.assertTrue(self.is_free())

    def test_a_foreign_file_is_an_oserror_and_left_as_it_is(self) -> None:
        with open(self.path, "w") as file:
            file.write("somebody's")
        with self.assertRaises(OSError) as caught:
            ours.FileLock(self.path).acquire()
        self.assertEqual(caught.exception.reason, "wrong_engine")  # type: ignore[attr-defined]
        with open(self.path) as file:
            self.assertEqual(file.read(), "somebody's")

    def test_a_killed_soft_lock_is_had_at_once(self) -> None:
        process = self.holder("SoftFileLock")
        process.kill()
        process.wait()
        with ours.SoftFileLock(self.path, timeout=1):
            pass

    def test_soft_locks_that_remove_their_file_exclude_each_other(self) -> None:
        inside: list[int] = []
        overlaps: list[int] = []

        def work(number: int) -> None:
            lock = ours.SoftFileLock(self.path)
            for _ in range(50):
                with lock:
                    inside.append(number)
                    if len(inside) > 1:
                        overlaps.append(number)
                    inside.remove(number)

        threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(overlaps, [])
        self.assertFalse(os.path.exists(self.path))

    def test_a_forked_child_holds_nothing_and_can_wait(self) -> None:
        for thread_local in (True, False):
            with self.subTest(thread_local=thread_local):
                lock = ours.FileLock(self.path, thread_local=thread_local)
                lock.acquire()
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", DeprecationWarning)  # threads and fork
                    child = os.fork()
                if child == 0:
                    good = not lock.is_locked and lock.lock_counter == 0
                    lock.release(force=True)
                    try:
                        lock.acquire(timeout=0)
                        good = False
                    except ours.Timeout:
                        pass
                    with lock.acquire(timeout=30):
                        os._exit(0 if good else 1)
                while not lockbyfile.observe(self.path).waiters:
                    pass
                self.assertTrue(lock.is_locked)
                lock.release()
                self.assertEqual(os.waitpid(child, 0)[1], 0)

    # Deadlocks

    def test_a_wait_that_only_its_own_thread_could_end_is_told(self) -> None:
        for holding in ("FileLock", "SoftFileLock"):
            for waiting in ("FileLock", "SoftFileLock"):
                for thread_local in (True, False):
                    with self.subTest(f"{holding}, {waiting}, thread_local={thread_local}"):
                        first = getattr(ours, holding)(self.path, thread_local=thread_local)
                        detour = os.path.join(self.directory, ".", "the.lock")
                        second = getattr(ours, waiting)(detour, thread_local=thread_local)
                        with first:
                            with self.assertRaisesRegex(RuntimeError, "Deadlock: lock .*is_singleton"):
                                second.acquire()
                            with self.assertRaisesRegex(RuntimeError, "already held by a different"):
                                second.acquire(timeout=-1, cancel_check=lambda: False)
                            self.assertEqual(second.lock_counter, 0)
                            self.assertFalse(second.is_locked)
                            self.assertTrue(first.is_locked)
                        with second:
                            self.assertTrue(second.is_locked)

    def test_a_wait_that_ends_by_itself_is_no_deadlock(self) -> None:
        with ours.FileLock(self.path):
            for options in ({"timeout": 0}, {"timeout": 0.01}, {"blocking": False}):
                with self.assertRaises(ours.Timeout):
                    ours.FileLock(self.path).acquire(**options)
        with ours.FileLock(self.path, lifetime=0.01) as late:
            second = ours.FileLock(self.path)
            second.acquire()  # once the lifetime is over
            second.release()
            with self.assertRaises(lockbyfile.LeaseLost):
                late.release()

    def test_a_wait_that_another_thread_can_end_is_no_deadlock(self) -> None:
        first = ours.FileLock(self.path)
        first.acquire()
        got: list[bool] = []
        waiter = threading.Thread(target=lambda: got.append(ours.FileLock(self.path).acquire() is not None))
        waiter.start()
        eventually(lambda: bool(lockbyfile.observe(self.path).waiters))
        first.release()
        waiter.join(30)
        self.assertEqual(got, [True])

    def test_a_lock_that_was_lost_deadlocks_nobody(self) -> None:
        first = ours.FileLock(self.path)
        first.acquire()
        lockbyfile.break_lock(self.path)
        with ours.FileLock(self.path):
            pass
        with self.assertLogs("filelock", logging.WARNING):
            first.release()

    def test_a_thread_that_ended_with_the_lock_deadlocks_no_later_one(self) -> None:
        def take() -> Any:
            return ours.FileLock(self.path).acquire() and "taken"

        for _ in range(20):  # the system uses a thread's number again
            self.assertEqual(in_thread(take), "taken")

    # Fork and the collector

    def test_a_fork_amid_a_singletons_construction_leaves_the_child_free(self) -> None:
        inside, go_on = threading.Event(), threading.Event()

        class Slow(ours.FileLock):  # type: ignore[misc]
            def __init__(self, *args: Any, **kwargs: Any) -> None:
                if threading.current_thread() is maker:
                    inside.set()
                    go_on.wait(60)
                super().__init__(*args, **kwargs)

        maker = threading.Thread(target=lambda: Slow(self.path, is_singleton=True))
        maker.start()
        inside.wait(60)
        child = os.fork()
        if child == 0:
            signal.alarm(20)  # which ends a child that hangs
            try:
                with Slow(self.path, is_singleton=True):
                    os._exit(0)
            finally:
                os._exit(1)
        self.assertEqual(os.waitpid(child, 0)[1], 0)
        go_on.set()
        maker.join()

    def test_a_lock_collected_in_its_own_server_is_released(self) -> None:
        for kind in (ours.FileLock, ours.SoftFileLock):
            lock = kind(self.path, thread_local=False)
            lock.acquire()
            server = lock._context.hold
            lock.cycle = lock
            gc.disable()
            self.addCleanup(gc.enable)
            del lock
            server._post(gc.collect).result(30)
            eventually(self.is_free)

    def test_locks_collected_in_each_others_servers_are_released(self) -> None:
        gc.disable()
        self.addCleanup(gc.enable)
        paths = [self.path, self.path + "2"]
        locks = [ours.FileLock(path, thread_local=False) for path in paths]
        servers = []
        for lock in locks:
            lock.acquire()
            servers.append(lock._context.hold)
        ready = threading.Barrier(2)

        def drop(at: int) -> None:
            ready.wait(30)
            locks[at] = None

        del lock
        done = [servers[0]._post(lambda: drop(1)), servers[1]._post(lambda: drop(0))]
        for one in done:
            one.result(30)
        self.path = paths[0]
        eventually(self.is_free)
        self.path = paths[1]
        eventually(self.is_free)

    # What came after 3.9

    def test_missing_directories_are_made(self) -> None:
        for kind in ("FileLock", "SoftFileLock"):
            for thread_local in (True, False):
                with self.subTest(kind=kind, thread_local=thread_local):
                    top = os.path.join(self.directory, f"{kind}{thread_local}")
                    path = os.path.join(top, "a", "b", "lock")
                    lock = getattr(ours, kind)(path, thread_local=thread_local)
                    with lock:
                        self.assertTrue(os.path.exists(path))
                    shutil.rmtree(top)
                    time.sleep(0.01)  # an open lock looks for its file once in a millisecond
                    with lock:
                        self.assertTrue(os.path.exists(path), "made anew")

    def test_a_file_in_the_place_of_a_directory_is_an_error(self) -> None:
        with open(self.path, "w"):
            pass
        for path in (self.path + "/lock", self.path + "/no/lock"):
            with self.assertRaises((FileExistsError, NotADirectoryError)):
                ours.FileLock(path).acquire()

    def test_an_unset_mode_is_0666_less_the_umask(self) -> None:
        for umask in (0o022, 0o002, 0o077, 0o000):
            before = os.umask(umask)
            self.addCleanup(os.umask, before)
            path = f"{self.path}{umask}"
            with ours.FileLock(path) as lock:
                self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o666 & ~umask)
                self.assertEqual(lock.mode, 0o644)
                self.assertFalse(lock.has_explicit_mode)
            with ours.FileLock(path + "x", mode=0o640) as lock:
                self.assertEqual(stat.S_IMODE(os.stat(path + "x").st_mode), 0o640)
                self.assertTrue(lock.has_explicit_mode)
            os.umask(before)

    def test_a_shared_lock_is_pickled_and_copied_without_its_grant(self) -> None:
        for kind in (ours.FileLock, ours.SoftFileLock, ours.AsyncFileLock, ours.AsyncSoftFileLock):
            with self.subTest(kind=kind.__name__):
                lock = kind(
                    self.path, timeout=7, mode=0o640, thread_local=False, poll_interval=0.5, lifetime=9
                )
                if not isinstance(lock, ours.BaseAsyncFileLock):
                    lock.acquire()
                for copied in (pickle.loads(pickle.dumps(lock)), copy.deepcopy(lock)):
                    self.assertIs(type(copied), kind)
                    self.assertEqual(
                        (copied.lock_file, copied.timeout, copied.mode, copied.poll_interval, copied.lifetime),
                        (self.path, 7, 0o640, 0.5, 9),
                    )
                    self.assertFalse(copied.is_locked)
                    self.assertEqual(copied.lock_counter, 0)
                if lock.is_locked:
                    with self.assertRaises(ours.Timeout):
                        copied.acquire(timeout=0)
                    lock.release()
                    with copied:
                        self.assertTrue(copied.is_locked)

    def test_a_lock_of_each_thread_is_not_pickled(self) -> None:
        for action in (pickle.dumps, copy.deepcopy):
            with self.assertRaisesRegex(TypeError, "cannot be pickled"):
                action(ours.FileLock(self.path))

    def test_a_pool_shares_a_lock_by_pickling(self) -> None:
        for method in ("fork", "spawn"):
            with self.subTest(method=method):
                lock = ours.FileLock(self.path, thread_local=False)
                with open(self.path + ".count", "w") as file:
                    file.write("0")
                with multiprocessing.get_context(method).Pool(4) as pool:
                    pool.map(functools.partial(add_one, lock), range(40), 1)
                with open(self.path + ".count") as file:
                    self.assertEqual(file.read(), "40")

    def test_cancel_check_ends_a_wait_like_a_timeout(self) -> None:
        for thread_local in (True, False):
            with self.subTest(thread_local=thread_local):
                lock = ours.FileLock(self.path, thread_local=thread_local)
                calls: list[int] = []

                def third() -> bool:
                    calls.append(1)
                    return len(calls) > 2

                with lock.acquire(cancel_check=third):
                    self.assertEqual(calls, [], "nobody was waited for")
                process = self.holder()
                with self.assertRaises(ours.Timeout):
                    lock.acquire(poll_interval=0.01, cancel_check=third)
                self.assertEqual(len(calls), 3)
                self.assertEqual(lockbyfile.observe(self.path).waiters, [])
                with self.assertRaises(ours.Timeout):
                    lock.acquire(timeout=0.05, poll_interval=0.01, cancel_check=lambda: False)
                with self.assertRaises(ZeroDivisionError):
                    lock.acquire(poll_interval=0.01, cancel_check=lambda: bool(1 / 0))
                self.assertEqual(lock.lock_counter, 0)
                process.kill()
                process.wait()
                with lock.acquire(cancel_check=lambda: False):
                    self.assertFalse(self.is_free())

    def test_a_wait_with_cancel_check_keeps_its_place(self) -> None:
        process = self.holder()
        order: list[str] = []

        def wait(name: str, **options: Any) -> threading.Thread:
            def run() -> None:
                with ours.FileLock(self.path).acquire(**options):
                    order.append(name)

            before = len(lockbyfile.observe(self.path).waiters)
            thread = threading.Thread(target=run)
            thread.start()
            eventually(lambda: len(lockbyfile.observe(self.path).waiters) > before)
            return thread

        asked = threading.Event()
        calls: list[int] = []

        def never() -> bool:
            calls.append(1)
            if len(calls) > 20:
                asked.set()
            return False

        threads = [wait("first", poll_interval=0.001, cancel_check=never), wait("second")]
        self.assertTrue(asked.wait(60), "it is asked again and again")
        self.go_on(process)
        for thread in threads:
            thread.join(30)
        self.assertEqual(order, ["first", "second"])

    def test_a_soft_lock_tells_its_holder_and_can_be_broken(self) -> None:
        lock = ours.SoftFileLock(self.path)
        self.assertIsNone(lock.pid)
        self.assertFalse(lock.is_lock_held_by_us)
        with lock:
            self.assertEqual(lock.pid, os.getpid())
            self.assertTrue(lock.is_lock_held_by_us)
            self.assertTrue(ours.SoftFileLock(self.path).is_lock_held_by_us)
        self.assertIsNone(lock.pid)
        process = self.holder("SoftFileLock")
        self.assertEqual(lock.pid, process.pid)
        self.assertFalse(lock.is_lock_held_by_us)
        lock.break_lock()
        self.assertIsNone(lock.pid)
        self.assertFalse(os.path.exists(self.path))
        with lock:
            self.assertTrue(lock.is_lock_held_by_us)
        lock.break_lock()  # nothing is there

    def test_the_keywords_of_3_30_are_taken(self) -> None:
        lock = ours.FileLock(
            self.path,
            context_error_policy="group",
            close_error_policy="suppress",
            fallback_to_soft=False,
            preserve_lock_file=True,
            on_acquired=None,
        )
        self.assertEqual(lock.context_error_policy, "group")
        self.assertEqual(lock.close_error_policy, "suppress")
        self.assertFalse(lock.fallback_to_soft)
        self.assertTrue(lock.preserve_lock_file)
        self.assertIsNone(lock.on_acquired)
        for wrong in (
            {"context_error_policy": "both"},
            {"close_error_policy": "never"},
            {"on_acquired": print},
        ):
            for kind in (ours.FileLock, ours.SoftFileLock, ours.AsyncFileLock):
                with self.assertRaises(ValueError):
                    kind(self.path, **wrong)
        with self.assertRaisesRegex(ValueError, "removes its file"):
            ours.SoftFileLock(self.path, preserve_lock_file=True)
        single = ours.FileLock(self.path, is_singleton=True)
        with self.assertRaisesRegex(ValueError, "context_error_policy"):
            ours.FileLock(self.path, is_singleton=True, context_error_policy="group")
        del single

    def test_a_block_and_a_release_that_fail_are_both_raised(self) -> None:
        for enter in (lambda lock: lock, lambda lock: lock.acquire()):
            for policy in ("chain", "group"):
                lock = ours.FileLock(self.path, lifetime=60, context_error_policy=policy)
                with self.subTest(policy=policy), self.assertRaises(BaseException) as caught:
                    with enter(lock):
                        lockbyfile.break_lock(self.path)
                        raise ZeroDivisionError
                if policy == "group":
                    assert isinstance(caught.exception, BaseExceptionGroup)
                    kinds = [type(error) for error in caught.exception.exceptions]
                    self.assertEqual(kinds, [ZeroDivisionError, lockbyfile.LeaseLost])
                else:
                    self.assertIsInstance(caught.exception, lockbyfile.LeaseLost)
                    self.assertIsInstance(caught.exception.__context__, ZeroDivisionError)

    # SoftFileLock keeps the file of a lock that is taken again and again

    def file_now(self) -> int:
        return os.stat(self.path).st_ino if os.path.exists(self.path) else 0

    def test_a_soft_lock_taken_again_and_again_does_not_make_its_file_anew(self) -> None:
        lock = ours.SoftFileLock(self.path)
        lock.acquire()
        lock.release()
        self.assertFalse(os.path.exists(self.path), "the first time it goes at once")
        files = set()
        with unittest.mock.patch.object(ours._idle, "AGAIN", 3600), unittest.mock.patch.object(
            ours._idle, "LINGER", 3600
        ):
            for _ in range(100):
                with lock:
                    files.add(self.file_now())
            self.assertEqual(len(files), 1)
            del lock
            self.assertFalse(os.path.exists(self.path), "it goes with its object")
            for _ in range(100):
                with ours.SoftFileLock(self.path):
                    files.add(self.file_now())
            self.assertLess(len(files), 20)
        ours._idle.flush()
        self.assertFalse(os.path.exists(self.path))

    def patient(self) -> Any:
        """What stays for a moment, stays."""
        stack = contextlib.ExitStack()
        for name in ("AGAIN", "LINGER"):
            stack.enter_context(unittest.mock.patch.object(ours._idle, name, 3600))
        stack.callback(ours._idle.flush)
        return stack

    def opened(self, function: Callable[[], None]) -> int:
        """How many Locks it opens."""
        with unittest.mock.patch.object(ours, "Lock", wraps=ours.Lock) as made:
            function()
        return made.call_count

    def use(self, kind: str, path: str, times: int = 100) -> None:
        for _ in range(times):
            with getattr(ours, kind)(path):
                pass

    def test_objects_made_and_dropped_again_and_again_find_the_lock_open(self) -> None:
        for kind in ("FileLock", "SoftFileLock"):
            with self.subTest(kind), self.patient():
                self.assertLess(self.opened(lambda: self.use(kind, self.path)), 10)
                self.assertEqual(self.opened(lambda: in_thread(lambda: self.use(kind, self.path, 1))), 1)
                self.assertTrue(self.is_free())

    def test_an_open_lock_is_closed_after_a_moment(self) -> None:
        def open_now() -> int:
            files = os.scandir("/proc/self/fd")
            return sum(os.path.realpath(file.path).startswith(self.path) for file in files)

        with self.patient():
            self.use("FileLock", self.path)
            self.assertEqual(open_now(), 1)
        self.assertEqual(open_now(), 0, "flush() closes it")
        self.use("FileLock", self.path)
        eventually(lambda: open_now() == 0)
        in_thread(lambda: self.use("FileLock", self.path))
        eventually(lambda: open_now() == 0)

    def test_a_lock_is_that_of_the_file_to_which_its_path_leads_now(self) -> None:
        places = [os.path.join(self.directory, name) for name in ("one", "two")]
        current = os.path.join(self.directory, "current")
        path = os.path.join(current, "the.lock")
        for place in places:
            os.mkdir(place)
        for kind in ("FileLock", "SoftFileLock"):
            kept = getattr(ours, kind)(path)
            objects = {"kept": lambda: kept, "new": lambda: getattr(ours, kind)(path)}
            for which, make in objects.items():
                with self.subTest(kind=kind, object=which), self.patient():
                    for place in places:
                        os.symlink(place, current + "-")
                        os.replace(current + "-", current)
                        time.sleep(0.05)  # the path is looked at once in a tick of the coarse clock
                        for _ in range(20):
                            with make():
                                held = [self.is_held_at(os.path.join(at, "the.lock")) for at in places]
                            self.assertEqual(held, [at == place for at in places])

    def test_a_program_that_removes_the_file_after_each_use_never_locks_a_removed_one(self) -> None:
        for kind in ("FileLock", "SoftFileLock"):
            kept = getattr(ours, kind)(self.path)
            objects = {"kept": lambda: kept, "new": lambda: getattr(ours, kind)(self.path)}
            for which, make in objects.items():
                with self.subTest(kind=kind, object=which), self.patient():
                    for _ in range(200):
                        for _ in range(3):
                            with make():
                                self.assertTrue(os.path.exists(self.path))
                        with contextlib.suppress(FileNotFoundError):
                            os.unlink(self.path)

    def is_held_at(self, path: str) -> bool:
        return os.path.exists(path) and lockbyfile.observe(path).holder is not None

    def test_a_soft_lock_removes_the_file_that_it_locked_wherever_the_program_is_then(self) -> None:
        places = [os.path.join(self.directory, name) for name in ("here", "there")]
        self.addCleanup(os.chdir, os.getcwd())
        for place in places:
            os.mkdir(place)
        for name, options in {"own": {}, "shared": {"thread_local": False}}.items():
            for place in places:
                with open(os.path.join(place, name), "w"):
                    pass
            os.chdir(places[0])
            with ours.SoftFileLock(name, **options):
                os.chdir(places[1])
            there = [os.path.exists(os.path.join(place, name)) for place in places]
            self.assertEqual(there, [False, True], name)

    def test_a_held_soft_lock_that_another_thread_drops_is_released_and_its_file_removed(self) -> None:
        for options in ({}, {"thread_local": False}):
            kept = [ours.SoftFileLock(self.path, **options)]
            kept[0].acquire()
            in_thread(kept.clear)
            eventually(lambda: not os.path.exists(self.path))

    def test_a_soft_locks_file_is_removed_at_once_where_no_thread_can_be_started(self) -> None:
        lock = ours.SoftFileLock(self.path)
        with self.patient(), unittest.mock.patch.object(
            threading.Thread, "start", side_effect=RuntimeError("the interpreter ends")
        ):
            for _ in range(10):
                with lock:
                    pass
                self.assertFalse(os.path.exists(self.path))
            with unittest.mock.patch.object(ours._idle, "released"):
                self.assertGreater(self.opened(lambda: self.use("FileLock", self.path, 20)), 15)

    def test_an_idle_soft_locks_file_goes_after_a_moment(self) -> None:
        lock = ours.SoftFileLock(self.path)
        for _ in range(3):
            with lock:
                pass
        eventually(lambda: not os.path.exists(self.path))

    def test_a_soft_locks_file_goes_when_the_program_ends(self) -> None:
        code = "import sys, lockbyfile.filelock as f\nlock = f.SoftFileLock(sys.argv[1])\n"
        code += "for _ in range(3):\n    with lock: pass"
        subprocess.run([sys.executable, "-c", code, self.path], check=True, timeout=30)
        self.assertFalse(os.path.exists(self.path))

    def test_a_timeout_can_be_pickled_and_its_cause_tells_the_holder(self) -> None:
        with ours.FileLock(self.path):
            with self.assertRaises(ours.Timeout) as caught:
                ours.FileLock(self.path, timeout=0).acquire()
        self.assertEqual(pickle.loads(pickle.dumps(caught.exception)).lock_file, self.path)
        cause = caught.exception.__cause__
        assert isinstance(cause, lockbyfile.LockTimeout) and cause.holder is not None
        self.assertEqual(cause.holder.pid, os.getpid())

    def test_a_subclass_may_narrow_the_arguments(self) -> None:
        class Narrow(ours.FileLock):
            def __init__(self, lock_file: str) -> None:
                super().__init__(lock_file, timeout=0)

        with Narrow(self.path):
            with self.assertRaises(ours.Timeout):
                Narrow(self.path).acquire()

    def test_what_is_missing_says_so(self) -> None:
        with self.assertRaises(NotImplementedError):
            ours.WindowsFileLock(self.path).acquire()


UNDER_GEVENT = """
import sys
early = sys.argv[2] == "early"
if early:
    from gevent import monkey; monkey.patch_all()
import lockbyfile
from lockbyfile import filelock
path, kind, shared = sys.argv[1], getattr(filelock, sys.argv[3]), sys.argv[4] == "True"
before = kind(path, thread_local=not shared)
if not early:
    with before: pass
    from gevent import monkey; monkey.patch_all()
import gevent

def exclude_each_other(make):
    inside, most, passed = [], [0], []
    def work():
        with make():
            inside.append(1)
            most[0] = max(most[0], len(inside))
            gevent.sleep(0.02)
            inside.pop()
            passed.append(1)
    gevent.joinall([gevent.spawn(work) for _ in range(4)], raise_error=True, timeout=30)
    assert len(passed) == 4, passed
    return most[0] == 1

assert exclude_each_other(lambda: kind(path, thread_local=not shared))
assert exclude_each_other(lambda: before) == (not shared)

first, second = kind(path, thread_local=not shared), kind(path, thread_local=not shared)
with first:
    for options, wrong in (({}, RuntimeError), ({"timeout": 0.05}, filelock.Timeout)):
        try:
            second.acquire(**options)
        except wrong:
            pass
        else:
            raise AssertionError(options)
    def get(**options):
        other = kind(path, thread_local=not shared)
        try:
            with other.acquire(poll_interval=0.01, **options):
                return "got"
        except filelock.Timeout:
            return "gave up"
    waiting = gevent.spawn(get)
    gevent.sleep(0.05)
    behind = gevent.spawn(get, cancel_check=lambda: True)
    killed = gevent.spawn(get)
    assert behind.get(timeout=30) == "gave up"
    gevent.sleep(0.05)
    killed.kill(timeout=30)
    assert killed.dead
assert waiting.get(timeout=30) == "got"
with first:
    pass
"""


# AddressSanitizer takes the switch of a greenlet for an overflow of the stack.
@unittest.skipIf("libasan" in os.environ.get("LD_PRELOAD", ""), "greenlets under AddressSanitizer")
@unittest.skipIf(importlib.util.find_spec("gevent") is None, "gevent is not installed")
class UnderGevent(Case):
    """Greenlets are the threads of a program that is patched, before the import or after it."""

    def test_greenlets_exclude_each_other_and_wait_in_the_hub(self) -> None:
        for when in ("early", "late"):
            for kind in ("FileLock", "SoftFileLock"):
                for shared in (True, False):
                    with self.subTest(when=when, kind=kind, shared=shared):
                        subprocess.run(
                            [sys.executable, "-c", UNDER_GEVENT, self.path, when, kind, str(shared)],
                            check=True,
                            timeout=100,
                        )


class Asynchronous(Case, unittest.IsolatedAsyncioTestCase):
    """AsyncFileLock and AsyncSoftFileLock, of filelock after 3.15."""

    def tearDown(self) -> None:
        eventually(
            lambda: not [t for t in threading.enumerate() if t.name.startswith("lockbyfile ")]
        )

    async def until_it_waits(self) -> None:
        while not lockbyfile.observe(self.path).waiters:
            await asyncio.sleep(0.001)

    async def test_with_and_the_proxy_release_it(self) -> None:
        lock = ours.AsyncFileLock(self.path)
        async with lock as same:
            self.assertIs(same, lock)
            self.assertTrue(lock.is_locked)
        self.assertFalse(lock.is_locked)
        async with await lock.acquire() as same:
            self.assertIs(same, lock)
        self.assertFalse(lock.is_locked)
        with self.assertRaises(ZeroDivisionError):
            async with lock:
                1 / 0
        self.assertFalse(lock.is_locked)

    async def test_another_process_excludes_it_and_it_is_woken(self) -> None:
        holder = self.holder()
        lock = ours.AsyncFileLock(self.path)
        for options in ({"timeout": 0}, {"timeout": 0.01}, {"blocking": False}):
            with self.assertRaises(ours.Timeout):
                await lock.acquire(**options)
        self.assertEqual(lock.lock_counter, 0)
        task = asyncio.create_task(lock.acquire())
        with self.assertLogs("filelock", logging.DEBUG) as logs:
            await self.until_it_waits()
        self.assertIn("waiting", logs.output[-1])
        self.go_on(holder)
        await task
        self.assertTrue(lock.is_locked)
        await lock.release()

    async def test_it_excludes_other_locks_of_its_own_loop_and_of_threads(self) -> None:
        async with ours.AsyncFileLock(self.path):
            with self.assertRaises(ours.Timeout):
                await ours.AsyncFileLock(self.path, timeout=0).acquire()
            result = await asyncio.to_thread(lambda: refused(ours.FileLock(self.path, timeout=0)))
            self.assertTrue(result)

    async def test_it_is_nested_and_force_ends_it(self) -> None:
        lock = ours.AsyncFileLock(self.path)
        async with lock, lock:
            self.assertEqual(lock.lock_counter, 2)
            await lock.release()
            self.assertTrue(lock.is_locked)
            await lock.acquire()
        self.assertFalse(lock.is_locked)
        await lock.acquire()
        await lock.acquire()
        await lock.release(force=True)
        self.assertEqual((lock.is_locked, lock.lock_counter), (False, 0))
        await lock.release()

    async def test_tasks_share_the_grant_of_an_object(self) -> None:
        holder = ours.AsyncFileLock(self.path)
        await holder.acquire()
        lock = ours.AsyncFileLock(self.path)
        tasks = [asyncio.create_task(lock.acquire()) for _ in range(5)]
        await self.until_it_waits()
        await holder.release()
        await asyncio.gather(*tasks)
        self.assertEqual(lock.lock_counter, 5)
        for _ in tasks:
            self.assertTrue(lock.is_locked)
            await lock.release()
        self.assertFalse(lock.is_locked)

    async def test_a_cancelled_wait_leaves_nothing_and_lets_the_next_one_in(self) -> None:
        holder = ours.AsyncFileLock(self.path)
        await holder.acquire()
        lock = ours.AsyncFileLock(self.path)
        first = asyncio.create_task(lock.acquire())
        await self.until_it_waits()
        second = asyncio.create_task(lock.acquire())
        await asyncio.sleep(0)
        first.cancel()
        with self.assertRaises(asyncio.CancelledError):
            await first
        self.assertFalse(second.done())
        await holder.release()
        await second
        self.assertEqual(lock.lock_counter, 1)
        await lock.release()
        self.assertIsNone(lockbyfile.observe(self.path).holder)

    async def test_a_lifetime_opens_it_and_the_late_holder_is_told(self) -> None:
        lock = ours.AsyncFileLock(self.path, lifetime=0.05)
        await lock.acquire()
        async with ours.AsyncFileLock(self.path):
            self.assertFalse(lock.is_locked)
            with self.assertRaises(lockbyfile.LeaseLost):
                await lock.acquire()
        with self.assertRaises(lockbyfile.LeaseLost):
            await lock.release()

    async def test_a_soft_ones_file_is_gone_after_release(self) -> None:
        async with ours.AsyncSoftFileLock(self.path):
            self.assertTrue(os.path.exists(self.path))
        self.assertFalse(os.path.exists(self.path))

    async def test_it_logs_what_it_does(self) -> None:
        with self.assertLogs("filelock", logging.DEBUG) as logs:
            async with ours.AsyncFileLock(self.path):
                pass
        words = [record.getMessage().split(" lock ")[0] for record in logs.records]
        self.assertEqual(words[0], "Attempting to acquire")
        self.assertEqual(words[-2], "Attempting to release")
        self.assertIn(f"acquired on {self.path}", logs.output[1])

    async def test_a_wait_that_only_its_own_task_could_end_is_told(self) -> None:
        for holding in (ours.AsyncFileLock, ours.AsyncSoftFileLock):
            async with holding(self.path):
                with self.assertRaisesRegex(RuntimeError, "different .* instance in this task"):
                    await ours.AsyncFileLock(self.path).acquire()
                with self.assertRaises(ours.Timeout):
                    await ours.AsyncFileLock(self.path).acquire(timeout=0.01)
                with self.assertRaisesRegex(RuntimeError, "different .* instance in this thread"):
                    ours.FileLock(self.path).acquire()  # it would stop the loop
        with ours.FileLock(self.path):
            with self.assertRaisesRegex(RuntimeError, "Deadlock"):
                await ours.AsyncFileLock(self.path).acquire()
        async with ours.AsyncFileLock(self.path):
            pass

    async def test_a_wait_that_another_task_can_end_is_no_deadlock(self) -> None:
        first = ours.AsyncFileLock(self.path)
        await first.acquire()
        second = ours.AsyncFileLock(self.path)
        waiting = asyncio.create_task(second.acquire())
        while not lockbyfile.observe(self.path).waiters:
            await asyncio.sleep(0.001)
        await first.release()
        await waiting
        self.assertTrue(second.is_locked)
        await second.release()

    async def test_cancel_check_ends_a_wait_like_a_timeout(self) -> None:
        lock, calls = ours.AsyncFileLock(self.path), []

        def third() -> bool:
            calls.append(threading.get_ident())
            return len(calls) > 2

        process = self.holder()
        with self.assertRaises(ours.Timeout):
            await lock.acquire(poll_interval=0.01, cancel_check=third)
        self.assertEqual(calls, [threading.get_ident()] * 3)
        with self.assertRaises(ZeroDivisionError):
            await lock.acquire(poll_interval=0.01, cancel_check=lambda: bool(1 / 0))
        with self.assertRaises(ours.Timeout):
            await lock.acquire(timeout=0.05, poll_interval=0.01, cancel_check=lambda: False)
        waiting = asyncio.create_task(lock.acquire(poll_interval=0.01, cancel_check=lambda: False))
        while not lockbyfile.observe(self.path).waiters:
            await asyncio.sleep(0.001)
        self.go_on(process)
        await waiting
        self.assertTrue(lock.is_locked)
        await lock.release()

    async def test_a_block_and_a_release_that_fail_are_both_raised(self) -> None:
        lock = ours.AsyncFileLock(self.path, lifetime=60, context_error_policy="group")
        for enter in (lambda: lock, None):
            with self.assertRaises(BaseExceptionGroup) as caught:
                async with lock if enter else await lock.acquire():
                    lockbyfile.break_lock(self.path)
                    raise ZeroDivisionError
            kinds = [type(error) for error in caught.exception.exceptions]
            self.assertEqual(kinds, [ZeroDivisionError, lockbyfile.LeaseLost])

    async def test_missing_directories_are_made(self) -> None:
        for kind in (ours.AsyncFileLock, ours.AsyncSoftFileLock):
            path = os.path.join(self.directory, kind.__name__, "no", "lock")
            async with kind(path):
                self.assertTrue(os.path.exists(path))

    async def test_with_without_async_says_what_to_do(self) -> None:
        with self.assertRaisesRegex(NotImplementedError, "async with"):
            with ours.AsyncFileLock(self.path):
                pass
        with self.assertRaises(NotImplementedError):
            await ours.AsyncWindowsFileLock(self.path).acquire()

    async def test_a_dropped_lock_is_released(self) -> None:
        lock = ours.AsyncFileLock(self.path)
        await lock.acquire()
        del lock
        gc.collect()
        async with ours.AsyncFileLock(self.path, timeout=30):
            pass

    def test_it_can_be_used_by_one_loop_after_another(self) -> None:
        lock = ours.AsyncFileLock(self.path)

        async def use() -> None:
            async with lock:
                self.assertTrue(lock.is_locked)

        asyncio.run(use())
        asyncio.run(use())
        self.assertFalse(lock.is_locked)

    def test_a_loop_that_ends_with_it_leaves_it_free(self) -> None:
        lock = ours.AsyncFileLock(self.path)

        async def forget() -> None:
            await lock.acquire()

        async def use() -> None:
            async with lock:
                self.assertEqual(lock.lock_counter, 1)

        asyncio.run(forget())
        asyncio.run(use())

    def test_loops_that_share_an_object_exclude_each_other(self) -> None:
        lock = ours.AsyncFileLock(self.path, lifetime=0.05)

        async def other() -> None:
            await lock.acquire()
            lock.lifetime = None
            has_it.set()
            while not may_go.is_set():
                await asyncio.sleep(0.001)
            is_held.append(lock.is_locked)
            await lock.release()

        async def late() -> None:
            await lock.acquire()
            lock.lifetime = None
            thread.start()
            has_it.wait(60)
            with self.assertRaises(lockbyfile.LeaseLost):
                await lock.release()
            with self.assertRaises(ours.Timeout):
                await lock.acquire(timeout=0)
            may_go.set()

        has_it, may_go = threading.Event(), threading.Event()
        is_held: list[bool] = []
        thread = threading.Thread(target=lambda: asyncio.run(other()))
        asyncio.run(late())
        thread.join()
        self.assertEqual(is_held, [True])

    def test_arguments_read_back_and_singletons_compare_them(self) -> None:
        loop = asyncio.new_event_loop()
        self.addCleanup(loop.close)
        lock = ours.AsyncFileLock(self.path, 3, loop=loop, run_in_executor=False, executor=None)
        self.assertIs(lock.loop, loop)
        self.assertEqual((lock.timeout, lock.run_in_executor, lock.executor), (3, False, None))
        with self.assertRaises(ValueError):
            ours.AsyncFileLock(self.path, thread_local=True)
        single = ours.AsyncFileLock(self.path, is_singleton=True)
        self.assertIs(ours.AsyncFileLock(self.path, is_singleton=True), single)
        with self.assertRaises(ValueError):
            ours.AsyncFileLock(self.path, timeout=9, is_singleton=True)


def refused(lock: Any) -> bool:
    try:
        lock.acquire()
    except ours.Timeout:
        return True
    lock.release()
    return False


if __name__ == "__main__":
    unittest.main()
