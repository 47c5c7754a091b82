#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Check the project's prose: Markdown, man pages, comments and docstrings.

usage: prose.py [--summary] [FILE...]    (without FILE: every file that git tracks)

Finds words that have a plainer substitute, sentences of more than 30 words, and prose lines of more
than 100 columns. With no FILE it also finds subjects above 72 characters among the commits after
the one that added this check. Code, tables, URLs, headings and generated files are not read.
Prints PATH:LINE: WHAT and exits with 1 if there is anything. Without FILE and without git it exits
with 77: it cannot tell which files are the project's.
"""

from __future__ import annotations

import argparse
import ast
import io
import re
import subprocess
import sys
import tokenize
from pathlib import Path
from typing import Iterable, Iterator, NamedTuple

MOST_WORDS = 30
MOST_COLUMNS = 100
MOST_IN_A_SUBJECT = 72
SUBSTITUTES = {
    "whoever": "name the subject: a holder, a waiter, a process",
    "but for": "except",
    "of late": "recently",
    "for ever": "forever",
    "be it": "whether",
    "deed": "operation",
    "deeds": "operations",
}
BANNED = re.compile(r"\b(" + "|".join(SUBSTITUTES) + r")\b", re.I)
# "of late waiters", "not for readers but for writers" and "for ever-growing" are ordinary prose.
ORDINARY_AFTER = re.compile(
    r"of\s+late(?=\s+(?!(?:has|is|was|does)\b)\w+s\b)|for\s+ever(?=-)", re.I
)
ORDINARY_BEFORE = re.compile(r"\bnot\b[^.!?]*$", re.I)
# Written by a program, or by others.
LEFT_OUT = re.compile(
    r"^(LICENSES?/?|NOTICE$|\.reuse/|docs/benchmarks\.md$|packaging/debian/(copyright|changelog)$"
    r"|src/etcd/etcd\.proto$|fuzz/(corpus|findings)/"
    r"|src/file/(line|wait_queue)\.(cpp|hpp)$)"  # to be rewritten with the wait queue
)
# Comments for tools.
DIRECTIVE = re.compile(r"\s*(noqa\b|type: ignore|NOLINT|clang-format (on|off)|shellcheck )")
C_LIKE = {".cpp", ".hpp", ".h", ".c"}
HASH = {".sh", ".cmake", ".yml", ".toml", ".txt", ".service", ".timer", ".map", ".bash"}


class Line(NamedTuple):
    number: int
    text: str  # without the sign of a comment


class Comment(NamedTuple):
    number: int
    column: int
    is_whole: bool  # no code stands before it
    text: str


class Finding(NamedTuple):
    path: str
    number: int
    what: str

    def __str__(self) -> str:
        return f"{self.path}:{self.number}: {self.what}"


# --- blocks of prose: each a list of lines that belong to one paragraph or list item ---------------


def split_blocks(lines: Iterable[Line]) -> Iterator[list[Line]]:
    """Paragraphs and list items. Figures, code by indentation and tables are left out."""
    block: list[Line] = []
    base = 0  # indentation of the block's text
    for line in lines:
        stripped = "" if DIRECTIVE.match(line.text) else line.text.strip()
        indent = len(line.text) - len(line.text.lstrip())
        item = re.match(r"(\s*)([-*+•]|\d+[.)]|[@\\]\w+|[A-Z]{1,2}\d+|[a-z]\)) +", line.text)
        if not stripped or re.match(r"\s*([|+=─-]{2,}|\|)", line.text):
            if block:
                yield block
            block = []
            continue
        is_row = re.search(r"[^\s.!?:] {2,}\S", stripped)  # of a figure whose columns are aligned
        is_code = indent >= base + 4 and block and not block[0].text.strip().startswith("-")
        if item or is_row or is_code:
            if block:
                yield block
            block = []
        if not block:
            base = indent
        block.append(line)
    if block:
        yield block


def markdown(text: str) -> Iterator[list[Line]]:
    kept: list[Line] = []
    fence = None
    in_comment = False
    for number, line in enumerate(text.splitlines(), 1):
        opening = re.match(r"\s*(```+|~~~+)", line)
        if fence:
            if opening and line.strip().startswith(fence):
                fence = None
            continue
        if opening:
            fence = opening.group(1)
            kept.append(Line(number, ""))
            continue
        if in_comment or "<!--" in line:
            in_comment = "-->" not in line
            kept.append(Line(number, ""))
            continue
        if re.match(r"\s*(#+ |!\[|<)|    \S", line) or re.match(r"\s*\[[^]]+\]:", line):
            kept.append(Line(number, ""))
            continue
        kept.append(Line(number, line))
    yield from split_blocks(kept)


def man(text: str) -> Iterator[list[Line]]:
    kept: list[Line] = []
    is_code = False
    for number, line in enumerate(text.splitlines(), 1):
        if re.match(r"\.(EX|nf|TS|Bd)", line):
            is_code = True
        elif re.match(r"\.(EE|fi|TE|Ed)", line):
            is_code = False
        if is_code or line.startswith('.\\"') or re.match(r"\.(SH|SS|TH|PP|TP|IP|RS|RE|EE|fi|TE|Ed|br|sp|UR|UE|nf|EX)\b", line):
            kept.append(Line(number, ""))
        elif re.match(r"\.[BIR]{1,2} ", line):
            kept.append(Line(number, line.split(" ", 1)[1]))
        elif line.startswith("."):
            kept.append(Line(number, ""))
        else:
            kept.append(Line(number, line.replace("\\-", "-").replace("\\&", "")))
    yield from split_blocks(kept)


TOKEN_IN_C = re.compile(
    r"""R"(?P<mark>[^(\s]*)\(.*?\)(?P=mark)" | "(?:\\.|[^"\\\n])*" | (?<!\w)'(?:\\.|[^'\\\n])+'
    | //(?P<line>[^\n]*) | /\*(?P<block>.*?)\*/""",
    re.DOTALL | re.VERBOSE,
)


