# SPDX-License-Identifier: Apache-2.0
"""Root 6: a place is judged by its essential properties.

Lifelines prove that two processes have the same kernel, and a readable boot id is not needed. If a
place lacks something (a /proc, nameless files, fallocate, long files), there is a way round it, or
an error that names it.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import resource
import shutil
import struct
import subprocess
import unittest
from collections.abc import Callable

from runs import LOCKBYFILE, RunTest, end

BOOT_ID = "/proc/sys/kernel/random/boot_id"
HELD, CANNOT_CREATE = 75, 73
HERE: tuple[str, ...] = ()


def may_mount() -> bool:
    command = ["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"]
    return subprocess.run(command, stderr=subprocess.DEVNULL).returncode == 0


class PlaceTest(RunTest):
    def holds(self, there: tuple[str, ...], name: str = "x") -> subprocess.Popen[bytes]:
        """A holder, started by the command `there`, that ends at the end of its input."""
        command = (LOCKBYFILE, "run", name, "--", "sh", "-c", "echo held; read line; exit 0")
        holder = self.start(*there, *command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert holder.stdin is not None and holder.stdout is not None
        self.addCleanup(holder.stdin.close)
        self.assertEqual(holder.stdout.readline(), b"held\n")
        return holder

    def tries(self, there: tuple[str, ...], name: str = "x") -> int:
        return self.ended(self.start(*there, LOCKBYFILE, "run", "-n", name, "true"))

    def waits(self, there: tuple[str, ...]) -> subprocess.Popen[bytes]:
        waiter = self.start(*there, LOCKBYFILE, "run", "-v", "x", "true", stderr=subprocess.PIPE)
        self.until(lambda: self.waiters("x") == 1, "it waits")
        return waiter

    def told(self, process: subprocess.Popen[bytes]) -> str:
        """All that it says, when it has ended well."""
        said = process.communicate(timeout=60)[1].decode()
        self.assertEqual(process.returncode, 0, said)
        return said


@unittest.skipUnless(may_mount(), "mounting is not permitted")
class InAnotherWorld(PlaceTest):
    """A process in another world shares the lock with one that stays, and with its own kind."""

    def world(self, change: str) -> tuple[str, ...]:
        """What runs a command where the shell has made the change."""
        return ("unshare", "--mount", "sh", "-c", f'{change} && exec "$@"', "sh")

    def with_boot_id(self, number: int) -> tuple[str, ...]:
        file = self.path(f"id{number}")
        with open(file, "w") as id:
            id.write(f"00000000-0000-4000-8000-{number:012}\n")
        return self.world(f"mount --bind {file} {BOOT_ID}")

    def shares_the_lock(self, there: tuple[str, ...]) -> None:
        for holders, others in ((HERE, there), (there, HERE), (there, there)):
            with self.subTest(holder=holders, other=others):
                holder = self.holds(holders)
                self.assertEqual(self.tries(others), HELD)
                waiter = self.waits(others)
                assert holder.stdin is not None
                holder.stdin.close()
                self.assertEqual(self.ended(holder), 0)
                self.assertNotIn("died", self.told(waiter))

                holder = self.holds(holders)
                waiter = self.waits(others)
                end(holder)
                self.assertIn("died", self.told(waiter))

    def test_with_another_boot_id(self) -> None:
        self.shares_the_lock(self.with_boot_id(1))

    def test_of_three_boot_ids_one_holds(self) -> None:
        self.holds(self.with_boot_id(1))
        self.assertEqual(self.tries(self.with_boot_id(2)), HELD)
        self.assertEqual(self.tries(HERE), HELD)

    def test_with_a_boot_id_that_is_hidden(self) -> None:
        self.shares_the_lock(self.world(f"mount -t tmpfs none {os.path.dirname(BOOT_ID)}"))

    def test_without_a_proc(self) -> None:
        self.shares_the_lock(self.world("mount -t tmpfs none /proc"))

    def test_with_a_proc_of_processes_only(self) -> None:
        self.shares_the_lock(self.world("mount -t proc -o subset=pid proc /proc"))

    def test_what_the_dead_left_is_taken_in_every_world(self) -> None:
        worlds = [HERE, self.with_boot_id(1), self.with_boot_id(2), self.world("mount -t tmpfs none /proc")]
        for left_by in worlds:
            for taken_by in worlds:
                end(self.holds(left_by))
                # The command of a run that was killed may take a moment longer to die.
                self.until(lambda: self.tries(taken_by) == 0, f"what {left_by} left is taken by {taken_by}")

    def test_in_a_chroot_that_has_nothing_but_the_command(self) -> None:
        shutil.copy(LOCKBYFILE, self.path("lockbyfile"))
        inside = ("chroot", self.directory, "/lockbyfile")
        if self.ended(self.start(*inside, "--version", stdout=subprocess.DEVNULL)) != 0:
            self.skipTest("the command needs more than itself")
        made = self.start(*inside, "run", "/x.lockfile", "--", "/lockbyfile", "list", "/", stdout=subprocess.DEVNULL)
        self.assertEqual(self.ended(made), 0)
        holder = self.holds(HERE)
        self.assertEqual(self.ended(self.start(*inside, "run", "-n", "/x.lockfile", "/lockbyfile")), HELD)
        waiter = self.start(*inside, "run", "-v", "/x.lockfile", "--", "/lockbyfile", "held", stderr=subprocess.PIPE)
        self.until(lambda: self.waiters("x") == 1, "it waits")
        end(holder)
        self.assertIn("died", self.told(waiter))

        # Held inside, while a lock that is held here is waited for.
        gate = self.holds(HERE, "gate")
        held = self.start(*inside, "run", "/x.lockfile", "--", "/lockbyfile", "run", "/gate.lockfile", "/lockbyfile")
        self.until(lambda: self.waiters("gate") == 1, "it holds")
        self.assertEqual(self.tries(HERE), HELD)
        end(held)
        self.until(lambda: self.tries(HERE) == 0, "it is free again")
        end(gate)

    def mounted(self, make: str) -> tuple[str, ...]:
        """What runs a command where the directory `there` is that filesystem."""
        os.mkdir(self.path("there"))
        keeper = self.start(*self.world(f"{make} there"), "sh", "-c", "echo made; exec sleep 600", stdout=subprocess.PIPE)
        assert keeper.stdout is not None
        if keeper.stdout.readline() != b"made\n":
            self.skipTest(make)
        return ("nsenter", "--mount", f"--target={keeper.pid}")

    def image(self, kind: str, megabytes: int) -> str:
        subprocess.run(["truncate", "-s", f"{megabytes}M", self.path("image")], check=True)
        return f"PATH=$PATH:/usr/sbin:/sbin && mkfs.{kind} -q image && mount -o loop image"

    def has_its_room(self, make: str) -> None:
        """All that the lockfile's sessions may write to is there, also after it has grown."""
        there = self.mounted(make)
        name = self.path("there/x.lockfile")
        holder = self.holds(there, name)
        for _ in range(30):
            self.start(*there, LOCKBYFILE, "run", name, "true")
        status = (*there, LOCKBYFILE, "status", "--json", name)
        self.until(lambda: subprocess.check_output(status).count(b'"waiting"') == 30, "they wait")
        stat = subprocess.check_output([*there, "stat", "--format=%b %B %s", name])
        blocks, unit, size = (int(number) for number in stat.split())
        self.assertGreater(size, 4096)
        self.assertGreaterEqual(blocks * unit, size, "a hole: a full disk would be a SIGBUS")
        self.assertEqual(self.tries(there, name), HELD)
        end(holder)

    def test_on_ramfs_which_cannot_allocate(self) -> None:
        self.has_its_room("mount -t ramfs none")

    def test_on_ext2_which_cannot_allocate(self) -> None:
        self.has_its_room(self.image("ext2", 2))

    def test_a_frozen_filesystem_keeps_nobody_beyond_its_patience(self) -> None:
        there = self.mounted(self.image("ext4", 16))
        held, free = self.path("there/held.lockfile"), self.path("there/free.lockfile")
        holder = self.holds(there, held)
        self.assertEqual(self.tries(there, free), 0)
        # In case this test hangs.
        self.start(*there, "sh", "-c", f"sleep 50; fsfreeze --unfreeze {self.path('there')}")
        freeze = self.start(*there, "fsfreeze", "--freeze", self.path("there"))
        if self.ended(freeze) != 0:
            self.skipTest("it cannot be frozen")
        for name in held, free:
            for patience in (["-n"], ["-w", "200ms"], ["-w", "1500ms"]):
                run = self.start(*there, LOCKBYFILE, "run", *patience, name, "true", stderr=subprocess.PIPE)
                said = run.communicate(timeout=60)[1].decode()
                self.assertEqual(run.returncode, HELD, said)
                self.assertIn("frozen", said)
            self.assertEqual(self.ended(self.start(*there, LOCKBYFILE, "status", name, stdout=subprocess.DEVNULL)), 0)
        self.assertEqual(self.ended(self.start(*there, "fsfreeze", "--unfreeze", self.path("there"))), 0)
        self.assertEqual(self.tries(there, free), 0)
        self.assertEqual(self.tries(there, held), HELD)
        assert holder.stdin is not None
        holder.stdin.close()
        self.assertEqual(self.ended(holder), 0)


