"""Running what a page shows: its console sessions and its Python, in their order, in one directory.

In what a command is shown to print, `…` stands for anything within a line, and alone on a line for any lines.
GUIDs differ from run to run. A page says in a comment which files its reader has: `% example: NAME`.
"""

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_BLOCK = re.compile(r"^```(console|python)\n(.*?)^```", re.DOTALL | re.MULTILINE)
_EXAMPLE = re.compile(r"^% example: (\w+)$", re.MULTILINE)
_GUID = re.compile(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")


class Command(NamedTuple):
    """A line that a reader types, and what the page says it prints."""

    line: str
    shown: list[str]


def example_of(page: Path) -> str:
    """The name of the files that the page's reader has."""
    found = _EXAMPLE.findall(page.read_text())
    assert len(found) == 1, f"{page} does not say which example it is"
    return str(found[0])


def has_examples(page: Path) -> bool:
    """Whether there is anything to run."""
    return _BLOCK.search(page.read_text()) is not None


def run_page(page: Path, folder: Path) -> None:
    """Raise AssertionError for the first thing that is not as the page says."""
    names: dict[str, object] = {"__name__": "__main__"}
    for language, text in _BLOCK.findall(page.read_text()):
        if language == "python":
            with _working_in(folder):
                exec(compile(text, str(page), "exec"), names)
            continue
        for command in commands_of(text):
            printed = output_of(command.line, folder)
            assert _pattern(command.shown).fullmatch("".join(line + "\n" for line in printed)), (
                f"$ {command.line}\n" + "\n".join(printed)
            )


def commands_of(session: str) -> list[Command]:
    """The commands of a console session."""
    found: list[Command] = []
    for line in session.splitlines():
        if line.startswith("$ "):
            found.append(Command(line[2:], []))
        else:
            found[-1].shown.append(line)
    return found


def output_of(line: str, folder: Path) -> list[str]:
    """What a command prints on both streams; it must not fail where the page does not say so."""
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "COLUMNS": "100",
    }
    done = subprocess.run(
        ["sh", "-c", f"{{ {line}\n}} 2>&1"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert "Traceback" not in done.stdout, done.stdout
    return done.stdout.splitlines()


def _pattern(shown: list[str]) -> re.Pattern[str]:
    lines = []
    for line in shown:
        if line.strip() == "…":
            lines.append(r"(?:.*\n)*?")
            continue
        parts = [_GUID.sub("GUID", part) for part in line.split("…")]
        guid = _GUID.pattern.replace("(", "(?:")
        lines.append(".*?".join(re.escape(part).replace("GUID", guid) for part in parts) + r"\n")
    return re.compile("".join(lines))


@contextlib.contextmanager
def _working_in(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
