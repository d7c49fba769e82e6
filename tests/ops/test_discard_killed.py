"""Free space given back by a process that is killed at any time: what is used stays, a second run ends it."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest

import vhdx
from tests.filesystems.noise import MIB, looked_at, run, spoil
from tests.ops.test_discard import contents, ext4
from tests.support.tools import needs
from tests.write.checking import copied, is_clean, qemu_check
from vhdx.ops.repair import repair

pytestmark = needs("mkfs.ext4", "e2fsck", "debugfs", "qemu-img")
FOLDER = Path(__file__).parents[2]
SECTOR = 512


class Filled(NamedTuple):
    """An image of an ext4 with noise in all that is free, its contents, and which ranges are free."""

    image: Path
    contents: bytes
    free: list[tuple[int, int]]


@pytest.fixture(scope="module", name="filled")
def _filled(tmp_path_factory: pytest.TempPathFactory) -> Filled:
    folder = tmp_path_factory.mktemp("killed")
    raw = ext4(folder, 12 * MIB)
    with looked_at(raw) as (volume,):
        free = list(volume.free_ranges())
    spoil(raw)
    vhdx.convert(raw, folder / "filled.vhdx", options=vhdx.ImageOptions(block_size=MIB))
    return Filled(folder / "filled.vhdx", raw.read_bytes(), free)


def killed(verb: str, path: Path, steps: int | None, delay: float) -> int:
    """Let a process make so many changes and kill it a little later; how many it told. None lets it end."""
    command = [sys.executable, "-m", "tests.ops.discarding", verb, str(path)]
    with subprocess.Popen(command, cwd=FOLDER, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        if steps is None:
            return len(child.stdout.read().splitlines())
        for _ in range(steps):
            child.stdout.readline()
        time.sleep(delay)
        child.send_signal(signal.SIGKILL)
        child.stdout.read()
        return -child.wait()


def assert_used_is_there(filled: Filled, path: Path, raw: Path) -> int:
    """All outside of free ranges is what it was, inside it is or reads as zeros: how many bytes do."""
    after, end, gone = contents(path), 0, 0
    for offset, length in [*filled.free, (len(after), 0)]:
        assert after[end:offset] == filled.contents[end:offset]
        for at in range(offset, offset + length, SECTOR):
            if after[at : at + SECTOR] != filled.contents[at : at + SECTOR]:
                assert not any(after[at : at + SECTOR])
                gone += SECTOR
        end = offset + length
    raw.write_bytes(after)
    run("e2fsck", "-fn", raw)
    return gone


def cut_short(verb: str, filled: Filled, folder: Path, count: int) -> None:
    whole = copied(filled.image, folder / "whole.vhdx")
    steps = killed(verb, whole, None, 0)
    wanted = assert_used_is_there(filled, whole, folder / "after.raw")
    assert steps > 10
    assert wanted > MIB
    ended = 0
    for seed in range(count):
        chance = random.Random(seed)
        path = copied(filled.image, folder / "killed.vhdx")
        ended += killed(verb, path, chance.randrange(1, steps), chance.random() / 500) == signal.SIGKILL
        assert assert_used_is_there(filled, path, folder / "after.raw") <= wanted
        assert vhdx.check(path).errors == 0
        if seed % 2:
            repair(path)
            assert is_clean(path)
        killed(verb, path, None, 0)
        assert assert_used_is_there(filled, path, folder / "after.raw") == wanted
        assert verb == "trim" or path.stat().st_size == whole.stat().st_size
        vhdx.compact(path)  # gives back what the log of the killed one knows to be nobody's
        repair(path)
        found = vhdx.check(path)
        assert (found.errors, found.warnings) == (0, 0), found.findings
        assert_used_is_there(filled, path, folder / "after.raw")
        qemu_check(path)
    assert ended


@pytest.mark.parametrize("verb", ["compact", "trim"])
def test_what_is_used_is_there_after_a_kill(verb: str, filled: Filled, tmp_path: Path) -> None:
    cut_short(verb, filled, tmp_path, 1)


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["compact", "trim"])
def test_what_is_used_is_there_after_many_kills(verb: str, filled: Filled, tmp_path: Path) -> None:
    cut_short(verb, filled, tmp_path, 20)
