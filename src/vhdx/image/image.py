"""One VHDX file, opened: ties headers, log, regions, metadata, table and bitmaps together."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeVar

from vhdx import rules
from vhdx.format import guids
from vhdx.format.bat import ENTRY_SIZE
from vhdx.geometry import Geometry
from vhdx.image import headers, metadata, regions
from vhdx.image.bat import Bat
from vhdx.image.pages import Pages
from vhdx.image.read import Reader
from vhdx.journal.replay import OVERLAY_LIMIT, GrowthError, replayed_overlay
from vhdx.journal.ring import Ring
from vhdx.journal.scan import active_sequence
from vhdx.rules import Finding, OpeningReport, Place
from vhdx.storage.overlay import OverlayFullError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vhdx.extents import Doubt
    from vhdx.format.header import Header
    from vhdx.image.headers import Headers
    from vhdx.image.metadata import Metadata
    from vhdx.image.regions import Regions
    from vhdx.journal.scan import ActiveSequence
    from vhdx.storage.base import ReadableStorage

_T = TypeVar("_T")


class Image(NamedTuple):
    """What was found in one file, and the reader of its disk.

    ``file`` is the file as it is on the host, ``storage`` as it is after replay of its log, ``sequence``
    the active sequence of a dirty log. ``findings`` are the warnings and notes of the opening. ``doubts``
    tells which ranges of the disk are doubtful; None where nothing is: what cannot be read right raises.
    """

    file: ReadableStorage
    storage: ReadableStorage
    creator: str
    headers: Headers
    sequence: ActiveSequence | None
    regions: Regions
    metadata: Metadata
    geometry: Geometry
    pages: Pages
    bat: Bat
    reader: Reader
    findings: tuple[Finding, ...]
    doubts: Callable[[], Iterator[Doubt]] | None = None

    @property
    def header(self) -> Header:
        """The current header, as it was when the file was opened."""
        return self.headers.current

    @property
    def needs_mending(self) -> bool:
        """Whether the log is dirty, or one of two copies is damaged or disagrees with the other."""
        damaged = any(finding.rule is rules.HEADER_DAMAGED for finding in self.findings)
        return self.header.log_guid != guids.NIL or damaged or bool(self.regions.to_mend)

    @property
    def name(self) -> str:
        """What messages call the file."""
        return self.file.name


def load(file: ReadableStorage) -> Image:
    """Open an image for reading; nothing is written, a dirty log is replayed in memory.

    Raises CorruptImageError or UnsupportedImageError for the first rule that the file breaks.
    """
    report = OpeningReport(file.name)
    creator = headers.check_identifier(file, report)
    pair = _present(headers.load(file, report))
    header = pair.current
    sequence, storage = _replayed(file, header)
    table = _present(regions.load(storage, header, report))
    items = _present(metadata.load(storage, table.metadata, report))
    geometry = Geometry(items.disk_size, items.block_size, items.logical_sector_size, items.has_parent)
    _check_table_size(table, geometry, report)
    pages = Pages(storage)
    bat = Bat(pages, table.bat.file_offset, geometry)
    return Image(
        file=file,
        storage=storage,
        creator=creator,
        headers=pair,
        sequence=sequence,
        regions=table,
        metadata=items,
        geometry=geometry,
        pages=pages,
        bat=bat,
        reader=Reader(storage, pages, bat, geometry, table),
        findings=tuple(report.findings),
    )


def _present(loaded: _T | None) -> _T:
    """What a loader found: it returns None only after reporting an error, and the report then raised."""
    assert loaded is not None
    return loaded


def _replayed(file: ReadableStorage, header: Header) -> tuple[ActiveSequence | None, ReadableStorage]:
    """The active sequence of a dirty log, and the file as it is once that is replayed."""
    if header.log_guid == guids.NIL:
        return None, file
    ring = Ring(header.log_offset, header.log_length, file.read)
    place = Place("log", header.log_offset)
    sequence = active_sequence(ring, header.log_guid.bytes_le)
    if sequence is None:
        detail = f"the log is not empty, but has no complete sequence of entries of {header.log_guid}"
        raise Finding(rules.LOG_NO_SEQUENCE, place, detail).error(file.name)
    flushed = sequence.head.flushed_file_offset
    if file.size() < flushed:
        detail = (
            f"the file was cut: it has {file.size()} bytes, and had at least {flushed} when it was written"
        )
        raise Finding(rules.LOG_FILE_TRUNCATED, place, detail).error(file.name)
    try:
        return sequence, replayed_overlay(file, ring, sequence)
    except GrowthError as error:
        detail = f"replay would make the file {error} bytes long; files of over 256 TiB are refused"
        raise Finding(rules.LOG_GROWTH, place, detail).error(file.name) from None
    except OverlayFullError:
        detail = f"the log changes more than {OVERLAY_LIMIT} sectors, too many to replay in memory"
        raise Finding(rules.LOG_TOO_LARGE, place, detail).error(file.name) from None


def _check_table_size(table: Regions, geometry: Geometry, report: OpeningReport) -> None:
    needed = geometry.bat_entry_count * ENTRY_SIZE
    if table.bat.length < needed:
        detail = f"the BAT region has {table.bat.length} bytes, the disk needs {needed}"
        report(Finding(rules.BAT_TOO_SMALL, Place("BAT region", table.bat.file_offset), detail))


def write_identity(file: ReadableStorage) -> Header:
    """The current header alone: enough to recognise a parent. Raises as `load` does."""
    report = OpeningReport(file.name)
    headers.check_identifier(file, report)
    return _present(headers.load(file, report)).current
