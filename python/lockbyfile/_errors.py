# SPDX-License-Identifier: Apache-2.0
"""What the binding makes of the library's answers: exceptions, states, log messages."""

from __future__ import annotations

import datetime
import errno
import logging
from typing import Callable, List, NamedTuple, Optional

log = logging.getLogger("lockbyfile")


class Party(NamedTuple):
    """A process as it described itself in the lockfile. Only to be shown."""

    pid: int
    user: int
    command: str


class Holder:
    """Who holds a lock, and for how long."""

    def __init__(
        self,
        who: Party,
        token: int,
        since: float,
        lease: Optional[float],
        lease_left: Optional[float],
        alive: bool,
    ) -> None:
        self.pid = who.pid
        self.user = who.user
        self.command = who.command
        self.token = token
        self.since = datetime.datetime.fromtimestamp(since, datetime.timezone.utc)
        self.lease = lease
        self.lease_left = lease_left
        self.alive = alive

    def __str__(self) -> str:
        text = f"pid {self.pid} ({self.command}) since {self.since.astimezone():%H:%M:%S}"
        if not self.alive:
            return text + ", which has died"
        if self.lease_left is None:
            return text + ", without a lease"
        if self.lease_left <= 0:
            return text + ", whose lease has ended"
        return text + f", whose lease ends in {self.lease_left:.3g} s"

    def __repr__(self) -> str:
        return f"<Holder {self}, token {self.token}>"


class Waiter(NamedTuple):
    """Who waits, and for how many seconds."""

    who: Party
    waiting: float


class LockState(NamedTuple):
    """A lock at one instant."""

    path: str
    holder: Optional[Holder]
    waiters: List[Waiter]


class LockError(OSError):
    """Something is wrong with a lock. `filename` is its lockfile, `reason` says what in a word."""

    reason: str = "system"


class LeaseLost(LockError):
    """The grant ran out, was broken, or its file was deleted, before it was given back."""


class LockTimeout(LockError, TimeoutError):
    """Patience ran out. `holder` is who has the lock, if that could be told."""

    holder: Optional[Holder] = None
    patience: Optional[float] = None


# By lockbyfile::errc.
_ANSWERS = {
    1: ("timed_out", errno.ETIMEDOUT),
    2: ("cancelled", errno.ECANCELED),
    3: ("would_deadlock", errno.EDEADLK),
    4: ("not_holder", errno.EPERM),
    5: ("lease_lost", errno.ESTALE),
    6: ("in_use", errno.EBUSY),
    7: ("token_mismatch", errno.ESTALE),
    8: ("not_found", errno.ENOENT),
    9: ("invalid_name", errno.EINVAL),
    10: ("invalid_option", errno.EINVAL),
    11: ("wrong_engine", errno.ENOTSUP),
    12: ("damaged", errno.EBADMSG),
    13: ("too_many_sessions", errno.EUSERS),
    14: ("clock_mismatch", errno.ENOTSUP),
    15: ("network_filesystem", errno.ENOTSUP),
    16: ("stuck", errno.EBUSY),
    17: ("unreachable", errno.EHOSTUNREACH),
}


def error_of(code: int, message: str, path: str, is_ours: bool) -> LockError:
    reason, number = _ANSWERS[code] if is_ours else ("system", code)
    kind = LeaseLost if reason == "lease_lost" else LockError
    error = kind(number, message, path or None)
    error.reason = reason
    return error


def lease_lost(path: str, message: str) -> LockError:
    return error_of(5, message, path, True)


def timed_out(path: str, patience: float) -> LockTimeout:
    holder = None
    waiting = 0
    try:
        from . import _lockbyfile

        state = _lockbyfile.observe(path)
        holder = state.holder
        waiting = len(state.waiters)
    except (OSError, ValueError):  # it is only told, and may be gone by now
        pass
    text = f"cannot acquire it within {patience:g} s"
    if holder is not None:
        text += f": held by {holder}"
    if waiting:
        text += f"; {waiting} waiting"
    error = LockTimeout(errno.ETIMEDOUT, text, path)
    error.reason = "timed_out"
    error.holder = holder
    error.patience = patience
    log.debug("%s: %s", path, text)
    return error


def took_over(path: str, how: str, previous: Optional[Party]) -> None:
    who = f" from pid {previous.pid} ({previous.command})" if previous else ""
    log.warning("%s: taken over%s: %s", path, who, how)


def lost_quietly(error: LockError) -> None:
    log.warning("%s; another exception is under way", error)


def tell_of_loss(on_lost: Optional[Callable[[LockError], None]], error: LockError) -> None:
    log.warning("%s", error)
    if on_lost is not None:
        on_lost(error)


