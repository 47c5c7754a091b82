# SPDX-License-Identifier: Apache-2.0
"""A named lock between processes that you can trust with your data.

    import lockbyfile

    with lockbyfile.Lock("nightly", lease=600, patience=30) as grant:
        print("working under token", grant.token)

The lock is a file, NAME.lockfile, in the current directory, $LOCKBYFILE_DIR, or `directory`.
It opens when the holder releases it, when the lease runs out, or within 10 ms of the holder's
death. Waiters are served in order of arrival. The README lists the guarantees.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Callable, List, Optional

from . import _lockbyfile
from ._decorator import Function, run_under
from ._errors import (
    Holder,
    LeaseLost,
    LockError,
    LockState,
    LockTimeout,
    Party,
    PastBreak,
    PastGrant,
    PastRun,
    Waiter,
)
from ._lockbyfile import Grant
from ._types import Duration, Path

if TYPE_CHECKING:
    from .aio import AsyncLock as AsyncLock

__all__ = [
    "AsyncLock",
    "CHECKEVERYXSECONDS",
    "ERROR",
    "FLock",
    "Grant",
    "Holder",
    "LOCKFILEEXTENSION",
    "LeaseLost",
    "Lock",
    "LockError",
    "LockState",
    "LockTimeout",
    "PATIENCE",
    "Party",
    "PastBreak",
    "PastGrant",
    "PastRun",
    "REMOVETIMEDOUT",
    "TIMEOUT",
    "Waiter",
    "break_lock",
    "getInfoLogger",
    "howToUse",
    "list_locks",
    "observe",
    "print_Ramdisk_Manual",
    "prunable",
    "prune",
    "remove",
    "testFLocks",
]
__version__ = "0.1.0"

os.register_at_fork(after_in_child=_lockbyfile._after_fork_in_child)


class Lock(_lockbyfile._Lock):
    """A lock by name, for `with`, as a decorator, or by acquire() and release().

    name            without a slash: NAME.lockfile in `directory`, $LOCKBYFILE_DIR, or the current
                    directory, as it is now; with one: a path
    lease           seconds (or a timedelta) after which the lock opens by itself, unless
                    renewed; None: it lasts until it is released, or the process dies
    patience        seconds that a waiter waits; 0: it tries once; None: forever
    mode, group     of a lockfile that is created here (0o600)
    description     what others see as the command, instead of the script's name
    any_filesystem  treat a filesystem of unknown type as a local one. If several machines share
                    it, each of them has a lock of its own

    Threads may share a Lock: each has a session of its own and excludes the others. `held`,
    `token` and `remaining` are those of the calling thread. If a thread ends while it holds the
    lock, the lock is released. After fork the child holds nothing. Under the monkey patch of gevent
    or eventlet a greenlet counts as a thread.
    """

    def keep_alive(self, on_lost: Optional[Callable[[LockError], None]] = None) -> _KeepAlive:
        """Renews this thread's grant every third of its lease, from a thread of C++. That lasts as
        long as the returned context, or this thread. If the lock is lost, the renewing thread calls
        `on_lost` once."""
        return _KeepAlive(self, on_lost)

    def __call__(self, function: Function) -> Function:
        return run_under(self, function)

    def __repr__(self) -> str:
        state = "closed" if self.closed else "held" if self.held else "not held"
        return f"<lockbyfile.Lock {self.path!r}, {state}>"

    def __reduce_ex__(self, protocol: object) -> Any:
        raise TypeError("a Lock cannot be pickled or copied: make one from its path, there")


class _KeepAlive:
    def __init__(self, lock: Lock, on_lost: Optional[Callable[[LockError], None]]) -> None:
        if on_lost is not None and not callable(on_lost):
            raise TypeError("on_lost must be callable")
        self._lock = lock
        self._lock._start_keeping(on_lost)

    def stop(self) -> None:
        """Ends the renewals, not the grant. For the thread that started them. Harmless twice."""
        self._lock._stop_keeping()

    def __enter__(self) -> _KeepAlive:
        return self

    def __exit__(self, *ignored: object) -> None:
        self.stop()


def observe(name: Path, directory: Optional[Path] = None) -> LockState:
    """Who holds a lock, who waits, and who had it. Takes nothing, creates nothing."""
    return _lockbyfile.observe(name, directory)


def break_lock(name: Path, token: int = 0, directory: Optional[Path] = None) -> None:
    """Forces the lock open, if it is held under `token`; 0: under any.

    In etcd, observe shows 0 for a holder that has not written its token yet: do not pass that on.
    """
    _lockbyfile.break_lock(name, token, directory)


def remove(name: Path, directory: Optional[Path] = None) -> None:
    """Removes a lockfile that nobody holds. Waiters move to the next one by themselves."""
    _lockbyfile.remove(name, directory)


def list_locks(directory: Optional[Path] = None) -> List[str]:
    """The paths of all lockfiles in a directory: by default $LOCKBYFILE_DIR, or the current one."""
    return _lockbyfile.list_locks(_where(directory))


def prunable(directory: Optional[Path] = None) -> List[str]:
    """The paths that prune() would remove now. Removes nothing."""
    return _lockbyfile.prunable(_where(directory))


def prune(directory: Optional[Path] = None) -> List[str]:
    """Removes the lockfiles of a directory (as for list_locks) that no process has open.

    Returns their paths.
    """
    return _lockbyfile.prune(_where(directory))


def _where(directory: Optional[Path]) -> Path:
    return (os.environ.get("LOCKBYFILE_DIR") or ".") if directory is None else directory


from .flock import (  # noqa: E402  (they are made of the above)
    CHECKEVERYXSECONDS,
    ERROR,
    LOCKFILEEXTENSION,
    PATIENCE,
    REMOVETIMEDOUT,
    TIMEOUT,
    FLock,
    getInfoLogger,
    howToUse,
    print_Ramdisk_Manual,
    testFLocks,
)


def __getattr__(name: str) -> Any:
    if name == "AsyncLock":  # on demand: asyncio takes longer to import than all the rest
        from .aio import AsyncLock

        return AsyncLock
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
