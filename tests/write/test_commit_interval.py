"""Promise 24 in the library: what was written is durable some time later, without anybody's flush."""

import errno
import gc
import math
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

import vhdx
from tests.support.layout import MIB
from tests.support.patterns import pattern
from vhdx.disk.open import open_disk
from vhdx.storage import host

from .checking import copied, is_clean, naively, structure_of
from .test_hazards import in_a_fork

INTERVAL = 0.05
PATIENCE = 20.0


@pytest.fixture(name="path")
def _path(tmp_path: Path) -> Path:
    path = tmp_path / "a.vhdx"
    vhdx.create(path, 64 * MIB, block_size=MIB)
    return path


@pytest.fixture(autouse=True)
def _no_thread_stays() -> Iterator[None]:
    yield
    gc.collect()
    assert comes(lambda: not threads())


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "vhdx-commits"]


def comes(true: Callable[[], bool]) -> bool:
    """Whether something becomes true within some seconds."""
    until = time.monotonic() + PATIENCE
    while not true():
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


def test_promise_24_what_was_written_is_there_after_a_crash_without_a_flush(path: Path) -> None:
    crashed = path.with_name("crashed.vhdx")

    def is_there(data: bytes) -> bool:
        with naively(copied(path, crashed)) as look:
            return look.read(MIB, 7 * MIB) == data

    with open_disk(path, "r+", commit_interval=INTERVAL) as disk:
        for seed in (1, 2):
            disk.zero(length=MIB, offset=7 * MIB)
            disk.pwrite(pattern(seed, MIB), 7 * MIB)
            assert comes(partial(is_there, pattern(seed, MIB)))
        structure_of(crashed)
    assert is_clean(path)


def test_without_an_interval_nothing_is_committed_and_no_thread_runs(path: Path) -> None:
    with open_disk(path, "r+") as disk:
        disk.pwrite(b"x", 0)
        assert not threads()
        time.sleep(4 * INTERVAL)
        with naively(path) as look:
            assert look.read(1, 0) == b"\0"


def test_an_unchanged_image_stays_as_it_is(path: Path) -> None:
    before = path.read_bytes()
    with open_disk(path, "r+", commit_interval=INTERVAL):
        time.sleep(4 * INTERVAL)
    assert path.read_bytes() == before


@pytest.mark.parametrize("interval", [-1, -0.001, math.nan, math.inf, 86401])
def test_no_interval(path: Path, interval: float) -> None:
    with pytest.raises(ValueError, match="commit_interval is"):
        open_disk(path, "r+", commit_interval=interval)


def test_a_commit_that_fails_is_told_by_the_next_call(path: Path) -> None:
    failing: Any = mock.patch("vhdx.storage.host.synchronize", side_effect=OSError(errno.EIO, "no disk"))
    disk = open_disk(path, "r+", commit_interval=INTERVAL)
    disk.pwrite(b"x", 0)
    with failing:
        assert comes(lambda: not threads())
    with pytest.raises(vhdx.ImageFailedError, match="no disk"):
        disk.pwrite(b"y", 0)
    with pytest.raises(vhdx.ImageFailedError, match="no disk"):
        disk.pread(1, 0)
    with pytest.raises(vhdx.ImageFailedError):
        disk.close()


def test_a_full_host_is_tried_again(path: Path) -> None:
    """Nothing has begun: when there is space the commit goes through."""
    refused, is_full, reserve = [], True, host.reserve

    def reserve_or_not(descriptor: int, file_offset: int, length: int) -> bool:
        if is_full and threading.current_thread().name == "vhdx-commits":
            refused.append(file_offset)
            raise OSError(errno.ENOSPC, "full")
        return reserve(descriptor, file_offset, length)

    def is_there() -> bool:
        with naively(copied(path, path.with_name("copy.vhdx"))) as look:
            return look.read(1, 3 * MIB) == b"x"

    full = mock.patch("vhdx.storage.host.reserve", reserve_or_not)
    with full, open_disk(path, "r+", commit_interval=INTERVAL) as disk:
        disk.pwrite(b"x", 3 * MIB)
        assert comes(lambda: len(refused) > 2)
        assert not is_there()
        assert disk.pread(1, 3 * MIB) == b"x"
        is_full = False
        assert comes(is_there)


def test_promise_21_a_fork_refuses_everything_and_commits_nothing(path: Path) -> None:
    with open_disk(path, "r+", commit_interval=INTERVAL) as disk:
        disk.pwrite(b"x", 0)

        def child() -> None:
            assert not threads()
            with pytest.raises(vhdx.ImageFailedError, match="fork"):
                disk.flush()
            disk.close()

        for _ in range(20):  # some of them while a commit runs
            disk.pwrite(b"x", MIB)
            in_a_fork(child)
        disk.flush()
        assert threads()


def test_promise_21_a_disk_that_is_dropped_ends_its_thread_and_warns(path: Path) -> None:
    disk = open_disk(path, "r+", commit_interval=INTERVAL)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del disk
        gc.collect()
        assert comes(lambda: not threads())
    assert any(each.category is ResourceWarning for each in caught)


def test_closing_while_commits_run(path: Path) -> None:
    """A commit that comes too late finds the disk closed; one that runs is waited for."""
    for round_number in range(40):
        disk = open_disk(path, "r+", commit_interval=0.001)
        for block in range(8):
            disk.pwrite(pattern(round_number, 4096), block * MIB)
            disk.zero(length=MIB, offset=(8 + block) * MIB)
        disk.close()
        assert is_clean(path)
    structure_of(path)


def test_a_finaliser_in_the_thread_of_the_commits_is_refused_what_changes(path: Path) -> None:
    """Promise 26: it is a thread inside a call, like any other."""
    refused: list[str] = []
    with open_disk(path, "r+", commit_interval=INTERVAL) as disk:
        writer = disk._writer
        assert writer is not None
        flush = writer.flush

        def flush_with_a_finaliser() -> None:
            if threading.current_thread().name == "vhdx-commits":
                for call in (disk.close, disk.flush):
                    try:
                        call()
                    except RuntimeError as error:
                        refused.append(str(error))
            flush()

        with mock.patch.object(writer, "flush", flush_with_a_finaliser):
            assert comes(lambda: len(refused) >= 2)
        disk.pwrite(b"x", 0)
    assert all("inside another call" in each for each in refused)
