"""Promise 10, second sentence: space gets no new owner while a request that resolved to it still runs.

A read or write is stopped in front of its system call, the block under it is trimmed, the trim is flushed and
the space is given to another block; then the request goes on. Each test is also run without the protection
that it is about, and then must find what it looks for: so it can fail.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import vhdx
from tests.support.layout import MIB
from tests.support.patterns import pattern
from vhdx.disk.chain import VhdxDisk
from vhdx.disk.open import open_disk
from vhdx.write.pins import Pins

from .checking import structure_of
from .gate import Gate, gated, named
from .tasks import Task

SIZE = 8 * MIB
OLD, OTHER, WRITTEN = (pattern(tag, MIB) for tag in (1, 2, 3))


@pytest.fixture(name="opened")
def _opened(tmp_path: Path) -> Iterator[tuple[Path, Gate, VhdxDisk]]:
    """A disk whose block 1 is present."""
    path = tmp_path / "a.vhdx"
    vhdx.create(path, SIZE, block_size=MIB)
    with open_disk(path, "r+") as disk:
        disk.pwrite(OLD, MIB)
    gate, disk = gated(path)
    with disk:
        yield path, gate, disk


def place_of(disk: VhdxDisk, block: int) -> int:
    """Where a block is in the file."""
    (extent,) = disk.extents(offset=block * MIB, length=MIB)
    assert extent.file_offset is not None
    return extent.file_offset


def give_block_1_to_block_5(disk: VhdxDisk) -> None:
    """The space of block 1 becomes that of block 5, durably."""
    place = place_of(disk, 1)
    disk.trim(length=MIB, offset=MIB)
    disk.flush()
    disk.pwrite(OTHER, 5 * MIB)
    disk.flush()
    assert place_of(disk, 5) == place, "the space was not used again: this test would prove nothing"


@contextmanager
def unpinned() -> Iterator[None]:
    """Nobody waits for running writes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Pins, "drain", lambda self: None)
        yield


def test_promise_10_a_running_write_keeps_its_space(opened: tuple[Path, Gate, VhdxDisk]) -> None:
    _, gate, disk = opened
    place = place_of(disk, 1)
    stop = gate.stop(named("write_at", place, place + MIB))
    writing = Task(lambda: disk.pwrite(WRITTEN, MIB))
    stop.wait_until_there()
    changing = Task(lambda: give_block_1_to_block_5(disk))
    # without the pin it ends at once: the space is given away under the write (see the test below)
    assert not changing.ends_within(0.2)
    stop.let_go()
    writing.result()
    changing.result()
    assert disk.pread(MIB, 5 * MIB) == OTHER
    assert disk.pread(MIB, MIB) in (bytes(MIB), WRITTEN)


def test_the_test_above_can_fail(opened: tuple[Path, Gate, VhdxDisk]) -> None:
    _, gate, disk = opened
    place = place_of(disk, 1)
    stop = gate.stop(named("write_at", place, place + MIB))
    writing = Task(lambda: disk.pwrite(WRITTEN, MIB))
    stop.wait_until_there()
    with unpinned():
        Task(lambda: give_block_1_to_block_5(disk)).result()
    stop.let_go()
    writing.result()
    assert disk.pread(MIB, 5 * MIB) == WRITTEN  # another block's data


def _pread(disk: VhdxDisk) -> bytes:
    return disk.pread(MIB - 7, MIB + 7)


def _preadinto(disk: VhdxDisk) -> bytes:
    buffer = bytearray(MIB - 7)
    disk.preadinto(buffer, MIB + 7)
    return bytes(buffer)


