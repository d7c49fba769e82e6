"""A few seconds of the soak, and that it would find what is wrong."""

import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.layout import MIB

from .begin import begin
from .judge import verify
from .report import Report
from .scene import Scene
from .serve import load

ROOT = Path(__file__).parents[2]
SECONDS = 4


def test_a_few_seconds(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.soak", "--seconds", str(SECONDS), "--seed", "7"]
    done = subprocess.run(
        [*command, "--folder", tmp_path / "soak"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    counts = dict(line.rsplit(None, 1) for line in done.stdout.splitlines()[:-1])
    assert int(counts["states verified"]) > 0
    assert not list((tmp_path / "soak").iterdir())


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    folder = tmp_path / "era"
    folder.mkdir()
    made = Scene(folder, random.Random(3), Report())
    begin(made)
    while made.report.counts["bytes written by clients"] < MIB:
        load(made)
    verify(made)
    return made


def test_finds_a_lost_byte(scene: Scene) -> None:
    reference = scene.leaf.reference
    offset = next(at for at in range(scene.size) if reference.read(1, at) != b"\0")
    byte = reference.read(1, offset)
    reference.write(bytes([byte[0] ^ 1]), offset)
    with pytest.raises(AssertionError, match=f"disk offset {offset}"):
        verify(scene)
    scene.close()


def test_finds_what_the_check_finds(scene: Scene) -> None:
    with open(scene.leaf.path, "r+b") as file:
        file.seek(192 * 1024)
        file.write(bytes(128 * 1024))  # the first region table
        file.write(bytes(64 * 1024))
    with pytest.raises(AssertionError):
        verify(scene)
    scene.close()
