"""The structures of a VHD, read and checked: which footer counts, and the header of a file with a table.

Reports what is wrong and goes on with what agrees with itself; whoever opens an image raises on the first
error, whoever saves what can be saved does not.
"""

from __future__ import annotations

from vhdx import rules
from vhdx.format import vhd
from vhdx.format.foreign import foreign_to_images
from vhdx.rules import Finding, Place
from vhdx.storage.base import read_copy
from vhdx.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from vhdx.format.vhd import DynamicHeader, Footer
    from vhdx.rules import Report, Rule
    from vhdx.storage.base import ReadableStorage

_MINIMUM_BLOCK_SIZE = 4096
_MAXIMUM_BLOCK_SIZE = 256 * 1024 * 1024


def footer_bytes(storage: ReadableStorage) -> bytes:
    """The bytes at the end of a file where a footer would be; those of old files are filled up."""
    end = storage.size()
    if end < vhd.OLD_FOOTER_SIZE:
        return b""
    tail = read_copy(storage, min(end, vhd.FOOTER_SIZE), max(0, end - vhd.FOOTER_SIZE))
    old = tail[-vhd.OLD_FOOTER_SIZE :]
    return old + b"\0" if old.startswith(vhd.FOOTER_COOKIE) else tail


def first_bytes(storage: ReadableStorage) -> bytes:
    """The bytes at the beginning of a file, where the footer of one with a table has its copy."""
    return read_copy(storage, min(storage.size(), vhd.FOOTER_SIZE), 0)


def has_sound_footer(storage: ReadableStorage) -> bool:
    """Whether a file ends with a footer whose checksum is right."""
    return vhd.footer_damage(footer_bytes(storage)) is None


def is_vhd(storage: ReadableStorage) -> bool:
    """Whether a file ends like a VHD, or begins like one that has lost its end."""
    cookie = vhd.FOOTER_COOKIE
    return footer_bytes(storage).startswith(cookie) or first_bytes(storage).startswith(cookie)


def load_footer(storage: ReadableStorage, report: Report) -> Footer | None:
    """The footer that counts: the one at the end, its copy at the beginning if that is damaged.

    Where both sums are wrong, a footer whose fields agree with the file, with an error reported. None where
    nothing says what the file is.
    """
    place = Place("footer", max(0, storage.size() - vhd.FOOTER_SIZE))
    last, first = footer_bytes(storage), first_bytes(storage)
    damage, copy_damage = vhd.footer_damage(last), vhd.footer_damage(first)
    if damage is None:
        footer = vhd.unpack_footer(last)
        _check_copy(footer, first != last, copy_damage, report)
    elif copy_damage is None:
        detail = f"the footer at the end is damaged ({damage}), its copy is used"
        report(Finding(rules.VHD_FOOTER_DAMAGED, place, detail))
        footer = vhd.unpack_footer(first)
    else:
        found = next((data for data in (last, first) if _agrees(data, storage)), None)
        if found is None:
            other = foreign_to_images(first)
            what = f"; the file is {other.kind}: {other.advice}" if other is not None else ""
            detail = f"{damage}, and there is no sound copy at the beginning{what}"
            report(Finding(rules.VHD_FOOTER_NONE, place, detail))
            return None
        detail = f"{vhd.footer_damage(found)}, and there is no sound copy; its fields agree with the file"
        report(Finding(rules.VHD_FOOTER_CHECKSUM, place, detail))
        footer = vhd.unpack_footer(found)
    return footer if _check_footer(footer, storage.size(), place, report) else None


def _check_copy(footer: Footer, differs: bool, damage: str | None, report: Report) -> None:
    if footer.disk_type == vhd.FIXED or not differs:
        return
    detail = "the copy of the footer at the beginning differs from it" if damage is None else damage
    report(Finding(rules.VHD_FOOTER_COPY, Place("footer copy", 0), detail))


def _agrees(data: bytes, storage: ReadableStorage) -> bool:
    """Whether bytes with a wrong checksum are a footer in every field that the file can confirm."""
    if len(data) < vhd.FOOTER_SIZE or not data.startswith(vhd.FOOTER_COOKIE):
        return False
    footer, end = vhd.unpack_footer(data), storage.size()
    if footer.version != vhd.VERSION or footer.current_size % vhd.SECTOR_SIZE or not footer.current_size:
        return False
    if footer.disk_type == vhd.FIXED:
        return footer.current_size in (end - vhd.FOOTER_SIZE, end - vhd.OLD_FOOTER_SIZE)
    if footer.disk_type not in vhd.DISK_TYPES or footer.header_offset + vhd.HEADER_SIZE > end:
        return False
    return storage.read(8, footer.header_offset) == vhd.HEADER_COOKIE


