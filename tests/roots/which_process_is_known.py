# SPDX-License-Identifier: Apache-2.0
"""Root 3: the process to end is known, not read from /proc.

This holds in a pid namespace with the /proc of another, and without a /proc. It holds for processes
that have left their parents, and for processes whose first thread has gone.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import unittest

from runs import LOCKBYFILE, RunTest, may_unshare

# Says that it lives, and takes no SIGTERM.
BEATS = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
{before}
while True:
    with open("beat.new", "w") as file:
        file.write(str(time.monotonic()))
    os.replace("beat.new", "beat")
    time.sleep(0.005)
"""

WITHOUT_ITS_FIRST_THREAD = """
import ctypes, platform, threading
numbers = {"x86_64": 60, "aarch64": 93}
def beat():
    while True:
        with open("beat.new", "w") as file:
            file.write(str(time.monotonic()))
        os.replace("beat.new", "beat")
        time.sleep(0.005)
threading.Thread(target=beat).start()
ctypes.CDLL(None).syscall(numbers[platform.machine()], 0)  # exit(2): of this thread
"""


class EndsAll(RunTest):
    def setUp(self) -> None:
        super().setUp()
        with open(self.path("beats.py"), "w") as file:
            file.write(BEATS.format(before=""))
        with open(self.path("leaderless.py"), "w") as file:
            file.write(BEATS.format(before=WITHOUT_ITS_FIRST_THREAD))

    def nothing_beats(self) -> None:
        self.assertNotEqual(self.content("beat"), "", "it never lived: this test shows nothing")
        before = self.content("beat")
        # It beats every 5 ms; on a busy machine this may pass too easily, but never fails for that.
        subprocess.run(["sleep", "0.3"], check=True)
        self.assertEqual(self.content("beat"), before, "something runs on without the lock")

    def lease_ends(self, *command: str, within: tuple[str, ...] = ()) -> None:
        # A busy machine may not even start the command within the lease: then a longer one.
        for lease in "700ms", "5s", "30s":
            run = self.start(*within, LOCKBYFILE, "run", "--lease", lease, "x", "--", *command)
            self.assertEqual(self.ended(run), 76)
            if self.content("beat") != "":
                break
        self.nothing_beats()

    def test_a_command_whose_first_thread_has_gone(self) -> None:
        self.lease_ends(sys.executable, "leaderless.py")

    def test_a_child_whose_first_thread_has_gone(self) -> None:
        self.lease_ends("sh", "-c", f"{sys.executable} leaderless.py & wait")

    def test_a_grandchild_that_has_left_session_and_parent(self) -> None:
        self.lease_ends("sh", "-c", f"(setsid {sys.executable} beats.py &) ; exec sleep 600")

    def test_a_process_that_keeps_starting_others(self) -> None:
        self.lease_ends("sh", "-c", f"trap '' TERM; while :; do {sys.executable} beats.py & sleep 0.05; done")

    def test_a_stopped_child(self) -> None:
        self.lease_ends("sh", "-c", f"{sys.executable} beats.py & sleep 0.3; kill -STOP $!; kill -STOP $$")

    def test_in_a_pid_namespace_with_the_proc_of_another(self) -> None:
        if not may_unshare():
            self.skipTest("no permission to make a pid namespace")
        # `sleep` keeps the namespace: without it the kernel would end all in it together with run.
        inner = f'{LOCKBYFILE} run --lease 3s x -- sh -c "({sys.executable} beats.py &); exec sleep 600"; echo $? >code; sleep 600'
        outer = self.start("unshare", "--pid", "--fork", "sh", "-c", inner)
        self.until(lambda: self.content("code") != "", "run ends")
        self.assertEqual(self.content("code"), "76\n")
        self.nothing_beats()
        self.assertIsNone(outer.poll())

    def test_as_the_first_process_of_such_a_namespace(self) -> None:
        if not may_unshare():
            self.skipTest("no permission to make a pid namespace")
        self.lease_ends("sh", "-c", f"({sys.executable} beats.py &); exec sleep 600", within=("unshare", "--pid", "--fork"))

    def test_without_a_proc(self) -> None:
        if not may_unshare():
            self.skipTest("no permission to make namespaces")
        hide = 'mount -t tmpfs none /proc && exec "$@"'
        within = ("unshare", "--mount", "--pid", "--fork", "sh", "-c", hide, "sh")
        self.lease_ends("sh", "-c", f"({sys.executable} beats.py &); exec sleep 600", within=within)

    def test_a_broken_lock_in_such_a_namespace(self) -> None:
        if not may_unshare():
            self.skipTest("no permission to make a pid namespace")
        command = ("--kill-after", "200ms", "x", "--", "sh", "-c", f"{sys.executable} beats.py; true")
        run = self.start("unshare", "--pid", "--fork", LOCKBYFILE, "run", *command)
        self.until(lambda: self.content("beat") != "", "it lives")
        self.answer("break", "x")
        self.assertEqual(self.ended(run), 76)
        self.nothing_beats()

    def test_a_signal_there_goes_to_the_command_and_to_no_process_outside(self) -> None:
        if not may_unshare():
            self.skipTest("no permission to make a pid namespace")
        inner = f'{LOCKBYFILE} run x -- sh -c "echo \\$\\$ >pid; exec sleep 600" & until [ -s pid ]; do sleep 0.01; done; kill -TERM $!; wait $!; echo $? >code'
        self.start("unshare", "--pid", "--fork", "sh", "-c", inner)
        self.until(lambda: self.content("code") != "", "run ends")
        self.assertEqual(self.content("code"), f"{128 + signal.SIGTERM}\n")


class LeavesOthersAlone(RunTest):
    def test_what_a_shell_had_started_before_it_became_run(self) -> None:
        run = self.start(
            "sh", "-c", f"sleep 600 & echo $! >before; exec {LOCKBYFILE} run --lease 300ms x -- sleep 600"
        )
        self.assertEqual(self.ended(run), 76)
        before = int(self.content("before"))
        os.kill(before, 0)  # raises if it is gone
        os.kill(before, signal.SIGKILL)


if __name__ == "__main__":
    unittest.main()
