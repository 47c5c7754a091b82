# SPDX-License-Identifier: Apache-2.0
"""The check of the prose finds the faults that it lists, and nothing in ordinary prose."""

from __future__ import annotations

import unittest

import prose

COMMENT = "A waiter gives up, whoever holds it."


def found(text: str, path: str = "page.md") -> list[str]:
    return [finding.what for finding in prose.check_text(path, text)]


def words(count: int) -> str:
    return "A" + " word" * (count - 1) + "."


def wrapped(count: int, sign: str = "") -> str:
    """A sentence of `count` words, ten a line, each line after `sign`."""
    each = words(count).split()
    return "\n".join(sign + " ".join(each[i : i + 10]) for i in range(0, count, 10)) + "\n"


def wide(columns: int) -> str:
    """A line of short sentences, of so many columns."""
    return ("It is so. " * columns)[: columns - 1] + "."


class Words(unittest.TestCase):
    def test_the_words_of_the_rule_are_listed(self) -> None:
        rule = {"whoever", "but for", "of late", "for ever", "be it", "deed"}
        self.assertLessEqual(rule, set(prose.SUBSTITUTES))

    def test_each_listed_word_is_found(self) -> None:
        for word in prose.SUBSTITUTES:
            with self.subTest(word):
                self.assertEqual(len(found(f"It has {word}, and more.\n")), 1)

    def test_a_word_is_found_at_the_beginning_of_a_sentence(self) -> None:
        self.assertEqual(len(found("Whoever waits is served.\n")), 1)

    def test_a_word_is_found_across_a_line_break(self) -> None:
        for word in (w for w in prose.SUBSTITUTES if " " in w):
            with self.subTest(word):
                text = word.replace(" ", "\n")
                self.assertEqual(len(found(f"It has {text}, and more.\n")), 1)

    def test_a_word_is_found_across_a_line_break_of_a_comment(self) -> None:
        self.assertEqual(len(found("// All of them, but\n// for one.\n", "a.cpp")), 1)

    def test_a_finding_names_the_line_and_the_substitute(self) -> None:
        finding = prose.check_text("a.md", "All is well.\n\nIt sleeps for ever.\n")[0]
        self.assertEqual(str(finding), 'a.md:3: "for ever": forever')

    def test_a_word_within_another_word_is_not_found(self) -> None:
        self.assertEqual(found("Indeed, it is for every waiter, and may be its last.\n"), [])

    def test_a_word_in_code_or_in_a_url_is_not_found(self) -> None:
        self.assertEqual(found("See `deed` and <https://example.org/deed/whoever>.\n"), [])

    def test_late_things_are_not_of_late(self) -> None:
        self.assertEqual(found("It is a fault of late waiters.\n"), [])
        self.assertEqual(len(found("The lock of late is held.\n")), 1)

    def test_a_contrast_is_not_an_exception(self) -> None:
        self.assertEqual(found("It is not for readers but for writers.\n"), [])
        self.assertEqual(len(found("It is not so. All are free but for one.\n")), 1)

    def test_for_ever_growing_is_one_adjective(self) -> None:
        self.assertEqual(found("There is no room for ever-growing files.\n"), [])


