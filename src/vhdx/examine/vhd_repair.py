"""Repairing one VHD where nothing has to be guessed: a footer from its copy, sums, unused entries."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vhdx.format import vhd
from vhdx.image.vhd import VhdImage
from vhdx.image.vhd_load import block_count, first_bytes, footer_bytes
from vhdx.rules import CollectingReport

if TYPE_CHECKING:
    from vhdx.format.vhd import DynamicHeader
    from vhdx.storage.base import Storage

_PIECE = 16 * 1024
"""Entries of the table that are looked at in one go."""


def repair_vhd(file: Storage) -> None:
    """Repair what can be repaired, durably, the copy before what it is a copy of.

    Raises CorruptImageError where nothing says what the file is.
    """
    image = VhdImage(file, CollectingReport())
    if image.header is not None:
        _put_entries(file, image, image.header)
        _put_header(file, image)
    _put_footers(file, image)
    file.flush()


def _put_entries(file: Storage, image: VhdImage, header: DynamicHeader) -> None:
    """Entries of 0 become those of blocks that are not there."""
    count = block_count(header, image.footer)
    for first in range(0, count, _PIECE):
        before = image.table_bytes(header, first, min(_PIECE, count - first))
        entries = [before[at : at + vhd.ENTRY_SIZE] for at in range(0, len(before), vhd.ENTRY_SIZE)]
        unused = b"\xff" * vhd.ENTRY_SIZE
        after = b"".join(entry if any(entry) else unused for entry in entries)
        if after != before:
            file.write_at(after, header.table_offset + first * vhd.ENTRY_SIZE)


def _put_header(file: Storage, image: VhdImage) -> None:
    data = file.read(vhd.HEADER_SIZE, image.footer.header_offset)
    if vhd.header_damage(data) is not None:
        file.write_at(vhd.sealed_header(data), image.footer.header_offset)


def _put_footers(file: Storage, image: VhdImage) -> None:
    """The same footer at both ends; of a fixed disk at the end alone."""
    last, first = footer_bytes(file), first_bytes(file)
    chosen = next(data for data in (last, first) if _is(data, image))
    footer = vhd.sealed_footer(chosen)
    if image.header is not None and first != footer:
        file.write_at(footer, 0)
        file.flush()
    if last != footer:
        file.write_at(footer, _place_of_footer(file, image, last))


def _is(data: bytes, image: VhdImage) -> bool:
    """Whether bytes are the footer that the image was opened by, whatever their checksum."""
    has_cookie = len(data) == vhd.FOOTER_SIZE and data.startswith(vhd.FOOTER_COOKIE)
    return has_cookie and vhd.unpack_footer(data) == image.footer


def _place_of_footer(file: Storage, image: VhdImage, last: bytes) -> int:
    """Where the footer goes: over a damaged one, but never over a block."""
    size, header = file.size(), image.header
    place = size - vhd.FOOTER_SIZE
    if last.startswith(vhd.FOOTER_COOKIE) or header is None:
        return place
    blocks = range(block_count(header, image.footer))
    places = (image.named_place(header, block) for block in blocks)
    used_end = max((p + image.stored_length(header) for p in places if p is not None), default=0)
    return place if used_end <= place else -(-max(size, used_end) // vhd.SECTOR_SIZE) * vhd.SECTOR_SIZE
