# SPDX-License-Identifier: Apache-2.0
"""lockbyfile.django: when and to whom a db_lock is given back, and what users may do wrong."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import grp
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from typing import Any, Callable, Iterator
from unittest import mock

import django
from django.conf import settings

project = tempfile.TemporaryDirectory()
settings.configure(
    INSTALLED_APPS=["lockbyfile.django"],
    DATABASES={
        alias: {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": os.path.join(project.name, alias + ".sqlite3"),
        }
        for alias in ("default", "other")
    },
    CACHES={"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}},
    LOCKBYFILE={"DIR": project.name, "TIMEOUT": None},
    USE_TZ=True,
)
django.setup()

from django.core import checks  # noqa: E402
from django.core.cache import cache  # noqa: E402
from django.core.exceptions import ImproperlyConfigured, SynchronousOnlyOperation  # noqa: E402
from django.db import DatabaseError, connection, connections, models, transaction  # noqa: E402
from django.db.models.signals import post_save  # noqa: E402
from django.test import TestCase, override_settings  # noqa: E402

from lockbyfile import LeaseLost, Lock, LockError, LockTimeout, break_lock, observe, remove  # noqa: E402
from lockbyfile.django import db_lock, get_or_set  # noqa: E402
from support import eventually, interrupt  # noqa: E402


class Counter(models.Model):  # type: ignore[misc]
    value = models.IntegerField(default=0)

    class Meta:
        app_label = "lockbyfile"


def path_of(name: str = "default") -> str:
    return os.path.join(project.name, name + ".lockfile")


def is_free(name: str = "default") -> bool:
    return not os.path.exists(path_of(name)) or observe(path_of(name)).holder is None


class Worker(threading.Thread):
    """A thread with a connection of its own, which tells what it raised."""

    def __init__(self, work: Callable[[], Any]) -> None:
        super().__init__()
        self.work = work
        self.error: Any = None
        self.start()

    def run(self) -> None:
        try:
            self.work()
        except BaseException as error:
            self.error = error
        finally:
            connections.close_all()

    def finish(self) -> None:
        self.join()
        if self.error is not None:
            raise self.error


def setUpModule() -> None:
    with connection.schema_editor() as editor:
        editor.create_model(Counter)


def tearDownModule() -> None:
    connections.close_all()
    project.cleanup()


class WithACounter(unittest.TestCase):
    def setUp(self) -> None:
        Counter.objects.all().delete()
        self.pk = Counter.objects.create().pk

    def tearDown(self) -> None:
        self.assertTrue(is_free(), "a test has left the lock held")

    def value(self) -> int:
        return int(Counter.objects.get(pk=self.pk).value)

    def write(self, value: int) -> None:
        Counter.objects.filter(pk=self.pk).update(value=value)


class ALockInATransaction(WithACounter):
    def update_by_two(self, lock: Callable[[], Any], has_read: threading.Event) -> None:
        """Both count by one. The first commits when the second has read, or is seen to wait."""
        entered = threading.Event()
        may_commit = threading.Event()

        def first() -> None:
            with transaction.atomic():
                with lock():
                    self.write(self.value() + 1)
                entered.set()
                may_commit.wait(60)

        def second() -> None:
            with lock():
                value = self.value()
                has_read.set()
                may_commit.wait(60)
                self.write(value + 1)

        one = Worker(first)
        entered.wait(60)
        two = Worker(second)
        eventually(lambda: has_read.is_set() or bool(observe(path_of()).waiters))
        may_commit.set()
        one.finish()
        two.finish()

    def test_that_is_given_back_before_the_commit_loses_an_update(self) -> None:
        has_read = threading.Event()
        self.update_by_two(lambda: Lock(path_of()), has_read)
        self.assertEqual(self.value(), 1)

    def test_is_given_back_after_the_commit_and_loses_none(self) -> None:
        has_read = threading.Event()
        self.update_by_two(db_lock, has_read)
        self.assertEqual(self.value(), 2)

    def test_is_held_after_its_block_and_free_after_the_commit(self) -> None:
        with transaction.atomic():
            with db_lock():
                self.write(1)
            self.assertFalse(is_free())
        self.assertTrue(is_free())

    def test_is_free_after_a_rollback(self) -> None:
        with self.assertRaises(ZeroDivisionError), transaction.atomic():
            with db_lock():
                self.write(1)
            1 / 0
        self.assertTrue(is_free())
        self.assertEqual(self.value(), 0)

    def test_is_free_after_an_exception_in_its_block(self) -> None:
        with self.assertRaises(ZeroDivisionError), transaction.atomic():
            with db_lock():
                1 / 0
        self.assertTrue(is_free())

    def test_of_a_savepoint_is_free_once_that_is_rolled_back(self) -> None:
        with transaction.atomic():
            with contextlib.suppress(ZeroDivisionError), transaction.atomic():
                with db_lock():
                    self.write(1)
                1 / 0
            self.assertTrue(is_free())
        self.assertEqual(self.value(), 0)

    def test_of_a_savepoint_that_is_kept_is_held_until_the_commit(self) -> None:
        with transaction.atomic():
            with transaction.atomic():
                with db_lock():
                    self.write(1)
            self.assertFalse(is_free())
        self.assertTrue(is_free())

    def test_around_a_savepoint_that_is_rolled_back_stays_held(self) -> None:
        with transaction.atomic():
            with db_lock():
                with contextlib.suppress(ZeroDivisionError), transaction.atomic():
                    with db_lock():
                        self.write(1)
                    1 / 0
                self.assertFalse(is_free())
                self.write(2)
            self.assertFalse(is_free())
        self.assertTrue(is_free())

    def test_of_a_transaction_inside_a_block_stays_held_by_the_block(self) -> None:
        with db_lock():
            with transaction.atomic():
                with db_lock():
                    self.write(1)
            self.assertFalse(is_free())
        self.assertTrue(is_free())

    def test_is_not_given_back_by_a_child_that_drops_the_transaction(self) -> None:
        with transaction.atomic():
            with db_lock():
                self.write(1)
            child = os.fork()
            if child == 0:
                sys.unraisablehook = lambda error: os._exit(1)
                connection.run_on_commit.clear()
                os._exit(0)
            self.assertEqual(os.waitpid(child, 0)[1], 0)
            self.assertFalse(is_free())

    def test_is_free_after_a_commit_that_failed(self) -> None:
        with self.assertRaises(DatabaseError):
            with mock.patch.object(connection, "_commit", side_effect=DatabaseError("full")):
                with transaction.atomic():
                    with db_lock():
                        self.write(1)
        self.assertTrue(is_free())

    def test_is_free_after_the_connection_is_closed(self) -> None:
        with transaction.atomic():
            with db_lock():
                self.write(1)
            connection.close()
            self.assertTrue(is_free())
        self.assertEqual(self.value(), 0)

    def test_is_free_once_another_hook_that_failed_is_forgotten(self) -> None:
        with self.assertRaises(ZeroDivisionError), transaction.atomic():
            transaction.on_commit(lambda: 1 / 0)
            with db_lock():
                self.write(1)
        self.assertTrue(is_free())

    def test_whose_connection_is_closed_in_its_block_is_free_after_it(self) -> None:
        with transaction.atomic():
            with db_lock():
                connection.close()
            self.assertTrue(is_free())
        with db_lock():
            pass

    def test_leaves_the_order_of_hooks_to_those_who_count_them(self) -> None:
        calls: list[str] = []

        def again() -> None:
            with db_lock():
                calls.append("captured")

        with transaction.atomic():
            transaction.on_commit(lambda: calls.append("before"))
            with TestCase.captureOnCommitCallbacks(execute=True) as captured:
                with db_lock():
                    transaction.on_commit(again)
            self.assertEqual(calls, ["captured"])
            captured.clear()
        self.assertEqual(calls, ["captured", "before", "captured"])

    def test_in_a_directory_of_two_names_is_one(self) -> None:
        link = os.path.join(project.name, "link")
        os.symlink(project.name, link)
        with override_settings(LOCKBYFILE={"DIR": link + "//", "TIMEOUT": None}):
            with db_lock() as one:
                with override_settings(LOCKBYFILE={"DIR": project.name}), db_lock() as two:
                    self.assertEqual(one.token, two.token)
            self.assertTrue(is_free())

    def test_is_free_wherever_an_interrupt_comes(self) -> None:
        """An exception at each line of our code in turn, in a block that is committed, rolled back,
        or without a transaction."""

        def run(kind: str) -> None:
            with transaction.atomic() if kind else contextlib.nullcontext():
                with db_lock():
                    pass
                if kind == "rolled back":
                    transaction.set_rollback(True)

        for kind in ("", "committed", "rolled back"):
            places: set[tuple[str, int]] = set()
            at = 1
            while place := interrupt(lambda: run(kind), "lockbyfile/django/__init__.py", at):
                self.assertTrue(is_free(), f"{kind}, line {at}, {place}")
                places.add(place)
                at += 1
            self.assertGreater(len(places), 30)

        shared = db_lock()

        def enter() -> None:
            with shared:
                pass

        at = 1
        while (place := interrupt(enter, "lockbyfile/django/__init__.py", at)) is not None:
            if place[0] == "__exit__":
                break  # before its first line nothing can be done
            self.assertTrue(is_free(), f"shared, line {at}, {place}")
            at += 1
        shared.__exit__(None, None, None)

    def test_is_the_same_grant_for_two_blocks_of_one_transaction(self) -> None:
        with transaction.atomic():
            with db_lock() as one:
                self.write(1)
            with db_lock() as two:
                self.write(2)
            self.assertEqual(one.token, two.token)
        self.assertTrue(is_free())
        with db_lock() as three:
            self.assertGreater(three.token, two.token)

    def test_whose_block_ends_without_autocommit_says_so(self) -> None:
        try:
            with self.assertRaisesRegex(transaction.TransactionManagementError, "autocommit"):
                with db_lock():
                    transaction.set_autocommit(False)
        finally:
            transaction.rollback()
            transaction.set_autocommit(True)

    def test_of_another_database_waits_for_that_ones_transaction(self) -> None:
        with transaction.atomic(using="other"):
            with db_lock():
                pass
            self.assertTrue(is_free())
            with db_lock(using="other"), db_lock("stock", using="other"), db_lock("other"):
                pass
            for name in ("default", "stock", "other"):
                self.assertFalse(is_free(name))
        for name in ("default", "stock", "other"):
            self.assertTrue(is_free(name))

    def test_without_autocommit_is_refused(self) -> None:
        transaction.set_autocommit(False)
        try:
            for around in (contextlib.nullcontext(), transaction.atomic()):
                with self.assertRaisesRegex(transaction.TransactionManagementError, "autocommit"):
                    with around, db_lock():
                        self.fail("entered")
        finally:
            transaction.rollback()
            transaction.set_autocommit(True)
        self.assertTrue(is_free())


class ALease(WithACounter):
    def test_that_is_over_at_the_end_of_a_block_rolls_its_transaction_back(self) -> None:
        with self.assertRaises(LeaseLost):
            with transaction.atomic():
                with db_lock():
                    self.write(1)
                    break_lock(path_of())
        self.assertEqual(self.value(), 0)

    def test_that_is_over_without_a_transaction_is_told(self) -> None:
        with self.assertRaises(LeaseLost), db_lock():
            break_lock(path_of())

    def test_that_is_over_is_logged_while_another_exception_is_under_way(self) -> None:
        with self.assertLogs("lockbyfile", "WARNING"), self.assertRaises(ZeroDivisionError):
            with db_lock():
                break_lock(path_of())
                1 / 0

    def test_that_ends_between_the_block_and_the_commit_is_logged(self) -> None:
        with self.assertLogs("lockbyfile", "ERROR"):
            with transaction.atomic():
                with db_lock():
                    self.write(1)
                break_lock(path_of())
        self.assertTrue(is_free())

    def test_that_is_over_cannot_be_entered_again(self) -> None:
        with self.assertRaises(LeaseLost), transaction.atomic():
            with db_lock():
                self.write(1)
            break_lock(path_of())
            with db_lock():
                self.fail("entered under a grant that is lost")
        self.assertEqual(self.value(), 0)
        with db_lock():
            self.write(2)

    def test_that_was_told_to_be_over_is_followed_by_a_new_one(self) -> None:
        with self.assertLogs("lockbyfile", "ERROR"), transaction.atomic():
            with db_lock() as old:
                pass
            break_lock(path_of())
            with self.assertRaises(LeaseLost), db_lock():
                self.fail("entered under a grant that is lost")
            with db_lock() as new:
                self.assertGreater(new.token, old.token)

    def test_is_that_of_the_settings_or_of_the_call(self) -> None:
        with override_settings(LOCKBYFILE={"DIR": project.name, "TIMEOUT": 7}):
            with db_lock():
                self.assertEqual(observe(path_of()).holder.lease, 7)  # type: ignore[union-attr]
            with db_lock(lease=5):
                self.assertEqual(observe(path_of()).holder.lease, 5)  # type: ignore[union-attr]

    def test_is_ten_seconds_and_patience_thirty_as_in_2015(self) -> None:
        with override_settings(LOCKBYFILE={"DIR": project.name}), db_lock():
            self.assertEqual(observe(path_of()).holder.lease, 10)  # type: ignore[union-attr]
        from lockbyfile.django import _DEFAULTS

        self.assertEqual(_DEFAULTS["PATIENCE"], 30)

    def test_is_renewed_by_keep_alive(self) -> None:
        lock = db_lock(lease=0.2)
        with lock:
            with lock.keep_alive():
                time.sleep(0.5)
        with self.assertRaises(RuntimeError), lock.keep_alive():
            pass


class AThread(WithACounter):
    def test_may_enter_what_it_holds(self) -> None:
        with db_lock() as one, db_lock() as two:
            self.assertEqual(one.token, two.token)
        self.assertTrue(is_free())

    def test_may_lock_in_a_signal_what_the_sender_has_locked(self) -> None:
        @db_lock
        def on_save(**ignored: Any) -> None:
            calls.append(is_free())

        calls: list[bool] = []
        post_save.connect(on_save, sender=Counter)
        try:
            with db_lock():
                Counter.objects.get(pk=self.pk).save()
        finally:
            post_save.disconnect(on_save, sender=Counter)
        self.assertEqual(calls, [False])

    def test_excludes_another_one(self) -> None:
        lock = db_lock()

        def count() -> None:
            for _ in range(50):
                with lock:
                    self.write(self.value() + 1)

        workers = [Worker(count) for _ in range(4)]
        for worker in workers:
            worker.finish()
        self.assertEqual(self.value(), 200)

    def test_that_is_impatient_is_told_who_has_it(self) -> None:
        def try_once() -> None:
            with db_lock(patience=0):
                pass

        with db_lock():
            with self.assertRaisesRegex(LockTimeout, f"pid {os.getpid()}"):
                Worker(try_once).finish()
            with override_settings(LOCKBYFILE={"DIR": project.name, "PATIENCE": 0.01}):
                with self.assertRaises(LockTimeout):
                    Worker(lambda: db_lock().__enter__()).finish()

    def test_that_forks_keeps_the_lock_and_the_child_has_nothing(self) -> None:
        with db_lock():
            child = os.fork()
            if child == 0:
                with contextlib.suppress(BaseException):
                    try:
                        with db_lock(patience=0):
                            os._exit(1)
                    except LockTimeout:
                        os._exit(0)
                os._exit(2)
            self.assertEqual(os.waitpid(child, 0)[1], 0)
            self.assertFalse(is_free())

    def test_may_fork_inside_a_block_that_the_child_leaves(self) -> None:
        child = -1
        try:
            with db_lock():
                child = os.fork()
                if child != 0:
                    self.assertEqual(os.waitpid(child, 0)[1], 0)
                    self.assertFalse(is_free())
            if child == 0:
                os._exit(0)
        except BaseException:
            if child == 0:
                os._exit(1)
            raise


class ADecorator(WithACounter):
    def test_may_be_bare_or_called(self) -> None:
        @db_lock
        def bare(value: int) -> int:
            "What it does."
            self.assertFalse(is_free())
            return value

        @db_lock("stock", lease=3)
        def called(value: int) -> int:
            self.assertFalse(is_free("stock"))
            return value

        self.assertEqual((bare(1), called(2)), (1, 2))
        self.assertEqual((bare.__name__, bare.__doc__), ("bare", "What it does."))
        self.assertTrue(is_free() and is_free("stock"))

    def test_refuses_what_ends_elsewhere(self) -> None:
        async def coroutine() -> None: ...

        def generator() -> Iterator[int]:
            yield 1

        class AsyncCallable:
            async def __call__(self) -> None: ...

        for function in (coroutine, generator, functools.partial(coroutine), AsyncCallable()):
            with self.assertRaises(TypeError):
                db_lock(function)
            with self.assertRaises(TypeError):
                db_lock("stock")(function)
        with self.assertRaisesRegex(TypeError, "name of a lock, not int"):
            db_lock(3)  # type: ignore[arg-type]
        with self.assertRaisesRegex(TypeError, "class"):
            db_lock(type("MyView", (), {}))

    def test_is_refused_in_an_event_loop(self) -> None:
        async def view() -> None:
            with db_lock():
                self.fail("it blocks the loop")

        with self.assertRaises(SynchronousOnlyOperation):
            asyncio.run(view())


class Settings(unittest.TestCase):
    def test_that_are_misspelt_are_named(self) -> None:
        for value, word in (({"TIMOUT": 3}, "TIMOUT"), ([], "dict")):
            with override_settings(LOCKBYFILE=value):
                with self.assertRaisesRegex(ImproperlyConfigured, word):
                    db_lock().__enter__()

    def test_may_leave_the_directory_to_the_environment_and_then_to_the_project(self) -> None:
        with tempfile.TemporaryDirectory() as directory:
            base = pathlib.Path(directory)
            (base / "by-environment").mkdir()
            with override_settings(LOCKBYFILE={}, BASE_DIR=base):
                with mock.patch.dict(os.environ, LOCKBYFILE_DIR=str(base / "by-environment")):
                    with db_lock("a"):
                        self.assertTrue((base / "by-environment" / "a.lockfile").exists())
                with mock.patch.dict(os.environ):
                    os.environ.pop("LOCKBYFILE_DIR", None)
                    with db_lock("b"):
                        self.assertTrue((base / "b.lockfile").exists())
                    with override_settings(BASE_DIR=None):
                        with self.assertRaisesRegex(ImproperlyConfigured, "DIR"):
                            db_lock().__enter__()

    def test_of_mode_and_group_are_the_files(self) -> None:
        mine = grp.getgrgid(os.getgid())
        for group in (mine.gr_gid, mine.gr_name):
            settings = {"DIR": project.name, "MODE": 0o660, "GROUP": group}
            with override_settings(LOCKBYFILE=settings), db_lock("shared"):
                status = os.stat(path_of("shared"))
                self.assertEqual((status.st_mode & 0o777, status.st_gid), (0o660, mine.gr_gid))
            remove(path_of("shared"))

    def test_that_are_wrong_hold_nothing(self) -> None:
        for name, options, error in (
            ("", {}, ValueError),
            ("a/b", {}, ValueError),
            ("a\0b", {}, ValueError),
            ("bad", {"lease": -1}, ValueError),
            ("bad", {"patience": float("nan")}, ValueError),
            ("bad", {"lease": "10"}, TypeError),
            ("bad", {"using": "nowhere"}, Exception),
        ):
            with self.subTest(name=name, options=options), self.assertRaises(error):
                db_lock(name, **options).__enter__()  # type: ignore[arg-type]
        self.assertTrue(is_free("bad"))


class ACheck(unittest.TestCase):
    def ids(self) -> list[str]:
        return [message.id for message in checks.run_checks() if "lockbyfile" in message.id]

    def test_finds_nothing_here_and_leaves_nothing(self) -> None:
        before = os.listdir(project.name)
        self.assertEqual(self.ids(), [])
        self.assertEqual(os.listdir(project.name), before)

    def test_warns_of_a_network_directory(self) -> None:
        def refuse(name: str, **ignored: Any) -> None:
            pathlib.Path(name).touch()
            error = LockError(95, "is on NFS, which other hosts may share", name)
            error.reason = "network_filesystem"
            raise error

        before = os.listdir(project.name)
        with mock.patch("lockbyfile.django.apps.Lock", refuse):
            self.assertEqual(self.ids(), ["lockbyfile.W001"])
        self.assertEqual(os.listdir(project.name), before)

    def test_finds_a_directory_that_is_not_there(self) -> None:
        with override_settings(LOCKBYFILE={"DIR": "/nowhere"}):
            self.assertEqual(self.ids(), ["lockbyfile.E001"])

    def test_finds_settings_that_make_no_sense(self) -> None:
        for settings in (
            {"TIMOUT": 10},
            {"TIMEOUT": -1},
            {"TIMEOUT": "10"},
            {"PATIENCE": True},
            {"MODE": "0660"},
            {"GROUP": "no such group"},
        ):
            with self.subTest(settings):
                with override_settings(LOCKBYFILE={"DIR": project.name, **settings}):
                    self.assertEqual(self.ids(), ["lockbyfile.E002"])

    def test_finds_a_lockfile_that_cannot_be_used(self) -> None:
        with db_lock():
            pass
        content = pathlib.Path(path_of()).read_bytes()
        pathlib.Path(path_of()).write_bytes(b"something else")
        try:
            self.assertEqual(self.ids(), ["lockbyfile.E001"])
        finally:
            pathlib.Path(path_of()).write_bytes(content)

    def test_warns_of_transactions_with_old_snapshots(self) -> None:
        with mock.patch.object(type(connections["default"]), "vendor", "mysql"):
            from lockbyfile.django.apps import check_isolation

            for level, warnings in (("REPEATABLE READ", 1), (None, 1), ("read committed", 0)):
                options = {"isolation_level": level}
                with mock.patch.dict(connection.settings_dict, OPTIONS=options):
                    found = [warning.id for warning in check_isolation()]
                self.assertEqual(found, ["lockbyfile.W002"] * warnings)
            self.assertEqual(check_isolation(), [])


class GetOrSet(unittest.TestCase):
    def setUp(self) -> None:
        cache.clear()

    def test_computes_once_for_all_who_miss_at_the_same_time(self) -> None:
        calls = []
        found = []

        def compute() -> int:
            calls.append(1)
            eventually(lambda: sum(len(s.waiters) for s in self.states()) == 7)
            return 5

        workers = [Worker(lambda: found.append(get_or_set("key", compute))) for _ in range(8)]
        for worker in workers:
            worker.finish()
        self.assertEqual((len(calls), found), (1, [5] * 8))

    def states(self) -> list[Any]:
        names = [name for name in os.listdir(project.name) if name.startswith("cache-")]
        return [observe(os.path.join(project.name, name)) for name in names]

    def test_renews_its_lease_while_it_computes(self) -> None:
        def slow() -> int:
            time.sleep(0.3)
            self.assertTrue(any(s.holder and s.holder.lease_left > 0 for s in self.states()))
            return 3

        self.assertEqual(get_or_set(7, slow, lease=0.1), 3)

    def test_computes_though_its_patience_has_run_out(self) -> None:
        def stuck() -> int:
            started.set()
            finish.wait(60)
            return 1

        started, finish = threading.Event(), threading.Event()
        worker = Worker(lambda: get_or_set("key", stuck))
        started.wait(60)
        with self.assertLogs("lockbyfile", "WARNING"):
            self.assertEqual(get_or_set("key", lambda: 2, patience=0), 2)
        finish.set()
        worker.finish()

    def test_may_miss_another_key_while_it_computes(self) -> None:
        def outer() -> list[int]:
            return [int(get_or_set(f"inner-{i}", lambda: i)) for i in range(600)]

        self.assertEqual(get_or_set("outer", outer), list(range(600)))
        self.assertTrue(all(state.holder is None for state in self.states()))

    def test_is_free_after_an_exception_and_knows_a_none(self) -> None:
        with self.assertRaises(ZeroDivisionError):
            get_or_set("key", lambda: 1 / 0)
        self.assertTrue(all(state.holder is None for state in self.states()))
        cache.set("none", None)
        self.assertIsNone(get_or_set("none", lambda: self.fail("it was there")))


MANAGE = """
import os, sys
os.environ["DJANGO_SETTINGS_MODULE"] = "probe_settings"
from django.core.management import execute_from_command_line
execute_from_command_line(sys.argv)
"""
PROBE = """
import os, sys, time
from django.core.management.base import BaseCommand, CommandError
class Command(BaseCommand):
    def add_arguments(self, parser):
        parser.add_argument("word")
        parser.add_argument("--wait", action="store_true")
    def handle(self, word, wait, **options):
        if word == "fail": raise CommandError("as asked", returncode=9)
        print(word, flush=True)
        if word == "sleep": time.sleep(120)
        if word == "stubborn":
            try: time.sleep(120)
            except KeyboardInterrupt: return
        while wait and not os.path.exists("end"): time.sleep(0.01)
