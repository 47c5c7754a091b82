# SPDX-License-Identifier: Apache-2.0
"""Tests of ../skipped.py, on files as ctest writes them."""

from __future__ import annotations

import contextlib
import io
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
import skipped  # noqa: E402

SUITE = "<testsuite>{}</testsuite>"
PASSED = '<testcase name="Lock.Opens" status="run"><system-out>fine</system-out></testcase>'
SKIPPED = (
    '<testcase name="Place.OfRoot" status="notrun"><skipped message="SKIP_RETURN_CODE"/>'
    "<system-out>[ RUN ] Place.OfRoot\n/s/place_test.cpp:7: Skipped\nonly root can\n</system-out></testcase>"
)


class Skipped(unittest.TestCase):
    def run_on(self, cases: str, *options: str, preset: str = "quick") -> tuple[int, str]:
        with tempfile.NamedTemporaryFile("w", suffix=".xml") as file:
            file.write(SUITE.format(cases))
            file.flush()
            out = io.StringIO()
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
                code = skipped.main([*options, preset, file.name])
            return code, out.getvalue()

    def test_a_test_that_ran_is_not_listed(self) -> None:
        self.assertEqual(self.run_on(PASSED, "--strict"), (0, "0 tests were skipped\n"))

    def test_a_skipped_test_is_listed_with_its_reason(self) -> None:
        code, out = self.run_on(PASSED + SKIPPED)
        self.assertEqual(code, 0)
        self.assertIn("Place.OfRoot: only root can", out)

    def test_one_that_may_not_be_skipped_fails_if_strict(self) -> None:
        self.assertEqual(self.run_on(SKIPPED, "--strict")[0], 1)

    def test_one_that_may_be_skipped_does_not_fail(self) -> None:
        case = SKIPPED.replace("Place.OfRoot", "Valgrind.WouldTell")
        self.assertEqual(self.run_on(case, "--strict", preset="asan")[0], 0)

    def test_it_may_be_skipped_in_that_preset_only(self) -> None:
        case = SKIPPED.replace("Place.OfRoot", "Valgrind.WouldTell")
        self.assertEqual(self.run_on(case, "--strict", preset="quick")[0], 1)


if __name__ == "__main__":
    unittest.main()
