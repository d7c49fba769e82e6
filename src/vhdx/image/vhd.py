"""One VHD file, fixed, dynamic or differencing: which footer counts, and what a range is made of.

A block is a sector bitmap and the data behind it. A clear bit asks the parent, or is zeros where there is
none. Nothing is trusted before it is bounded; the table and the bitmaps are read when they are needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vhdx.errors import CorruptImageError, UnsupportedImageError
from vhdx.extents import BlockState, Extent, ExtentKind
from vhdx.format import vhd
from vhdx.format.foreign import foreign_to_images
from vhdx.image.bitmap import bit_runs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.format.vhd import DynamicHeader, Footer
    from vhdx.storage.base import ReadableStorage

_MINIMUM_BLOCK_SIZE = 4096
_MAXIMUM_BLOCK_SIZE = 256 * 1024 * 1024
_WINDOW = 16 * 1024
"""Entries of the table that are kept: of blocks of 2 MiB, those of 32 GiB."""
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
"""Bitmaps of a VHD begin with the most significant bit of a byte, those of a VHDX with the least."""


class VhdImage:
    """One opened file. Raises CorruptImageError or UnsupportedImageError for what cannot be read right.

    A table's 32-bit sector numbers bound the file, to 2 TiB, and not the disk, which may be
    larger, though Hyper-V makes none of more than 2040 GiB.
    """

    def __init__(self, storage: ReadableStorage) -> None:
        self.storage = storage
        self.findings: list[str] = []
        self.footer = self._footer()
        self._check_footer()
        self.header = None if self.footer.disk_type == vhd.FIXED else self._header()
        self._window = (-1, b"")
        """The part of the table that was read last: its first block, its bytes. Replaced as a whole."""

    @property
    def name(self) -> str:
        """What messages call the file."""
        return self.storage.name

    @property
    def size(self) -> int:
        """The capacity of the disk in bytes.

        It is what the footer says, as for Hyper-V, Azure and libvhdi. Virtual PC, and QEMU for images of
        Virtual PC, show what the geometry addresses, which is up to a cylinder less.
        """
        return self.footer.current_size

    @property
    def disk_type(self) -> str:
        """``"fixed"``, ``"dynamic"`` or ``"differencing"``."""
        return vhd.DISK_TYPES[self.footer.disk_type]

    @property
    def has_parent(self) -> bool:
        """Whether clear bits ask a parent."""
        return self.footer.disk_type == vhd.DIFFERENCING

    def _footer(self) -> Footer:
        """The footer at the end; its copy at the beginning if that is damaged."""
        end = self.storage.size()
        last = footer_bytes(self.storage)
        damage = vhd.footer_damage(last)
        if damage is None:
            return vhd.unpack_footer(last)
        first = self.storage.read(min(end, vhd.FOOTER_SIZE), 0)
        if vhd.footer_damage(first) is not None:
            other = foreign_to_images(first)
            what = f"; the file is {other.kind}: {other.advice}" if other is not None else ""
            raise self._corrupt(
                f"{damage}, and there is no sound copy at the beginning{what}", "footer", max(0, end - 512)
            )
        self.findings.append(f"the footer at the end is damaged ({damage}), its copy is used")
        return vhd.unpack_footer(first)

    def _check_footer(self) -> None:
        footer, end = self.footer, self.storage.size()
        if footer.version >> 16 != vhd.VERSION >> 16:
            raise self._unsupported(f"version {footer.version >> 16} of the format")
        if footer.disk_type not in vhd.DISK_TYPES:
            raise self._unsupported(f"disk type {footer.disk_type}")
        if footer.current_size % vhd.SECTOR_SIZE or not footer.current_size:
            raise self._corrupt(f"the size is {footer.current_size} bytes, no whole sectors", "footer")
        if footer.disk_type == vhd.FIXED and footer.current_size > end:
            raise self._corrupt(f"the file has {end} bytes, the disk {footer.current_size}", "footer")
        if footer.saved_state:
            self.findings.append("the disk belongs to a virtual machine whose state was saved")

    def _header(self) -> DynamicHeader:
        offset, end = self.footer.header_offset, self.storage.size()
        if offset + vhd.HEADER_SIZE > end:
            raise self._corrupt("it stands behind the end of the file", "dynamic disk header", offset)
        data = self.storage.read(vhd.HEADER_SIZE, offset)
        damage = vhd.header_damage(data)
        if damage is not None:
            raise self._corrupt(damage, "dynamic disk header", offset)
        header = vhd.unpack_header(data)
        if header.version >> 16 != vhd.VERSION >> 16:
            raise self._unsupported(f"version {header.version >> 16} of the dynamic disk header")
        size = header.block_size
        if not _MINIMUM_BLOCK_SIZE <= size <= _MAXIMUM_BLOCK_SIZE or size & (size - 1):
            raise self._corrupt(f"the block size is {size}", "dynamic disk header", offset)
        blocks = -(-self.footer.current_size // size)
        if header.entry_count < blocks:
            raise self._corrupt(
                f"{blocks} blocks have only {header.entry_count} entries", "dynamic disk header", offset
            )
        if header.table_offset + blocks * vhd.ENTRY_SIZE > end:
            raise self._corrupt("it reaches behind the end of the file", "BAT", header.table_offset)
        return header

    def parent_names(self) -> Iterator[tuple[bytes, str]]:
        """(platform, name) of every locator that can be read as text; at most 64 KiB each are."""
        for locator in self.header.locators if self.header else ():
            encoding = {b"W2ru": "utf-16-le", b"W2ku": "utf-16-le"}.get(locator.platform, "utf-8")
            if locator.length <= 64 * 1024 and locator.file_offset + locator.length <= self.storage.size():
                data = self.storage.read(locator.length, locator.file_offset)
                yield locator.platform, data.decode(encoding, "replace").partition("\0")[0]

    def extents(self, offset: int, length: int) -> Iterator[Extent]:
        """What a range inside the disk is made of; UNALLOCATED where this file says nothing."""
        header = self.header
        if header is None:
            if length:
                yield _data(offset, length, offset, BlockState.FULLY_PRESENT)
            return
        end = offset + length
        while offset < end:
            block, in_block = divmod(offset, header.block_size)
            count = min(header.block_size - in_block, end - offset)
            place = self._place(header, block)
            if place is None:
                yield _nothing(offset, count)
            else:
                yield from self._in_block(header, place, offset, count)
            offset += count

    def _place(self, header: DynamicHeader, block: int) -> int | None:
        """The file offset of a block's bitmap, None if the block is not there."""
        entry = self._entry(header, block)
        if entry == vhd.UNUSED_ENTRY:
            return None
        place = entry * vhd.SECTOR_SIZE
        needed = min(header.block_size, self.size - block * header.block_size)
        if place < vhd.FOOTER_SIZE or place + _bitmap_length(header) + needed > self.storage.size():
            raise self._corrupt(
                f"block {block} stands at {place}, not inside the file", "BAT", header.table_offset
            )
        return place

    def _entry(self, header: DynamicHeader, block: int) -> int:
        first = block - block % _WINDOW
        start, entries = self._window
        if start != first:
            count = min(_WINDOW, -(-self.size // header.block_size) - first)
            place = header.table_offset + first * vhd.ENTRY_SIZE
            entries = self.storage.read(count * vhd.ENTRY_SIZE, place)
            self._window = (first, entries)
        index = (block - first) * vhd.ENTRY_SIZE
        return int.from_bytes(entries[index : index + vhd.ENTRY_SIZE], "big")

    def _in_block(self, header: DynamicHeader, place: int, offset: int, length: int) -> Iterator[Extent]:
        """The runs of one block, by its bitmap."""
        start_of_block = offset - offset % header.block_size
        data = place + _bitmap_length(header)
        first = (offset - start_of_block) // vhd.SECTOR_SIZE
        last = -(-(offset - start_of_block + length) // vhd.SECTOR_SIZE)
        bitmap = self.storage.read(-(-last // 8), place).translate(_REVERSED)
        mixed = any(bitmap) and bitmap.count(0xFF) != len(bitmap)
        state = BlockState.PARTIALLY_PRESENT if mixed else BlockState.FULLY_PRESENT
        for run in bit_runs(lambda size, at: bitmap[at : at + size], first, last - first):
            start = max(offset, start_of_block + run.first_bit * vhd.SECTOR_SIZE)
            stop = start_of_block + (run.first_bit + run.bit_count) * vhd.SECTOR_SIZE
            count = min(offset + length, stop) - start
            if run.is_set:
                yield _data(start, count, data + start - start_of_block, state)
            else:
                yield _nothing(start, count)

    def _corrupt(self, text: str, structure: str, file_offset: int | None = None) -> CorruptImageError:
        return CorruptImageError(text, image=self.name, structure=structure, file_offset=file_offset)

    def _unsupported(self, what: str) -> UnsupportedImageError:
        return UnsupportedImageError(f"{what} is not supported", image=self.name, structure="footer")


def footer_bytes(storage: ReadableStorage) -> bytes:
    """The bytes at the end of a file where a footer would be; those of old files are filled up."""
    end = storage.size()
    if end < vhd.OLD_FOOTER_SIZE:
        return b""
    tail = storage.read(min(end, vhd.FOOTER_SIZE), max(0, end - vhd.FOOTER_SIZE))
    old = tail[-vhd.OLD_FOOTER_SIZE :]
    return old + b"\0" if old.startswith(vhd.FOOTER_COOKIE) else tail


def has_sound_footer(storage: ReadableStorage) -> bool:
    """Whether a file ends with a footer whose checksum is right."""
    return vhd.footer_damage(footer_bytes(storage)) is None


def is_vhd(storage: ReadableStorage) -> bool:
    """Whether a file ends like a VHD, or begins like one that has lost its end."""
    cookie = vhd.FOOTER_COOKIE
    if footer_bytes(storage).startswith(cookie):
        return True
    return storage.size() >= vhd.FOOTER_SIZE and storage.read(len(cookie), 0) == cookie


def _bitmap_length(header: DynamicHeader) -> int:
    """Bytes of a block's bitmap, whole sectors."""
    return -(-header.block_size // (vhd.SECTOR_SIZE * 8 * vhd.SECTOR_SIZE)) * vhd.SECTOR_SIZE


def _data(offset: int, length: int, file_offset: int, state: BlockState) -> Extent:
    return Extent(offset, length, ExtentKind.DATA, state, 1, file_offset)


def _nothing(offset: int, length: int) -> Extent:
    return Extent(offset, length, ExtentKind.UNALLOCATED, BlockState.NOT_PRESENT, 0, None)
