# SPDX-License-Identifier: Apache-2.0
"""Locks in etcd, through the command, with a server that a test may stop."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import unittest

from runs import STUCK, RunTest


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@unittest.skipUnless(shutil.which("etcd") and shutil.which("etcdctl"), "there is no etcd")
class EtcdRunTest(RunTest):
    def setUp(self) -> None:
        super().setUp()
        port = free_port()
        self.endpoint = f"127.0.0.1:{port}"
        url, peer = f"http://{self.endpoint}", f"http://127.0.0.1:{free_port()}"
        self.server = self.start(
            "etcd",
            f"--data-dir={self.path('etcd')}",
            f"--listen-client-urls={url}",
            f"--advertise-client-urls={url}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--heartbeat-interval=20",
            "--election-timeout=200",
        )
        self.until(self.serves, "the server serves")
        if "lockbyfile-etcd" in self.answer("status", self.url("probe")):
            self.skipTest("the engine for etcd was not built")

    def serves(self) -> bool:
        done = subprocess.run(self.ctl_words("endpoint", "health"), capture_output=True, env=self.ctl_environment())
        return done.returncode == 0

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
