# SPDX-License-Identifier: Apache-2.0
"""What the lock does for the shop, under real servers with workers forked beforehand."""

import contextlib
import os
import pathlib
import shutil
import signal
import statistics
import threading
import time
import unittest

import lockbyfile

import load
import picture
import run
import servers

REQUESTS = 2000


def eventually(event):
    end = time.monotonic() + 60
    while not (found := event()):
        if time.monotonic() > end:
            raise AssertionError("it does not happen")
        time.sleep(0.002)
    return found


class Crowd(threading.Thread):
    """Requests under way while the test does something to the workers."""

    def __init__(self, url, requests):
        super().__init__()
        self.url, self.requests, self.statuses = url, requests, None
        self.start()

    def run(self):
        self.statuses = load.crowd(self.url, self.requests)

    def finish(self):
        self.join()
        return self.statuses


class TheShop:
    """With `kind` and `engine` from below."""

    @classmethod
    def setUpClass(cls):
        if not shutil.which(cls.kind):
            raise unittest.SkipTest(f"{cls.kind} is not installed")
        cls.data = cls.enterClassContext(servers.folder())
        cls.environment = cls.enterClassContext(servers.database(cls.engine, cls.data))

    def setUp(self):
        (self.data / "trace").unlink(missing_ok=True)

    def serving(self, **more):
        return servers.server(self.kind, self.data, self.environment, **more)

    def granted(self):
        """The instants of all grants so far whose section has come to its end."""
        trace = self.data / "trace"
        lines = trace.read_text().splitlines() if trace.exists() else []
        return sorted(float(line.split()[2]) for line in lines)

    def stopped_worker(self):
        """The pid of a worker that has stopped in the section."""
        mark = eventually(lambda: next(self.data.glob("stopped-*"), None))
        pid = int(mark.name.split("-")[1])
        eventually(lambda: self.state(pid) == "T")
        mark.unlink()
        return pid

    @staticmethod
    def state(pid):
        """A letter of proc(5), or None if there is no such process."""
        try:
            return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")")[1].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return None

    def waiters(self):
        return len(lockbyfile.observe(self.data / "default.lockfile").waiters)


class Updates(TheShop):
    def test_are_lost_without_the_lock(self):
        statuses, counted = run.run(
            self.kind, self.data, self.environment, REQUESTS, SHOP_LOCKS="no"
        )
        self.assertEqual(statuses, {200: REQUESTS})
        self.assertLess(counted, REQUESTS)

    def test_are_not_lost_with_it(self):
        statuses, counted = run.run(self.kind, self.data, self.environment, REQUESTS)
        self.assertEqual(statuses, {200: REQUESTS})
        self.assertEqual(counted, REQUESTS)
        pids = {pid for pid, *_ in picture.requests_of(self.data / "trace")}
        self.assertEqual(len(pids), servers.WORKERS, "all workers have had their part")

    def overtake_a_stuck_worker(self, **more):
        """Its lease of a second ends, seven others sell one each, and then it goes on."""
        with self.serving(SHOP_TIMEOUT="1", **more) as url:
            before = run.state(url)["sold"]
            (self.data / "stop").touch()
            crowd = Crowd(url + "/buy", 8)
            pid = self.stopped_worker()
            eventually(lambda: len(self.granted()) == 7)
            self.assertEqual(run.state(url)["sold"] - before, 7)
            os.kill(pid, signal.SIGCONT)
            return crowd.finish(), run.state(url)["sold"] - before

    def test_of_a_stuck_worker_that_was_overtaken_are_refused_by_the_token(self):
        statuses, sold = self.overtake_a_stuck_worker()
        self.assertEqual(statuses, {200: 7, 409: 1})
        self.assertEqual(sold, 7)

    def test_of_a_stuck_worker_would_undo_the_others_without_the_token(self):
        statuses, sold = self.overtake_a_stuck_worker(SHOP_FENCES="no")
        self.assertEqual(statuses, {200: 8})
        self.assertEqual(sold, 1)


class Kills(TheShop):
    """How long a kill takes is the kernel's: it frees the memory of a process before its files."""

    def test_inside_the_section_hold_the_others_up_for_ten_milliseconds_at_most(self):
        since_kill, since_death = [], []
        with self.serving() as url:
            before = run.state(url)["value"]
            for _ in range(9):
                (self.data / "stop").touch()
                crowd = Crowd(url + "/count", 12)
                pid = self.stopped_worker()
                eventually(lambda: self.waiters() == servers.WORKERS - 1)
                killed = time.monotonic()
                os.kill(pid, signal.SIGKILL)
                while self.state(pid) not in ("Z", None):
                    pass
                died = time.monotonic()
                self.assertEqual(crowd.finish(), {200: 11, 0: 1})
                granted = min(g for g in self.granted() if g > killed)
                since_kill.append(1000 * (granted - killed))
                since_death.append(1000 * (granted - died))
            self.assertEqual(run.state(url)["value"] - before, 9 * 11)
        told = [" ".join(f"{ms:.1f}" for ms in sorted(all)) for all in (since_death, since_kill)]
        text = f"the next grant came {told[0]} ms after the death, {told[1]} ms after the kill"
        print(f"{self.kind}, {self.engine}: {text}", flush=True)
        self.assertLessEqual(statistics.median(since_death), 10, text)
        self.assertLessEqual(statistics.median(since_kill), 100, text)


class UpdatesUnderUwsgiOnSQLite(Updates, unittest.TestCase):
    kind, engine = "uwsgi", "sqlite"


class UpdatesUnderUwsgiOnPostgreSQL(Updates, unittest.TestCase):
    kind, engine = "uwsgi", "postgresql"


class UpdatesUnderGunicornOnSQLite(Updates, unittest.TestCase):
    kind, engine = "gunicorn", "sqlite"


class UpdatesUnderGunicornOnPostgreSQL(Updates, unittest.TestCase):
    kind, engine = "gunicorn", "postgresql"


class KillsUnderUwsgiOnSQLite(Kills, unittest.TestCase):
    kind, engine = "uwsgi", "sqlite"


class KillsUnderUwsgiOnPostgreSQL(Kills, unittest.TestCase):
    kind, engine = "uwsgi", "postgresql"


class KillsUnderGunicornOnSQLite(Kills, unittest.TestCase):
    kind, engine = "gunicorn", "sqlite"


class KillsUnderGunicornOnPostgreSQL(Kills, unittest.TestCase):
    kind, engine = "gunicorn", "postgresql"


class ThePicture(unittest.TestCase):
    def test_shows_each_worker(self):
        with contextlib.ExitStack() as stack:
            data = stack.enter_context(servers.folder())
            trace = data / "trace"
            trace.write_text("11 0.0 0.1 0.2 5\n12 0.1 0.2 0.4 6\n11 0.3 0.4 0.5 7\n")
            for kind in ("svg", "png"):
                picture.draw([("a", trace), ("b", trace)], 500, str(data / f"p.{kind}"))
                self.assertGreater((data / f"p.{kind}").stat().st_size, 1000)
            self.assertIn("worker 2", (data / "p.svg").read_text())


if __name__ == "__main__":
    unittest.main()
