# SPDX-License-Identifier: Apache-2.0
"""The stage of a run of the shop. A real shop needs none of it.

For the picture, it records when each worker waited for the lock and held it. For the tests, it
stops a worker in the middle.
"""

import contextlib
import os
import signal
import time

from django.conf import settings

TRACE = settings.DATA / "trace"


def note(asked, granted, grant):
    token = 0 if grant is None else grant.token
    line = f"{os.getpid()} {asked:.6f} {granted:.6f} {time.monotonic():.6f} {token}\n"
    file = os.open(TRACE, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.write(file, line.encode())
    finally:
        os.close(file)


def stop_if_asked():
    """The first worker to find the file `stop` renames it to its pid, and stops."""
    with contextlib.suppress(FileNotFoundError):
        os.rename(settings.DATA / "stop", settings.DATA / f"stopped-{os.getpid()}")
        os.kill(os.getpid(), signal.SIGSTOP)
