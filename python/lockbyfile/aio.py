# SPDX-License-Identifier: Apache-2.0
"""The lock for asyncio.

    from lockbyfile.aio import AsyncLock

    async with AsyncLock("nightly", lease=600, patience=30) as grant:
        print("working under token", grant.token)

A Lock blocks its thread while it waits, and what it holds belongs to that thread. A thread per
waiter would bear that, and a thousand waiters would not bear the threads. So the waiters of one
path and one event loop stand in one queue of this process, the _Line, and only its head wants
the lock of the file:

(A1) Whoever finds the line empty, or has no patience, tries on the loop's thread, which does not
     block. What is free is held by the loop's thread, and no other thread is started.
(A2) While a line has waiters, it has one worker, a thread that waits for the head in the line of
     the file; while it has none, it has no worker. _Line.serve() restores this after each
     change, on the loop's thread, and before it returns a dismissed worker has ended.
(A3) The worker that was granted the lock holds it until it is released, and then ends. Meanwhile
     the loop asks it what it wants to know and waits for the answer, some ten microseconds.
(A4) If the head leaves, the worker waits on for the next one, who inherits the place in the line
     of the file if the options are the same; otherwise a new worker starts at its end.
(A5) A dismissed worker that is about to wait, but has not begun, misses Lock._cancel(). So that is
     repeated until the thread has ended. A grant that came too late is given back by it.
(A6) In a child after fork there are no workers: `_process` is another object there, and whatever
     remembers the old one holds nothing, and is not waited for.

Thus at any time a path costs as many threads as a line has grants that came by waiting and are
not given back, usually one, and one more if tasks wait. In the line of the file each line has one
place at a time: order of arrival holds among the tasks of a loop, and among the heads.
"""

from __future__ import annotations

import asyncio
import atexit
import collections
import os
import queue
import threading
import weakref
from typing import Any, Callable, List, NamedTuple, Optional, Tuple, TypeVar

from . import Grant, Lock
from ._errors import LockError, error_of, lost_quietly, timed_out

__all__ = ["AsyncLock"]

T = TypeVar("T")

_WOULD_DEADLOCK, _NOT_HOLDER = 3, 4
_AS_MADE: Any = object()


