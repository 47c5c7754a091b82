# SPDX-License-Identifier: Apache-2.0
"""What bash, zsh and fish offer for a line with lockbyfile on it; and that --help, the man page and
the three of them know the same verbs and options. The shells themselves are asked.

$LOCKBYFILE is the built command."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
SOURCE = HERE.parent.parent
COMPLETIONS = SOURCE / "completions"
LOCKBYFILE = Path(os.environ["LOCKBYFILE"]).resolve()
SCRATCH = tempfile.TemporaryDirectory()
DUMP = os.path.join(SCRATCH.name, "zcompdump")

BASH_COMPLETION = "/usr/share/bash-completion/bash_completion"

BASH = r"""
[[ -z $3 ]] || source "$3"
source "$1/lockbyfile.bash"
complete -p lockbyfile | grep -q -- '-F _lockbyfile lockbyfile' || exit 1
COMP_LINE=$2 COMP_POINT=${#2}
read -ra COMP_WORDS <<<"${2//=/ = }"
[[ $2 == *' ' ]] && COMP_WORDS+=('')
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_lockbyfile lockbyfile "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
((${#COMPREPLY[@]})) && printf '%s\n' "${COMPREPLY[@]}"
exit 0
"""


def run(*command: str, directory: str, **environment: str) -> str:
    done = subprocess.run(
        command,
        cwd=directory,
        env={
            "PATH": f"{LOCKBYFILE.parent}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
            "HOME": directory,
            "LC_ALL": "C.UTF-8",
            "TERM": "dumb",
            **environment,
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    if done.returncode != 0:
        raise AssertionError(f"{command[0]} ended with {done.returncode}: {done.stderr}")
    return done.stdout


def help_of(*verb: str) -> str:
    return run(str(LOCKBYFILE), *verb, "--help", directory="/")


def verbs_of(text: str) -> list[str]:
    return re.findall(r"^  ([a-z]+) {3,}\S", text.partition("Subcommands:")[2], re.MULTILINE)


def options_of_help(*verb: str) -> set[str]:
    lines = re.findall(r"^  (-\S+)", help_of(*verb), re.MULTILINE)
    return {option for line in lines for option in line.split(",")}


def options_of_man_page(verb: str) -> set[str]:
    """Of a verb's section in lockbyfile(1)."""
    page = (SOURCE / "man" / "lockbyfile.1").read_text(encoding="utf-8")
    section = re.split(r"^\.S[sh] ", page.partition(f"\n.Ss {verb}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
    own = [line for line in section.splitlines() if re.match(r"\.(It )?Fl |^\.Pq Fl ", line)]
    return {"-" + option for line in own for option in re.findall(r"(?:Fl|,) (-?[A-Za-z][a-z-]*)(?=[ ,]|$)", line)}


class Shell:
    """What a shell offers for a line, when Tab is pressed at its end."""

    name = ""

    def offers(self, line: str, directory: str, **environment: str) -> set[str]:
        raise NotImplementedError


class Bash(Shell):
    name = "bash"
    package = ""  # with whose help commands are completed

    def offers(self, line: str, directory: str, **environment: str) -> set[str]:
        arguments = ("bash", str(COMPLETIONS), line, self.package)
        answer = run("bash", "--norc", "-c", BASH, *arguments, directory=directory, **environment)
        return set(answer.split("\n")) - {""}


class BashWithItsPackage(Bash):
    package = BASH_COMPLETION


class Zsh(Shell):
    name = "zsh"

    def offers(self, line: str, directory: str, **environment: str) -> set[str]:
        script = str(HERE / "zsh_matches.zsh")
        answer = run("zsh", "-f", script, line, str(COMPLETIONS), DUMP, directory=directory, **environment)
        return set(answer.split("\n")) - {""}


class Fish(Shell):
    name = "fish"

    def offers(self, line: str, directory: str, **environment: str) -> set[str]:
        script = f"source {COMPLETIONS}/lockbyfile.fish; complete -C $argv[1]"
        answer = run("fish", "--no-config", "-c", script, line, directory=directory, **environment)
        return {offer.split("\t")[0] for offer in answer.split("\n")} - {""}


class Offers(unittest.TestCase):
    shell: Shell

    def setUp(self) -> None:
        if type(self) is Offers:
            self.skipTest("of a shell only")
        if shutil.which(self.shell.name) is None:
            self.skipTest(f"there is no {self.shell.name}")
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.directory = os.path.realpath(scratch.name)
        self.other = os.path.join(self.directory, "other")
        os.mkdir(self.other)
        self.make("nightly", "night shift", "db")
        self.make("elsewhere", directory=self.other)

    def make(self, *names: str, directory: str = "") -> None:
        for name in names:
            run(str(LOCKBYFILE), "run", name, "true", directory=directory or self.directory)

    def offers(self, line: str, **environment: str) -> set[str]:
        return self.shell.offers(line, self.directory, **environment)

    def test_verbs_are_those_of_the_help(self) -> None:
        self.assertEqual(self.offers("lockbyfile "), set(verbs_of(help_of())))

    def test_plays_are_those_of_the_help(self) -> None:
        self.assertEqual(self.offers("lockbyfile demo "), set(verbs_of(help_of("demo"))))

    def test_options_are_those_of_the_help(self) -> None:
        for verb in [(), *((v,) for v in verbs_of(help_of())), *(("demo", p) for p in verbs_of(help_of("demo")))]:
            line = " ".join(["lockbyfile", *verb])
            with self.subTest(line):
                self.assertEqual(self.all_options(line), options_of_help(*verb))

    def all_options(self, line: str) -> set[str]:
        offers = self.offers(line + " -") | self.offers(line + " --")
        return {offer.rstrip("=") for offer in offers}

    def test_names_are_those_of_the_directory(self) -> None:
        for verb in ("run", "status", "wait", "held", "stop", "break", "rm"):
            with self.subTest(verb):
                self.assertEqual(self.unquoted(f"lockbyfile {verb} "), {"nightly", "night shift", "db"})
        self.assertEqual(self.unquoted("lockbyfile status nig"), {"nightly", "night shift"})

    def unquoted(self, line: str, **environment: str) -> set[str]:
        return {offer.replace("\\", "") for offer in self.offers(line, **environment)}

    def test_names_are_those_of_the_option_dir(self) -> None:
        for option in (f"--dir {self.other}", f"--dir={self.other}", "--dir other", "-w 1s --dir other/"):
            with self.subTest(option):
                self.assertEqual(self.offers(f"lockbyfile run {option} "), {"elsewhere"})

    def test_names_are_those_of_the_variable(self) -> None:
        self.assertEqual(self.offers("lockbyfile status ", LOCKBYFILE_DIR=self.other), {"elsewhere"})

    def test_a_word_with_a_slash_is_a_path(self) -> None:
        (found,) = self.offers("lockbyfile status other/els")
        self.assertTrue(found.endswith("elsewhere.lockfile"), found)

    def test_after_the_name_comes_a_command(self) -> None:
        for line in ("lockbyfile run db ", "lockbyfile run -w 1s db -- ", "lockbyfile run --dir other elsewhere -- "):
            with self.subTest(line):
                offers = self.offers(line + "lockbyf")
                self.assertIn("lockbyfile", offers)
                self.assertNotIn("db", offers)

    def test_the_commands_arguments_are_the_commands(self) -> None:
        self.assertIn("nightly.lockfile", self.offers("lockbyfile run db -- cat nightly."))

    def test_directories_are_offered_where_one_is_wanted(self) -> None:
        for line in ("lockbyfile list oth", "lockbyfile prune oth", "lockbyfile run --dir oth"):
            with self.subTest(line):
                self.assertEqual({offer.rstrip("/") for offer in self.offers(line)}, {"other"})

    def test_no_directory_and_no_name_is_offered_for_a_duration(self) -> None:
        self.assertEqual(self.offers("lockbyfile run --lease "), set())


class BashOffers(Offers):
    shell = Bash()


class BashCompletionOffers(Offers):
    shell = BashWithItsPackage()

    def setUp(self) -> None:
        if not os.path.exists(BASH_COMPLETION):
            self.skipTest("there is no bash-completion")
        super().setUp()

    def test_the_commands_options_are_the_commands(self) -> None:
        self.assertIn("--listfiles", self.offers("lockbyfile run db -- dpkg --lis"))


class ZshOffers(Offers):
    shell = Zsh()


class FishOffers(Offers):
    shell = Fish()


class ManPage(unittest.TestCase):
    def test_has_the_options_of_every_verb(self) -> None:
        for verb in verbs_of(help_of()):
            options = options_of_help(verb)
            if verb == "demo":
                for play in verbs_of(help_of("demo")):
                    options |= options_of_help("demo", play)
            with self.subTest(verb):
                self.assertEqual(options_of_man_page(verb), options - {"-h", "--help"})


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], "-v", *sys.argv[1:]])
