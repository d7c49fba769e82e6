"""Any number of threads read and write one disk: what each of them may see, and that none waits for ever."""

import random
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import vhdx
from tests.support.build import ImageBuilder
from tests.support.layout import MIB
from tests.support.parts import Block
from tests.support.patterns import pattern

from .checking import copied, is_clean, naively, structure_of
from .gate import Gate, gated, named
from .tasks import Task, reached

SIZE = 12 * MIB
LANE = 128 * 1024
THREADS = 6


def made(path: Path) -> Path:
    vhdx.create(path, SIZE, block_size=MIB)
    return path


def all_of(functions: list[Callable[[], object]]) -> None:
    """Run functions in threads, to their ends."""
    for task in [Task(function) for function in functions]:
        task.result()


def test_threads_with_ranges_of_their_own(tmp_path: Path) -> None:
    """Writes, zeros, trims and flushes of one thread are not felt by the ranges of the others."""
    path = made(tmp_path / "a.vhdx")
    twins = [bytearray(SIZE // THREADS) for _ in range(THREADS)]
    with vhdx.open(path, "r+") as disk:

        def work(number: int) -> None:
            chance = random.Random(number)
            twin, start = twins[number], number * len(twins[number])
            for step in range(60):
                offset = chance.randrange(len(twin))
                length = min(chance.choice([1, 512, 5000, MIB // 2]), len(twin) - offset)
                data = pattern(number, length, seed=step)
                disk.pwrite(data, start + offset)
                twin[offset : offset + length] = data
                if step % 7 == 3:
                    disk.zero(length=MIB, offset=start)
                    twin[:MIB] = bytes(MIB)
                if step % 7 == 5:
                    disk.trim(length=MIB, offset=start + MIB)
                    twin[MIB : 2 * MIB] = bytes(MIB)
                if step % 5 == 0:
                    disk.flush()
                at = chance.randrange(len(twin) - 5000)
                assert disk.pread(5000, start + at) == twin[at : at + 5000]

        all_of([lambda number=number: work(number) for number in range(THREADS)])  # type: ignore[misc]
    structure_of(path)
    with naively(path) as look:
        assert look.read(SIZE, 0) == b"".join(twins)


def test_threads_on_the_same_blocks(tmp_path: Path) -> None:
    """Allocation is ordered: neighbours in one block do not lose each other's writes."""
    path = made(tmp_path / "a.vhdx")
    lanes = SIZE // LANE
    with vhdx.open(path, "r+") as disk:

        def work(number: int) -> None:
            order = list(range(number, lanes, THREADS))
            random.Random(number).shuffle(order)
            for lane in order:
                disk.pwrite(pattern(lane, LANE, seed=number), lane * LANE)
                if lane % 5 == 0:
                    disk.flush()

        all_of([lambda number=number: work(number) for number in range(THREADS)])  # type: ignore[misc]
    found = structure_of(path)
    assert len(found.present) == SIZE // MIB
    assert found.length == max(claim.end for claim in found.claims)
    with naively(path) as look:
        assert look.read(SIZE, 0) == b"".join(
            pattern(lane, LANE, seed=lane % THREADS) for lane in range(lanes)
        )


def test_readers_beside_writers_and_trims_see_one_or_the_other(tmp_path: Path) -> None:
    """A block is written, trimmed and reused in turn; a reader of a sector sees zeros or its own pattern."""
    path = made(tmp_path / "a.vhdx")
    done = threading.Event()
    with vhdx.open(path, "r+") as disk:

        def change() -> None:
            chance = random.Random(1)
            for step in range(250):
                block = chance.randrange(4)
                if step % 2:
                    disk.trim(length=MIB, offset=block * MIB)
                else:
                    disk.pwrite(pattern(block, MIB, seed=9), block * MIB)
                if step % 3 == 0:
                    disk.flush()

        def watch(number: int) -> int:
            chance = random.Random(number)
            seen = 0
            while not done.is_set():
                block, sector = chance.randrange(4), chance.randrange(2048)
                found = disk.pread(512, block * MIB + sector * 512)
                assert found in (bytes(512), pattern(block, 512, seed=9, start=sector * 512))
                seen += any(found)
            return seen

        watchers = [Task(lambda number=number: watch(number)) for number in range(3)]  # type: ignore[misc]
        try:
            all_of([change, change])
        finally:
            done.set()
        assert sum(watcher.result() for watcher in watchers) > 0
    structure_of(path)


def test_writes_in_place_and_reads_run_side_by_side(tmp_path: Path) -> None:
    """One write in place is stopped in the middle: other reads, and writes of other ranges, do not wait."""
    path = made(tmp_path / "a.vhdx")
    with vhdx.open(path, "r+") as disk:
        disk.pwrite(pattern(0, 2 * MIB), 0)
    gate, disk = gated(path)
    with disk:
        place = next(iter(disk.extents())).file_offset or 0
        stop = gate.stop(named("write_at", place))
        writing = Task(lambda: disk.pwrite(b"x" * 4096, 0))
        stop.wait_until_there()
        Task(lambda: disk.pwrite(b"y" * 4096, 8192)).result()
        assert Task(lambda: disk.pread(8192, 8192)).result()[:4096] == b"y" * 4096
        Task(disk.flush).result()
        assert writing.running
        stop.let_go()
        writing.result()
        disk.flush()
        crashed = copied(path, tmp_path / "crashed.vhdx")
    with naively(crashed) as look:
        assert look.read(4096, 0) == b"x" * 4096


def test_promise_14_a_write_that_ends_after_a_flush_began_is_not_forgotten(tmp_path: Path) -> None:
    """The flush that runs while a write in place runs does not count for it: the next one is made."""
    path = made(tmp_path / "a.vhdx")
    with vhdx.open(path, "r+") as disk:
        disk.pwrite(pattern(0, MIB), 0)
    gate, disk = gated(path)
    with disk:
        disk.pwrite(b"begun", 100)
        place = next(iter(disk.extents())).file_offset or 0
        stop = gate.stop(named("write_at", place))
        writing = Task(lambda: disk.pwrite(b"x" * 4096, 0))
        stop.wait_until_there()
        disk.flush()
        stop.let_go()
        writing.result()
        gate.record.clear()
        disk.flush()
        assert gate.record == ["flush"]


def test_a_dirty_image_is_replayed_under_a_reader(tmp_path: Path) -> None:
    """A page of the table that is being read while the log is replayed is not kept as it was before."""
    blocks = 100  # so many that the writer does not look at the page by way of the cache
    path = tmp_path / "a.vhdx"
    image = ImageBuilder(disk_size=blocks * MIB, blocks={0: Block(pattern(0, 4096))})
    image.write(path)
    dirty = tmp_path / "dirty.vhdx"
    with vhdx.open(path, "r+") as disk:
        disk.pwrite(pattern(50, 4096), 50 * MIB)
        disk.flush()
        disk.pwrite(pattern(51, 4096), 51 * MIB)
        disk.flush()
        copied(path, dirty)
    table = image.plan().bat_offset
    # what a power loss may leave: the pages of the table never came to their places
    with dirty.open("r+b") as file:
        file.seek(table)
        file.write(image.build()[table : table + 4096])
    assert not is_clean(dirty)
    gate, disk = gated(dirty)
    with disk:
        headers = gate.stop(named("write_at", 64 * 1024, 132 * 1024))
        writing = Task(lambda: disk.pwrite(pattern(52, 4096), 52 * MIB))
        headers.wait_until_there()  # the writer has looked at the whole table, and replays now
        stale = gate.stop(lambda name, arguments: reads(name, arguments, table), after=True)
        reading = Task(lambda: disk.pread(4096, 50 * MIB))
        stale.wait_until_there()
        headers.let_go()
        assert not writing.ends_within(0.5)
        stale.let_go()
        assert reading.result() == pattern(50, 4096)
        writing.result()
    structure_of(dirty)
    with naively(dirty) as look:
        for block in (50, 51, 52):
            assert look.read(4096, block * MIB) == pattern(block, 4096), block


def reads(name: str, arguments: tuple[object, ...], file_offset: int) -> bool:
    return name in ("read", "read_into") and arguments[1] == file_offset


@pytest.mark.parametrize("block", [0, 3], ids=["present", "absent"])
def test_a_write_beside_close_is_there_or_refused(block: int, tmp_path: Path) -> None:
    """What `pwrite` accepts while another thread closes the disk is durable, or it raises."""
    path = made(tmp_path / "a.vhdx")
    with vhdx.open(path, "r+") as disk:
        disk.pwrite(pattern(0, MIB), 0)
    gate, disk = gated(path)
    disk.pwrite(pattern(1, MIB), MIB)
    disk.flush()
    headers = gate.stop(named("write_at", 64 * 1024, 132 * 1024))
    files = gate.stop(lambda name, arguments: name == "close")
    closing = Task(disk.close)
    headers.wait_until_there()

    def write() -> bool:
        try:
            disk.pwrite(b"x" * 512, block * MIB)
        except (ValueError, OSError, vhdx.ImageFailedError):
            return False
        return True

    writing = Task(write)
    writing.ends_within(0.2)  # or it waits for the lock that is held by whoever closes
    headers.let_go()
    files.wait_until_there()
    writing.ends_within(0.2)
    files.let_go()
    closing.result()
    accepted = writing.result()
    structure_of(path)
    assert is_clean(path)
    with naively(path) as look:
        assert look.read(512, block * MIB) == b"x" * 512 or not accepted


def test_a_write_that_begins_while_the_disk_is_closed_is_refused(tmp_path: Path) -> None:
    """It was let in before the disk was closed, and comes to its block when everything was made durable."""
    path = made(tmp_path / "a.vhdx")
    with vhdx.open(path, "r+") as disk:
        disk.pwrite(pattern(0, MIB), 0)
    gate, disk = gated(path)
    disk.pwrite(b"begun", 512)
    assert disk._writer is not None
    pins, let_in, durable = disk._writer.session.pins, threading.Event(), threading.Event()
    enter = pins.enter

    def late(pin: object) -> None:
        let_in.set()
        reached(durable)
        enter(pin)

    pins.enter = late
    writing = Task(lambda: disk.pwrite(b"late", 0))
    reached(let_in)
    files = gate.stop(lambda name, arguments: name == "close")
    closing = Task(disk.close)
    files.wait_until_there()
    durable.set()
    with pytest.raises(ValueError, match="is closed"):
        writing.result()
    files.let_go()
    closing.result()
    with naively(path) as look:
        assert look.read(4, 0) == pattern(0, 4)


def test_who_closes_second_waits_for_the_first(tmp_path: Path) -> None:
    """And takes no file away from under what is being made durable."""
    path = made(tmp_path / "a.vhdx")
    gate, disk = gated(path)
    disk.pwrite(pattern(0, MIB), 0)
    flushing = gate.stop(lambda name, arguments: name == "flush")
    first = Task(disk.close)
    flushing.wait_until_there()
    second = Task(disk.close)
    assert not second.ends_within(0.1)
    flushing.let_go()
    first.result()
    second.result()
    assert is_clean(path)
    with naively(path) as look:
        assert look.read(MIB, 0) == pattern(0, MIB)


def test_close_waits_for_nobody_who_waits_for_it(tmp_path: Path) -> None:
    """Threads that write while the disk is closed all end, each with an answer."""
    path = made(tmp_path / "a.vhdx")
    disk = vhdx.open(path, "r+")

    def work(number: int) -> None:
        chance = random.Random(number)
        while True:
            try:
                offset = chance.randrange(SIZE - 5000)
                disk.pwrite(bytes([number]) * 5000, offset)
                disk.pread(5000, offset)
                disk.trim(length=MIB, offset=offset - offset % MIB)
                disk.flush()
            except (ValueError, OSError, vhdx.ImageFailedError):
                return

    tasks = [Task(lambda number=number: work(number)) for number in range(4)]  # type: ignore[misc]
    tasks[0].ends_within(0.2)
    Task(disk.close).result()
    for task in tasks:
        task.result()
    structure_of(path)
    assert is_clean(path)


def test_threads_after_a_failure_are_all_refused(tmp_path: Path) -> None:
    path = made(tmp_path / "a.vhdx")
    gate, disk = gated(path)
    with pytest.raises(vhdx.ImageFailedError, match="is gone"), disk:  # noqa: PT012
        disk.pwrite(pattern(0, MIB), 0)
        disk.flush()

        def fail(name: str, arguments: tuple[object, ...]) -> bool:
            if name == "flush":
                raise OSError("the disk is gone")
            return False

        gate.stop(fail)
        disk.pwrite(b"x", 0)
        with pytest.raises(OSError, match="gone"):
            disk.flush()
        gate._stops.clear()
        refused: list[Task[object]] = [
            Task(lambda: disk.pwrite(b"y", 0)),
            Task(lambda: disk.pread(1, 0)),
            Task(disk.flush),
        ]
        for task in refused:
            with pytest.raises(vhdx.ImageFailedError):
                task.result()
    assert isinstance(gate, Gate)
