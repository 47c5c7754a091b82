# SPDX-License-Identifier: Apache-2.0
"""What the command shows, where only the package is installed.

    python -m lockbyfile status NAME    who holds a lock, who waits
    python -m lockbyfile list [DIR]     the lockfiles of a directory
    python -m lockbyfile                the inner workings, step by step
"""

from __future__ import annotations

import argparse
import errno
import os
import sys
import tempfile
import time

from . import FLock, LockError, LockState, list_locks, observe


def show(lock: FLock, step: str) -> None:
    print(
        f"{step:<58} isLocked {lock.isLocked()!s:<5} exists {lock.exists()!s:<5} "
        f"age {lock.age():5.2f} timedOut {lock.timedOut()}"
    )


def inner_workings() -> None:
    first, second = FLock("LOCKNAME"), FLock("LOCKNAME")
    first.TIMEOUT = 1
    first.REMOVETIMEDOUT = False  # or its isLocked() would give it back
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


def demonstrate() -> None:
    with tempfile.TemporaryDirectory() as directory:
        os.chdir(directory)
        os.environ.pop("LOCKBYFILE_DIR", None)
        inner_workings()
        os.chdir("/")


def describe(state: LockState) -> str:
    lines = [state.path, f"  held by {state.holder}" if state.holder else "  free"]
    if state.holder:
        lines.append(f"  token {state.holder.token}")
    lines += [f"  waiting for {w.waiting:.3g} s: {w.who}" for w in state.waiters]
    if state.last_break is not None:
        by, at = state.last_break.by, state.last_break.at.astimezone()
        lines.append(f"  last broken by {by} at {at:%Y-%m-%d %H:%M:%S}, token {state.last_break.token}")
    if state.last_run is not None:
        run = state.last_run
        lines.append(f"  last run took {run.duration:.3g} s, exit code {run.exit_code}")
    return "\n".join(lines)


def main() -> int:
    """Exit codes are those of the command."""
    parser = argparse.ArgumentParser(
        prog="python -m lockbyfile",
        description="Shows locks; without a verb, the inner workings of one, step by step.",
    )
    verbs = parser.add_subparsers(dest="verb")
    status = verbs.add_parser("status", help="who holds a lock, and who waits")
    status.add_argument("name")
    status.add_argument("--dir", metavar="DIR", help="where names without a slash live")
    listing = verbs.add_parser("list", help="the lockfiles of a directory")
    listing.add_argument("dir", nargs="?", metavar="DIR")
    arguments = parser.parse_args()
    try:
        if arguments.verb == "status":
            print(describe(observe(arguments.name, arguments.dir)))
        elif arguments.verb == "list":
            print(*list_locks(arguments.dir), sep="\n")
        else:
            demonstrate()
    except LockError as error:
        print(f"lockbyfile: {error}", file=sys.stderr)
        if error.reason == "system":
            return 77 if error.errno in _REFUSED else 73
        return _EXIT_CODES.get(error.reason, 70)
    return 0


_REFUSED = (errno.EACCES, errno.EPERM)
_EXIT_CODES = {
    "not_found": 1,
    "invalid_name": 64,
    "invalid_option": 64,
    "wrong_engine": 69,
    "damaged": 69,
    "clock_mismatch": 69,
    "network_filesystem": 69,
    "unreachable": 69,
    "too_many_sessions": 73,
    "stuck": 73,
}


if __name__ == "__main__":
    sys.exit(main())
