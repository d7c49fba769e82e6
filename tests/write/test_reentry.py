"""A thread that is inside a call of a disk and calls again: reads are right, and what changes is refused.

At every place where the interpreter can run a handler (promise 26), and with handlers that signals run.
"""

import contextlib
import gc
import io
import os
import random
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import vhdx
from tests.support.layout import MIB
from tests.support.patterns import pattern
from vhdx.disk.chain import VhdxDisk
from vhdx.disk.open import open_disk

from .checking import assert_sound, copied, is_clean
from .gate import gated
from .scenarios import SCENARIOS, Session
from .tasks import Task
from .test_interrupts import STEPS, Watcher

MARK = pattern(77, 512)


class Storm(Watcher):
    """Calls a function at every so manieth place that a thread passes, in that thread."""

    def __init__(self, handler: Callable[[], None], every: int, first: int) -> None:
        super().__init__()
        self._handler, self._every, self._first = handler, every, first
        self._count = 0

    def _passing(self, frame: FrameType) -> None:
        if self._count % self._every == self._first:
            self._handler()
        self._count += 1


def stormed(name: str, folder: Path, make: Callable[[Session], Callable[[], None]]) -> None:
    """The step of a scenario, with a handler that runs in the middle of it again and again."""
    scenario = SCENARIOS[name]
    scenario.make(folder / "original.vhdx")
    for every, first in ((1, 0), *((5, first) for first in range(5))):
        session = Session(copied(folder / "original.vhdx", folder / "stormed.vhdx"))
        scenario.before(session)
        with Storm(make(session), every, first).watching():
            scenario.step(session)
        if not session.disk_is_closed():
            assert session.model.seen_in(session.disk.pread) == session.model.content()
        session.close()
        assert_sound(folder / "stormed.vhdx", session.model)


def reading(session: Session) -> Callable[[], None]:
    """A handler that reads from every block, whatever it may find."""
    chance = random.Random(1)

    def handler() -> None:
        disk = session.disk
        with contextlib.suppress(ValueError):  # while it is being closed
            for block in range(disk.size // MIB):
                disk.pread(512, block * MIB + chance.randrange(2047) * 512)
            assert sum(extent.length for extent in disk.extents()) == disk.size

    return handler


def changing(session: Session) -> Callable[[], None]:
    """A handler that changes what it may, and is refused when the thread is inside."""
    calls = changes_of(session)

    def handler() -> None:
        disk = session.disk
        inside = threading.get_ident() in disk._entrance.inside
        if inside:
            zero, trim = partial(disk.zero, length=512, offset=0), partial(disk.trim, length=MIB, offset=0)
            for refused in (disk.close, disk.flush, zero, trim):
                with pytest.raises(RuntimeError, match="inside another call"):
                    refused()
        with contextlib.suppress(ValueError, RuntimeError):
            next(calls)()
            assert not inside

    return handler


def changes_of(session: Session) -> Iterator[Callable[[], None]]:
    """One change after the other, of what the scenarios leave alone, told to the model when it was made."""
    offset = session.disk.size - MIB // 2

    def write() -> None:
        session.disk.pwrite(MARK, offset)
        session.model.write(MARK, offset)

    while True:
        yield write
        yield session.disk.flush


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="looks at the instructions of CPython")
@pytest.mark.skipif(sys.gettrace() is not None, reason="something else traces: coverage or a debugger")
@pytest.mark.parametrize("handler", [reading, changing])
@pytest.mark.parametrize("name", STEPS)
def test_promise_26_called_again_anywhere(
    name: str, handler: Callable[[Session], Callable[[], None]], in_memory: Path
) -> None:
    Task(partial(stormed, name, in_memory, handler)).result()


def made(path: Path, blocks: int = 64) -> Path:
    vhdx.create(path, blocks * MIB, block_size=MIB)
    return path


@contextlib.contextmanager
def signals(handler: Callable[[], None]) -> Iterator[None]:
    """A real signal every fraction of a millisecond."""
    before = signal.signal(signal.SIGALRM, lambda *_: handler())
    signal.setitimer(signal.ITIMER_REAL, 0.0003, 0.0003)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_signals_that_read_and_write_lose_nothing(in_memory: Path) -> None:
    path = made(in_memory / "a.vhdx")
    chance, refused, written = random.Random(3), [0], set[int]()

    with open_disk(path, "r+") as disk:

        def handler() -> None:
            disk.pread(1, chance.randrange(64) * MIB + 5)
            block = chance.randrange(32, 64)
            try:
                disk.pwrite(MARK, block * MIB)
            except RuntimeError:
                refused[0] += 1
            else:
                written.add(block)

        with signals(handler):
            for block in chance.sample(range(32), 32):
                disk.pwrite(pattern(block, 4096), block * MIB)
                disk.flush()
    assert refused[0]
    assert is_clean(path)
    with open_disk(path) as disk:
        for block in range(32):
            assert disk.pread(4096, block * MIB) == pattern(block, 4096), block
        for block in written:
            assert disk.pread(512, block * MIB) == MARK


