# SPDX-License-Identifier: Apache-2.0
"""What several files of tests need."""

from __future__ import annotations

import sys
import time
from typing import Any, Callable, Optional, Tuple


def eventually(event: Callable[[], bool]) -> None:
    """Waits for an event, for a minute at the most."""
    end = time.monotonic() + 60
    while not event():
        if time.monotonic() > end:
            raise AssertionError("it does not happen")
        time.sleep(0.001)


def interrupt(function: Callable[[], Any], file: str, at: int) -> Optional[Tuple[str, int]]:
    """Calls the function, and raises in it before the `at`th line that it runs of that file.

    The exception comes as from a signal's handler. Returns the line's place, or None if the
    function runs fewer lines.
    """

    class Interrupt(BaseException):
        pass

    lines = 0
    place = None

    def trace(frame: Any, event: str, argument: Any) -> Any:
        nonlocal lines, place
        if not frame.f_code.co_filename.endswith(file):
            return None
        if event == "line":
            lines += 1
            if lines == at:
                place = frame.f_code.co_name, frame.f_lineno
                raise Interrupt
        return trace

    sys.settrace(trace)
    try:
        function()
    except Interrupt:
        pass
    finally:
        sys.settrace(None)
    return place