class UnderALimit(PlaceTest):
    def limited(self, size: int, *command: str) -> subprocess.Popen[bytes]:
        def limit() -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

        return self.start(*command, preexec_fn=limit, stderr=subprocess.PIPE)

    def test_no_file_is_long_enough(self) -> None:
        for size in (0, 1, 4095):
            process = self.limited(size, LOCKBYFILE, "run", "x", "true")
            said = process.communicate(timeout=60)[1].decode()
            self.assertEqual(process.returncode, CANNOT_CREATE, said)  # and no SIGXFSZ
            self.assertIn("ulimit -f", said)
            self.assertIn(self.path("x.lockfile"), said)
            self.assertEqual(os.listdir(self.directory), [])
        self.assertEqual(self.ended(self.limited(4096, LOCKBYFILE, "run", "x", "true")), 0)

    def test_a_file_that_others_made_longer_is_used(self) -> None:
        holder = self.holds(HERE)
        for _ in range(30):
            self.start(LOCKBYFILE, "run", "x", "true")
        self.until(lambda: self.waiters("x") == 30, "they wait")
        self.assertGreater(os.stat(self.path("x.lockfile")).st_size, 4096)
        self.assertEqual(self.ended(self.limited(0, LOCKBYFILE, "run", "-n", "x", "true")), HELD)
        end(holder)


