# SPDX-License-Identifier: Apache-2.0
"""The API of the package filelock, on lockbyfile.Lock.

    from lockbyfile.filelock import FileLock, Timeout

    with FileLock("data.csv.lock", timeout=10):
        ...

Or, for a whole program, before anything else imports filelock:

    import sys, lockbyfile.filelock
    sys.modules["filelock"] = lockbyfile.filelock

Improvements over filelock: a waiter is woken, and waiters are served in order of arrival. The lock
of a process that dies is free at once, also a SoftFileLock. `lifetime` is a lease, kept in the lock
and obeyed by all. The cause of a Timeout says who has the lock. After fork the child holds nothing.

All differences and omissions: docs/python.md, "The drop-in for filelock".
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import functools
import logging
import math
import os
import queue
import sys
import threading
import time
import warnings
import weakref
from abc import ABCMeta
from concurrent.futures import Executor, Future
from concurrent.futures import TimeoutError as NotYet
from inspect import signature
from types import TracebackType
from typing import (
    TYPE_CHECKING,
    Any,
    Callable,
    Dict,
    List,
    Optional,
    Set,
    Tuple,
    Type,
    Union,
)
from weakref import WeakValueDictionary

from . import Lock, _cooperative, _lockbyfile
from ._errors import LeaseLost, LockError, LockTimeout, lease_lost
from ._lockbyfile import Grant

if TYPE_CHECKING:
    import asyncio

    from .aio import AsyncLock

__all__ = [
    "AcquireReturnProxy",
    "AsyncAcquireReturnProxy",
    "AsyncFileLock",
    "AsyncSoftFileLock",
    "AsyncUnixFileLock",
    "AsyncWindowsFileLock",
    "BaseAsyncFileLock",
    "BaseFileLock",
    "FileLock",
    "SoftFileLock",
    "Timeout",
    "UnixFileLock",
    "WindowsFileLock",
    "__version__",
]
__version__ = "3.20.3"  # the newest filelock whose whole API is here

_log = logging.getLogger("filelock")

_UNSET_MODE = -1  # the umask decides


class Timeout(TimeoutError):
    """The lock could not be acquired in time. Its cause says who has it."""

    def __init__(self, lock_file: str) -> None:
        super().__init__()
        self._lock_file = lock_file

    @property
    def lock_file(self) -> str:
        return self._lock_file

    def __str__(self) -> str:
        return f"The file lock '{self._lock_file}' could not be acquired."

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._lock_file!r})"

    def __reduce__(self) -> Any:
        return type(self), (self._lock_file,)


class AcquireReturnProxy:
    """What acquire() returns, so that `with lock.acquire():` does not acquire twice."""

    __slots__ = ("lock",)

    def __init__(self, lock: BaseFileLock) -> None:
        self.lock = lock

    def __enter__(self) -> BaseFileLock:
        return self.lock

    def __exit__(
        self,
        exc_type: Optional[Type[BaseException]],
        exc_value: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self.lock._leave(exc_value)


_unit = _lockbyfile._unit  # the same object for all that a thread, or greenlet, does
_forks = _lockbyfile._forks  # before this process; os.getpid() is a system call


def _current_task() -> Any:
    """Without an import of asyncio, which takes longer than all the rest."""
    asyncio = sys.modules.get("asyncio")
    if asyncio is None or asyncio._get_running_loop() is None:
        return None
    return asyncio.current_task()


class _GivenUp(BaseException):
    """Thrown into a greenlet that waits."""


def _running_greenlet() -> Any:
    """None where threads are threads."""
    if _cooperative.framework() is None:
        return None
    from greenlet import getcurrent

    return getcurrent()


def _give_up(lock: Lock, waiter: Any, over: threading.Event) -> None:
    """Ends the wait of a thread, or of the greenlet `waiter`, and returns once it is over."""

    def throw() -> None:
        if not over.is_set():
            waiter.throw(_GivenUp)

    if waiter is not None and not over.is_set():
        if _cooperative.framework() == "gevent":
            from gevent import get_hub

            get_hub().loop.run_callback(throw)
        else:
            import eventlet.hubs

            eventlet.hubs.get_hub().schedule_call_global(0, throw)
    while not over.is_set():
        if waiter is None:
            lock._cancel()  # it may be about to wait, and miss it
        over.wait(0.01)


def _cancelled(path: str) -> LockError:
    error = LockError(errno.ECANCELED, "the wait was cancelled", path)
    error.reason = "cancelled"
    return error


class _Hold:
    """An open lock, and the owner of its grant. The owner distinguishes a deadlock from a wait that
    another flow of control can end."""

    path: str
    unit: Any = None
    task: Optional[weakref.ref[Any]] = None
    has_lease = False
    token = 0

    def begin(self, has_lease: bool, token: int) -> None:
        task = _current_task()
        self.task = None if task is None else weakref.ref(task)
        self.unit = _unit()
        self.has_lease = has_lease
        self.token = token
        _granted[self.path] = weakref.ref(self)

    def end(self) -> None:
        granted = _granted.get(self.path)
        if granted is not None and granted() is self:
            _granted.pop(self.path, None)

    def is_only_ended_by(self, task: Any) -> bool:
        """By the running thread, or by the task if there is one."""
        if self.has_lease or self.unit is not _unit():
            return False
        return task is None or (self.task is not None and self.task() is task)

    def held(self) -> bool:
        raise NotImplementedError


_granted: Dict[str, weakref.ref[_Hold]] = {}  # by the lock's path; an entry may be stale


class _ThreadHold(_Hold):
    """A Lock used by one thread, kept open between grants: opening it costs a hundred grants."""

    def __init__(self, lock: Lock) -> None:
        self.lock = lock
        self.path = lock.path
        self.acquire = lock.acquire
        self.release = lock.release

    def acquire_unless(
        self, patience: float, cancelled: Callable[[], bool], every: float
    ) -> Grant:
        """As acquire(), and LockError 'cancelled' once `cancelled` is true. A thread asks, since a
        waiter that came back to ask would lose its place."""
        over = threading.Event()
        failed: List[BaseException] = []

        def ask() -> None:
            try:
                while not cancelled():
                    if over.wait(every):
                        return
            except BaseException as error:  # it is the caller's
                failed.append(error)
            _give_up(self.lock, waiter, over)

        waiter = _running_greenlet()
        asker = threading.Thread(target=ask, name=f"filelock {self.path}", daemon=True)
        asker.start()
        try:
            grant = self.lock.acquire(patience)
        except (LockError, _GivenUp) as error:
            over.set()
            asker.join()
            if failed:
                raise failed[0] from None
            raise error if isinstance(error, LockError) else _cancelled(self.path) from None
        finally:
            over.set()
            asker.join()
        if failed:
            self.lock.release()
            raise failed[0]
        return grant

    def held(self) -> bool:
        return self.lock.held

    def close(self) -> None:
        self.lock.close()


class _SharedHold(_Hold):
    """A Lock used by all threads, through a thread of its own: what a thread holds, only it can
    renew or release, and it is given back when that thread ends."""

    def __init__(self, lock: Lock) -> None:
        self.lock = lock
        self.path = lock.path
        self._jobs: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._greenlet: List[Any] = []  # of the server, where threads are greenlets
        self._server = threading.Thread(
            target=_serve, args=(self._jobs, self._greenlet), name=f"filelock {lock.path}", daemon=True
        )
        self._server.start()

    def acquire(self, patience: Optional[float]) -> Grant:
        return self.acquire_unless(patience, None, 1)

    def acquire_unless(
        self, patience: Optional[float], cancelled: Optional[Callable[[], bool]], every: float
    ) -> Grant:
        """As acquire(), and LockError 'cancelled' once `cancelled` is true."""
        done = self._post(lambda: self.lock.acquire(patience))
        try:
            # A signal that comes right before Python sleeps does not wake it, and would be heard
            # with the grant only.
            while not done.done():
                with contextlib.suppress(NotYet):
                    done.result(every)
                if cancelled is not None and not done.done() and cancelled():
                    self._cancel(done)
            grant: Grant = done.result()
            return grant
        except BaseException:
            self._cancel(done)
            if done.exception() is None:
                self.release()
            raise

    def release(self) -> None:
        self._post(self.lock.release).result()

    def abandon(self, then: Callable[[], None]) -> None:
        """For the collector, which may run in any thread. A server that waited for a server could
        wait for itself. Another thread may have what the server needs: a logger's mutex, say."""
        done = self._post(self.lock.release)
        self._post(then)
        self.close()
        if threading.get_ident() not in _servers:
            with contextlib.suppress(Exception):
                done.result(1)

    def held(self) -> bool:
        return bool(self._post(lambda: self.lock.held).result())

    def close(self) -> None:
        self._post(self.lock.close)
        self._jobs.put(None)

    def _post(self, call: Callable[[], Any]) -> Future[Any]:
        done: Future[Any] = Future()
        if threading.get_ident() == self._server.ident:
            _do(call, done)  # a finalizer runs here; nobody else would do it
        else:
            self._jobs.put((call, done))
        return done

    def _cancel(self, done: Future[Any]) -> None:
        finished = threading.Event()
        done.add_done_callback(lambda _: finished.set())
        _give_up(self.lock, self._greenlet[0] if self._greenlet else None, finished)


