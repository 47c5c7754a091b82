# SPDX-License-Identifier: Apache-2.0
"""Who tests the test of the documentation? It must find what is wrong on these pages."""

from __future__ import annotations

import tempfile
import unittest

from test_blocks import Runner, Wrong, blocks_of, matches


def play(page: str) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        runner = Runner(scratch)
        for block in blocks_of(page):
            runner.block(block)


class Pages(unittest.TestCase):
    def test_that_are_wrong(self) -> None:
        for page in (
            "```sh\nfalse\n```\n",
            "```\nno language\n```\n",
            "```sql\nSELECT 1;\n```\n",
            "Text\n\n    indented\n",
            "```sh\nno end\n",
            "<!-- not run: why -->\nno block\n",
            "```console\n$ echo a\nb\n```\n",
            "```console\n$ echo a\n```\n",
            "```console\n$ true\na\n```\n",
            "```console\n$ echo a\na\n$ echo c\nd\n```\n",
            "```python\nraise KeyError\n```\n",
            "```cpp\nint main() { return 1; }\n```\n",
            "```cpp\nint main( { }\n```\n",
            "<!-- first: false -->\n```sh\ntrue\n```\n",
            "<!-- if: true -->\n```sh\nfalse\n```\n",
        ):
            with self.subTest(page), self.assertRaises(Wrong):
                play(page)

    def test_that_are_right(self) -> None:
        for page in (
            "```sh\ntrue\n```\n",
            "```text\nanything\n```\n",
            "<!-- not run: why -->\n```sql\nSELECT 1;\n```\n",
            "```console\n$ echo a\na\n$ echo b; echo c\nb\n...\n```\n",
            "- a list\n  ```sh\n  true\n  ```\n",
            "<!-- if: false -->\n```sh\nfalse\n```\n",
            "<!-- first: touch made -->\n```sh\ntest -f made\n```\n",
            "```python\nimport lockbyfile\n```\n",
            "```cpp\n#include <lockbyfile/lockbyfile.hpp>\nint main() { lockbyfile::named_lock(\"a\").lock(); }\n```\n",
            "```console\n$ echo /run/lock/a\n/run/lock/a\n```\n",
        ):
            with self.subTest(page):
                play(page)

    def test_output_matches_as_a_whole(self) -> None:
        self.assertTrue(matches("a ... c\n", "a b c\n"))
        self.assertTrue(matches("...\n", "a\nb\n"))
        self.assertTrue(matches("...\na\n...\n", "a\n"))
        self.assertFalse(matches("a...\n", "a\nb\n"))
        self.assertFalse(matches("a\n", "a\nb\n"))
        self.assertFalse(matches("a\nb\n", "a\n"))
        self.assertTrue(matches("in 100 ms; 50 ms\n", "in 99.5 ms; 1 s\n"))
        self.assertFalse(matches("100\n", "99\n"))


if __name__ == "__main__":
    unittest.main()
