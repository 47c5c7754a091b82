# SPDX-License-Identifier: Apache-2.0
"""The lock for asyncio.

    from lockbyfile.aio import AsyncLock

    async with AsyncLock("nightly", lease=600, patience=30) as grant:
        print("working under token", grant.token)

A Lock blocks its thread while it waits, and its grant belongs to that thread. One thread for each
waiter would work, but a thousand waiters would need a thousand threads. So the waiters of one path
and one event loop stand in one queue of this process, the _Line. Only its first waiter, the head,
joins the wait queue of the file:

(A1) A task that finds the line empty, or has no patience, tries on the loop's thread, if that
     cannot block. The loop's thread then holds a free lock, and no other thread is started.
(A2) While a line has waiters, it has one worker: a thread that waits for the head in the wait queue
     of the file. While a line has no waiters, it has no worker. _Line.serve() restores this after
     each change, on the loop's thread. A dismissed worker ends by itself. The loop waits for that
     a moment, and no longer.
(A3) The worker that was granted the lock holds it until it is released, and then ends. About a lock
     in a file the loop asks the worker, and waits for the answer, some ten microseconds.
(A4) If the head leaves, the worker goes on waiting for the next task. If the options are the same,
     that task inherits the place in the wait queue of the file. Otherwise a new worker starts at
     the end of that queue.
(A5) A dismissed worker's Lock is cancelled for good, so that a wait that is about to begin ends,
     too. The worker releases a grant that came too late.
(A6) In a child after fork there are no workers, and `_process` is another object. An object that
     remembers the old one holds nothing, and nobody waits for it.
(A7) The loop makes no call that waits for a server, or for another process that sets up the file.
     A helper thread opens the lock, and ends after that. A worker always holds a lock in etcd, and
     answers calls there by a future.

So at any time a line costs one thread for each grant that came by waiting and is not released:
usually one. If tasks wait, it costs one more. In the wait queue of the file each line has one place
at a time: order of arrival holds among the tasks of a loop, and among the heads.
"""

from __future__ import annotations

import asyncio
import atexit
import collections
import contextlib
import os
import queue
import threading
import weakref
from typing import (
    Any,
    Awaitable,
    Callable,
    Generator,
    List,
    NamedTuple,
    Optional,
    Tuple,
    TypeVar,
)

from . import Grant, Lock, _lockbyfile
from ._decorator import refuse_borrowed_names
from ._errors import (
    LockError,
    LockState,
    error_of,
    left_by_a_child,
    log,
    lost_quietly,
    state_of,
    timeout_of,
)
from ._types import Duration, Path

__all__ = ["AsyncLock"]

T = TypeVar("T")

_WOULD_DEADLOCK, _NOT_HOLDER = 3, 4
_AS_MADE: Any = object()
_A_MOMENT = 0.02  # seconds that the loop may be kept
_FOR_A_MESSAGE = 0.2  # seconds to look for who holds the lock, of whom only a message tells