_servers: Set[int] = set()  # the threads of _SharedHold


def _serve(jobs: queue.SimpleQueue[Any], greenlet: List[Any]) -> None:
    _servers.add(threading.get_ident())
    greenlet.append(_running_greenlet())
    try:
        while True:
            job = jobs.get()
            if job is None:
                return
            _do(*job)
            del job  # or the Lock would live as long as the thread
    finally:
        _servers.discard(threading.get_ident())


def _do(call: Callable[[], Any], done: Future[Any]) -> None:
    try:
        done.set_result(call())
    except _GivenUp:
        done.set_exception(_cancelled(""))
    except BaseException as error:  # it is the asker's
        done.set_exception(error)
    finally:
        del call, done  # or the error would keep the Lock open


class _Idle:
    """What stays for a moment: a lock that was used again and again is likely to be used soon.

    Opening a lock costs as much as a hundred grants. Making its file and removing it costs as much
    as some hundreds. So if objects for one path are made and dropped again and again, the Lock of
    the last one stays open, for the next one of the same thread. The file of a SoftFileLock stays
    while its lock is taken again and again. It goes once the lock has been idle for a moment, or
    once its object is dropped and no Lock stays open. At exit all goes.

    The finalizers of objects call this at any point, also amid itself in the same thread.
    """

    AGAIN = 1.0  # seconds within which something happens again
    LINGER = 0.25  # seconds for which it stays
    DROPS = 4  # objects in a row before the next one finds a Lock open
    MOST = 100  # Locks that stay open

    def __init__(self) -> None:
        self._mutex = _cooperative.Mutex()
        self.forget()

    def forget(self) -> None:
        """Also in a child after fork: they are the parent's."""
        self._removed: Dict[str, float] = {}  # files, and when
        self._due: Dict[str, float] = {}  # files, and when they are to go
        self._dropped: Dict[Any, Tuple[float, int]] = {}  # objects, when, how many in a row
        self._parked: Dict[Any, Tuple[float, _ThreadHold]] = {}  # and when it is to be closed
        self._at_work = False
        self._flushed = threading.Event()

    def released(self, path: str) -> None:
        """The lock of a file that is to go."""
        now = time.monotonic()
        if path in self._due:
            self._due[path] = now + self.LINGER
            if self._at_work:  # and so it sees that
                return
        elif now - self._removed.get(path, -math.inf) < self.AGAIN:
            self._due[path] = now + self.LINGER
        else:
            self._remove([path])
            return
        if not self._start():
            self._due.pop(path, None)
            self._remove([path])

    def dropped(self, key: Any, hold: _ThreadHold) -> bool:
        """An object is gone. False if its Lock must be closed."""
        now = time.monotonic()
        last, count = self._dropped.get(key, (-math.inf, 0))
        count = count + 1 if now - last < self.AGAIN else 0
        if len(self._dropped) > 1000:
            self._dropped.clear()
        self._dropped[key] = now, count
        if count < self.DROPS or len(self._parked) >= self.MOST:
            return False
        self._parked[key] = now + self.LINGER, hold
        if self._at_work or self._start():
            return True
        return self._parked.pop(key, None) is None

    def take(self, key: Any) -> Optional[_ThreadHold]:
        """For a lock that is opened as one that was dropped."""
        parked = self._parked.pop(key, None)
        return None if parked is None else parked[1]

    def remove_now(self, path: str) -> None:
        """No Lock stays open."""
        if self._due.pop(path, None) is not None:
            self._remove([path])

    def flush(self) -> None:
        with self._mutex:
            due, self._due = list(self._due), {}
            parked, self._parked = self._parked, {}
            self._flushed.set()
        for _, hold in parked.values():
            hold.close()
        self._remove(due)

    def _start(self) -> bool:
        """False: the interpreter ends."""
        with self._mutex:
            if self._at_work:
                return True
            self._flushed = threading.Event()
            self._at_work = True
            try:
                threading.Thread(target=self._work, name="filelock idle", daemon=True).start()
            except RuntimeError:
                self._at_work = False
        return self._at_work

    def _work(self) -> None:
        while True:
            now = time.monotonic()
            with self._mutex:
                # Copies, since others add to them meanwhile.
                files = self._due.copy()
                parked = {key: at for key, (at, _) in self._parked.copy().items()}
                if not files and not parked:
                    self._at_work = False
                    if not self._due and not self._parked:  # who adds, looks whether it is at work
                        return
                    self._at_work = True
                    continue
            late = [self._parked.pop(key, None) for key, at in parked.items() if at <= now]
            for _, hold in filter(None, late):
                hold.close()
            due = [path for path, at in files.items() if at <= now]
            self._remove([path for path in due if self._due.pop(path, None) is not None])
            if not late and not due:
                next_at = min([*files.values(), *parked.values()])
                self._flushed.wait(max(0.01, next_at - now))
            late.clear()  # or it would keep their Locks

    def _remove(self, paths: List[str]) -> None:
        from . import remove

        for path in paths:
            with contextlib.suppress(LockError):  # the next one has it, or it is gone
                remove(path)
        if len(self._removed) > 1000:
            self._removed.clear()
        self._removed.update(dict.fromkeys(paths, time.monotonic()))


