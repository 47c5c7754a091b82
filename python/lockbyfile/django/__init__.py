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

TIMEOUT is the lease, and PATIENCE is how long a waiter waits. Both are in seconds, and None is
forever. Their defaults are those of 2015. DIR has the lockfiles; by default $LOCKBYFILE_DIR or
BASE_DIR. MODE (0o600) and GROUP (an id or a name) are those of a lockfile that is created.

(D1) What a thread holds is a _Hold. The lock is given back when nothing refers to the _Hold any
     more: no block that the thread is in, and no hook of a transaction. So no exception, wherever
     it comes, leaves the lock held. No hold is kept in a variable of a frame that raises.
(D2) A block that ends inside a transaction leaves a hook with it. Without the hook, others would
     take the lock and read before the commit. Django calls hooks after the commit. It drops them
     when the connection is closed, and after a rollback. The rollback of only the savepoint in
     which the block was is enough.
(D3) A thread may enter what it holds. So the handler of a signal may lock what the sender has
     locked, and two blocks of one transaction do not wait for each other.
(D4) A block whose lease is over raises LeaseLost at its end, so that a transaction around it is
     rolled back. Once the hook is called it is too late for that, and the loss is logged. Only the
     token, kept beside the row, refuses the write of a process that was stopped in between.
(D5) A child after fork is in no block and holds nothing.
(D6) Where greenlets are a server's threads (gunicorn -k gevent), all this is a greenlet's.
"""

from __future__ import annotations

import contextlib
import grp
import os
import zlib
from types import TracebackType
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple, Type, Union
from weakref import WeakValueDictionary

from django.conf import settings
from django.core.cache import cache as default_cache
from django.core.cache.backends.base import DEFAULT_TIMEOUT
from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS, connections, transaction
from django.utils.asyncio import async_unsafe

from .. import Grant, Lock
from .._cooperative import Local
from .._decorator import Function, run_under
from .._errors import LockError, LockTimeout, lease_lost, left_by_a_child, log, lost_quietly

__all__ = ["db_lock", "get_or_set"]

_DEFAULTS = {"DIR": None, "TIMEOUT": 10, "PATIENCE": 30, "MODE": None, "GROUP": None}
_AS_SET: Any = object()


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

    In a transaction, enter it first. The lock does not cover what was read earlier. And a waiter
    that holds rows deadlocks with a holder of the lock that waits for those rows.
    """
    if isinstance(name, str):
        return DatabaseLock(name, using, lease, patience)
    if not callable(name):
        raise TypeError(f"db_lock takes the name of a lock, not {type(name).__name__}")
    return run_under(DatabaseLock(DEFAULT_DB_ALIAS, using, lease, patience), name)


class DatabaseLock:
    """What db_lock() makes. Threads may share it."""

    def __init__(self, name: str, using: Optional[str], lease: Any, patience: Any) -> None:
        self._name = name
        self._using = using
        self._lease = lease
        self._patience = patience
        self._blocks: Local[_Blocks] = Local(list)

    def __call__(self, function: Function) -> Function:
        return run_under(self, function)

    def __enter__(self) -> Grant:
        _refuse_event_loop()
        depth = len(self._blocks.here)
        try:
            grant, loss = self._enter()
            if loss is None:
                return grant
        except BaseException:  # a signal's, say, after the block was entered
            del self._blocks.here[depth:]
            raise
        raise loss

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        loss = _leave(*self._blocks.here.pop())
        if loss is None:
            return
        if kind is None:
            raise loss
        lost_quietly(loss)

    @contextlib.contextmanager
    def keep_alive(self, on_lost: Optional[Callable[[LockError], None]] = None) -> Iterator[None]:
        """Inside of a block, a context in which the lease is renewed, as Lock.keep_alive()."""
        if not self._blocks.here:
            raise RuntimeError(f"{self!r} is not entered by this thread")
        with self._blocks.here[-1][0].lock.keep_alive(on_lost):
            yield

    def _enter(self) -> Tuple[Grant, Optional[LockError]]:
        options = _Options.of(self._name, self._lease)
        connection = self._connection()
        _refuse_manual_commit(connection, options.name)
        hold = _here.here.holds.get(options.name)
        if hold is None:
            hold = _Hold(*options.acquire(self._patience))
            _here.here.holds[options.name] = hold
        elif not hold.lock.held:
            del _here.here.holds[options.name]  # it is told once; the next entry starts anew
            return hold.grant, hold.loss()
        self._blocks.here.append((hold, connection))
        return hold.grant, None

    def __repr__(self) -> str:
        return f"<lockbyfile.django.db_lock {self._name!r}>"

    def _connection(self) -> Any:
        if self._using is not None:
            return connections[self._using]
        return connections[self._name if self._name in connections else DEFAULT_DB_ALIAS]


