# SPDX-License-Identifier: Apache-2.0
"""The driver of the benchmarks, its report, the check of exclusion. Nothing is measured here."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import tempfile
import time
import unittest
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import bench
import etcd_server
import peers
import report

FAKE = """
import json, os, subprocess, sys, time
scenario, contender = sys.argv[1], sys.argv[2]
if contender == "ends badly":
    sys.exit("this is why")
if contender == "is killed":
    os.kill(os.getpid(), 9)
if contender == "babbles":
    print("no JSON")
elif contender == "is incomplete":
    print(json.dumps({"figures": {}}))
elif contender == "hangs":
    child = subprocess.Popen(["sleep", "600"])
    print(child.pid, file=sys.stderr, flush=True)
    time.sleep(600)
else:
    overlaps = 3 if contender.endswith("unsafe") else 0
    print(json.dumps({"figures": {"ns": 5}, "samples": {}, "overlaps": overlaps}))
"""


def played(scenario: str, contender: str, figures: Any, number: int = 1, **more: Any) -> Any:
    members = ("overlaps", "samples", "failure")
    keys = {key: more.pop(key) for key in list(more) if key not in members}
    play = {"round": number, "language": "C++", "scenario": scenario, "contender": contender}
    return play | {"keys": keys, "figures": figures, "samples": {}, "overlaps": 0} | more


def data(*plays: Any) -> Any:
    return {"kind": "full", "rounds": 3, "seed": 1, "machine": {"cpu": "A|B"}, "plays": list(plays)}


def goal(name: str, part: str) -> report.Goal:
    (found,) = [goal for goal in report.GOALS if goal.name == name and part in goal.says]
    return found


class Numbers(unittest.TestCase):
    def test_spread_is_median_least_and_most(self) -> None:
        self.assertEqual(report.spread([9, 1, 2]), report.Spread(2, 1, 9))
        self.assertEqual(report.spread([4, 1, 2, 9]), report.Spread(3, 1, 9))
        self.assertIsNone(report.spread([]))

    def test_percentile_is_the_least_that_so_many_do_not_exceed(self) -> None:
        values = list(range(1, 101))
        self.assertEqual(report.percentile(values, 0.5), 50)
        self.assertEqual(report.percentile(values, 0.99), 99)
        self.assertEqual(report.percentile([7], 0.01), 7)
        self.assertEqual(peers.percentile([3, 1, 2], 0.5), 2)

    def test_three_digits_count(self) -> None:
        shown = {0: "0", 0.012345: "0.0123", 9.996: "10.0", 12.34: "12.3", 999.6: "1,000"}
        shown |= {1234567: "1,230,000", -1.5: "-1.50", 1: "1.00"}
        for value, text in shown.items():
            self.assertEqual(report.number(value), text)

    def test_durations_have_a_unit(self) -> None:
        shown = {1.5: "1.5 µs", 100: "100 µs", 1000: "1 ms", 49300: "49.3 ms", 1.31e6: "1.31 s"}
        for value, text in shown.items():
            self.assertEqual(report.duration(value), text)

    def test_ratios_are_of_the_same_round(self) -> None:
        self.assertEqual(report.divided({1: 2, 2: 9, 3: 8}, {1: 1, 3: 2, 4: 5}), {1: 2, 3: 4})


class Goals(unittest.TestCase):
    def verdict(self, goal: report.Goal, *plays: Any) -> str:
        return report.verdict(goal, data(*plays))[1]

    def test_the_limit_itself_is_met_by_at_most(self) -> None:
        of = goal("S1", "a robust mutex")
        mutex = played("uncontended", "robust mutex", {"ns": 4})
        self.assertEqual(
            self.verdict(of, mutex, played("uncontended", "lockbyfile", {"ns": 5})), "met"
        )
        self.assertEqual(
            self.verdict(of, mutex, played("uncontended", "lockbyfile", {"ns": 5.1})), "not met"
        )

    def test_the_limit_itself_is_not_met_by_above(self) -> None:
        of = goal("S5", "fewest")
        for least, word in ((0.95, "not met"), (0.96, "met")):
            play = played("fairness", "lockbyfile", {"least_to_most": least})
            self.assertEqual(self.verdict(of, play), word)

    def test_what_has_not_been_played_is_not_measured(self) -> None:
        for each in report.GOALS:
            self.assertEqual(report.verdict(each, data()), (None, "not measured"))

    def test_the_median_of_the_rounds_decides(self) -> None:
        rounds = [
            played("death", "lockbyfile", {"p50_ms": ms}, n) for n, ms in enumerate((3, 9, 3.5))
        ]
        self.assertEqual(self.verdict(goal("S7", "p50"), *rounds), "met")

    def test_rounds_that_only_one_of_two_has_do_not_count(self) -> None:
        plays = [
            played("uncontended", "lockbyfile", {"ns": 100}, 1),
            played("uncontended", "lockbyfile", {"ns": 5}, 2),
            played("uncontended", "robust mutex", {"ns": 5}, 2),
        ]
        self.assertEqual(self.verdict(goal("S1", "a robust mutex"), *plays), "met")

    def test_other_settings_do_not_count(self) -> None:
        keys = {"hold_us": 100, "processes": 3}
        plays = [
            played("handoff", name, {"p50_us": 5}, **keys) for name in ("lockbyfile", "flock(2)")
        ]
        self.assertEqual(self.verdict(goal("S2", "p50 ÷ flock(2)"), *plays), "not measured")

    def test_the_longest_wait_is_of_a_whole_line(self) -> None:
        for worst, word in ((16 * 120 * 1.5, "met"), (16 * 120 * 1.6, "not met")):
            figures = {"p50_us": 20, "worst_wait_us": worst}
            play = played("handoff", "lockbyfile", figures, processes=17, hold_us=100)
            self.assertEqual(self.verdict(goal("S3", "wait with 16"), play), word)

    def test_flat_is_flat_at_all_sizes(self) -> None:
        for dent, word in ((0.9, "met"), (0.5, "not met")):
            plays = [
                played("throughput", "lockbyfile", {"grants_per_s": rate}, processes=size)
                for size, rate in ((2, 9), (8, 1), (16, dent), (32, 1), (64, 1))
            ]
            self.assertEqual(self.verdict(goal("S4", "flat"), *plays), word)


    def test_ours_in_etcd_is_measured_beside_the_least_that_is_possible(self) -> None:
        for ms, word in ((1.1, "met"), (1.2, "not met")):
            plays = [
                played("etcd_alone", "two transactions", {"p50_ms": 1}),
                played("etcd_alone", "lockbyfile (etcd)", {"p50_ms": ms}),
                played("uncontended", "lockbyfile", {"p50_ms": 9}),
            ]
            self.assertEqual(self.verdict(goal("E1", "two raw"), *plays), word)
        for ms, word in ((15, "met"), (16, "not met")):
            plays = [
                played("etcd_command", "etcdctl lock", {"p50_ms": 15}),
                played("etcd_command", "lockbyfile run (etcd)", {"p50_ms": ms}),
            ]
            self.assertEqual(self.verdict(goal("E3", "etcdctl"), *plays), word)

    def test_a_herd_is_none(self) -> None:
        for events, word in ((2, "met"), (999, "not met")):
            play = played("etcd_line", "lockbyfile (etcd)", {"events": events}, waiters=1000)
            self.assertEqual(self.verdict(goal("E4", "events"), play), word)


class Markdown(unittest.TestCase):
    def test_words_are_shown_as_they_are(self) -> None:
        self.assertEqual(report.escaped("a|b_c*d\\e"), "a\\|b\\_c\\*d\\\\e")
        self.assertEqual(report.escaped("<b>\n[x](y) `z`"), "\\<b\\> \\[x\\](y) \\`z\\`")
        self.assertIn("A\\|B", report.markdown(data(), ()))

    def test_all_rows_of_a_table_have_as_many_cells(self) -> None:
        plays = [
            played("uncontended", name, {"ns": 5})
            for name in [*report.COLOURS, *peers.CONTENDERS, "a|b"]
        ]
        columns = 0
        for line in report.markdown(data(*plays), ()).split("\n"):
            cells = line.replace("\\|", "").count("|")
            if cells:
                self.assertEqual(cells, columns or cells, line)
            columns = cells

    def test_the_best_is_first_and_ours_is_bold(self) -> None:
        plays = [
            played("uncontended", "a slow one", {"ns": 9}),
            played("uncontended", "lockbyfile", {"ns": 2}),
            played("uncontended", "the fast one", {"ns": 1}),
        ]

        def rows(more_is_better: bool) -> list[list[str]]:
            column = report.Column("ns", "ns", more_is_better)
            lines = report.compared(plays, [column], "lockbyfile").split("\n")[2:5]
            return [[cell.strip() for cell in line.split("|")] for line in lines]

        names = ["the fast one", "**lockbyfile**", "a slow one"]
        self.assertEqual([row[1] for row in rows(False)], names)
        self.assertEqual([row[3] for row in rows(False)], ["0.500", "1.00", "4.50"])
        self.assertEqual([row[1] for row in rows(True)], names[::-1])

    def test_a_peer_that_let_two_in_is_told(self) -> None:
        play = played("uncontended", "peer", {"ns": 1}, overlaps=1200)
        self.assertIn("not exclusive, two inside 1,200 times", report.markdown(data(play), ()))

    def test_what_failed_is_told(self) -> None:
        play = played("uncontended", "peer", {}, failure="no answer in 9 seconds")
        text = report.markdown(data(play), ())
        self.assertIn("- peer in uncontended (): no answer in 9 seconds", text)
        self.assertIn("| peer |", text)


    def test_what_was_left_out_is_told_with_the_reason(self) -> None:
        text = report.markdown(data() | {"left out": {"etcd": "there is no etcd"}}, ())
        self.assertIn("## What was left out\n\n- etcd: there is no etcd\n", text)
        self.assertNotIn("left out", report.markdown(data(), ()))

    def test_locks_in_etcd_have_their_times_and_counts(self) -> None:
        counts = {"requests": 2, "writes": 2, "events": 0, "waiting_requests": 0.25}
        plays = [
            played("etcd_alone", "lockbyfile (etcd)", {"p50_ms": 1.05, "p99_ms": 2} | counts),
            played("etcd_alone", "two transactions", {"p50_ms": 1, "p99_ms": 2} | counts),
            played("etcd_line", "lockbyfile (etcd)", counts, waiters=1000),
        ]
        text = report.markdown(data(*plays), ())
        self.assertIn("| **lockbyfile (etcd)** | 1.05 | 2.00 | 1.05 |", text)
        self.assertIn("| two transactions | 2.00 | 2.00 | 0 |", text)
        self.assertIn("| each second, each waiter | 0.250 | 0 |", text)
        self.assertNotIn("## Locks in etcd", report.markdown(data(), ()))
        failed = played("etcd_line", "lockbyfile (etcd)", {}, failure="x", waiters=1000)
        self.assertNotIn("## Locks in etcd", report.markdown(data(failed), ()))


class Plots(unittest.TestCase):
    def some(self) -> Any:
        names = ("lockbyfile", "flock(2)", "robust mutex")
        return data(
            *(
                played(
                    "handoff", name, {"p50_us": size}, processes=size, hold_us=100,
                    samples={"handoff_us": [1.0, 2.0, 30.0 + size]},
                )
                for name in names
                for size in (2, 5, 17)
            ),
            *(
                played("throughput", name, {"grants_per_s": 1e6 / size}, processes=size)
                for name in names
                for size in (2, 4)
            ),
        )  # fmt: skip

    def test_the_same_data_give_the_same_bytes(self) -> None:
        files = []
        for _ in range(2):
            with tempfile.TemporaryDirectory() as directory:
                report.write(self.some(), Path(directory))
                paths = sorted(path for path in Path(directory).rglob("*") if path.is_file())
                files.append({path.name: path.read_bytes() for path in paths})
        self.assertEqual(
            sorted(files[0]), ["benchmarks.md", "handoff.svg", "throughput.svg", "waiters.svg"]
        )
        self.assertEqual(files[0], files[1])
        for name, content in files[0].items():
            self.assertLess(len(content), 150_000, name)
            self.assertNotIn(b"dc:date", content, name)

    def test_what_was_not_played_is_not_drawn(self) -> None:
        with tempfile.TemporaryDirectory() as directory:
            stale = Path(directory) / "benchmarks" / "handoff.svg"
            stale.parent.mkdir()
            stale.write_text("of another run")
            text = report.write(data(), Path(directory)).read_text()
            self.assertNotIn(".svg", text)
            self.assertFalse(stale.exists())

    def test_labels_stay_apart_and_in_order(self) -> None:
        placed = report.apart({"a": 1.0, "b": 1.01, "c": 5.0, "d": 0.99}, 0.1)
        self.assertEqual(sorted(placed, key=placed.__getitem__), ["d", "a", "b", "c"])
        self.assertAlmostEqual(placed["b"], 1.19)
        self.assertEqual(placed["c"], 5.0)


class Order(unittest.TestCase):
    LISTED = {"C++": {"x": ["a", "b", "c"], "y": ["a"]}, "Python": {"x": ["p"]}}

    def order(self, *plan: bench.Step, **more: Any) -> list[tuple[Any, ...]]:
        plays = bench.order(plan, self.LISTED, **more)
        return [(play.round, play.keys.get("n"), play.contender) for play in plays]

    def test_each_round_plays_all_in_turn(self) -> None:
        plays = self.order(bench.Step("x", {"n": (1, 2)}, None), rounds=3)
        self.assertEqual(len(plays), 3 * 2 * 4)
        for begin in range(0, len(plays), 4):
            turn = plays[begin : begin + 4]
            self.assertEqual({play[2] for play in turn}, {"a", "b", "c", "p"})
            self.assertEqual({play[:2] for play in turn}, {plays[begin][:2]})
        turns = [play[:2] for play in plays]
        self.assertEqual(turns, sorted(turns))

    def test_the_seed_draws_the_order(self) -> None:
        step = bench.Step("x", {"n": 1}, None)
        first, again, other = (self.order(step, rounds=9, seed=seed) for seed in (1, 1, 2))
        self.assertEqual(first, again)
        self.assertNotEqual(first, other)
        self.assertGreater(len({first[begin][2] for begin in range(0, 36, 4)}), 1)

    def test_a_step_may_be_once_or_only_full(self) -> None:
        plan = (bench.Step("x", {"n": 1}, {"n": 5}, rounds=1), bench.Step("y", {"n": 1}, None))
        self.assertEqual(len(self.order(*plan, rounds=3)), 4 + 3)
        quick = self.order(*plan, rounds=3, quick=True)
        self.assertEqual({play[:2] for play in quick}, {(1, 5)})

    def test_turns_of_a_round_are_compared_each_by_itself(self) -> None:
        step = bench.Step("x", {"n": 1}, None, who=("a", "b"), turns=3)
        plays = bench.order((step,), self.LISTED, rounds=2)
        self.assertEqual([play.when() for play in plays[::2]], [1, 1.01, 1.02, 2, 2.01, 2.02])
        for one, other in zip(plays[::2], plays[1::2]):
            self.assertEqual(one.when(), other.when())
            self.assertEqual({one.contender, other.contender}, {"a", "b"})

    def test_steps_keep_the_order_of_the_plan(self) -> None:
        plan = (bench.Step("y", {"n": 7}, None), bench.Step("y", {"n": 5}, None))
        self.assertEqual([play[:2] for play in self.order(*plan, rounds=2)],
                         [(1, 7), (1, 5), (2, 7), (2, 5)])  # fmt: skip

    def test_who_plays_is_chosen_by_language_or_name(self) -> None:
        def who(**choice: tuple[str, ...]) -> set[str]:
            step = bench.Step("x", {}, {}, **choice)  # type: ignore[arg-type]
            return {contender for _, contender in bench.who_plays(step, self.LISTED)}

        self.assertEqual(who(), {"a", "b", "c", "p"})
        self.assertEqual(who(who=("C++",), but=("b",)), {"a", "c"})
        self.assertEqual(who(who=("Python", "b")), {"b", "p"})
        self.assertEqual(who(but=("Python",)), {"a", "b", "c"})

    def test_the_plan_plays_no_contender_twice_at_one_setting(self) -> None:
        listed = {
            "C++": {step.scenario: list(report.COLOURS) for step in bench.PLAN},
            "Python": peers.listed(),
        }
        for quick in (False, True):
            plays = [
                (play.scenario, play.contender, play.keys["processes"], play.keys.get("hold_us"))
                for play in bench.order(bench.PLAN, listed, 1, quick)
                if play.scenario in ("handoff", "throughput")
            ]
            self.assertEqual(len(plays), len(set(plays)))


class LeftOut(unittest.TestCase):
    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.here = Path(directory.name)
        self.program = self.here / "lockbyfile_etcd_bench"
        path = os.environ["PATH"]
        self.addCleanup(os.environ.__setitem__, "PATH", path)
        os.environ["PATH"] = directory.name

    def install(self, name: str) -> None:
        (self.here / name).write_text("#!/bin/sh\necho of the test\n")
        (self.here / name).chmod(0o755)

    def of(self, *scenarios: str) -> dict[str, str]:
        return bench.left_out(scenarios, self.program)

    def test_etcd_is_where_it_is_missing_with_a_reason(self) -> None:
        self.assertIn("not built", self.of("etcd_alone")["etcd"])
        self.program.touch()
        self.assertIn("there is no etcd", self.of("etcd_alone")["etcd"])
        self.install("etcd")
        self.assertEqual(list(self.of("etcd_alone")), ["etcdctl lock"])
        self.install("etcdctl")
        self.assertEqual(self.of("etcd_alone"), {})

    def test_nothing_is_where_etcd_does_not_play(self) -> None:
        self.assertEqual(self.of("uncontended", "handoff"), {})


@unittest.skipIf(etcd_server.missing(), etcd_server.missing())
class Server(unittest.TestCase):
    def test_serves_while_plays_need_it_and_leaves_nothing(self) -> None:
        with tempfile.TemporaryDirectory() as directory:
            servers = bench.Servers(Path(directory))
            self.addCleanup(servers.stop)
            servers.see_to("uncontended")
            self.assertIsNone(servers.server)
            servers.see_to("etcd_alone")
            server = servers.server
            assert server is not None
            self.assertTrue(server.is_healthy())
            servers.see_to("etcd_line")
            self.assertIs(servers.server, server)
            servers.see_to("uncontended")
            self.assertIsNotNone(server.process.poll())
            self.assertFalse(server.is_healthy())
            self.assertEqual(list(Path(directory).iterdir()), [])


class Programs(unittest.TestCase):
    """The driver with a program that does what its contender is called."""

    def play(self, contender: str, limit: int = 60) -> list[dict[str, Any]]:
        programs = {"C++": [sys.executable, "-c", FAKE]}
        plays = [bench.Play(n, "C++", "x", contender, {"n": 1}, limit) for n in (1, 2)]
        results: list[dict[str, Any]] = []
        self.said = io.StringIO()
        with contextlib.redirect_stderr(self.said):
            try:
                bench.play_all(plays, programs, results)
            finally:
                self.results = results
        return results

    def test_an_answer_is_kept(self) -> None:
        (first, second) = self.play("sound")
        self.assertEqual([first["round"], second["round"]], [1, 2])
        self.assertEqual([first["figures"], first["keys"]], [{"ns": 5}, {"n": 1}])

    def test_an_overlap_of_ours_is_the_end(self) -> None:
        with self.assertRaisesRegex(SystemExit, "lockbyfile, unsafe let two in at once, 3 times"):
            self.play("lockbyfile, unsafe")
        self.assertEqual(len(self.results), 1)

    def test_an_overlap_of_a_peer_is_kept(self) -> None:
        self.assertEqual([result["overlaps"] for result in self.play("unsafe")], [3, 3])

    def test_a_bad_end_is_told_with_command_and_stderr_and_not_tried_again(self) -> None:
        (only,) = self.play("ends badly")
        self.assertEqual(only["failure"], "ended with code 1")
        self.assertRegex(self.said.getvalue(), "(?s)code 1: .*x ends badly n=1\nthis is why")

    def test_a_signal_is_told_by_its_name(self) -> None:
        (only,) = self.play("is killed")
        self.assertEqual(only["failure"], "ended by SIGKILL")

    def test_a_program_that_is_not_there_is_told(self) -> None:
        with self.assertRaisesRegex(bench.Failure, "cannot be run: /nowhere/program --list"):
            bench.list_contenders({"C++": ["/nowhere/program"]})

    def test_an_answer_that_is_not_of_the_protocol_is_told(self) -> None:
        for contender in ("babbles", "is incomplete"):
            (only,) = self.play(contender)
            self.assertEqual(only["failure"], "gave an answer that is not of the protocol")

    def test_whoever_hangs_is_killed_with_its_children(self) -> None:
        (only,) = self.play("hangs", limit=2)
        self.assertEqual(only["failure"], "no answer in 2 seconds")
        child = int(self.said.getvalue().split("n=1\n")[1].split()[0])
        end = time.monotonic() + 60
        while self.is_running(child):
            self.assertLess(time.monotonic(), end, "the child lives")
            time.sleep(0.01)

    def is_running(self, process: int) -> bool:
        try:
            state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return False
        return state != "Z"


class Peers(unittest.TestCase):
    def test_a_lock_that_is_none_is_seen_through(self) -> None:
        peers.CONTENDERS["none"] = lambda path: (lambda: None, lambda: None)
        self.addCleanup(peers.CONTENDERS.pop, "none")
        page = peers.Shared(2)
        page.enter(0)
        page.enter(1)
        page.leave(0)
        self.assertEqual(list(page.overlaps), [1, 1])
        answer = peers.throughput("none", "", processes=4, seconds=0.5)
        self.assertGreater(answer["overlaps"], 0)

    def test_a_lock_excludes_and_all_of_the_protocol_is_there(self) -> None:
        listed = peers.listed()
        self.assertEqual(listed["uncontended"][-1], "threading.Lock")
        self.assertNotIn("threading.Lock", listed["handoff"])
        wanted = {"uncontended": {"ns", "grants"}, "handoff": {"p50_us", "p99_us", "worst_wait_us"}}
        wanted["throughput"] = {"grants_per_s", "least_to_most"}
        settings: dict[str, dict[str, Any]] = {
            "uncontended": {"seconds": 0.05},
            "handoff": {"processes": 2, "hold_us": 2000, "grants": 40},
            "throughput": {"processes": 2, "seconds": 0.05},
        }
        for scenario, keys in settings.items():
            for contender in {"portalocker", "lockbyfile (Python)"} & set(listed[scenario]):
                answer = json.loads(json.dumps(peers.play(scenario, contender, keys)))
                self.assertEqual(set(answer["figures"]), wanted[scenario])
                self.assertEqual(answer["overlaps"], 0)

    def test_a_process_that_fails_ends_all(self) -> None:
        def work(number: int) -> None:
            if number == 1:
                os._exit(3)
            time.sleep(600)

        with self.assertRaisesRegex(SystemExit, "a process has failed"):
            peers.in_processes(3, work)


if __name__ == "__main__":
    unittest.main()