_idle = _Idle()
atexit.register(_idle.flush)


def _after_fork_in_child() -> None:
    _granted.clear()
    _servers.clear()
    _idle.forget()


os.register_at_fork(after_in_child=_after_fork_in_child)


class _Context:
    """The options of a lock, and what it holds: of one thread, or greenlet, if that is its unit; or
    of all."""

    def __init__(
        self,
        lock_file: str,
        timeout: float,
        mode: int,
        blocking: bool,
        poll_interval: float,
        lifetime: Optional[float],
        unit: Any = None,
    ) -> None:
        self.lock_file = lock_file
        self.timeout = timeout
        self.mode = mode
        self.blocking = blocking
        self.poll_interval = poll_interval
        self.lifetime = lifetime
        self.unit = unit
        self.forget()

    def options(self) -> Dict[str, Any]:
        names = "lock_file", "timeout", "mode", "blocking", "poll_interval", "lifetime"
        return {name: getattr(self, name) for name in names}

    def __getstate__(self) -> Dict[str, Any]:
        if self.unit is not None:
            raise TypeError("a lock with thread_local=True cannot be pickled: its state is a thread's")
        return self.options()  # a copy holds nothing

    def __setstate__(self, options: Dict[str, Any]) -> None:
        self.__init__(**options)  # type: ignore[misc]

    def forget(self) -> None:
        """As new, also in a child after fork."""
        self.forks = _forks()
        self.hold: Any = None
        self.opened_as: Any = None
        self.counter = 0
        if self.unit is None:
            self.entry = threading.RLock()  # of those who want the lock, held while one waits
            self.state = threading.RLock()  # of counter and hold, never held for long


class _Meta(ABCMeta):
    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        if not kwargs.get("is_singleton", False):
            return super().__call__(*args, **kwargs)
        base = BaseAsyncFileLock if issubclass(cls, BaseAsyncFileLock) else BaseFileLock
        wanted = signature(base.__init__).bind(None, *args, **kwargs)  # type: ignore[misc]
        wanted.apply_defaults()
        key = _canonical(os.fspath(wanted.arguments["lock_file"]))
        with cls._instances_lock:  # type: ignore[attr-defined]
            instance = cls._instances.get(key)  # type: ignore[attr-defined]
            if instance is None:
                instance = super().__call__(*args, **kwargs)
                cls._instances[key] = instance  # type: ignore[attr-defined]
                return instance
        found = {
            "thread_local": instance.is_thread_local(),
            "timeout": instance.timeout,
            "mode": instance._options[2],
            "blocking": instance.blocking,
            "poll_interval": instance.poll_interval,
            "lifetime": instance.lifetime,
            "context_error_policy": instance.context_error_policy,
            "close_error_policy": instance.close_error_policy,
            "fallback_to_soft": instance.fallback_to_soft,
            "preserve_lock_file": instance.preserve_lock_file,
        }
        differing = [
            f"\n\t{name} (existing lock has {value} but {wanted.arguments[name]} was passed)"
            for name, value in found.items()
            if wanted.arguments[name] != value
        ]
        if differing:
            raise ValueError(
                "Singleton lock instances cannot be initialized with differing arguments"
                "\nNon-matching arguments: " + "".join(differing)
            )
        return instance


