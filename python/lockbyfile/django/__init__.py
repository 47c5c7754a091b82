# SPDX-License-Identifier: Apache-2.0
"""The lock for Django: read, compute and write without losing an update, on any database.

    from lockbyfile.django import db_lock

    @db_lock                                      # of the database "default"
    def buy(request): ...

    with db_lock("stock", patience=5) as grant:   # or of any other name
        ...

    # settings.py, all of it optional
    INSTALLED_APPS += ["lockbyfile.django"]       # for the checks and for `manage.py locked`
    LOCKBYFILE = {"DIR": "/run/lock/shop", "TIMEOUT": 10, "PATIENCE": 30}

TIMEOUT is the lease, PATIENCE what a waiter waits: seconds, or None: for ever; if not said, what
they were in 2015. DIR has the lockfiles; if not said, $LOCKBYFILE_DIR or BASE_DIR. MODE (0o600) and
GROUP (an id) are those of a lockfile that is created.

(D1) A block that ends inside a transaction does not give the lock back, since others would then
     read what is not committed yet. It leaves a hook with the transaction, which gives it back when
     it is called, after the commit, or dropped, after the rollback, be it only of the savepoint
     in which the block was.
(D2) A thread may enter what it holds. `_Hold.uses` counts its blocks and hooks, and the last one
     gives the lock back. So the handler of a signal may lock what the sender has locked, and two
     blocks of one transaction do not wait for each other.
(D3) A block whose lease is over raises LeaseLost at its end, so that a transaction around it is
     rolled back. Once the hook is called it is too late for that, and the loss is logged. Only the
     token, kept beside the row, refuses the write of a process that was stopped in between.
(D4) A hold is its thread's, and not a child's after fork: hooks that end elsewhere do nothing.
"""

from __future__ import annotations

import contextlib
import os
import threading
import zlib
from types import TracebackType
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple, Type, Union

from django.conf import settings
from django.core.cache import cache as default_cache
from django.core.cache.backends.base import DEFAULT_TIMEOUT
from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS, connections, transaction
from django.utils.asyncio import async_unsafe

from .. import Grant, Lock, _KeepAlive
from .._decorator import Function, run_under
from .._errors import LeaseLost, LockError, LockTimeout, error_of, log, lost_quietly

__all__ = ["db_lock", "get_or_set"]

_DEFAULTS = {"DIR": None, "TIMEOUT": 10, "PATIENCE": 30, "MODE": None, "GROUP": None}
_AS_SET: Any = object()
_LEASE_LOST = 5


def db_lock(
    name: Union[str, Callable[..., Any]] = DEFAULT_DB_ALIAS,
    *,
    using: Optional[str] = None,
    lease: Any = _AS_SET,
    patience: Any = _AS_SET,
) -> Any:
    """The lock of a database, by its alias, or of any other name: for `with` or as a decorator.

    using            the alias of the database whose transaction is waited for; if not said, `name`
                     if it is an alias, or "default"
    lease, patience  seconds or a timedelta, in place of TIMEOUT and PATIENCE

    `with` tells the Grant, whose token is for the row. LockTimeout if patience runs out, LeaseLost
    if the lease did, LockError with the path if the file cannot be had; SynchronousOnlyOperation in
    an event loop, where sync_to_async is needed. It opens nothing before it is entered, so that it
    may be made before a server forks. If a thread enters what it holds, it gets the same grant.

    Enter it before the transaction reads, best before it begins: what was read earlier is not
    covered.
    """
    if isinstance(name, str):
        return DatabaseLock(name, using, lease, patience)
    return run_under(DatabaseLock(DEFAULT_DB_ALIAS, using, lease, patience), name)


class DatabaseLock:
    """What db_lock() makes. Threads may share it."""

    def __init__(self, name: str, using: Optional[str], lease: Any, patience: Any) -> None:
        self._name = name
        self._using = using
        self._lease = lease
        self._patience = patience

    def __call__(self, function: Function) -> Function:
        return run_under(self, function)

    def __enter__(self) -> Grant:
        _refuse_event_loop()
        options = _Options.of(self._name, self._lease)
        connection = self._connection()
        _refuse_manual_commit(connection, options)
        hold = _here.holds.get(options.path)
        if hold is None:
            hold = _here.holds[options.path] = _Hold(*options.acquire(self._patience))
        elif not hold.lock.held:
            raise hold.loss()
        hold.uses += 1
        _here.blocks.append((self, hold, connection))
        return hold.grant

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        block = _here.last_block(self)
        if block is None:
            return  # in a child (D4)
        _here.blocks.remove(block)
        _, hold, connection = block
        try:
            if connection.in_atomic_block:
                _leave_hook(connection, hold)
                if not hold.lock.held:
                    raise hold.loss()
            else:
                hold.end_use()
        except LeaseLost as loss:
            if kind is None:
                raise
            lost_quietly(loss)

    def keep_alive(self, on_lost: Optional[Callable[[LockError], None]] = None) -> _KeepAlive:
        """Renews the lease inside of a block, as Lock.keep_alive() does."""
        block = _here.last_block(self)
        if block is None:
            raise RuntimeError(f"{self!r} is not entered by this thread")
        return block[1].lock.keep_alive(on_lost)

    def __repr__(self) -> str:
        return f"<lockbyfile.django.db_lock {self._name!r}>"

    def _connection(self) -> Any:
        if self._using is not None:
            return connections[self._using]
        return connections[self._name if self._name in connections else DEFAULT_DB_ALIAS]


