# SPDX-License-Identifier: Apache-2.0
"""The report of what bench.py collected: benchmarks.md and its plots.

The same data give the same bytes. Within a round all contenders meet the same machine. So each
ratio is taken round by round, and the report shows its median, least and most.
"""

from __future__ import annotations

import math
import operator
import re
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Iterable, Mapping, Sequence

Data = Mapping[str, Any]
ByRound = dict[int, float]
Figures = Callable[[Data], ByRound]


# ---------------------------------------------------------------- numbers


@dataclass(frozen=True)
class Spread:
    median: float
    least: float
    most: float


def spread(values: Iterable[float]) -> Spread | None:
    """None if there are no values."""
    seen = sorted(values)
    return Spread(statistics.median(seen), seen[0], seen[-1]) if seen else None


def percentile(values: Sequence[float], share: float) -> float:
    """The least value that this share of the sorted values does not exceed."""
    return values[max(0, math.ceil(share * len(values)) - 1)]


def number(value: float) -> str:
    """With three significant digits: 0.0123, 12.3, 1,230."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    decimals = 2 - math.floor(math.log10(abs(value)))
    rounded = round(value, decimals)
    decimals = 2 - math.floor(math.log10(abs(rounded)))  # 9.996 is 10.0
    return f"{rounded:,.{max(0, decimals)}f}"


def duration(us: float) -> str:
    """With its unit: 12.3 µs, 1 ms."""
    value, unit = (us / 1e6, "s") if us >= 1e6 else (us / 1e3, "ms") if us >= 1e3 else (us, "µs")
    return f"{float(number(value).replace(',', '')):g} {unit}"


def with_spread(seen: Spread | None) -> str:
    if seen is None:
        return "–"
    if seen.least == seen.most:
        return number(seen.median)
    return f"{number(seen.median)} ({number(seen.least)}–{number(seen.most)})"


# ---------------------------------------------------------------- what was played


def is_ours(contender: str) -> bool:
    return contender.startswith("lockbyfile")


def failures(data: Data) -> list[Mapping[str, Any]]:
    return [play for play in data["plays"] if "failure" in play]


def plays_of(data: Data, scenario: str, **keys: Any) -> list[Mapping[str, Any]]:
    """The plays of a scenario that have at least these keys."""
    return [
        play
        for play in data["plays"]
        if play["scenario"] == scenario and keys.items() <= play["keys"].items()
    ]


def values(plays: Iterable[Mapping[str, Any]], contender: str, figure: str) -> ByRound:
    return {
        play["round"]: play["figures"][figure]
        for play in plays
        if play["contender"] == contender and figure in play["figures"]
    }


def divided(above: ByRound, below: ByRound) -> ByRound:
    """Round by round, for the rounds that both have."""
    return {r: above[r] / below[r] for r in sorted(above.keys() & below.keys()) if below[r]}


# ---------------------------------------------------------------- goals


def at(scenario: str, contender: str, figure: str, **keys: Any) -> Figures:
    return lambda data: values(plays_of(data, scenario, **keys), contender, figure)


def ratio(above: Figures, below: Figures) -> Figures:
    return lambda data: divided(above(data), below(data))


def beside(peer: str, scenario: str, figure: str, **keys: Any) -> Figures:
    """Our figure divided by the peer's."""
    ours = "lockbyfile run" if scenario.endswith("command") else "lockbyfile"
    if scenario.startswith("etcd_"):
        ours += " (etcd)"
    return ratio(at(scenario, ours, figure, **keys), at(scenario, peer, figure, **keys))


def worst_wait(processes: int) -> Figures:
    """The longest wait divided by the time in which the whole wait queue gets the lock."""

    def of(data: Data) -> ByRound:
        keys = {"processes": processes, "hold_us": 100}
        worst = at("handoff", "lockbyfile", "worst_wait_us", **keys)(data)
        p50 = at("handoff", "lockbyfile", "p50_us", **keys)(data)
        return divided(worst, {r: (processes - 1) * (100 + p50[r]) for r in p50})

    return of


def flatness(data: Data) -> ByRound:
    """The least throughput of 8 to 64 processes divided by the most."""
    sizes = [
        at("throughput", "lockbyfile", "grants_per_s", processes=size)(data)
        for size in (8, 16, 32, 64)
    ]
    rounds = set.intersection(*(set(size) for size in sizes))
    return divided(
        {r: min(size[r] for size in sizes) for r in rounds},
        {r: max(size[r] for size in sizes) for r in rounds},
    )


