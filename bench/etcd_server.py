# SPDX-License-Identifier: Apache-2.0
"""A server of etcd for the benchmarks: one member on loopback, with its defaults.

Its data is on the disk, and it waits for the disk as a production server does.
"""

from __future__ import annotations

import ctypes
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

PR_SET_PDEATHSIG = 1
SECONDS_TO_START = 30
DIRECTLY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def missing() -> str:
    """Why no server can be started. Empty if one can."""
    return "" if shutil.which("etcd") else "there is no etcd (etcd-server)"


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def end_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Server:
    """Serves from its creation until stop(), or until the process that created it dies."""

    def __init__(self, within: Path):
        self.directory = tempfile.TemporaryDirectory(prefix="etcd-", dir=within)
        port, peer_port = free_ports(2)
        self.endpoint = f"127.0.0.1:{port}"
        peer = f"http://127.0.0.1:{peer_port}"
        self.log = Path(self.directory.name) / "log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [
                    "etcd",
                    f"--data-dir={self.directory.name}/data",
                    f"--listen-client-urls=http://{self.endpoint}",
                    f"--advertise-client-urls=http://{self.endpoint}",
                    f"--listen-peer-urls={peer}",
                    f"--initial-advertise-peer-urls={peer}",
                    f"--initial-cluster=default={peer}",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=end_with_parent,
            )
        try:
            self.wait_until_it_serves()
        except BaseException:
            self.stop()
            raise

    def wait_until_it_serves(self) -> None:
        end = time.monotonic() + SECONDS_TO_START
        while not self.is_healthy():
            if self.process.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"etcd does not start\n{self.log.read_text()[-2000:]}")
            time.sleep(0.05)

    def is_healthy(self) -> bool:
        try:
            with DIRECTLY.open(f"http://{self.endpoint}/health", timeout=5) as answer:
                return b'"true"' in answer.read()
        except (OSError, urllib.error.URLError):
            return False

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.directory.cleanup()
