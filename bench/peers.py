# SPDX-License-Identifier: Apache-2.0
"""The contenders of Python, measured as lockbyfile_bench measures those of C++. bench.py calls it.

    peers.py --list                              {"scenarios": {SCENARIO: [CONTENDER, ...]}}
    peers.py SCENARIO CONTENDER KEY=VALUE ...    {"figures": {}, "samples": {}, "overlaps": N}

    uncontended  seconds=
    handoff      processes= hold_us= grants=
    throughput   processes= seconds=

The figures are of the library's own two methods, with nothing between them. A library that is not
installed is not listed. Each process opens the lock itself, after fork.
"""

from __future__ import annotations

import json
import math
import mmap
import os
import signal
import statistics
import sys
import tempfile
import threading
import time
import traceback
from itertools import repeat
from typing import Any, Callable

Call = Callable[[], Any]
Answer = dict[str, Any]

LIMIT = 300  # seconds: a contender that hangs ends
BATCH = 2_000_000  # ns: what a batch of `uncontended` takes, or a little more
now = time.monotonic_ns


# Each function opens the lock of that path, and returns a function that acquires it and one that
# releases it.


def lockbyfile_lock(path: str) -> tuple[Call, Call]:
    import lockbyfile

    lock = lockbyfile.Lock(path, lease=10)
    return lock.acquire, lock.release


def lockbyfile_filelock(path: str) -> tuple[Call, Call]:
    from lockbyfile.filelock import FileLock

    lock = FileLock(path)
    return lock.acquire, lock.release


def filelock(path: str) -> tuple[Call, Call]:  # polls every 50 ms
    from filelock import FileLock

    lock = FileLock(path)
    return lock.acquire, lock.release


def fasteners(path: str) -> tuple[Call, Call]:  # polls after 10, 20, ... 100 ms
    from fasteners import InterProcessLock

    lock = InterProcessLock(path)
    return lock.acquire, lock.release


def portalocker(path: str) -> tuple[Call, Call]:  # waits in the kernel: its default would poll
    from portalocker import Lock, LockFlags

    lock = Lock(path, flags=LockFlags.EXCLUSIVE)
    return lock.acquire, lock.release


def flufl_lock(path: str) -> tuple[Call, Call]:  # polls after 0 to 2 s, at random
    from flufl.lock import Lock

    lock = Lock(path, lifetime=10)
    return lock.lock, lock.unlock


def threading_lock(_: str) -> tuple[Call, Call]:  # knows threads only: what a lock costs in Python
    lock = threading.Lock()
    return lock.acquire, lock.release


CONTENDERS = {
    "lockbyfile (Python)": lockbyfile_lock,
    "lockbyfile.filelock": lockbyfile_filelock,
    "filelock": filelock,
    "fasteners": fasteners,
    "portalocker": portalocker,
    "flufl.lock": flufl_lock,
    "threading.Lock": threading_lock,
}


class Shared:
    """Numbers that all processes see: the check of exclusion, and the measurements."""

    def __init__(self, processes: int, grants: int = 0):
        numbers = memoryview(mmap.mmap(-1, 8 * (3 + 4 * processes + grants))).cast("q")

        def take(count: int) -> memoryview:
            nonlocal numbers
            taken, numbers = numbers[:count], numbers[count:]
            return taken

        self.inside = take(1)  # the process inside, or 0
        self.grants = take(1)
        self.released = take(1)  # when release() was last called
        self.handoffs = take(grants)  # ns
        # One number for each process. Only that process writes it.
        self.ready, self.overlaps, self.counts, self.worst = (take(processes) for _ in range(4))

    def enter(self, me: int) -> None:
        if self.inside[0] != 0:
            self.overlaps[me] += 1
        self.inside[0] = me + 1

    def leave(self, me: int) -> None:
        if self.inside[0] != me + 1:
            self.overlaps[me] += 1
        self.inside[0] = 0

    def start(self, me: int) -> None:
        """Waits until all processes are here."""
        self.ready[me] = 1
        while not all(self.ready):
            time.sleep(0.001)


def in_processes(count: int, work: Callable[[int], None]) -> None:
    """Runs work(0), work(1) and so on, each in a process of its own."""
    children = set()
    for number in range(count):
        child = os.fork()
        if child == 0:
            signal.alarm(LIMIT)
            code = 1
            try:
                work(number)
                code = 0
            except Exception:
                traceback.print_exc()
            finally:
                os._exit(code)
        children.add(child)
    failed = False
    while children:
        child, status = os.wait()
        children.remove(child)
        if status and not failed:
            failed = True
            for other in children:
                os.kill(other, signal.SIGKILL)
    if failed:
        raise SystemExit("peers.py: a process has failed")


