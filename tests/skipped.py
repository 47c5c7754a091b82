#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""List the tests that were skipped, each with its reason.

usage: skipped.py [--strict] PRESET JUNIT-FILE

With --strict, a skipped test that no line of tests/may_be_skipped allows for PRESET is an error.
"""

from __future__ import annotations

import re
import sys
import xml.etree.ElementTree as xml
from pathlib import Path

ALLOWED = Path(__file__).parent / "may_be_skipped"


def reason_in(output: str) -> str:
    """What GoogleTest, unittest or a script of ours printed when it skipped the test."""
    found = re.search(r": Skipped\n(.+)", output) or re.search(r"skipped[: =]+(.+)", output)
    return found.group(1).strip(" '\")") if found else "it does not say why"


def skipped_in(file: str) -> list[tuple[str, str]]:
    found = []
    for case in xml.parse(file).getroot().iter("testcase"):
        if case.find("skipped") is not None or case.get("status") == "notrun":
            found.append((case.get("name", "?"), reason_in(case.findtext("system-out", ""))))
    return found


def allowed_for(preset: str, text: str) -> list[re.Pattern[str]]:
    """A line of `text`: presets separated by commas, a pattern of whole names, a reason."""
    patterns = []
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            presets, pattern, *_ = line.split(maxsplit=2)
            if preset in presets.split(","):
                patterns.append(re.compile(pattern))
    return patterns


def main(arguments: list[str]) -> int:
    is_strict = "--strict" in arguments
    preset, file = [a for a in arguments if a != "--strict"]
    allowed = allowed_for(preset, ALLOWED.read_text())
    skipped = skipped_in(file)
    print(f"{len(skipped)} tests were skipped")
    unexpected = 0
    for name, reason in skipped:
        is_allowed = any(pattern.fullmatch(name) for pattern in allowed)
        unexpected += not is_allowed
        print(f"  {'' if is_allowed else '(!) '}{name}: {reason}")
    if is_strict and unexpected:
        print(f"{unexpected} of them, marked (!), are not in {ALLOWED}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
