"""Closing what has failed for good says so, once; no other exception is hidden by that."""

import contextlib
import errno
import threading
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest

import vhdx
from tests.support.layout import MIB
from vhdx.disk.open import open_any
from vhdx.disk.raw import RawDisk
from vhdx.image import image
from vhdx.storage import host
from vhdx.storage.file import open_for_writing
from vhdx.write.session import Session

from .tasks import Task


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "a.vhdx"
    vhdx.create(made, 8 * MIB, block_size=MIB)
    return made


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    made = tmp_path / "a.raw"
    made.write_bytes(bytes(MIB))
    return made


class _Failing:
    """Lets the flushes of the host fail, one of them or from one on."""

    def __init__(self) -> None:
        self.left: int | None = None
        self._really = host.synchronize

    def __call__(self, descriptor: int) -> None:
        if self.left is not None:
            self.left -= 1
            if self.left == 0:
                raise OSError(errno.EIO, "Input/output error")
        self._really(descriptor)


@pytest.fixture
def failing() -> Iterator[_Failing]:
    made = _Failing()
    with mock.patch("vhdx.storage.host.synchronize", made):
        yield made


def fail_elsewhere(disk: vhdx.Disk) -> None:
    """Another thread flushes, is told that it failed, and goes on."""

    def flush() -> None:
        with pytest.raises(OSError, match="Input/output"):
            disk.flush()

    thread = threading.Thread(target=flush)
    thread.start()
    thread.join()


def test_the_end_of_a_with_block_says_that_a_flush_has_failed_elsewhere(
    path: Path, failing: _Failing
) -> None:
    with pytest.raises(vhdx.ImageFailedError, match="Input/output"), vhdx.open(path, "r+") as disk:  # noqa: PT012
        disk.pwrite(b"important", 0)
        disk.flush()
        disk.pwrite(b"lost", 0)
        failing.left = 1
        fail_elsewhere(disk)
    assert not disk.close()  # the second one is quiet


def test_close_says_it_once_and_lets_go_of_the_file(path: Path, failing: _Failing) -> None:
    disk = vhdx.open(path, "r+")
    disk.pwrite(b"important", 0)
    failing.left = 1
    fail_elsewhere(disk)
    with pytest.raises(vhdx.ImageFailedError):
        disk.close()
    disk.close()
    vhdx.open(path, "r+").close()


def test_what_leaves_the_block_is_not_replaced(path: Path, failing: _Failing) -> None:
    with pytest.raises(OSError, match="Input/output"), vhdx.open(path, "r+") as disk:  # noqa: PT012
        disk.pwrite(b"important", 0)
        failing.left = 1
        disk.flush()
    with pytest.raises(KeyError), vhdx.open(path, "r+") as disk:  # noqa: PT012
        disk.pwrite(b"important", 0)
        failing.left = 1
        fail_elsewhere(disk)
        raise KeyError


def test_a_session_of_a_job_says_it_too(path: Path, failing: _Failing) -> None:
    with contextlib.closing(open_for_writing(str(path))) as storage:
        with pytest.raises(vhdx.ImageFailedError), Session(storage, image.load(storage)) as session:  # noqa: PT012
            failing.left = 1
            with pytest.raises(OSError, match="Input/output"):
                session.begin()
        with pytest.raises(OSError, match="Input/output"), Session(storage, image.load(storage)) as session:  # noqa: PT012
            failing.left = 1
            session.begin()


def test_two_flushes_of_a_raw_disk_at_once_both_hear_of_a_lost_write(raw: Path) -> None:
    """Linux tells it to one of them, and the other one that all is durable."""
    storage = open_for_writing(str(raw))
    others: list[Task[None]] = []

    def flush() -> None:
        if others:
            return
        others.append(Task(disk.flush))
        others[0].ends_within(0.1)
        raise OSError(errno.EIO, "Input/output error")

    storage.flush = flush  # type: ignore[method-assign]
    disk = RawDisk(storage, storage)
    disk.pwrite(b"lost", 0)
    with pytest.raises(OSError, match="Input/output"):
        disk.flush()
    with pytest.raises(vhdx.ImageFailedError):
        others[0].result()
    with pytest.raises(vhdx.ImageFailedError):
        disk.close()


def test_a_raw_disk_does_not_believe_the_flush_after_one_that_failed(raw: Path, failing: _Failing) -> None:
    """Hosts report a lost write once: the next fsync succeeds."""
    disk = open_any(str(raw), "r+", image_format="raw")
    disk.pwrite(b"lost", 0)
    failing.left = 1
    with pytest.raises(OSError, match="Input/output"):
        disk.flush()
    with pytest.raises(vhdx.ImageFailedError, match="Input/output"):
        disk.flush()
    with pytest.raises(vhdx.ImageFailedError):
        disk.pwrite(b"more", 0)
    with pytest.raises(vhdx.ImageFailedError):
        disk.close()
    disk.close()
