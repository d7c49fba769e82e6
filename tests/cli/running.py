"""Running the command as people do: its own process, its own standard streams."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from . import forked, kept

COMMAND = (sys.executable, "-m", "vhdx")
USAGE = 64


def _no_such_file() -> str:
    try:
        os.stat("no such file")
    except OSError as error:
        return error.strerror or ""
    raise AssertionError


NO_SUCH_FILE = _no_such_file()
"""What this host says of it; on Windows the system's language is its own."""


class Ran(NamedTuple):
    """How a run of the command ended."""

    code: int
    out: str
    err: str

    @property
    def sentence(self) -> str:
        """The one sentence of a failure on standard error."""
        assert self.out == ""
        lines = self.err.splitlines()
        assert len(lines) == 1, self.err
        assert lines[0].startswith("vhdx: "), self.err
        return lines[0].removeprefix("vhdx: ")


def run(*arguments: str | Path, fresh: bool = False, **options: Any) -> Ran:
    """Run ``vhdx`` with these arguments; in a ``fresh`` interpreter if its start matters."""
    words = [*map(str, arguments)]
    done = (not fresh and _spared(words, **options)) or _fresh(words, **options)
    assert "Traceback" not in done.err, done.err
    return done


def _fresh(words: list[str], **options: Any) -> Ran:
    done = subprocess.run(
        [*COMMAND, *words],
        capture_output=True,
        check=False,
        errors="surrogateescape",
        encoding="utf-8",
        **options,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def _spared(words: list[str], **options: Any) -> Ran | None:
    """A run without the start of an interpreter, where one is possible."""
    without_start = next((way for way in (forked, kept) if way.POSSIBLE), None)
    if without_start is None or not options.keys() <= {"cwd", "env", "input"}:
        return None
    cwd, env = options.get("cwd") or Path.cwd(), options.get("env") or os.environ
    done = without_start.server().run(words, cwd, env, options.get("input"))
    if done is None:
        return None
    code, *streams = done
    out, err = (text.decode(errors="surrogateescape") for text in streams)
    return Ran(code, _with_newlines(out), _with_newlines(err))


def _with_newlines(text: str) -> str:
    """As `subprocess` gives text."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def succeed(*arguments: str | Path, **options: Any) -> str:
    """The output of a run that succeeds."""
    done = run(*arguments, **options)
    assert done.code == 0, done.err
    return done.out


def info(*arguments: str | Path) -> dict[str, Any]:
    """What ``vhdx info --json`` says."""
    found = json.loads(succeed("info", "--json", *arguments))
    assert isinstance(found, dict)
    return found


def rows(text: str) -> dict[str, str]:
    """The ``label: value`` lines of a text."""
    pairs = (line.split(":", 1) for line in text.splitlines() if ":" in line)
    return {label.strip(): value.strip() for label, value in pairs}