def get_or_set(
    key: str,
    default: Any,
    timeout: Any = DEFAULT_TIMEOUT,
    version: Optional[int] = None,
    *,
    cache: Any = default_cache,
    lease: Any = _AS_SET,
    patience: Any = _AS_SET,
) -> Any:
    """cache.get_or_set(), but of those who miss a key at the same time one calls `default`, and the
    others wait for what it finds. Whose patience runs out calls it, too: to be late is better than
    to fail. Keys share 256 lockfiles; a `default` that itself misses a key does so without a lock.
    """
    missing = object()
    value = cache.get(key, missing, version)
    if value is not missing:
        return value
    if _here.is_computing:
        return cache.get_or_set(key, default, timeout, version)
    try:
        lock, _ = _Options.of(f"cache-{zlib.crc32(key.encode()) % 256:02x}", lease).acquire(patience)
    except LockTimeout as error:
        log.warning("%s: computed without the lock", error)
        return cache.get_or_set(key, default, timeout, version)
    _here.is_computing = True
    try:
        with contextlib.closing(lock):
            return cache.get_or_set(key, default, timeout, version)
    finally:
        _here.is_computing = False


class _Options(NamedTuple):
    path: str
    lease: Any
    mode: Optional[int]
    group: Optional[int]

    @classmethod
    def of(cls, name: str, lease: Any) -> _Options:
        lease = _setting("TIMEOUT") if lease is _AS_SET else lease
        if "/" in name or not name:
            raise ValueError(f"{name!r} cannot name a lock: it has to be a word without a slash")
        path = os.path.join(_directory(), name + ".lockfile")
        return cls(path, lease, _setting("MODE"), _setting("GROUP"))

    def acquire(self, patience: Any) -> Tuple[Lock, Grant]:
        """A Lock of its own for each grant: to open it costs less than any query."""
        lock = Lock(self.path, self.lease, mode=self.mode, group=self.group)
        try:
            return lock, lock.acquire(_setting("PATIENCE") if patience is _AS_SET else patience)
        except BaseException:
            lock.close()
            raise


class _Hold:
    """What a thread holds, until `uses` of it have ended (D2)."""

    def __init__(self, lock: Lock, grant: Grant) -> None:
        self.lock = lock
        self.grant = grant
        self.uses = 0

    def end_use(self) -> None:
        if _here.holds.get(self.lock.path) is not self:
            return  # (D4)
        self.uses -= 1
        if self.uses == 0:
            del _here.holds[self.lock.path]
            with contextlib.closing(self.lock):
                self.lock.release()

    def loss(self) -> LockError:
        path = self.lock.path
        return error_of(_LEASE_LOST, f"the lease of {path} is over", path, True)


class _Hook:
    """Ends a use when it is called or dropped, whichever comes first (D1)."""

    def __init__(self, hold: _Hold) -> None:
        self._hold: Optional[_Hold] = hold

    def __call__(self) -> None:
        hold, self._hold = self._hold, None
        if hold is None:
            return
        try:
            hold.end_use()
        except LeaseLost as loss:
            log.error("%s: before its transaction ended (D3)", loss)

    __del__ = __call__


class _Here(threading.local):
    """Of a thread (D4): what it holds, by path, and the blocks it is in."""

    def __init__(self) -> None:
        self.holds: Dict[str, _Hold] = {}
        self.blocks: List[Tuple[DatabaseLock, _Hold, Any]] = []
        self.is_computing = False

    def last_block(self, lock: DatabaseLock) -> Optional[Tuple[DatabaseLock, _Hold, Any]]:
        return next((block for block in reversed(self.blocks) if block[0] is lock), None)


def _leave_hook(connection: Any, hold: _Hold) -> None:
    transaction.on_commit(_Hook(hold), connection.alias)
    # To the front: a hook before it that raises would keep it, in the traceback.
    connection.run_on_commit.insert(0, connection.run_on_commit.pop())


def _refuse_manual_commit(connection: Any, options: _Options) -> None:
    is_automatic = (
        connection.settings_dict["AUTOCOMMIT"]
        if connection.connection is None
        else connection.autocommit
    )
    if not is_automatic and not connection.in_atomic_block:
        raise transaction.TransactionManagementError(
            f"cannot lock {options.path}: autocommit is off for the database "
            f"{connection.alias!r}, and so nobody tells when its transaction ends; use atomic()"
        )


_refuse_event_loop: Callable[[], None] = async_unsafe(
    "A db_lock would block the event loop - use a thread or sync_to_async."
)(lambda: None)


def _directory() -> str:
    directory = (
        _setting("DIR") or os.environ.get("LOCKBYFILE_DIR") or getattr(settings, "BASE_DIR", None)
    )
    if not directory:
        raise ImproperlyConfigured("LOCKBYFILE['DIR'] does not say where the lockfiles are")
    return os.path.abspath(os.fspath(directory))


def _setting(name: str) -> Any:
    values = getattr(settings, "LOCKBYFILE", {})
    if not isinstance(values, dict):
        raise ImproperlyConfigured("LOCKBYFILE has to be a dict")
    unknown = sorted(set(values) - set(_DEFAULTS))
    if unknown:
        known = ", ".join(_DEFAULTS)
        raise ImproperlyConfigured(f"LOCKBYFILE has {unknown[0]!r}, and knows only {known}")
    return values.get(name, _DEFAULTS[name])


_here = _Here()


def _after_fork_in_child() -> None:
    global _here
    _here = _Here()


os.register_at_fork(after_in_child=_after_fork_in_child)
