"""Killing for real: a process that writes gets SIGKILL at any time, and what it had flushed is there.

Trims of whole blocks read as zeros, so every step has one result. Two heirs are compared: this library and
QEMU's repair, each on a copy of what the dead process left.
"""

import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import vhdx
from tests.support.tools import needs
from vhdx.ops.repair import repair

from .checking import (
    assert_sound,
    copied,
    guids_of,
    is_clean,
    left_by_a_crash,
    model_of,
    qemu_check,
    qemu_content,
)
from .killed import LONGEST, SIZE, Step, steps
from .model import Model, assert_same

RUNS = 24
LAP = 127
"""Flushes that fill a log of 1 MiB, if each changes one page: 2 sectors of 256."""


def kill_a_writer(path: Path, seed: int, flushes: int, delay: float) -> int:
    """Let a process write until it has reported so many flushes, kill it a little later; its last report."""
    folder = Path(__file__).parents[2]
    command = [sys.executable, "-m", "tests.write.killed", str(path), str(seed)]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        last = 0
        try:
            for line in child.stdout:
                last = int(line)
                if last >= flushes:
                    break
            time.sleep(delay)
        finally:
            child.kill()
        for line in child.stdout:
            if line.endswith("\n"):  # the last one may be cut short
                last = int(line)
        assert child.wait() == -signal.SIGKILL
    return last


def tell(model: Model, wanted: Iterator[Step], flushes: int) -> None:
    """Take the steps of the dead process: those that were flushed, then those that it may have begun."""
    done = 0
    for step in wanted:
        if step.what == "flush":
            done += 1
            if done == flushes + 1:
                return  # what comes after this flush would have been reported
            if done <= flushes:
                model.flushed()
        elif step.what == "write":
            model.write(step.data, step.offset)
        else:
            model.zero(step.length, step.offset)


@needs("qemu-img")
@pytest.mark.parametrize("part", [0, 1, *(pytest.param(part, marks=pytest.mark.slow) for part in (2, 3))])
def test_promise_5_what_was_flushed_survives_sigkill(part: int, tmp_path: Path) -> None:
    laps = 0
    dirty = 0
    for seed in range(part, RUNS, 4):
        chance = random.Random(seed)
        path = tmp_path / f"{seed}.vhdx"
        vhdx.create(path, SIZE, block_size="1MiB")
        model = model_of(path)
        flushes = kill_a_writer(path, seed, chance.randrange(4 * LAP), chance.random() / 100)
        tell(model, steps(seed), flushes)
        laps += flushes // LAP
        dirty += not is_clean(path)
        model.reset(left_by_a_crash(path, model))
        repaired_by_qemu(copied(path, tmp_path / "qemu.vhdx"), model)
        identity = guids_of(path)[1]
        repair(path)
        assert is_clean(path)
        assert guids_of(path)[1] == identity
        assert_sound(path, model)
        qemu_check(path)
        path.unlink()
    assert laps >= 2
    assert dirty >= 2


def repaired_by_qemu(path: Path, model: Model) -> None:
    """QEMU finds the log, replays it, and then sees the same disk."""
    qemu_check(path, "-r", "all")
    assert is_clean(path)
    qemu_check(path)
    content = qemu_content(path)
    assert len(content) == SIZE
    assert_same(model.seen_in(lambda length, offset: content[offset : offset + length]), model.content())


def test_a_killed_process_leaves_no_lock(tmp_path: Path) -> None:
    path = tmp_path / "a.vhdx"
    vhdx.create(path, SIZE, block_size="1MiB")
    assert kill_a_writer(path, 1, 1, 0) >= 1
    with vhdx.open(path, "r+") as disk:
        disk.pwrite(b"x" * LONGEST, 0)
    assert is_clean(path)
