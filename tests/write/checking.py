"""What must hold for every file that was written to, whatever happened: judged without the library.

Files are copied as they stand on the host, holes included.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from tests.support import layout, naive
from tests.support.calls import OPEN_FLAGS, pwrite, space_of
from tests.support.holes import data_pieces
from tests.support.layout import (
    BAT_ENTRY,
    BAT_GUID,
    FULLY_PRESENT,
    MIB,
    REGION_ENTRY,
    REGION_TABLE,
    REGION_TABLE_OFFSETS,
    TABLE_SIZE,
    UNDEFINED,
    UNMAPPED,
    ZERO_GUID,
    seal,
)
from tests.support.structures import current_header
from vhdx.disk.open import open_disk

from .model import SMALL, Model, assert_same, windows_of


class Claim(NamedTuple):
    """A run of bytes of the file and what it belongs to."""

    start: int
    end: int
    name: str


class Structure(NamedTuple):
    """What a file's structures say, after replay of its log."""

    length: int
    block_size: int
    present: dict[int, int]
    """The file offsets of the blocks that are there."""
    states: list[int]
    claims: list[Claim]


class Look:
    """A file as the naive reader sees it: its log is replayed once, in memory."""

    def __init__(self, descriptor: int) -> None:
        self._image = naive._load(*naive.file_of(descriptor))

    def read(self, length: int, offset: int) -> bytes:
        """Bytes of the disk, with the arguments in the order of the library."""
        return naive._content(self._image, offset, length, None)

    def structure(self) -> Structure:
        """The structures; raises AssertionError if they contradict each other or the file."""
        image = self._image
        header = naive._current_header(image)
        claims = [Claim(0, MIB, "header section"), *_regions(image)]
        log = layout.HEADER.number(header, "log_offset")
        claims.append(Claim(log, log + layout.HEADER.number(header, "log_length"), "log"))
        present, states = {}, []
        for block, entry in enumerate(_entries(image)):
            state = BAT_ENTRY.number(entry, "state")
            place = BAT_ENTRY.number(entry, "file_offset_mb") * MIB
            states.append(state)
            if state == FULLY_PRESENT:
                present[block] = place
            if state == FULLY_PRESENT or (place and state in (UNDEFINED, UNMAPPED)):
                claims.append(Claim(place, place + image.block_size, f"block {block}"))
            needed = min(image.block_size, image.disk_size - block * image.block_size)
            assert state != FULLY_PRESENT or place + needed <= image.length, f"block {block} is not there"
        claims.sort()
        for before, after in pairwise(claims):
            assert before.end <= after.start, f"{before} and {after} overlap"
        return Structure(image.length, image.block_size, present, states, claims)


@contextmanager
def naively(path: Path) -> Iterator[Look]:
    """Look at a file."""
    descriptor = os.open(path, os.O_RDONLY | OPEN_FLAGS)
    try:
        yield Look(descriptor)
    finally:
        os.close(descriptor)


def structure_of(path: Path) -> Structure:
    """The structures of a file; raises AssertionError if they contradict each other or the file."""
    with naively(path) as look:
        return look.structure()


def _regions(image: naive._Image) -> Iterator[Claim]:
    for offset in REGION_TABLE_OFFSETS.values():
        table = image.read(offset, TABLE_SIZE)
        if table[:4] == b"regi" and seal(table) == table:
            for index in range(REGION_TABLE.number(table, "entry_count")):
                entry = table[16 + 32 * index : 48 + 32 * index]
                start = REGION_ENTRY.number(entry, "file_offset")
                guid = REGION_ENTRY.guid(entry, "guid")
                name = "BAT" if guid == BAT_GUID else f"region {guid}"
                yield Claim(start, start + REGION_ENTRY.number(entry, "length"), name)
            return


def _entries(image: naive._Image) -> Iterator[bytes]:
    ratio = layout.BITS_OF_A_BITMAP * image.sector_size // image.block_size
    for block in range(-(-image.disk_size // image.block_size)):
        yield image.read(image.bat_offset + 8 * (block + block // ratio), 8)


def model_of(path: Path, small: int = SMALL) -> Model:
    """The twin of an image, as the naive reader sees it."""
    with naively(path) as look, open_disk(path, lock=False) as disk:
        return Model(windows_of(disk.size, disk.block_size, small), look.read)


def log_guid_of(path: Path) -> UUID:
    """The log GUID of the current header: not zero if the log is dirty."""
    with path.open("rb") as file:
        return layout.HEADER.guid(current_header(file), "log_guid")


def is_clean(path: Path) -> bool:
    """Whether there is nothing to replay."""
    return log_guid_of(path) == ZERO_GUID


def guids_of(path: Path) -> tuple[UUID, UUID]:
    """The FileWriteGuid and the DataWriteGuid of the current header."""
    with path.open("rb") as file:
        header = current_header(file)
    return layout.HEADER.guid(header, "file_write_guid"), layout.HEADER.guid(header, "data_write_guid")


def assert_sound(path: Path, model: Model) -> Structure:
    """Structures fit, and the naive reader and the library, reading only, see the model."""
    with naively(path) as look:
        found = look.structure()
        model.assert_equal(look.read)
    with open_disk(path, lock=False) as disk:
        model.assert_equal(disk.pread)
    return found


def left_by_a_crash(path: Path, model: Model) -> bytes:
    """Look at a file as a crash left it, with two readers; its content: every sector is old or new."""
    with naively(path) as look:
        look.structure()
        found = model.seen_in(look.read)
    with open_disk(path, lock=False) as disk:
        assert_same(model.seen_in(disk.pread), found)
    model.assert_possible(found)
    return found


def copied(path: Path, to: Path) -> Path:
    """A copy of the file as it stands, with its holes: what would be left if the process were killed now."""
    to.unlink(missing_ok=True)  # ext4 waits for the disk when a file is overwritten
    target = os.open(to, os.O_RDWR | os.O_CREAT | os.O_EXCL | OPEN_FLAGS)
    try:
        os.ftruncate(target, path.stat().st_size)
        for at, piece in data_pieces(path):
            pwrite(target, piece, at)
    finally:
        os.close(target)
    return to


def allocated(path: Path) -> int:
    """Bytes of the host's disk that the file takes."""
    return space_of(path)


def qemu_check(path: Path, *options: str) -> None:
    """`qemu-img check` finds nothing."""
    command = ["qemu-img", "check", "-f", "vhdx", *options, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    assert "No errors" in done.stdout or "-r" in options, done.stdout


def qemu_content(path: Path) -> bytes:
    """The disk as `qemu-img convert` sees it."""
    raw = path.with_name(f"{path.name}.raw")
    subprocess.run(["qemu-img", "convert", "-f", "vhdx", "-O", "raw", str(path), str(raw)], check=True)
    try:
        return raw.read_bytes()
    finally:
        raw.unlink()