class AsyncLock:
    """A lock by name for tasks, by `async with`, or by acquire() and release().

    The arguments are those of Lock. Tasks may share an AsyncLock, and exclude each other. Tasks
    that were cancelled while they waited hold nothing and are in nobody's way.

    `held`, `token`, `remaining`, renew() and release() are about one grant of the running loop:
    that of the calling task, or, if it has none, the oldest that was not released. They are plain
    methods, for tasks and callbacks of that loop; outside of it nothing is held. If a task ends
    while it holds a grant, the grant is not released. After fork the child holds nothing.

    No call blocks the loop. Opening may take longer than a moment: a server does not answer, or
    another process was stopped while it set up the file. Then the constructor returns. The first
    acquire() waits for the opening and raises its errors. After an error the next acquire() opens
    the lock anew.
    """

    @refuse_borrowed_names
    def __init__(
        self,
        name: Path,
        lease: Duration = None,
        patience: Duration = None,
        *,
        directory: Optional[Path] = None,
        mode: Optional[int] = None,
        group: Optional[int] = None,
        description: Optional[str] = None,
        any_filesystem: bool = False,
    ) -> None:
        self._closed = True
        self._name = os.fsdecode(name)
        self._lease = _lockbyfile._duration(lease, "lease")
        self._patience = _lockbyfile._duration(patience, "patience")
        self._options: Optional[_Options] = None
        self._line: Optional[_Line] = None
        self._holdings: List[_Holding] = []  # not given back
        self._entered: List[_Holding] = []  # by __aenter__, whether given back or not
        self._waiting = 0
        self._process = _process
        self._probe: Optional[Lock] = None

        def open_probe() -> Lock:
            return Lock(
                name,
                lease,
                patience,
                directory=directory,
                mode=mode,
                group=group,
                description=description,
                any_filesystem=any_filesystem,
            )

        self._made_with = mode, group, description, any_filesystem
        self._open_probe = open_probe
        self._opening: Optional[_Helper] = None
        if _is_in_a_loop():
            opening = self._begin_opening()
            opening.wait(_A_MOMENT)
            if opening.is_done:
                self._finish_opening(opening)
        else:
            self._take(open_probe())
        self._closed = False

    async def acquire(self, patience: Duration = _AS_MADE) -> Grant:
        """Waits for the lock. LockTimeout if patience (seconds, a timedelta, or None: forever)
        runs out; 0 tries once. In the Grant, `waited` counts from this call."""
        return (await self._acquire(patience)).grant

    def release(self) -> Awaitable[None]:
        """Releases the lock. LeaseLost if it was lost before; LockError if it is not held.

        For a lock in a file the release is done when the call returns, and the call raises errors.
        For a lock in etcd the release has only begun: the result tells how it ends. The result need
        not be awaited. A failure that nobody awaits is logged.
        """
        holding = self._needed("release")
        self._holdings.remove(holding)
        return holding.release()

    def renew(self) -> Awaitable[None]:
        """Starts the lease anew. LeaseLost if it was lost before. The result is as release()'s."""
        return self._needed("renew").tell(Lock.renew)

    def keep_alive(self, on_lost: Optional[Callable[[LockError], object]] = None) -> _KeepAlive:
        """A context, for `with` or `async with`, in which the lease is renewed every third of its
        length, by a thread of C++, also while the loop is busy. If the lock is lost, `on_lost` is
        called once, by the loop."""
        if on_lost is not None and not callable(on_lost):
            raise TypeError("on_lost must be callable")
        return _KeepAlive(self._needed("keep alive"), on_lost)

    def close(self) -> None:
        """Releases the grants; then it cannot be acquired any more. Harmless twice.
        RuntimeError if tasks wait with it."""
        if self._process is _process:
            if self._waiting:
                raise RuntimeError(f"tasks wait for {self.path} with this lock")
            for holding in self._holdings:
                holding.drop()
            if self._probe is not None:
                self._probe.close()
            if self._opening is not None:
                self._opening.let_go()
        self._probe = None
        self._holdings.clear()
        self._line = None
        self._closed = True

    @property
    def held(self) -> bool:
        holding = self._one_of(self._holdings)
        return holding is not None and holding.peek()[0]

    @property
    def token(self) -> Optional[int]:
        holding = self._one_of(self._holdings)
        return None if holding is None else holding.peek()[1]

    @property
    def remaining(self) -> float:
        """Seconds of the lease that are left; infinity without a lease; 0 if it is not held."""
        holding = self._one_of(self._holdings)
        return 0.0 if holding is None else holding.peek()[2]

    @property
    def path(self) -> str:
        """The lockfile; until it is open, the name as it was given."""
        return self._name if self._options is None else self._options.path

    @property
    def lease(self) -> Optional[float]:
        return self._lease

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
        if holding is None:  # in a child
            left_by_a_child(self.path)
            return
        self._entered.remove(holding)
        if holding not in self._holdings:
            return  # released, or closed, in the block
        self._holdings.remove(holding)
        try:
            await holding.release()
        except LockError as error:
            if kind is None:
                raise
            lost_quietly(error)

    def __repr__(self) -> str:
        state = "closed" if self.closed else "held" if self.held else "not held"
        return f"<lockbyfile.aio.AsyncLock {self.path!r}, {state}>"

    def __reduce_ex__(self, protocol: object) -> Any:
        raise TypeError("an AsyncLock cannot be pickled or copied: make one from its path, there")

    async def _acquire(self, patience: Duration) -> _Holding:
        if self._closed:
            raise ValueError(f"the lock {self.path} is closed")
        if self._process is not _process:
            self._process, self._waiting = _process, 0
            self._holdings.clear()
            self._entered.clear()
            self._probe = self._opening = None
        self._forbid_deadlock()
        start = asyncio.get_running_loop().time()
        seconds = (
            self._patience
            if patience is _AS_MADE
            else _lockbyfile._duration(patience, "patience")
        )
        self._waiting += 1
        try:
            options = await self._opened()
            line = self._line = _line_of(options.path, self._line)
            if self._probe is not None:
                self._probe._adopt()
                line.keep(options, self._probe)
                self._probe = None
            holding = line.attempt(options, seconds)
            if holding is None:
                holding = await line.wait(options, seconds)
                token, how, previous, _, place = holding.grant
                waited = line.loop.time() - start
                holding.grant = Grant((token, how, previous, waited, place))
        finally:
            self._waiting -= 1
        self._holdings.append(holding)
        return holding

    async def _opened(self) -> _Options:
        if self._options is None:
            # Anew if the last attempt failed. Tasks that wait for one attempt share its error.
            opening = self._opening or self._begin_opening()
            await opening.result_in_loop()
            if self._options is None:  # no other task has been here meanwhile
                self._finish_opening(opening)
        assert self._options is not None
        return self._options

    def _begin_opening(self) -> _Helper:
        self._opening = _Helper(self._open_probe)
        self._abandon = weakref.finalize(self, self._opening.let_go)
        return self._opening

    def _take(self, probe: Lock) -> None:
        self._options = _Options(probe.path, probe.lease, *self._made_with)
        self._probe = probe

    def _finish_opening(self, opening: _Helper) -> None:
        if self._opening is opening:
            self._opening = None
            self._abandon.detach()
        try:
            self._take(opening.value())
            assert self._probe is not None
            self._probe._adopt()
        finally:
            opening.end()

    def _forbid_deadlock(self) -> None:
        mine = self._one_of(self._holdings)
        if mine is None or mine.task() is not asyncio.current_task():
            return
        if mine.peek()[0]:
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


