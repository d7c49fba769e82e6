"""From the file of an image to another file by the kernel: the right bytes, or none."""

import os
import socket
import sys
import threading
from pathlib import Path

import pytest

import vhdx
from vhdx.disk.open import open_any
from vhdx.disk.opened import Disk
from vhdx.disk.sending import sent
from vhdx.files.library import HeldContent
from vhdx.files.sending import PIECE, poured

fcntl = pytest.importorskip("fcntl", reason="not on Windows")
MIB = 1 << 20
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux copies from file to file so")


@pytest.fixture(name="image")
def _image(tmp_path: Path) -> Path:
    """Data in the first and the third block, the latter in a child, nothing in the second."""
    base = tmp_path / "base.vhdx"
    vhdx.create(base, 8 * MIB, block_size=MIB)
    with vhdx.open(base, "r+") as disk:
        disk.pwrite(os.urandom(MIB), 0)
        disk.pwrite(os.urandom(MIB), 2 * MIB)
    child = tmp_path / "child.vhdx"
    vhdx.create(child, parent=base)
    with vhdx.open(child, "r+") as disk:
        disk.pwrite(b"child" * 1000, 2 * MIB + 4096)
    return child


def sent_whole(image: Path, target: Path) -> int:
    """Copy a disk as far as the kernel does it, the rest by reading; how much the kernel did."""
    by_kernel = 0
    with open_any(image) as disk, open(target, "wb", buffering=0) as output:
        offset = 0
        while offset < disk.size:
            count = sent(disk, output.fileno(), disk.size - offset, offset)
            by_kernel += count
            if not count:
                count = min(4096, disk.size - offset)
                output.write(disk.pread(count, offset))
            offset += count
        assert target.read_bytes() == disk.pread(disk.size, 0)
    return by_kernel


def test_chains_and_raw_disks(image: Path, tmp_path: Path) -> None:
    target = tmp_path / "copy.raw"
    assert sent_whole(image, target) == 2 * MIB
    assert sent_whole(target, tmp_path / "again.raw") >= 2 * MIB
    vhdx.convert(target, tmp_path / "old.vhd")
    assert sent_whole(tmp_path / "old.vhd", tmp_path / "third.raw") > 0


def test_what_may_change_is_read(image: Path, tmp_path: Path) -> None:
    with open(tmp_path / "out", "wb") as output:
        with vhdx.open(image, "r+") as disk:
            assert sent(disk, output.fileno(), MIB, 0) == 0
        with vhdx.open(image) as disk:
            assert sent(disk, output.fileno(), MIB, MIB) == 0
            assert sent(disk, -1, 512, 0) == 0


def test_a_target_that_appends_is_written_to(image: Path, tmp_path: Path) -> None:
    """The kernel does not copy there."""
    content = Sent(image)
    target = tmp_path / "out"
    target.write_bytes(b"before")
    descriptor = os.open(target, os.O_WRONLY | os.O_APPEND)
    assert sum(poured(content, descriptor, MIB, 0)) == MIB
    os.close(descriptor)
    with vhdx.open(image) as disk:
        assert target.read_bytes() == b"before" + disk.pread(MIB, 0)


def test_what_fits_into_a_pipe_is_copied(image: Path) -> None:
    content = Sent(image)
    reader, writer = os.pipe()
    assert sum(poured(content, writer, 4096, 0)) == 4096
    assert content.asked == 0
    os.close(writer)
    assert os.read(reader, 4096) == content.pread(4096, 0)
    os.close(reader)


@pytest.mark.parametrize("width", [MIB // 4, MIB])
def test_what_a_pipe_still_holds_does_not_change_with_the_image(tmp_path: Path, width: int) -> None:
    """The kernel puts pages of the image into it: none of them is there once the image is let go of."""
    image, before = tmp_path / "image.raw", os.urandom(16 * MIB)
    image.write_bytes(before)
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, width)
    taken = bytearray()

    def take() -> None:
        while len(taken) < len(before) - width:
            taken.extend(os.read(reader, min(65536, len(before) - width - len(taken))))

    thread = threading.Thread(target=take)
    thread.start()
    with open_any(image) as disk:
        content = OnDisk(disk)
        assert sum(poured(content, writer, disk.size, 0)) == disk.size
        assert content.by_kernel >= 4 * MIB
    with open(image, "r+b") as changing:  # its pages stay, with other bytes
        changing.write(bytes(len(before)))
    thread.join()
    os.close(writer)
    taken.extend(b"".join(iter(lambda: os.read(reader, MIB), b"")))
    os.close(reader)
    assert taken == before


def test_sockets_get_copies(image: Path) -> None:
    content = Sent(image)
    one, other = socket.socketpair()
    with one, other:
        assert sum(poured(content, one.fileno(), 4096, 0)) == 4096
    assert content.asked == 0


def test_a_pipe_takes_a_piece_at_once(image: Path) -> None:
    content = Sent(image)
    reader, writer = os.pipe()
    read: list[bytes] = []
    thread = threading.Thread(target=lambda: read.extend(iter(lambda: os.read(reader, MIB), b"")))
    thread.start()
    assert sum(poured(content, writer, MIB, 0)) == MIB
    assert fcntl.fcntl(writer, fcntl.F_GETPIPE_SZ) >= PIECE
    os.close(writer)
    thread.join()
    os.close(reader)
    assert b"".join(read) == content.pread(MIB, 0)


class OnDisk(HeldContent):
    """A disk as if it were a file."""

    def __init__(self, disk: Disk) -> None:
        self.disk, self.size, self.by_kernel = disk, disk.size, 0

    def pread(self, length: int, offset: int) -> bytes:
        return self.disk.pread(length, offset)

    def sent(self, output: int, length: int, offset: int) -> int:
        count = sent(self.disk, output, length, offset)
        self.by_kernel += count
        return count


class Sent(HeldContent):
    """The first MiB of a disk."""

    def __init__(self, image: Path) -> None:
        self.image = image
        self.asked = 0
        with vhdx.open(image) as disk:
            super().__init__(disk.pread(MIB, 0))

    def sent(self, output: int, length: int, offset: int) -> int:
        self.asked += 1
        with vhdx.open(self.image) as disk:
            return sent(disk, output, length, offset)
