#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Sends a crowd to the shop, without the lock and with it, and tells what was lost.

    ./run.py --database postgresql --server uwsgi --requests 2000 --picture shop.svg
"""

import argparse
import json
import urllib.request

import load
import picture
import servers


def run(kind, data, environment, requests, **more):
    """The statuses of the answers, and by how much the counter went on."""
    with servers.server(kind, data, environment, **more) as url:
        before = state(url)["value"]
        statuses = load.crowd(url + "/count", requests)
        return statuses, state(url)["value"] - before


def state(url):
    with urllib.request.urlopen(url) as answer:
        return json.load(answer)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--server", choices=sorted(servers.SERVERS), default="uwsgi")
    parser.add_argument("--requests", type=int, default=2000, help="all at once (2000)")
    parser.add_argument("--picture", metavar="FILE", help="a plot of it, .svg or .png")
    arguments = parser.parse_args()
    panels = []
    with servers.folder() as data, servers.database(arguments.database, data) as environment:
        for locks, title in (("no", "without the lock"), ("yes", "with the lock")):
            statuses, counted = run(
                arguments.server, data, environment, arguments.requests, SHOP_LOCKS=locks
            )
            title = f"{title}: {statuses[200] - counted} of {statuses[200]} updates lost"
            print(f"{arguments.server}, {arguments.database}, {title}")
            trace = (data / "trace").rename(data / f"trace-{locks}")
            panels.append((title, trace))
        if arguments.picture:
            picture.draw(panels, 60, arguments.picture)


if __name__ == "__main__":
    main()