def get_or_set(
    key: Any,
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
    if _here.here.is_computing:
        return cache.get_or_set(key, default, timeout, version)
    try:
        lock, _ = _Options.of(f"cache-{zlib.crc32(str(key).encode()) % 256:02x}", lease).acquire(patience)
    except LockTimeout as error:
        log.warning("%s: computed without the lock", error)
        return cache.get_or_set(key, default, timeout, version)
    _here.here.is_computing = True
    try:
        with contextlib.closing(lock), lock.keep_alive():
            return cache.get_or_set(key, default, timeout, version)
    finally:
        _here.here.is_computing = False


class _Options(NamedTuple):
    """Of a Lock, by their names there."""

    name: str
    lease: Any
    mode: Optional[int]
    group: Optional[int]

    @classmethod
    def of(cls, name: str, lease: Any) -> _Options:
        said = said_in_settings()
        lease = said["TIMEOUT"] if lease is _AS_SET else lease
        if "/" in name or not name:
            raise ValueError(f"{name!r} cannot name a lock: it has to be a word without a slash")
        path = os.path.join(_directory(said["DIR"]), name + ".lockfile")
        return cls(path, lease, said["MODE"], _group(said["GROUP"]))

    def acquire(self, patience: Any) -> Tuple[Lock, Grant]:
        """A Lock of its own for each grant: to open it costs less than any query."""
        lock = Lock(**self._asdict())
        try:
            if patience is _AS_SET:
                patience = said_in_settings()["PATIENCE"]
            return lock, lock.acquire(patience)
        except BaseException:
            lock.close()
            raise


class _Hold:
    """What a thread holds, as long as anything refers to it (D1)."""

    def __init__(self, lock: Lock, grant: Grant) -> None:
        self.lock = lock
        self.grant = grant
        self.here = _here

    def loss(self) -> LockError:
        return lease_lost(self.lock.path, "the lease is over, or the lock was broken")


class _Hook:
    """Keeps a hold until it is called or dropped (D2)."""

    def __init__(self, hold: _Hold) -> None:
        self._hold: Optional[_Hold] = hold

    def __call__(self) -> None:
        if self._hold is not None and not self._hold.lock.held:
            text = "others may have overwritten what the transaction has read"
            log.error("%s, before the commit: %s", self._hold.loss(), text)
        self._hold = None


class _Here:
    """Of a thread, or greenlet: what it holds, by path."""

    def __init__(self) -> None:
        self.holds: WeakValueDictionary[str, _Hold] = WeakValueDictionary()
        self.is_computing = False


_Blocks = List[Tuple[_Hold, Any]]
"""Of a thread and a db_lock: the blocks that it is in, with their connections."""


def _leave(hold: _Hold, connection: Any) -> Optional[LockError]:
    """Tells the loss, if the block's lease is over."""
    if hold.here is not _here:
        left_by_a_child(hold.lock.path)
        return None  # (D5)
    if connection.in_atomic_block and not connection.closed_in_transaction:
        connection.on_commit(_Hook(hold))
    else:
        _refuse_manual_commit(connection, hold.lock.path)
    return None if hold.lock.held else hold.loss()


def _refuse_manual_commit(connection: Any, path: str) -> None:
    if connection.in_atomic_block:
        is_automatic = connection.commit_on_exit
    elif connection.connection is None:
        is_automatic = connection.settings_dict["AUTOCOMMIT"]
    else:
        is_automatic = connection.autocommit
    if not is_automatic:
        raise transaction.TransactionManagementError(
            f"cannot lock {path}: autocommit is off for the database {connection.alias!r}, and so "
            "nobody tells when its transaction ends; use atomic() instead of set_autocommit()"
        )


_refuse_event_loop: Callable[[], None] = async_unsafe(
    "A db_lock would block the event loop - use a thread or sync_to_async."
)(lambda: None)


def said_in_settings() -> Dict[str, Any]:
    values = getattr(settings, "LOCKBYFILE", {})
    if not isinstance(values, dict):
        raise ImproperlyConfigured("LOCKBYFILE has to be a dict")
    unknown = sorted(set(values) - set(_DEFAULTS))
    if unknown:
        known = ", ".join(_DEFAULTS)
        raise ImproperlyConfigured(f"LOCKBYFILE has {unknown[0]!r}, and knows only {known}")
    return {**_DEFAULTS, **values}


def _directory(said: Any) -> str:
    directory = said or os.environ.get("LOCKBYFILE_DIR") or getattr(settings, "BASE_DIR", None)
    if not directory:
        raise ImproperlyConfigured("LOCKBYFILE['DIR'] does not say where the lockfiles are")
    return os.path.realpath(os.fspath(directory))


def _group(said: Any) -> Any:
    if not isinstance(said, str):
        return said
    try:
        return grp.getgrnam(said).gr_gid
    except KeyError:
        raise ImproperlyConfigured(f"LOCKBYFILE['GROUP']: there is no group {said!r}") from None


_here = Local(_Here)


def _after_fork_in_child() -> None:
    global _here
    _here = Local(_Here)


os.register_at_fork(after_in_child=_after_fork_in_child)
