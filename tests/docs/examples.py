"""Running what a page shows: its console sessions and its Python, in their order, in one directory.

In what a command is shown to print, `…` stands for anything within a line, and alone on a line for any lines.
Any GUID stands for all: they differ from run to run. A page says in a comment which files its reader has,
`% example: NAME`, and which programs of others it runs, `% needs: PROGRAM …`. A line that ends with ` &` runs
until the page ends: it is waited for until it has printed what is shown, and ends well when it is told to.
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_BLOCK = re.compile(r"^```(console|python)\n(.*?)^```", re.DOTALL | re.MULTILINE)
_EXAMPLE = re.compile(r"^% example: (\w+)$", re.MULTILINE)
_NEEDS = re.compile(r"^% needs: (.+)$", re.MULTILINE)
_PATIENCE = 60
_LASTED = re.compile(r"(, made)? in [0-9.]+ (s|min [0-9]+ s)$")
"""What a line says on a slow day."""
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


def programs_of(page: Path) -> list[str]:
    """The programs of others that the page runs."""
    return [program for line in _NEEDS.findall(page.read_text()) for program in line.split()]


def has_examples(page: Path) -> bool:
    """Whether there is anything to run."""
    return _BLOCK.search(page.read_text()) is not None


def run_page(page: Path, folder: Path) -> None:
    """Raise AssertionError for the first thing that is not as the page says."""
    names: dict[str, object] = {"__name__": "__main__"}
    with contextlib.ExitStack() as running:
        running.callback(_unmount_all, folder)
        for language, text in _BLOCK.findall(page.read_text()):
            if language == "python":
                with _working_in(folder):
                    exec(compile(text, str(page), "exec"), names)
                continue
            for command in commands_of(text):
                if command.line.endswith(" &"):
                    printed = running.enter_context(_in_the_background(command, folder))
                else:
                    printed = output_of(command.line, folder)
                assert _pattern(command.shown).fullmatch("".join(line + "\n" for line in printed)), (
                    f"$ {command.line}\n" + "\n".join(printed)
                )


def _unmount_all(folder: Path) -> None:
    """Unmount what a page that failed left mounted."""
    for path in folder.iterdir():
        if path.is_mount():
            subprocess.run(["fusermount3", "-u", "-z", path], check=True)


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
    done = subprocess.run(
        ["sh", "-c", f"{{ {line}\n}} 2>&1"],
        cwd=folder,
        env=_environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert "Traceback" not in done.stdout, done.stdout
    return [_LASTED.sub("", line) for line in done.stdout.splitlines()]


@contextlib.contextmanager
def _in_the_background(command: Command, folder: Path) -> Iterator[list[str]]:
    """The first lines that a program prints, as many as are shown; at the end it is told to stop."""
    line = f"exec {command.line.removesuffix(' &')} 2>&1"
    with subprocess.Popen(
        ["sh", "-c", line], cwd=folder, env=_environment(), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield [process.stdout.readline().rstrip("\n") for _ in command.shown]
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(_PATIENCE) == 0, process.stdout.read()


def _environment() -> dict[str, str]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "COLUMNS": "100"}


def _pattern(shown: list[str]) -> re.Pattern[str]:
    lines = []
    for line in shown:
        if line.strip() == "…":
            lines.append(r"(?:.*\n)*?")
            continue
        parts = _GUID.sub("…", line).split("…")
        lines.append(".*?".join(map(re.escape, parts)) + r"\n")
    return re.compile("".join(lines))


@contextlib.contextmanager
def _working_in(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
