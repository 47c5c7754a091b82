# SPDX-License-Identifier: Apache-2.0
"""Nothing of the caller's is harmed: a program that uses locks has the same things afterwards.

One program a claim, in Python by the C library's calls where Python hides something. POSIX locks on
other files are here too, since a close of theirs would drop them.
"""

import fcntl
import json
import os
import signal
import subprocess
import tempfile
import unittest

COMMAND = os.environ["LOCKBYFILE"]


def run(directory, *arguments, **options):
    return subprocess.run(
        [COMMAND, *arguments],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=120,
        **options,
    )


class Caller(unittest.TestCase):
    def setUp(self):
        self.place = tempfile.TemporaryDirectory()
        self.addCleanup(self.place.cleanup)
        self.directory = self.place.name

    def path(self, name):
        return os.path.join(self.directory, name)

    def signals_of_the_command(self, prepare):
        """What the command has blocked, and what it ignores, by run and by the run --once inside."""
        command = ["grep", "-E", "^Sig(Blk|Ign):", "/proc/self/status"]
        for under in ([], [COMMAND, "run", "--once", "x", "--"]):
            result = run(self.directory, "run", "x", "--", *under, *command, preexec_fn=prepare)
            self.assertEqual(result.returncode, 0, result.stderr)
            bits = [int(line.split()[1], 16) for line in result.stdout.splitlines()]
            yield [{s for s in range(1, 65) if set_ >> (s - 1) & 1} for set_ in bits]

    def test_signals_that_are_blocked_reach_the_command_so(self):
        """SIGBUS is made deliverable in our threads, not in CMD."""
        blocked = {signal.SIGBUS, signal.SIGUSR1, signal.SIGTTOU, signal.SIGCHLD}
        block = lambda: signal.pthread_sigmask(signal.SIG_BLOCK, blocked)  # noqa: E731
        for found, _ in self.signals_of_the_command(block):
            self.assertEqual(found, {int(s) for s in blocked})

    def test_signals_that_are_ignored_reach_the_command_so(self):
        ignored = {signal.SIGBUS, signal.SIGCHLD, signal.SIGHUP, signal.SIGUSR2}

        def ignore():
            for number in range(1, 32):
                if number not in (signal.SIGKILL, signal.SIGSTOP):
                    signal.signal(number, signal.SIG_IGN if number in ignored else signal.SIG_DFL)

        for _, found in self.signals_of_the_command(ignore):
            self.assertEqual(found, {int(s) for s in ignored})

    def test_flags_of_shared_descriptors_stay_as_they_were(self):
        reader, writer = os.pipe()
        before = [fcntl.fcntl(fd, fcntl.F_GETFL) for fd in (reader, writer)]
        result = subprocess.run(
            [COMMAND, "run", "x", "--", "true"],
            cwd=self.directory,
            stdin=reader,
            stdout=writer,
            stderr=writer,
            timeout=120,
        )
        self.assertEqual(result.returncode, 0)
        self.assertEqual([fcntl.fcntl(fd, fcntl.F_GETFL) for fd in (reader, writer)], before)
        os.close(reader)
        os.close(writer)

    def test_a_truncation_by_a_shell_kills_neither_holder_nor_waiters(self):
        holder = subprocess.Popen(
            [COMMAND, "run", "x", "--", "sh", "-c", "echo ready; read line"],
            cwd=self.directory,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self.addCleanup(holder.stdout.close)
        self.assertEqual(holder.stdout.readline(), b"ready\n")
        waiters = [
            subprocess.Popen(
                [COMMAND, "run", "x", "--", "true"],
                cwd=self.directory,
                stderr=subprocess.DEVNULL,
            )
            for _ in range(3)
        ]
        for _ in range(1000):
            if json.loads(run(self.directory, "status", "--json", "x").stdout)["waiters"]:
                break
        os.truncate(self.path("x.lockfile"), 0)
        codes = [w.wait(timeout=60) for w in waiters]
        holder.stdin.write(b"\n")
        holder.stdin.close()
        codes.append(holder.wait(timeout=60))
        for code in codes:
            self.assertNotIn(code, (-signal.SIGBUS, 128 + signal.SIGBUS), codes)


if __name__ == "__main__":
    unittest.main()
