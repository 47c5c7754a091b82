# SPDX-License-Identifier: Apache-2.0
"""What Python tells of the package: help(), signatures, hints, python -m lockbyfile."""

from __future__ import annotations

import inspect
import subprocess
import sys
import threading
import unittest

import lockbyfile
from lockbyfile import AsyncLock, Lock, observe
from support import eventually
from test_lock import InADirectory

OPTIONS = ["lease", "patience", "directory", "mode", "group", "description", "any_filesystem"]


class Help(unittest.TestCase):
    def test_shows_the_arguments_of_a_lock(self) -> None:
        for kind in Lock, AsyncLock:
            self.assertEqual(list(inspect.signature(kind).parameters), ["name", *OPTIONS])

    def test_shows_the_arguments_of_each_method(self) -> None:
        self.assertEqual(list(inspect.signature(Lock.acquire).parameters), ["self", "patience"])
        for name in "release", "renew", "close":
            self.assertEqual(list(inspect.signature(getattr(Lock, name)).parameters), ["self"])

    def test_has_a_text_for_all_that_is_public(self) -> None:
        for kind in Lock, AsyncLock:
            for name, member in inspect.getmembers(kind):
                if not name.startswith("_"):
                    if kind is AsyncLock and isinstance(member, property):
                        continue
                    self.assertTrue(inspect.getdoc(member), f"{kind.__name__}.{name}")
        for name in lockbyfile.__all__:
            self.assertTrue(inspect.getdoc(getattr(lockbyfile, name)), name)

    def test_has_types_for_all_that_is_public(self) -> None:
        functions = [getattr(lockbyfile, name) for name in lockbyfile.__all__]
        for function in filter(inspect.isfunction, functions):
            self.assertNotIn("Any", str(inspect.signature(function)))


class AHint(InADirectory):
    def test_names_patience_and_lease_for_what_others_call_timeout(self) -> None:
        lock = Lock(self.name)
        for call in (
            lambda: Lock(self.name, timeout=5),
            lambda: AsyncLock(self.name, timeout=5),
            lambda: lock.acquire(timeout=5),
            lambda: lock.acquire(True, timeout=5),
        ):
            with self.assertRaisesRegex(TypeError, "timeout.*patience.*lease"):
                call()

    def test_names_patience_for_what_others_call_blocking(self) -> None:
        lock = Lock(self.name)
        for call in (
            lambda: Lock(self.name, blocking=False),
            lambda: AsyncLock(self.name, blocking=False),
            lambda: lock.acquire(blocking=False),
            lambda: lock.acquire(blocking=False, timeout=1),
        ):
            with self.assertRaisesRegex(TypeError, "patience"):
                call()

    def test_is_not_given_for_what_is_just_wrong(self) -> None:
        with self.assertRaisesRegex(TypeError, "colour"):
            Lock(self.name, colour="red")


class PythonMLockbyfile(InADirectory):
    def run_module(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "lockbyfile", *arguments],
            capture_output=True,
            text=True,
            timeout=60,
        )

    def test_status_shows_holder_and_waiters(self) -> None:
        lock = Lock(self.name, description="the job")
        token = lock.acquire().token
        waiting = threading.Thread(target=lock.acquire)
        waiting.start()
        eventually(lambda: len(observe(self.name).waiters) == 1)
        shown = self.run_module("status", self.name)
        lock.release()
        waiting.join(60)
        self.assertEqual(shown.returncode, 0, shown.stderr)
        for text in self.name, "the job", str(token), "waiting":
            self.assertIn(text, shown.stdout)

    def test_status_of_none_is_exit_code_one(self) -> None:
        shown = self.run_module("status", self.name)
        self.assertEqual(shown.returncode, 1)
        self.assertIn(self.name, shown.stderr)

    def test_list_shows_the_lockfiles_of_a_directory(self) -> None:
        Lock(self.name).close()
        shown = self.run_module("list", self.directory)
        self.assertEqual(shown.stdout, self.name + "\n", shown.stderr)


if __name__ == "__main__":
    unittest.main()
