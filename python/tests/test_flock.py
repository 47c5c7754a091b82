# SPDX-License-Identifier: Apache-2.0
"""FLock: the API of 2015."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import unittest

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
        self.assertEqual(FLock("./etcd://x").filename, os.path.abspath("etcd:/x"), "a path")

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
