# SPDX-License-Identifier: Apache-2.0
"""The common parts of the tests of `lockbyfile run`. $LOCKBYFILE is the built command.

Nothing here measures time. A test waits for an event, and fails if the event has not come after a
long time. In that time a busy machine finishes everything that is not stuck.
"""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from collections.abc import Callable

LOCKBYFILE = os.path.abspath(os.environ["LOCKBYFILE"])
STUCK = 60.0

# Counts a signal until a line on stdin asks how often it came.
COUNTER = """
import os, select, signal, sys
count, number = 0, int(sys.argv[1])
def came(*_):
    global count
    count += 1
signal.signal(number, came)
{before}
os.write(int(sys.argv[2]), b"ready\\n")
while os.read(int(sys.argv[3]), 1) == b"?":
    os.write(int(sys.argv[2]), b"%d\\n" % count)
"""


class RunTest(unittest.TestCase):
    def setUp(self) -> None:
        scratch = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self.addCleanup(scratch.cleanup)
        self.directory = os.path.realpath(scratch.name)
        os.chmod(self.directory, 0o777)

    def environment(self, **more: str) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith("LOCKBYFILE_")}
        return kept | {"PATH": os.path.dirname(LOCKBYFILE) + ":" + os.environ["PATH"]} | more

    def start(self, *command: str, env: dict[str, str] | None = None, **options: object) -> subprocess.Popen[bytes]:
        """Starts `command` in the test's directory, in a group of its own.

        The group is killed at the test's end.
        """
        options.setdefault("stderr", subprocess.DEVNULL)
        process = subprocess.Popen(
            command,
            cwd=self.directory,
            env=self.environment(**(env or {})),
            start_new_session=True,
            **options,  # type: ignore[call-overload]
        )
        self.addCleanup(end, process)
        return process

    def run_(self, *arguments: str, **options: object) -> subprocess.Popen[bytes]:
        return self.start(LOCKBYFILE, "run", *arguments, **options)  # type: ignore[arg-type]

    def hold(self, name: str, *options: str) -> subprocess.Popen[bytes]:
        """A run that holds the lock until the test ends."""
        holder = self.run_(*options, name, "--", "sh", "-c", "echo held; sleep 600", stdout=subprocess.PIPE)
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        return holder

    def answer(self, *arguments: str) -> str:
        done = subprocess.run(
            [LOCKBYFILE, *arguments],
            cwd=self.directory,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=STUCK,
        )
        return done.stdout + done.stderr

    def waiters(self, name: str) -> int:
        return self.answer("status", "--json", name).count('"waiting"')

    def until(self, happens: Callable[[], bool], what: str) -> None:
        end_of_patience = time.monotonic() + STUCK
        while not happens():
            if time.monotonic() > end_of_patience:
                self.fail(f"never happened: {what}")
            time.sleep(0.01)

    def ended(self, process: subprocess.Popen[bytes], within: float = STUCK) -> int:
        try:
            return process.wait(within)
        except subprocess.TimeoutExpired:
            self.fail(f"{process.args} does not end")

    def path(self, name: str) -> str:
        return os.path.join(self.directory, name)

    def content(self, name: str) -> str:
        try:
            with open(self.path(name)) as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def counts(self, number: int, *, before: str = "", prefix: tuple[str, ...] = ()) -> Counter:
        return Counter(self, number, before, prefix)

    def full_pipe(self) -> int:
        """The writing end of a pipe that is full and nobody reads."""
        reading, writing = os.pipe()
        self.addCleanup(os.close, reading)
        self.addCleanup(os.close, writing)
        os.set_blocking(writing, False)
        try:
            while True:
                os.write(writing, bytes(4096))
        except BlockingIOError:
            os.set_blocking(writing, True)
        return writing

    def stopped_terminal(self) -> int:
        """A terminal whose output was stopped, as by Ctrl-S."""
        import termios

        master, slave = pty.openpty()
        self.addCleanup(os.close, master)
        self.addCleanup(os.close, slave)
        termios.tcflow(slave, termios.TCOOFF)
        return slave


class Counter:
    """`run` with a command that counts a signal."""

    def __init__(self, test: RunTest, number: int, before: str, prefix: tuple[str, ...]) -> None:
        self.test = test
        self.counted = 0
        self.hears, says = os.pipe()
        listens, self.asks = os.pipe()
        code = COUNTER.format(before=before)
        command = [*prefix, sys.executable, "-c", code, str(number), str(says), str(listens)]
        self.run = test.run_("x", "--", *command, pass_fds=[says, listens])
        os.close(says)
        os.close(listens)
        test.addCleanup(self.close)
        if self.line() != "ready":
            raise AssertionError("it does not start")

    def line(self) -> str:
        ready, _, _ = select.select([self.hears], [], [], STUCK)
        return os.read(self.hears, 100).decode().strip() if ready else "nothing"

    def how_often_so_far(self) -> int:
        """How often the signal came. Waits for one; a superfluous second one comes soon after."""
        self.test.until(lambda: self.ask() > self.counted, "the signal comes")
        time.sleep(0.1)
        self.counted = self.ask()
        return self.counted

    def how_often(self) -> int:
        """The same, and ends it."""
        count = self.how_often_so_far()
        os.write(self.asks, b"!")
        self.test.ended(self.run)
        return count

    def ask(self) -> int:
        os.write(self.asks, b"?")
        return int(self.line())

    def close(self) -> None:
        os.close(self.hears)
        os.close(self.asks)


class Terminal:
    """A program that leads the session of a terminal of its own."""

    def __init__(self, test: RunTest, *command: str) -> None:
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            os.chdir(test.directory)
            os.execvpe(command[0], list(command), test.environment())
        self.group = self.pid
        self.text = b""
        test.addCleanup(self.close)

    def read_line(self, end: bytes) -> bool:
        """Reads until a line ends with `end`.

        Then its writer has written it whole. A process that still writes gets EIO when the terminal
        goes.
        """
        while end + b"\r\n" not in self.text:
            ready, _, _ = select.select([self.master], [], [], STUCK)
            if not ready:
                return False
            try:
                self.text += os.read(self.master, 4096)
            except OSError:
                return False
        return True

    def type(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def hang_up(self) -> None:
        os.close(self.master)
        self.master = -1

    def status(self) -> int | None:
        """The exit code, or minus the signal; none if it does not end."""
        end_of_patience = time.monotonic() + STUCK
        while self.pid > 0 and time.monotonic() < end_of_patience:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid != 0:
                self.pid = 0
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.01)
        return None

    def close(self) -> None:
        try:
            os.killpg(self.group, signal.SIGKILL)
        except ProcessLookupError:
            pass
        if self.pid > 0:
            os.waitpid(self.pid, 0)
        if self.master >= 0:
            os.close(self.master)


def end(process: subprocess.Popen[bytes]) -> None:
    if process.stdout is not None:
        process.stdout.close()
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def may_unshare() -> bool:
    return subprocess.run(["unshare", "--pid", "--fork", "true"], stderr=subprocess.DEVNULL).returncode == 0
