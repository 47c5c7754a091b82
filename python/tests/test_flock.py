# SPDX-License-Identifier: Apache-2.0
"""FLock: the API of 2015."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import unittest
import unittest.mock

import lockbyfile
from lockbyfile import FLock

EXAMPLE_OF_2015 = """
import lockbyfile
L = lockbyfile.FLock("LOCKNAME")
acquired = L.LoopWhileLocked_ThenLocking()
if acquired:
    L.unlocking()
"""


class Impatient(FLock):
    TIMEOUT = 0.05
    PATIENCE = 0.01


class TheApiOf2015(unittest.TestCase):
    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = directory.name
        self.name = os.path.join(directory.name, "LOCKNAME.lockfile")

    def test_the_usage_example_runs_unchanged(self) -> None:
        environment = {k: v for k, v in os.environ.items() if k != "LOCKBYFILE_DIR"}
        subprocess.run(
            [sys.executable, "-c", EXAMPLE_OF_2015], cwd=self.directory, env=environment, check=True
        )
        self.assertTrue(os.path.exists(self.name))

    def test_looking_creates_nothing(self) -> None:
        lock = FLock(self.name)
        self.assertFalse(lock.isLocked() or lock.exists() or lock.timedOut() or lock.breakLock())
        self.assertFalse(lock.unlocking())
        self.assertEqual(lock.age(), -1)
        self.assertFalse(os.path.exists(self.name))

    def test_one_of_two_has_it(self) -> None:
        first, second = FLock(self.name), Impatient(self.name)
        self.assertTrue(first.locking())
        self.assertFalse(first.locking())
        self.assertFalse(second.locking())
        self.assertFalse(second.LoopWhileLocked_ThenLocking())
        self.assertTrue(second.loopWhileLocked())
        self.assertTrue(first.unlocking())
        self.assertFalse(first.unlocking())
        self.assertFalse(second.loopWhileLocked())
        self.assertTrue(second.LoopWhileLocked_ThenLocking())

    def test_the_holders_timeout_rules(self) -> None:
        first, second = Impatient(self.name), FLock(self.name)
        self.assertTrue(first.locking())
        time.sleep(0.06)
        self.assertTrue(second.timedOut())
        self.assertTrue(second.locking())
        self.assertFalse(first.unlocking(), "it is the second's")
        self.assertTrue(second.isLocked())

    def test_a_broken_lock_is_open_and_its_holder_is_told(self) -> None:
        first, second = FLock(self.name), FLock(self.name)
        self.assertTrue(first.locking())
        self.assertTrue(second.breakLock())
        self.assertFalse(first.unlocking())
        self.assertTrue(second.locking())

    def test_bad_numbers_are_refused(self) -> None:
        lock = FLock(self.name)
        for attribute, value in (("TIMEOUT", 0), ("TIMEOUT", float("nan")), ("PATIENCE", float("nan"))):
            broken = FLock(self.name)
            setattr(broken, attribute, value)
            with self.subTest(f"{attribute}={value}"), self.assertRaises(ValueError):
                broken.LoopWhileLocked_ThenLocking()
        self.assertTrue(lock.locking(), "nothing is held")

    def test_a_name_of_another_engine_is_refused(self) -> None:
        with self.assertRaisesRegex(ValueError, "in files"):
            FLock("etcd://host/x")
        self.assertEqual(FLock("./etcd://x").filename, os.path.abspath("etcd:/x.lockfile"), "a path")

    def test_a_data_file_is_never_made_a_lockfile(self) -> None:
        data = os.path.join(self.directory, "db.sqlite3")
        open(data, "w").close()
        before = os.stat(data)
        lock = FLock(data)
        self.assertEqual(lock.filename, data + ".lockfile")
        self.assertTrue(lock.LoopWhileLocked_ThenLocking())
        self.assertTrue(lock.isLocked())
        self.assertTrue(lock.unlocking())
        lock.breakLock()
        after = os.stat(data)
        self.assertEqual(after.st_size, 0)
        self.assertEqual((after.st_mtime_ns, after.st_ctime_ns), (before.st_mtime_ns, before.st_ctime_ns))

    def test_the_extension_is_added_unless_it_is_there(self) -> None:
        at = os.path.join
        for name, file in (
            (at(self.directory, "a"), "a.lockfile"),
            (at(self.directory, "a.lockfile"), "a.lockfile"),
            (at(self.directory, "a.lock"), "a.lock.lockfile"),
            (at(self.directory, "a.lockfile.d", "..", "b"), "b.lockfile"),
            (at(self.directory, ".lockfile"), ".lockfile.lockfile"),
        ):
            self.assertEqual(FLock(name).filename, at(self.directory, file), name)
        before = os.getcwd()
        self.addCleanup(os.chdir, before)
        os.chdir(self.directory)
        with unittest.mock.patch.dict(os.environ, {"LOCKBYFILE_DIR": ""}):
            for name in ("a", "a.lockfile"):
                self.assertEqual(FLock(name).filename, at(os.getcwd(), "a.lockfile"))
        for wrong in ("", ".", "..", "dir/", "dir/..", "a\0b"):
            with self.assertRaises(ValueError):
                FLock(wrong)

    def test_a_lock_on_servers_is_refused(self) -> None:
        with self.assertRaisesRegex(ValueError, "locks in files"):
            FLock("etcd://127.0.0.1/a")
        with unittest.mock.patch.dict(os.environ, {"LOCKBYFILE_DIR": "etcd://127.0.0.1/jobs"}):
            with self.assertRaisesRegex(ValueError, "locks in files"):
                FLock("a")

    def test_the_names_of_2015_are_there(self) -> None:
        for module in (lockbyfile, lockbyfile.flock):
            self.assertEqual(module.TIMEOUT, 10)
            self.assertEqual(module.PATIENCE, 30)
            self.assertEqual(module.CHECKEVERYXSECONDS, 0.03)
            self.assertIs(module.REMOVETIMEDOUT, True)
            self.assertEqual(module.LOCKFILEEXTENSION, ".lockfile")
            self.assertEqual(module.ERROR, -1)
        for line in ("from lockbyfile import *", "from lockbyfile.flock import *"):
            there: dict[str, object] = {}
            exec(line, there)
            for name in lockbyfile.flock.__all__:
                self.assertIn(name, there)

    def test_the_modules_values_are_those_of_later_objects(self) -> None:
        with unittest.mock.patch.multiple(lockbyfile, TIMEOUT=3, PATIENCE=0.01, CHECKEVERYXSECONDS=1):
            lock = FLock(self.name)
            self.assertEqual((lock.TIMEOUT, lock.PATIENCE, lock.CHECKEVERYXSECONDS), (3, 0.01, 1))
            self.assertEqual(Impatient(self.name).TIMEOUT, 0.05, "a subclass decides itself")
            self.assertTrue(lock.locking())
            holder = lockbyfile.observe(self.name).holder
            assert holder is not None
            self.assertEqual(holder.lease, 3)
        self.assertEqual(lock.TIMEOUT, 3, "it was made before")
        self.assertEqual(FLock(self.name).TIMEOUT, 10)

    def test_the_name_and_the_file_read_back(self) -> None:
        before = os.getcwd()
        self.addCleanup(os.chdir, before)
        os.chdir(self.directory)
        with unittest.mock.patch.dict(os.environ):
            os.environ.pop("LOCKBYFILE_DIR", None)
            lock = FLock("bed")
        self.assertEqual(lock.name, "bed")
        self.assertEqual(lock.fn(), "bed.lockfile")
        self.assertEqual(lock.dirname(), lock.fn())
        self.assertTrue(lock.locking())
        self.assertTrue(os.path.exists(lock.fn()))
        os.chdir(before)
        self.assertTrue(os.path.exists(lock.fn()), "it leads to the lockfile from anywhere")

    def test_a_timeout_set_while_it_is_held_counts(self) -> None:
        lock, other = FLock(self.name), FLock(self.name)
        self.assertTrue(lock.locking())
        lock.TIMEOUT = 1e-9
        self.assertFalse(lock.isLocked())
        self.assertFalse(lock.exists(), "isLocked() gave it back, since REMOVETIMEDOUT is true")
        self.assertFalse(lock.unlocking())
        lock.TIMEOUT = 60
        self.assertTrue(lock.locking())
        lock.TIMEOUT = 3600
        self.assertTrue(lock.isLocked())
        holder = lockbyfile.observe(self.name).holder
        assert holder is not None and holder.lease is not None
        self.assertGreater(holder.lease, 60, "others obey it")
        self.assertTrue(other.isLocked())
        other.TIMEOUT = 1e-9
        self.assertTrue(other.isLocked(), "it is not the other's")
        lock.TIMEOUT = 1e-9
        self.assertFalse(lock.unlocking(), "too late")
        self.assertTrue(other.locking())
        self.assertFalse(lock.unlocking())

    def test_looking_leaves_what_others_hold(self) -> None:
        lock, other = Impatient(self.name), FLock(self.name)
        self.assertTrue(lock.locking())
        time.sleep(0.06)
        self.assertFalse(other.isLocked())
        self.assertTrue(other.exists())
        self.assertFalse(other.existsAndNotTimedOut())
        lock.REMOVETIMEDOUT = False
        self.assertFalse(lock.isLocked())
        self.assertTrue(lock.exists())
        other.removeIfTimedOut()
        self.assertFalse(lock.exists())
        self.assertTrue(other.locking())
        lock.removeIfTimedOut()
        self.assertTrue(other.existsAndNotTimedOut())
        self.assertTrue(other.unlocking())

    def test_a_grant_that_was_given_back_late_was_not_broken(self) -> None:
        lock = Impatient(self.name)
        self.assertTrue(lock.locking())
        time.sleep(0.06)
        self.assertFalse(lock.isLocked())
        with lockbyfile.Lock(self.name) as grant:
            self.assertEqual(grant.how, "free")

    def test_times_of_waiting_and_locking_are_kept(self) -> None:
        lock, other = FLock(self.name), Impatient(self.name)
        self.assertIsNone(lock.lockingTime)
        self.assertIsNone(lock.startedWaitingTime)
        self.assertTrue(lock.stillPatience())
        before = time.time()
        self.assertTrue(lock.locking())
        assert lock.lockingTime is not None
        self.assertTrue(before <= lock.lockingTime <= time.time())
        self.assertIsNone(lock.startedWaitingTime)
        self.assertFalse(other.LoopWhileLocked_ThenLocking())
        self.assertIsNotNone(other.startedWaitingTime)
        self.assertIsNone(other.lockingTime)
        other.startedWaitingTime = time.time() - 1
        self.assertFalse(other.stillPatience())
        other.startWaiting()
        self.assertFalse(other.stillPatience(), "the first moment counts")
        other.PATIENCE = 60
        self.assertTrue(other.stillPatience())
        self.assertTrue(lock.unlocking())
        self.assertIsNone(lock.lockingTime)

    def test_the_logger_prints_with_time_and_id_and_leaves_logging_alone(self) -> None:
        handlers = list(logging.getLogger().handlers)
        text = io.StringIO()
        with contextlib.redirect_stderr(text):
            lockbyfile.getInfoLogger("[pId=%(process).5d]")("%s and %d", "one", 2)
            lockbyfile.getInfoLogger()("three")
        first, second = text.getvalue().splitlines()
        self.assertRegex(first, rf"^\[\d\d:\d\d:\d\d\.\d{{3}}\] \[pId=0*{os.getpid()}\] one and 2$")
        self.assertRegex(second, r"^\[.*\]  three$")
        self.assertEqual(logging.getLogger().handlers, handlers)

    def test_the_examples_of_2015_run_by_import_alone(self) -> None:
        code = "from lockbyfile import testFLocks, howToUse, print_Ramdisk_Manual\n"
        code += "testFLocks(); assert howToUse(0.01) is True; print_Ramdisk_Manual()"
        environment = {k: v for k, v in os.environ.items() if k != "LOCKBYFILE_DIR"}
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=self.directory,
            env=environment,
            check=True,
            capture_output=True,
            text=True,
        )
        self.assertIn("L.exists() = False (isLocked() gave it back)", done.stderr)
        self.assertIn("L2.LoopWhileLocked_ThenLocking() = True (L timed out)", done.stderr)
        self.assertEqual(sorted(os.listdir(self.directory)), ["LOCKNAME.lockfile", "example.lockfile"])

    def test_the_concurrent_example_runs(self) -> None:
        source = pathlib.Path(lockbyfile.__file__).resolve().parents[2] / "examples"
        if not source.exists():
            self.skipTest("not in the source tree")
        for arguments, expected in ((["1", "2"], "Bed is empty = True"), (["2", "12"], "12 had it")):
            done = subprocess.run(
                [sys.executable, str(source / "lockbyfile_concurrent.py"), *arguments],
                cwd=self.directory,
                check=True,
                capture_output=True,
                text=True,
            )
            self.assertIn(expected, done.stdout + done.stderr)

    def test_the_inner_workings_run(self) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "lockbyfile"], capture_output=True, text=True, check=True
        )
        self.assertIn("first.unlocking() -> False: it was broken", done.stdout)

    def test_the_sleepers_and_the_hammer_run(self) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "lockbyfile.concurrent", "--consumers", "20"],
            capture_output=True,
            text=True,
            check=True,
        )
        self.assertIn("20 had it, 0 overlaps", done.stdout)


if __name__ == "__main__":
    unittest.main()
