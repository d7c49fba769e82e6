"""Python's own hazards (promise 21): forks, objects that are dropped, blocks left by an exception."""

import gc
import os
import signal
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest

import vhdx
from tests.support.calls import files_held
from tests.support.layout import MIB
from tests.support.patterns import pattern

from .checking import assert_sound, copied, is_clean, left_by_a_crash, model_of
from .trials import ASKED


@pytest.fixture(name="path")
def _path(tmp_path: Path) -> Path:
    path = tmp_path / "a.vhdx"
    vhdx.create(path, 8 * MIB, block_size=MIB)
    return path


def fork() -> int:
    """As os.fork, which warns of the threads that pytest has."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def in_a_fork(function: Callable[[], object]) -> None:
    """Run a function in a fork of this process; fails if it raises there."""
    child = fork()
    if child == 0:
        signal.alarm(20)
        status = 1
        try:
            function()
            status = 0
        except BaseException:  # noqa: BLE001  nothing may leave the fork
            traceback.print_exc()
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize("mode", ["r+", "r"])
def test_promise_21_a_fork_refuses_everything(path: Path, mode: Literal["r", "r+"]) -> None:
    with vhdx.open(path, "r+") as disk:
        disk.pwrite(pattern(0, 2 * MIB), 0)

    with vhdx.open(path, mode) as disk:
        if mode == "r+":
            disk.pwrite(pattern(7, 5000), 3 * MIB)

        def child() -> None:
            for name, ask in ASKED.items():
                if mode == "r" and name in ("pwrite", "pwrite of many", "zero", "trim"):
                    continue
                with pytest.raises(vhdx.ImageFailedError, match="fork"):
                    ask(disk)
            with pytest.raises(vhdx.ImageFailedError, match="fork"):
                disk.pread(0, 0)
            disk.close()
            disk.close()
            with pytest.raises(ValueError, match="closed"):
                disk.pread(1, 0)

        before = path.read_bytes()
        in_a_fork(child)
        assert path.read_bytes() == before
        assert disk.pread(MIB, 0) == pattern(0, MIB)
        if mode == "r+":
            with pytest.raises(vhdx.ImageLockedError):
                vhdx.open(path)
            disk.pwrite(b"still the parent's", 5 * MIB)
            disk.flush()
    assert is_clean(path)


def test_promise_21_a_fork_that_drops_the_disk_changes_nothing(path: Path) -> None:
    disk = vhdx.open(path, "r+")
    disk.pwrite(pattern(1, 5000), MIB)
    before = path.read_bytes()
    held = [disk]

    def child() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            held.clear()
            gc.collect()

    del disk
    in_a_fork(child)
    assert path.read_bytes() == before
    held.pop().close()
    with vhdx.open(path) as again:
        assert again.pread(5000, MIB) == pattern(1, 5000)


def test_a_living_fork_does_not_hold_the_lock_of_a_parent_that_closed(path: Path) -> None:
    """A worker process that was forked while a disk was open must not keep it locked for ever."""
    disk = vhdx.open(path, "r+")
    go_on, finish = os.pipe()
    child = fork()
    if child == 0:
        os.close(finish)
        os.read(go_on, 1)
        os._exit(0)
    os.close(go_on)
    try:
        disk.close()
        with vhdx.open(path, "r+") as again:
            again.pwrite(b"x", 0)
    finally:
        os.close(finish)
        os.waitpid(child, 0)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_promise_21_leaving_with_by_an_exception_closes_cleanly(
    path: Path, error: type[BaseException]
) -> None:
    model = model_of(path)
    data = pattern(2, 3 * MIB)
    with pytest.raises(error), vhdx.open(path, "r+") as disk:  # noqa: PT012  the block is what is tested
        disk.pwrite(data, MIB // 2)
        raise error
    model.write(data, MIB // 2)
    assert is_clean(path)
    assert_sound(path, model)
    with pytest.raises(ValueError, match="closed"):
        disk.pread(1, 0)


def test_promise_21_a_writer_that_is_collected_does_no_io_and_warns(path: Path, tmp_path: Path) -> None:
    model = model_of(path)
    disk = vhdx.open(path, "r+")
    disk.pwrite(pattern(3, 5000), MIB)
    disk.flush()
    model.write(pattern(3, 5000), MIB)
    model.flushed()
    disk.pwrite(pattern(4, 5000), 2 * MIB)
    model.write(pattern(4, 5000), 2 * MIB)
    before = copied(path, tmp_path / "before.vhdx").read_bytes()
    with pytest.warns(ResourceWarning, match="never closed"):
        del disk
    assert path.read_bytes() == before
    left_by_a_crash(path, model)
    with vhdx.open(path, "r+") as again:  # its lock is gone
        assert again.pread(5000, MIB) == pattern(3, 5000)


def test_promise_21_a_writer_in_a_circle_is_collected_alike(path: Path) -> None:
    disk = vhdx.open(path, "r+")
    disk.pwrite(pattern(3, 5000), MIB)
    circle: list[object] = [disk]
    circle.append(circle)
    before = path.read_bytes()
    del disk, circle
    with pytest.warns(ResourceWarning, match="never closed"):
        gc.collect()
    assert path.read_bytes() == before


def test_promise_21_neither_readers_nor_closed_nor_failed_openings_warn(path: Path, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        disk = vhdx.open(path, "r+")
        disk.pwrite(b"x", 0)
        disk.close()
        del disk
        reader = vhdx.open(path)
        del reader
        (tmp_path / "broken.vhdx").write_bytes(bytes(4096))
        with pytest.raises(vhdx.CorruptImageError):
            vhdx.open(tmp_path / "broken.vhdx", "r+")
        gc.collect()


def test_a_writer_leaves_nothing_open(path: Path) -> None:
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with vhdx.open(path, "r+") as disk:
            disk.pwrite(b"x", 0)
        assert files_held(path.parent) == []
    del disk
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == before