def growth(figure: str) -> Figures:
    return ratio(
        at("names", "lockbyfile", figure, count=1_000_000),
        at("names", "lockbyfile", figure, count=10_000),
    )


@dataclass(frozen=True)
class Goal:
    name: str
    says: str
    asked: str  # at most, at least, below, above
    limit: float
    unit: str
    measured: Figures


COMPARE: dict[str, Callable[[float, float], bool]] = {
    "at most": operator.le,
    "at least": operator.ge,
    "below": operator.lt,
    "above": operator.gt,
}


def verdict(goal: Goal, data: Data) -> tuple[Spread | None, str]:
    """What was measured, and the word met, not met or not measured. The median decides."""
    seen = spread(goal.measured(data).values())
    if seen is None:
        return None, "not measured"
    return seen, "met" if COMPARE[goal.asked](seen.median, goal.limit) else "not met"


NO_LEASE = "lockbyfile, no lease"
ETCD = "lockbyfile (etcd)"
GOALS = [
    Goal("S1", "acquire and release with a lease of 10 s and a token ÷ a robust mutex", "at most",
         1.25, "×", beside("robust mutex", "uncontended", "ns")),
    Goal("S1", "flock(2) ÷ the same", "at least", 10, "×",
         ratio(at("uncontended", "flock(2)", "ns"), at("uncontended", "lockbyfile", "ns"))),
    Goal("S1", "O_EXCL ÷ the same", "at least", 150, "×",
         ratio(at("uncontended", "O_EXCL + 10 ms", "ns"), at("uncontended", "lockbyfile", "ns"))),
    *(
        Goal("S2", f"handoff between two processes, holds of 100 µs, {name} ÷ {article}", "at most",
             1.0, "×", beside(peer, "handoff", figure, processes=2, hold_us=100))
        for figure, name in (("p50_us", "p50"), ("p99_us", "p99"))
        for peer, article in (("flock(2)", "flock(2)"), ("robust mutex", "a robust mutex"))
    ),
    *(
        goal
        for processes in (17, 65)
        for goal in (
            Goal("S3", f"handoff with {processes - 1} waiters, p50 ÷ flock(2)", "at most", 1.0, "×",
                 beside("flock(2)", "handoff", "p50_us", processes=processes, hold_us=100)),
            Goal("S3", f"longest wait with {processes - 1} waiters ÷ waiters × (hold + handoff)",
                 "at most", 1.5, "×", worst_wait(processes)),
        )
    ),
    Goal("S4", "throughput of 2 processes ÷ a robust mutex", "at least", 1.0, "×",
         beside("robust mutex", "throughput", "grants_per_s", processes=2)),
    Goal("S4", "flat from 8 to 64 processes: the least throughput ÷ the most", "at least", 0.8, "×",
         flatness),
    Goal("S5", "fairness of 16 processes, holds of 1 ms: fewest grants ÷ most", "above", 0.95, "×",
         at("fairness", "lockbyfile", "least_to_most")),
    Goal("S6", "share of one core that 1,000 waiters take, all together", "below", 1, "%",
         at("line", NO_LEASE, "cpu_percent", waiters=1000)),
    Goal("S6", "from release to the last of 1,000 waiters ÷ 1,000 handoffs", "below", 1.2, "×",
         at("line", NO_LEASE, "handoffs", waiters=1000)),
    Goal("S7", "death of the holder to the next grant, p50", "at most", 4, "ms",
         at("death", "lockbyfile", "p50_ms")),
    Goal("S7", "the same, p99", "at most", 10, "ms", at("death", "lockbyfile", "p99_ms")),
    Goal("S7", "end of the lease to the next grant, p99", "at most", 1, "ms",
         at("lease_end", "lockbyfile", "p99_ms")),
    Goal("S8", "`lockbyfile run NAME true` ÷ `flock FILE true`", "at most", 1.0, "×",
         beside("flock", "command", "p50_ms")),
    Goal("S9", "opening a name that is there ÷ open, flock and close", "at most", 3, "×",
         beside("open+flock+close", "open", "second_us", reach=1000)),
    Goal("S9", "private memory for each open lock", "below", 8192, "bytes",
         at("open", "lockbyfile", "private_bytes", reach=1000)),
    Goal("S9", "names that one process has open at once", "at least", 100_000, "",
         at("open", "lockbyfile", "reach", reach=100_000)),
    *(
        Goal("S10", f"{what}: the cost of each of 1,000,000 names in a directory ÷ of 10,000",
             "at most", 1.3, "×", growth(figure))
        for what, figure in (("create", "create_us"), ("list", "list_us"), ("prune", "prune_us"))
    ),
    Goal("E1", "in etcd: acquire and release ÷ two raw transactions", "at most", 1.1, "×",
         beside("two transactions", "etcd_alone", "p50_ms")),
    Goal("E2", "in etcd: handoff between two processes, p50", "below", 2.5, "ms",
         at("etcd_handoff", ETCD, "p50_ms")),
    Goal("E3", "`lockbyfile run etcd://… true` ÷ `etcdctl lock NAME true`", "at most", 1.0, "×",
         beside("etcdctl lock", "etcd_command", "p50_ms")),
    Goal("E4", "in etcd: with 1,000 waiters, events that watches receive for each release",
         "at most", 2.1, "", at("etcd_line", ETCD, "events", waiters=1000)),
    Goal("E4", "in etcd: the same, entries of its log for each grant", "at most", 2.1, "",
         at("etcd_line", ETCD, "writes", waiters=1000)),
]  # fmt: skip


