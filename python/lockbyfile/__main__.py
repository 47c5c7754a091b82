# SPDX-License-Identifier: Apache-2.0
"""The inner workings, step by step: python -m lockbyfile"""

from __future__ import annotations

import os
import tempfile
import time

from . import FLock


def show(lock: FLock, step: str) -> None:
    print(
        f"{step:<58} isLocked {lock.isLocked()!s:<5} exists {lock.exists()!s:<5} "
        f"age {lock.age():5.2f} timedOut {lock.timedOut()}"
    )


def inner_workings() -> None:
    first, second = FLock("LOCKNAME"), FLock("LOCKNAME")
    first.TIMEOUT = 1
    second.PATIENCE = 0.3
    print(f"the lockfile is {first.filename}")
    show(first, "nobody has locked yet")
    show(first, f"first.locking() -> {first.locking()}")
    show(first, f"second.locking() -> {second.locking()}")
    show(first, f"second waits for 0.3 s -> {second.LoopWhileLocked_ThenLocking()}")
    time.sleep(1)
    show(first, "first has overslept its TIMEOUT")
    show(first, f"second.locking() -> {second.locking()}")
    show(first, f"first.unlocking() -> {first.unlocking()}: it is second's")
    show(first, f"second.unlocking() -> {second.unlocking()}")
    show(first, f"first.locking() -> {first.locking()}")
    show(first, f"second.breakLock() -> {second.breakLock()}")
    show(first, f"first.unlocking() -> {first.unlocking()}: it was broken")


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        os.chdir(directory)
        os.environ.pop("LOCKBYFILE_DIR", None)
        inner_workings()
        os.chdir("/")


if __name__ == "__main__":
    main()
