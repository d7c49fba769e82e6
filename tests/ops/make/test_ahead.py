"""Reading ahead: in order, in bounded memory, errors where the pieces are taken, no thread left behind."""

import os
import threading
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

import vhdx
from tests.support.layout import MIB
from tests.support.patterns import pattern
from vhdx.disk.raw import RawDisk
from vhdx.ops.make.ahead import Piece, pieces_of
from vhdx.ops.make.source import DiskSource
from vhdx.storage.file import FileStorage, open_for_reading

RUN = 4096


@pytest.fixture(name="scattered")
def _scattered(tmp_path: Path) -> Path:
    """A page of data in every 64 KiB of 64 MiB, and a last piece that is no whole one."""
    path = tmp_path / "scattered.raw"
    with path.open("wb") as file:
        for offset in range(0, 64 * MIB, 64 * 1024):
            file.seek(offset)
            file.write(pattern(offset // RUN + 1, RUN))
        file.seek(64 * MIB + 512)
        file.write(b"end")
    return path


def source_of(path: Path) -> DiskSource:
    return DiskSource(RawDisk(open_for_reading(str(path))), "raw")


def readers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "read ahead"]


def test_everything_comes_in_order(scattered: Path) -> None:
    rebuilt = bytearray(scattered.stat().st_size)
    last = -1
    with pieces_of(source_of(scattered)) as pieces:
        for offset, data, runs in pieces:
            assert offset > last
            last = offset
            for start, stop in runs:
                rebuilt[offset + start : offset + stop] = data[start:stop]
    assert rebuilt == scattered.read_bytes()
    assert not readers()


def test_memory_is_bounded_also_for_many_small_pieces(scattered: Path) -> None:
    source = source_of(scattered)
    waiting = threading.Event()
    tracemalloc.start()
    with pieces_of(source) as pieces:
        next(pieces)
        waiting.wait(0.3)  # the reader runs ahead as far as it can
        peak = tracemalloc.get_traced_memory()[1]
        assert sum(1 for _ in pieces) >= 1023
    tracemalloc.stop()
    assert peak < 10 * MIB


def test_an_error_of_reading_is_raised_where_pieces_are_taken(
    scattered: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = FileStorage.read_into, iter(range(10**6))

    def failing(self: FileStorage, buffer: memoryview, file_offset: int) -> None:
        if next(calls) == 20:
            raise OSError(5, "the disk is gone")
        real(self, buffer, file_offset)

    monkeypatch.setattr(FileStorage, "read_into", failing)
    taken: list[Piece] = []
    with pieces_of(source_of(scattered)) as pieces, pytest.raises(OSError, match="the disk is gone"):
        taken.extend(pieces)
    assert len(taken) == 20
    assert not readers()


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("taken", [0, 1, 30])
def test_whoever_stops_taking_ends_the_thread(
    scattered: Path, error: type[BaseException], taken: int
) -> None:
    def take() -> None:
        with pieces_of(source_of(scattered)) as pieces:
            for _ in range(taken):
                next(pieces)
            raise error

    with pytest.raises(error):
        take()
    assert not readers()


def test_a_start_that_is_broken_off_leaves_no_thread(
    scattered: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        real(thread)
        raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(KeyboardInterrupt), pieces_of(source_of(scattered)):
        pytest.fail("Ctrl-C came")
    assert not readers()


def test_a_host_without_another_thread_reads_all_the_same(
    scattered: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    target = scattered.with_name("target.vhdx")
    vhdx.convert(scattered, target)
    assert vhdx.compare(scattered, target).identical


def test_a_pipe_is_read_by_its_taker(monkeypatch: pytest.MonkeyPatch) -> None:
    class Pipe:
        disk = size = None
        waits = True
        format = "raw"

        def pieces(self, buffers: Iterator[bytearray]) -> Iterator[tuple[int, bytearray]]:
            assert threading.current_thread() is threading.main_thread()
            yield 0, next(buffers)

    monkeypatch.setattr(threading, "Thread", None)
    with pieces_of(Pipe()) as pieces:  # type: ignore[arg-type]
        assert [(piece.offset, piece.runs) for piece in pieces] == [(0, [])]


@pytest.mark.parametrize(("sync", "flushes"), [(True, 2), (False, 0)])
@pytest.mark.parametrize("suffix", ["vhdx", "raw"])
def test_what_is_not_waited_for(
    scattered: Path, sync: bool, flushes: int, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the file and of its directory."""
    seen: list[str] = []
    for name in ("fsync", "fdatasync"):
        monkeypatch.setattr(os, name, lambda _: seen.append("flush"))
    target = scattered.with_name(f"target.{suffix}")
    vhdx.convert(scattered, target, sync=sync)
    assert len(seen) == flushes
    assert vhdx.compare(scattered, target).identical