class Sentences(unittest.TestCase):
    def test_of_31_words_are_found(self) -> None:
        self.assertEqual(len(found(wrapped(31))), 1)

    def test_of_30_words_are_not_found(self) -> None:
        self.assertEqual(found(wrapped(30)), [])

    def test_of_31_words_in_a_comment_are_found(self) -> None:
        self.assertEqual(len(found(wrapped(31, "// "), "a.hpp")), 1)

    def test_end_at_a_full_stop(self) -> None:
        self.assertEqual(found(wrapped(20) + wrapped(20)), [])

    def test_do_not_end_at_an_abbreviation(self) -> None:
        self.assertEqual(len(found(wrapped(20)[:-2] + ",\ne.g. " + wrapped(20))), 1)

    def test_begin_with_code_a_parenthesis_or_a_file(self) -> None:
        for second in ("`code`", "(this", "*this*", "exec(3)", "session.hpp", "--option"):
            with self.subTest(second):
                self.assertEqual(found(wrapped(20) + second + " " + wrapped(20).lower()), [])

    def test_end_with_a_paragraph_or_an_item(self) -> None:
        without_stop = wrapped(20)[:-2] + "\n"
        self.assertEqual(found(without_stop + "\n" + without_stop), [])
        self.assertEqual(found("- " + without_stop + "- " + without_stop), [])

    def test_do_not_go_on_from_one_comment_after_code_to_the_next(self) -> None:
        comment = " ".join(["word"] * 16)
        self.assertEqual(found(f"int a;  // {comment}\nint b;  // {comment}\n", "a.cpp"), [])
        self.assertEqual(found(f"a = 1  # {comment}\nb = 2  # {comment}\n", "a.py"), [])

    def test_do_not_go_on_from_a_comment_after_code_to_one_below(self) -> None:
        comment = " ".join(["word"] * 16)
        self.assertEqual(found(f"int a;  // {comment}\n// {comment}\n", "a.cpp"), [])
        self.assertEqual(found(f"a = 1  # {comment}\n# {comment}\n", "a.py"), [])

    def test_go_on_in_the_column_of_a_comment_after_code(self) -> None:
        comment = " ".join(["word"] * 16)
        text = f"int a;  // {comment}\n        // {comment}\n"
        self.assertEqual(len([w for w in found(text, "a.cpp") if "words" in w]), 1)

    def test_in_the_rows_of_a_figure_are_each_for_itself(self) -> None:
        row = "//   name      " + " ".join(["word"] * 12) + "\n"
        self.assertEqual(found(row * 3, "a.hpp"), [])


class Blocks(unittest.TestCase):
    def test_the_target_of_a_link_does_not_count(self) -> None:
        text = wrapped(29).removesuffix(".\n")
        self.assertEqual(found(f"{text} [it](docs/a-page.md).\n"), [])

    def test_text_that_is_indented_in_a_comment_is_no_part_of_the_sentence(self) -> None:
        text = wrapped(20, "// ").removesuffix(".\n") + "\n" + wrapped(20, "//     ")
        self.assertEqual(found(text, "a.cpp"), [])


class Columns(unittest.TestCase):
    def test_a_line_of_101_is_found(self) -> None:
        self.assertEqual(found(wide(101) + "\n"), ["101 columns"])

    def test_a_line_of_100_is_not_found(self) -> None:
        self.assertEqual(found(wide(100) + "\n"), [])

    def test_a_comment_of_101_is_found(self) -> None:
        self.assertEqual(found("// " + wide(98) + "\n", "a.cpp"), ["101 columns"])

    def test_a_row_of_a_table_may_have_more(self) -> None:
        self.assertEqual(found("| a | b |\n|---|---|\n| c | " + wide(101) + " |\n"), [])

    def test_a_row_of_a_table_in_a_comment_may_have_more(self) -> None:
        self.assertEqual(found("// | " + wide(101) + " |\n", "a.cpp"), [])

    def test_code_by_indentation_may_have_more(self) -> None:
        self.assertEqual(found("It is:\n\n    " + wide(101) + "\n"), [])

    def test_a_line_with_a_url_may_have_more(self) -> None:
        self.assertEqual(found("See https://example.org/" + "a" * 100 + " for it.\n"), [])

    def test_a_block_of_code_may_have_more(self) -> None:
        self.assertEqual(found("It is:\n\n```sh\n" + wide(101) + "\n```\n"), [])

    def test_code_may_have_more(self) -> None:
        self.assertEqual(found("int a = " + "1 + " * 30 + "1;\n", "a.cpp"), [])

    def test_a_comment_for_a_tool_may_have_more(self) -> None:
        self.assertEqual(found("a = " + "1 + " * 30 + "1  # noqa: E501\n", "a.py"), [])