def _pread_over_borders(disk: VhdxDisk) -> bytes:
    return disk.pread(2 * MIB, MIB // 2)[MIB // 2 + 7 : MIB // 2 + MIB]


READS: dict[str, Callable[[VhdxDisk], bytes]] = {
    "pread": _pread,
    "preadinto": _preadinto,
    "pread over borders": _pread_over_borders,
}


@pytest.mark.parametrize("name", READS)
@pytest.mark.parametrize("after", [False, True])
def test_promise_10_a_running_read_sees_no_other_block(
    opened: tuple[Path, Gate, VhdxDisk], name: str, after: bool
) -> None:
    _, gate, disk = opened
    assert found_by(READS[name], gate, disk, after=after) in (OLD[7:], bytes(MIB - 7))


@pytest.mark.parametrize("name", READS)
def test_the_test_above_can_fail_too(opened: tuple[Path, Gate, VhdxDisk], name: str) -> None:
    _, gate, disk = opened

    class Still(int):
        """A generation that never grows."""

        def __add__(self, more: int) -> "Still":
            return self

    disk._leaf_reader.generation = Still(disk._leaf_reader.generation)
    assert found_by(READS[name], gate, disk, after=False) == OTHER[7:]  # another block's data


def found_by(read: Callable[[VhdxDisk], bytes], gate: Gate, disk: VhdxDisk, *, after: bool) -> bytes:
    """What a read returns that was stopped while the space got another owner."""
    place = place_of(disk, 1)

    def chosen(called: str, arguments: tuple[object, ...]) -> bool:
        at = arguments[1] if called in ("read", "read_into") else 0
        return isinstance(at, int) and place <= at < place + MIB

    stop = gate.stop(chosen, after=after)
    reading = Task(lambda: read(disk))
    stop.wait_until_there()
    Task(lambda: give_block_1_to_block_5(disk)).result()  # reads keep nobody waiting
    stop.let_go()
    return reading.result()


def test_promise_10_nothing_is_punched_or_cut_under_a_write(opened: tuple[Path, Gate, VhdxDisk]) -> None:
    path, gate, disk = opened
    place = place_of(disk, 1)
    stop = gate.stop(named("write_at", place, place + MIB))
    writing = Task(lambda: disk.pwrite(WRITTEN, MIB))
    stop.wait_until_there()
    disk.trim(length=MIB, offset=MIB)
    gate.record.clear()
    closing = Task(disk.close)
    assert not closing.ends_within(0.2)
    assert not {"punch", "resize"} & set(gate.record)
    stop.let_go()
    writing.result()
    closing.result()
    assert {"punch", "resize"} <= set(gate.record)
    assert structure_of(path).length == path.stat().st_size


def test_promise_10_an_interrupted_wait_is_not_taken_for_an_end(
    opened: tuple[Path, Gate, VhdxDisk], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, gate, disk = opened
    place = place_of(disk, 1)
    stop = gate.stop(named("write_at", place, place + MIB))
    writing = Task(lambda: disk.pwrite(WRITTEN, MIB))
    stop.wait_until_there()
    drain = Pins.drain

    def interrupted(self: Pins) -> None:
        monkeypatch.setattr(Pins, "drain", drain)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("vhdx.write.pins.time.sleep", _interrupt)
            drain(self)

    monkeypatch.setattr(Pins, "drain", interrupted)
    disk.trim(length=MIB, offset=MIB)
    with pytest.raises(KeyboardInterrupt):
        disk.flush()

    def go_on() -> None:
        for block in (5, 6):
            disk.pwrite(OTHER, block * MIB)
            disk.flush()

    changing = Task(go_on)
    changing.ends_within(0.2)
    stop.let_go()
    writing.result()
    changing.result()
    assert disk.pread(MIB, 5 * MIB) == OTHER
    assert disk.pread(MIB, 6 * MIB) == OTHER


def _interrupt(seconds: float) -> None:
    raise KeyboardInterrupt


def test_a_write_that_fails_lets_go_of_its_pin(opened: tuple[Path, Gate, VhdxDisk]) -> None:
    _, gate, disk = opened
    place = place_of(disk, 1)

    def refuse(called: str, arguments: tuple[object, ...]) -> bool:
        if called == "write_at" and arguments[1] == place:
            raise OSError("no")
        return False

    gate.stop(refuse)
    with pytest.raises(OSError, match="no"):
        disk.pwrite(WRITTEN, MIB)
    gate._stops.clear()
    Task(lambda: give_block_1_to_block_5(disk)).result()
