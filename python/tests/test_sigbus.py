# SPDX-License-Identifier: Apache-2.0
"""A lockfile that somebody truncates (`: >FILE`) kills no interpreter."""

import os
import signal
import subprocess
import sys
import tempfile
import unittest

BLOCKED = """
import os, signal, sys, threading
import lockbyfile
lock = lockbyfile.Lock(sys.argv[1])
lock.acquire()
def work():
    signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals))
    other = lockbyfile.Lock(sys.argv[1])
    os.truncate(sys.argv[1], 0)
    try:
        other.acquire(patience=0)
    except Exception:
        pass
    print(lock.held)
thread = threading.Thread(target=work)
thread.start()
thread.join()
"""

FAULTHANDLER = """
import faulthandler, os, sys
import lockbyfile
lock = lockbyfile.Lock(sys.argv[1])
lock.acquire()
faulthandler.enable()
os.truncate(sys.argv[1], 0)
print(lock.held)
"""

UWSGI = """
import os, signal, sys, threading
signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals))
import lockbyfile
def work():
    lock = lockbyfile.Lock(sys.argv[1])
    lock.acquire()
    os.truncate(sys.argv[1], 0)
    print(lock.held)
thread = threading.Thread(target=work)
thread.start()
thread.join()
"""


class Truncation(unittest.TestCase):
    def survives(self, program: str) -> None:
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "x.lockfile")
            result = subprocess.run(
                [sys.executable, "-c", program, path],
                capture_output=True,
                text=True,
                timeout=60,
            )
        if result.returncode < 0:
            self.fail(f"killed by {signal.Signals(-result.returncode).name}: {result.stderr}")
        self.assertEqual((result.returncode, result.stdout), (0, "False\n"), result.stderr)

    def test_a_thread_with_all_signals_blocked_survives_it(self) -> None:
        self.survives(BLOCKED)

    def test_a_server_with_all_signals_blocked_survives_it(self) -> None:
        self.survives(UWSGI)

    def test_a_fault_handler_enabled_after_the_lock_does_not_end_the_guard(self) -> None:
        self.survives(FAULTHANDLER)


if __name__ == "__main__":
    unittest.main()