"""


class ManagePyLocked(unittest.TestCase):
    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = pathlib.Path(directory.name)
        commands = self.directory / "probe" / "management" / "commands"
        commands.mkdir(parents=True)
        (commands / "probe.py").write_text(PROBE)
        (self.directory / "manage.py").write_text(MANAGE)
        (self.directory / "probe_settings.py").write_text(
            "INSTALLED_APPS = ['lockbyfile.django', 'probe']\n"
            "SECRET_KEY = 'k'\nUSE_TZ = True\n"
            f"LOCKBYFILE = {{'DIR': {directory.name!r}, 'TIMEOUT': 0.3, 'PATIENCE': 60}}\n"
        )

    def start(self, *arguments: str, **more: Any) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "manage.py", *arguments],
            cwd=self.directory,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **more,
        )
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        return process

    def run_it(self, *arguments: str) -> "tuple[int, str, str]":
        process = self.start(*arguments)
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err

    def path(self, name: str = "manage-probe") -> str:
        return str(self.directory / (name + ".lockfile"))

    def test_runs_a_command_with_its_options_and_its_exit_code(self) -> None:
        self.assertEqual(self.run_it("locked", "probe", "hello", "--verbosity=0")[:2], (0, "hello\n"))
        code, _, err = self.run_it("locked", "--", "probe", "fail")
        self.assertEqual((code, "as asked" in err), (9, True))
        self.assertIsNone(observe(self.path()).holder)

    def test_runs_one_at_a_time_for_longer_than_the_lease(self) -> None:
        first = self.start("locked", "probe", "one", "--wait")
        assert first.stdout is not None
        self.assertEqual(first.stdout.readline(), "one\n")
        second = self.start("locked", "probe", "two")
        eventually(lambda: bool(observe(self.path()).waiters))
        code, _, err = self.run_it("locked", "--patience", "0", "probe", "three")
        self.assertEqual(code, 75, err)
        self.assertIn(f"pid {first.pid}", err)
        self.assertIsNone(second.poll())
        (self.directory / "end").touch()
        self.assertEqual(second.communicate(timeout=60)[0], "two\n")
        self.assertEqual(first.wait(60), 0)

    def test_ends_a_command_that_has_lost_its_lock(self) -> None:
        process = self.start("locked", "--lock", "mine", "probe", "one", "--wait")
        assert process.stdout is not None
        process.stdout.readline()
        break_lock(self.path("mine"))
        _, err = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 76, err)
        self.assertIn("mine.lockfile", err)

    def test_says_what_is_missing(self) -> None:
        code, _, err = self.run_it("locked")
        self.assertEqual(code, 1)
        self.assertIn("which command?", err)
        code, _, err = self.run_it("locked", "prob")
        self.assertIn("Unknown command: 'prob'", err)
        self.assertNotEqual(code, 0)
        self.assertFalse(os.path.exists(self.path("manage-prob")))
        for arguments in (("--patience", "-1"), ("--patience", "nan"), ("--lock", "a/b")):
            code, _, err = self.run_it("locked", *arguments, "probe", "hello")
            self.assertEqual((code, "Traceback" in err), (1, False), err)

    def test_ends_a_sleeping_command_that_was_started_in_the_background(self) -> None:
        process = self.start("locked", "probe", "sleep", preexec_fn=ignore_interrupts)
        assert process.stdout is not None
        process.stdout.readline()
        break_lock(self.path())
        process.communicate(timeout=60)
        self.assertEqual(process.returncode, 76)

    def test_tells_of_a_loss_that_the_command_did_not_mind(self) -> None:
        process = self.start("locked", "probe", "stubborn")
        assert process.stdout is not None
        process.stdout.readline()
        break_lock(self.path())
        process.communicate(timeout=60)
        self.assertEqual(process.returncode, 76)

    def test_leaves_the_handler_of_sigint_as_it_was(self) -> None:
        (self.directory / "calls.py").write_text(
            "import os, signal, django\n"
            "os.environ['DJANGO_SETTINGS_MODULE'] = 'probe_settings'\n"
            "django.setup()\n"
            "from django.core.management import call_command\n"
            "heard = []\n"
            "def mine(*_): heard.append('mine')\n"
            "signal.signal(signal.SIGINT, mine)\n"
            "real = django.core.management.ManagementUtility.fetch_command\n"
            "class Probe:\n"
            "    def run_from_argv(self, argv): os.kill(os.getpid(), signal.SIGINT)\n"
            "def fetch(self, name): return Probe() if name == 'probe' else real(self, name)\n"
            "django.core.management.ManagementUtility.fetch_command = fetch\n"
            "call_command('locked', 'probe')\n"
            "assert heard == ['mine'], heard\n"
            "assert signal.getsignal(signal.SIGINT) is mine\n"
            "import threading\n"
            "failed = []\n"
            "def elsewhere():\n"
            "    try: call_command('locked', 'probe')\n"
            "    except BaseException as error: failed.append(error)\n"
            "t = threading.Thread(target=elsewhere); t.start(); t.join()\n"
            "assert failed == [], failed\n"
            "assert signal.getsignal(signal.SIGINT) is mine\n"
        )
        done = subprocess.run(
            [sys.executable, "calls.py"], cwd=self.directory, capture_output=True, text=True, timeout=60
        )
        self.assertEqual(done.returncode, 0, done.stderr)


def ignore_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


if __name__ == "__main__":
    unittest.main()