def inside(path: Path, function: Callable[[VhdxDisk], None]) -> VhdxDisk:
    """A disk in the middle of whose next write a function is called, as a signal's handler would be."""
    gate, disk = gated(path)
    disk.pwrite(bytes(512), 0)
    disk.flush()
    done: list[str] = []

    def chosen(name: str, _: tuple[object, ...]) -> bool:
        if name == "write_at" and not done:
            done.append(name)
            function(disk)
        return False

    gate.stop(chosen)
    return disk


def test_close_in_a_handler_is_refused_and_does_not_wait_for_itself(tmp_path: Path) -> None:
    path = made(tmp_path / "a.vhdx", 4)
    caught: list[BaseException] = []

    def close(disk: VhdxDisk) -> None:
        try:
            disk.close()
        except RuntimeError as error:
            caught.append(error)

    disk = inside(path, close)
    disk.pwrite(b"written", 0)
    disk.close()
    assert "close of" in str(caught[0])
    with open_disk(path) as disk:
        assert disk.pread(7, 0) == b"written"


def test_a_finaliser_is_refused_and_python_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the collector runs inside a call; of a BufferedWriter Python itself says nothing."""

    class Careless:
        def __init__(self, disk: VhdxDisk) -> None:
            self.disk, self.circle = disk, self

        def __del__(self) -> None:
            self.disk.pwrite(b"too late", 0)

    path = made(tmp_path / "a.vhdx", 4)
    told: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda about: told.append(about.exc_value))

    def collect(disk: VhdxDisk) -> None:
        buffered = io.BufferedWriter(disk.stream())
        buffered.write(b"in a buffer")
        circle: list[Any] = [buffered, Careless(disk)]
        circle.append(circle)
        del buffered, circle
        gc.collect()

    with inside(path, collect) as disk:
        disk.pwrite(b"written", 0)
        assert disk.pread(7, 0) == b"written"
    assert any(isinstance(error, RuntimeError) for error in told)
    assert is_clean(path)


def test_another_thread_is_not_refused(tmp_path: Path) -> None:
    path = made(tmp_path / "a.vhdx", 4)
    with inside(path, lambda disk: Task(lambda: disk.pwrite(b"other", MIB // 2)).result()) as disk:
        disk.pwrite(b"one", 0)
        assert disk.pread(5, MIB // 2) == b"other"


def test_a_fork_in_a_handler_cannot_go_on_with_the_call(tmp_path: Path) -> None:
    path = made(tmp_path / "a.vhdx", 4)
    children: list[int] = []

    def fork(disk: VhdxDisk) -> None:
        children.append(os.fork())
        if not children[-1]:
            with pytest.raises(vhdx.ImageFailedError, match="fork"):
                disk.flush()

    try:
        with inside(path, fork) as disk:
            disk.pwrite(b"written", 0)
            disk.flush()
    except BaseException as error:
        if children == [0]:
            os._exit(0 if isinstance(error, OSError) else 2)
        raise
    if children == [0]:
        os._exit(3)
    assert os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1]) == 0
    assert is_clean(path)
    with open_disk(path) as disk:
        assert disk.pread(7, 0) == b"written"


def test_a_stream_keeps_its_place(tmp_path: Path) -> None:
    path = made(tmp_path / "a.vhdx", 4)
    gate, disk = gated(path)
    stream = disk.stream()
    refused: list[str] = []

    def chosen(name: str, _: tuple[object, ...]) -> bool:
        if name == "write_at" and not refused:
            for call in (lambda: stream.write(b"x"), lambda: stream.seek(0), lambda: stream.read(1)):
                with pytest.raises(RuntimeError, match="inside another call"):
                    call()
                refused.append(name)
        return False

    gate.stop(chosen)
    with disk:
        assert stream.write(b"abc") == 3
        assert stream.tell() == 3
    assert len(refused) == 3


def test_a_file_object_that_reads_the_disk_made_of_it_gets_an_error(tmp_path: Path) -> None:
    path = made(tmp_path / "a.vhdx", 4)
    disks: list[VhdxDisk] = []

    class Own(io.FileIO):
        def read(self, size: int | None = -1) -> Any:
            for disk in disks:
                disk.extents(length=0)  # asks nothing of the file
                disk.pread(512, 0)
            return super().read(-1 if size is None else size)

    with open_disk(path, "r+") as disk:
        disk.pwrite(b"x", 0)
    with Own(path) as file, open_disk(file) as disk:
        disks.append(disk)
        with pytest.raises(RuntimeError, match="a path can be read so"):
            disk.pread(512, 0)
