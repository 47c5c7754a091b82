# SPDX-License-Identifier: Apache-2.0
"""The API of the package filelock, on lockbyfile.Lock.

    from lockbyfile.filelock import FileLock, Timeout

    with FileLock("data.csv.lock", timeout=10):
        ...

Or, for a whole program, before anything else imports filelock:

    import sys, lockbyfile.filelock
    sys.modules["filelock"] = lockbyfile.filelock

What is better: a waiter is woken, and waiters are served in order of arrival. The lock of a
process that dies is free at once, that of SoftFileLock too. `lifetime` is a lease, kept in the
lock and obeyed by all. The cause of a Timeout says who has the lock. After fork the child holds
nothing.

What differs and what is left out: docs/python.md, "The drop-in for filelock".
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
    NamedTuple,
    Optional,
    Set,
    Tuple,
    Type,
    Union,
)
from weakref import WeakValueDictionary

from . import Lock, _cooperative
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
    """The lock could not be acquired in time. Its cause tells who has it."""

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


class _Granted(NamedTuple):
    """Whose a grant is: what tells a deadlock from a wait that another flow of control can end."""

    unit: object
    task: Callable[[], Any]
    hold: Callable[[], Any]
    has_lease: bool
    token: int


_granted: Dict[str, _Granted] = {}  # by the lock's path; an entry may be stale


def _unit() -> object:
    """What is the same object for all that the running thread, or greenlet, does."""
    stored = _cooperative.storage()
    unit = stored.get("lockbyfile.filelock.unit")
    if unit is None:
        unit = stored["lockbyfile.filelock.unit"] = object()
    return unit


def _nothing() -> None:
    return None


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


class _ThreadHold:
    """A Lock used by one thread, kept open between grants: to open it costs a hundred grants."""

    def __init__(self, lock: Lock) -> None:
        self.lock = lock
        self.path = lock.path

    def acquire(self, patience: Optional[float]) -> Grant:
        return self.lock.acquire(patience)

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

    def release(self) -> None:
        self.lock.release()

    def held(self) -> bool:
        return self.lock.held

    def close(self) -> None:
        self.lock.close()


class _SharedHold:
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
        wait for itself, and another thread may have what the server needs: a logger's mutex, say."""
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
    """Free lockfiles of SoftFileLock, which are to go.

    To make a lockfile, and to remove it, costs hundreds of grants. So the file of a lock that this
    process takes again and again stays until the lock has been idle for a moment, or its object is
    dropped. If objects are made and dropped again and again, it stays with its Lock open for the
    next object. Any other goes with its release. At exit the rest go.
    """

    AGAIN = 1.0  # seconds since the file was removed, within which a lock counts as taken again
    LINGER = 0.25  # seconds for which the file stays
    DROPS = 4  # objects that come one after another before the next one finds a Lock open

    def __init__(self) -> None:
        self._mutex = _cooperative.Mutex()
        self.forget()

    def forget(self) -> None:
        """Also in a child after fork: they are the parent's."""
        self._removed: Dict[str, float] = {}
        self._due: Dict[str, float] = {}
        self._dropped: Dict[str, Tuple[float, int]] = {}
        self._parked: Dict[str, List[Tuple[Any, Lock]]] = {}
        self._at_work = False
        self._flushed = threading.Event()

    def released(self, path: str) -> None:
        now = time.monotonic()
        with self._mutex:
            again = path in self._due or now - self._removed.get(path, -math.inf) < self.AGAIN
            if again:
                self._due[path] = now + self.LINGER
                if not self._at_work:
                    self._flushed = threading.Event()
                    threading.Thread(target=self._work, name="filelock idle", daemon=True).start()
                    self._at_work = True
        if not again:
            self._remove([path])

    def dropped(self, path: str, born: float, hold: Any, opened_as: Any) -> None:
        """An object that was made at `born` is gone; `hold` is what it kept open, or None."""
        now = time.monotonic()
        with self._mutex:
            if path not in self._due:
                return
            last, count = self._dropped.get(path, (-math.inf, 0))
            count = count + 1 if last < born and now - last < self.AGAIN else 0
            self._dropped[path] = now, count
            if count >= self.DROPS:
                if hold is not None:
                    self._parked.setdefault(path, []).append((opened_as, hold.lock))
                return
            del self._due[path]
        if hold is not None:
            hold.close()
        self._remove([path])

    def take(self, path: str, opened_as: Any) -> Optional[Lock]:
        if path not in self._parked:
            return None
        with self._mutex:
            parked = self._parked.get(path, [])
            for at, (as_before, lock) in enumerate(parked):
                if as_before == opened_as:
                    del parked[at]
                    return lock
        return None

    def flush(self) -> None:
        with self._mutex:
            due, self._due, self._parked = list(self._due), {}, {}
            self._flushed.set()
        self._remove(due)

    def _work(self) -> None:
        while True:
            now = time.monotonic()
            with self._mutex:
                # A copy, since a finalizer that runs here may add to it.
                all_due = self._due.copy()
                due = [path for path, at in all_due.items() if at <= now]
                closing = [self._parked.pop(path, []) for path in due]
                for path in due:
                    del self._due[path]
                if not all_due:
                    self._at_work = False
                    return
            for parked in closing:
                for _, lock in parked:
                    lock.close()
            self._remove(due)
            if not due:
                self._flushed.wait(max(0.01, min(all_due.values()) - now))

    def _remove(self, paths: List[str]) -> None:
        from . import remove

        for path in paths:
            with contextlib.suppress(LockError):  # the next one has it, or it is gone
                remove(path)
        with self._mutex:
            if len(self._removed) > 1000:
                self._removed.clear()
                self._dropped.clear()
            self._removed.update(dict.fromkeys(paths, time.monotonic()))


