# SPDX-License-Identifier: Apache-2.0
"""`lockbyfile run`, with the very inputs by which users met its faults."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import unittest

from runs import LOCKBYFILE, RunTest, Terminal, may_unshare


class Rows(RunTest):
    def say(self, *arguments: str, **environment: str) -> tuple[int, str]:
        """The exit code and everything printed of a run."""
        done = subprocess.run(
            [LOCKBYFILE, "run", *arguments],
            cwd=self.directory,
            env=self.environment(**environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
        )
        return done.returncode, done.stdout

    def test_a_lease_is_enforced_though_nobody_reads_stderr(self) -> None:
        first = self.run_("--lease", "1s", "x", "--", "sleep", "600", stderr=self.full_pipe())
        self.assertEqual(self.ended(first), 76)

    def test_a_terminal_that_goes_takes_the_command_along(self) -> None:
        terminal = Terminal(self, LOCKBYFILE, "run", "x", "--", "sh", "-c", "echo ready; exec sleep 600")
        self.assertTrue(terminal.read_line(b"ready"))
        terminal.hang_up()
        self.assertIn(terminal.status(), (-signal.SIGHUP, 128 + signal.SIGHUP))

    def test_a_lease_is_enforced_in_a_pid_namespace_with_the_outer_proc(self) -> None:
        if not may_unshare():
            self.skipTest("no permission to make a pid namespace")
        run = self.start("unshare", "--pid", "--fork", LOCKBYFILE, "run", "--lease", "1s", "x", "--", "sleep", "600")
        self.assertEqual(self.ended(run), 76)

    def test_a_run_within_a_run_of_the_same_lock_is_told_at_once(self) -> None:
        code, text = self.say("n", "--", LOCKBYFILE, "run", "n", "--", "true")
        self.assertEqual(code, 75)
        self.assertIn("runs under it already", text)

    def test_also_with_other_locks_between_and_by_another_path(self) -> None:
        os.symlink(self.directory, self.path("link"))
        inner = (LOCKBYFILE, "run", "-w", "1h", "./link/a.lockfile", "true")
        code, text = self.say("a", "--", LOCKBYFILE, "run", "b", "--", LOCKBYFILE, "run", "c", "--", *inner)
        self.assertEqual(code, 75, text)
        self.assertIn("runs under it already", text)

    def test_one_that_outlives_the_grant_waits_as_all_others(self) -> None:
        """What it has inherited is not current any more, though the lock is held."""
        later = f"{LOCKBYFILE} run -w 1h x touch done"
        code, text = self.say("x", "--", "sh", "-c", f"(until [ -e held ]; do sleep 0.01; done; {later}) >/dev/null 2>&1 &")
        self.assertEqual(code, 0, text)
        holder = self.hold("x")
        open(self.path("held"), "w").close()
        self.until(lambda: self.waiters("x") == 1, "it waits")
        holder.send_signal(signal.SIGTERM)
        self.until(lambda: os.path.exists(self.path("done")), "it has its turn")

    def test_timeout_is_refused_and_says_what_may_be_meant(self) -> None:
        for spelling in (("--timeout", "5"), ("--timeout=5",)):
            code, text = self.say(*spelling, "x", "touch", "done")
            self.assertEqual(code, 64)
            self.assertIn("--patience (wait) or --lease?", text)
            self.assertFalse(os.path.exists(self.path("done")))

    def test_the_spellings_of_flock_mean_what_they_mean_there(self) -> None:
        self.assertEqual(self.say("-x", "-e", "--exclusive", "--nonblock", "x", "true"), (0, ""))
        self.hold("x")
        for options in (("--nb",), ("--nonblock",), ("-xn",), ("-e", "--wait", "0.2"), ("--wait=0.2",)):
            self.assertEqual(self.say(*options, "x", "true")[0], 75, options)
        code, text = self.say("--nb", "--wait", "3", "x", "true")
        self.assertEqual(code, 64)
        self.assertIn("--no-wait excludes --patience", text)

    def test_a_text_is_run_by_the_shell_of_the_user(self) -> None:
        with open(self.path("shell"), "w") as file:
            file.write('#!/bin/sh\necho "my shell: $1 $2"\n')
        os.chmod(self.path("shell"), 0o755)
        for order in (("-c", "a | b", "x"), ("x", "-c", "a | b")):
            self.assertEqual(self.say(*order, SHELL=self.path("shell")), (0, "my shell: -c a | b\n"))
        self.assertEqual(self.say("x", "-c", "echo $0", SHELL=""), (0, "/bin/sh\n"))

    def test_ctrl_c_ends_a_command_under_timeout(self) -> None:
        if shutil.which("timeout") is None:
            self.skipTest("there is no timeout(1)")
        terminal = Terminal(self, LOCKBYFILE, "run", "x", "--", "timeout", "600", "sh", "-c", "echo ready; exec sleep 600")
        self.assertTrue(terminal.read_line(b"ready"))
        terminal.type(b"\x03")
        self.assertIn(terminal.status(), (-signal.SIGINT, 128 + signal.SIGINT))

    def test_a_signal_to_the_whole_group_reaches_the_command_once_in_50_tries(self) -> None:
        for _ in range(50):
            counter = self.counts(signal.SIGINT)
            os.killpg(counter.run.pid, signal.SIGINT)
            self.assertEqual(counter.how_often(), 1)

    def test_verbose_prints_the_path_and_at_the_end_duration_and_exit_code(self) -> None:
        code, text = self.say("-v", "x", "--", "sh", "-c", "exit 3")
        self.assertEqual(code, 3)
        self.assertIn(self.path("x.lockfile"), text)
        self.assertRegex(text, r"released 'x': 'sh' ended after \S+ m?s with exit code 3")

    def test_how_the_run_ended_is_in_the_lock(self) -> None:
        self.assertEqual(self.say("x", "--", "sh", "-c", "exit 7")[0], 7)
        status = self.answer("status", "--json", "x")
        self.assertTrue(re.search(r'"exit_code": 7\b', status), status)

    def test_a_limit_on_the_size_of_files_is_an_error_and_no_death(self) -> None:
        limited = "ulimit -f 0; exec \"$@\""
        run = self.start("sh", "-c", limited, "sh", LOCKBYFILE, "run", "x", "true")
        self.assertGreater(self.ended(run), 0)
        # And nobody but us has its signal blocked.
        code, text = self.say("x", "--", "grep", "SigBlk", "/proc/self/status")
        self.assertEqual((code, int(text.split()[1], 16)), (0, 0))


if __name__ == "__main__":
    unittest.main()