def comments_in_c(text: str) -> Iterator[list[Line]]:
    found: list[Comment] = []
    for token in TOKEN_IN_C.finditer(text):
        number = text.count("\n", 0, token.start()) + 1
        start = text.rfind("\n", 0, token.start()) + 1
        before = text[start : token.start()]
        if token["line"] is not None:
            body = re.sub(r"^[/!]?<?", "", token["line"])
            found.append(Comment(number, len(before), not before.strip(), body))
        elif token["block"] is not None:
            for i, line in enumerate(token["block"].split("\n")):
                body = re.sub(r"^\s*\*+", "", line)
                found.append(Comment(number + i, len(before), i > 0 or not before.strip(), body))
    return split_blocks(separated(found))


def comments_after_hash(text: str) -> Iterator[list[Line]]:
    found: list[Comment] = []
    for number, line in enumerate(text.splitlines(), 1):
        without_strings = re.sub(
            r""""(?:\\.|[^"\\])*"|'[^']*'""", lambda s: "_" * len(s.group()), line
        )
        comment = re.search(r"^\s*#|\s#(?=\s)", without_strings)
        if comment:
            is_whole = not line[: comment.end() - 1].strip()
            found.append(Comment(number, comment.end(), is_whole, line[comment.end() :]))
    return split_blocks(separated(found))


def python(text: str) -> Iterator[list[Line]]:
    found: list[Comment] = []
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT and not token.string.startswith("#!"):
            number, column = token.start
            is_whole = not token.line[:column].strip()
            found.append(Comment(number, column, is_whole, token.string[1:]))
    yield from split_blocks(separated(found))
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        first = node.body[0] if node.body else None
        if not isinstance(first, ast.Expr) or not isinstance(first.value, ast.Constant):
            continue
        if isinstance(first.value.value, str):
            lines = first.value.value.splitlines()
            yield from split_blocks(Line(first.lineno + i, line) for i, line in enumerate(lines))


def separated(comments: Iterable[Comment]) -> Iterator[Line]:
    """The lines of comments, with an empty one between two that do not belong together.

    A comment after code belongs to nothing before it. Comments on lines of their own belong
    together if nothing is between them and they begin at the same column.
    """
    last: Comment | None = None
    for c in comments:
        if last is None or not c.is_whole or (c.number, c.column) != (last.number + 1, last.column):
            yield Line(c.number, "")
        yield Line(c.number, c.text)
        last = c


# --- what is wrong with a block --------------------------------------------------------------------


def plain(text: str) -> str:
    text = re.sub(r"\\f[BIRP]|\\f\(..", "", text)
    text = re.sub(r"``.+?``|`[^`]*`", "CODE", text)
    text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"<?\w+://[^\s>)]+>?", "URL", text)
    return re.sub(r"\*\*|__", "", text)