def percentile(values: list[float], share: float) -> float:
    """The least value that this share of the values does not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def uncontended(contender: str, path: str, seconds: float) -> Answer:
    acquire, release = CONTENDERS[contender](path)

    def batch(count: int) -> int:
        begin = now()
        for _ in repeat(None, count):
            acquire()
            release()
        return now() - begin

    batch(1)  # opens what the library opens on first use
    count = 1
    while (took := batch(count)) < BATCH:
        count *= 2
    seen = [took / count]
    end = now() + seconds * 1e9
    while now() < end:
        seen.append(batch(count) / count)
    figures = {"ns": statistics.median(seen), "grants": count * len(seen)}
    return {"figures": figures, "samples": {}, "overlaps": 0}


def handoff(contender: str, path: str, processes: int, hold_us: float, grants: int) -> Answer:
    shared = Shared(processes, grants)

    def work(me: int) -> None:
        acquire, release = CONTENDERS[contender](path)
        shared.start(me)
        while True:
            asked = now()
            acquire()
            granted = now()
            number = shared.grants[0]
            if number >= grants:
                release()
                return
            shared.enter(me)
            released = shared.released[0]
            shared.handoffs[number] = granted - released if asked < released else 0
            shared.worst[me] = max(shared.worst[me], granted - asked)
            shared.grants[0] = number + 1
            while now() < granted + hold_us * 1000:
                pass
            shared.leave(me)
            shared.released[0] = now()
            release()
            while shared.grants[0] == number + 1 < grants:  # until another process has had it
                time.sleep(20e-6)

    in_processes(processes, work)
    # The first grant is no handoff. A process that asked only after the release did not wait.
    seen = [ns / 1000 for ns in shared.handoffs[1:] if ns]
    if not seen:
        raise SystemExit("peers.py: nobody has waited; the holds are too short for this machine")
    figures = {
        "p50_us": percentile(seen, 0.5),
        "p99_us": percentile(seen, 0.99),
        "worst_wait_us": max(shared.worst) / 1000,
    }
    return {
        "figures": figures,
        "samples": {"handoff_us": seen},
        "overlaps": sum(shared.overlaps),
    }


def throughput(contender: str, path: str, processes: int, seconds: float) -> Answer:
    shared = Shared(processes)

    def work(me: int) -> None:
        acquire, release = CONTENDERS[contender](path)
        shared.start(me)
        end = now() + int(seconds * 1e9)
        while True:
            acquire()
            if now() >= end:
                release()
                return
            shared.enter(me)
            shared.counts[me] += 1
            shared.leave(me)
            release()

    in_processes(processes, work)
    figures = {
        "grants_per_s": sum(shared.counts) / seconds,
        "least_to_most": min(shared.counts) / max(1, max(shared.counts)),
    }
    return {"figures": figures, "samples": {}, "overlaps": sum(shared.overlaps)}


SCENARIOS: dict[str, Callable[..., Answer]] = {
    "uncontended": uncontended,
    "handoff": handoff,
    "throughput": throughput,
}


def is_installed(contender: str) -> bool:
    with tempfile.TemporaryDirectory() as directory:
        try:
            CONTENDERS[contender](os.path.join(directory, "here"))
        except ImportError:
            return False
    return True


def listed() -> dict[str, list[str]]:
    """The contenders of each scenario."""
    here = [name for name in CONTENDERS if is_installed(name)]
    between_processes = [name for name in here if name != "threading.Lock"]
    return {
        "uncontended": here,
        "handoff": between_processes,
        "throughput": between_processes,
    }


def play(scenario: str, contender: str, keys: dict[str, Any]) -> Answer:
    with tempfile.TemporaryDirectory(prefix="lockbyfile-peers-") as directory:
        return SCENARIOS[scenario](contender, os.path.join(directory, "bench.lock"), **keys)


def main(arguments: list[str]) -> None:
    if arguments == ["--list"]:
        print(json.dumps({"scenarios": listed()}))
        return
    try:
        scenario, contender, *settings = arguments
        pairs = [setting.split("=", 1) for setting in settings]
        keys = {key: float(value) if "." in value else int(value) for key, value in pairs}
        if scenario not in SCENARIOS or contender not in CONTENDERS:
            raise ValueError("there is no such scenario or contender")
    except ValueError as wrong:
        raise SystemExit(f"peers.py: {wrong}\n{__doc__}")
    signal.alarm(LIMIT)
    print(json.dumps(play(scenario, contender, keys)))


if __name__ == "__main__":
    main(sys.argv[1:])