def _check_footer(footer: Footer, file_size: int, place: Place, report: Report) -> bool:
    """Report what keeps a footer from being used; whether it can be."""
    faults: tuple[tuple[Rule, bool, str], ...] = (
        (
            rules.VHD_VERSION,
            footer.version >> 16 != vhd.VERSION >> 16,
            f"version {footer.version >> 16} of the format is not supported",
        ),
        (
            rules.VHD_DISK_TYPE,
            footer.disk_type not in vhd.DISK_TYPES,
            f"disk type {footer.disk_type} is not supported",
        ),
        (
            rules.VHD_FOOTER_SIZE,
            bool(footer.current_size % vhd.SECTOR_SIZE) or not footer.current_size,
            f"the size is {footer.current_size} bytes, no whole sectors",
        ),
    )
    for rule, broken, detail in faults:
        if broken:
            report(Finding(rule, place, detail))
            return False
    if footer.disk_type == vhd.FIXED and footer.current_size > file_size:
        detail = f"the file has {file_size} bytes, the disk {footer.current_size}"
        report(Finding(rules.VHD_TRUNCATED, place, detail))
    if footer.saved_state:
        detail = "the disk belongs to a virtual machine whose state was saved"
        report(Finding(rules.VHD_SAVED_STATE, place, detail))
    return True


def load_header(storage: ReadableStorage, footer: Footer, report: Report) -> DynamicHeader | None:
    """The header of a file with a table; None where there is none that can be used."""
    end, place = storage.size(), Place("dynamic disk header", footer.header_offset)
    if footer.header_offset + vhd.HEADER_SIZE > end:
        report(Finding(rules.VHD_HEADER_NONE, place, "it stands behind the end of the file"))
        return None
    data = storage.read(vhd.HEADER_SIZE, footer.header_offset)
    damage = vhd.header_damage(data)
    if damage is not None and not data.startswith(vhd.HEADER_COOKIE):
        report(Finding(rules.VHD_HEADER_NONE, place, damage))
        return None
    header = vhd.unpack_header(data)
    faults = tuple(_header_faults(header, footer))
    if damage is not None:
        rule = rules.VHD_HEADER_NONE if faults else rules.VHD_HEADER_CHECKSUM
        report(Finding(rule, place, damage if faults else f"{damage}; its fields agree with the file"))
    for rule, detail in faults:
        report(Finding(rule, place, detail))
    if faults:
        return None
    if header.table_offset + table_length(header, footer) > end:
        table = Place("BAT", header.table_offset)
        report(Finding(rules.VHD_TABLE_PAST_END, table, "it reaches behind the end of the file"))
    return header


def _header_faults(header: DynamicHeader, footer: Footer) -> list[tuple[Rule, str]]:
    """Why a header cannot be used."""
    if header.version >> 16 != vhd.VERSION >> 16:
        detail = f"version {header.version >> 16} of the dynamic disk header is not supported"
        return [(rules.VHD_VERSION, detail)]
    size = header.block_size
    if not _MINIMUM_BLOCK_SIZE <= size <= _MAXIMUM_BLOCK_SIZE or size & (size - 1):
        return [(rules.VHD_BLOCK_SIZE, f"the block size is {size}")]
    blocks = block_count(header, footer)
    if header.entry_count < blocks:
        return [(rules.VHD_ENTRY_COUNT, f"{blocks} blocks have only {header.entry_count} entries")]
    return []


def block_count(header: DynamicHeader, footer: Footer) -> int:
    """The blocks of the disk."""
    return -(-footer.current_size // header.block_size)


def table_length(header: DynamicHeader, footer: Footer) -> int:
    """The bytes of the table that the disk needs."""
    return block_count(header, footer) * vhd.ENTRY_SIZE


def bitmap_length(header: DynamicHeader) -> int:
    """The bytes of a block's bitmap, whole sectors."""
    return -(-header.block_size // (vhd.SECTOR_SIZE * 8 * vhd.SECTOR_SIZE)) * vhd.SECTOR_SIZE