class AsyncLock:
    """A lock by name for tasks, by `async with`, or by acquire() and release().

    The arguments are those of Lock. Tasks may share an AsyncLock, and exclude each other. Tasks
    that were cancelled while they waited hold nothing and are in nobody's way.

    `held`, `token`, `remaining`, renew() and release() are about one grant of the running loop:
    that of the calling task; if it has none, the oldest that was not given back. They are plain
    methods, for tasks and callbacks of that loop; outside of it nothing is held. What a task holds
    when it ends is not given back. After fork the child holds nothing.
    """

    def __init__(
        self,
        name: Any,
        lease: Any = None,
        patience: Any = None,
        *,
        directory: Any = None,
        mode: Optional[int] = None,
        group: Optional[int] = None,
        description: Optional[str] = None,
    ) -> None:
        self._closed = True
        probe = Lock(
            name,
            lease,
            patience,
            directory=directory,
            mode=mode,
            group=group,
            description=description,
        )
        self._options = _Options(probe.path, probe.lease, mode, group, description)
        self._patience = probe.patience
        probe.close()
        self._line: Optional[_Line] = None
        self._holdings: List[_Holding] = []  # not given back
        self._entered: List[_Holding] = []  # by __aenter__, whether given back or not
        self._waiting = 0
        self._process = _process
        self._closed = False

    async def acquire(self, patience: Any = _AS_MADE) -> Grant:
        """Waits for the lock. LockTimeout if patience (seconds, a timedelta, or None: for ever)
        runs out; 0 tries once. In the Grant, `waited` counts from this call."""
        return (await self._acquire(patience)).grant

    def release(self) -> None:
        """Gives the lock back. LeaseLost if it was lost before; LockError if it is not held."""
        holding = self._needed("release")
        self._holdings.remove(holding)
        holding.release()

    def renew(self) -> None:
        """The lease starts anew, now. LeaseLost if it was lost before."""
        self._needed("renew").ask(Lock.renew)

    def close(self) -> None:
        """Gives back what is held; then it cannot be acquired any more. Harmless twice.
        RuntimeError if tasks wait with it."""
        if self._process is _process:
            if self._waiting:
                raise RuntimeError(f"tasks wait for {self.path} with this lock")
            for holding in self._holdings:
                holding.drop()
        self._holdings.clear()
        self._line = None
        self._closed = True

    @property
    def held(self) -> bool:
        holding = self._one_of(self._holdings)
        return holding is not None and holding.ask(_held)

    @property
    def token(self) -> Optional[int]:
        holding = self._one_of(self._holdings)
        return None if holding is None else holding.ask(_token)

    @property
    def remaining(self) -> float:
        """Seconds of the lease that are left; infinity without a lease; 0 if it is not held."""
        holding = self._one_of(self._holdings)
        return 0.0 if holding is None else holding.ask(_remaining)

    @property
    def path(self) -> str:
        return self._options.path

    @property
    def lease(self) -> Optional[float]:
        return self._options.lease

    @property
    def patience(self) -> Optional[float]:
        return self._patience

    @property
    def closed(self) -> bool:
        return self._closed

    async def __aenter__(self) -> Grant:
        holding = await self._acquire(_AS_MADE)
        self._entered.append(holding)
        return holding.grant

    async def __aexit__(self, kind: Any, *ignored: object) -> None:
        """A loss is raised unless an exception is under way; then it is logged."""
        holding = self._one_of(self._entered)
        if holding is None:
            return  # in a child
        self._entered.remove(holding)
        if holding not in self._holdings:
            return  # released, or closed, in the block
        self._holdings.remove(holding)
        try:
            holding.release()
        except LockError as error:
            if kind is None:
                raise
            lost_quietly(error)

    def __repr__(self) -> str:
        state = "closed" if self.closed else "held" if self.held else "not held"
        return f"<lockbyfile.aio.AsyncLock {self.path!r}, {state}>"

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError("an AsyncLock cannot be pickled or copied: make one from its path, there")

    async def _acquire(self, patience: Any) -> _Holding:
        if self._closed:
            raise ValueError(f"the lock {self.path} is closed")
        if self._process is not _process:
            self._process, self._waiting = _process, 0
            self._holdings.clear()
            self._entered.clear()
        self._forbid_deadlock()
        line = self._line = _line_of(self.path, self._line)
        start = line.loop.time()
        patience = self._patience if patience is _AS_MADE else patience
        holding, seconds = line.attempt(self._options, patience)
        if holding is None:
            self._waiting += 1
            try:
                holding = await line.wait(self._options, seconds)
            finally:
                self._waiting -= 1
            token, how, previous, _, place = holding.grant
            waited = line.loop.time() - start
            holding.grant = Grant((token, how, previous, waited, place))
        self._holdings.append(holding)
        return holding

    def _forbid_deadlock(self) -> None:
        mine = self._one_of(self._holdings)
        if mine is None or mine.task() is not asyncio.current_task():
            return
        if mine.ask(_held):
            text = f"cannot acquire {self.path}: this task holds it"
            raise error_of(_WOULD_DEADLOCK, text, self.path, True)
        self._holdings.remove(mine)
        mine.drop()

    def _one_of(self, holdings: List[_Holding]) -> Optional[_Holding]:
        """That of the calling task; else the oldest, first of tasks that have ended: wait_for()
        of Python 3.11 acquires in a task of its own."""
        if not holdings:
            return None
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return None
        here = [h for h in holdings if h.line.loop is loop and h.line.process is _process]
        current = asyncio.current_task()

        def distance(holding: _Holding) -> Tuple[bool, bool]:
            task = holding.task()
            return task is not current, task is not None and not task.done()

        return min(here, key=distance) if here else None

    def _needed(self, what: str) -> _Holding:
        if self._closed:
            raise ValueError(f"the lock {self.path} is closed")
        holding = self._one_of(self._holdings)
        if holding is None:
            text = f"cannot {what} {self.path}: it is not held"
            raise error_of(_NOT_HOLDER, text, self.path, True)
        return holding


def _held(lock: Lock) -> bool:
    return lock.held


def _token(lock: Lock) -> Optional[int]:
    return lock.token


