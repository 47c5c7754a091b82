# SPDX-License-Identifier: Apache-2.0
"""Under the monkey patch of gevent or eventlet greenlets exclude each other as threads do, and wait
in their hub: the process goes on."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from typing import List

from etcd_server import EtcdServer
from support import eventually

LONG = 60

PATCH = {
    "gevent": """
import gevent, gevent.monkey
def patch(): gevent.monkey.patch_all()
spawn, sleep, Timeout = gevent.spawn, gevent.sleep, gevent.Timeout
join, kill = gevent.Greenlet.join, gevent.Greenlet.kill
""",
    "eventlet": """
import eventlet
def patch(): eventlet.monkey_patch()
spawn, sleep, Timeout = eventlet.spawn, eventlet.sleep, eventlet.Timeout
def join(g):
    try: g.wait()
    except BaseException: pass
def kill(g): g.kill(); join(g)
""",
}

COUNT = """
import os, sys, threading, time
inside = most = 0
def visit(lock):
    global inside, most
    with lock:
        inside += 1
        most = max(most, inside)
        sleep(0.005)
        inside -= 1
"""


# AddressSanitizer takes the switch of a greenlet for an overflow of the stack.
under_asan = unittest.skipIf("libasan" in os.environ.get("LD_PRELOAD", ""), "greenlets under AddressSanitizer")


class UnderAPatch:
    framework: str

    def setUp(self) -> None:
        if importlib.util.find_spec(self.framework) is None:
            self.skipTest(f"there is no {self.framework}")  # type: ignore[attr-defined]
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)  # type: ignore[attr-defined]
        self.path = os.path.join(directory.name, "g.lockfile")

    def run_greenlets(self, code: str, *more: str, patches_late: bool = False) -> str:
        imports = "import lockbyfile, lockbyfile.filelock\n"
        first, second = (imports, "patch()\n") if patches_late else ("patch()\n", imports)
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                PATCH[self.framework] + first + second + COUNT + code,
                self.path,
                *more,
            ],
            text=True,
            capture_output=True,
            timeout=LONG,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def test_greenlets_of_one_lock_exclude_each_other(self) -> None:
        for patches_late in (False, True):
            self.run_greenlets(
                """
lock = lockbyfile.Lock(sys.argv[1])
for g in [spawn(visit, lock) for _ in range(30)]: join(g)
assert most == 1, most
""",
                patches_late=patches_late,
            )

    def test_greenlets_of_a_lock_each_exclude_each_other(self) -> None:
        self.run_greenlets("""
def work():
    visit(lockbyfile.Lock(sys.argv[1], lease=30))
for g in [spawn(work) for _ in range(30)]: join(g)
assert most == 1, most
""")

    def test_others_run_while_one_waits(self) -> None:
        self.run_greenlets("""
lock = lockbyfile.Lock(sys.argv[1])
order = []
def hold():
    with lock:
        while len(order) < 20: sleep(0.001)
        order.append("released")
def wait():
    with lock: order.append("got it")
def tick():
    for n in range(20): order.append(n); sleep(0)
greenlets = [spawn(hold)]
sleep(0.01)
greenlets += [spawn(wait), spawn(tick)]
for g in greenlets: join(g)
assert order[-2:] == ["released", "got it"], order
""")

    def test_the_main_greenlet_waits_in_the_hub_too(self) -> None:
        self.run_greenlets("""
lock = lockbyfile.Lock(sys.argv[1])
def hold():
    with lock: sleep(0.05)
spawn(hold)
sleep(0.01)
with lock: pass
""")

    def test_patience_runs_out_for_each_waiter(self) -> None:
        self.run_greenlets("""
lock = lockbyfile.Lock(sys.argv[1])
ended = []
def wait():
    try: lock.acquire(0.05)
    except lockbyfile.LockTimeout as error: ended.append(error.holder.pid)
with lock:
    for g in [spawn(wait) for _ in range(5)]: join(g)
