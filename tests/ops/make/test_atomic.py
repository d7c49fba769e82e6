"""Promise 12: new files appear whole or not at all, whatever goes wrong, and replace nothing unasked."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import vhdx
from tests.support.build import ImageBuilder
from tests.support.layout import KIB, MIB
from tests.support.parts import Block
from tests.support.patterns import pattern

from .making import disk_of, names_in, write_raw
from .trip import KINDS, Kind, TripWire

SOURCE = ImageBuilder(3 * MIB, MIB, blocks={0: Block(pattern(0, MIB)), 2: Block(pattern(2, MIB))})
OLD = b"what stood here before" * 1000
TARGET = "target.vhdx"


def _create(folder: Path, *, overwrite: bool) -> None:
    vhdx.create(folder / TARGET, 2 * MIB, block_size=MIB, overwrite=overwrite)


def _create_fixed(folder: Path, *, overwrite: bool) -> None:
    vhdx.create(folder / TARGET, 2 * MIB, block_size=MIB, disk_type="fixed", overwrite=overwrite)


def _from_raw(folder: Path, *, overwrite: bool) -> None:
    options = vhdx.ImageOptions(block_size=MIB)
    vhdx.convert(folder / "source.raw", folder / TARGET, options=options, overwrite=overwrite, clone="never")


def _to_raw(folder: Path, *, overwrite: bool) -> None:
    source = folder / "source.vhdx"
    vhdx.convert(source, folder / TARGET, target_format="raw", overwrite=overwrite, clone="never")


Job = Callable[..., None]
JOBS: tuple[Job, ...] = (_create, _create_fixed, _from_raw, _to_raw)


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    SOURCE.write(tmp_path / "source.vhdx")
    write_raw(tmp_path / "source.raw", 3 * MIB, {0: b"x" * MIB, 2 * MIB + 16 * KIB: b"y" * 16 * KIB})
    return tmp_path


@pytest.fixture(name="wire")
def _wire(monkeypatch: pytest.MonkeyPatch) -> TripWire:
    return TripWire(monkeypatch)


@pytest.mark.parametrize("job", JOBS)
def test_the_wire_lies_where_it_should(folder: Path, wire: TripWire, job: Job) -> None:
    """Which calls make a file, and in which order: the file is flushed before it gets its name."""
    wire.arm(None)
    job(folder, overwrite=False)
    assert wire.calls[0] == "open"
    assert wire.calls[-3:] == ["fdatasync", "link", "fsync"]
    assert "pwrite" in wire.calls
    assert "ftruncate" in wire.calls
    assert ("ioctl" in wire.calls) == (job is _create_fixed)
    assert [wire.calls.count(name) for name in ("open", "fdatasync", "fsync", "link", "replace")] == [
        *(1, 1, 1, 1, 0)
    ]
    wire.arm(None)
    job(folder, overwrite=True)
    assert wire.calls[-3:] == ["fdatasync", "replace", "fsync"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("job", JOBS)
def test_an_interrupted_job_leaves_nothing(folder: Path, wire: TripWire, job: Job, kind: Kind) -> None:
    """Each system call in turn fails or is interrupted."""
    before = names_in(folder)
    for at in range(1000):
        wire.arm(at, kind)
        try:
            job(folder, overwrite=False)
        except (OSError, KeyboardInterrupt):
            assert wire.tripped
            left = [name for name in names_in(folder) if name not in before]
            assert left == [], f"after trouble in call {at}, {wire.calls[at]}"
        else:
            if not wire.tripped:
                return
            pytest.fail(f"trouble in call {at}, {wire.calls[at]}, was passed over in silence")
    pytest.fail("the job never ends")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("job", JOBS)
def test_an_interrupted_job_leaves_the_old_file_or_the_new_one(
    folder: Path, wire: TripWire, job: Job, kind: Kind
) -> None:
    target = folder / TARGET
    target.write_bytes(OLD)
    before = names_in(folder)
    wire.arm(None)
    job(folder, overwrite=True)
    new_size = target.stat().st_size
    calls = list(wire.calls)
    for at, name in enumerate(calls):
        target.write_bytes(OLD)
        wire.arm(at, kind)
        with pytest.raises((OSError, KeyboardInterrupt)):
            job(folder, overwrite=True)
        assert names_in(folder) == before, f"after trouble in call {at}, {name}"
        replaced = name == "fsync" or (name == "replace" and kind == "interrupt after")
        assert (target.read_bytes() != OLD) == replaced, f"after trouble in call {at}, {name}"
        assert target.stat().st_size == (new_size if replaced else len(OLD))


@pytest.mark.parametrize("job", JOBS)
def test_an_existing_file_is_not_touched(folder: Path, wire: TripWire, job: Job) -> None:
    target = folder / TARGET
    target.write_bytes(OLD)
    before = target.stat()
    wire.arm(None)
    with pytest.raises(FileExistsError) as caught:
        job(folder, overwrite=False)
    assert str(caught.value.filename) == str(target)
    after = target.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert target.read_bytes() == OLD
    assert wire.calls == []  # told before any work is done


@pytest.mark.parametrize("job", JOBS)
def test_a_file_that_appears_meanwhile_is_not_replaced(
    folder: Path, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, flush = folder / TARGET, os.fdatasync

    def somebody_else_is_faster(descriptor: int) -> None:
        flush(descriptor)
        target.write_bytes(OLD)

    monkeypatch.setattr(os, "fdatasync", somebody_else_is_faster)
    with pytest.raises(FileExistsError):
        job(folder, overwrite=False)
    assert target.read_bytes() == OLD
    assert [name for name in names_in(folder) if name.endswith(".part")] == []


@pytest.mark.parametrize("job", JOBS)
def test_while_a_job_runs_the_name_is_free_or_the_old_files(
    folder: Path, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until the flush is done nothing is seen of the new file under its name."""
    target, flush = folder / TARGET, os.fdatasync
    seen: list[bytes | None] = []

    def look(descriptor: int) -> None:
        seen.append(target.read_bytes() if target.exists() else None)
        flush(descriptor)

    monkeypatch.setattr(os, "fdatasync", look)
    job(folder, overwrite=False)
    target.write_bytes(OLD)
    job(folder, overwrite=True)
    assert seen == [None, OLD]


