# SPDX-License-Identifier: Apache-2.0
"""Measures lockbyfile beside its peers, all in one run, and writes the report, for ./dev bench.

PLAN lists the steps. Each round plays every step once with every contender, one after the other.
Their order is drawn anew in each round, so that a disturbance of the machine disturbs all alike.
lockbyfile_bench has the contenders of C++ and of the shell, and peers.py has those of Python.
lockbyfile_etcd_bench has those of etcd, for which a server is started. All three answer

    PROGRAM --list                              {"scenarios": {SCENARIO: [CONTENDER, ...]}}
    PROGRAM SCENARIO CONTENDER KEY=VALUE ...    {"figures": {}, "samples": {}, "overlaps": N}

report.py makes the report of what is collected here.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, Iterator, Mapping, NoReturn, Sequence

import etcd_server
import report

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent

Keys = dict[str, Any]
Listed = Mapping[str, Mapping[str, Sequence[str]]]  # language (or etcd), scenario, contenders


@dataclass(frozen=True)
class Step:
    """A scenario and its keys. A key with a tuple of values is played with each of them."""

    scenario: str
    full: Keys | None  # None: not played
    quick: Keys | None
    who: tuple[str, ...] = ()  # languages or contenders; none: all that are listed
    but: tuple[str, ...] = ()
    rounds: int = 99  # at the most
    # In each round. Short turns beside each other suit a machine that changes its speed.
    turns: int = 1
    limit: int = 120  # seconds that a contender has


ROUNDS, QUICK_ROUNDS = 7, 2
POLLS = ("O_EXCL + 10 ms",)
POLLS_IN_PYTHON = ("filelock", "fasteners")
POLLS_FOR_SECONDS = ("flufl.lock",)
SERIES = ("lockbyfile", "flock(2)", "robust mutex")  # of the cost over waiters, with 2, 17 and 65

PLAN = (
    Step("uncontended", {"seconds": 0.4}, {"seconds": 0.1}),
    Step(
        "handoff",
        {"processes": (2, 17, 65), "hold_us": 100, "grants": 2000},
        {"processes": (2, 17, 65), "hold_us": 100, "grants": 400},
        who=("C++",),
        but=POLLS,
    ),
    Step(
        "handoff",
        {"processes": (2, 17, 65), "hold_us": 100, "grants": 100},
        {"processes": (2, 17, 65), "hold_us": 100, "grants": 20},
        who=POLLS,
    ),
    Step(
        "handoff",
        {"processes": (3, 5, 9, 33, 129, 257), "hold_us": 100, "grants": 1000},
        {"processes": (5, 33), "hold_us": 100, "grants": 400},
        who=SERIES,
    ),
    # Holds of 1 ms, since Python takes longer to notice that the other is served, and to ask again.
    Step(
        "handoff",
        {"processes": 2, "hold_us": 1000, "grants": 300},
        {"processes": 2, "hold_us": 1000, "grants": 100},
        who=("Python",),
        but=POLLS_IN_PYTHON + POLLS_FOR_SECONDS,
    ),
    Step(
        "handoff",
        {"processes": 2, "hold_us": 1000, "grants": 40},
        {"processes": 2, "hold_us": 1000, "grants": 20},
        who=POLLS_IN_PYTHON,
    ),
    Step(
        "handoff",
        {"processes": 2, "hold_us": 1000, "grants": 8},
        {"processes": 2, "hold_us": 1000, "grants": 3},
        who=POLLS_FOR_SECONDS,
        rounds=2,
    ),
    Step(
        "throughput",
        {"processes": (2, 4, 8, 16, 32, 64), "seconds": 0.4},
        {"processes": (2, 4, 8, 16, 32, 64), "seconds": 0.1},
        who=("C++",),
    ),
    Step(
        "throughput",
        {"processes": (2, 16), "seconds": 0.4},
        {"processes": 2, "seconds": 0.1},
        who=("Python",),
    ),
    Step(
        "fairness",
        {"processes": 16, "hold_us": 1000, "seconds": 1.5},
        {"processes": 16, "hold_us": 1000, "seconds": 0.7},
    ),
    Step("line", {"waiters": 1000, "seconds": 10}, {"waiters": 1000, "seconds": 3}, rounds=1),
    Step("death", {"rounds": 100}, {"rounds": 20}),
    Step("lease_end", {"rounds": 50}, {"rounds": 20}),
    Step("open", {"count": 2000, "reach": 1000}, {"count": 500, "reach": 1000}),
    Step("open", {"count": 1, "reach": 100_000}, None, who=("lockbyfile",), rounds=1),
    Step("names", {"count": (1000, 10_000)}, None, rounds=3),
    Step("names", None, {"count": (1000, 10_000)}, rounds=1),
    Step("names", {"count": 1_000_000}, None, rounds=1, limit=1200),
    Step("command", {"runs": 200}, {"runs": 40}),
    # With a server. A hold is longer than joining the wait queue takes, so that each grant comes
    # from a handoff.
    Step("etcd_alone", {"grants": 100}, {"grants": 30}, turns=8),
    Step(
        "etcd_handoff",
        {"processes": 2, "hold_us": 6000, "grants": 200},
        {"processes": 2, "hold_us": 6000, "grants": 60},
        who=("lockbyfile (etcd)",),
    ),
    Step(
        "etcd_handoff",
        {"processes": 2, "hold_us": 6000, "grants": 40},
        {"processes": 2, "hold_us": 6000, "grants": 12},
        but=("lockbyfile (etcd)",),
    ),
    Step("etcd_command", {"runs": 40}, {"runs": 15}),
    Step("etcd_line", {"waiters": 1000, "seconds": 6}, {"waiters": 200, "seconds": 3}, rounds=1),
)


@dataclass(frozen=True)
class Play:
    """A measurement of one contender with one setting of a step in one round."""

    round: int
    language: str
    scenario: str
    contender: str
    keys: Keys
    limit: int
    turn: int = 0

    def when(self) -> float:
        """The round and turn. Contenders that are played in the same one are compared."""
        return self.round + self.turn / 100

    def what(self) -> tuple[Any, ...]:
        """What identifies the play in each round."""
        return self.scenario, self.contender, *self.keys.items()


def each_setting(keys: Keys) -> Iterator[Keys]:
    """One setting for each combination of values."""
    values = [value if isinstance(value, tuple) else (value,) for value in keys.values()]
    for combination in product(*values):
        yield dict(zip(keys, combination))


def who_plays(step: Step, listed: Listed) -> list[tuple[str, str]]:
    """The contenders of a step, each with its language."""
    return [
        (language, contender)
        for language, scenarios in listed.items()
        for contender in scenarios.get(step.scenario, ())
        if not step.who or language in step.who or contender in step.who
        if language not in step.but and contender not in step.but
    ]


def order(
    plan: Sequence[Step], listed: Listed, rounds: int, quick: bool = False, seed: int = 1
) -> list[Play]:
    """All plays: by round, then by step, then by setting, with the contenders in drawn order."""
    draw = random.Random(seed)
    plays = []
    for number in range(1, rounds + 1):
        for step in plan:
            keys = step.quick if quick else step.full
            if keys is None or number > step.rounds:
                continue
            for setting, turn in product(each_setting(keys), range(step.turns)):
                who = who_plays(step, listed)
                draw.shuffle(who)
                plays += [
                    Play(number, language, step.scenario, contender, setting, step.limit, turn)
                    for language, contender in who
                ]
    return plays


class Failure(Exception):
    """A contender gave no answer. `why` may be published; the message is for the developer."""

    def __init__(self, why: str, command: Sequence[str], errors: str = ""):
        super().__init__(f"{why}: {' '.join(command)}\n{errors}".rstrip())
        self.why = why


def output_of(command: Sequence[str], limit: float) -> str:
    """Runs the command. Kills it with all its processes after `limit` seconds."""
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
    except OSError as error:
        raise Failure("cannot be run", command, str(error)) from None
    try:
        output, errors = process.communicate(timeout=limit)
    except BaseException as stopped:
        os.killpg(process.pid, signal.SIGKILL)
        _, errors = process.communicate()
        if isinstance(stopped, subprocess.TimeoutExpired):
            raise Failure(f"no answer in {limit} seconds", command, errors) from None
        raise
    if process.returncode < 0:
        raise Failure(f"ended by {signal.Signals(-process.returncode).name}", command, errors)
    if process.returncode > 0:
        raise Failure(f"ended with code {process.returncode}", command, errors)
    return output


def answer_of(command: Sequence[str], limit: float, wanted: Mapping[str, type]) -> dict[str, Any]:
    """The JSON object that the command prints. It has the wanted members."""
    output = output_of(command, limit)
    try:
        answer = json.loads(output)
    except ValueError:
        answer = None
    if not isinstance(answer, dict) or not all(
        isinstance(answer.get(name), kind) for name, kind in wanted.items()
    ):
        raise Failure("gave an answer that is not of the protocol", command, output[:2000])
    return answer


def list_contenders(programs: Mapping[str, Sequence[str]]) -> dict[str, dict[str, list[str]]]:
    return {
        language: answer_of([*program, "--list"], 60, {"scenarios": dict})["scenarios"]
        for language, program in programs.items()
    }


def measure(play: Play, program: Sequence[str]) -> dict[str, Any]:
    settings = [f"{key}={value}" for key, value in play.keys.items()]
    command = [*program, play.scenario, play.contender, *settings]
    return answer_of(command, play.limit, {"figures": dict, "samples": dict, "overlaps": int})


def check_exclusion(play: Mapping[str, Any]) -> None:
    """Ends the benchmark if ours let two in at once. An overlap of a peer is only reported."""
    if play["overlaps"] and report.is_ours(play["contender"]):
        raise SystemExit(
            f"bench: {play['contender']} let two in at once, {play['overlaps']} times,"
            f" in {play['scenario']} {play['keys']}"
        )


class Servers:
    """Runs one server at a time, and only while plays need it. So it disturbs no other plays."""

    def __init__(self, directory: Path):
        self.directory = directory
        self.server: etcd_server.Server | None = None

    def see_to(self, scenario: str) -> None:
        if not needs_etcd(scenario):
            self.stop()
        elif self.server is None:
            self.server = etcd_server.Server(self.directory)
            os.environ["LOCKBYFILE_BENCH_ETCD"] = self.server.endpoint

    def stop(self) -> None:
        if self.server is not None:
            self.server.stop()
            self.server = None


class Progress:
    """Prints a line on stderr with the time left, going by what the same plays took before."""

    def __init__(self, plays: Sequence[Play]):
        self.left = list(plays)
        self.took: dict[tuple[Any, ...], float] = {}
        self.rounds = plays[-1].round if plays else 0
        self.printed = 0

    def seconds_left(self) -> float:
        typical = statistics.mean(self.took.values())
        return sum(self.took.get(play.what(), typical) for play in self.left)

    def begin(self, play: Play) -> None:
        text = f"round {play.round} of {self.rounds}, {play.scenario}, {play.contender}"
        if self.took:
            text += f"; {self.seconds_left() / 60:.1f} min left"
        if sys.stderr.isatty():
            print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
        elif play.round != self.printed:
            self.printed = play.round
            print(text, file=sys.stderr, flush=True)

    def end(self, play: Play, seconds: float) -> None:
        self.left.remove(play)
        self.took[play.what()] = seconds

    def say(self, text: str) -> None:
        print(("\r\033[K" if sys.stderr.isatty() else "") + text, file=sys.stderr, flush=True)


def play_all(
    plays: Sequence[Play],
    programs: Mapping[str, Sequence[str]],
    results: list[dict[str, Any]],
    servers: Servers | None = None,
) -> None:
    """Appends the result of each play. A contender that failed at a step is not asked again."""
    progress = Progress(plays)
    failed = set()
    for play in plays:
        progress.begin(play)
        begin = time.monotonic()
        result: dict[str, Any] = {
            "round": play.when(),
            "language": play.language,
            "scenario": play.scenario,
            "contender": play.contender,
            "keys": play.keys,
        }
        if play.what() not in failed:
            if servers:
                servers.see_to(play.scenario)
                begin = time.monotonic()
            try:
                result |= measure(play, programs[play.language])
            except Failure as failure:
                progress.say(f"bench: {failure}")
                failed.add(play.what())
                result |= {"failure": failure.why, "figures": {}, "samples": {}, "overlaps": 0}
            results.append(result | {"seconds": round(time.monotonic() - begin, 3)})
            check_exclusion(result)
        progress.end(play, time.monotonic() - begin)
    progress.say("measured")


def needs_etcd(scenario: str) -> bool:
    return scenario.startswith("etcd_")


def left_out(scenarios: Sequence[str], etcd_program: Path) -> dict[str, str]:
    """The programs or contenders that cannot be played, with the reason."""
    if not any(needs_etcd(scenario) for scenario in scenarios):
        return {}
    if not etcd_program.exists():
        return {"etcd": "the etcd engine was not built (it needs libgrpc++-dev)"}
    why = etcd_server.missing()
    if why:
        return {"etcd": why}
    if not first_line("etcdctl", "version"):
        return {"etcdctl lock": "there is no etcdctl (etcd-client)"}
    return {}


def first_line(*command: str) -> str:
    """The first line of the output of the command, or nothing."""
    try:
        done = subprocess.run(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
    except OSError:
        return ""
    return done.stdout.strip().split("\n")[0] if done.returncode == 0 else ""


def text_of(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def machine(build: Path, directory: str) -> dict[str, str]:
    """A description of the machine, without its name and its paths."""
    processors = [line.split(":", 1) for line in text_of("/proc/cpuinfo").split("\n")]
    of_one = {pair[0].strip(): pair[1].strip() for pair in processors if len(pair) == 2}
    cache = text_of(str(build / "CMakeCache.txt")).split("\n")
    compilers = [line.split("=")[1] for line in cache if line.startswith("CMAKE_CXX_COMPILER:")]
    compiler = first_line(compilers[0] if compilers else "c++", "--version")
    filesystem = first_line("stat", "--file-system", "--format=%T", directory)
    mounted = first_line("findmnt", "--noheadings", "--output=FSTYPE", f"--target={directory}")
    libc = os.confstr("CS_GNU_LIBC_VERSION") if "CS_GNU_LIBC_VERSION" in os.confstr_names else ""
    return {
        "processor": of_one.get("model name", platform.machine()),
        "cores": f"{len(os.sched_getaffinity(0))} of {os.cpu_count()}",
        "governor": text_of("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor") or "unknown",
        "virtual": "yes" if " hypervisor" in of_one.get("flags", "") else "not known to be",
        "kernel": f"{platform.system()} {platform.release()}",
        "distribution": platform.freedesktop_os_release().get("PRETTY_NAME", "unknown"),
        "C library": libc or "unknown",
        "compiler": compiler or "unknown",
        "etcd": first_line("etcd", "--version").removeprefix("etcd Version: ") or "none",
        "Python": platform.python_version(),
        "filesystem": mounted or filesystem or "unknown",
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "source": first_line("git", "describe", "--always", "--dirty") or "unknown",
    }


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    scenarios = list(dict.fromkeys(step.scenario for step in PLAN))

    def names(text: str) -> list[str]:
        chosen = text.split(",")
        for name in chosen:
            if name not in scenarios:
                raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(scenarios)}")
        return chosen

    def positive(text: str) -> int:
        number = int(text)
        if number < 1:
            raise ValueError
        return number

    parser = argparse.ArgumentParser(
        prog="./dev bench",
        description="Measures lockbyfile beside its peers and writes the report.",
    )
    parser.add_argument("--quick", action="store_true", help="in two minutes instead of thirty")
    parser.add_argument("--rounds", type=positive, help=f"{ROUNDS}, or {QUICK_ROUNDS} if quick")
    parser.add_argument("--only", type=names, metavar="SCENARIO,...", help=", ".join(scenarios))
    parser.add_argument("--seed", type=int, default=1, help="of the order of contenders (1)")
    parser.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help="where benchmarks.md goes: docs, or build/bench/quick or /only for a part",
    )
    parser.add_argument(
        "--from", dest="results", type=Path, metavar="FILE", help="write the report of results.json"
    )
    parser.add_argument("--build", type=Path, default=ROOT / "build", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def collect(options: argparse.Namespace, place: Path) -> dict[str, Any]:
    """Measures everything. The results so far stay in results.json, even if it ends early."""
    programs = {
        "C++": [str(options.build / "bench" / "lockbyfile_bench")],
        "Python": [sys.executable, str(HERE / "peers.py")],
    }
    os.environ["PYTHONPATH"] = str(options.build / "python")
    os.environ["ETCDCTL_API"] = "3"
    os.environ.pop("LOCKBYFILE_DIR", None)
    rounds = options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS)
    plan = [step for step in PLAN if not options.only or step.scenario in options.only]
    etcd_program = options.build / "bench" / "lockbyfile_etcd_bench"
    missing = left_out([step.scenario for step in plan], etcd_program)
    if "etcd" not in missing:
        programs["etcd"] = [str(etcd_program)]
    plan = [replace(step, but=(*step.but, *missing)) for step in plan]
    place.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="lockbyfile-bench-") as directory:
        os.environ["TMPDIR"] = directory
        plays = order(plan, list_contenders(programs), rounds, options.quick, options.seed)
        servers = Servers(place)  # not in /tmp, which may be memory: it has to reach the disk
        data: dict[str, Any] = {
            "kind": kind(options),
            "rounds": rounds,
            "seed": options.seed,
            "machine": machine(options.build, directory),
            "left out": missing,
            "plays": [],
        }
        try:
            play_all(plays, programs, data["plays"], servers)
        finally:
            servers.stop()
            (place / "results.json").write_text(json.dumps(data))
    return data


def kind(options: argparse.Namespace) -> str:
    return "only" if options.only else "quick" if options.quick else "full"


def stop(*_: Any) -> NoReturn:
    raise SystemExit(143)


def main(arguments: Sequence[str]) -> int:
    signal.signal(signal.SIGTERM, stop)
    options = parse(arguments)
    if options.results:
        data = json.loads(options.results.read_text())
    else:
        place = ROOT / "build" / "bench" / ("" if kind(options) == "full" else kind(options))
        try:
            data = collect(options, place)
        except Failure as failure:  # to list
            raise SystemExit(f"bench: {failure}")
    is_full = data["kind"] == "full"
    output = options.output or (ROOT / "docs" if is_full else ROOT / "build/bench" / data["kind"])
    print(report.write(data, output))
    return 1 if any(report.is_ours(play["contender"]) for play in report.failures(data)) else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