assert ended == [os.getpid()] * 5, ended
""")

    def test_a_killed_or_timed_out_waiter_leaves_the_queue(self) -> None:
        self.run_greenlets("""
lock = lockbyfile.Lock(sys.argv[1])
ended = []
def wait():
    try:
        with Timeout(0.05): lock.acquire()
    except Timeout: ended.append("timeout")
with lock:
    first, second = spawn(wait), spawn(lock.acquire)
    join(first)
    sleep(0.01)
    assert len(lockbyfile.observe(sys.argv[1]).waiters) == 1
    kill(second)
    assert lockbyfile.observe(sys.argv[1]).waiters == []
assert ended == ["timeout"], ended
visit(lock)
""")

    def test_a_greenlet_that_ends_gives_back_what_it_holds(self) -> None:
        self.run_greenlets("""
lock = lockbyfile.Lock(sys.argv[1], lease=30)
def hold():
    lock.acquire()
    lock.keep_alive(print)
ended = [spawn(hold) for _ in range(3)]  # which refers to them
for g in ended: join(g)
end = time.monotonic() + 30
while lockbyfile.observe(sys.argv[1]).holder is not None:
    assert time.monotonic() < end
    sleep(0.001)
""")

    def test_a_hundred_waiters_cost_one_thread(self) -> None:
        self.run_greenlets("""
lock = lockbyfile.Lock(sys.argv[1])
with lock:
    waiting = [spawn(visit, lock) for _ in range(100)]
    sleep(0.1)
    threads = len(os.listdir("/proc/self/task"))
    assert threads < 10, threads
for g in waiting: join(g)
assert most == 1
""")

    def test_a_greenlet_that_holds_it_is_refused_not_frozen(self) -> None:
        self.run_greenlets("""
lock = lockbyfile.Lock(sys.argv[1])
def work():
    with lock:
        try: lock.acquire()
        except lockbyfile.LockError as error: assert error.reason == "would_deadlock"
        else: assert False
join(spawn(work))
""")

    def test_keep_alive_works_and_tells_of_a_loss(self) -> None:
        self.run_greenlets("""
lock = lockbyfile.Lock(sys.argv[1], lease=0.2)
told = []
def hold():
    try:
        with lock, lock.keep_alive(told.append):
            sleep(0.5)
            assert lock.held
            lockbyfile.break_lock(sys.argv[1])
            while not told: sleep(0.01)
    except lockbyfile.LeaseLost: told.append("raised")
join(spawn(hold))
assert told[1:] == ["raised"], told
""")

    def test_close_waits_for_nothing_that_waits_for_it(self) -> None:
        self.run_greenlets("""
lock = lockbyfile.Lock(sys.argv[1])
lock.acquire()
waiter = spawn(lock.acquire)
sleep(0.05)
try: lock.close()
except RuntimeError: pass
else: assert False
kill(waiter)
lock.close()
""")

    def test_a_child_after_fork_can_wait(self) -> None:
        self.run_greenlets("""
lock = lockbyfile.Lock(sys.argv[1])
lock.acquire()
waiter = spawn(visit, lock)
sleep(0.02)
pid = os.fork()
if pid == 0:
    try: lock.acquire(0.05)
    except lockbyfile.LockTimeout: os._exit(7)
    os._exit(1)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
lock.release()
join(waiter)
""")

    @unittest.skipUnless(shutil.which("etcd"), "there is no etcd")
    def test_others_run_while_a_server_does_not_answer(self) -> None:
        server = EtcdServer()
        self.addCleanup(server.close)  # type: ignore[attr-defined]
        process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                PATCH[self.framework]
                + "patch()\nimport lockbyfile\n"
                + COUNT
                + """
lock = lockbyfile.Lock(sys.argv[2], lease=2, patience=1)
lock.acquire()
print("held", flush=True)
assert sys.stdin.readline() == "stopped\\n"
ran = 0
def tick():
    global ran
    while True: ran += 1; sleep(0.002)
