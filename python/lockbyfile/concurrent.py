# SPDX-License-Identifier: Apache-2.0
"""Processes that want one lock: the sleepers in a narrow bed, and the hammer.

    python -m lockbyfile.concurrent [--consumers 30]
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import tempfile
import time
from typing import List, Tuple

from . import FLock

Nap = Tuple[float, float]


def sleep_in_bed(number: int, forgets: bool, start: float) -> None:
    bed = FLock("BED")
    bed.TIMEOUT = 1
    if not bed.LoopWhileLocked_ThenLocking():
        print(f"{time.monotonic() - start:5.2f} s  sleeper {number} gave up")
        return
    print(f"{time.monotonic() - start:5.2f} s  sleeper {number} goes to bed", flush=True)
    time.sleep(0.25)
    if forgets:
        print(f"{time.monotonic() - start:5.2f} s  sleeper {number} forgets to unlock", flush=True)
        time.sleep(1.5)  # and lives on, so that only the TIMEOUT opens it
        return
    print(f"{time.monotonic() - start:5.2f} s  sleeper {number} gets up", flush=True)
    bed.unlocking()


def sleepers() -> bool:
    print("4 sleepers share one bed; the second forgets to unlock, TIMEOUT is 1 s")
    start = time.monotonic()
    processes = [
        multiprocessing.Process(target=sleep_in_bed, args=(n, n == 2, start)) for n in range(1, 5)
    ]
    for p in processes:
        p.start()
        time.sleep(0.05)
    for p in processes:
        p.join()
    return all(p.exitcode == 0 for p in processes)


def consume(naps: "multiprocessing.Queue[Nap]") -> None:
    lock = FLock("HAMMER")
    if lock.LoopWhileLocked_ThenLocking():
        begin = time.monotonic()
        time.sleep(0.005)
        end = time.monotonic()
        lock.unlocking()
        naps.put((begin, end))


def hammer(consumers: int) -> bool:
    print(f"{consumers} processes want one lock for 5 ms each; none may overlap")
    naps: "multiprocessing.Queue[Nap]" = multiprocessing.Queue()
    processes = [multiprocessing.Process(target=consume, args=(naps,)) for _ in range(consumers)]
    for p in processes:
        p.start()
    found: List[Nap] = sorted(naps.get(timeout=60) for _ in processes)
    for p in processes:
        p.join()
    overlaps = sum(1 for a, b in zip(found, found[1:]) if b[0] < a[1])
    print(f"{len(found)} had it, {overlaps} overlaps")
    return overlaps == 0 and len(found) == consumers


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m lockbyfile.concurrent", description=__doc__)
    parser.add_argument("--consumers", type=int, default=30, help="processes of the hammer")
    consumers = parser.parse_args().consumers
    if consumers < 1:
        parser.error("--consumers must be at least 1")
    with tempfile.TemporaryDirectory() as directory:
        os.chdir(directory)
        os.environ.pop("LOCKBYFILE_DIR", None)
        good = sleepers() & hammer(consumers)
        os.chdir("/")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