class BaseFileLock(contextlib.ContextDecorator, metaclass=_Meta):
    """A lock by path, for `with`, as a decorator, or by acquire() and release()."""

    _instances: WeakValueDictionary[str, BaseFileLock] = WeakValueDictionary()
    _instances_lock = _cooperative.Mutex()  # which fork makes anew: another thread may have it

    _unit_name = "FileLock instance in this thread"
    _can_keep_its_file = True

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._instances = WeakValueDictionary()
        cls._instances_lock = _cooperative.Mutex()

    def __init__(
        self,
        lock_file: Union[str, os.PathLike[str]],
        timeout: float = -1,
        mode: int = _UNSET_MODE,
        thread_local: bool = True,
        *,
        blocking: bool = True,
        is_singleton: bool = False,
        poll_interval: float = 0.05,
        lifetime: Optional[float] = None,
        context_error_policy: str = "chain",
        close_error_policy: str = "default",
        fallback_to_soft: bool = True,
        preserve_lock_file: bool = False,
        on_acquired: Optional[Callable[[int], None]] = None,
    ) -> None:
        if context_error_policy != "chain":
            _one_of("context_error_policy", context_error_policy, ("chain", "group"))
        if close_error_policy != "default":
            _one_of("close_error_policy", close_error_policy, ("default", "raise", "suppress"))
        if preserve_lock_file and not self._can_keep_its_file:
            kind = type(self).__name__
            raise ValueError(f"preserve_lock_file=True is not supported by {kind}: it removes its file")
        if on_acquired is not None:
            kind = type(self).__name__
            raise ValueError(
                f"on_acquired is not supported by {kind}: the lock is the content of its file, and has"
                " no descriptor to share"
            )
        self._is_thread_local = thread_local
        self._is_singleton = is_singleton
        self._context_error_policy = context_error_policy
        self._close_error_policy = close_error_policy
        self._fallback_to_soft = fallback_to_soft
        self._preserve_lock_file = preserve_lock_file
        if lifetime is not None:
            _lifetime(lifetime)
        self._options = os.fspath(lock_file), timeout, mode, blocking, poll_interval, lifetime
        self._made_for = threading.local  # which a monkey patch replaces
        self._context = _Context(*self._options, _unit() if thread_local else None)

    def __getstate__(self) -> Dict[str, Any]:
        state = self.__dict__.copy()
        del state["_made_for"]
        return state

    def __setstate__(self, state: Dict[str, Any]) -> None:
        self.__dict__.update(state, _made_for=threading.local)

    @property
    def context_error_policy(self) -> str:
        """What `with` raises if its block and the release both fail: "chain": the release's error,
        with the block's as its context; "group": both, in a BaseExceptionGroup."""
        return self._context_error_policy

    @property
    def close_error_policy(self) -> str:
        """Accepted, and ignored: no close can fail here once the lock is open."""
        return self._close_error_policy

    @property
    def fallback_to_soft(self) -> bool:
        """Accepted, and ignored: there is no other kind of lock to fall back to."""
        return self._fallback_to_soft

    @property
    def preserve_lock_file(self) -> bool:
        """Accepted: the file stays in any case, except that of a SoftFileLock."""
        return self._preserve_lock_file

    @property
    def on_acquired(self) -> None:
        """None: there is no descriptor to share."""
        return None

    def is_thread_local(self) -> bool:
        return self._is_thread_local

    @property
    def is_singleton(self) -> bool:
        return self._is_singleton

    @property
    def lock_file(self) -> str:
        return self._here().lock_file

    @property
    def timeout(self) -> float:
        """Seconds that acquire() waits by default; negative: forever."""
        return self._here().timeout

    @timeout.setter
    def timeout(self, value: Union[float, str]) -> None:
        self._here().timeout = float(value)

    @property
    def blocking(self) -> bool:
        return self._here().blocking

    @blocking.setter
    def blocking(self, value: bool) -> None:
        self._here().blocking = value

    @property
    def mode(self) -> int:
        return self._options[2] if self.has_explicit_mode else 0o644

    @property
    def has_explicit_mode(self) -> bool:
        """False: the lockfile's mode is 0666 less the umask."""
        return self._options[2] != _UNSET_MODE

    @property
    def poll_interval(self) -> float:
        return self._here().poll_interval

    @poll_interval.setter
    def poll_interval(self, value: float) -> None:
        self._here().poll_interval = value

    @property
    def lifetime(self) -> Optional[float]:
        """Seconds after which the lock opens by itself; None: never."""
        return self._here().lifetime

    @lifetime.setter
    def lifetime(self, value: Optional[float]) -> None:
        self._here().lifetime = _lifetime(value)

    @property
    def is_locked(self) -> bool:
        """Whether this object holds the lock, and has not lost it."""
        mine = self._own()
        hold = mine.hold  # which may be released by another thread meanwhile
        return bool(mine.counter > 0 and hold is not None and hold.held())

    @property
    def lock_counter(self) -> int:
        """How many times it was acquired and not released."""
        counter: int = self._own().counter
        return counter

    def acquire(
        self,
        timeout: Optional[float] = None,
        poll_interval: Optional[float] = None,
        *,
        poll_intervall: Optional[float] = None,
        blocking: Optional[bool] = None,
        cancel_check: Optional[Callable[[], bool]] = None,
    ) -> AcquireReturnProxy:
        """Waits `timeout` seconds for the lock, forever if that is negative. With 0, or if not
        `blocking`, it tries once.

        Timeout if the wait ended without the lock. `cancel_check` ends it early by returning true;
        it is called every `poll_interval` seconds of the wait. With thread_local=True another
        thread calls it. RuntimeError if the wait could not end, because another object of this
        thread has the lock.
        """
        if poll_intervall is not None:
            message = "use poll_interval instead of poll_intervall"
            warnings.warn(message, DeprecationWarning, stacklevel=2)
            poll_interval = poll_intervall
        mine = self._own()
        patience, blocking = self._patience(mine, timeout, blocking)
        asks = None if cancel_check is None else self._asks(mine, cancel_check, poll_interval)
        if mine.unit is not None:
            if mine.counter == 0 or not self._nested(mine):
                self._first(mine, patience, blocking, asks)
            return AcquireReturnProxy(self)
        end = time.monotonic() + patience
        with mine.state:
            if self._nested(mine):
                return AcquireReturnProxy(self)
        if not mine.entry.acquire(timeout=min(patience, threading.TIMEOUT_MAX)):
            raise self._too_late(blocking)
        try:
            with mine.state:
                is_nested = self._nested(mine)  # another thread may have got it meanwhile
            if not is_nested:
                self._first(mine, max(0, end - time.monotonic()), blocking, asks)
        finally:
            mine.entry.release()
        return AcquireReturnProxy(self)

    def release(self, force: bool = False) -> None:
        """Takes back one acquire(); the last one, or `force`, opens the lock."""
        mine = self._own()
        if mine.unit is not None:
            return self._release(mine, force)
        with mine.state:
            self._release(mine, force)

    def _release(self, mine: _Context, force: bool) -> None:
        if mine.counter == 0:
            return
        if mine.counter > 1 and not force:
            mine.counter -= 1
            return
        hold = mine.hold
        try:
            _log.debug("Attempting to release lock %s on %s", id(self), mine.lock_file)
            hold.release()
            self._after_release(hold.path)
        except LeaseLost as error:
            if hold.has_lease:
                raise
            _log.warning("Lock %s was lost on %s: %s", id(self), mine.lock_file, error)
        finally:
            mine.counter = 0
            hold.end()
            if mine.unit is None:
                mine.hold = None
                hold.close()
        _log.debug("Lock %s released on %s", id(self), mine.lock_file)

    def __enter__(self) -> Any:
        self.acquire()
        return self

    def __exit__(
        self,
        exc_type: Optional[Type[BaseException]],
        exc_value: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self._leave(exc_value)

    def _leave(self, error: Optional[BaseException]) -> None:
        try:
            self.release()
        except BaseException as too:
            if error is None or self._context_error_policy == "chain":
                raise
            raise _both(error, too) from None

    def __del__(self) -> None:
        mine = self.__dict__.get("_context")  # none: it is half made
        if mine is None or sys.is_finalizing():
            return  # the threads that would release it are gone, and the kernel does it
        if mine.unit is None:
            mine = self._own()
            if mine.counter > 0:
                hold, mine.hold, mine.counter = mine.hold, None, 0
                hold.end()
                hold.abandon(functools.partial(self._after_drop, hold.path, True))
            else:
                self._after_drop(_canonical(mine.lock_file), False)
            return
        others = self.__dict__.get("_others")
        if others is not None:  # those of other threads go with them
            self._drop(others.here)
        self._drop(mine)

    def _drop(self, mine: _Context) -> None:
        """For the collector, which may run in any thread."""
        hold = mine.hold
        if hold is None or mine.forks != _forks():
            return
        unit = _unit()
        was_held = mine.counter > 0
        if was_held and mine.unit is unit:
            with contextlib.suppress(LockError):
                self.release(force=True)
            was_held = False
        mine.hold, mine.counter = None, 0
        if mine.unit is unit and _idle.dropped((unit, *mine.opened_as), hold):
            return
        hold.close()
        hold.end()
        self._after_drop(hold.path, was_held)

    def _here(self) -> _Context:
        """The options of the running thread, or greenlet; or those of all."""
        mine = self._context
        if mine.unit is None:
            return mine
        unit = _unit()
        if mine.unit is unit:
            return mine
        others = self.__dict__.get("_others")
        if others is None:
            make = functools.partial(_Context, *self._options)
            others = self.__dict__.setdefault("_others", _cooperative.Local(lambda: make(_unit())))
        there: _Context = others.here
        return there

    def _own(self) -> Any:
        mine = self._here()
        if mine.unit is None and self._made_for is not threading.local and mine.counter == 0:
            mine = self._context = _Context(**mine.options())  # its mutexes are of greenlets now
            self._made_for = threading.local
        if mine.forks != _forks():
            mine.forget()
        return mine

    @staticmethod
    def _asks(mine: _Context, cancel_check: Callable[[], bool], every: Optional[float]) -> Any:
        return cancel_check, max(0.001, mine.poll_interval if every is None else every)

    def _patience(
        self, mine: _Context, timeout: Optional[float], blocking: Optional[bool]
    ) -> Tuple[float, bool]:
        if timeout is None:
            timeout = mine.timeout
        if blocking is None:
            blocking = mine.blocking
        patience = math.inf if timeout < 0 else timeout
        return patience if blocking else 0, blocking

    def _nested(self, mine: _Context) -> bool:
        if mine.counter == 0:
            return False
        if not mine.hold.held():
            raise lease_lost(mine.lock_file, "it was lost while it was held")
        mine.counter += 1
        return True

    def _first(self, mine: _Context, patience: float, blocking: bool, asks: Any) -> None:
        for again in (True, False):
            hold = self._open(mine)
            try:
                if patience == math.inf:
                    self._refuse_deadlock(mine, hold, None)
                if patience > 0 and (asks or _log.isEnabledFor(logging.DEBUG)):
                    grant = self._try_then_wait(hold, mine, patience, asks)
                else:
                    grant = hold.acquire(patience)
                self._begin(mine, hold, grant)
                return
            except BaseException as error:  # a signal's, say, before or after the grant
                if again and isinstance(error, LockError) and error.errno == errno.ENOENT:
                    mine.hold = None  # its directory went while it was open, and is made anew
                    hold.close()
                    continue
                self._failed(mine, hold, error, blocking)
                raise

    def _refuse_deadlock(self, mine: _Context, hold: Any, task: Any) -> None:
        """RuntimeError if only the running thread (or the task, if one waits) can end the wait."""
        granted = _granted.get(hold.path)
        other = None if granted is None else granted()
        if other is None or other is hold or not other.is_only_ended_by(task) or not other.held():
            return
        raise RuntimeError(
            f"Deadlock: lock '{mine.lock_file}' is already held by a different {self._unit_name}. "
            "Use is_singleton=True to enable reentrant locking across instances."
        )

    def _failed(self, mine: _Context, hold: Any, error: BaseException, blocking: bool) -> None:
        """Raises what the API has in place of `error`."""
        mine.counter = 0
        mine.hold = None
        hold.end()
        hold.close()
        if isinstance(error, LockTimeout):
            raise self._too_late(blocking) from error
        if isinstance(error, LockError) and error.reason == "cancelled":
            _log.debug("Cancellation requested for lock %s on %s", id(self), mine.lock_file)
            raise Timeout(mine.lock_file) from error
        if isinstance(error, LockError) and error.reason == "system":
            raise _as_builtin(error) from error

    def _begin(self, mine: _Context, hold: Any, grant: Grant) -> None:
        mine.hold = hold
        mine.counter = 1  # last: others look at it first
        hold.begin(mine.lifetime is not None, grant.token)
        _log.debug("Lock %s acquired on %s", id(self), mine.lock_file)

    def _try_then_wait(self, hold: Any, mine: _Context, patience: float, asks: Any) -> Grant:
        end = time.monotonic() + patience
        try:
            return hold.acquire(0)  # type: ignore[no-any-return]
        except LockTimeout:
            self._tell_that_it_waits(mine, patience)
        left = max(0, end - time.monotonic())
        if asks is None:
            return hold.acquire(left)  # type: ignore[no-any-return]
        return hold.acquire_unless(left, *asks)  # type: ignore[no-any-return]

    def _tell_that_it_waits(self, mine: _Context, patience: float) -> None:
        message = "Lock %s not acquired on %s, waiting %s seconds ..."
        _log.debug(message, id(self), mine.lock_file, patience)

    def _open(self, mine: _Context) -> Any:
        _log.debug("Attempting to acquire lock %s on %s", id(self), mine.lock_file)
        path = _absolute(mine.lock_file)
        if mine.unit is None:
            return self._shared(self._made_lock(path, mine))
        wanted = path, mine.mode, mine.lifetime
        hold = mine.hold
        if hold is not None and mine.opened_as == wanted and hold.lock._is_at(path):
            if hold.held():
                hold.release()  # an interrupt came between the grant and its count
            return hold
        mine.hold = None
        if hold is not None:
            hold.close()
        hold = _idle.take((mine.unit, *wanted))
        if hold is not None and not hold.lock._is_at(path):
            hold.close()
            hold = None
        mine.opened_as = wanted
        mine.hold = hold if hold is not None else _ThreadHold(self._made_lock(path, mine))
        return mine.hold

    def _made_lock(self, path: str, mine: _Context) -> Any:
        mode = mine.mode if mine.mode != _UNSET_MODE else _mode_by_umask(path)
        try:
            try:
                return self._new_lock(path, mine, mode)
            except LockError as error:
                if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                    raise
            os.makedirs(os.path.dirname(path), exist_ok=True)
            return self._new_lock(path, mine, mode)
        except LockError as error:
            if error.reason == "system":
                raise _as_builtin(error) from error
            raise

    def _new_lock(self, path: str, mine: _Context, mode: int) -> Any:
        return Lock(path, lease=mine.lifetime, mode=mode)

    def _shared(self, lock: Any) -> Any:
        return _SharedHold(lock)

    @staticmethod
    def _after_release(path: str) -> None:
        pass

    @staticmethod
    def _after_drop(path: str, was_held: bool) -> None:
        pass

    def _too_late(self, blocking: bool) -> Timeout:
        if blocking:
            _log.debug("Timeout on acquiring lock %s on %s", id(self), self.lock_file)
        else:
            message = "Failed to immediately acquire lock %s on %s"
            _log.debug(message, id(self), self.lock_file)
        return Timeout(self.lock_file)


def _lifetime(value: Optional[float]) -> Optional[float]:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"lifetime must be a number of seconds or None, not {value!r}")
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"lifetime must be finite and more than 0, not {value!r}")
    return value


