# SPDX-License-Identifier: Apache-2.0
"""`run` and the other verbs with locks in etcd.

Silent servers delay nothing, a directory may be on servers, and `etcdctl lock` waits in the same
wait queue.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import unittest

from etcd_for_runs import EtcdRunTest
from runs import LOCKBYFILE

# Says that it got SIGUSR1, and ends when stdin does.
LISTENER = """
import os, signal, sys
signal.signal(signal.SIGUSR1, lambda *_: os.write(1, b"told\\n"))
os.write(1, b"held\\n")
sys.stdin.read()
sys.exit(5)
"""


class ServersAreSilent(EtcdRunTest):
    def listener(self, *options: str) -> subprocess.Popen[bytes]:
        run = self.run_(
            *options,
            self.url("x?ttl=600"),
            "--",
            sys.executable,
            "-c",
            LISTENER,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.assertEqual(self.line(run), "held")
        return run

    def line(self, run: subprocess.Popen[bytes]) -> str:
        assert run.stdout is not None
        return run.stdout.readline().decode().strip()

    def test_a_signal_reaches_the_command_while_a_renewal_waits(self) -> None:
        # The renewal begins after 1.3 s and waits for 2 s. The command is ended after 3 s. A signal
        # that waited with the renewal would come after that. A busy machine may be as late, so
        # there are several tries.
        for _ in range(5):
            run = self.listener("--renew", "--lease", "4s")
            self.stop_server()
            time.sleep(1.6)
            run.send_signal(signal.SIGUSR1)
            told = self.line(run)
            self.ended(run)
            self.server.send_signal(signal.SIGCONT)
            if told == "told":
                return
        self.fail("the signal came after the end of the lease")

    def test_run_ends_and_says_why_when_its_command_has(self) -> None:
        run = self.listener()
        self.stop_server()
        assert run.stdin is not None
        run.stdin.close()
        self.assertEqual(self.ended(run), 76)


class TheDirectoryIsOnServers(EtcdRunTest):
    """LOCKBYFILE_DIR is all that says so. The first two servers are dead."""

    def setUp(self) -> None:
        super().setUp()
        self.directory_ = {"LOCKBYFILE_DIR": f"etcd://127.0.0.1:1,127.0.0.1:2,{self.endpoint}/jobs"}

    def said(self, *arguments: str, code: int = 0) -> str:
        words = [LOCKBYFILE, *arguments]
        done = subprocess.run(
            words,
            cwd=self.directory,
            env=self.environment(**self.directory_),
            capture_output=True,
            text=True,
            timeout=60,
        )
        self.assertEqual(done.returncode, code, f"{arguments}: {done.stdout}{done.stderr}")
        return done.stdout + done.stderr

    def holder(self) -> subprocess.Popen[bytes]:
        run = self.run_(
            "nightly", "--", "sh", "-c", "echo held; exec sleep 600", stdout=subprocess.PIPE, env=self.directory_
        )
        assert run.stdout is not None
        self.assertEqual(run.stdout.readline(), b"held\n")
        return run

    def test_every_verb_finds_the_lock_there(self) -> None:
        self.said("status", "-q", "nightly", code=1)
        self.holder()
        self.assertEqual(len(self.places("jobs/nightly:lock/")), 1, "it is not there")
        self.said("status", "-q", "nightly", code=75)
        self.said("wait", "-q", "-w", "50ms", "nightly", code=75)
        self.assertEqual(json.loads(self.said("list", "--json"))[0]["path"].rsplit("/", 2)[1:], ["jobs", "nightly"])
        self.said("rm", "nightly", code=75)
        self.said("run", "-n", "nightly", "true", code=75)
        self.said("break", "nightly")
        self.said("wait", "-w", "60s", "nightly")
        self.holder()
        self.said("stop", "nightly")
        self.said("run", "nightly", "--", LOCKBYFILE, "held")
        self.said("run", "nightly", "--", LOCKBYFILE, "held", "nightly")
        self.said("run", "nightly", "--", LOCKBYFILE, "run", "--once", "nightly", "true")
        self.said("held", "nightly", code=1)
        self.said("rm", "nightly")
        self.said("status", "-q", "nightly", code=1)
        self.said("run", "other", "true")
        self.said("prune")
        self.said("status", "-q", "other", code=1)


class EtcdctlHasTheSameLock(EtcdRunTest):
    """With names that only a raw lock has."""

    def etcdctl(self, name: str) -> subprocess.Popen[bytes]:
        words = self.ctl_words("lock", name)
        return self.start(*words, stdout=subprocess.PIPE, env={"ETCDCTL_API": "3"})

    def ours(self, name: str) -> subprocess.Popen[bytes]:
        command = ("sh", "-c", "echo held; exec sleep 600")
        return self.run_(self.url(name + "?raw"), "--", *command, stdout=subprocess.PIPE)

    def joined(self, process: subprocess.Popen[bytes], name: str, places: int) -> subprocess.Popen[bytes]:
        self.until(lambda: len(self.places(name + "/")) == places, f"{places} places")
        return process

    def test_and_both_wait_in_order(self) -> None:
        for name in ("/my-lock", "my-lock/"):
            with self.subTest(name):
                queue = [
                    self.joined(start(name), name, i + 1)
                    for i, start in enumerate([self.etcdctl, self.ours, self.etcdctl, self.ours])
                ]
                for i, process in enumerate(queue):
                    self.answer_of(process)
                    self.assertEqual(len(self.places(name + "/")), len(queue) - i, "two hold it, or one has gone")
                    process.send_signal(signal.SIGINT)
                    self.ended(process)

    def answer_of(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        self.assertNotEqual(process.stdout.readline(), b"", "it ended")


if __name__ == "__main__":
    unittest.main()
