# SPDX-License-Identifier: Apache-2.0
"""The app, which has no models: system checks and `manage.py locked`."""

from __future__ import annotations

import contextlib
import os
from typing import Any, List

from django.apps import AppConfig
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.db import connections

from .. import Lock, LockError, remove
from . import _AS_SET, _Options, said_in_settings


class LockByFileConfig(AppConfig):  # type: ignore[misc]
    name = "lockbyfile.django"
    label = "lockbyfile"
    verbose_name = "Locks by file"

    def ready(self) -> None:
        checks.register(check_directory)
        checks.register(check_isolation)


def check_directory(**ignored: Any) -> List[Any]:
    """Opens a lockfile of its own in DIR, and removes it; and those of the databases, if they are
    there."""
    try:
        probe = _Options.of("lockbyfile-check", _AS_SET)
        Lock(**probe._asdict(), patience=said_in_settings()["PATIENCE"]).close()
        remove(probe.name)
        for alias in connections:
            options = _Options.of(alias, _AS_SET)
            if os.path.exists(options.name):
                Lock(**options._asdict()).close()
    except LockError as error:
        if error.reason == "network_filesystem":
            with contextlib.suppress(OSError):
                os.remove(probe.name)  # it was created before it was seen where
            text = f"The locks do not work in a directory that other machines may share: {error}"
            return [checks.Warning(text, hint="Set LOCKBYFILE['DIR'].", id="lockbyfile.W001")]
        if error.reason in ("in_use", "not_found"):
            return []  # by a check beside this one
        hint = (
            "The server has to create, read and write the files in LOCKBYFILE['DIR']. If several "
            "users run the project, MODE and GROUP let them share the files that are created."
        )
        return [checks.Error(f"Cannot lock: {error}", hint=hint, id="lockbyfile.E001")]
    except (ImproperlyConfigured, TypeError, ValueError) as error:
        hint = "See LOCKBYFILE in the settings."
        return [checks.Error(f"Cannot lock: {error}", hint=hint, id="lockbyfile.E002")]
    return []


def check_isolation(**ignored: Any) -> List[Any]:
    """MySQL's transactions can write what they computed from a snapshot older than the lock."""
    return [
        checks.Warning(
            f"The database {connection.alias!r} has transactions of isolation 'repeatable read': "
            "those that read before they lock lose updates.",
            hint="Take db_lock() before the transaction begins, or set 'isolation_level'.",
            id="lockbyfile.W002",
        )
        for connection in connections.all()
        if connection.vendor == "mysql" and _isolation(connection) == "repeatable read"
    ]


def _isolation(connection: Any) -> str:
    level = connection.settings_dict.get("OPTIONS", {}).get("isolation_level", "read committed")
    return str(level or "repeatable read").lower()  # None: what MySQL has by itself