class WhatIsRead(unittest.TestCase):
    def test_comments_of_cpp(self) -> None:
        for text in (
            f"// {COMMENT}\n",
            f"  /// {COMMENT}\n",
            f"int a;  // {COMMENT}\n",
            f"int a;  ///< {COMMENT}\n",
            f"int a = 1'000;  // It's not so. {COMMENT}\n",
            f'const char* a = "//";  // {COMMENT}\n',
            f"char a = '\"';  // {COMMENT}\"\n",
            f"/* {COMMENT} */\n",
            f"int a; /* {COMMENT} */\n",
            f"/**\n * {COMMENT}\n */\n",
        ):
            with self.subTest(text):
                self.assertEqual(len(found(text, "a.cpp")), 1)

    def test_no_strings_and_identifiers_of_cpp(self) -> None:
        for text in (
            'const char* a = "whoever, // whoever";\n',
            'const char* a = "\\"whoever // whoever";\n',
            'const char* a = R"(\n// whoever\n)";\n',
            "char a = '\"'; // so\nint whoever = '\"';\n",
            "deed whoever(deed d);\n",
        ):
            with self.subTest(text):
                self.assertEqual(found(text, "a.cpp"), [])

    def test_comments_and_docstrings_of_python(self) -> None:
        for text in (
            f"# {COMMENT}\n",
            f"a = 1  # {COMMENT}\n",
            f'a = "#"  # {COMMENT}\n',
            f'"""{COMMENT}"""\n',
            f'def f():\n    """So.\n\n    {COMMENT}\n    """\n',
            f'class C:\n    """{COMMENT}"""\n',
        ):
            with self.subTest(text):
                self.assertEqual(len(found(text, "a.py")), 1)

    def test_no_strings_and_identifiers_of_python(self) -> None:
        for text in ('a = "# whoever"\n', 'a = """\n# whoever\n"""\n', "whoever = deed\n"):
            with self.subTest(text):
                self.assertEqual(found(text, "a.py"), [])

    def test_comments_of_a_shell_program(self) -> None:
        for text in (f"# {COMMENT}\n", f"true  # {COMMENT}\n", f"echo 'a' \"b\"  # {COMMENT}\n"):
            with self.subTest(text):
                self.assertEqual(len(found(text, "a.sh")), 1)
                self.assertEqual(len(found("#!/bin/sh\n" + text, "a")), 1)

    def test_no_strings_and_identifiers_of_a_shell_program(self) -> None:
        for text in ("echo 'a # whoever'\n", 'echo "a # whoever"\n', "whoever=${deed#whoever}\n"):
            with self.subTest(text):
                self.assertEqual(found(text, "a.sh"), [])

    def test_the_text_of_a_man_page(self) -> None:
        self.assertEqual(len(found(f".SH NAME\n{COMMENT}\n", "a.7")), 1)
        self.assertEqual(len(found(".SH NAME\n.B whoever\nwaits.\n", "a.7")), 1)

    def test_no_code_and_comments_of_a_man_page(self) -> None:
        self.assertEqual(found(".EX\nwhoever\n.EE\n.\\\" whoever\n", "a.7"), [])

    def test_the_text_of_markdown(self) -> None:
        for text in (f"{COMMENT}\n", f"- {COMMENT}\n", f"[{COMMENT}](a.md)\n", f"> {COMMENT}\n"):
            with self.subTest(text):
                self.assertEqual(len(found(text)), 1)

    def test_no_code_tables_and_comments_of_markdown(self) -> None:
        for text in (
            "```\nwhoever\n```\n",
            "~~~\nwhoever\n~~~\n",
            "| whoever |\n|---|\n| deed |\n",
            "<!-- whoever -->\n",
            "<!--\nwhoever\n-->\n",
            "[a]: https://example.org/whoever\n",
        ):
            with self.subTest(text):
                self.assertEqual(found(text), [])


class Files(unittest.TestCase):
    def test_of_the_wait_queue_are_left_out(self) -> None:
        for path in ("src/file/line.cpp", "src/file/line.hpp", "src/file/wait_queue.cpp"):
            with self.subTest(path):
                self.assertRegex(path, prose.LEFT_OUT)

    def test_that_are_generated_or_of_others_are_left_out(self) -> None:
        for path in (
            "docs/benchmarks.md",
            "LICENSE",
            "packaging/debian/changelog",
            "src/etcd/etcd.proto",
            "fuzz/corpus/name/08a914cde0503969",
        ):
            with self.subTest(path):
                self.assertRegex(path, prose.LEFT_OUT)

    def test_of_ours_are_not_left_out(self) -> None:
        for path in ("README.md", "bench/line.hpp", "src/etcd/line.cpp", "tests/prose/prose.py"):
            with self.subTest(path):
                self.assertNotRegex(path, prose.LEFT_OUT)


class Subjects(unittest.TestCase):
    def test_of_73_characters_are_found(self) -> None:
        wrong = prose.check_subjects("0123abc " + "a" * 73 + "\n")
        self.assertEqual([str(f) for f in wrong], ["0123abc:1: a subject of 73 characters"])

    def test_of_72_characters_are_not_found(self) -> None:
        self.assertEqual(prose.check_subjects("0123abc " + "a" * 72 + "\n"), [])


if __name__ == "__main__":
    unittest.main()
