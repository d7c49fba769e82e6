"""The command on Windows: code pages, variables in names, Ctrl-Break and kills in the middle of a change.

Only a Python for Windows runs these (`make windows`); consoles: `tests/windows`.
"""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

assert sys.platform == "win32"

import vhdx
from tests.support.layout import MIB
from tests.support.shell import words_of

from .running import COMMAND, run

INTERRUPTED = """
import os, signal, sys
from vhdx.storage import windows_calls as calls
left, how, really = int(sys.argv.pop(1)), sys.argv.pop(1), calls.called
def called(*arguments):
    global left
    left -= 1
    if left == 0 and how == "break":
        signal.raise_signal(signal.SIGBREAK)
    elif left == 0:
        os.kill(os.getpid(), signal.SIGTERM)  # TerminateProcess, whatever the name says
    return really(*arguments)
calls.called = called
from vhdx.cli import start
start.run()
"""
"""Ctrl-Break or an end without a word before the call of this number on a file."""


@pytest.fixture(name="image")
def _image(tmp_path: Path) -> Path:
    vhdx.create(tmp_path / "a.vhdx", "32M", block_size="1M")
    with vhdx.open(tmp_path / "a.vhdx", "r+") as disk:
        for number in range(0, 20, 2):
            disk.pwrite(bytes([number + 1]) * MIB, number * MIB)
        disk.trim(offset=0, length=10 * MIB)
    return tmp_path / "a.vhdx"


@pytest.mark.parametrize("encoding", ["utf-8", "cp850", "cp1252"])
def test_no_name_is_a_reason_to_fail(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "ä漢→.vhdx"
    environment = {**os.environ, "PYTHONUTF8": "0", "PYTHONIOENCODING": f"{encoding}:strict"}
    for verb in (["create", path, "1M"], ["info", path], ["compact", path], ["info", f"{path}.absent"]):
        done = subprocess.run([*COMMAND, *verb], capture_output=True, env=environment, check=False)
        assert done.returncode == (verb[1] != path), done.stderr
        assert b"Traceback" not in done.stderr
        assert "ä".encode(encoding) in done.stdout + done.stderr


def test_variables_in_names_are_known(image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISKS", str(image.parent))
    assert run("info", "%DISKS%\\a.vhdx").code == 0
    assert "%NOTHING%" in run("info", "%NOTHING%\\a.vhdx").err
    vhdx.create(image.parent / "%DISKS%.vhdx", "3M")
    assert "3 MiB" in run("info", "%DISKS%.vhdx", cwd=image.parent).out


@pytest.mark.parametrize(("name", "made"), [("b.qcow2", "b.qcow2"), ("my b.qcow2", "DISK.qcow2")])
def test_what_qemu_writes_is_told_how_to_write(image: Path, name: str, made: str) -> None:
    """The line that is told, run by the shell of Windows, calls QEMU with the server's address."""
    (image.parent / "qemu-img.cmd").write_text("@echo %*\n")
    said = run("convert", image, name, cwd=image.parent).sentence
    words = words_of(said.partition("try: vhdx ")[2])
    done = run(*words, cwd=image.parent)
    assert re.fullmatch(rf"convert -O qcow2 nbd://\S+/a.vhdx {made}\s*", done.out), (said, done)


@pytest.fixture(name="interrupted")
def _interrupted(image: Path) -> Callable[..., subprocess.CompletedProcess[bytes]]:
    """Run a verb that ends before some call. No read of the disk tells the difference afterwards."""
    rest = {"compact": [], "convert": [image.parent / "b.vhdx"], "resize": ["64M"]}

    def run_verb(verb: str, calls: int, how: str) -> subprocess.CompletedProcess[bytes]:
        with vhdx.open(image) as disk:
            before = disk.pread(32 * MIB, 0)
        command = [sys.executable, "-c", INTERRUPTED, str(calls), how, verb, image, *rest[verb]]
        done = subprocess.run(command, capture_output=True, check=False)
        assert b"Traceback" not in done.stderr, done.stderr
        with vhdx.open(image) as disk:
            assert disk.pread(32 * MIB, 0) == before
        return done

    return run_verb


@pytest.mark.parametrize("verb", ["compact", "convert", "resize"])
@pytest.mark.parametrize("calls", [4, 20, 60])
def test_ctrl_break_leaves_a_whole_image(
    verb: str, calls: int, interrupted: Callable[..., subprocess.CompletedProcess[bytes]], image: Path
) -> None:
    done = interrupted(verb, calls, "break")
    assert done.returncode in (0, 130)
    assert calls == 60 or done.returncode == 130
    if done.returncode:
        assert os.listdir(image.parent) == ["a.vhdx"]


@pytest.mark.parametrize(
    ("verb", "calls"),
    [("compact", 8), ("compact", 15), ("compact", 20), ("compact", 30), ("convert", 20), ("resize", 20)],
)
def test_promise_7_a_kill_leaves_an_image_that_goes_on(
    verb: str, calls: int, interrupted: Callable[..., subprocess.CompletedProcess[bytes]], image: Path
) -> None:
    """What was left over is removed, the log is replayed, and the same again ends well."""
    assert interrupted(verb, calls, "kill").returncode == signal.SIGTERM
    assert run("repair", image).code == 0
    assert interrupted(verb, 100_000, "kill").returncode == 0
    assert vhdx.check(image).errors == 0
    assert sorted(os.listdir(image.parent)) == (["a.vhdx", "b.vhdx"] if verb == "convert" else ["a.vhdx"])
