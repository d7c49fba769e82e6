"""Promise 20: two writers never hold one image, nor a writer and a reader, be they this library or QEMU."""

import errno
import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import pytest

import vhdx
from tests.support.layout import MIB
from tests.support.tools import needs
from vhdx.ops.repair import repair

HOLDER = """
import sys, vhdx
disk = vhdx.open(sys.argv[1], sys.argv[2])
print("open", flush=True)
sys.stdin.read()
disk.close()
"""


@pytest.fixture(name="path")
def _path(tmp_path: Path) -> Path:
    path = tmp_path / "a.vhdx"
    vhdx.create(path, 8 * MIB, block_size=MIB)
    return path


@contextmanager
def held_elsewhere(path: Path, mode: str) -> Iterator[int]:
    """Another process holds the image; its id."""
    command = [sys.executable, "-c", HOLDER, str(path), mode]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "open\n"
        yield child.pid
        child.communicate("")
    assert child.returncode == 0


@contextmanager
def held_here(path: Path, mode: Any) -> Iterator[int]:
    """Another object of this process holds the image."""
    with vhdx.open(path, mode):
        yield os.getpid()


@contextmanager
def held_by_qemu(path: Path, mode: str) -> Iterator[int]:
    """`qemu-io` holds the image."""
    options = ["-r"] if mode == "r" else []
    command = ["qemu-io", "-f", "vhdx", *options, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write("length\n")
        child.stdin.flush()
        line = child.stdout.readline()
        while "MiB" not in line:
            assert line, "qemu-io could not open it"
            line = child.stdout.readline()
        yield child.pid
        child.communicate("quit\n")


HOLDERS = {"another process": held_elsewhere, "this process": held_here, "QEMU": held_by_qemu}


@needs("qemu-io")
@pytest.mark.parametrize("holder", HOLDERS)
@pytest.mark.parametrize(("held", "asked"), [("r+", "r+"), ("r+", "r"), ("r", "r+")], ids=str)
def test_promise_20_they_exclude_each_other(path: Path, holder: str, held: str, asked: Any) -> None:
    before = path.read_bytes()
    with HOLDERS[holder](path, held) as process:
        unchanged = path.read_bytes()
        with pytest.raises(vhdx.ImageLockedError) as caught:
            vhdx.open(path, asked)
        assert f"process {process} (" in str(caught.value)
        assert str(path) in str(caught.value)
        assert ("is writing" in str(caught.value)) == (held == "r+")
        assert caught.value.fault == "machine"
        if asked == "r+":
            with pytest.raises(vhdx.ImageLockedError):
                repair(path)
        assert path.read_bytes() == unchanged
    with vhdx.open(path, asked):
        pass
    assert held == "r+" or path.read_bytes() == before


@needs("qemu-io")
@pytest.mark.parametrize("holder", HOLDERS)
def test_promise_20_readers_do_not_exclude_readers(path: Path, holder: str) -> None:
    with HOLDERS[holder](path, "r"), vhdx.open(path) as one, vhdx.open(path) as other:
        assert one.pread(1, 0) == other.pread(1, 0) == b"\0"


@needs("qemu-io", "qemu-img")
@pytest.mark.parametrize(
    ("held", "command", "allowed"),
    [
        ("r+", ("qemu-io", "-f", "vhdx", "-c", "write 0 512"), False),
        ("r+", ("qemu-io", "-r", "-f", "vhdx", "-c", "read 0 512"), False),
        ("r+", ("qemu-img", "check", "-f", "vhdx"), False),
        ("r+", ("qemu-img", "check", "-f", "vhdx", "-r", "all"), False),
        ("r", ("qemu-io", "-f", "vhdx", "-c", "write 0 512"), False),
        ("r", ("qemu-io", "-r", "-f", "vhdx", "-c", "read 0 512"), True),
        ("r", ("qemu-img", "check", "-f", "vhdx"), True),
    ],
)
def test_promise_20_qemu_respects_us(path: Path, held: Any, command: tuple[str, ...], allowed: bool) -> None:
    with vhdx.open(path, held):
        done = subprocess.run([*command, str(path)], capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    assert ("lock" in said) != allowed, said
    assert (done.returncode == 0) == allowed
    done = subprocess.run([*command, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0


def test_promise_20_locks_end_with_close_and_with_a_failed_open(path: Path, tmp_path: Path) -> None:
    disk = vhdx.open(path, "r+")
    disk.close()
    with vhdx.open(path, "r+") as again:
        again.pwrite(b"x", 0)
    broken = tmp_path / "broken.vhdx"
    broken.write_bytes(bytes(MIB))
    for _ in range(2):
        with pytest.raises(vhdx.CorruptImageError):
            vhdx.open(broken, "r+")


def test_without_locks_both_may_hold_it(path: Path) -> None:
    with vhdx.open(path, "r+") as writer:
        writer.pwrite(b"live", 0)
        writer.flush()
        with vhdx.open(path, lock=False) as reader:
            assert reader.pread(4, 0) == b"live"
        with pytest.raises(vhdx.ImageLockedError), vhdx.open(path):
            pass
    with vhdx.open(path) as reader, vhdx.open(path, "r+", lock=False) as writer:
        writer.pwrite(b"more", 0)
        assert reader.size == writer.size


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL])
def test_a_file_system_without_locks(path: Path, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading goes on without, writing needs to be told that nobody else is there."""

    def no_locks(*arguments: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "fcntl", no_locks)
    with vhdx.open(path) as disk:
        assert disk.pread(1, 0) == b"\0"
    with pytest.raises(vhdx.ImageLockedError, match="no locks") as caught:
        vhdx.open(path, "r+")
    assert str(path) in str(caught.value)
    with vhdx.open(path, "r+", lock=False) as disk:
        disk.pwrite(b"x", 0)


def test_other_failures_of_locking_are_not_taken_for_missing_locks(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: object) -> None:
        raise OSError(errno.EIO, "no")

    monkeypatch.setattr(fcntl, "fcntl", broken)
    modes: tuple[Literal["r", "r+"], ...] = ("r", "r+")
    for mode in modes:
        with pytest.raises(OSError) as caught:
            vhdx.open(path, mode)
        assert caught.value.errno == errno.EIO


def test_the_holder_is_not_known_where_proc_does_not_say(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listdir = os.listdir
    monkeypatch.setattr(os, "listdir", lambda where: [] if str(where).startswith("/proc") else listdir(where))
    with vhdx.open(path, "r+"), pytest.raises(vhdx.ImageLockedError, match="another process"):
        vhdx.open(path)