spawn(tick)
sleep(0)
for call in (lock.renew, lock.release, lambda: lockbyfile.observe(sys.argv[2]),
             lambda: lockbyfile.Lock(sys.argv[2] + "2", patience=1)):
    before, begun = ran, time.monotonic()
    try: call()
    except lockbyfile.LockError: pass
    if time.monotonic() - begun > 0.3: assert ran - before > 10, (call, ran - before)
""",
                self.path,
                server.name + "/g",
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(process.kill)  # type: ignore[attr-defined]
        assert process.stdout.readline() == "held\n"
        server.stop()
        out, err = process.communicate("stopped\n", timeout=LONG)
        server.go_on()
        assert process.returncode == 0, out + err


@under_asan
class UnderGevent(UnderAPatch, unittest.TestCase):
    framework = "gevent"


@under_asan
class UnderEventlet(UnderAPatch, unittest.TestCase):
    framework = "eventlet"


VIEWS = '''
import os, sys, time
from django.conf import settings
settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, SECRET_KEY="x",
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    LOCKBYFILE={"DIR": os.environ["LOCKS"], "TIMEOUT": 30, "PATIENCE": 30})
import django
django.setup()
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import path
from lockbyfile.django import db_lock
inside = most = 0
def view(request):
    global inside, most
    with db_lock("view"):
        inside += 1
        most = max(most, inside)
        time.sleep(0.02)
        inside -= 1
    return HttpResponse(str(most))
urlpatterns = [path("", view)]
application = get_wsgi_application()
'''


@under_asan
@unittest.skipUnless(shutil.which("gunicorn"), "there is no gunicorn")
class AViewOfDjangoUnderGunicorn(unittest.TestCase):
    def assert_views_exclude_each_other(self, *options: str) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        Path(directory.name, "views.py").write_text(VIEWS)
        path = os.path.join(directory.name, "socket")
        server = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "-b", f"unix:{path}", *options, "views:application"],
            cwd=directory.name,
            env={**os.environ, "LOCKS": directory.name},
            stderr=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(server.communicate)
        self.addCleanup(server.kill)

        def listens() -> bool:
            self.assertIsNone(server.poll())
            with socket.socket(socket.AF_UNIX) as probe:
                return probe.connect_ex(path) == 0  # the file is there before that

        eventually(listens)
        clients: List[socket.socket] = []
        for _ in range(8):
            client = socket.socket(socket.AF_UNIX)
            self.addCleanup(client.close)
            client.settimeout(LONG)
            client.connect(path)
            client.sendall(b"GET / HTTP/1.0\r\nHost: x\r\n\r\n")
            clients.append(client)
        for client in clients:
            answer = b""
            while part := client.recv(4096):
                answer += part
            self.assertIn(b"200 OK", answer)
            self.assertTrue(answer.endswith(b"\r\n\r\n1"), answer)
        server.send_signal(signal.SIGTERM)
        self.assertEqual(server.wait(LONG), 0)

    @unittest.skipUnless(importlib.util.find_spec("gevent"), "there is no gevent")
    def test_with_workers_of_gevent(self) -> None:
        self.assert_views_exclude_each_other("-k", "gevent")

    @unittest.skipUnless(importlib.util.find_spec("gevent"), "there is no gevent")
    def test_with_workers_of_gevent_that_are_patched_after_the_import(self) -> None:
        self.assert_views_exclude_each_other("-k", "gevent", "--preload")

    @unittest.skipUnless(importlib.util.find_spec("eventlet"), "there is no eventlet")
    def test_with_workers_of_eventlet(self) -> None:
        self.assert_views_exclude_each_other("-k", "eventlet")

    def test_with_threads(self) -> None:
        self.assert_views_exclude_each_other("-k", "gthread", "--threads", "8")


if __name__ == "__main__":
    unittest.main()