def _remaining(lock: Lock) -> float:
    return lock.remaining


class _Options(NamedTuple):
    path: str
    lease: Optional[float]
    mode: Optional[int]
    group: Optional[int]
    description: Optional[str]

    def open(self) -> Lock:
        return Lock(
            self.path,
            self.lease,
            mode=self.mode,
            group=self.group,
            description=self.description,
        )


class _Holding:
    """A grant that is not given back, and what holds it: a Lock of the loop's thread, or a
    worker."""

    def __init__(self, line: _Line, grant: Grant, options: _Options) -> None:
        self.line = line
        self.grant = grant
        self.options = options
        self.session: Optional[Lock] = None
        self.worker: Optional[_Worker] = None
        self.task: Callable[[], Optional[asyncio.Task[Any]]] = lambda: None

    def ask(self, question: Callable[[Lock], T]) -> T:
        if self.worker is not None:
            return self.worker.ask(question)
        assert self.session is not None
        return question(self.session)

    def release(self) -> None:
        try:
            self.ask(Lock.release)
        finally:
            if self.session is not None:
                self.line.keep(self.options, self.session)
                self.session = None
            self.drop()

    def drop(self) -> None:
        if self.session is not None:
            self.session.close()
        if self.worker is not None:
            self.worker.end()
        self.session = self.worker = None

    def __del__(self) -> None:
        if self.worker is not None and self.line.process is _process:
            self.worker.let_go()


class _Waiter:
    def __init__(self, options: _Options, future: asyncio.Future[_Holding]) -> None:
        self.options = options
        self.future = future
        self.task = _current_task()


class _Line:
    """The tasks of one loop that wait for one path. Used on the loop's thread only."""

    def __init__(self, loop: asyncio.AbstractEventLoop, path: str) -> None:
        self.loop = loop
        self.path = path
        self.process: object = _process
        self._waiters: collections.OrderedDict[_Waiter, None] = collections.OrderedDict()
        self._worker: Optional[_Worker] = None
        self._idle: Optional[Tuple[_Options, Lock]] = None

    def attempt(
        self, options: _Options, patience: Any
    ) -> Tuple[Optional[_Holding], Optional[float]]:
        """Tries once if it is this one's turn (A1). Also tells the patience in seconds."""
        session = self._open(options)
        is_kept = True
        try:
            session.patience = patience  # which checks it
            seconds = session.patience
            if self._head() is not None and seconds != 0:
                return None, seconds
            try:
                grant = session.acquire(0)
            except LockError as error:
                if error.reason != "timed_out" or seconds == 0:
                    raise
                return None, seconds
            holding = _Holding(self, grant, options)
            holding.session = session
            holding.task = _current_task()
            is_kept = False
            return holding, seconds
        finally:
            if is_kept:
                self.keep(options, session)

    async def wait(self, options: _Options, seconds: Optional[float]) -> _Holding:
        waiter = _Waiter(options, self.loop.create_future())
        self._waiters[waiter] = None
        timer = None
        if seconds is not None:
            timer = self.loop.call_later(seconds, self._expire, waiter, seconds)
        try:
            self.serve()
            return await waiter.future
        except BaseException:  # also of a coroutine that is closed
            self._leave(waiter)
            raise
        finally:
            if timer is not None:
                timer.cancel()

    def serve(self) -> None:
        """(A2)"""
        while True:
            head = self._head()
            worker = self._worker
            if worker is not None and (head is None or head.options != worker.options):
                self._worker = None
                worker.end()
            if head is None or self._worker is not None:
                return
            try:
                self._worker = _Worker(self, head.options)
            except RuntimeError as error:  # no more threads
                del self._waiters[head]
                head.future.set_exception(error)

    def on_answer(self, worker: _Worker) -> None:
        if self._worker is not worker:
            return  # dismissed
        head = self._head()
        if head is not None and head.options == worker.options:
            self._worker = None
            del self._waiters[head]
            if worker.grant is not None:
                holding = _Holding(self, worker.grant, worker.options)
                holding.worker = worker
                holding.task = head.task
                head.future.set_result(holding)
            else:
                assert worker.error is not None
                worker.end()
                head.future.set_exception(worker.error)
        self.serve()

    def keep(self, options: _Options, session: Lock) -> None:
        """For the next one who tries."""
        if self._idle is not None:
            self._idle[1].close()
        self._idle = options, session

    def _open(self, options: _Options) -> Lock:
        if self._idle is None or self._idle[0] != options:
            return options.open()
        session = self._idle[1]
        self._idle = None
        return session

    def _head(self) -> Optional[_Waiter]:
        while self._waiters:
            head = next(iter(self._waiters))
            if not head.future.done():
                return head
            del self._waiters[head]  # cancelled, and not yet told
        return None

    def _expire(self, waiter: _Waiter, seconds: float) -> None:
        if self.process is not _process or waiter.future.done():
            return
        worker = self._worker
        if worker is not None and worker.grant is not None and self._head() is waiter:
            self.on_answer(worker)  # a grant that has arrived wins
        if not waiter.future.done():
            waiter.future.set_exception(timed_out(self.path, seconds, seconds))  # and so it leaves

    def _leave(self, waiter: _Waiter) -> None:
        if self.process is not _process:
            return
        self._waiters.pop(waiter, None)
        future = waiter.future
        if future.done() and not future.cancelled() and future.exception() is None:
            future.result().drop()  # granted and cancelled at once
        self.serve()