_idle = _Idle()
atexit.register(_idle.flush)


def _after_fork_in_child() -> None:
    _granted.clear()
    _servers.clear()
    _idle.forget()


os.register_at_fork(after_in_child=_after_fork_in_child)


class _Context:
    def __init__(
        self,
        lock_file: str,
        timeout: float,
        mode: int,
        blocking: bool,
        poll_interval: float,
        lifetime: Optional[float],
    ) -> None:
        self.lock_file = lock_file
        self.timeout = timeout
        self.mode = mode
        self.blocking = blocking
        self.poll_interval = poll_interval
        self.lifetime = lifetime
        self.forget()

    def options(self) -> Dict[str, Any]:
        names = "lock_file", "timeout", "mode", "blocking", "poll_interval", "lifetime"
        return {name: getattr(self, name) for name in names}

    def __getstate__(self) -> Dict[str, Any]:
        return self.options()  # a copy holds nothing

    def __setstate__(self, options: Dict[str, Any]) -> None:
        self.__init__(**options)  # type: ignore[misc]

    def forget(self) -> None:
        """As new, also in a child after fork."""
        self.pid = os.getpid()
        self.hold: Any = None
        self.opened_as: Any = None
        self.counter = 0
        self.is_leased = False
        self.entry = threading.RLock()  # of those who want the lock, held while one waits
        self.state = threading.RLock()  # of counter and hold, never held for long


