# SPDX-License-Identifier: Apache-2.0
"""What the lock costs in Python, beside filelock and the C++ of the same lock, in one run.

    python.py [LOCKBYFILE_BENCH]     the program of bench.cpp and handoff.cpp
"""

import json
import mmap
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import timeit

import lockbyfile

ROUNDS = 7
HANDOFFS = 300


def with_statement(lock):
    """Nanoseconds of a `with lock: pass`."""
    count = 20_000
    return timeit.timeit("with lock: pass", globals={"lock": lock}, number=count) / count * 1e9


def handoff(path):
    """The median of microseconds from release() in one process to acquire()'s return in another,
    which sleeps until then, as in handoff.cpp."""
    shared = memoryview(mmap.mmap(-1, mmap.PAGESIZE)).cast("q")
    asked, waiting, done, granted = range(4)
    lock = lockbyfile.Lock(path)

    def until(what, number):
        while shared[what] != number:
            time.sleep(0)

    lock.acquire()
    child = os.fork()
    if child == 0:
        for number in range(1, HANDOFFS + 1):
            until(asked, number)
            shared[waiting] = number
            lock.acquire()
            shared[granted] = time.monotonic_ns()
            lock.release()
            shared[done] = number
        os._exit(0)
    seen = []
    for number in range(1, HANDOFFS + 1):
        shared[asked] = number
        until(waiting, number)
        time.sleep(0.0002)  # until it sleeps
        released = time.monotonic_ns()
        lock.release()
        until(done, number)
        seen.append((shared[granted] - released) / 1e3)
        lock.acquire()
    lock.release()
    os.waitpid(child, 0)
    return statistics.median(seen)


def handoff_in_cpp(program):
    """The same, by handoff.cpp."""
    output = subprocess.run(
        [program, "--benchmark_filter=^handoff<without_lease>", "--benchmark_format=json"],
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ).stdout
    return json.loads(output)["benchmarks"][0]["median"] * 1e6


def table(title, unit, measures, base):
    """All measures in turn, ROUNDS times; the ratios are of the medians."""
    values = {name: [] for name in measures}
    for _ in range(ROUNDS):
        for name, measure in measures.items():
            values[name].append(measure())
    print(f"\n{title}, {ROUNDS} rounds in turn, least, median and most:")
    of_base = statistics.median(values[base])
    for name, seen in values.items():
        median = statistics.median(seen)
        print(
            f"  {name:24}{min(seen):9.2f}{median:9.2f}{max(seen):9.2f} {unit}"
            f"{median / of_base:9.2f} x {base}"
        )


def main():
    signal.alarm(600)  # a benchmark that hangs ends
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "bench.lockfile")
        locks = {
            "lockbyfile.Lock": lockbyfile.Lock(path),
            "with a lease of 10 s": lockbyfile.Lock(path, lease=10),
            "threading.Lock": threading.Lock(),
        }
        try:
            import filelock
        except ImportError:
            print("python3-filelock is not installed")
        else:
            from lockbyfile.filelock import FileLock

            locks["lockbyfile.filelock"] = FileLock(os.path.join(directory, "ours.lock"))
            locks["filelock"] = filelock.FileLock(os.path.join(directory, "theirs.lock"))
        base = "filelock" if "filelock" in locks else "threading.Lock"
        measures = {name: (lambda lock=lock: with_statement(lock)) for name, lock in locks.items()}
        table("`with lock: pass` in Python, nobody else", "ns", measures, base)
        measures = {"Python": lambda: handoff(path)}
        if len(sys.argv) > 1:
            measures["C++"] = lambda: handoff_in_cpp(sys.argv[1])
        table("handoff to a process that sleeps", "us", measures, list(measures)[-1])


if __name__ == "__main__":
    main()
