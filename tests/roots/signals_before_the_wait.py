# SPDX-License-Identifier: Apache-2.0
"""Root 2: signals are in place before the wait, and reach the command once."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import unittest

from runs import LOCKBYFILE, RunTest, Terminal, may_unshare


class WhileItWaits(RunTest):
    def test_it_leaves_the_queue_and_dies_of_that_very_signal(self) -> None:
        self.hold("x")
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM):
            with self.subTest(number.name):
                waiter = self.run_("x", "true")
                self.until(lambda: self.waiters("x") == 1, "it waits")
                waiter.send_signal(number)
                self.assertEqual(self.ended(waiter), -number)
                self.assertEqual(self.waiters("x"), 0)

    def test_patience_and_silence_change_nothing_about_that(self) -> None:
        self.hold("x")
        waiter = self.run_("-q", "-w", "1h", "x", "true")
        self.until(lambda: self.waiters("x") == 1, "it waits")
        waiter.send_signal(signal.SIGTERM)
        self.assertEqual(self.ended(waiter), -signal.SIGTERM)

    def test_what_was_ignored_at_the_start_stays_ignored(self) -> None:
        for number in (signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR2):
            with self.subTest(number.name):
                holder = self.hold("x")
                ignore = lambda: signal.signal(number, signal.SIG_IGN)  # noqa: B023, E731
                waiter = self.run_("x", "--", "sh", "-c", "exit 7", preexec_fn=ignore)
                self.until(lambda: self.waiters("x") == 1, "it waits")
                waiter.send_signal(number)
                holder.send_signal(signal.SIGTERM)
                self.assertEqual(self.ended(waiter), 7)

    def test_the_first_process_of_a_pid_namespace_exits_with_128_and_the_signal(self) -> None:
        if not may_unshare():
            self.skipTest("no permission to make a pid namespace")
        self.hold("x")
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
            with self.subTest(number.name):
                # A shell or unshare(1) would receive the signal in place of its child. So the
                # signal goes to the pid that the child has in our namespace.
                outer = self.start("unshare", "--pid", "--fork", LOCKBYFILE, "run", "x", "true")
                self.until(lambda: self.waiters("x") == 1, "it waits")
                children = subprocess.run(
                    ["ps", "-o", "pid=", "--ppid", str(outer.pid)], capture_output=True, text=True
                ).stdout.split()
                self.assertEqual(len(children), 1)
                os.kill(int(children[0]), number)
                self.assertEqual(self.ended(outer), 128 + number)

    def test_the_command_that_follows_begins_with_no_signal_blocked_or_ignored(self) -> None:
        holder = self.hold("x")
        # Not by a shell, which clears its mask.
        show = ("grep", "-E", "^Sig(Blk|Ign):", "/proc/self/status")
        waiter = self.run_("x", "--", *show, stdout=subprocess.PIPE)
        self.until(lambda: self.waiters("x") == 1, "it waits")
        holder.send_signal(signal.SIGTERM)
        assert waiter.stdout is not None
        plain = subprocess.run(show, capture_output=True, start_new_session=True).stdout
        self.assertEqual(waiter.stdout.read(), plain)


class WhileTheCommandRuns(RunTest):
    def test_a_signal_to_the_group_reaches_the_command_once(self) -> None:
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGQUIT) * 6:
            with self.subTest(number.name):
                counter = self.counts(number)
                os.killpg(counter.run.pid, number)
                self.assertEqual(counter.how_often(), 1)

    def test_a_signal_to_the_group_after_one_to_run_reaches_it_once_more(self) -> None:
        counter = self.counts(signal.SIGUSR2)
        os.kill(counter.run.pid, signal.SIGUSR2)
        first = counter.how_often_so_far()
        os.killpg(counter.run.pid, signal.SIGUSR2)
        self.assertEqual((first, counter.how_often()), (1, 2))

    def test_a_signal_to_the_group_reaches_a_command_that_has_left_it(self) -> None:
        counter = self.counts(signal.SIGTERM, before="os.setpgid(0, 0)")
        os.killpg(counter.run.pid, signal.SIGTERM)
        self.assertEqual(counter.how_often(), 1)

    def test_a_signal_to_run_alone_reaches_a_command_with_a_session_of_its_own(self) -> None:
        counter = self.counts(signal.SIGINT, prefix=("setsid",))
        os.kill(counter.run.pid, signal.SIGINT)
        self.assertEqual(counter.how_often(), 1)

    def test_a_signal_by_name_reaches_the_command(self) -> None:
        if shutil.which("pkill") is None:
            self.skipTest("there is no pkill")
        counter = self.counts(signal.SIGUSR1)
        session = str(counter.run.pid)
        subprocess.run(["pkill", "-USR1", "-s", session, "-x", "lockbyfile"], check=True)
        first = counter.how_often_so_far()
        subprocess.run(["pkill", "-USR1", "-s", session, "-f", "^" + LOCKBYFILE], check=True)
        self.assertEqual((first, counter.how_often()), (1, 2))

    def test_no_process_of_ours_outlives_a_run_that_is_killed(self) -> None:
        counter = self.counts(signal.SIGUSR1)
        group = str(counter.run.pid)

        def others() -> list[str]:
            out = subprocess.run(["ps", "-o", "comm=", "-g", group], capture_output=True, text=True).stdout
            return [name for name in out.split("\n") if name in ("signal-witness", "lockbyfile")]

        self.until(lambda: sorted(others()) == ["lockbyfile", "signal-witness"], "the witness is there")
        counter.run.kill()
        self.ended(counter.run)
        self.until(lambda: others() == [], "the witness is gone")


class AtATerminal(RunTest):
    """Keys, and the end of the terminal, for commands in groups of their own."""

    COUNTING = (
        "import signal, time\nn = 0\ndef came(*_):\n    global n\n    n += 1\n"
        "signal.signal(signal.{}, came)\nprint('rea' + 'dy', flush=True)\n"
    )
    OWN_GROUP = "import os, signal, time; os.setpgid(0, 0); print('rea' + 'dy', flush=True); time.sleep(600)"

    def test_keys_end_a_command_in_a_group_of_its_own(self) -> None:
        for key, number in ((b"\x03", signal.SIGINT), (b"\x1c", signal.SIGQUIT)):
            with self.subTest(number.name):
                shell = Terminal(self, "sh", "-c", f"ulimit -c 0; exec {LOCKBYFILE} run x -- '{sys.executable}' -c \"{self.OWN_GROUP}\"")
                self.assertTrue(shell.read_line(b"ready"))
                shell.type(key)
                self.assertIn(shell.status(), (-number, 128 + number))

    def test_a_key_reaches_a_command_in_our_group_once(self) -> None:
        count = (
            self.COUNTING.format("SIGINT")
            + "while n == 0: time.sleep(0.01)\ntime.sleep(0.3)\nprint('came', n, 'times', flush=True)\n"
        )
        terminal = Terminal(self, LOCKBYFILE, "run", "x", "--", sys.executable, "-c", count)
        self.assertTrue(terminal.read_line(b"ready"))
        terminal.type(b"\x03")
        self.assertTrue(terminal.read_line(b"times"))
        self.assertIn(b"came 1 times", terminal.text)

    def test_a_signal_to_run_alone_after_a_key_reaches_the_command_once_more(self) -> None:
        """The witness, which the key reached, too, does not take it for the same."""
        count = (
            self.COUNTING.format("SIGINT")
            + "for i in (1, 2):\n    while n < i: time.sleep(0.01)\n    print('came', i, flush=True)\n"
        )
        terminal = Terminal(self, LOCKBYFILE, "run", "x", "--", sys.executable, "-c", count)
        self.assertTrue(terminal.read_line(b"ready"))
        terminal.type(b"\x03")
        self.assertTrue(terminal.read_line(b"came 1"))
        os.kill(terminal.pid, signal.SIGINT)
        self.assertTrue(terminal.read_line(b"came 2"))

    def test_the_end_of_the_terminal_ends_what_it_started(self) -> None:
        for before in ("", "os.setpgid(0, 0)"):
            with self.subTest(before or "in our group"):
                code = f"import os, time; {before}\nprint('rea' + 'dy', flush=True); time.sleep(600)"
                terminal = Terminal(self, LOCKBYFILE, "run", "x", "--", sys.executable, "-c", code)
                self.assertTrue(terminal.read_line(b"ready"))
                terminal.hang_up()
                self.assertIn(terminal.status(), (-signal.SIGHUP, 128 + signal.SIGHUP))
                self.assertIn("x is free", self.answer("status", "x"))

    def test_the_end_of_the_terminal_reaches_the_command_once(self) -> None:
        count = (
            self.COUNTING.format("SIGHUP")
            + "while n == 0: time.sleep(0.01)\ntime.sleep(0.3)\nopen('times', 'w').write(str(n))\n"
        )
        terminal = Terminal(self, LOCKBYFILE, "run", "x", "--", sys.executable, "-c", count)
        self.assertTrue(terminal.read_line(b"ready"))
        terminal.hang_up()
        self.assertEqual(terminal.status(), 0)
        self.assertEqual(self.content("times"), "1")

    def test_what_nohup_starts_outlives_the_terminal(self) -> None:
        code = "import time; print('rea' + 'dy', flush=True)\nwhile True: open('beat', 'w').write(str(time.time())); time.sleep(0.01)"
        terminal = Terminal(self, "sh", "-c", f"trap '' HUP; exec {LOCKBYFILE} run x -- '{sys.executable}' -c \"{code}\"")
        self.assertTrue(terminal.read_line(b"ready"))
        terminal.hang_up()
        before = self.content("beat")
        self.until(lambda: self.content("beat") not in ("", before), "it goes on")
        self.assertIn("x is held", self.answer("status", "x"))


if __name__ == "__main__":
    unittest.main()
