# SPDX-License-Identifier: Apache-2.0
"""manage.py locked COMMAND ...: one at a time, as `lockbyfile run` does for other programs."""

from __future__ import annotations

import argparse
import contextlib
import signal
import threading
from typing import Any, Callable, List

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
                with lock.keep_alive(_interruption(losses)):
                    command.run_from_argv(argv)
            except BaseException as error:
                if losses:
                    raise CommandError(str(losses[0]), returncode=EX_GRANT_LOST) from error
                raise
            if losses:  # and the command did not mind
                raise CommandError(str(losses[0]), returncode=EX_GRANT_LOST)


def _interruption(losses: List[LockError]) -> Callable[[LockError], None]:
    """What interrupts the command, as Ctrl-C does, also where that was ignored."""
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def interrupt(loss: LockError) -> None:
        losses.append(loss)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    return interrupt
