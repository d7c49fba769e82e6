"""What others do to a name between two system calls: no file without a name is locked, none in use replaced.

At each call in turn of opening for writing, and of making a file, somebody else acts. Whoever then holds the
file as its only user holds the one that the name stands for, and what it flushed stays there.
"""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

import vhdx
from tests.support.layout import MIB
from vhdx.storage import locks

from .ways import WAYS, Interposed, Way, force

PRECIOUS = b"precious" * 64
MOST_CALLS = 400


@pytest.fixture(name="path")
def _path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for flush in ("fdatasync", "fsync"):  # nobody cuts the power here, and hundreds of files are made
        monkeypatch.setattr(os, flush, lambda _: None)
    path = tmp_path / "x.vhdx"
    vhdx.create(path, 2 * MIB, block_size=MIB)
    return path


@pytest.fixture(name="calls")
def _calls(monkeypatch: pytest.MonkeyPatch) -> Interposed:
    return Interposed(monkeypatch)


def is_named(disk: vhdx.Disk, path: Path) -> bool:
    status = path.stat()
    return disk.files()[0] == (status.st_dev, status.st_ino)


def replace(path: Path) -> None:
    """Somebody replaces the file, unless it is in use."""
    with contextlib.suppress(vhdx.ImageLockedError):
        vhdx.create(path, 2 * MIB, block_size=MIB, overwrite=True)


def test_a_writer_holds_what_the_name_stands_for(path: Path, calls: Interposed) -> None:
    for at in range(MOST_CALLS):
        calls.arm(at, lambda: replace(path))
        with vhdx.open(path, "r+") as disk:
            calls.disarm()
            assert is_named(disk, path), f"replaced before call {at}, {calls.calls[-1]}"
            disk.pwrite(PRECIOUS, 0)
            disk.flush()
        if not calls.acted:
            break
    assert at > 10


