"""A lost beginning of a file, made anew from what stands behind it [MS-VHDX 2.2].

Identifier, headers and region tables hold nothing that is not found elsewhere, but for identities: the log
tells its session, metadata and BAT are searched for. What is still sound is used as it stands. Where the
metadata are lost, too, the BAT is searched for by the sizes of the disk, if somebody tells them.
"""

from __future__ import annotations

from vhdx import rules
from vhdx.build.structures import CREATOR
from vhdx.errors import CorruptImageError
from vhdx.examine.lost_log import LostLog, lost_log
from vhdx.format import identifier, region
from vhdx.format.header import HEADER_OFFSETS, NO_LOG
from vhdx.image import headers, regions, replayed
from vhdx.rules import CollectingReport
from vhdx.storage.overlay import SECTOR_SIZE, Overlay
from vhdx.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vhdx.format.header import Header
    from vhdx.geometry import Geometry
    from vhdx.storage.base import ReadableStorage, Storage

_UNREPLAYABLE = {rules.HEADER_LOG_PLACE, rules.HEADER_VERSION, rules.HEADER_LOG_VERSION}


class Beginning(NamedTuple):
    """What is to stand where the beginning was lost, as (file offset, bytes); nothing where it is sound.

    ``found`` says what it was made from, ``doubt`` why the whole disk is doubtful if it is.
    """

    patches: tuple[tuple[int, bytes], ...]
    found: tuple[str, ...]
    doubt: str | None = None


def restored(file: ReadableStorage, told: Geometry | None = None) -> Beginning:
    """What to put in the place of what is lost of a file's beginning.

    ``told`` are the sizes of the disk: where no metadata are found the file has room for them behind its end
    afterwards. Raises CorruptImageError where nothing says that the file is a VHDX, or more than one
    place can be meant.
    """
    report = CollectingReport()
    pair = headers.load(file, report)
    has_identifier = headers.has_identifier(file)
    log = None if pair is not None else _lost_log(file, told)
    header = NO_LOG if log is None else log.header
    header = header if pair is None else pair.current
    storage = file if _UNREPLAYABLE & report.counts.keys() else replayed.load(file, header, report)[1]
    patches: list[tuple[int, bytes]] = []
    found = [log.found] if log is not None else []
    if all(map(region.damage, regions.read_copies(storage))):
        from vhdx.examine.rebuild import chosen  # noqa: PLC0415  sound tables need not wait for numpy

        place = chosen(storage, header, told)
        found.append(f"metadata at {place.metadata.file_offset}, BAT at {place.bat.file_offset}")
        if place.metadata.end > storage.size():
            patches.append((place.metadata.end - SECTOR_SIZE, bytes(SECTOR_SIZE)))
        table = region.pack([place.bat, place.metadata])
        patches += [(offset, table) for offset in region.TABLE_OFFSETS]
    if log is not None:
        patches += [(at, _numbered(header, slot).pack()) for slot, at in enumerate(HEADER_OFFSETS)]
    if not has_identifier:
        patches.append((0, identifier.pack(CREATOR)))
    return Beginning(tuple(patches), tuple(found), log.doubt if log is not None else None)


def _numbered(header: Header, slot: int) -> Header:
    return header._replace(sequence_number=header.sequence_number + slot)


def _lost_log(file: ReadableStorage, told: Geometry | None) -> LostLog:
    copies = [copy for copy in regions.read_copies(file) if region.damage(copy) is None]
    if copies:
        return lost_log(file, region.unpack(copies[0]))
    from vhdx.examine.rebuild import chosen, first_metadata, with_sizes  # noqa: PLC0415  as above

    place = first_metadata(file)
    if place is not None:
        return lost_log(file, [place])
    if told is None:
        raise CorruptImageError(
            "there is no sign of a VHDX file; only with the sizes of its disk a table may be found",
            image=file.name,
            structure="file identifier",
            rule=rules.IDENTIFIER_SIGNATURE.section,
            next_command=with_sizes(file.name),
        )
    return lost_log(file, [chosen(file, NO_LOG, told).bat], may_be_wiped=True)


def replayed_file(file: ReadableStorage) -> ReadableStorage:
    """The file as it is once its log is replayed, as it stands where that cannot be."""
    report = CollectingReport()
    pair = headers.load(file, report)
    if pair is None or _UNREPLAYABLE & report.counts.keys():
        return file
    return replayed.load(file, pair.current, report)[1]


def laid_over(file: ReadableStorage, patches: Sequence[tuple[int, bytes]]) -> ReadableStorage:
    """The file with whole sectors put in their places; the file itself if there are none."""
    if not patches:
        return file
    overlay = Overlay(file, sum(-(-len(data) // SECTOR_SIZE) for _, data in patches))
    for offset, data in patches:
        for at in range(0, len(data), SECTOR_SIZE):
            overlay.put_sector(offset + at, data[at : at + SECTOR_SIZE])
    overlay.seal()
    return overlay


def write_patches(file: Storage, patches: Sequence[tuple[int, bytes]]) -> None:
    """Put them into the file, in their order, durably."""
    for offset, data in patches:
        file.write_at(data, offset)
    file.flush()