def _one_of(name: str, value: str, words: Tuple[str, ...]) -> None:
    if value not in words:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, words))}, not {value!r}")


def _both(block: BaseException, release: BaseException) -> BaseException:
    if release.__context__ is block:
        release.__context__ = None  # it stands beside it
    return BaseExceptionGroup("the block and the release of its lock both failed", [block, release])


def _mode_by_umask(path: str) -> int:
    """0666 less the umask, for a file that will be made. The umask is read where that changes
    nothing, since other threads may be making files."""
    if os.path.lexists(path):
        return 0o666  # which does not matter
    try:
        with open("/proc/self/status", "rb") as status:
            for line in status:
                if line.startswith(b"Umask:"):
                    return 0o666 & ~int(line.split()[1], 8)
    except (OSError, ValueError):
        pass
    umask = os.umask(0o077)
    os.umask(umask)
    return 0o666 & ~umask


def _as_builtin(error: LockError) -> OSError:
    """FileNotFoundError, PermissionError, ..., as open() would raise it."""
    return OSError(error.errno, error.strerror, error.filename)


class UnixFileLock(BaseFileLock):
    """What FileLock is."""


class SoftFileLock(BaseFileLock):
    """A FileLock that removes its file when it is released, unless somebody else has got the lock.

    If this process takes the lock again and again, it removes the file once the lock has been idle
    for a quarter of a second.
    """

    _can_keep_its_file = False

    @property
    def pid(self) -> Optional[int]:
        """The process that holds the lock, or None."""
        holder = _holder_of(self.lock_file)
        return None if holder is None else holder.pid

    @property
    def is_lock_held_by_us(self) -> bool:
        """Whether this process holds the lock, by this object or another of this module."""
        holder = _holder_of(self.lock_file)
        granted = _granted.get(_canonical(self.lock_file))
        hold = None if granted is None else granted()
        return holder is not None and hold is not None and bool(holder.token == hold.token)

    def break_lock(self) -> None:
        """Forces the lock open, no matter which process holds it, and removes its file."""
        from . import break_lock, remove

        path = os.path.abspath(self.lock_file)
        with contextlib.suppress(LockError):  # nobody has it
            break_lock(path)
        with contextlib.suppress(LockError):  # somebody has it again, or it is gone
            remove(path)

    @staticmethod
    def _after_release(path: str) -> None:
        _idle.released(path)

    @staticmethod
    def _after_drop(path: str, was_held: bool) -> None:
        if was_held:
            _idle.released(path)
        _idle.remove_now(path)  # if it stayed


