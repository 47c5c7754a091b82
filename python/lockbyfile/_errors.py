# SPDX-License-Identifier: Apache-2.0
"""Turns the library's answers into exceptions, states and log messages."""

from __future__ import annotations

import datetime
import errno
import logging
from typing import Callable, List, Literal, NamedTuple, Optional, Union

How = Literal["free", "expired", "abandoned", "broken"]
Cause = Literal["expired", "broken", "deleted", "unreachable", "lifeline_closed"]

log = logging.getLogger("lockbyfile")


class Party(NamedTuple):
    """A process as it described itself in the lock. Only for display."""

    pid: int
    user: int
    command: str
    host: str = ""
    """Empty: this machine, as for every lock in a file."""

    def __str__(self) -> str:
        where = f" on {self.host}" if self.host else ""
        return f"pid {self.pid} ({self.command}){where}"


def _time(since_1970: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(since_1970, datetime.timezone.utc)


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
        self.host = who.host
        self.token = token
        self.since = _time(since)
        self.lease = lease
        self.lease_left = lease_left
        self.alive = alive

    def __str__(self) -> str:
        where = f" on {self.host}" if self.host else ""
        text = f"pid {self.pid} ({self.command}){where} since {self.since.astimezone():%H:%M:%S}"
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


class PastGrant(NamedTuple):
    """The last grant of a session that the lock remembers."""

    who: Party
    token: int
    how: How
    since: datetime.datetime


class PastBreak(NamedTuple):
    """The last forced opening: of which grant, by whom."""

    token: int
    by: Party
    at: datetime.datetime


class PastRun(NamedTuple):
    """How the work under a grant of `lockbyfile run` ended. The duration is in seconds."""

    token: int
    duration: float
    exit_code: int
    ended: datetime.datetime


class LockState(NamedTuple):
    """A lock at one instant."""

    path: str
    holder: Optional[Holder]
    waiters: List[Waiter]
    grants: List[PastGrant] = []
    """Of each session its last one: the last eight, newest first."""
    last_break: Optional[PastBreak] = None
    last_run: Optional[PastRun] = None


class LockError(OSError):
    """Something is wrong with a lock. `filename` is its lockfile.

    reason   what, in a word: "damaged", "unreachable", "would_deadlock", ...
    cause    of a loss: "expired", "broken", "deleted", "unreachable" or "lifeline_closed"; None if
             nothing was lost, or the cause cannot be known
    holder   who has the lock now, if that is known and matters
    waited   if the call waited: seconds from the call on
    waiters  if the call waited: how many others wait
    """

    reason: str = "system"
    cause: Optional[Cause] = None
    holder: Union[Holder, Party, None] = None
    waited: float = 0.0
    waiters: int = 0


class LeaseLost(LockError):
    """The grant was over before it was released. `cause` says why."""


class LockTimeout(LockError, TimeoutError):
    """Patience ran out. `holder` has the lock, if that is known."""

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


_CAUSES = {
    "expired": "its lease ran out before it was renewed",
    "broken": "it was broken",
    "deleted": "its lockfile was deleted, renamed or replaced",
    "unreachable": "the servers that keep it were not heard of for too long",
    "lifeline_closed": "this process closed the descriptor that keeps it alive",
}


def error_of(
    code: int,
    message: str,
    path: str,
    is_ours: bool,
    cause: Optional[Cause] = None,
    holder: Optional[Party] = None,
    waited: float = 0.0,
    waiters: int = 0,
    names_cause: bool = True,
) -> LockError:
    """`names_cause`: the message says why already."""
    reason, number = _ANSWERS[code] if is_ours else ("system", code)
    kind = LeaseLost if reason == "lease_lost" else LockError
    if not names_cause and cause is not None:
        message += f": {_CAUSES[cause]}"
    if not names_cause and holder is not None:
        message += f"; {holder} has it now"
    error = kind(number, message, path or None)
    error.reason = reason
    error.cause = cause
    error.holder = holder
    error.waited = waited
    error.waiters = waiters
    return error


def lease_lost(path: str, message: str, cause: Optional[Cause] = None) -> LockError:
    return error_of(5, message, path, True, cause)


def left_by_a_child(path: str) -> None:
    """A block that was entered before a fork."""
    text = f"lost {path}: it was granted to the process that forked this one"
    log.warning("%s", lease_lost(path, text, "lifeline_closed"))


def past_grant(who: Party, token: int, how: How, since: float) -> PastGrant:
    return PastGrant(who, token, how, _time(since))


def past_break(token: int, by: Party, at: float) -> PastBreak:
    return PastBreak(token, by, _time(at))


def past_run(token: int, duration: float, exit_code: int, ended: float) -> PastRun:
    return PastRun(token, duration, exit_code, _time(ended))


def state_of(path: str) -> Optional[LockState]:
    """For a message only: the lock may be gone by now."""
    from . import _lockbyfile

    try:
        return _lockbyfile.observe(path)
    except (OSError, ValueError):
        return None


def timed_out(path: str, patience: float, waited: float) -> LockTimeout:
    state = state_of(path)
    return timeout_of(path, patience, waited, state, len(state.waiters) if state else 0)


def timeout_of(
    path: str, patience: float, waited: float, state: Optional[LockState], others: int
) -> LockTimeout:
    """`others`: the waiters, without the one whose patience ran out."""
    holder = state.holder if state else None
    text = f"cannot acquire it within {patience:g} s"
    if holder is not None:
        text += f": held by {holder}"
    if others:
        text += f"; {others} waiting"
    error = LockTimeout(errno.ETIMEDOUT, text, path)
    error.reason = "timed_out"
    error.holder = holder
    error.patience = patience
    error.waited = waited
    error.waiters = others
    log.debug("%s: %s", path, text)
    return error


def took_over(path: str, how: How, previous: Optional[Party]) -> None:
    who = f" from {previous}" if previous else ""
    if how == "broken":
        log.warning("%s: acquired after the last grant was broken%s", path, who)
    else:
        log.warning("%s: taken over%s: %s", path, who, how)


def lost_quietly(error: LockError) -> None:
    log.warning("%s; another exception is under way", error)


def tell_of_loss(on_lost: Optional[Callable[[LockError], None]], error: LockError) -> None:
    if error.reason == "unreachable":
        error.cause = "unreachable"
    log.warning("%s", error)
    if on_lost is not None:
        on_lost(error)