# Of system calls, as audit architecture and numbers.
ARCHITECTURES = {
    "x86_64": (0xC000003E, {"linkat": 265, "openat": 257, "fallocate": 285, "fcntl": 72}),
    "aarch64": (0xC00000B7, {"linkat": 37, "openat": 56, "fallocate": 47, "fcntl": 25}),
}
ANY, IS, HAS = 0x05, 0x15, 0x45  # conditions of a filter on an argument
O_TMPFILE, F_OFD_SETLK = 0o20000000, 37


class Filter(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_void_p)]


def refuse(call: str, error: int, argument: int = 0, condition: int = ANY, value: int = 0) -> None:
    """From now on no such call of this process succeeds. Uses seccomp, as a container does."""
    architecture, numbers = ARCHITECTURES[platform.machine()]
    load, jump_if, give_back = 0x20, 0x15, 0x06
    program = [
        (load, 0, 0, 4),
        (jump_if, 0, 5, architecture),
        (load, 0, 0, 0),
        (jump_if, 0, 3, numbers[call]),
        (load, 0, 0, 16 + 8 * argument),
        (condition, 0, 0 if condition == ANY else 1, value),
        (give_back, 0, 0, 0x00050000 | error),
        (give_back, 0, 0, 0x7FFF0000),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in program))
    libc = ctypes.CDLL(None, use_errno=True)
    no_new_privileges, seccomp, by_filter = 38, 22, 2
    filter = Filter(len(program), ctypes.cast(code, ctypes.c_void_p))
    if libc.prctl(no_new_privileges, 1, 0, 0, 0) or libc.prctl(seccomp, by_filter, ctypes.byref(filter)):
        raise OSError(ctypes.get_errno(), "seccomp")


@unittest.skipUnless(platform.machine() in ARCHITECTURES, "its system calls are not known here")
class InASandbox(PlaceTest):
    def sandboxed(self, profile: Callable[[], None], *command: str) -> tuple[int, str]:
        try:
            process = self.start(*command, preexec_fn=profile, stderr=subprocess.PIPE)
        except subprocess.SubprocessError:
            self.skipTest("no seccomp here")
        said = process.communicate(timeout=60)[1].decode()
        return process.returncode, said

    def works(self, profile: Callable[[], None]) -> None:
        outcome = self.sandboxed(profile, LOCKBYFILE, "run", "x", "--", LOCKBYFILE, "run", "-n", "x", "true")
        self.assertEqual(outcome[0], HELD, outcome)
        self.assertEqual(os.listdir(self.directory), ["x.lockfile"])
        stat = os.stat(self.path("x.lockfile"))
        self.assertGreaterEqual(stat.st_blocks * 512, stat.st_size)
        os.remove(self.path("x.lockfile"))

    def test_without_links_to_nameless_files(self) -> None:
        for error in (errno.EACCES, errno.EPERM, errno.EXDEV, errno.ENOSYS):
            with self.subTest(os.strerror(error)):
                self.works(lambda error=error: refuse("linkat", error))

    def test_without_nameless_files(self) -> None:
        for error in (errno.EACCES, errno.EPERM, errno.EOPNOTSUPP, errno.EISDIR):
            with self.subTest(os.strerror(error)):
                self.works(lambda error=error: refuse("openat", error, 2, HAS, O_TMPFILE))

    def test_without_allocation(self) -> None:
        for error in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS):
            with self.subTest(os.strerror(error)):
                self.works(lambda error=error: refuse("fallocate", error))

    def test_without_any_of_them(self) -> None:
        def profile() -> None:
            refuse("openat", errno.EPERM, 2, HAS, O_TMPFILE)
            refuse("linkat", errno.EPERM)
            refuse("fallocate", errno.EPERM)

        self.works(profile)

    def test_without_locks_of_open_files_it_says_what_is_missing(self) -> None:
        for error in (errno.EINVAL, errno.ENOSYS):
            with self.subTest(os.strerror(error)):
                profile = lambda error=error: refuse("fcntl", error, 1, IS, F_OFD_SETLK)  # noqa: E731
                code, said = self.sandboxed(profile, LOCKBYFILE, "run", "x", "true")
                self.assertNotIn(code, (0, HELD))
                self.assertIn("open file description locks", said)
                self.assertIn(self.path("x.lockfile"), said)


if __name__ == "__main__":
    unittest.main()