@functools.lru_cache(maxsize=None)
def _context_per(local: Type[Any]) -> Type[_Context]:
    """A _Context of which each thread, or greenlet under a monkey patch, has its own."""

    class _ThreadLocalContext(_Context, local):  # type: ignore[misc]
        def __reduce_ex__(self, protocol: Any) -> Any:
            raise TypeError("a lock with thread_local=True cannot be pickled: its state is a thread's")

    return _ThreadLocalContext


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
            "mode": instance._context.mode,
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
        _one_of("context_error_policy", context_error_policy, ("chain", "group"))
        _one_of("close_error_policy", close_error_policy, ("default", "raise", "suppress"))
        kind = type(self).__name__
        if preserve_lock_file and not self._can_keep_its_file:
            raise ValueError(f"preserve_lock_file=True is not supported by {kind}: it removes its file")
        if on_acquired is not None:
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
        self._make_context(
            lock_file=os.fspath(lock_file),
            timeout=timeout,
            mode=mode,
            blocking=blocking,
            poll_interval=poll_interval,
            lifetime=_lifetime(lifetime),
        )

    def _make_context(self, **options: Any) -> None:
        self._made_for = threading.local  # which a monkey patch replaces
        kind = _context_per(threading.local) if self._is_thread_local else _Context
        self._context: _Context = kind(**options)

    def __getstate__(self) -> Dict[str, Any]:
        state = self.__dict__.copy()
        for own in ("_made_for", "_born"):
            state.pop(own, None)
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
        """Accepted: the file stays in any case, but for that of a SoftFileLock."""
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
        return self._context.lock_file

    @property
    def timeout(self) -> float:
        """Seconds that acquire() waits by default; negative: for ever."""
        return self._context.timeout

    @timeout.setter
    def timeout(self, value: Union[float, str]) -> None:
        self._context.timeout = float(value)

    @property
    def blocking(self) -> bool:
        return self._context.blocking

    @blocking.setter
    def blocking(self, value: bool) -> None:
        self._context.blocking = value

    @property
    def mode(self) -> int:
        return self._context.mode if self.has_explicit_mode else 0o644

    @property
    def has_explicit_mode(self) -> bool:
        """False: the lockfile's mode is 0666 less the umask."""
        return self._context.mode != _UNSET_MODE

    @property
    def poll_interval(self) -> float:
        return self._context.poll_interval

    @poll_interval.setter
    def poll_interval(self, value: float) -> None:
        self._context.poll_interval = value

    @property
    def lifetime(self) -> Optional[float]:
        """Seconds after which the lock opens by itself; None: never."""
        return self._context.lifetime

    @lifetime.setter
    def lifetime(self, value: Optional[float]) -> None:
        self._context.lifetime = _lifetime(value)

    @property
    def is_locked(self) -> bool:
        """Whether this object holds the lock, and has not lost it."""
        mine = self._own()
        with mine.state:
            return mine.counter > 0 and mine.hold.held()

    @property
    def lock_counter(self) -> int:
        """How many times it was acquired and not released."""
        return self._own().counter

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

        Timeout if it was not to be had, or `cancel_check`, which is called every `poll_interval`
        seconds of the wait, was true. With thread_local=True another thread calls it. RuntimeError
        if the wait could not end, since another object of this thread has the lock.
        """
        if poll_intervall is not None:
            message = "use poll_interval instead of poll_intervall"
            warnings.warn(message, DeprecationWarning, stacklevel=2)
            poll_interval = poll_intervall
        mine = self._own()
        patience, blocking = self._patience(mine, timeout, blocking)
        end = time.monotonic() + patience
        if self._nested(mine):
            return AcquireReturnProxy(self)
        if not mine.entry.acquire(timeout=min(patience, threading.TIMEOUT_MAX)):
            raise self._too_late(blocking)
        try:
            if not self._nested(mine):  # another thread may have got it meanwhile
                asks = self._asks(mine, cancel_check, poll_interval)
                self._first(mine, max(0, end - time.monotonic()), blocking, asks)
        finally:
            mine.entry.release()
        return AcquireReturnProxy(self)

    def release(self, force: bool = False) -> None:
        """Takes back one acquire(); the last one, or `force`, opens the lock."""
        mine = self._own()
        with mine.state:
            if mine.counter == 0:
                return
            if mine.counter > 1 and not force:
                mine.counter -= 1
                return
            try:
                _log.debug("Attempting to release lock %s on %s", id(self), mine.lock_file)
                mine.hold.release()
                self._after_release(os.path.abspath(mine.lock_file))
            except LeaseLost as error:
                if mine.is_leased:
                    raise
                _log.warning("Lock %s was lost on %s: %s", id(self), mine.lock_file, error)
            finally:
                mine.counter = 0
                self._forget_grant(mine.hold)
                if not self._is_thread_local:
                    mine.hold.close()
                    mine.hold = None
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
        if "_context" not in self.__dict__ or sys.is_finalizing():
            return  # half made; or the threads that would do it are gone, and the kernel does it
        mine = self._own()
        if mine.counter > 0 and not self._is_thread_local:
            hold, path = mine.hold, mine.lock_file
            mine.counter, mine.hold = 0, None
            self._forget_grant(hold)
            hold.abandon(functools.partial(type(self)._after_release, os.path.abspath(path)))
            return
        with contextlib.suppress(LockError):
            self.release(force=True)

    def _own(self) -> _Context:
        mine = self._context
        if self._made_for is not threading.local and mine.counter == 0:
            self._make_context(**mine.options())  # its mutexes and its locals are of greenlets now
            mine = self._context
        if mine.pid != os.getpid():
            mine.forget()
        return mine

    def _asks(
        self, mine: _Context, cancel_check: Optional[Callable[[], bool]], every: Optional[float]
    ) -> Any:
        if cancel_check is None:
            return None
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
        with mine.state:
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
        other = _granted.get(hold.path)
        if other is None or other.has_lease or other.unit is not _unit():
            return
        if task is not None and other.task() is not task:
            return
        holding = other.hold()
        if holding is None or holding is hold or not holding.held():
            return
        raise RuntimeError(
            f"Deadlock: lock '{mine.lock_file}' is already held by a different {self._unit_name}. "
            "Use is_singleton=True to enable reentrant locking across instances."
        )

    def _forget_grant(self, hold: Any) -> None:
        granted = _granted.get(hold.path)
        if granted is not None and granted.hold() is hold:
            _granted.pop(hold.path, None)

    def _failed(self, mine: _Context, hold: Any, error: BaseException, blocking: bool) -> None:
        """Raises what the API has in place of `error`."""
        mine.counter = 0
        self._forget_grant(hold)
        hold.close()
        mine.hold = None
        if isinstance(error, LockTimeout):
            raise self._too_late(blocking) from error
        if isinstance(error, LockError) and error.reason == "cancelled":
            _log.debug("Cancellation requested for lock %s on %s", id(self), mine.lock_file)
            raise Timeout(mine.lock_file) from error
        if isinstance(error, LockError) and error.reason == "system":
            raise _as_builtin(error) from error

    def _begin(self, mine: _Context, hold: Any, grant: Grant) -> None:
        with mine.state:
            mine.hold = hold
            mine.is_leased = mine.lifetime is not None
            mine.counter = 1
        task = _current_task()
        in_task: Callable[[], Any] = _nothing
        if task is not None:
            in_task = weakref.ref(task)
        _granted[hold.path] = _Granted(
            _unit(),
            in_task,
            weakref.ref(hold),
            mine.is_leased,
            grant.token,
        )
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
        path = os.path.abspath(mine.lock_file)
        wanted = (path, mine.mode, mine.lifetime)
        if self._is_thread_local and mine.hold is not None and mine.opened_as == wanted:
            if mine.hold.held():
                mine.hold.release()  # an interrupt came between the grant and its count
            return mine.hold
        lock = self._parked_lock(path, wanted)
        if lock is None:
            try:
                lock = self._made_lock(path, mine)
            except LockError as error:
                if error.reason == "system":
                    raise _as_builtin(error) from error
                raise
        if not self._is_thread_local:
            return self._shared(lock)
        mine.hold = _ThreadHold(lock)
        mine.opened_as = wanted
        return mine.hold

    def _made_lock(self, path: str, mine: _Context) -> Any:
        mode = mine.mode if mine.mode != _UNSET_MODE else _mode_by_umask(path)
        try:
            return self._new_lock(path, mine, mode)
        except LockError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                raise
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return self._new_lock(path, mine, mode)

    def _new_lock(self, path: str, mine: _Context, mode: int) -> Any:
        return Lock(path, lease=mine.lifetime, mode=mode)

    def _shared(self, lock: Any) -> Any:
        return _SharedHold(lock)

    def _parked_lock(self, path: str, wanted: Any) -> Optional[Lock]:
        return None

    @staticmethod
    def _after_release(path: str) -> None:
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
    """0666 less the umask, for a file that is to be made. The umask is read where that changes
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
    """A FileLock that removes its file, unless somebody else has got the lock: when it is released, or,
    if this process takes it again and again, once it has been idle for a quarter of a second."""

    _can_keep_its_file = False

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        made = super().__new__(cls)
        made._born = time.monotonic()
        return made

    _born: float

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
        return holder is not None and granted is not None and holder.token == granted.token

    def break_lock(self) -> None:
        """Forces the lock open, whoever holds it, and removes its file."""
        from . import break_lock, remove

        path = os.path.abspath(self.lock_file)
        with contextlib.suppress(LockError):  # nobody has it
            break_lock(path)
        with contextlib.suppress(LockError):  # somebody has it again, or it is gone
            remove(path)

    @staticmethod
    def _after_release(path: str) -> None:
        _idle.released(path)

    def _parked_lock(self, path: str, wanted: Any) -> Optional[Lock]:
        return _idle.take(path, wanted) if self._is_thread_local else None

    def __del__(self) -> None:
        super().__del__()
        if "_context" in self.__dict__ and not sys.is_finalizing():
            mine = BaseFileLock._own(self)
            hold, mine.hold = mine.hold, None
            _idle.dropped(os.path.abspath(mine.lock_file), self._born, hold, mine.opened_as)


def _holder_of(lock_file: str) -> Any:
    from . import observe

    with contextlib.suppress(LockError):
        holder = observe(os.path.abspath(lock_file)).holder
        if holder is not None and holder.alive and holder.lease_left != 0:
            return holder
    return None


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


class _AsyncHold:
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
    """What the tasks of a loop have of a lock; its options are those of the object."""

    def __init__(self, options: _Context) -> None:
        self._options = options
        self.forget()

    def forget(self) -> None:
        import asyncio

        self.pid = os.getpid()
        self.hold: Any = None
        self.counter = 0
        self.is_leased = False
        self.entry = asyncio.Lock()
        self.state = contextlib.nullcontext()  # there is but one thread

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
                asks = self._asks(mine, cancel_check, poll_interval)
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
        if mine.pid != os.getpid():
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
