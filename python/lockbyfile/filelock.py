# SPDX-License-Identifier: Apache-2.0
"""The API of the package filelock, on lockbyfile.Lock.

    from lockbyfile.filelock import FileLock, Timeout

    with FileLock("data.csv.lock", timeout=10):
        ...

Or, for a whole program, before anything else imports filelock:

    import sys, lockbyfile.filelock
    sys.modules["filelock"] = lockbyfile.filelock

What is better: who waits is woken, and served in order of arrival; who dies frees the lock at
once, SoftFileLock too; `lifetime` is a lease, kept in the lock and obeyed by all; the cause of a
Timeout tells who has the lock; after fork the child holds nothing.

What is different: the lockfile has content, and processes that lock the same path with the
original do not understand it: migrate all of them together. `poll_interval` is accepted and
ignored. Release raises LeaseLost if a `lifetime` was set and has run out; without one, a loss (by
lockbyfile.break_lock, say) is logged as a warning, since the original never raises there.
`is_locked` is False once the lock is lost, and a nested acquire() raises LeaseLost then. A
`lifetime` of 0 is a ValueError. FileLock and SoftFileLock of one path exclude each other.

With thread_local=False, one grant is all threads': each grant that is acquired so costs a thread
for as long as it lasts, which keeps it when the acquiring thread ends.

What cannot be carried over: a foreign file that is not empty is not locked, but raises LockError
'wrong_engine'; no network filesystems; nothing has a file descriptor to share (on_acquired);
locks are not inherited by fork; `_acquire` and `_release` are not there to be overridden; the
submodules (filelock._api); ReadWriteLock and the others that came after 3.20; WindowsFileLock can
be imported, but not acquired. In AsyncFileLock, `loop`, `executor` and `run_in_executor` are
accepted and read back, but not needed: it is lockbyfile.AsyncLock that waits.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import queue
import sys
import threading
import time
import warnings
from abc import ABCMeta
from concurrent.futures import Executor, Future
from concurrent.futures import TimeoutError as NotYet
from inspect import signature
from types import TracebackType
from typing import TYPE_CHECKING, Any, Callable, Dict, Optional, Tuple, Type, Union
from weakref import WeakValueDictionary

from . import Lock
from ._errors import LeaseLost, LockError, LockTimeout, lease_lost

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
__version__ = "3.20.0"  # whose API this is

_log = logging.getLogger("filelock")


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
        self.lock.release()


class _ThreadHold:
    """A Lock used by one thread, kept open between grants: to open it costs a hundred grants."""

    def __init__(self, lock: Lock) -> None:
        self._lock = lock

    def acquire(self, patience: Optional[float]) -> None:
        self._lock.acquire(patience)

    def release(self) -> None:
        self._lock.release()

    def held(self) -> bool:
        return self._lock.held

    def close(self) -> None:
        self._lock.close()


class _SharedHold:
    """A Lock used by all threads, through a thread of its own: what a thread holds, only it can
    renew or release, and it is given back when that thread ends."""

    def __init__(self, lock: Lock) -> None:
        self._lock = lock
        self._jobs: queue.SimpleQueue[Any] = queue.SimpleQueue()
        threading.Thread(
            target=_serve, args=(self._jobs,), name=f"filelock {lock.path}", daemon=True
        ).start()

    def acquire(self, patience: Optional[float]) -> None:
        done = self._post(lambda: self._lock.acquire(patience))
        try:
            # A signal that comes right before Python sleeps does not wake it, and would be heard
            # with the grant only.
            while not done.done():
                with contextlib.suppress(NotYet):
                    done.result(1)
            done.result()
        except BaseException:
            self._give_up(done)
            raise

    def release(self) -> None:
        self._post(self._lock.release).result()

    def held(self) -> bool:
        return bool(self._post(lambda: self._lock.held).result())

    def close(self) -> None:
        self._post(self._lock.close)
        self._jobs.put(None)

    def _post(self, call: Callable[[], Any]) -> Future[Any]:
        done: Future[Any] = Future()
        self._jobs.put((call, done))
        return done

    def _give_up(self, done: Future[Any]) -> None:
        finished = threading.Event()
        done.add_done_callback(lambda _: finished.set())
        while not finished.is_set():
            self._lock._cancel()  # it may be about to wait, and miss it
            finished.wait(0.01)
        if done.exception() is None:
            self.release()


def _serve(jobs: queue.SimpleQueue[Any]) -> None:
    while True:
        job = jobs.get()
        if job is None:
            return
        call, done = job
        try:
            done.set_result(call())
        except BaseException as error:  # it is the asker's
            done.set_exception(error)
        del job, call, done  # or the Lock would live as long as the thread


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

    def forget(self) -> None:
        """As new, also in a child after fork."""
        self.pid = os.getpid()
        self.hold: Any = None
        self.opened_as: Any = None
        self.counter = 0
        self.is_leased = False
        self.entry = threading.RLock()  # of those who want the lock, held while one waits
        self.state = threading.RLock()  # of counter and hold, never held for long


class _ThreadLocalContext(_Context, threading.local):
    pass


class _Meta(ABCMeta):
    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        if not kwargs.get("is_singleton", False):
            return super().__call__(*args, **kwargs)
        base = BaseAsyncFileLock if issubclass(cls, BaseAsyncFileLock) else BaseFileLock
        wanted = signature(base.__init__).bind(None, *args, **kwargs)  # type: ignore[misc]
        wanted.apply_defaults()
        parent, name = os.path.split(os.fspath(wanted.arguments["lock_file"]))
        key = os.path.join(os.path.realpath(parent or os.curdir), name)
        with cls._instances_lock:  # type: ignore[attr-defined]
            instance = cls._instances.get(key)  # type: ignore[attr-defined]
            if instance is None:
                instance = super().__call__(*args, **kwargs)
                cls._instances[key] = instance  # type: ignore[attr-defined]
                return instance
        found = {
            "thread_local": instance.is_thread_local(),
            "timeout": instance.timeout,
            "mode": instance.mode,
            "blocking": instance.blocking,
            "poll_interval": instance.poll_interval,
            "lifetime": instance.lifetime,
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
    _instances_lock = threading.RLock()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._instances = WeakValueDictionary()
        cls._instances_lock = threading.RLock()

    def __init__(
        self,
        lock_file: Union[str, os.PathLike[str]],
        timeout: float = -1,
        mode: int = 0o644,
        thread_local: bool = True,
        *,
        blocking: bool = True,
        is_singleton: bool = False,
        poll_interval: float = 0.05,
        lifetime: Optional[float] = None,
    ) -> None:
        self._is_thread_local = thread_local
        self._is_singleton = is_singleton
        self._context: _Context = (_ThreadLocalContext if thread_local else _Context)(
            os.fspath(lock_file), timeout, mode, blocking, poll_interval, _lifetime(lifetime)
        )

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
        return self._context.mode

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
    ) -> AcquireReturnProxy:
        """Waits `timeout` seconds for the lock, for ever if that is negative; with 0, or if not
        `blocking`, it tries once. Timeout if it was not to be had."""
        if poll_intervall is not None:
            message = "use poll_interval instead of poll_intervall"
            warnings.warn(message, DeprecationWarning, stacklevel=2)
        mine = self._own()
        patience, blocking = self._patience(mine, timeout, blocking)
        end = time.monotonic() + patience
        if self._nested(mine):
            return AcquireReturnProxy(self)
        if not mine.entry.acquire(timeout=min(patience, threading.TIMEOUT_MAX)):
            raise self._too_late(blocking)
        try:
            if not self._nested(mine):  # another thread may have got it meanwhile
                self._first(mine, max(0, end - time.monotonic()), blocking)
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
                self._after_release(mine)
            except LeaseLost as error:
                if mine.is_leased:
                    raise
                _log.warning("Lock %s was lost on %s: %s", id(self), mine.lock_file, error)
            finally:
                mine.counter = 0
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
        self.release()

    def __del__(self) -> None:
        if "_context" not in self.__dict__ or sys.is_finalizing():
            return  # half made; or the threads that would do it are gone, and the kernel does it
        with contextlib.suppress(LockError):
            self.release(force=True)

    def _own(self) -> _Context:
        mine = self._context
        if mine.pid != os.getpid():
            mine.forget()
        return mine

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

    def _first(self, mine: _Context, patience: float, blocking: bool) -> None:
        hold = self._open(mine)
        try:
            if patience > 0 and _log.isEnabledFor(logging.DEBUG):
                self._tell_if_it_waits(hold, mine, patience)
            else:
                hold.acquire(patience)
            self._begin(mine, hold)
        except BaseException as error:  # a signal's, say, before or after the grant
            self._failed(mine, hold, error, blocking)
            raise

    def _failed(self, mine: _Context, hold: Any, error: BaseException, blocking: bool) -> None:
        """Raises what the API has in place of `error`."""
        mine.counter = 0
        hold.close()
        mine.hold = None
        if isinstance(error, LockTimeout):
            raise self._too_late(blocking) from error
        if isinstance(error, LockError) and error.reason == "system":
            raise _as_builtin(error) from error

    def _begin(self, mine: _Context, hold: Any) -> None:
        with mine.state:
            mine.hold = hold
            mine.is_leased = mine.lifetime is not None
            mine.counter = 1
        _log.debug("Lock %s acquired on %s", id(self), mine.lock_file)

    def _tell_if_it_waits(self, hold: Any, mine: _Context, patience: float) -> None:
        end = time.monotonic() + patience
        try:
            hold.acquire(0)
        except LockTimeout:
            self._tell_that_it_waits(mine, patience)
            hold.acquire(max(0, end - time.monotonic()))

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
        try:
            lock = self._new_lock(path, mine)
        except LockError as error:
            if error.reason == "system":
                raise _as_builtin(error) from error
            raise
        if not self._is_thread_local:
            return self._shared(lock)
        mine.hold = _ThreadHold(lock)
        mine.opened_as = wanted
        return mine.hold

    def _new_lock(self, path: str, mine: _Context) -> Any:
        return Lock(path, lease=mine.lifetime, mode=mine.mode)

    def _shared(self, lock: Any) -> Any:
        return _SharedHold(lock)

    def _after_release(self, mine: _Context) -> None:
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


def _as_builtin(error: LockError) -> OSError:
    """FileNotFoundError, PermissionError, ..., as open() would raise it."""
    return OSError(error.errno, error.strerror, error.filename)


class UnixFileLock(BaseFileLock):
    """What FileLock is."""


class SoftFileLock(BaseFileLock):
    """A FileLock that removes its file, unless somebody else has got the lock."""

    def _after_release(self, mine: _Context) -> None:
        from . import remove

        with contextlib.suppress(LockError):  # the next one has it, or it is gone
            remove(os.path.abspath(mine.lock_file))


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

    async def __aexit__(self, *ignored: object) -> None:
        await self.lock.release()


class _AsyncHold:
    """An AsyncLock, whose one grant any task may release."""

    def __init__(self, lock: AsyncLock) -> None:
        self._lock = lock
        self.acquire = lock.acquire
        self.release = lock.release

    def held(self) -> bool:
        return self._lock.held

    def close(self) -> None:
        self._lock.close()


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

    def __init__(
        self,
        lock_file: Union[str, os.PathLike[str]],
        timeout: float = -1,
        mode: int = 0o644,
        thread_local: bool = False,
        *,
        blocking: bool = True,
        is_singleton: bool = False,
        poll_interval: float = 0.05,
        lifetime: Optional[float] = None,
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
        )
        self.loop = loop
        self.run_in_executor = run_in_executor
        self.executor = executor
        self._contexts: Dict[Any, _OfALoop] = {}

    async def acquire(  # type: ignore[override]
        self,
        timeout: Optional[float] = None,
        poll_interval: Optional[float] = None,
        *,
        blocking: Optional[bool] = None,
    ) -> AsyncAcquireReturnProxy:
        """As BaseFileLock.acquire(). A task that is cancelled while it waits holds nothing."""
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
                await self._first_async(mine, max(0, end - time.monotonic()), blocking)
        finally:
            mine.entry.release()
        return AsyncAcquireReturnProxy(self)

    async def release(self, force: bool = False) -> None:  # type: ignore[override]
        """As BaseFileLock.release()."""
        super().release(force)

    async def __aenter__(self) -> Any:
        await self.acquire()
        return self

    async def __aexit__(self, *ignored: object) -> None:
        await self.release()

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

    async def _first_async(self, mine: _Context, patience: float, blocking: bool) -> None:
        hold = self._open(mine)
        try:
            try:
                await hold.acquire(0)
            except LockTimeout:
                if patience <= 0:
                    raise
                self._tell_that_it_waits(mine, patience)
                await hold.acquire(patience)
            self._begin(mine, hold)
        except BaseException as error:
            self._failed(mine, hold, error, blocking)
            raise

    def _new_lock(self, path: str, mine: _Context) -> Any:
        from .aio import AsyncLock

        return AsyncLock(path, lease=mine.lifetime, mode=mine.mode)

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
