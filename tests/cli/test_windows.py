"""The command on Windows: code pages, variables in names, Ctrl-Break in the middle of a change.

Only a Python for Windows runs these (`make windows`); consoles: `tests/windows`.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

assert sys.platform == "win32"

import vhdx
from tests.support.layout import MIB

from .running import COMMAND, run

BREAKS = """
import signal, sys
from vhdx.storage import windows_calls as calls
left, really = int(sys.argv.pop(1)), calls.called
def called(*arguments):
    global left
    left -= 1
    if left == 0:
        signal.raise_signal(signal.SIGBREAK)
    return really(*arguments)
calls.called = called
from vhdx.cli import start
start.run()
"""
"""Ctrl-Break before the call of this number on a file."""


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


@pytest.mark.parametrize("verb", ["compact", "convert", "resize"])
@pytest.mark.parametrize("calls", [4, 20, 60])
def test_ctrl_break_leaves_a_whole_image(verb: str, calls: int, image: Path) -> None:
    with vhdx.open(image) as disk:
        before = disk.pread(32 * MIB, 0)
    rest = {"compact": [], "convert": [image.parent / "b.vhdx"], "resize": ["64M"]}[verb]
    done = subprocess.run(
        [sys.executable, "-c", BREAKS, str(calls), verb, image, *rest], capture_output=True, check=False
    )
    assert b"Traceback" not in done.stderr, done.stderr
    assert done.returncode in (0, 130)
    assert calls == 60 or done.returncode == 130
    with vhdx.open(image) as disk:
        assert disk.pread(32 * MIB, 0) == before
    if done.returncode:
        assert os.listdir(image.parent) == ["a.vhdx"]
