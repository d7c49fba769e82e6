"""A command that is told to stop in the middle of its work stops, and cleans up behind itself."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.layout import MIB
from vhdx.cli import main

from .running import COMMAND

PATIENCE = 30.0


def started(folder: Path, target: str, *, prefix: str = "", force: bool = False) -> subprocess.Popen[bytes]:
    """A conversion from a pipe that has come so far that its temporary file has data in it."""
    line = f"{prefix}exec {' '.join(COMMAND)} convert - {target} {'--force' if force else ''}"
    process = subprocess.Popen(
        ["sh", "-c", line],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=folder,
    )
    assert process.stdin is not None
    process.stdin.write(b"x" * (2 * MIB + 1))
    process.stdin.flush()
    until = time.monotonic() + PATIENCE
    while not any(path.stat().st_size for path in folder.glob(".vhdx-*.part")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.005)
    return process


def ended(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    """The exit code and what was said."""
    with process:
        _, err = process.communicate(timeout=PATIENCE)
    return process.returncode, err.decode()


@pytest.mark.parametrize("target", ["a.vhdx", "a.raw"])
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_leaves_no_files(tmp_path: Path, target: str, number: signal.Signals, code: int) -> None:
    process = started(tmp_path, target)
    process.send_signal(number)
    ended_with, err = ended(process)
    assert ended_with == code
    assert "Traceback" not in err
    assert os.listdir(tmp_path) == []


def test_says_that_it_was_interrupted(tmp_path: Path) -> None:
    process = started(tmp_path, "a.vhdx")
    process.send_signal(signal.SIGINT)
    _, err = ended(process)
    assert err.strip() == "vhdx: interrupted; a.vhdx was not made, nothing else was changed"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_keeps_the_old_file(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "a.vhdx").write_bytes(b"old")
    process = started(tmp_path, "a.vhdx", force=True)
    process.send_signal(number)
    ended(process)
    assert (tmp_path / "a.vhdx").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.vhdx"]


@pytest.mark.parametrize(
    ("name", "number"), [("HUP", signal.SIGHUP), ("TERM", signal.SIGTERM), ("INT", signal.SIGINT)]
)
def test_a_signal_that_the_caller_ignores_stays_ignored(
    tmp_path: Path, name: str, number: signal.Signals
) -> None:
    """As ``nohup`` has it: who started us decided that the end of the terminal is not our end."""
    process = started(tmp_path, "a.raw", prefix=f"trap '' {name}; ")
    process.send_signal(number)
    assert ended(process)[0] == 0
    assert (tmp_path / "a.raw").read_bytes() == b"x" * (2 * MIB + 1)


def test_a_second_one_does_not_break_off_the_cleaning_up() -> None:
    before = signal.getsignal(signal.SIGINT)
    try:
        signal.signal(signal.SIGINT, main._interrupt_once)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


def test_one_that_comes_while_the_command_starts_prints_no_traceback() -> None:
    """Deterministic: it comes when the first module of the command is imported."""
    program = (
        "import os, signal, sys\n"
        "class Interrupter:\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name == 'vhdx.cli.main':\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Interrupter())\n"
        "from vhdx.cli.start import run\n"
        "run()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, b"", b"")


def test_ctrl_c_when_all_is_done_changes_nothing() -> None:
    """While Python ends."""
    lines = (
        "import atexit, os, signal",
        "from vhdx.cli import main",
        "atexit.register(lambda: os.kill(os.getpid(), signal.SIGINT))",
        "main.exit_code_of = lambda arguments: 3",
        "main.run()",
    )
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (3, b"")
