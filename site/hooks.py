# SPDX-License-Identifier: Apache-2.0
"""What mkdocs is told beside mkdocs.yml: pages from outside of docs/, and where their links go.

The pages at the top of the repository and the man pages join those of docs/. A link to another page
leads there. A link to a source file leads to `repo_url`; without one, only its text is left. A link
to something that is not in the repository is a warning, and with --strict an error."""

from __future__ import annotations

import logging
import os
import posixpath
import re
import subprocess
from typing import Any

from mkdocs.structure.files import File

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TOP = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")
MAN = ("lockbyfile.1", "lockbyfile.3", "lockbyfile.7")
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^()\s#]+)(#[^()\s]*)?\)")
log = logging.getLogger("mkdocs.hooks.lockbyfile")


def on_files(files: Any, *, config: Any) -> Any:
    made = config["site_dir"] + "-pages"  # of what is not Markdown
    os.makedirs(os.path.join(made, "man"), exist_ok=True)
    for page in MAN:
        with open(os.path.join(made, "man", page + ".md"), "w", encoding="utf-8") as output:
            source = os.path.join(ROOT, "man", page)
            subprocess.run(["mandoc", "-T", "markdown", source], stdout=output, check=True)

    def add(path: str, folder: str) -> None:
        files.append(File(path, folder, config["site_dir"], config["use_directory_urls"]))

    for page in TOP:
        add(page, ROOT)
    for page in MAN:
        add(f"man/{page}.md", made)
    return files


def place_of(source: str) -> str:
    """Where a page of the site is in the repository."""
    return source if source in TOP or source.startswith("man/") else "docs/" + source


def page_of(place: str) -> str:
    """Where something in the repository would be on the site."""
    if place.startswith("docs/"):
        return place.removeprefix("docs/")
    return place + ".md" if place.startswith("man/") else place


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Any) -> str:
    source = page.file.src_uri
    here = posixpath.dirname(place_of(source))

    def target(match: re.Match[str]) -> str:
        image, text, link, anchor = match[1], match[2], match[3], match[4] or ""
        if "://" in link or link.startswith("mailto:"):
            return match[0]
        place = posixpath.normpath(posixpath.join(here, link))
        if files.get_file_from_path(page_of(place)) is not None:
            to = posixpath.relpath(page_of(place), posixpath.dirname(source) or ".")
            return f"{image}[{text}]({to}{anchor})"
        if not os.path.exists(os.path.join(ROOT, place)):
            log.warning("%s has a link to %s, which is not there", place_of(source), link)
        if config["repo_url"]:
            return f"[{text}]({config['repo_url'].rstrip('/')}/blob/main/{place}{anchor})"
        return text

    # Code is left alone.
    pieces = re.split(r"(^```.*?^```$)", markdown, flags=re.MULTILINE | re.DOTALL)
    pieces[::2] = [LINK.sub(target, piece) for piece in pieces[::2]]
    return "".join(pieces)