# ---------------------------------------------------------------- tables


def escaped(text: str) -> str:
    """Escaped so that Markdown shows the text as it is, within a table too."""
    return re.sub(r"([\\`*_\[\]<>|#~])", r"\\\1", " ".join(text.split()))


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """The first column has words, the others have numbers. The cells are already Markdown."""
    lines = [head, ["---"] + ["--:"] * (len(head) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def named(contender: str, plays: Iterable[Mapping[str, Any]]) -> str:
    """The name in bold if it is ours. A contender that let two in at once is marked."""
    name = f"**{escaped(contender)}**" if is_ours(contender) else escaped(contender)
    overlaps = sum(play["overlaps"] for play in plays if play["contender"] == contender)
    return f"{name}: **not exclusive, two inside {overlaps:,} times**" if overlaps else name


def contenders(plays: Iterable[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(play["contender"] for play in plays))


@dataclass(frozen=True)
class Column:
    figure: str
    title: str
    more_is_better: bool = False


def compared(plays: Sequence[Mapping[str, Any]], columns: Sequence[Column], base: str = "") -> str:
    """A row for each contender, sorted by the first column, the best first.

    The last column is the first one divided by the base's.
    """
    first = columns[0]

    def rank(contender: str) -> tuple[float, str]:
        seen = spread(values(plays, contender, first.figure).values())
        if seen is None:
            return math.inf, contender
        return -seen.median if first.more_is_better else seen.median, contender

    columns = [
        column for column in columns if any(column.figure in play["figures"] for play in plays)
    ]
    of_base = values(plays, base, first.figure)
    has_ratio = bool(of_base) and len(contenders(plays)) > 1
    rows = []
    for contender in sorted(contenders(plays), key=rank):
        row = [named(contender, plays)]
        row += [with_spread(spread(values(plays, contender, c.figure).values())) for c in columns]
        if has_ratio:
            ratios = divided(values(plays, contender, first.figure), of_base)
            row.append(with_spread(spread(ratios.values())))
        rows.append(row)
    head = ["", *(column.title for column in columns)]
    return table(head + ([f"÷ {escaped(base)}"] if has_ratio else []), rows)


def by_key(plays: Sequence[Mapping[str, Any]], key: str, figure: str, title: str) -> str:
    """Medians, with a row for each contender and a column for each value of the key."""
    settings = sorted({play["keys"][key] for play in plays})

    def cells(contender: str) -> list[str]:
        of_each = [
            spread(values([p for p in plays if p["keys"][key] == x], contender, figure).values())
            for x in settings
        ]
        return [with_spread(seen) for seen in of_each]

    names = sorted(contenders(plays), key=lambda name: (not is_ours(name), name))
    rows = [[named(name, plays), *cells(name)] for name in names]
    return table([title, *(f"{x:,}" for x in settings)], rows)


# ---------------------------------------------------------------- the text

PEERS = [
    # contender, how it is used, what it lacks
    ("lockbyfile", "`named_lock` with a lease of 10 s", "nothing of this list"),
    ("lockbyfile, no lease", "the same without a lease", "the lease"),
    ("robust mutex", "`pthread_mutex_t`, process-shared and robust, in a mapped file",
     "lease, token, order; the program decides which process sets it up"),
    ("flock(2)", "`flock(fd, LOCK_EX)`, the file stays open", "lease, token, promised order"),
    ("OFD lock", "`fcntl(F_OFD_SETLKW)`, the file stays open", "lease, token, promised order"),
    ("Boost named_mutex", "`boost::interprocess::named_mutex`",
     "lease, token, order, release when the holder dies"),
    ("Boost file_lock", "`boost::interprocess::file_lock`, which is `fcntl(F_SETLKW)`",
     "lease, token, promised order; threads do not exclude each other"),
    ("O_EXCL + 10 ms", "`open(O_CREAT \\| O_EXCL)`, another try after 10 ms, `unlink`",
     "lease, token, order, being woken, release when the holder dies"),
    ("open+flock+close", "the three calls, for the cost of opening", "as flock(2)"),
    ("lockbyfile (Python)", "`lockbyfile.Lock(path, lease=10)`", "nothing of this list"),
    ("lockbyfile.filelock", "its `FileLock(path)`, with the API of filelock",
     "the lease, because none is given"),
    ("filelock", "`FileLock(path)`: flock(2), polled every 50 ms, its default",
     "lease, token, order, being woken"),
    ("fasteners", "`InterProcessLock(path).acquire()`: polled after 10, 20, … 100 ms, its default",
     "lease, token, order, being woken"),
    ("portalocker", "`Lock(path, flags=LockFlags.EXCLUSIVE)`: waits in flock(2); its default polls",
     "lease, token, promised order"),
    ("flufl.lock", "`Lock(path, lifetime=10)`: polled after 0 to 2 s, at random, its only way",
     "token, order, being woken; a dead holder's lock opens only when its lifetime ends"),
    ("threading.Lock", "`acquire()`, `release()`: what a lock costs in Python",
     "knows no other process"),
    ("lockbyfile run", "`lockbyfile run NAME true`", "the lease, because none is given"),
    ("flock", "`flock FILE true`", "lease, token, promised order"),
    ("dotlockfile", "`dotlockfile -l FILE true`", "lease, token, order, being woken"),
    ("true", "`true`: what any process costs", "is no lock"),
    ("lockbyfile (etcd)", "`named_lock` in etcd, with a lease of 10 s", "nothing of this list"),
    ("two transactions", "put a key that is absent, and delete it, with our client",
     "is no lock: it never waits"),
    ("clientv3's way", "the requests of clientv3's `concurrency.Mutex`, with our client; it"
     " watches from the revision of its read on, as `etcdctl lock` does",
     "a lease for each grant, how the grant came"),
    ("lockbyfile run (etcd)", "`lockbyfile run etcd://HOST/NAME true`",
     "the lease, because none is given"),
    ("etcdctl lock", "`etcdctl lock NAME true`", "patience, a lease for each grant"),
]  # fmt: skip

READING = """\
This page compares lockbyfile with other locks on [one machine](#the-machine). The project's own
[goals](#goals) are at its end.

Each cell is the median over the rounds. The least and the most are in brackets. One number means
that there was one round, or that all rounds were alike. A column "÷ lockbyfile" is the first
column's figure divided by that of lockbyfile in the same round. Only such ratios count, because
absolute times describe this machine on that day. The first column sorts the rows, the best first.
Ours are bold. [What the columns mean](#what-the-columns-mean) defines each figure.
"""

GOALS_MEANING = "These are the project's own goals. The median over the rounds decides.\n"

MEANING = """\
- **Uncontended**: one process acquires and releases, and no other process uses the lock. The figure
  is the median of batches. In C++ the figure includes the check of exclusion. In Python it does
  not, because the check would cost more than the lock.
- **Handoff**: from the instant before `release()` is called to the instant after the `acquire()`
  of another process has returned. Each process holds the lock busily for the given time. It asks
  again once another process has been granted the lock. A wait is from the call of `acquire()` to
  its return.
- **Throughput**: all processes acquire and release all the time. A high figure can mean that one
  process keeps the lock to itself; the fairness shows that.
- **In etcd**: a server with its defaults runs on the same machine, with its data on the disk. The
  holds of the handoff are longer than joining the wait queue takes. A request is answered once.
  Each write is an entry of etcd's log. An event is what etcd sends to a watch. The counts are
  etcd's own, for each grant. Those of the handoff and of the command include opening and closing.
- **Exclusion**: a process that enters a critical section writes that into a page that all processes
  share, and looks whether another process is inside. One overlap of ours ends the benchmark with an
  error. An overlap of a peer is reported beside its name.
"""


def goals_table(data: Data) -> str:
    rows = []
    for goal in GOALS:
        seen, word = verdict(goal, data)
        unit = f" {goal.unit}" if goal.unit else ""
        limit = f"{goal.limit:,g}" if goal.limit >= 1000 else f"{goal.limit:g}"
        shown = with_spread(seen) + unit if seen else "–"
        word = f"**{word}**" if word == "not met" else word
        rows.append([f"{goal.name}: {goal.says}", f"{goal.asked} {limit}{unit}", shown, word])
    return table(["", "asked", "measured", ""], rows)


def section(title: str, *parts: str) -> str:
    return f"## {title}\n\n" + "\n".join(part for part in parts if part)


HANDOFF = [
    Column("p50_us", "p50, µs"),
    Column("p99_us", "p99, µs"),
    Column("worst_wait_us", "longest wait, µs"),
]


def handoff_tables(data: Data) -> list[str]:
    parts = []
    for processes, hold in ((2, 100), (17, 100), (65, 100), (2, 1000)):
        plays = plays_of(data, "handoff", processes=processes, hold_us=hold)
        if plays:
            language = ", in Python" if hold == 1000 else ""
            parts.append(f"{processes} processes, holds of {hold:,} µs{language}:\n")
            base = "lockbyfile (Python)" if language else "lockbyfile"
            parts.append(compared(plays, HANDOFF, base))
    series = [
        dict(play, keys={"waiters": play["keys"]["processes"] - 1})
        for play in plays_of(data, "handoff", hold_us=100)
        if play["contender"] in SERIES
    ]
    if series:
        parts.append("p50 of the handoff in µs, over the number of waiters:\n")
        parts.append(by_key(series, "waiters", "p50_us", "waiters"))
    return parts


def by_language(data: Data, scenario: str) -> list[list[Mapping[str, Any]]]:
    plays = plays_of(data, scenario)
    return [
        [play for play in plays if play["language"] == language]
        for language in dict.fromkeys(play["language"] for play in plays)
    ]


SIMPLE = [
    # scenario, title, base, columns
    ("fairness", "Fairness: 16 processes, holds of 1 ms", "",
     [Column("least_to_most", "fewest grants ÷ most", True)]),
    ("line", "A wait queue of 1,000 waiters", "",
     [Column("cpu_percent", "% of a core, all waiters"), Column("drain_ms", "drain, ms"),
      Column("handoffs", "drain ÷ waiters × handoff")]),
    ("death", "Death of the holder to the next grant", "lockbyfile",
     [Column("p50_ms", "p50, ms"), Column("p99_ms", "p99, ms")]),
    ("lease_end", "End of the lease to the next grant", "",
     [Column("p50_ms", "p50, ms"), Column("p99_ms", "p99, ms")]),
    ("command", "The command as a whole process", "lockbyfile run",
     [Column("p50_ms", "p50, ms"), Column("p99_ms", "p99, ms")]),
]  # fmt: skip


def names_table(data: Data) -> str:
    plays = plays_of(data, "names")
    rows = []
    for count in sorted({play["keys"]["count"] for play in plays}):
        for contender in contenders(plays):
            of = [play for play in plays if play["keys"]["count"] == count]
            seen = [values(of, contender, what) for what in ("create_us", "list_us", "prune_us")]
            rows.append([f"{count:,}", *(with_spread(spread(each.values())) for each in seen)])
    return table(["names", "create, µs", "list, µs", "prune, µs"], rows)


COUNTS = [
    Column("requests", "requests"),
    Column("writes", "writes"),
    Column("puts", "keys put"),
    Column("deletes", "deleted"),
    Column("ranges", "read"),
    Column("watches", "watches"),
    Column("events", "events"),
]
ETCD_TITLES = {
    "etcd_alone": ("Acquire and release, no other client is there:\n", "two transactions"),
    "etcd_handoff": ("Handoff between 2 processes, holds of 6 ms:\n", "lockbyfile (etcd)"),
    "etcd_command": ("The command as a whole process:\n", "etcdctl lock"),
}


def etcd_parts(data: Data) -> list[str]:
    """The parts of the section on locks in etcd."""
    parts = []
    times = [Column("p50_ms", "p50, ms"), Column("p99_ms", "p99, ms")]
    for scenario, (title, base) in ETCD_TITLES.items():
        plays = plays_of(data, scenario)
        if plays:
            parts += [title, compared(plays, times, base)]
            parts += ["What etcd did, for each grant:\n", compared(plays, COUNTS)]
    for play in [play for play in plays_of(data, "etcd_line") if play["figures"]][:1]:
        figures, waiters = play["figures"], play["keys"]["waiters"]
        rows = [
            [title, *(number(figures.get(kind + c.figure, 0)) for c in COUNTS)]
            for title, kind in (("each grant", ""), ("each second, each waiter", "waiting_"))
        ]
        drain = f"all waiters had held the lock after {number(figures.get('drain_ms', 0))} ms"
        parts.append(f"A wait queue of {waiters:,} waiters: what etcd did; {drain}:\n")
        parts.append(table(["", *(c.title for c in COUNTS)], rows))
    return parts


def picture(directory: str, name: str, alt: str, drawn: Iterable[str]) -> str:
    return f"![{alt}]({directory}/{name}.svg)\n" if name in drawn else ""


def markdown(data: Data, drawn: Iterable[str]) -> str:
    """The text of benchmarks.md, with the plots that were drawn."""
    drawn = set(drawn)
    kinds = {"full": "", "quick": "a quick run, ", "only": "a part, "}
    rounds = f"{data['rounds']} round" + ("s" if data["rounds"] > 1 else "")
    parts = [
        "<!-- SPDX-License-Identifier: Apache-2.0 -->\n# Benchmarks\n",
        f"Made by `./dev bench` ({kinds[data['kind']]}{rounds}, everything in turn, seed"
        f" {data['seed']}). Do not edit it.\n",
        READING,
    ]
    failed = {
        f"- {escaped(play['contender'])} in {play['scenario']}"
        f" ({escaped(', '.join(f'{k}={v}' for k, v in play['keys'].items()))}):"
        f" {escaped(play['failure'])}"
        for play in failures(data)
    }
    if failed:
        parts.append(section("What failed", "\n".join(sorted(failed)) + "\n"))
    missing = data.get("left out", {})
    if missing:
        lines = [f"- {escaped(what)}: {escaped(why)}" for what, why in sorted(missing.items())]
        parts.append(section("What was left out", "\n".join(lines) + "\n"))
    plays = plays_of(data, "uncontended")
    if plays:
        parts.append(
            section(
                "Uncontended",
                compared(plays, [Column("ns", "acquire and release, ns")], "lockbyfile"),
            )
        )
    if plays_of(data, "handoff"):
        parts.append(
            section(
                "Handoff",
                picture("benchmarks", "handoff", "How long the handoff takes, for each lock: the"
                        " middle half, from the first to the 99th percentile, and the median, on a"
                        " logarithmic axis", drawn),
                picture("benchmarks", "waiters", "The median of the handoff over the number of"
                        " waiters, for lockbyfile, flock(2) and a robust mutex, on logarithmic"
                        " axes", drawn),
                *handoff_tables(data),
            )
        )  # fmt: skip
    languages = by_language(data, "throughput")
    if languages:
        parts.append(
            section(
                "Throughput",
                picture("benchmarks", "throughput", "Grants a second over the number of processes,"
                        " for each lock of C++, on logarithmic axes", drawn),
                "Grants a second, by the number of processes; an empty critical section:\n",
                *(by_key(of, "processes", "grants_per_s", "processes") for of in languages),
                "Fewest grants of a process ÷ most, the same runs:\n",
                *(by_key(of, "processes", "least_to_most", "processes") for of in languages),
            )
        )  # fmt: skip
    for scenario, title, base, columns in SIMPLE:
        plays = plays_of(data, scenario)
        if plays:
            parts.append(section(title, compared(plays, columns, base)))
    plays = plays_of(data, "open")
    if plays:
        ordinary = plays_of(data, "open", reach=1000)
        reaches = [play["figures"]["reach"] for play in plays if "reach" in play["figures"]]
        reach = f"One process had {max(reaches):,.0f} names open at once.\n" if reaches else ""
        columns = [
            Column("second_us", "open one that is there, µs"),
            Column("first_us", "first use of a name, µs"),
            Column("private_bytes", "private memory, bytes"),
        ]
        parts.append(section("Opening", compared(ordinary, columns, "open+flock+close"), reach))
    if plays_of(data, "names"):
        parts.append(
            section("Many names in a directory", "Microseconds for each name:\n", names_table(data))
        )
    in_etcd = etcd_parts(data)
    if in_etcd:
        parts.append(section("Locks in etcd", *in_etcd))
    played = set(contenders(data["plays"]))
    peers = [
        [f"**{escaped(name)}**" if is_ours(name) else escaped(name), used, lacks]
        for name, used, lacks in PEERS
        if name in played
    ]
    parts.append(section("What the columns mean", MEANING))
    parts.append(
        section(
            "How each peer was used, and what it lacks",
            table(["", "used as", "lacks"], peers).replace("--:", "---"),
        )
    )
    again = {"full": "./dev bench", "quick": "./dev bench --quick", "only": "./dev bench --only …"}
    parts.append(
        section(
            "Again",
            "<!-- not run: takes minutes -->\n"
            f"```sh\n{again[data['kind']]} --seed {data['seed']}\n```\n",
            "`./dev bench --quick` takes two minutes and does not change this page. The data\n"
            "are in `build/bench/results.json`, and `./dev bench --from FILE` makes the report\n"
            "from them again. `bench/bench.py` begins with the plan of all measurements.\n",
        )
    )
    machine = [[escaped(key), escaped(value)] for key, value in data["machine"].items()]
    parts.append(section("The machine", table(["", ""], machine).replace("--:", "---")))
    parts.append(section("Goals", GOALS_MEANING, goals_table(data)))
    return "\n".join(parts)


# ---------------------------------------------------------------- plots

# The colours of Okabe and Ito, which colour-blind readers can tell apart. Only our line is thick.
COLOURS = {
    "lockbyfile": "#D55E00",
    "lockbyfile, no lease": "#E69F00",
    "robust mutex": "#0072B2",
    "flock(2)": "#009E73",
    "OFD lock": "#56B4E9",
    "Boost named_mutex": "#CC79A7",
    "Boost file_lock": "#777777",
    "O_EXCL + 10 ms": "#000000",
}
SERIES = ("lockbyfile", "flock(2)", "robust mutex")
STYLE = {
    "svg.hashsalt": "lockbyfile",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10,
    "savefig.facecolor": "white",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
}


def colour(contender: str) -> str:
    return COLOURS.get(contender, COLOURS["lockbyfile"] if is_ours(contender) else "#777777")


def weight(contender: str) -> str:
    return "bold" if is_ours(contender) else "normal"


def apart(positions: Mapping[str, float], gap: float) -> dict[str, float]:
    """The positions in the same order, each at least `gap` above the one below."""
    placed: dict[str, float] = {}
    lowest = -math.inf
    for name, position in sorted(positions.items(), key=lambda item: (item[1], item[0])):
        lowest = placed[name] = max(position, lowest + gap)
    return placed


def samples(plays: Iterable[Mapping[str, Any]], contender: str) -> list[float]:
    """The samples of all rounds, sorted. A scenario has samples of one kind."""
    return sorted(
        value
        for play in plays
        if play["contender"] == contender
        for kind in play["samples"].values()
        for value in kind
        if value > 0
    )


SHARES = (0.01, 0.25, 0.5, 0.75, 0.99)


def draw_handoff(pyplot: Any, data: Data) -> Any:
    """A row for each lock, a panel for each number of processes."""
    panels = []
    for processes, hold in ((2, 100), (17, 100), (65, 100), (2, 1000)):
        plays = plays_of(data, "handoff", processes=processes, hold_us=hold)
        seen = {name: samples(plays, name) for name in contenders(plays)}
        seen = {name: each for name, each in seen.items() if each}
        if seen:
            language = ", in Python" if hold == 1000 else ""
            panels.append((f"{processes} processes, holds of {hold:,} µs{language}", seen))
    if not panels:
        return None
    heights = [len(seen) for _, seen in panels]
    figure, grid = pyplot.subplots(
        len(panels),
        1,
        sharex=True,
        squeeze=False,
        figsize=(8.4, 0.26 * sum(heights) + 0.55 * len(panels) + 0.5),
        gridspec_kw={"height_ratios": heights},
    )
    for axes, (title, seen) in zip(grid[:, 0], panels):
        ranked = sorted(seen, key=lambda name: (-percentile(seen[name], 0.5), name))
        for row, name in enumerate(ranked):
            p1, p25, p50, p75, p99 = (percentile(seen[name], q) for q in SHARES)
            thick = 9 if is_ours(name) else 6
            axes.plot([p1, p99], [row, row], color=colour(name), linewidth=1.2)
            axes.plot([p25, p75], [row, row], color=colour(name), linewidth=thick, alpha=0.55)
            axes.plot([p99], [row], marker="|", color=colour(name), markersize=8)
            axes.plot([p50], [row], marker="o", color=colour(name), markersize=5)
            axes.annotate(
                duration(p50), (p99, row), xytext=(6, 0), textcoords="offset points",
                va="center", fontsize=8, fontweight=weight(name),
            )  # fmt: skip
        axes.set_yticks(range(len(ranked)), ranked)
        for label in axes.get_yticklabels():
            label.set_fontweight(weight(label.get_text()))
        axes.set_ylim(-0.7, len(ranked) - 0.3)
        axes.set_title(title, loc="left", fontsize=10)
        axes.grid(axis="y", visible=False)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda us, _: duration(us))
        axes.minorticks_off()
    grid[-1, 0].set_xlabel(
        "handoff; dot: median, thick: middle half, line: 1st to 99th percentile; less is better"
    )
    grid[-1, 0].margins(x=0.12)
    return figure


def draw_lines(
    pyplot: Any, lines: Mapping[str, Mapping[int, Spread]], across: str, up: str, title: str
) -> Any:
    """Medians over a number, with their spread, labelled at their ends."""
    if not any(len(points) > 1 for points in lines.values()):
        return None
    figure, axes = pyplot.subplots(figsize=(8.4, 4.2))
    markers = dict(zip(COLOURS, "os^Dv<>X"))
    for name, points in sorted(lines.items(), key=lambda line: is_ours(line[0])):
        x = sorted(points)
        axes.plot(
            x,
            [points[each].median for each in x],
            color=colour(name),
            linewidth=3.2 if name == "lockbyfile" else 1.4,
            marker=markers.get(name, "."),
            markersize=6 if name == "lockbyfile" else 4,
            zorder=3 if is_ours(name) else 2,
        )
        axes.fill_between(
            x,
            [points[each].least for each in x],
            [points[each].most for each in x],
            color=colour(name),
            alpha=0.12,
            linewidth=0,
        )
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    ticks = sorted({x for points in lines.values() for x in points})
    axes.set_xticks(ticks, [f"{x:,}" for x in ticks])
    axes.yaxis.set_major_formatter(lambda value, _: number(value).removesuffix(".0"))
    axes.minorticks_off()
    low, high = axes.get_ylim()
    ends = {name: math.log10(points[max(points)].median) for name, points in lines.items()}
    for name, place in apart(ends, 0.055 * math.log10(high / low)).items():
        axes.annotate(
            name, (max(lines[name]), 10**place), xytext=(9, 0), textcoords="offset points",
            va="center", color=colour(name), fontweight=weight(name), annotation_clip=False,
        )  # fmt: skip
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    axes.set_title(title, loc="left", fontsize=10)
    figure.subplots_adjust(right=0.8)
    return figure


def lines_of(
    plays: Sequence[Mapping[str, Any]], figure: str, less: int = 0
) -> dict[str, dict[int, Spread]]:
    """Spreads by contender and by the number of processes minus `less`."""
    lines: dict[str, dict[int, Spread]] = {}
    for size in sorted({play["keys"]["processes"] for play in plays}):
        of = [play for play in plays if play["keys"]["processes"] == size]
        for name in contenders(of):
            seen = spread(values(of, name, figure).values())
            if seen and seen.least > 0:
                lines.setdefault(name, {})[size - less] = seen
    return lines


def draw(data: Data, directory: Path) -> list[str]:
    """Draws the plots for which there are data, and returns their names."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    native = [play for play in plays_of(data, "throughput") if play["language"] == "C++"]
    series = [p for p in plays_of(data, "handoff", hold_us=100) if p["contender"] in SERIES]
    pictures: dict[str, Callable[[], Any]] = {
        "handoff": lambda: draw_handoff(pyplot, data),
        "throughput": lambda: draw_lines(
            pyplot, lines_of(native, "grants_per_s"), "processes", "grants a second",
            "Throughput, empty critical section: median, least and most; more is better",
        ),
        "waiters": lambda: draw_lines(
            pyplot, lines_of(series, "p50_us", less=1), "waiters", "handoff, p50, µs",
            "Handoff over waiters, holds of 100 µs: median, least and most; less is better",
        ),
    }  # fmt: skip
    drawn = []
    directory.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(STYLE):
        for name, make in pictures.items():
            figure = make()
            path = directory / f"{name}.svg"
            path.unlink(missing_ok=True)
            if figure:
                figure.savefig(path, metadata={"Date": None}, bbox_inches="tight")
                pyplot.close(figure)
                drawn.append(name)
    return drawn


def write(data: Data, output: Path) -> Path:
    """Writes benchmarks.md and benchmarks/*.svg."""
    drawn = draw(data, output / "benchmarks")
    path = output / "benchmarks.md"
    path.write_text(markdown(data, drawn))
    return path
