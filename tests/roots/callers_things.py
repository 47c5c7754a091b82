# SPDX-License-Identifier: Apache-2.0
"""Nothing that belongs to the caller is harmed.

A program that uses locks has the same things afterwards.

Each claim has one program in Python. It makes calls of the C library where Python hides something.
POSIX locks on other files are here too, since closing such a file would drop them.
"""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

try:
    import lockbyfile
except ImportError:
    lockbyfile = None

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


class CallerTest(unittest.TestCase):
    def setUp(self):
        self.place = tempfile.TemporaryDirectory()
        self.addCleanup(self.place.cleanup)
        self.directory = self.place.name

    def path(self, name):
        return os.path.join(self.directory, name)


class Caller(CallerTest):
    def signals_of_the_command(self, prepare):
        """The signals that the command has blocked and ignored, by run and by run --once inside."""
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


def is_locked(path):
    """Whether another process finds a POSIX lock on the file."""
    program = (
        "import fcntl, sys\n"
        "try: fcntl.lockf(open(sys.argv[1], 'r+b'), fcntl.LOCK_EX | fcntl.LOCK_NB)\n"
        "except BlockingIOError: sys.exit(75)"
    )
    return subprocess.run([sys.executable, "-c", program, path], timeout=120).returncode == 75


@unittest.skipIf(lockbyfile is None, "the Python package was not built")
class CallersLocks(CallerTest):
    """The kernel drops a process's POSIX locks on a file when it closes any descriptor of it."""

    CONTENTS = {
        "data.sqlite3": b"SQLite format 3\0" + bytes(5000),
        "small.conf": b"[section]\n",
        "a-page": b"x" * 4096,
        "huge.db": b"x" * (1 << 20),
        "x.lockfile.bak": b"lockbyte",
        "api.tokens": b"a token a line\n",
    }

    def locked(self, name):
        with open(self.path(name), "wb") as file:
            file.write(self.CONTENTS[name])
        file = open(self.path(name), "r+b")
        self.addCleanup(file.close)
        fcntl.lockf(file, fcntl.LOCK_EX)
        self.assertTrue(is_locked(self.path(name)))

    def stays(self, name, deed):
        with self.subTest(file=name):
            try:
                deed()
            except (lockbyfile.LockError, OSError):
                pass  # that it is no lockfile, for one
            self.assertTrue(is_locked(self.path(name)))
            with open(self.path(name) + ".copy", "wb") as copy:
                copy.write(self.CONTENTS[name])
            shown = subprocess.run(["cmp", self.path(name), self.path(name) + ".copy"], timeout=120)
            self.assertEqual(shown.returncode, 0, "it was written to")
            os.remove(self.path(name) + ".copy")

    def test_on_files_beside_a_lockfile(self):
        def work_beside():
            with lockbyfile.Lock(self.path("x.lockfile")):
                lockbyfile.observe(self.path("x.lockfile"))
            lockbyfile.list_locks(self.directory)
            lockbyfile.prune(self.directory)

        for name in self.CONTENTS:
            self.locked(name)
        for name in self.CONTENTS:
            self.stays(name, work_beside)

    def test_on_files_that_are_taken_for_locks(self):
        for name in self.CONTENTS:
            self.locked(name)
            path = self.path(name)
            self.stays(name, lambda path=path: lockbyfile.Lock(path).acquire(0))
            self.stays(name, lambda path=path: lockbyfile.observe(path))
            self.stays(name, lambda path=path: lockbyfile.break_lock(path, 0))
            self.stays(name, lambda path=path: lockbyfile.remove(path))

    def test_on_a_file_that_is_read_only(self):
        self.locked("small.conf")
        os.chmod(self.path("small.conf"), 0o444)
        path = self.path("small.conf")
        try:
            lockbyfile.observe(path)
        except (lockbyfile.LockError, OSError):
            pass
        os.chmod(path, 0o644)
        self.assertTrue(is_locked(path))


@unittest.skipUnless(os.geteuid() == 0, "only root can make a program another user's")
class PrivilegedProgram(CallerTest):
    """A caller's environment does not decide where a privileged program makes or removes files."""

    NOBODY = 65534

    def setUp(self):
        super().setUp()
        os.chmod(self.directory, 0o777)
        self.callers = self.path("callers")
        os.mkdir(self.callers)
        os.chmod(self.callers, 0o777)
        self.home = self.path("home")
        os.mkdir(self.home)
        os.chmod(self.home, 0o777)
        self.program = self.path("program")
        shutil.copy(COMMAND, self.program)

    def runs(self, mode, *arguments):
        os.chown(self.program, self.NOBODY, self.NOBODY)
        os.chmod(self.program, mode)
        environment = os.environ | {"LOCKBYFILE_DIR": self.callers}
        return subprocess.run(
            [self.program, *arguments], cwd=self.home, env=environment, capture_output=True, text=True, timeout=120
        )

    def test_makes_no_lockfile_where_its_caller_says(self):
        for mode in (0o4755, 0o2755, 0o6755):
            with self.subTest(mode=oct(mode)):
                result = self.runs(mode, "run", "x", "--", "id")
                if str(self.NOBODY) not in result.stdout:
                    self.skipTest("setuid has no effect here")
                self.assertEqual(os.listdir(self.callers), [])
                self.assertEqual(os.listdir(self.home), ["x.lockfile"])
                os.remove(os.path.join(self.home, "x.lockfile"))

    def test_removes_and_lists_none_there(self):
        run(self.callers, "run", "callers", "true")
        run(self.home, "run", "own", "true")
        os.chown(os.path.join(self.callers, "callers.lockfile"), self.NOBODY, self.NOBODY)
        os.chown(os.path.join(self.home, "own.lockfile"), self.NOBODY, self.NOBODY)
        self.assertNotIn("callers", self.runs(0o4755, "list").stdout)
        self.runs(0o4755, "prune")
        self.assertEqual(os.listdir(self.callers), ["callers.lockfile"])
        self.assertEqual(os.listdir(self.home), [])

    def test_follows_it_without_privileges(self):
        """So the tests above show something."""
        run(self.callers, "run", "callers", "true")
        self.assertIn("callers", self.runs(0o755, "list").stdout)
        self.runs(0o755, "run", "x", "true")
        self.assertIn("x.lockfile", os.listdir(self.callers))


if __name__ == "__main__":
    unittest.main()