def test_a_file_that_goes_before_it_is_locked(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    acquire = locks.acquire_writer

    def acquire_and_lose(descriptor: int, name: str) -> None:
        acquire(descriptor, name)
        path.unlink()

    monkeypatch.setattr(locks, "acquire_writer", acquire_and_lose)
    with pytest.raises(FileNotFoundError):
        vhdx.open(path, "r+")


def test_a_file_that_is_always_replaced_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    acquire = locks.acquire_writer
    made = path.with_name("other.vhdx")
    vhdx.create(made, 2 * MIB, block_size=MIB)
    content = made.read_bytes()

    def acquire_and_lose(descriptor: int, name: str) -> None:
        """A program that knows no locks renames another image over the file."""
        acquire(descriptor, name)
        made.write_bytes(content)
        made.replace(path)

    monkeypatch.setattr(locks, "acquire_writer", acquire_and_lose)
    with pytest.raises(vhdx.ImageLockedError, match="replaced the file meanwhile"):
        vhdx.open(path, "r+")


JOBS: dict[str, Callable[[Path], object]] = {
    "create": lambda path: vhdx.create(path, MIB, block_size=MIB, overwrite=True),
    "convert": lambda path: vhdx.convert(path.with_name("source.raw"), path, overwrite=True),
    "raw": lambda path: vhdx.convert(path.with_name("source.raw"), path, target_format="raw", overwrite=True),
}


@pytest.mark.parametrize("stands", [False, True])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("job", JOBS)
def test_nothing_in_use_is_replaced(
    path: Path, way: Way, job: str, monkeypatch: pytest.MonkeyPatch, *, stands: bool
) -> None:
    """Somebody makes the file meanwhile, holds it as its only user and flushes: that must not be lost."""
    path.with_name("source.raw").write_bytes(b"s" * MIB)
    force(way, monkeypatch)
    calls = Interposed(monkeypatch)
    held: list[vhdx.Disk] = []

    def make_and_hold() -> None:
        with contextlib.suppress(vhdx.VhdxError, FileExistsError):  # what is there may be no VHDX
            if not path.exists() or stands:
                vhdx.create(path, 2 * MIB, block_size=MIB, overwrite=stands)
            disk = vhdx.open(path, "r+")
            held.append(disk)
            disk.pwrite(PRECIOUS, 0)
            disk.flush()

    ends = 0
    for at in range(MOST_CALLS):
        calls.disarm()
        if path.exists() and not stands:
            path.unlink()
        if stands:
            vhdx.create(path, 2 * MIB, block_size=MIB, overwrite=True)
        calls.arm(at, make_and_hold)
        with contextlib.suppress(vhdx.ImageLockedError):
            JOBS[job](path)
        acted, name = calls.acted, (calls.calls[at:] or [""])[0]
        calls.disarm()
        for disk in held:
            ends += 1
            with disk:
                assert is_named(disk, path), f"replaced in use, before call {at}, {name}"
                assert disk.pread(len(PRECIOUS), 0) == PRECIOUS
        held.clear()
        assert [name for name in os.listdir(path.parent) if name.endswith(".part")] == []
        if not acted:
            break
    else:
        pytest.fail("the job never ends")
    assert ends > 3


@pytest.mark.parametrize("job", JOBS)
def test_what_came_meanwhile_and_is_free_is_replaced(
    path: Path, job: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.with_name("source.raw").write_bytes(b"s" * MIB)
    path.unlink()
    flush = os.fdatasync

    def somebody_else_is_faster(descriptor: int) -> None:
        flush(descriptor)
        path.write_bytes(b"old")

    monkeypatch.setattr(os, "fdatasync", somebody_else_is_faster)
    JOBS[job](path)
    assert path.read_bytes() != b"old"


def test_a_link_that_came_meanwhile_is_not_replaced(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.unlink()
    flush = os.fdatasync

    def somebody_else_is_faster(descriptor: int) -> None:
        flush(descriptor)
        path.symlink_to("elsewhere")

    monkeypatch.setattr(os, "fdatasync", somebody_else_is_faster)
    with pytest.raises(ValueError, match="no regular file"):
        JOBS["create"](path)
    assert path.is_symlink()


def test_a_merged_child_that_was_replaced_is_not_deleted(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever knows no locks put another file there while the child was folded."""
    child = path.with_name("child.vhdx")
    vhdx.create(child, parent=path)
    with vhdx.open(child, "r+") as disk:
        disk.pwrite(PRECIOUS, 0)
    from vhdx.ops import merge as module  # noqa: PLC0415

    fold = vars(module)["fold"]

    def fold_slowly(*arguments: object, **named: object) -> object:
        folded = fold(*arguments, **named)
        other = path.with_name("other")
        other.write_bytes(b"another file")
        other.replace(child)
        return folded

    monkeypatch.setattr(module, "fold", fold_slowly)
    with pytest.raises(vhdx.ImageLockedError, match="replaced the file meanwhile"):
        vhdx.merge(child, delete_child=True)
    assert child.read_bytes() == b"another file"
    with vhdx.open(path) as disk:
        assert disk.pread(len(PRECIOUS), 0) == PRECIOUS


def test_a_backup_that_was_replaced_is_noticed_before_the_image_changes(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with vhdx.open(path, "r+") as disk:
        disk.pwrite(PRECIOUS, 0)
        disk.flush()
        crashed = path.read_bytes()
    path.write_bytes(crashed)  # its log is dirty
    backup = path.with_name("backup")
    from vhdx.ops import backup as module  # noqa: PLC0415

    save = module._save

    def save_slowly(*arguments: object) -> object:
        saved = save(*arguments)  # type: ignore[arg-type]
        backup.unlink()
        backup.write_bytes(b"another file")
        return saved

    monkeypatch.setattr(module, "_save", save_slowly)
    with pytest.raises(vhdx.ImageLockedError, match="replaced the file meanwhile"):
        vhdx.repair(path, backup=backup)
    assert path.read_bytes() == crashed
    assert backup.read_bytes() == b"another file"
