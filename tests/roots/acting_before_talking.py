# SPDX-License-Identifier: Apache-2.0
"""Root 1: acting never waits for talking.

Nobody reads the messages of `run`, or the names of users are not available. `run` still starts,
ends, gives up and releases. If it waited for talking, each of these tests would wait forever.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import unittest

from runs import LOCKBYFILE, RunTest


class NobodyReads(RunTest):
    def places(self) -> dict[str, int]:
        """Descriptors to which nothing can be written."""
        ours, theirs = socket.socketpair()
        self.addCleanup(ours.close)
        self.addCleanup(theirs.close)
        ours.setblocking(False)
        try:
            while True:
                ours.send(bytes(4096))
        except BlockingIOError:
            ours.setblocking(True)
        return {"pipe": self.full_pipe(), "terminal": self.stopped_terminal(), "socket": ours.fileno()}

    def test_a_lost_lock_ends_the_command(self) -> None:
        for place, stderr in self.places().items():
            with self.subTest(place):
                holder = self.run_("x", "--", "sh", "-c", "echo held; sleep 600", stdout=subprocess.PIPE, stderr=stderr)
                assert holder.stdout is not None
                self.assertEqual(holder.stdout.readline(), b"held\n")
                self.answer("break", "x")
                self.assertEqual(self.ended(holder), 76)

    def test_a_verbose_run_starts_its_command_and_releases(self) -> None:
        for place, stderr in self.places().items():
            with self.subTest(place):
                self.assertEqual(self.ended(self.run_("-v", "x", "--", "sh", "-c", "exit 3", stderr=stderr)), 3)
                self.assertIn("x is free", self.answer("status", "x"))

    def test_a_waiter_gives_up_and_the_queue_goes_on(self) -> None:
        self.hold("x")
        for place, stderr in self.places().items():
            with self.subTest(place):
                self.assertEqual(self.ended(self.run_("-w", "300ms", "-E", "9", "x", "true", stderr=stderr)), 9)
                self.assertEqual(self.ended(self.run_("-n", "x", "true", stderr=stderr)), 75)
                self.assertEqual(self.ended(self.start(LOCKBYFILE, "wait", "-w", "300ms", "x", stderr=stderr)), 75)
                self.assertEqual(self.waiters("x"), 0)

    def test_a_waiter_that_is_granted_the_lock_starts_its_command(self) -> None:
        for place, stderr in self.places().items():
            with self.subTest(place):
                holder = self.hold("x")
                waiter = self.run_("x", "--", "touch", place, stderr=stderr)
                self.until(lambda: self.waiters("x") == 1, "it waits")
                holder.send_signal(signal.SIGTERM)
                self.assertEqual(self.ended(waiter), 0)
                self.assertTrue(os.path.exists(self.path(place)))

    def test_wrong_usage_and_a_missing_command_end(self) -> None:
        for place, stderr in self.places().items():
            with self.subTest(place):
                self.assertEqual(self.ended(self.run_("--no-such-option", stderr=stderr)), 64)
                self.assertEqual(self.ended(self.run_("x", "--", "/no/such/program", stderr=stderr)), 127)

    def test_a_renewed_lease_goes_on_being_renewed(self) -> None:
        command = ("--renew", "--lease", "300ms", "-v", "x", "--", "sleep", "1")
        self.assertEqual(self.ended(self.run_(*command, stderr=self.full_pipe())), 0)

    def test_the_flags_of_the_descriptor_stay_as_they_are(self) -> None:
        import fcntl

        stderr = self.full_pipe()
        before = fcntl.fcntl(stderr, fcntl.F_GETFL)
        waiter = self.run_("-v", "x", "--", "sleep", "600", stderr=stderr)
        self.until(lambda: "x is held" in self.answer("status", "x"), "it holds")
        self.assertEqual(fcntl.fcntl(stderr, fcntl.F_GETFL), before)
        waiter.send_signal(signal.SIGINT)
        self.ended(waiter)


class NobodyKnowsTheUser(RunTest):
    """getent(1) hangs, as where a directory service is down."""

    def setUp(self) -> None:
        super().setUp()
        if os.geteuid() != 0:
            self.skipTest("only root can be another user")
        with open(self.path("getent"), "w") as file:
            file.write("#!/bin/sh\ntouch asked\nexec sleep 600\n")
        os.chmod(self.path("getent"), 0o755)
        self.environment_ = {"PATH": self.directory + ":" + os.environ["PATH"]}
        stranger = self.run_(
            "--mode", "666", "x", "--", "sh", "-c", "echo held; sleep 600", stdout=subprocess.PIPE, user=54321
        )
        assert stranger.stdout is not None
        self.assertEqual(stranger.stdout.readline(), b"held\n")
        self.stranger = stranger

    def ends_with(self, code: int, *arguments: str) -> None:
        stderr = open(self.path("stderr"), "wb")
        with stderr:
            self.assertEqual(self.ended(self.run_(*arguments, env=self.environment_, stderr=stderr)), code)

    def test_giving_up_does_not_wait_for_the_name(self) -> None:
        self.ends_with(75, "-w", "300ms", "x", "true")
        self.assertTrue(os.path.exists(self.path("asked")), "nobody asked: this test shows nothing")
        self.assertIn("uid 54321", self.content("stderr"))
        self.ends_with(75, "-n", "x", "true")

    def test_no_other_verb_waits_for_the_name(self) -> None:
        verbs = (
            (0, "status", "x"),
            (0, "status", "--json", "x"),
            (0, "list"),
            (0, "list", "--json"),
            (75, "wait", "-n", "x"),
            (75, "rm", "x"),
            (1, "break", "--token", "1", "x"),
            (0, "stop", "x"),
        )
        for code, *verb in verbs:
            with self.subTest(" ".join(verb)):
                asks = self.start(LOCKBYFILE, *verb, env=self.environment_, stdout=subprocess.DEVNULL)
                self.assertEqual(self.ended(asks), code)

    def test_starting_does_not_wait_for_the_name(self) -> None:
        waiter = self.run_("x", "--", "touch", "started", env=self.environment_)
        self.until(lambda: os.path.exists(self.path("asked")), "the name is asked for")
        os.killpg(self.stranger.pid, signal.SIGKILL)
        self.assertEqual(self.ended(waiter), 0)
        self.assertTrue(os.path.exists(self.path("started")))

    def test_ending_what_was_started_does_not_wait_for_the_one_who_is_asked(self) -> None:
        waiter = self.run_("--lease", "300ms", "x", "--", "sleep", "600", env=self.environment_)
        self.until(lambda: os.path.exists(self.path("asked")), "the name is asked for")
        os.killpg(self.stranger.pid, signal.SIGKILL)
        self.assertEqual(self.ended(waiter), 76)


if __name__ == "__main__":
    unittest.main()
