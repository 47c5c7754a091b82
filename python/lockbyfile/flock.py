# SPDX-License-Identifier: Apache-2.0
"""FLock: the API of Andreas Krueger's lockbyfile.py (2015), on today's lock.

    import lockbyfile
    L = lockbyfile.FLock("LOCKNAME")              # A: instantiate, with name
    acquired = L.LoopWhileLocked_ThenLocking()    # B: wait, then lock
    if acquired:
        ...                                       # C: use it, for TIMEOUT at most
        L.unlocking()                             # D: free for the next

TIMEOUT and PATIENCE, in seconds, are set on the object, in a subclass, or for all that are made
later in the module: lockbyfile.TIMEOUT = 5. TIMEOUT is stored in the lock: waiters obey the
holder's, not their own.

All names of 2015 are in the package (import lockbyfile; from lockbyfile import FLock, TIMEOUT) and
here (from lockbyfile.flock import *).
"""

from __future__ import annotations

import datetime
import logging
import math
import os
import re
import sys
import time
from typing import Any, Callable, Optional

from . import _lockbyfile
from ._errors import Holder, LockError, LockTimeout

__all__ = [
    "CHECKEVERYXSECONDS",
    "ERROR",
    "FLock",
    "LOCKFILEEXTENSION",
    "PATIENCE",
    "REMOVETIMEDOUT",
    "TIMEOUT",
    "getInfoLogger",
    "howToUse",
    "print_Ramdisk_Manual",
    "testFLocks",
]

TIMEOUT: float = 10  # seconds after which a lock opens by itself
PATIENCE: float = 30  # seconds after which a waiter gives up
CHECKEVERYXSECONDS: float = 0.03  # how often loopWhileLocked() looks; nothing else here polls
REMOVETIMEDOUT = True  # isLocked() gives back what its own object has held for too long
LOCKFILEEXTENSION = ".lockfile"
ERROR = -1  # the age of a lock that has none


