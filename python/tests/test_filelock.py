# SPDX-License-Identifier: Apache-2.0
"""The API of filelock: what the original promises, of both; and what is ours, of ours."""

from __future__ import annotations

import asyncio
import _thread
import contextlib
import gc
import logging
import os
import pickle
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
import unittest
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

    def test_a_missing_directory_is_filenotfounderror(self: Any) -> None:
        lock = self.module.FileLock(os.path.join(self.directory, "no", "lock"), timeout=0)
        with self.assertRaises(FileNotFoundError):
            lock.acquire()

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
                        lock.acquire()
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

    async def test_a_missing_directory_is_filenotfounderror(self) -> None:
        with self.assertRaises(FileNotFoundError):
            await ours.AsyncFileLock(self.path + "/no/where").acquire()

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
