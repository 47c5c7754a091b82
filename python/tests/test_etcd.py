# SPDX-License-Identifier: Apache-2.0
"""Lock with a name of etcd: by just the name."""

from __future__ import annotations

import os
import shutil
import threading
import unittest

import lockbyfile
from etcd_server import EtcdServer, free_port
from lockbyfile import Lock, LockTimeout, observe
from support import eventually


@unittest.skipUnless(shutil.which("etcd"), "there is no etcd")
class InEtcd(unittest.TestCase):
    server: str

    @classmethod
    def setUpClass(cls) -> None:
        server = EtcdServer()
        cls.addClassCleanup(server.close)
        cls.server = server.name

    def test_is_held_and_excludes(self) -> None:
        name = self.server + "/held"
        with Lock(name) as grant:
            self.assertGreater(grant.token, 0)
            self.assertIsNotNone(observe(name).holder)
            with self.assertRaises(LockTimeout):
                Lock(name, patience=0.1).acquire()
        self.assertIsNone(observe(name).holder)

    def test_is_shared_by_threads(self) -> None:
        lock = Lock(self.server + "/threads")
        inside = 0
        most = 0

        def work() -> None:
            nonlocal inside, most
            for _ in range(10):
                with lock:
                    inside += 1
                    most = max(most, inside)
                    inside -= 1

        threads = [threading.Thread(target=work) for _ in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertEqual(most, 1)

    def test_is_not_held_by_a_child_which_can_take_it_later(self) -> None:
        lock = Lock(self.server + "/fork", patience=30)
        lock.acquire()
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                with lock:
                    code = 7
            finally:
                os._exit(code)
        eventually(lambda: len(observe(self.server + "/fork").waiters) == 1)
        lock.release()
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 7)

    def test_without_a_server_is_an_error_with_its_name(self) -> None:
        name = f"etcd://127.0.0.1:{free_port()}/x"
        with self.assertRaises(lockbyfile.LockError) as caught:
            Lock(name).acquire()
        self.assertIn(name, str(caught.exception))
        self.assertEqual(caught.exception.reason, "unreachable")


if __name__ == "__main__":
    unittest.main()
