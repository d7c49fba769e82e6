"""What the command does on a terminal: colours, bars that appear when something lasts, JSON beside them."""

import json
import os
import pty
import re
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

import vhdx
from tests.support.layout import MIB
from tests.support.patterns import pattern
from vhdx.cli import render

from .running import COMMAND

TERMINAL = {**{name: value for name, value in os.environ.items() if name != "NO_COLOR"}, "TERM": "xterm"}


def on_a_terminal(folder: Path, arguments: str, *, stream: str, **environment: str) -> tuple[str, str]:
    """What a run shows on a terminal, which is its standard output or error, and what on the other."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [*COMMAND, *arguments.split()],
        cwd=folder,
        env={**TERMINAL, **environment},
        stdout=theirs if stream == "stdout" else subprocess.PIPE,
        stderr=theirs if stream == "stderr" else subprocess.PIPE,
    ) as process:
        os.close(theirs)
        shown = b""
        while piece := _read(ours):
            shown += piece
        out, err = process.communicate()
    os.close(ours)
    assert process.returncode == 0, (shown, out, err)
    return shown.decode(), (out or err or b"").decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # how Linux says that nobody has the other end any more
        return b""


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    vhdx.create(tmp_path / "a.vhdx", "64M")
    with vhdx.open(tmp_path / "a.vhdx", "r+") as disk:
        disk.pwrite(pattern(1, MIB, 1), 0)
    return tmp_path


def test_colours_on_a_terminal(folder: Path) -> None:
    shown, _ = on_a_terminal(folder, "map --draw a.vhdx", stream="stdout")
    assert "\x1b[32m#" in shown


def test_no_colours_for_those_who_want_none(folder: Path) -> None:
    shown, _ = on_a_terminal(folder, "map --draw a.vhdx", stream="stdout", NO_COLOR="1")
    assert "#" in shown
    assert "\x1b" not in shown


def test_no_colours_in_a_pipe(folder: Path) -> None:
    done = subprocess.run([*COMMAND, "map", "--draw", "a.vhdx"], cwd=folder, capture_output=True, check=True)
    assert b"\x1b" not in done.stdout


@pytest.mark.parametrize("option", ["", "--summary"])
def test_long_names_of_layers_fit_the_terminal(option: str, folder: Path) -> None:
    """And stand in full where nobody counts columns."""
    name = "Windows_Server_2022_0123ABCD-1234-5678-9ABC-DEF012345678.avhdx"
    vhdx.create(folder / name, parent=folder / "a.vhdx")
    with vhdx.open(folder / name, "r+") as disk:
        disk.pwrite(pattern(1, MIB, 1), 8 * MIB)
    words = f"map {option} {name}"
    shown, _ = on_a_terminal(folder, words, stream="stdout", COLUMNS="60")
    rows = shown.replace("\r", "").splitlines()[1 if option else 0 :]
    assert max(map(len, rows)) <= 60
    assert any("Windo" in row and "\u2026" in row and row.endswith(".avhdx") for row in rows)
    assert "\u2026" not in on_a_terminal(folder, words, stream="stderr", COLUMNS="60")[1]


def test_what_is_quick_shows_no_bar(folder: Path) -> None:
    shown, _ = on_a_terminal(folder, "convert a.vhdx b.raw", stream="stderr")
    assert shown == ""


def test_what_lasts_shows_one_and_takes_it_away(tmp_path: Path) -> None:
    """On standard error, never in the way of what standard output carries."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [*COMMAND, "convert", "-", "a.raw"],
        cwd=tmp_path,
        env=TERMINAL,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        assert process.stdin is not None
        process.stdin.write(pattern(1, MIB))
        process.stdin.flush()
        while not any(path.stat().st_size for path in tmp_path.glob(".vhdx-*.part")):
            assert process.poll() is None
            time.sleep(0.01)  # so that it has begun to count
        time.sleep(1.1)
        out, _ = process.communicate(pattern(2, 32 * MIB))
    shown = b""
    while piece := _read(ours):
        shown += piece
    os.close(ours)
    assert out.startswith(b"a.raw: raw, 33 MiB")
    assert b"converting" in shown
    assert shown.endswith(b"\x1b[2K"), "the line is cleared"


class _Terminal:
    """Standard error as rich sees it: a terminal that keeps what is shown."""

    encoding = "utf-8"

    def __init__(self) -> None:
        self.shown = ""

    def write(self, text: str) -> int:
        self.shown += text
        return len(text)

    def flush(self) -> None:
        """Nothing waits."""

    def isatty(self) -> bool:
        return True


def _terminal(monkeypatch: pytest.MonkeyPatch) -> _Terminal:
    """Standard error from now on; a fixture would come before pytest's own."""
    terminal = _Terminal()
    for name, value in (("TERM", "xterm"), ("COLUMNS", "100")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.stderr", terminal)
    return terminal


def test_a_bar_appears_after_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what is done, of how much, at which rate, and what remains."""
    terminal = _terminal(monkeypatch)
    seconds = [0.0]
    monkeypatch.setattr(render, "time", SimpleNamespace(monotonic=lambda: seconds[0]))
    with render.progress_bar("converting") as progress:
        assert progress is not None
        progress(MIB, 64 * MIB)
        seconds[0] = 0.9
        progress(2 * MIB, 64 * MIB)
        assert terminal.shown == ""
        for step in range(10):
            seconds[0] = 1.1 + step
            progress((3 + step) * MIB, 64 * MIB)
    assert "converting" in terminal.shown
    assert "12.0/64.0 MiB" in terminal.shown
    assert re.search(r"[0-9.]+ \w+/s", terminal.shown), "the rate"
    assert re.search(r"[0-9]:[0-9]{2}:[0-9]{2}", terminal.shown), "what remains"


def test_standard_output_stays_standard_output(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """JSON that is printed while a bar is shown must not go where the bar is."""
    terminal = _terminal(monkeypatch)
    monkeypatch.setattr(render, "_PATIENCE", 0.0)
    with render.progress_bar("converting") as progress:
        assert progress is not None
        progress(1, 2)
        sys.stdout.write('{"key": 1}\n')
    assert json.loads(capsys.readouterr().out) == {"key": 1}
    assert '"key"' not in terminal.shown


def test_no_bar_without_a_terminal() -> None:
    with render.progress_bar("converting") as progress:
        assert progress is None