class _KeepAlive:
    def __init__(
        self, holding: _Holding, on_lost: Optional[Callable[[LockError], object]]
    ) -> None:
        self._holding: Optional[_Holding] = holding
        loop = holding.line.loop

        def tell(error: LockError) -> None:
            if on_lost is not None:
                with contextlib.suppress(RuntimeError):  # the loop is closed
                    loop.call_soon_threadsafe(on_lost, error)

        holding.tell(lambda lock: lock._start_keeping(tell))

    def stop(self) -> Awaitable[None]:
        """Ends the renewals, not the grant. Harmless twice."""
        holding, self._holding = self._holding, None
        if holding is None or holding.is_over():
            return _Done()
        return holding.tell(lambda lock: lock._stop_keeping())

    def __enter__(self) -> _KeepAlive:
        return self

    def __exit__(self, *ignored: object) -> None:
        self.stop()

    async def __aenter__(self) -> _KeepAlive:
        return self

    async def __aexit__(self, *ignored: object) -> None:
        await self.stop()


class _Done:
    """An answer that came at once."""

    def __await__(self) -> Generator[Any, None, None]:
        return
        yield


def _is_in_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


class _Helper:
    """A thread that makes a call which may wait, and then lives until it is dismissed.

    A Lock that it opened is its own until the loop's thread adopts it.
    """

    def __init__(self, call: Callable[[], Any]) -> None:
        self._call = call
        self._value: Any = None
        self._error: Optional[BaseException] = None
        self._done = threading.Event()
        self._is_adopted = threading.Event()
        self._waiting: List[Tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = []
        self._mutex = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="lockbyfile helper", daemon=True)
        self._thread.start()

    @property
    def is_done(self) -> bool:
        return self._done.is_set()

    def wait(self, seconds: float) -> None:
        self._done.wait(seconds)

    def value(self) -> Any:
        if self._error is not None:
            raise self._error
        return self._value

    def let_go(self) -> None:
        self._is_adopted.set()

    def end(self) -> None:
        self.let_go()
        self._thread.join(_A_MOMENT)

    async def result_in_loop(self) -> None:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        with self._mutex:
            if self.is_done:
                return
            self._waiting.append((loop, future))
        await future

    def _run(self) -> None:
        try:
            self._value = self._call()
        except BaseException as error:  # for the one who asked
            self._error = error
        with self._mutex:
            self._done.set()
        for loop, future in self._waiting:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(_wake, future)
        if self._error is None:
            self._is_adopted.wait()


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class _Options(NamedTuple):
    path: str
    lease: Optional[float]
    mode: Optional[int]
    group: Optional[int]
    description: Optional[str]
    any_filesystem: bool

    def open(self) -> Lock:
        return Lock(
            self.path,
            self.lease,
            mode=self.mode,
            group=self.group,
            description=self.description,
            any_filesystem=self.any_filesystem,
        )

    @property
    def is_remote(self) -> bool:
        return not self.path.startswith("/")


