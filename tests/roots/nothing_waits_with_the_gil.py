# SPDX-License-Identifier: Apache-2.0
"""Root: no call that may wait holds Python's GIL or an event loop.

No Python object dies without the GIL. Close, fork, interpreter exit and the collector may come at
any point.

The inputs differ from those of the faults that showed the root. One is a process that was stopped
while it set up a lockfile. Others are programs whose threads, forks, collections and exits come at
random times, and pools of processes. Prints its seed. LOCKBYFILE_SEED repeats a run.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import random
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from typing import Any, Callable

import lockbyfile
from lockbyfile import Lock, LockError
from lockbyfile.aio import AsyncLock

SEED = int(os.environ.get("LOCKBYFILE_SEED") or random.randrange(2**32))
LONG = 120
A_WHILE = 0.3
SOME = 10
# Up to gcc 13, fork copies AddressSanitizer's allocator with its locks held. A child of a program
# with threads may wait in malloc forever.
MAY_FORK = "libasan" not in os.environ.get("LD_PRELOAD", "")
MAINTENANCE_BYTE = (1 << 30) - 1  # src/file/lifeline.hpp


class InADirectory(unittest.TestCase):
    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = os.path.join(directory.name, "root.lockfile")

    def run_script(self, code: str, *arguments: str) -> None:
        done = subprocess.run(
            [sys.executable, "-X", "faulthandler", "-c", code, self.path, *arguments],
            text=True,
            capture_output=True,
            timeout=LONG,
        )
        self.assertEqual(done.returncode, 0, f"seed {SEED}: {done.stdout}{done.stderr}")


class WhileAProcessIsStoppedThatSetsUpTheFile(InADirectory):
    def setUp(self) -> None:
        super().setUp()
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        self.addCleanup(os.close, fd)
        self.lock_for_maintenance(fd)

    @staticmethod
    def lock_for_maintenance(fd: int) -> None:
        lock = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, MAINTENANCE_BYTE, 1, 0)
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, lock)

    def assert_others_run(self, call: Callable[[], Any]) -> None:
        ran, is_over = 0, False

        def tick() -> None:
            nonlocal ran
            while not is_over:
                ran += 1
                time.sleep(0.002)

        ticking = threading.Thread(target=tick)
        ticking.start()
        begun, before = time.monotonic(), ran
        try:
            call()
        except LockError as error:
            self.assertEqual(error.reason, "stuck")
        took, meanwhile = time.monotonic() - begun, ran - before
        is_over = True
        ticking.join()
        self.assertGreater(took, A_WHILE, "it did not wait, and so shows nothing")
        self.assertGreater(meanwhile, SOME)

    def test_threads_run_while_one_opens(self) -> None:
        self.assert_others_run(lambda: Lock(self.path))

    def test_threads_run_while_one_removes(self) -> None:
        self.assert_others_run(lambda: lockbyfile.remove(self.path))

    def test_threads_run_while_another_thread_uses_an_open_lock_first(self) -> None:
        os.remove(self.path)
        lock = Lock(self.path)
        fd = os.open(self.path, os.O_RDWR)
        self.addCleanup(os.close, fd)
        os.remove(self.path)  # the next grant needs the path's next file, which is being set up
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        self.addCleanup(os.close, fd)
        self.lock_for_maintenance(fd)
        time.sleep(0.01)
        self.assert_others_run(lambda: lock.acquire(0))

    def test_the_loop_runs_while_a_task_opens_and_acquires(self) -> None:
        async def main() -> int:
            ran = 0

            async def tick() -> None:
                nonlocal ran
                while True:
                    ran += 1
                    await asyncio.sleep(0.002)

            ticking = asyncio.create_task(tick())
            with self.assertRaises(LockError):
                await AsyncLock(self.path).acquire()
            ticking.cancel()
            return ran

        self.assertGreater(asyncio.run(main()), SOME)


CHAOS = """
import gc, os, random, signal, sys, threading, time
import lockbyfile, logging
logging.disable()
dice = random.Random(int(sys.argv[2]))
signal.alarm(100)
class Cycle:
    def __init__(self):
        self.me = self
        self.lock = lockbyfile.Lock(sys.argv[1], lease=dice.choice([None, 0.01, 30]))
        if dice.random() < 0.5:
            try:
                self.lock.acquire(0.01)
                self.kept = self.lock.keep_alive(self.lost)
            except lockbyfile.LockError: pass
    def lost(self, error): pass
    def __del__(self):
        try: self.lock.close()
        except RuntimeError: pass
