# SPDX-License-Identifier: Apache-2.0
"""Greenlets that take turns on a thread, as gevent's and eventlet's do.

This module finds out which greenlet runs, and makes it wait without blocking its thread.

The monkey patch of gevent or eventlet turns a program's threads into greenlets. A
greenlet that blocks its thread blocks every other one, the holder of the lock included. So a
greenlet is a holder of its own, and waits in the hub of its thread.

A program may be patched after this package was imported (gunicorn with `preload_app`). So nothing
here is decided at import.

(G1) A greenlet waits for a descriptor that a thread of C++ makes readable. That thread runs no
     Python and holds no lock of Python, so the hub goes on whatever the lock does.
(G2) Of the greenlets of one hub that wait for one path, one has such a thread. The others stand
     in a queue of the hub, first come, first served. So a thousand waiters cost one thread.
(G3) A thread without a hub has no other greenlet, and blocks. So does the hub itself.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from types import BuiltinFunctionType
from typing import Any, Callable, Dict, Generic, Optional, Protocol, Tuple, TypeVar

import _thread

from . import _lockbyfile

T = TypeVar("T")


def framework() -> Optional[str]:
    """"gevent" or "eventlet" once its monkey patch has made threads greenlets; else None."""
    get_ident: Any = _thread.get_ident
    if isinstance(get_ident, BuiltinFunctionType):
        return None
    home = str(getattr(get_ident, "__module__", "")).partition(".")[0]
    return home if home in ("gevent", "eventlet") else None


def storage() -> Dict[Any, Any]:
    """A dictionary of the running greenlet, or of the thread if there are none.

    It ends with its owner.
    """
    name = framework()
    if name is None:
        return _lockbyfile._thread_storage()
    global _stored
    if _stored is None or _stored[0] != name:
        _stored = name, _of_greenlets(name)
    return _stored[1]()


class Local(Generic[T]):
    """A value for each greenlet, or thread: local.here is made by the factory at its first use."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make

    @property
    def here(self) -> T:
        values = storage().setdefault("lockbyfile.locals", weakref.WeakKeyDictionary())
        mine = values.get(self)
        if mine is None:
            mine = values[self] = self._make()
        return mine  # type: ignore[no-any-return]


class Mutex:
    """A re-entrant mutex, for `with`.

    After fork the child has a new one, no matter which thread held the old one. Once greenlets take
    turns, it is a mutex of greenlets. A holder must not wait for anything that takes long.
    """

    def __init__(self) -> None:
        self._now: Tuple[Optional[str], Any] = framework(), threading.RLock()
        _mutexes.add(self)

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        return bool(self._current().acquire(blocking, timeout))

    def release(self) -> None:
        self._now[1].release()

    def __enter__(self) -> None:
        self._current().acquire()

    def __exit__(self, *ignored: object) -> None:
        self.release()

    def _current(self) -> Any:
        name = framework()
        if self._now[0] != name:
            self._now = name, threading.RLock()
        return self._now[1]

    def _make_anew(self) -> None:
        self._now = framework(), threading.RLock()


class Wait(Protocol):
    """Work that C++ does in a thread of its own; a descriptor reports its end."""

    def fileno(self) -> int: ...
    def start(self, patience: Optional[float]) -> None: ...


def wait(work: Wait, path: str, patience: Optional[float]) -> bool:
    """Starts the work when it is the turn of the running greenlet, and returns once it is done.
    False if patience ran out first. An exception (a Timeout, a kill) leaves it to the caller to
    cancel the work."""
    name = framework()
    assert name is not None
    end = None if patience is None else time.monotonic() + patience
    queue = _queue_of(path)
    if not _enter(queue.turn, patience):
        return False
    try:
        work.start(None if end is None else max(0.0, end - time.monotonic()))
        wait_readable(work.fileno())
    finally:
        queue.turn.release()
    return True


def run(work: Wait) -> None:
    """The same without a queue, and without an end of patience."""
    work.start(None)
    wait_readable(work.fileno())


def pause() -> None:
    """Lets others run for a moment."""
    time.sleep(0.001)


def has_hub() -> bool:
    """Whether greenlets wait for their turn on this thread, so that it must not block (G3)."""
    name = framework()
    if name == "gevent":
        from gevent import getcurrent
        from gevent._hub_local import get_hub_if_exists

        hub = get_hub_if_exists()
        return hub is not None and hub is not getcurrent()
    if name == "eventlet":
        import eventlet.hubs
        from greenlet import getcurrent as current

        return eventlet.hubs.get_hub().greenlet is not current()
    return False


def wait_readable(fd: int) -> None:
    """Lets other greenlets run until the descriptor is readable."""
    if framework() == "gevent":
        from gevent import get_hub

        hub = get_hub()
        watcher = hub.loop.io(fd, 1)
        try:
            hub.wait(watcher)
        finally:
            watcher.close()
    else:
        import eventlet.hubs

        eventlet.hubs.trampoline(fd, read=True)


class _Queue:
    """Greenlets of one hub that wait for one path (G2)."""

    def __init__(self) -> None:
        self.turn = threading.Lock()  # of the framework, since it is made under the patch


def _queue_of(path: str) -> _Queue:
    queues = _lockbyfile._thread_storage().setdefault("lockbyfile.queues", weakref.WeakValueDictionary())
    queue: Optional[_Queue] = queues.get(path)
    if queue is None:
        queue = queues[path] = _Queue()
    return queue


def _enter(turn: Any, patience: Optional[float]) -> bool:
    if patience is None:
        return bool(turn.acquire())
    return bool(turn.acquire(timeout=min(patience, threading.TIMEOUT_MAX)))


def _of_greenlets(name: str) -> Callable[[], Dict[Any, Any]]:
    if name == "gevent":
        from gevent.local import local

        stored = local()
        return lambda: stored.__dict__  # type: ignore[no-any-return]
    from greenlet import getcurrent

    dictionaries: weakref.WeakKeyDictionary[Any, Dict[Any, Any]] = weakref.WeakKeyDictionary()

    def of_current() -> Dict[Any, Any]:
        current = getcurrent()
        found = dictionaries.get(current)
        if found is None:
            found = dictionaries[current] = {}
            if hasattr(current, "link"):  # the code that started one may keep it after its end
                current.link(lambda finished, *_: dictionaries.pop(finished, None))
        return found

    return of_current


_stored: Optional[Tuple[str, Callable[[], Dict[Any, Any]]]] = None
_mutexes: weakref.WeakSet[Mutex] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    _lockbyfile._thread_storage().pop("lockbyfile.queues", None)
    for mutex in list(_mutexes):
        mutex._make_anew()


os.register_at_fork(after_in_child=_after_fork_in_child)
