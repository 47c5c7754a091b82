# SPDX-License-Identifier: Apache-2.0
"""Locks in etcd, through the command, with a server that a test may stop."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import unittest
from pathlib import Path

from runs import STUCK, RunTest

sys.path.append(str(Path(__file__).resolve().parents[2] / "bench"))
from etcd_server import Server  # noqa: E402


@unittest.skipUnless(shutil.which("etcd") and shutil.which("etcdctl"), "there is no etcd")
class EtcdRunTest(RunTest):
    def setUp(self) -> None:
        super().setUp()
        server = Server(Path(self.directory))
        self.addCleanup(server.stop)
        self.addCleanup(server.process.kill)  # first, since it may stand still
        self.endpoint = server.endpoint
        self.server = server.process
        if "lockbyfile-etcd" in self.answer("status", self.url("probe")):
            self.skipTest("the engine for etcd was not built")

    def ctl_words(self, *arguments: str) -> list[str]:
        return ["etcdctl", f"--endpoints={self.endpoint}", *arguments]

    def ctl_environment(self) -> dict[str, str]:
        return self.environment(ETCDCTL_API="3")

    def places(self, prefix: str) -> list[str]:
        """The keys below it, the oldest first."""
        words = self.ctl_words("get", "--prefix", "--keys-only", "--sort-by=CREATE", prefix)
        done = subprocess.run(words, capture_output=True, text=True, env=self.ctl_environment(), timeout=STUCK)
        return done.stdout.split()

    def url(self, name: str) -> str:
        return f"etcd://{self.endpoint}/{name}"

    def stop_server(self) -> None:
        """Connections stay, and nothing is answered."""
        self.server.send_signal(signal.SIGSTOP)
