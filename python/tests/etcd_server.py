# SPDX-License-Identifier: Apache-2.0
"""A server of etcd for tests, which can be stopped and continued."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
import unittest
from pathlib import Path

from lockbyfile import Lock, LockError
from support import eventually


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


class EtcdServer:
    """`name` begins the name of each lock that it keeps."""

    def __init__(self) -> None:
        self._directory = tempfile.TemporaryDirectory()
        url, peer = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
        self._log = open(os.path.join(self._directory.name, "log"), "w")
        self._process = subprocess.Popen(
            [
                "etcd",
                f"--data-dir={self._directory.name}/data",
                f"--listen-client-urls={url}",
                f"--advertise-client-urls={url}",
                f"--listen-peer-urls={peer}",
                f"--initial-advertise-peer-urls={peer}",
                f"--initial-cluster=default={peer}",
                "--heartbeat-interval=20",
                "--election-timeout=200",
            ],
            stderr=self._log,
        )
        self.name = url.replace("http://", "etcd://")
        eventually(lambda: "ready to serve" in Path(self._log.name).read_text())
        try:
            Lock(self.name + "/probe").acquire()
        except LockError as error:
            self.close()
            if "module" in str(error):
                raise unittest.SkipTest(str(error))
            raise

    def stop(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._log.close()
        self._directory.cleanup()