def sentences(text: str) -> list[str]:
    text = re.sub(r"\b(e\.g|i\.e|vs|cf|etc|approx|no|Nr|St)\.", r"\1", text, flags=re.I)
    # After a full stop, a lower-case letter begins a sentence only in a parenthesis, in emphasis or
    # in the name of a file or function.
    begin = r"[\"(\[*'‘“]*[A-Z0-9_`~$-]|[(\[*]+[a-z]|[\w/]+(?:[._:]+\w|\()"
    return re.split(r"(?<=[.!?])[\")\]*']*\s+(?=" + begin + r")|(?<=:)\s*$", text)


def check_block(path: str, block: list[Line], columns: dict[int, str]) -> Iterator[Finding]:
    text = plain(" ".join(line.text.strip() for line in block))
    for sentence in sentences(text):
        words = re.findall(r"[A-Za-z0-9](?:[\w'’./:+=-]*\w)?", sentence)
        if len(words) > MOST_WORDS:
            start = " ".join(sentence.split()[:6])
            number = line_of(block, start)
            yield Finding(path, number, f'a sentence of {len(words)} words: "{start} ..."')
    for line in block:
        if len(columns[line.number]) > MOST_COLUMNS and "://" not in columns[line.number]:
            yield Finding(path, line.number, f"{len(columns[line.number])} columns")
    for found in BANNED.finditer(text):
        word = found.group()
        is_contrast = word.lower() == "but for" and ORDINARY_BEFORE.search(text, 0, found.start())
        if is_contrast or ORDINARY_AFTER.match(text, found.start()):
            continue
        number = line_of(block, word.split()[0])
        yield Finding(path, number, f'"{word}": {SUBSTITUTES[word.lower()]}')


def line_of(block: list[Line], start: str) -> int:
    first = start.split()[0] if start.split() else ""
    for width in (3, 1):
        piece = " ".join(start.split()[:width])
        for line in block:
            if piece and piece in plain(line.text):
                return line.number
    return next((line.number for line in block if first in line.text), block[0].number)


def blocks_of(path: str, text: str) -> Iterator[list[Line]]:
    suffix = Path(path).suffix
    if suffix == ".md":
        return markdown(text)
    if suffix in {".1", ".3", ".7"}:
        return man(text)
    if suffix in C_LIKE:
        return comments_in_c(text)
    if suffix in {".py", ".pyi"}:
        return python(text)
    if suffix in HASH or text.startswith("#!/bin/sh") or text.startswith("#!/usr/bin/python3"):
        return comments_after_hash(text)
    return iter(())


def check_text(path: str, text: str) -> list[Finding]:
    columns = dict(enumerate(text.splitlines(), 1))
    found: list[Finding] = []
    for block in blocks_of(path, text):
        found.extend(check_block(path, block, columns))
    return found


# --- files and commits -----------------------------------------------------------------------------


def git(*arguments: str) -> str:
    done = subprocess.run(("git", *arguments), capture_output=True, text=True)
    return done.stdout if done.returncode == 0 else ""


def check_subjects(log: str) -> list[Finding]:
    """`log`: a commit's abbreviated hash and its subject a line."""
    found = []
    for line in log.splitlines():
        commit, _, subject = line.partition(" ")
        if len(subject) > MOST_IN_A_SUBJECT:
            found.append(Finding(commit, 1, f"a subject of {len(subject)} characters"))
    return found


def commits_since_the_check() -> str:
    own = git("log", "--diff-filter=A", "--format=%H", "--", "tests/prose/prose.py").split()
    return git("log", "--no-merges", "--format=%h %s", f"{own[-1]}..HEAD") if own else ""


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--summary", action="store_true", help="count the findings of each file")
    parser.add_argument("files", nargs="*", metavar="FILE")
    options = parser.parse_args()
    found: list[Finding] = []
    files = options.files or git("ls-files").splitlines()
    if not files:
        print("skipped: git does not know these files")
        return 77
    for path in files:
        if LEFT_OUT.search(path) or not Path(path).is_file() or Path(path).is_symlink():
            continue
        try:
            text = Path(path).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found.extend(check_text(path, text))
    if not options.files:
        found.extend(check_subjects(commits_since_the_check()))
    if options.summary:
        for path in sorted({f.path for f in found}):
            print(f"{sum(f.path == path for f in found):5} {path}")
    else:
        for finding in sorted(found, key=lambda f: (f.path, f.number)):
            print(finding)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
