# SPDX-License-Identifier: Apache-2.0
"""manage.py locked COMMAND ...: one at a time, as `lockbyfile run` does for other programs."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import threading
from types import FrameType
from typing import Any, Callable, Iterator, List, Optional

from django.core.exceptions import ImproperlyConfigured
from django.core.management import ManagementUtility
from django.core.management.base import BaseCommand, CommandError

from .... import LockError, LockTimeout
from ... import _AS_SET, db_lock

EX_PATIENCE_RAN_OUT = 75  # those of `lockbyfile run`
EX_GRANT_LOST = 76


class Command(BaseCommand):  # type: ignore[misc]
    help = (
        "Runs a management command under a lock, so that it does not run twice at a time. The "
        "lease is renewed as long as it runs."
    )
    requires_system_checks: List[str] = []  # the command has its own

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--lock", metavar="NAME", help="the lock (manage-COMMAND)")
        parser.add_argument(
            "--patience",
            metavar="SECONDS",
            type=float,
            default=_AS_SET,
            help="how long to wait; 0: try once; exit code 75 if that was too short",
        )
        parser.add_argument("command_line", metavar="COMMAND", nargs=argparse.REMAINDER)

    def handle(self, *args: Any, **options: Any) -> None:
        command_line = options["command_line"]
        if command_line[:1] == ["--"]:
            del command_line[0]
        if not command_line:
            raise CommandError("which command? As in: manage.py locked clearsessions")
        argv = ["manage.py", *command_line]
        command = ManagementUtility(argv).fetch_command(command_line[0])
        lock = db_lock(options["lock"] or f"manage-{command_line[0]}", patience=options["patience"])
        losses: List[LockError] = []
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(lock)
            except LockTimeout as error:
                raise CommandError(str(error), returncode=EX_PATIENCE_RAN_OUT) from error
            except (LockError, ImproperlyConfigured, ValueError) as error:
                raise CommandError(str(error)) from error
            try:
                with _interruptions(losses) as interrupt, lock.keep_alive(interrupt):
                    command.run_from_argv(argv)
            except BaseException as error:
                if losses:
                    raise CommandError(str(losses[0]), returncode=EX_GRANT_LOST) from error
                raise
            if losses:  # and the command did not mind
                raise CommandError(str(losses[0]), returncode=EX_GRANT_LOST)


@contextlib.contextmanager
def _interruptions(losses: List[LockError]) -> Iterator[Callable[[LockError], None]]:
    """Interrupts the command after a loss, as Ctrl-C does, even if Ctrl-C is ignored.

    Any other SIGINT goes to the handler that was there, which is put back at the end. Only the main
    thread of Python can be interrupted, and not if the handler is another language's. A loss that
    cannot interrupt the command is reported when the command is done.
    """
    before = signal.getsignal(signal.SIGINT)
    if before is None or threading.current_thread() is not threading.main_thread():
        yield losses.append
        return

    def handle(number: int, frame: Optional[FrameType]) -> None:
        if losses:
            raise KeyboardInterrupt
        if callable(before):
            before(number, frame)
        elif before == signal.SIG_DFL:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGINT)

    def interrupt(loss: LockError) -> None:
        losses.append(loss)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    signal.signal(signal.SIGINT, handle)
    try:
        yield interrupt
    finally:
        if signal.getsignal(signal.SIGINT) is handle:  # the command may have set its own
            signal.signal(signal.SIGINT, before)