class _Default:
    """A value of the package as it is when it is read."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, instance: object, owner: object) -> Any:
        return getattr(sys.modules[__package__], self._name)


def _default(name: str) -> Any:
    return _Default(name)


class FLock:
    """A lock by name: LoopWhileLocked_ThenLocking() or locking(), then unlocking().

    Seconds are set as attributes, FLock("x").TIMEOUT = 5, or in a subclass.

    The name gets LOCKFILEEXTENSION unless it has it. So does a path: FLock("/srv/db.sqlite3") never
    touches the database. TIMEOUT counts for the grant that this object holds whenever the object is
    asked: a TIMEOUT that was changed meanwhile is then written to the lock.
    """

    TIMEOUT: float = _default("TIMEOUT")
    PATIENCE: float = _default("PATIENCE")
    CHECKEVERYXSECONDS: float = _default("CHECKEVERYXSECONDS")
    REMOVETIMEDOUT: bool = _default("REMOVETIMEDOUT")
    LOCKFILEEXTENSION: str = LOCKFILEEXTENSION

    name: str
    lockingTime: Optional[float]
    """When this object locked, in seconds since 1970; None: it holds nothing."""
    startedWaitingTime: Optional[float]
    """When this object began to wait, in seconds since 1970; None: it does not wait."""

    def __init__(self, name: str) -> None:
        from . import Lock

        self._class = Lock
        self._lock: Optional[Lock] = None  # opened when it is used: looking creates nothing
        self._told: Optional[float] = None  # the TIMEOUT that the lock knows of this object's grant
        text = os.fspath(name)
        base = os.path.basename(text)
        if "\0" in text or base in ("", ".", ".."):
            raise ValueError(f"{name!r} is not the name of a lock")
        directory = os.environ.get("LOCKBYFILE_DIR") if "/" not in text else None
        for where in (text, directory):
            if where and re.match("[A-Za-z0-9+.-]+://", where):
                raise ValueError(f"{where!r}: FLock is for locks in files")
        self.name = text
        self.lockingTime = self.startedWaitingTime = None
        for option in ("TIMEOUT", "PATIENCE", "CHECKEVERYXSECONDS", "REMOVETIMEDOUT"):
            vars(self).setdefault(option, getattr(self, option))
        if not base.endswith(LOCKFILEEXTENSION) or base == LOCKFILEEXTENSION:
            text += LOCKFILEEXTENSION
        self._file = text  # as in 2015
        self.filename = os.path.join(os.path.abspath(directory or os.getcwd()), text)
        self.filename = os.path.abspath(self.filename)

    def fn(self) -> str:
        """The lockfile: the name with its extension.

        Its whole path if the name leads elsewhere, as after a chdir, or with $LOCKBYFILE_DIR.
        """
        return self._file if os.path.abspath(self._file) == self.filename else self.filename

    def dirname(self) -> str:
        """As fn()."""
        return self.fn()

    def LoopWhileLocked_ThenLocking(self) -> bool:
        """Waits for the lock, at most PATIENCE seconds. True: acquired."""
        self.startedWaitingTime = time.time()
        return self._acquire(self.PATIENCE)

    def locking(self) -> bool:
        """Tries to lock, without waiting. False also if this object holds it already."""
        self.startWaiting()
        return self._acquire(0)

    def unlocking(self) -> bool:
        """Opens the lock. True only if this object was the rightful holder and in time."""
        self.lockingTime, told = None, self._tell_timeout()
        if self._lock is None or not told:
            return False
        try:
            self._lock.release()
        except LockError as error:
            if error.reason in ("not_holder", "lease_lost"):
                return False
            raise
        return True

    def isLocked(self) -> bool:
        """Whether anybody, this object included, holds the lock in time.

        If this object has held the lock for longer than TIMEOUT, and nobody has taken it since,
        this call releases it (REMOVETIMEDOUT).
        """
        self._tell_timeout()
        holder = self._holder()
        if holder is None:
            return False
        if _in_time(holder):
            return True
        if self.REMOVETIMEDOUT and self._is_own(holder):
            self._give_back()
        return False

    def loopWhileLocked(self) -> bool:
        """Waits while it is locked, at most PATIENCE seconds, taking nothing. True if it had
        to wait. Looks every CHECKEVERYXSECONDS, since it takes nothing and so has no place among
        the waiters."""
        end = time.monotonic() + _seconds(self.PATIENCE, "PATIENCE")
        pause = max(_seconds(self.CHECKEVERYXSECONDS, "CHECKEVERYXSECONDS"), 0.001)
        if not self.isLocked():
            return False
        self.startWaiting()
        while time.monotonic() < end and self.isLocked():
            time.sleep(min(pause, max(0.0, end - time.monotonic())))
        return True

    def exists(self) -> bool:
        """Whether there is a grant that nobody released: held, timed out or abandoned."""
        return self._holder() is not None

    def age(self) -> float:
        """Seconds since that grant; ERROR, which is -1, if there is none."""
        holder = self._holder()
        if holder is None:
            return ERROR
        since = datetime.datetime.now(datetime.timezone.utc) - holder.since
        return max(since.total_seconds(), 0.0)

    def timedOut(self) -> bool:
        """Whether that grant has outlived its lease, or its holder. False if there is none."""
        self._tell_timeout()
        holder = self._holder()
        return holder is not None and not _in_time(holder)

    def existsAndNotTimedOut(self) -> bool:
        """As isLocked(), but changes nothing."""
        self._tell_timeout()
        holder = self._holder()
        return holder is not None and _in_time(holder)

    def removeIfTimedOut(self) -> None:
        """Forces the lock open if its grant has timed out: that grant only, even if another comes
        meanwhile."""
        self._tell_timeout()
        holder = self._holder()
        if holder is None or _in_time(holder):
            return
        if self._is_own(holder):
            self._give_back()
        else:
            self._break(holder.token)

    def breakLock(self) -> bool:
        """Forces the lock open, no matter which process holds it. True if there was something to
        break."""
        return self._break(0)

    def startWaiting(self) -> None:
        """Notes the time for stillPatience(), unless it was noted since the last locking."""
        if self.startedWaitingTime is None:
            self.startedWaitingTime = time.time()

    def stillPatience(self) -> bool:
        """Whether PATIENCE seconds have not passed since this object began to wait."""
        since = time.time() if self.startedWaitingTime is None else self.startedWaitingTime
        return time.time() - since < self.PATIENCE

    def _acquire(self, patience: float) -> bool:
        patience = _seconds(patience, "PATIENCE")
        if self._lock is None:
            self._lock = self._class(self.filename)
        timeout = self.TIMEOUT
        self._lock.lease = timeout
        try:
            self._lock.acquire(patience)
        except LockTimeout:
            return False
        except LockError as error:
            if error.reason == "would_deadlock":
                return False
            raise
        self._told = timeout
        self.lockingTime, self.startedWaitingTime = time.time(), None
        self._locked_at = time.monotonic()
        return True

    def _tell_timeout(self) -> bool:
        """Puts a TIMEOUT that was changed since into the grant of this object.

        False if that ends the grant.
        """
        if self._lock is None or self._told is None or self.TIMEOUT == self._told:
            return True
        if not self._lock.held:
            return True
        timeout = math.inf if self.TIMEOUT is None else self.TIMEOUT
        left = timeout - (time.monotonic() - self._locked_at)
        self._lock.lease = left if left > 0 else 1e-9
        try:
            self._lock.renew()
        except LockError as error:
            if error.reason not in ("not_holder", "lease_lost"):
                raise
        self._told = self.TIMEOUT
        return left > 0

    def _is_own(self, holder: Holder) -> bool:
        return self._lock is not None and self._lock.token == holder.token

    def _give_back(self) -> None:
        """Releases the grant of this object, which has timed out.

        Renews it first: a late release opens nothing.
        """
        assert self._lock is not None
        try:
            self._lock.lease = None
            self._lock.renew()
            self._lock.release()
        except LockError as error:  # taken over meanwhile
            if error.reason not in ("not_holder", "lease_lost"):
                raise

    def _break(self, token: int) -> bool:
        try:
            _lockbyfile.break_lock(self.filename, token)
        except LockError as error:
            if error.reason in ("not_found", "token_mismatch"):
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


def getInfoLogger(ID: str = "") -> Callable[..., None]:
    """A function that prints to stderr, with the time and the ID before it.

    The ID may have fields of logging, "[pId=%(process).5d]" say. The program's own logging is left
    alone.
    """
    handler = logging.StreamHandler()
    form = "[%(asctime)s.%(msecs).03d] " + ID + " %(message)s"
    handler.setFormatter(logging.Formatter(form, datefmt="%I:%M:%S"))
    logger = logging.Logger("lockbyfile")
    logger.addHandler(handler)
    return logger.info


def howToUse(secs: float = 9) -> bool:
    """The use of an FLock in four steps. Returns whether it was acquired."""
    L = FLock("LOCKNAME")  # A: instantiate, with name
    acquired = L.LoopWhileLocked_ThenLocking()  # B: wait, then lock
    if acquired:
        time.sleep(secs)  # C: use the scarce resource, for TIMEOUT at the most
        L.unlocking()  # D: free for the next
    return acquired


def testFLocks() -> None:
    """Shows the inner workings, and all functions that matter, in some ten seconds."""
    Log = getInfoLogger()
    L = FLock("example")
    Log("L = FLock('example')")
    Log("L.fn() = %s (the lockfile)", L.fn())
    Log("L.breakLock() = %s (what an earlier run left, perhaps)", L.breakLock())
    Log("L.exists() = %s", L.exists())

    Log("EXAMPLE: locking")
    Log("L.locking() = %s", L.locking())
    Log("L.locking() = %s (it is locked already)", L.locking())
    time.sleep(1)
    Log("L.age() = %.2f", L.age())
    Log("L.isLocked() = %s", L.isLocked())

    Log("EXAMPLE: a TIMEOUT that is over")
    L.TIMEOUT = 1
    Log("L.TIMEOUT = 1")
    Log("L.isLocked() = %s", L.isLocked())
    Log("L.exists() = %s (isLocked() gave it back)", L.exists())

    Log("EXAMPLE: waiting without locking")
    L.TIMEOUT = 2
    Log("L.TIMEOUT = 2")
    Log("L.locking() = %s", L.locking())
    Log("L.loopWhileLocked() = %s (see the times on the left)", L.loopWhileLocked())
    Log("L.isLocked() = %s", L.isLocked())

    Log("EXAMPLE: the name decides, not the object")
    Log("L.locking() = %s", L.locking())
    L2 = FLock("example")
    Log("L2 = FLock('example')")
    Log("L2.locking() = %s (L has it)", L2.locking())
    Log("L2.LoopWhileLocked_ThenLocking() = %s (L timed out)", L2.LoopWhileLocked_ThenLocking())
    Log("L.isLocked() = %s, and L.unlocking() = %s: it is L2's", L.isLocked(), L.unlocking())
    Log("L2.unlocking() = %s", L2.unlocking())

    Log("EXAMPLE: lack of patience ends the waiting")
    L.TIMEOUT = 10
    Log("L.locking() = %s, for L.TIMEOUT = 10", L.locking())
    L2.PATIENCE = 2
    Log("L2.PATIENCE = 2")
    Log("L2.LoopWhileLocked_ThenLocking() = %s", L2.LoopWhileLocked_ThenLocking())
    Log("L.unlocking() = %s", L.unlocking())


def print_Ramdisk_Manual() -> None:
    """Says how to put locks into memory."""
    print(
        "A lock in memory: name it FLock('/dev/shm/LOCKNAME'), or set LOCKBYFILE_DIR=/dev/shm.\n"
        "It gains little: once it is open, an uncontended lock makes no system call on any disk."
    )
