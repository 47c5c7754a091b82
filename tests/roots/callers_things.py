# SPDX-License-Identifier: Apache-2.0
"""Nothing of the caller's is harmed: a program that uses locks has the same things afterwards.

One program a claim, in Python by the C library's calls where Python hides something. POSIX locks on
other files are here too, since a close of theirs would drop them.
"""

import fcntl
import os
import signal
import subprocess
import sys
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

    def test_signal_mask_of_the_command_reaches_its_child(self):
        """SIGBUS is made deliverable in our threads, not in CMD."""
        blocked = {signal.SIGBUS, signal.SIGUSR1, signal.SIGTTOU}
        program = "import signal; print(sorted(int(s) for s in signal.pthread_sigmask(0, ())))"
        result = run(
            self.directory,
            "run",
            "x",
            "--",
            sys.executable,
            "-c",
            program,
            preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_BLOCK, blocked),
        )
        self.assertEqual(result.returncode, 0, result.stderr)
        inherited = set(eval(result.stdout))  # a list of numbers
        self.assertLessEqual({int(signal.SIGUSR1), int(signal.SIGTTOU)}, inherited)

    def test_an_ignored_sigbus_stays_ignored_in_the_child(self):
        program = "import signal; print(signal.getsignal(signal.SIGBUS) == signal.SIG_IGN)"
        result = run(
            self.directory,
            "run",
            "x",
            "--",
            sys.executable,
            "-c",
            program,
            preexec_fn=lambda: signal.signal(signal.SIGBUS, signal.SIG_IGN),
        )
        self.assertIn(result.stdout, ("True\n", "False\n"), result.stderr)
        self.assertEqual(result.returncode, 0, result.stderr)

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
        while run(self.directory, "status", "x").stdout.count("wait") < 1:
            pass
        os.truncate(self.path("x.lockfile"), 0)
        codes = [w.wait(timeout=60) for w in waiters]
        holder.stdin.write(b"\n")
        holder.stdin.close()
        codes.append(holder.wait(timeout=60))
        for code in codes:
            self.assertNotIn(code, (-signal.SIGBUS, 128 + signal.SIGBUS), codes)


if __name__ == "__main__":
    unittest.main()
