# SPDX-License-Identifier: Apache-2.0
"""Draws a trace of the shop: a row for each worker, waiting and holding in two colours."""

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot  # noqa: E402


def requests_of(trace):
    """(pid, asked, granted, done) of each request, in seconds from the first."""
    rows = [line.split() for line in trace.read_text().splitlines()]
    requests = [(int(pid), *map(float, instants)) for pid, *instants, _ in rows]
    begin = min(asked for _, asked, _, _ in requests)
    return [(pid, *(instant - begin for instant in instants)) for pid, *instants in requests]


def draw(panels, milliseconds, file):
    """Panels of (title, trace), of their second tenth of time: by then the crowd is there."""
    figure, axes = pyplot.subplots(
        len(panels), sharex=True, figsize=(9, 0.8 + 1.7 * len(panels)), squeeze=False
    )
    for axis, (title, trace) in zip(axes[:, 0], panels):
        requests = requests_of(trace)
        begin = max(done for *_, done in requests) / 10
        pids = sorted({pid for pid, *_ in requests})
        for row, pid in enumerate(pids):
            mine = [
                (asked, granted, done)
                for of, asked, granted, done in requests
                if of == pid and done > begin and asked < begin + milliseconds / 1e3
            ]
            waiting = [(1e3 * (a - begin), 1e3 * (g - a)) for a, g, _ in mine]
            holding = [(1e3 * (g - begin), 1e3 * (d - g)) for _, g, d in mine]
            axis.broken_barh(waiting, (row - 0.3, 0.6), color="#f0c05a", label="waiting")
            axis.broken_barh(holding, (row - 0.3, 0.6), color="#2b6cb0", label="in the section")
        axis.set_title(title, loc="left", fontsize=10)
        axis.set_xlim(0, milliseconds)
        axis.set_yticks(range(len(pids)), [f"worker {row + 1}" for row in range(len(pids))])
        axis.spines[["top", "right"]].set_visible(False)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles[:2], labels[:2], ncol=2, loc="upper right", frameon=False)
    axes[-1, 0].set_xlabel("milliseconds")
    figure.tight_layout()
    figure.savefig(file, dpi=110, metadata={"Date": None} if file.endswith(".svg") else None)
