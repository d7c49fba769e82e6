"""One VHDX file, opened: ties headers, log, regions, metadata, table and bitmaps together."""

from __future__ import annotations

from vhdx import rules
from vhdx.format import guids
from vhdx.format.bat import ENTRY_SIZE
from vhdx.image import headers, metadata, regions
from vhdx.image.bat import Bat
from vhdx.image.pages import Pages
from vhdx.image.read import Reader
from vhdx.rules import Finding, OpeningReport, Place
from vhdx.storage.base import all_readable
from vhdx.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypeVar

    from vhdx.extents import Doubt
    from vhdx.format.header import Header
    from vhdx.geometry import Geometry
    from vhdx.image.headers import Headers
    from vhdx.image.metadata import Metadata
    from vhdx.image.regions import Regions
    from vhdx.journal.scan import ActiveSequence
    from vhdx.rules import Report
    from vhdx.storage.base import ReadableStorage, Unreadable

    _T = TypeVar("_T")


class Image(NamedTuple):
    """What was found in one file, and the reader of its disk.

    ``file`` is the file as it is on the host, ``storage`` as it is after replay of its log, ``sequence``
    the active sequence of a dirty log. ``findings`` are the warnings and notes of the opening. ``doubts``
    tells which ranges of the disk are doubtful; None where nothing is: what cannot be read right raises.
    ``unreadable`` tells for which runs of the file there are zeros because the host could not read them.
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
    unreadable: Unreadable = all_readable

    @property
    def header(self) -> Header:
        """The current header, as it was when the file was opened."""
        return self.headers.current

    @property
    def needs_recovery(self) -> bool:
        """Whether the log is dirty, or one of two copies is damaged or disagrees with the other."""
        damaged = any(finding.rule is rules.HEADER_DAMAGED for finding in self.findings)
        return self.header.log_guid != guids.NIL or damaged or bool(self.regions.to_repair)

    @property
    def name(self) -> str:
        """What messages call the file."""
        return self.file.name


def load(file: ReadableStorage, *, disk_size: int | None = None) -> Image:
    """Open an image for reading; nothing is written, a dirty log is replayed in memory.

    ``disk_size`` looks at it as if its disk had that many bytes already: for whoever is resizing it.
    Raises CorruptImageError or UnsupportedImageError for the first rule that the file breaks.
    """
    report = OpeningReport(file.name)
    if not headers.has_identifier(file):
        from vhdx.image.other_formats import refuse_other_formats  # noqa: PLC0415  a VHDX need not wait for it

        refuse_other_formats(file)
    creator = headers.check_identifier(file, report)
    pair = _present(headers.load(file, report))
    header = pair.current
    sequence, storage = _replayed(file, header, report)
    table = _present(regions.load(storage, header, report))
    found = metadata.load(storage, table.metadata, report)
    items, geometry = _present(found.metadata), _present(found.geometry)
    if disk_size is not None:
        geometry = geometry.resized(disk_size)
    check_table_size(table, geometry, report)
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


def _replayed(
    file: ReadableStorage, header: Header, report: Report
) -> tuple[ActiveSequence | None, ReadableStorage]:
    if header.log_guid == guids.NIL:
        return None, file
    from vhdx.image import replayed  # noqa: PLC0415  most logs are empty, and `vhdx info` should start quickly

    return replayed.load(file, header, report)


def _present(loaded: _T | None) -> _T:
    """What a loader found: it returns None only after reporting an error, and the report then raised."""
    assert loaded is not None
    return loaded


def check_table_size(table: Regions, geometry: Geometry, report: Report) -> None:
    """Report a BAT region that has no room for the entries of the disk."""
    needed = geometry.bat_entry_count * ENTRY_SIZE
    if table.bat.length < needed:
        detail = f"the BAT region has {table.bat.length} bytes, the disk needs {needed}"
        report(Finding(rules.BAT_TOO_SMALL, Place("BAT region", table.bat.file_offset), detail))


def write_identity(file: ReadableStorage) -> Header:
    """The current header alone: enough to recognise a parent. Raises as `load` does."""
    report = OpeningReport(file.name)
    headers.check_identifier(file, report)
    return _present(headers.load(file, report)).current
