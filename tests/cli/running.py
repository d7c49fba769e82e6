"""Running the command as people do: its own process, its own standard streams."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

COMMAND = (sys.executable, "-m", "vhdx")
USAGE = 64


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


def run(*arguments: str | Path, **options: Any) -> Ran:
    """Run ``vhdx`` with these arguments."""
    command = [*COMMAND, *map(str, arguments)]
    done = subprocess.run(
        command, capture_output=True, check=False, errors="surrogateescape", encoding="utf-8", **options
    )
    assert "Traceback" not in done.stderr, done.stderr
    return Ran(done.returncode, done.stdout, done.stderr)


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
