"""Compactions get SIGKILL and SIGINT at any time: contents stay, running again goes on."""

import hashlib
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import vhdx
from tests.support.layout import MIB
from tests.support.tools import needs
from tests.write.checking import copied, guids_of, is_clean, qemu_check, structure_of
from vhdx.ops.repair import repair

BLOCKS = 96
RUNS = 3
FOLDER = Path(__file__).parents[2]


def content_of(path: Path) -> str:
    """A hash of the whole disk."""
    digest = hashlib.sha256()
    with vhdx.open(path) as disk:
        for offset in range(0, disk.size, 4 * MIB):
            digest.update(disk.pread(min(4 * MIB, disk.size - offset), offset))
    return digest.hexdigest()


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Blocks in no order; a third of them zeros, a third given back."""
    path = tmp_path_factory.mktemp("killed") / "filled.vhdx"
    vhdx.create(path, f"{BLOCKS * 4}MiB", block_size="1MiB")
    chance = random.Random(1)
    with vhdx.open(path, "r+") as disk:
        for number in chance.sample(range(BLOCKS * 4), BLOCKS):
            disk.pwrite(chance.randbytes(MIB) if number % 3 else bytes(MIB), number * MIB)
        disk.flush()
        for number in range(0, BLOCKS * 4, 5):
            disk.zero(length=MIB, offset=number * MIB)
    return path


def stopped(path: Path, number: int, steps: int, delay: float) -> int:
    """Let a process compact so many blocks, send it a signal a little later; how it ended."""
    command = [sys.executable, "-m", "tests.ops.compacting", str(path)]
    with subprocess.Popen(command, cwd=FOLDER, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
        assert child.stdout is not None
        for _ in range(steps):
            child.stdout.readline()
        time.sleep(delay)
        child.send_signal(number)
        child.stdout.read()
        return child.wait()


@needs("qemu-img")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=["kill", "interrupt"])
def test_what_was_read_is_read(number: int, filled: Path, tmp_path: Path) -> None:
    wanted, identity, before = content_of(filled), guids_of(filled)[1], structure_of(filled).length
    whole = copied(filled, tmp_path / "whole.vhdx")
    steps: list[int] = []
    vhdx.compact(whole, scan_zeros=True, punch=True, progress=lambda done, _: steps.append(done))
    smallest = structure_of(whole).length
    cut_short = 0
    for seed in range(RUNS):
        chance = random.Random(seed)
        path = copied(filled, tmp_path / "killed.vhdx")
        code = stopped(path, number, chance.randrange(len(steps) * 3 // 4), chance.random() / 200)
        cut_short += code != 0
        structure_of(path)
        assert content_of(path) == wanted
        assert structure_of(path).length <= before
        if seed % 2:  # an interrupt inside a commit leaves a log to replay, as a kill does
            repair(path)
            assert is_clean(path)
        vhdx.compact(path, scan_zeros=True, punch=True)
        assert content_of(path) == wanted
        assert structure_of(path).length == smallest < before
        assert guids_of(path)[1] == identity
        qemu_check(path)
    assert cut_short