class _Worker:
    """A thread that waits for the head of a line, and is the holder afterwards (A3)."""

    def __init__(self, line: _Line, options: _Options) -> None:
        self.options = options
        self.grant: Optional[Grant] = None
        self.error: Optional[BaseException] = None
        self._line = line
        self._lock: Optional[Lock] = None
        self._is_unwanted = False
        self._requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
        name = f"lockbyfile {options.path}"
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()
        _workers.add(self)

    def ask(self, question: Callable[[Lock], T]) -> T:
        reply: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._requests.put((question, reply))
        answer, error = reply.get()
        if error is not None:
            raise error
        return answer  # type: ignore[no-any-return]

    def let_go(self) -> None:
        """Tells the thread to give back what it has, and to end."""
        self._is_unwanted = True
        self._requests.put(None)
        if self._lock is not None:
            self._lock._cancel()

    def end(self) -> None:
        """The same, and waits until it has ended (A5)."""
        self.let_go()
        while self._thread.is_alive():
            if self._lock is not None:
                self._lock._cancel()
            self._thread.join(0.001)

    def _run(self) -> None:
        try:
            self._wait()
            if not self._is_unwanted and self._tell():
                self._hold()
        finally:
            if self._lock is not None:
                self._lock.close()

    def _wait(self) -> None:
        try:
            self._lock = self.options.open()
            if not self._is_unwanted:
                self.grant = self._lock.acquire(None)
        except BaseException as error:  # for the one who waits
            self.error = error

    def _tell(self) -> bool:
        try:
            self._line.loop.call_soon_threadsafe(self._line.on_answer, self)
        except RuntimeError:  # the loop is closed
            return False
        return self.grant is not None

    def _hold(self) -> None:
        while (request := self._requests.get()) is not None:
            question, reply = request
            try:
                reply.put((question(self._lock), None))
            except BaseException as error:  # for the one who asked
                reply.put((None, error))


_process = object()  # (A6)
_here = threading.local()  # a thread's lines, as long as anybody uses them
_workers: weakref.WeakSet[_Worker] = weakref.WeakSet()


def _line_of(path: str, known: Optional[_Line]) -> _Line:
    loop = asyncio.get_running_loop()
    if known is not None and known.loop is loop and known.process is _process:
        return known
    lines = _here.__dict__.setdefault("lines", weakref.WeakValueDictionary())
    line: Optional[_Line] = lines.get((loop, path))
    if line is None:
        line = lines[loop, path] = _Line(loop, path)
    return line


def _current_task() -> Callable[[], Optional[asyncio.Task[Any]]]:
    task = asyncio.current_task()
    if task is None:
        return lambda: None
    return weakref.ref(task)


@atexit.register
def _end_all() -> None:
    for worker in list(_workers):
        worker.end()


def _after_fork_in_child() -> None:
    global _process, _here, _workers
    _process = object()
    _here = threading.local()
    _workers = weakref.WeakSet()


os.register_at_fork(after_in_child=_after_fork_in_child)