class _Holding:
    """A grant that is not released, and its keeper: a Lock of the loop's thread, or a worker."""

    def __init__(self, line: _Line, grant: Grant, options: _Options) -> None:
        self.line = line
        self.grant = grant
        self.options = options
        self.session: Optional[Lock] = None
        self.worker: Optional[_Worker] = None
        self.task: Callable[[], Optional[asyncio.Task[Any]]] = lambda: None

    def tell(self, order: Callable[[Lock], None]) -> Awaitable[None]:
        """Done at once where that takes no time, otherwise by the worker (A7)."""
        if self.worker is None:
            assert self.session is not None
            order(self.session)
        elif self.options.is_remote:
            return self.worker.post(order, self.line.loop)
        else:
            self.worker.ask(order)
        return _Done()

    def peek(self) -> Tuple[bool, Optional[int], float]:
        """held, token and remaining, from memory."""
        lock = self.session if self.worker is None else self.worker.lock
        assert lock is not None
        return lock._peek()

    def is_over(self) -> bool:
        return self.session is None and self.worker is None

    def release(self) -> Awaitable[None]:
        try:
            return self.tell(Lock.release)
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


class _TooLate(Exception):
    """Patience has run out."""


class _Line:
    """The tasks of one loop that wait for one path. Used on the loop's thread only."""

    def __init__(self, loop: asyncio.AbstractEventLoop, path: str) -> None:
        self.loop = loop
        self.path = path
        self.process: object = _process
        self._waiters: collections.OrderedDict[_Waiter, None] = collections.OrderedDict()
        self._worker: Optional[_Worker] = None
        self._idle: Optional[Tuple[_Options, Lock]] = None

    def attempt(self, options: _Options, seconds: Optional[float]) -> Optional[_Holding]:
        """Tries once if it is the turn of this waiter, and if that cannot block (A1)."""
        if self._head() is not None and seconds != 0:
            return None
        if self._idle is None or self._idle[0] != options:
            return None
        session = self._idle[1]
        self._idle = None
        is_kept = True
        try:
            grant = session._try_at_once()
            if grant is None:
                if session._is_remote or session._has_moved():
                    return None
                try:
                    grant = session.acquire(0)
                except LockError as error:
                    if error.reason != "timed_out" or seconds == 0:
                        raise
                    return None
            holding = _Holding(self, grant, options)
            holding.session = session
            holding.task = _current_task()
            is_kept = False
            return holding
        finally:
            if is_kept:
                self.keep(options, session)

    async def wait(self, options: _Options, seconds: Optional[float]) -> _Holding:
        waiter = _Waiter(options, self.loop.create_future())
        if seconds == 0:
            return await self._try(waiter)
        self._waiters[waiter] = None
        timer = None
        if seconds is not None:
            timer = self.loop.call_later(seconds, self._expire, waiter, seconds)
        try:
            self.serve()
            return await waiter.future
        except _TooLate:
            pass
        except BaseException:  # also of a coroutine that is closed
            self._leave(waiter)
            raise
        finally:
            if timer is not None:
                timer.cancel()
        assert seconds is not None
        # Those of this line, of whom the head alone waits in the line of the lock.
        others = sum(1 for w in self._waiters if w is not waiter and not w.future.done())
        behind = 1 if self._worker is not None and self._worker.is_waiting else 0
        state = None if options.is_remote else state_of(self.path)
        self._leave(waiter)
        if options.is_remote:
            state = await self._state_of_a_server()
            behind = 0  # it has left, or stands for others
        elsewhere = max(0, len(state.waiters) - behind) if state else 0
        raise timeout_of(self.path, seconds, seconds, state, elsewhere + others)

    async def _state_of_a_server(self) -> Optional[LockState]:
        helper = _Helper(lambda: state_of(self.path))
        helper.let_go()
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(helper.result_in_loop(), _FOR_A_MESSAGE)
        return helper.value() if helper.is_done else None

    async def _try(self, waiter: _Waiter) -> _Holding:
        """Without patience, where the loop's thread cannot do it: by a worker beside the line."""

        def on_answer(worker: _Worker) -> None:
            if waiter.future.done():
                worker.let_go()
            else:
                self._answer(waiter, worker)

        worker = _Worker(self, waiter.options, on_answer, 0)
        try:
            return await waiter.future
        except BaseException:
            worker.let_go()
            raise

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
                self._worker = _Worker(self, head.options, self.on_answer, None)
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
            self._answer(head, worker)
        self.serve()

    def _answer(self, waiter: _Waiter, worker: _Worker) -> None:
        if worker.grant is not None:
            holding = _Holding(self, worker.grant, worker.options)
            holding.worker = worker
            holding.task = waiter.task
            waiter.future.set_result(holding)
        else:
            assert worker.error is not None
            worker.end()
            waiter.future.set_exception(worker.error)

    def keep(self, options: _Options, session: Lock) -> None:
        """For the next waiter that tries."""
        if self._idle is not None and self._idle[1] is not session:
            self._close(self._idle)
        self._idle = options, session

    @staticmethod
    def _close(idle: Tuple[_Options, Lock]) -> None:
        if idle[0].is_remote:
            _Helper(idle[1].close).let_go()
        else:
            idle[1].close()

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
            waiter.future.set_exception(_TooLate())  # and so it leaves

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

    def __init__(
        self,
        line: _Line,
        options: _Options,
        on_answer: Callable[[_Worker], None],
        patience: Optional[float],
    ) -> None:
        self.options = options
        self.grant: Optional[Grant] = None
        self.error: Optional[BaseException] = None
        self.lock: Optional[Lock] = None
        self.is_waiting = False
        self._line = line
        self._on_answer = on_answer
        self._patience = patience
        self._is_unwanted = False
        self._requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
        name = f"lockbyfile {options.path}"
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()
        _workers.add(self)

    def ask(self, question: Callable[[Lock], T]) -> T:
        reply: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._requests.put((question, reply.put))
        answer, error = reply.get()
        if error is not None:
            raise error
        return answer  # type: ignore[no-any-return]

    def post(
        self, order: Callable[[Lock], None], loop: asyncio.AbstractEventLoop
    ) -> Awaitable[None]:
        """The same, answered in the loop."""
        promise = _Promise(loop)
        self._requests.put((order, promise.answer))
        return promise

    def let_go(self) -> None:
        """Makes the thread release its grant, and end (A5)."""
        self._is_unwanted = True
        self._requests.put(None)
        if self.lock is not None:
            self.lock._cancel(True)

    def end(self) -> None:
        """The same, and waits a moment for that, but not for a server (A7)."""
        self.let_go()
        if not self.options.is_remote:
            self._thread.join(_A_MOMENT)

    def join(self) -> None:
        """At the end of the program."""
        self.let_go()
        self._thread.join(_A_MOMENT if self.options.is_remote else None)

    def _run(self) -> None:
        try:
            self._wait()
            if not self._is_unwanted and self._tell():
                self._hold()
        finally:
            if self.lock is not None:
                self.lock.close()

    def _wait(self) -> None:
        try:
            self.lock = self.options.open()
            if self._is_unwanted:
                return
            self.is_waiting = True
            try:
                self.grant = self.lock.acquire(self._patience)
            finally:
                self.is_waiting = False
        except BaseException as error:  # for the one who waits
            self.error = error

    def _tell(self) -> bool:
        try:
            self._line.loop.call_soon_threadsafe(self._on_answer, self)
        except RuntimeError:  # the loop is closed
            return False
        return self.grant is not None

    def _hold(self) -> None:
        while (request := self._requests.get()) is not None:
            question, reply = request
            try:
                reply((question(self.lock), None))
            except BaseException as error:  # for the one who asked
                reply((None, error))


class _Promise:
    """The later answer of a server. If nobody awaits it, a failure is logged."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._future: asyncio.Future[None] = loop.create_future()
        self._is_awaited = False

    def answer(self, result: Tuple[Any, Optional[BaseException]]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._settle, result[1])

    def _settle(self, error: Optional[BaseException]) -> None:
        if self._future.done():
            return
        if error is None:
            self._future.set_result(None)
        elif self._is_awaited:
            self._future.set_exception(error)
        else:
            log.warning("%s", error)
            self._future.set_exception(error)
            self._future.exception()  # it has been told

    def __await__(self) -> Generator[Any, None, None]:
        self._is_awaited = True
        return self._future.__await__()


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
        worker.join()


def _after_fork_in_child() -> None:
    global _process, _here, _workers
    _process = object()
    _here = threading.local()
    _workers = weakref.WeakSet()


os.register_at_fork(after_in_child=_after_fork_in_child)