shared = [lockbyfile.Lock(sys.argv[1], lease=30, patience=0.02)]  # garbage may hold it
is_over = False
def work(seed):
    dice = random.Random(seed)
    while not is_over:
        lock = shared[0]
        try:
            what = dice.randrange(8)
            if what < 3:
                with lock, lock.keep_alive(lambda error: None): time.sleep(dice.random() / 1000)
            elif what == 3: lockbyfile.break_lock(sys.argv[1])
            elif what == 4: Cycle(); gc.collect(0)
            elif what == 5: lock.acquire(dice.random() / 100); lock.release()
            elif what == 6:
                shared[0] = lockbyfile.Lock(sys.argv[1], lease=0.02, patience=0.02)
                lock.close()
            else: lock.held, lock.token, lock.remaining, repr(lock)
        except (lockbyfile.LockError, ValueError, RuntimeError): pass
threads = [threading.Thread(target=work, args=(dice.random(),), daemon=True) for _ in range(4)]
for t in threads: t.start()
end = time.monotonic() + dice.random()
while time.monotonic() < end:
    if sys.argv[3] == "False":
        time.sleep(0.01)
        continue
    pid = os.fork()
    if pid == 0:
        signal.alarm(30)
        code = 1
        try:
            try:
                with lockbyfile.Lock(sys.argv[1], patience=0.01): pass
                shared[0].close()
            except (lockbyfile.LockError, RuntimeError): pass
            gc.collect()
            code = 0
        finally: os._exit(code)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status == 0, status
if dice.random() < 0.5:
    is_over = True
    for t in threads: t.join()
"""


class AtAnyPoint(InADirectory):
    def test_close_fork_collection_and_exit_may_come(self) -> None:
        print(f"seed {SEED}")
        dice = random.Random(SEED)
        for _ in range(12):
            self.run_script(CHAOS, str(dice.randrange(2**32)), str(MAY_FORK))


POOLS = """
import multiprocessing, sys, time, lockbyfile
from concurrent.futures import ProcessPoolExecutor
def job(path):
    with lockbyfile.Lock(path, lease=30) as grant: return grant.token
if __name__ == "__main__":
    lock = lockbyfile.Lock(sys.argv[1], lease=30)
    for method in "fork", "spawn", "forkserver":
        with lock, lock.keep_alive(): time.sleep(0.01)
        context = multiprocessing.get_context(method)
        with ProcessPoolExecutor(2, mp_context=context) as pool:
            tokens = list(pool.map(job, [sys.argv[1]] * 6))
        assert len(set(tokens)) == 6, tokens
        process = context.Process(target=job, args=(sys.argv[1],))
        with lock: process.start(); time.sleep(0.05)
        process.join(60)
        assert process.exitcode == 0, process.exitcode
"""


class Pools(InADirectory):
    def test_of_every_start_method_work_beside_a_kept_lock(self) -> None:
        script = os.path.join(os.path.dirname(self.path), "pools.py")
        with open(script, "w") as file:
            file.write(POOLS)
        done = subprocess.run(
            [sys.executable, script, self.path], text=True, capture_output=True, timeout=LONG
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


INTERRUPTED = """
import signal, sys, time, lockbyfile
lock = lockbyfile.Lock(sys.argv[1], lease=30)
print("ready", flush=True)
try:
    while True:
        try:
            with lock: time.sleep(0.0001)
            lock.acquire(0.001)
            lock.release()
            lockbyfile.observe(sys.argv[1])
            lockbyfile.Lock(sys.argv[1]).close()
        except lockbyfile.LockTimeout: pass
except KeyboardInterrupt:
    if lock.held: lock.release()
    print("interrupted", flush=True)
"""


class AnInterrupt(InADirectory):
    def test_ends_whatever_is_going_on(self) -> None:
        dice = random.Random(SEED)
        others = [self.start() for _ in range(2)]
        for _ in range(10):
            process = self.start()
            time.sleep(dice.random() / 50)
            process.send_signal(2)
            out, err = process.communicate(timeout=LONG)
            self.assertEqual((out, process.returncode), ("interrupted\n", 0), err)
        for process in others:
            process.send_signal(2)
            self.assertEqual(process.communicate(timeout=LONG)[0], "interrupted\n")
        self.assertIsNone(lockbyfile.observe(self.path).holder)

    def start(self) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-c", INTERRUPTED, self.path],
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.addCleanup(process.kill)
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        return process


if __name__ == "__main__":
    unittest.main()