def _holder_of(lock_file: str) -> Any:
    from . import observe

    with contextlib.suppress(LockError):
        holder = observe(os.path.abspath(lock_file)).holder
        if holder is not None and holder.alive and holder.lease_left != 0:
            return holder
    return None


@functools.lru_cache(maxsize=1000)
def _normal(path: str) -> str:
    return os.path.normpath(path)


def _absolute(path: str) -> str:
    """os.path.abspath(), at less expense: each acquire asks."""
    return _normal(path if path.startswith("/") else f"{os.getcwd()}/{path}")


def _canonical(lock_file: str) -> str:
    parent, name = os.path.split(lock_file)
    return os.path.join(os.path.realpath(parent or os.curdir), name)


class WindowsFileLock(BaseFileLock):
    """Only to be imported."""

    def acquire(self, *ignored: Any, **too: Any) -> AcquireReturnProxy:
        raise NotImplementedError("WindowsFileLock is for Windows")


FileLock = UnixFileLock


class AsyncAcquireReturnProxy:
    """What acquire() of an asynchronous lock returns."""

    def __init__(self, lock: BaseAsyncFileLock) -> None:
        self.lock = lock

    async def __aenter__(self) -> BaseAsyncFileLock:
        return self.lock

    async def __aexit__(
        self,
        exc_type: Optional[Type[BaseException]],
        exc_value: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        await self.lock._leave_async(exc_value)


class _AsyncHold(_Hold):
    """An AsyncLock, whose one grant any task may release."""

    def __init__(self, lock: AsyncLock) -> None:
        self.lock = lock
        self.path = lock.path
        self.acquire = lock.acquire
        self.release = lock.release

    async def acquire_unless(
        self, patience: float, cancelled: Callable[[], bool], every: float
    ) -> Grant:
        """As acquire(), and LockError 'cancelled' once `cancelled` is true."""
        import asyncio

        waiting = asyncio.ensure_future(self.lock.acquire(patience))
        try:
            while not waiting.done() and not cancelled():
                await asyncio.wait({waiting}, timeout=every)
            if waiting.done():
                return await waiting
        except BaseException:
            if await self._given_up(waiting):
                self.lock.release()
            raise
        if await self._given_up(waiting):
            return waiting.result()
        raise _cancelled(self.path)

    async def _given_up(self, waiting: asyncio.Future[Grant]) -> bool:
        """Ends the wait. True if the grant came first."""
        import asyncio

        waiting.cancel()
        while not waiting.done():
            with contextlib.suppress(asyncio.CancelledError):  # another one, meanwhile
                await asyncio.wait({waiting})
        return not waiting.cancelled() and waiting.exception() is None

    def held(self) -> bool:
        return self.lock.held

    def close(self) -> None:
        self.lock.close()


class _OfALoop:
    """The share of a lock that the tasks of a loop have; its options are those of the object."""

    def __init__(self, options: _Context) -> None:
        self._options = options
        self.forget()

    def forget(self) -> None:
        import asyncio

        self.forks = _forks()
        self.hold: Any = None
        self.counter = 0
        self.entry = asyncio.Lock()
        self.state = contextlib.nullcontext()  # there is only one thread

    def __getattr__(self, name: str) -> Any:
        return getattr(self._options, name)


class BaseAsyncFileLock(BaseFileLock):
    """A lock by path for tasks, by `async with`, or by acquire() and release().

    The tasks of a loop that share an object share its grant, as threads do with
    thread_local=False; those of other loops wait. Outside of the loop it is not locked.
    """

    _unit_name = "BaseAsyncFileLock instance in this task"

    def __init__(
        self,
        lock_file: Union[str, os.PathLike[str]],
        timeout: float = -1,
        mode: int = _UNSET_MODE,
        thread_local: bool = False,
        *,
        blocking: bool = True,
        is_singleton: bool = False,
        poll_interval: float = 0.05,
        lifetime: Optional[float] = None,
        context_error_policy: str = "chain",
        close_error_policy: str = "default",
        fallback_to_soft: bool = True,
        preserve_lock_file: bool = False,
        on_acquired: Optional[Callable[[int], None]] = None,
        loop: Optional[asyncio.AbstractEventLoop] = None,
        run_in_executor: bool = True,
        executor: Optional[Executor] = None,
    ) -> None:
        if thread_local and run_in_executor:
            raise ValueError("run_in_executor is not supported when thread_local is True")
        super().__init__(
            lock_file,
            timeout,
            mode,
            False,
            blocking=blocking,
            is_singleton=is_singleton,
            poll_interval=poll_interval,
            lifetime=lifetime,
            context_error_policy=context_error_policy,
            close_error_policy=close_error_policy,
            fallback_to_soft=fallback_to_soft,
            preserve_lock_file=preserve_lock_file,
            on_acquired=on_acquired,
        )
        self.loop = loop
        self.run_in_executor = run_in_executor
        self.executor = executor
        self._contexts: Dict[Any, _OfALoop] = {}

    def __getstate__(self) -> Dict[str, Any]:
        return {**super().__getstate__(), "_contexts": {}}

    async def acquire(  # type: ignore[override]
        self,
        timeout: Optional[float] = None,
        poll_interval: Optional[float] = None,
        *,
        blocking: Optional[bool] = None,
        cancel_check: Optional[Callable[[], bool]] = None,
    ) -> AsyncAcquireReturnProxy:
        """As BaseFileLock.acquire(). A task that is cancelled while it waits holds nothing.
        RuntimeError if the wait could not end, since another object of this task has the lock."""
        import asyncio  # which takes longer to import than all the rest

        mine = self._own()
        patience, blocking = self._patience(mine, timeout, blocking)
        end = time.monotonic() + patience
        if self._nested(mine):
            return AsyncAcquireReturnProxy(self)
        try:
            async with asyncio.timeout(None if patience == math.inf else patience):
                await mine.entry.acquire()
        except TimeoutError as error:
            raise self._too_late(blocking) from error
        try:
            if not self._nested(mine):  # another task may have got it meanwhile
                asks = None if cancel_check is None else self._asks(mine, cancel_check, poll_interval)
                await self._first_async(mine, max(0, end - time.monotonic()), blocking, asks)
        finally:
            mine.entry.release()
        return AsyncAcquireReturnProxy(self)

    async def release(self, force: bool = False) -> None:  # type: ignore[override]
        """As BaseFileLock.release()."""
        super().release(force)

    async def __aenter__(self) -> Any:
        await self.acquire()
        return self

    async def __aexit__(
        self,
        exc_type: Optional[Type[BaseException]],
        exc_value: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        await self._leave_async(exc_value)

    async def _leave_async(self, error: Optional[BaseException]) -> None:
        try:
            await self.release()  # which a subclass may override
        except BaseException as too:
            if error is None or self._context_error_policy == "chain":
                raise
            raise _both(error, too) from None

    def __enter__(self) -> Any:
        raise NotImplementedError("do not use `with` for an asynchronous lock: use `async with`")

    def __exit__(self, *ignored: object) -> None:
        self.__enter__()

    def __del__(self) -> None:
        pass  # the AsyncLock sees to it

    def _own(self) -> Any:
        import asyncio

        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return super()._own()  # which is not locked
        mine = self._contexts.get(loop)
        if mine is None:
            for other in [other for other in self._contexts if other.is_closed()]:
                del self._contexts[other]
            mine = self._contexts[loop] = _OfALoop(self._context)
        if mine.forks != _forks():
            mine.forget()
        return mine

    async def _first_async(
        self, mine: _Context, patience: float, blocking: bool, asks: Any
    ) -> None:
        hold = self._open(mine)
        try:
            if patience == math.inf:
                self._refuse_deadlock(mine, hold, _current_task())
            try:
                grant = await hold.acquire(0)
            except LockTimeout:
                if patience <= 0:
                    raise
                self._tell_that_it_waits(mine, patience)
                if asks is None:
                    grant = await hold.acquire(patience)
                else:
                    grant = await hold.acquire_unless(patience, *asks)
            self._begin(mine, hold, grant)
        except BaseException as error:
            self._failed(mine, hold, error, blocking)
            raise

    def _new_lock(self, path: str, mine: _Context, mode: int) -> Any:
        from .aio import AsyncLock

        return AsyncLock(path, lease=mine.lifetime, mode=mode)

    def _shared(self, lock: Any) -> Any:
        return _AsyncHold(lock)


class AsyncUnixFileLock(UnixFileLock, BaseAsyncFileLock):
    """What AsyncFileLock is."""


class AsyncSoftFileLock(SoftFileLock, BaseAsyncFileLock):
    """An AsyncFileLock that removes its file, unless somebody else has got the lock."""


class AsyncWindowsFileLock(BaseAsyncFileLock):
    """Only to be imported."""

    async def acquire(  # type: ignore[override]
        self, *ignored: Any, **too: Any
    ) -> AsyncAcquireReturnProxy:
        raise NotImplementedError("AsyncWindowsFileLock is for Windows")


AsyncFileLock = AsyncUnixFileLock
