# SPDX-License-Identifier: Apache-2.0
"""Every code block of a Markdown page does what the page says.

    test_blocks.py PAGE...

A page has a scratch directory of its own, in which its blocks run one after the other:

    console   lines after `$ ` are run, and what they print must be what stands below them.
              `...` stands for anything in a line, and as a line for any number of lines.
              Times in ms or s may differ.
    sh        is run by bash -e; what it prints does not matter
    cpp, c    a program: compiled against the built library, and run
    python    is run with the built module
    text      is no code: output, a layout, a drawing

Any other block, and any that cannot be run, needs a comment right before it that says why:
`<!-- not run: REASON -->`. Python that is not run must still be Python. Code that is only indented
is refused. Other comments prepare what a page assumes:

    <!-- first: SHELL TEXT -->   runs before the next block
    <!-- if: SHELL TEXT -->      the block runs if the text succeeds, else is reported as not run
    <!-- etcd -->                the block runs if there is an etcd, which is started for the page
                                 and stands for host1, host2 and host3

/run/lock and /srv on a page stand for folders of the scratch directory.

The command must accept the commands in a man page's .Dl (stubs stand for the jobs). The programs of
lockbyfile(3) are run.

From the environment: LOCKBYFILE, the command; LIBRARY, the static library; MODULE, the directory of
the Python module; CXX and CC."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).resolve().parent.parent.parent
sys.path.append(str(SOURCE / "bench"))
import etcd_server

LOCKBYFILE = Path(os.environ["LOCKBYFILE"]).resolve()
SECONDS = 100  # for a block


class Wrong(Exception):
    """What is wrong with a page, in a sentence."""


@dataclass
class Block:
    language: str
    text: str
    line: int
    said: dict[str, str]  # by the comments before it


def blocks_of(page: str) -> list[Block]:
    """The fenced blocks. Wrong, if there is code that is not fenced."""
    found: list[Block] = []
    fence: re.Match[str] | None = None
    said: dict[str, str] = {}
    after_blank = True
    start = 0
    lines = page.split("\n")
    comment = re.compile(r"^<!-- (?:(not run|first|if): (.*)|(etcd)) -->$")
    for number, line in enumerate(lines, 1):
        if fence is not None:
            if line == fence[1] + "```":
                text = "\n".join(each.removeprefix(fence[1]) for each in lines[start : number - 1]) + "\n"
                found.append(Block(fence[2], text, start, said))
                fence, said = None, {}
        elif match := re.match(r"^( *)```(\S*)", line):
            fence, start = match, number
        elif match := comment.match(line):
            said[match[1] or match[3]] = match[2] or ""
        elif line.startswith("    ") and line.strip() and after_blank:
            raise Wrong(f"line {number} is a code block without a fence, or too far to the right")
        elif line.strip() and said:
            raise Wrong(f"line {number}: no block follows the comment before it")
        after_blank = not line.strip() or (after_blank and line.startswith("    "))
    if fence is not None:
        raise Wrong(f"line {start}: the block has no end")
    return found


class Runner:
    """Runs blocks in a scratch directory."""

    def __init__(self, scratch: str) -> None:
        self.scratch = scratch
        self.here = os.path.join(scratch, "here")
        self.bin = os.path.join(scratch, "bin")
        for folder in (self.here, self.bin, os.path.join(scratch, "run/lock"), os.path.join(scratch, "srv")):
            os.makedirs(folder)
        self.programs = 0
        self.etcd: etcd_server.Server | None = None
        self.sessions: list[int] = []

    def end_what_is_left(self) -> None:
        if self.etcd:
            self.etcd.stop()
        for session in self.sessions:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(session, signal.SIGKILL)

    def run(self, *command: str) -> tuple[int, str]:
        """The exit code, and the output."""
        # A process that is left running may keep this file open.
        with tempfile.TemporaryFile("w+", dir=self.scratch) as output:
            child = subprocess.Popen(
                command,
                start_new_session=True,
                cwd=self.here,
                env={
                    "PATH": f"{self.bin}:{LOCKBYFILE.parent}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
                    "HOME": self.here,
                    "LC_ALL": "C.UTF-8",
                    "TMPDIR": self.scratch,
                    "PYTHONPATH": os.environ["MODULE"],
                    "PYTHONDONTWRITEBYTECODE": "1",
                },
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            self.sessions.append(child.pid)
            code = child.wait(SECONDS)
            output.seek(0)
            return code, output.read().replace(self.scratch + "/run/lock", "/run/lock").replace(
                self.scratch + "/srv", "/srv"
            ).replace(self.here, "/home/you")

    def shell(self, text: str) -> tuple[int, str]:
        for folder in ("/run/lock", "/srv"):
            text = re.sub(rf"(?<![\w.]){folder}\b", self.scratch + folder, text)
        return self.run("bash", "-c", text)

    def must(self, result: tuple[int, str], what: str) -> str:
        code, output = result
        if code != 0:
            raise Wrong(f"{what} ended with {code}:\n{output}")
        return output

    def with_an_etcd(self, text: str) -> str:
        """The text with our server for its hosts."""
        self.etcd = self.etcd or etcd_server.Server(Path(self.scratch))
        host = r"host[123](?::2379)?"
        return re.sub(rf"{host}(?:,{host})*", self.etcd.endpoint, text)

    def block(self, block: Block) -> None:
        if "if" in block.said and self.shell(block.said["if"])[0] != 0:
            print("not run, since this fails:", block.said["if"], flush=True)
            return
        if "etcd" in block.said:
            if missing := etcd_server.missing():
                print("not run:", missing, flush=True)
                return
            block.text = self.with_an_etcd(block.text)
        if "first" in block.said:
            self.must(self.shell("set -e\n" + block.said["first"]), "what comes first")
        if "not run" in block.said:
            if block.language == "python":
                compile(block.text, "<block>", "exec")
        elif block.language == "text":
            pass
        elif block.language == "sh":
            self.must(self.shell("set -e\n" + block.text), "the block")
        elif block.language == "console":
            self.console(block.text)
        elif block.language == "python":
            self.python(block.text)
        elif block.language in ("cpp", "c"):
            self.program(block.language, block.text)
        else:
            raise Wrong(f"a block of `{block.language}` is neither run, nor does it say why not")

    def console(self, text: str) -> None:
        """Commands, which may go on in lines after `> `, each with its output."""
        script, expected = "", ""
        steps: list[tuple[str, str]] = []
        for line in text.splitlines():
            if line.startswith("$ "):
                if script:
                    steps.append((script, expected))
                script, expected = line[2:], ""
            elif line.startswith("> ") and not expected:
                script += "\n" + line[2:]
            elif not script:
                raise Wrong("a console begins with `$ `")
            else:
                expected += line + "\n"
        steps.append((script, expected))
        # One shell for all, so that what one starts in the background another finds.
        mark = "--- next ---"
        whole = "\n".join(f"{script}\necho '{mark}'" for script, _ in steps)
        outputs = self.must(self.shell(whole), "the console").split(mark + "\n")
        for (script, expected), output in zip(steps, outputs):
            if not matches(expected, output):
                raise Wrong(f"$ {script}\nprinted\n{output}and not\n{expected}")

    def python(self, text: str) -> None:
        self.must(self.run(sys.executable, "-c", text), "the Python")

    def program(self, language: str, text: str) -> None:
        self.programs += 1
        program = os.path.join(self.scratch, f"program{self.programs}")
        source = f"{program}.{language}"
        Path(source).write_text(text, encoding="utf-8")
        warnings = ["-Wall", "-Wextra", "-Werror", f"-I{SOURCE}/include"]
        library = os.environ["LIBRARY"]
        if language == "cpp":
            compiler = [os.environ["CXX"], "-std=c++20", *warnings, source, library]
        else:
            if not (SOURCE / "include/lockbyfile.h").exists():
                print("no C here: there is no lockbyfile.h")
                return
            compile_only = [os.environ["CC"], "-std=c99", "-pedantic", *warnings, "-c", source, "-o", program + ".o"]
            self.must(self.run(*compile_only), "the C compiler")
            compiler = [os.environ["CXX"], program + ".o", library]
        self.must(self.run(*compiler, "-pthread", "-o", program), "the compiler")
        self.must(self.run(program), "the program")


def matches(expected: str, output: str) -> bool:
    """A line `...` stands for any number of lines.

    `...` in a line stands for any text in that line, and a time for any time.
    """
    pattern = ""
    for line in expected.splitlines():
        if line == "...":
            pattern += r"(?:[^\n]*\n)*"
        else:
            of_line = "[^\n]*".join(re.escape(piece) for piece in line.rstrip().split("..."))
            pattern += re.sub(r"[0-9.\\]+\\ m?s\b", r"[0-9.]+\\ m?s", of_line) + "\n"
    cleaned = "".join(line.rstrip() + "\n" for line in output.splitlines())
    return re.fullmatch(pattern, cleaned) is not None


def check_markdown(page: Path, runner: Runner) -> int:
    blocks = blocks_of(page.read_text(encoding="utf-8"))
    for block in blocks:
        reason = ", not run: " + block.said["not run"] if "not run" in block.said else ""
        print(f"{page.name}:{block.line}: {block.language}{reason}", flush=True)
        try:
            runner.block(block)
        except Wrong as wrong:
            raise Wrong(f"the block of line {block.line}: {wrong}") from None
    return len(blocks)


def check_man_page(page: Path, runner: Runner) -> int:
    text = page.read_text(encoding="utf-8")
    for job in ("backup", "report", "make-report", "load-data", "publish", "mail"):
        runner.must(runner.shell(f"ln -sf /bin/true ../bin/{job}"), "a stub")
    runner.must(runner.shell("mkdir -p /run/lock/shop"), "a directory")
    commands = [line.replace("\\-", "-") for line in re.findall(r"^\.Dl (lockbyfile .*)$", text, re.MULTILINE)]
    for command in commands:
        code, output = runner.shell(command)
        print(f"{command}: {code}", flush=True)
        if code not in (0, 1):  # 1: there is no such lock any more
            raise Wrong(f"{command}: {code}\n{output}")
    programs = re.findall(r"^In (C|C\+\+):\n\.Bd[^\n]*\n(.*?)\n\.Ed$", text, re.MULTILINE | re.DOTALL)
    for language, program in programs:
        runner.program({"C": "c", "C++": "cpp"}[language], program.replace("\\e", "\\") + "\n")
    return len(commands) + len(programs)


def main() -> int:
    for name in sys.argv[1:]:
        page = Path(name)
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
            runner = Runner(os.path.realpath(scratch))
            try:
                count = (check_markdown if page.suffix == ".md" else check_man_page)(page, runner)
            except (Wrong, subprocess.TimeoutExpired, SyntaxError) as wrong:
                print(f"{page}: {wrong}", file=sys.stderr)
                return 1
            finally:
                runner.end_what_is_left()
            print(f"{page.name}: {count} blocks")
    return 0


if __name__ == "__main__":
    sys.exit(main())
