# SPDX-License-Identifier: Apache-2.0
"""FLock: the API of Andreas Krueger's lockbyfile.py (2015), on today's lock.

    import lockbyfile
    L = lockbyfile.FLock("LOCKNAME")              # A: instantiate, with name
    acquired = L.LoopWhileLocked_ThenLocking()    # B: wait, then lock
    if acquired:
        ...                                       # C: use it, for TIMEOUT at the most
        L.unlocking()                             # D: free for the next

TIMEOUT and PATIENCE, in seconds, are set on the object or in a subclass. TIMEOUT travels in the
lock: waiters obey the holder's, not their own.
"""

from __future__ import annotations

import datetime
import math
import os
import re
import time
from typing import Optional

from . import _lockbyfile
from ._errors import Holder, LockError, LockTimeout


class FLock:
    """A lock by name: LoopWhileLocked_ThenLocking() or locking(), then unlocking(). Seconds are set as
    attributes, FLock("x").TIMEOUT = 5, or in a subclass."""

    TIMEOUT: float = 10
    PATIENCE: float = 30

    def __init__(self, name: str) -> None:
        from . import Lock

        self._class = Lock
        self._lock: Optional[Lock] = None  # opened when it is used: looking creates nothing
        text = os.fspath(name)
        if "\0" in text or not text:
            raise ValueError(f"{name!r} is not the name of a lock")
        if re.match("[A-Za-z0-9+.-]+://", text):
            raise ValueError(f"{name!r}: FLock is for locks in files")
        if "/" in text:
            self.filename = os.path.abspath(text)
        else:
            directory = os.environ.get("LOCKBYFILE_DIR") or os.getcwd()
            self.filename = os.path.join(os.path.abspath(directory), text + ".lockfile")

    def LoopWhileLocked_ThenLocking(self) -> bool:
        """Waits for the lock, PATIENCE seconds at the most. True: acquired."""
        return self._acquire(self.PATIENCE)

    def locking(self) -> bool:
        """Tries to lock, without waiting. False also if this object holds it already."""
        return self._acquire(0)

    def unlocking(self) -> bool:
        """Opens the lock. True only if this object was the rightful holder and in time."""
        if self._lock is None:
            return False
        try:
            self._lock.release()
        except LockError as error:
            if error.reason in ("not_holder", "lease_lost"):
                return False
            raise
        return True

    def isLocked(self) -> bool:
        """Whether anybody, this object included, holds the lock in time."""
        holder = self._holder()
        return holder is not None and _in_time(holder)

    def loopWhileLocked(self) -> bool:
        """Waits while it is locked, PATIENCE seconds at the most, taking nothing. True if it had
        to wait. Looks every 10 ms, since whoever takes nothing has no place in the line."""
        end = time.monotonic() + _seconds(self.PATIENCE, "PATIENCE")
        if not self.isLocked():
            return False
        while time.monotonic() < end and self.isLocked():
            time.sleep(min(0.01, max(0.0, end - time.monotonic())))
        return True

    def exists(self) -> bool:
        """Whether there is a grant that nobody gave back: held, timed out or abandoned."""
        return self._holder() is not None

    def age(self) -> float:
        """Seconds since that grant; -1 if there is none."""
        holder = self._holder()
        if holder is None:
            return -1
        since = datetime.datetime.now(datetime.timezone.utc) - holder.since
        return max(since.total_seconds(), 0.0)

    def timedOut(self) -> bool:
        """Whether that grant has outlived its lease, or its holder. False if there is none."""
        holder = self._holder()
        return holder is not None and not _in_time(holder)

    def breakLock(self) -> bool:
        """Forces the lock open, whoever holds it. True if there was something to break."""
        try:
            _lockbyfile.break_lock(self.filename, 0)
        except LockError as error:
            if error.reason in ("not_found", "token_mismatch"):
                return False
            raise
        return True

    def _acquire(self, patience: float) -> bool:
        patience = _seconds(patience, "PATIENCE")
        if self._lock is None:
            self._lock = self._class(self.filename)
        self._lock.lease = self.TIMEOUT
        try:
            self._lock.acquire(patience)
        except LockTimeout:
            return False
        except LockError as error:
            if error.reason == "would_deadlock":
                return False
            raise
        return True

    def _holder(self) -> Optional[Holder]:
        try:
            return _lockbyfile.observe(self.filename).holder
        except LockError as error:
            if error.reason == "not_found":
                return None
            raise


def _in_time(holder: Holder) -> bool:
    return holder.alive and (holder.lease_left is None or holder.lease_left > 0)


def _seconds(value: float, what: str) -> float:
    if math.isnan(value):
        raise ValueError(f"{what} is not a number")
    return max(value, 0.0)
