# SPDX-License-Identifier: Apache-2.0
"""Makes a context manager a decorator, of functions that run to their end where they are called."""

from __future__ import annotations

import functools
import inspect
from typing import Any, Callable, ContextManager, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])


def run_under(lock: ContextManager[Any], function: Function) -> Function:
    kind = type(lock).__name__
    if not callable(function):
        raise TypeError(f"a {kind} decorates functions, not {type(function).__name__}")
    name = getattr(function, "__qualname__", repr(function))
    if inspect.isclass(function):
        raise TypeError(f"{name} is a class: a {kind} decorates its methods")
    both = function, getattr(type(function), "__call__", None)
    if any(inspect.iscoroutinefunction(f) or inspect.isasyncgenfunction(f) for f in both):
        raise TypeError(f"{name} is async, and a {kind} would block its loop")
    if any(inspect.isgeneratorfunction(f) for f in both):
        raise TypeError(f"{name} is a generator: lock where it is consumed")

    @functools.wraps(function)
    def locked(*args: Any, **kwargs: Any) -> Any:
        with lock:
            return function(*args, **kwargs)

    return locked  # type: ignore[return-value]


_HINTS = {
    "blocking": "patience says how long to wait, and patience=0 tries once",
    "timeout": "patience says how long to wait for the lock, lease how long it lasts",
}


def refuse_borrowed_names(initialise: Function) -> Function:
    """Of an __init__: names what threading.Lock and others call otherwise."""

    @functools.wraps(initialise)
    def checked(self: Any, *args: Any, **kwargs: Any) -> None:
        for name in kwargs:
            if name in _HINTS:
                kind = type(self).__name__
                raise TypeError(f"{kind}() has no argument {name!r}: {_HINTS[name]}")
        initialise(self, *args, **kwargs)

    return checked  # type: ignore[return-value]
