"""What is done on macOS, with calls that only record what they are asked: nobody ran it on one."""

import ctypes
import errno
import fcntl
import os
import stat
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from vhdx.storage import host


@pytest.mark.parametrize("number", [errno.ENOTSUP, errno.ENOTTY, errno.EINVAL, None])
def test_where_the_drive_is_not_asked_on_macos_its_cache_is_left_alone(
    number: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Network shares and some drives know nothing of F_FULLFSYNC. Names are as durable as contents."""
    requests: list[int] = []
    synchronized: list[int] = []

    def ask(descriptor: int, request: int) -> None:
        requests.append(request)
        if number is not None:
            raise OSError(number, "unsupported")

    with monkeypatch.context() as patch:
        patch.setattr(sys, "platform", "darwin")
        patch.setattr(fcntl, "F_FULLFSYNC", 51, raising=False)
        patch.setattr(fcntl, "fcntl", ask)
        patch.setattr(os, "fsync", synchronized.append)
        host.synchronize(7)
        host.synchronize_directory(str(tmp_path))
    assert requests == [51, 51]
    assert len(synchronized) == (2 if number else 0)


def test_a_flush_that_fails_on_macos_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(*_: int) -> None:
        raise OSError(errno.EIO, "the disk is on fire")

    with monkeypatch.context() as patch:
        patch.setattr(sys, "platform", "darwin")
        patch.setattr(fcntl, "F_FULLFSYNC", 51, raising=False)
        patch.setattr(fcntl, "fcntl", ask)
        with pytest.raises(OSError, match="on fire"):
            host.synchronize(7)


@pytest.fixture(name="asked")
def _asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, bytes]]:
    """macOS, which does whatever it is asked."""
    requests: list[tuple[int, bytes]] = []
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(fcntl, "fcntl", lambda _, code, request: requests.append((code, request)))
    return requests


@pytest.fixture(name="descriptor")
def _descriptor(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    os.pwrite(descriptor, b"x" * 8192, 0)
    os.fsync(descriptor)
    yield descriptor
    os.close(descriptor)


def test_whole_blocks_are_punched(descriptor: int, asked: list[tuple[int, bytes]]) -> None:
    assert host.punch(descriptor, 4096, 1 << 20)
    assert asked == [(99, struct.pack("<IIqq", 0, 0, 4096, 1 << 20))]
    assert not host.punch(descriptor, 512, 4096)
    assert not host.punch(descriptor, 4096, 4608)
    assert len(asked) == 1


def test_space_is_asked_for_behind_what_there_is(descriptor: int, asked: list[tuple[int, bytes]]) -> None:
    there = os.fstat(descriptor).st_blocks * 512
    assert host.reserve(descriptor, 0, 8192)
    assert asked == []
    assert not host.reserve(descriptor, 0, 1 << 20)  # this macOS gave none
    assert asked == [(42, struct.pack("<Iiqqq", 4, 3, 0, (1 << 20) - there, 0))]


@pytest.mark.parametrize("request_of", [host.punch, host.reserve])
def test_what_macos_refuses(
    request_of: Callable[[int, int, int], bool], descriptor: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refusing(number: int) -> Callable[..., None]:
        def ask(*_: object) -> None:
            raise OSError(number, os.strerror(number))

        return ask

    monkeypatch.setattr(sys, "platform", "darwin")
    for number in (errno.ENOTSUP, errno.EINVAL, errno.ENOTTY):
        monkeypatch.setattr(fcntl, "fcntl", refusing(number))
        assert not request_of(descriptor, 0, 1 << 20)
    monkeypatch.setattr(fcntl, "fcntl", refusing(errno.ENOSPC))
    with pytest.raises(OSError, match="No space"):
        request_of(descriptor, 0, 1 << 20)


def test_zeros_are_written_on_macos(descriptor: int, asked: list[tuple[int, bytes]]) -> None:
    assert not host.zero_range(descriptor, 0, 4096)
    assert asked == []


def test_nothing_is_taken_for_a_hole_on_macos(
    descriptor: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """QEMU and GNU cp lost data where they believed what APFS said of files that were written just before."""
    os.truncate(tmp_path / "file", 1 << 20)
    monkeypatch.setattr(sys, "platform", "darwin")
    assert list(host.data_ranges(descriptor, 4096, 1 << 19)) == [(4096, 1 << 19)]
    assert list(host.data_ranges(descriptor, 4096, 0)) == []


def test_devices_of_macos_tell_their_blocks(descriptor: int, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {0x40046418: struct.pack("=I", 4096), 0x40086419: struct.pack("=Q", (1 << 32) + 1)}

    def ioctl(_: int, code: int, answer: bytes) -> bytes:
        assert len(answer) == len(answers[code])
        return answers[code]

    assert host.size_of(descriptor) == 8192
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(fcntl, "ioctl", ioctl)
    assert host.size_of(descriptor) == 8192
    monkeypatch.setattr(stat, "S_ISBLK", lambda _: True)
    assert host.size_of(descriptor) == 4096 * ((1 << 32) + 1)


@pytest.mark.parametrize(
    ("number", "expected"),
    [(0, True), (errno.ENOTSUP, False), (errno.EEXIST, FileExistsError), (errno.EIO, OSError)],
)
def test_new_names_are_taken_by_a_renaming_that_replaces_nothing(
    number: int, expected: bool | type[OSError], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[bytes, bytes, int]] = []

    def renamex_np(source: bytes, target: bytes, flags: ctypes.c_uint) -> int:
        asked.append((source, target, flags.value))
        ctypes.set_errno(number)
        return -1 if number else 0

    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: SimpleNamespace(renamex_np=renamex_np))
    if isinstance(expected, bool):
        assert host.rename_to_new("a", "b") == expected
    else:
        with pytest.raises(expected):
            host.rename_to_new("a", "b")
    assert asked == [(b"a", b"b", 4)]


def test_an_older_macos_has_no_such_renaming(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: SimpleNamespace())
    assert not host.rename_to_new("a", "b")