def test_of_many_creators_one_wins(tmp_path: Path) -> None:
    won: list[str] = []
    lost: list[FileExistsError] = []
    together = threading.Barrier(8)

    def create(number: int) -> None:
        together.wait()
        try:
            made = vhdx.create(tmp_path / TARGET, MIB, block_size=MIB)
            won.append(str(made.disk_id))
        except FileExistsError as error:
            lost.append(error)

    threads = [threading.Thread(target=create, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(won), len(lost)) == (1, 7)
    with vhdx.open(tmp_path / TARGET) as disk:
        assert str(disk.disk_id) == won[0]
    assert names_in(tmp_path) == [TARGET]


def test_who_has_the_old_file_open_keeps_it(folder: Path) -> None:
    """A reader without a lock is in nobody's way, and its bytes stay what they were."""
    path = folder / "source.vhdx"
    with vhdx.open(path, lock=False) as disk:
        vhdx.create(path, MIB, overwrite=True)
        assert disk.pread(disk.size, 0) == SOURCE.content()
    assert disk_of(path) == bytes(MIB)


def test_a_source_that_ends_early_leaves_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = names_in(folder)
    truncated = os.preadv

    def cut_then_read(descriptor: int, *rest: object) -> int:
        os.truncate(folder / "source.raw", 100)
        return truncated(descriptor, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "preadv", cut_then_read)
    with pytest.raises(OSError, match="the file ends inside"):
        _from_raw(folder, overwrite=False)
    assert names_in(folder) == before
