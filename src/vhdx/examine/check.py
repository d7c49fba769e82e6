"""Checking one file against every rule of the format, as far as its structures reach [MS-VHDX 2].

Runs the loaders that opening runs, and asks what opening has no time for. What one structure says wrongly
does not keep the others from being looked at; what cannot be looked at is named.
"""

from __future__ import annotations

from vhdx import rules
from vhdx.errors import CorruptImageError
from vhdx.examine.corrections import header_corrections, metadata_corrections, region_table_corrections
from vhdx.examine.table import TableFound, is_faultless
from vhdx.examine.unreadable import report_unreadable
from vhdx.format import guids, header
from vhdx.image import headers, image, metadata, regions
from vhdx.known import NOTHING_KNOWN, KnownDisk
from vhdx.rules import CollectingReport, Finding, Place, Severity
from vhdx.storage.skipping import SkippingStorage
from vhdx.storage.zeros import UNIT, stored_nonzero_runs
from vhdx.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vhdx.examine.corrections import Correction
    from vhdx.format.header import Header
    from vhdx.geometry import Geometry
    from vhdx.image.metadata import Metadata
    from vhdx.image.regions import Regions
    from vhdx.image.unowned import Seen
    from vhdx.journal.scan import ActiveSequence
    from vhdx.progress import Progress
    from vhdx.rules import Report, Rule
    from vhdx.storage.base import ReadableStorage, Unreadable

_NO_VHDX, _NO_IDENTIFIER = "this is no VHDX file", "the file identifier is lost"
_LOADERS_SAY = frozenset({rules.METADATA_FLAGS, rules.FILE_PARAMETER_FLAGS})
_UNREPLAYABLE = frozenset({rules.HEADER_LOG_PLACE, rules.HEADER_VERSION, rules.HEADER_LOG_VERSION})

_HIDING = frozenset(
    {
        rules.HEADER_NONE,
        rules.HEADER_TIE,
        rules.HEADER_LOG_PLACE,
        rules.LOG_NO_SEQUENCE,
        rules.LOG_FILE_TRUNCATED,
        rules.LOG_GROWTH,
        rules.LOG_TOO_LARGE,
        rules.BAT_TOO_SMALL,
        rules.REGION_PAST_END,
    }
)
"""With one of these nobody can say what space belongs to nothing."""


class Examined(NamedTuple):
    """What was found in one file. Parts that could not be had are None; ``unchecked`` names them."""

    report: CollectingReport
    storage: ReadableStorage
    """The file as it is after replay of its log."""
    header: Header | None
    sequence: ActiveSequence | None
    regions: Regions | None
    metadata: Metadata | None
    geometry: Geometry | None
    table: TableFound | None
    unchecked: tuple[str, ...]

    @property
    def virtual_size(self) -> int | None:
        """Size of the disk in bytes, if anything says it."""
        return self.metadata.disk_size if self.metadata else None

    @property
    def leaked_size(self) -> int:
        """Bytes of the file that belong to nothing, as far as the table could be looked at."""
        return self.table.leaked_size if self.table else 0

    @property
    def free_size(self) -> int:
        """Bytes of the file that belong to nothing and are zeros."""
        return self.table.free_size if self.table else 0


class _Asked(NamedTuple):
    """What whoever asks has and wants; see `examine`."""

    progress: Progress | None
    known: KnownDisk
    seen: Seen | None


def examine(
    file: ReadableStorage,
    progress: Progress | None = None,
    known: KnownDisk = NOTHING_KNOWN,
    seen: Seen | None = None,
) -> Examined:
    """Check one file. Raises CorruptImageError for a file of which nothing says that it is a VHDX.

    ``progress`` is called with the bytes of the table that were looked at, and their number.
    ``known`` is what somebody knows of a disk whose metadata are lost: the table is looked at with that.
    ``seen`` keeps what space that nobody claims holds: what it has is not read again; with it the table that
    was found tells who claims what.
    """
    report = CollectingReport()
    host = SkippingStorage(file)
    examined = _examine_readable(host, report, _Asked(progress, known, seen))
    report_unreadable(host, report)
    return examined


def _examine_readable(file: SkippingStorage, report: CollectingReport, asked: _Asked) -> Examined:
    lost: list[Finding] = []
    headers.check_identifier(file, lost.append)
    for finding in lost:
        report(finding._replace(detail=finding.detail.replace(_NO_VHDX, _NO_IDENTIFIER, 1)))
    pair = headers.load(file, report)
    current = None if pair is None else pair.current
    _check_noncurrent(file, pair, report)
    _report(header_corrections(file), report)
    _check_section(file, report)
    sequence, storage = _replayed(file, current, report)
    table = regions.load(storage, current, report)
    if table is None and current is None and lost and not _has_metadata(file):
        raise lost[0].error(file.name)
    examined = Examined(report, storage, current, sequence, table, None, None, None, ())
    if table is None:
        return examined._replace(unchecked=("metadata", "BAT", "space"))
    regions.check_unused(
        regions.read_copies(storage), storage.size(), _demoted(report, rules.REGION_TABLE_UNUSED)
    )
    _report(region_table_corrections(storage), report)
    return _examine_contents(examined, table, file.unreadable, asked)


def _has_metadata(file: ReadableStorage) -> bool:
    """Whether something stands behind a lost beginning that only an image has."""
    from vhdx.examine.rebuild import first_metadata  # noqa: PLC0415  sound images need not wait for numpy

    return first_metadata(file) is not None


def _report(corrections: Iterable[Correction], report: Report) -> None:
    for correction in corrections:
        if correction.finding.rule not in _LOADERS_SAY:
            report(correction.finding)


def _demoted(report: Report, rule: Rule) -> Report:
    """A report to which errors are findings of ``rule``: in a copy that is not used they are none."""

    def told(finding: Finding) -> None:
        if finding.rule.severity is Severity.ERROR:
            report(Finding(rule, finding.place, finding.detail))

    return told


def _check_noncurrent(file: ReadableStorage, pair: headers.Headers | None, report: Report) -> None:
    """The header that is not in force, for its own sake: it is what is left if the other is damaged."""
    if pair is None:
        return
    slot = 1 - pair.slot
    data = headers.read_slot(file, file.size(), slot)
    if header.damage(data) is None:
        other = headers.Headers(header.unpack(data), slot)
        headers.check_fields(other, file.size(), _demoted(report, rules.HEADER_NONCURRENT))


def _check_section(file: ReadableStorage, report: Report) -> None:
    """Mention what stands where the header section is reserved."""
    for name, start, end in headers.RESERVED_RANGES:
        length = max(0, min(end, file.size()) - start)
        found = next(stored_nonzero_runs(file, start, length), None) if length else None
        if found is not None:
            at, count = found
            data = file.read(min(count, UNIT), at)
            used = at + len(data) - len(data.lstrip(b"\0"))
            detail = f"something stands in the reserved space behind the {name}"
            report(Finding(rules.HEADER_SECTION_RESERVED, Place("header section", used), detail))


def _replayed(
    file: ReadableStorage, current: Header | None, report: CollectingReport
) -> tuple[ActiveSequence | None, ReadableStorage]:
    """The file as it is after replay, or as it is where the log cannot be replayed."""
    if current is None or current.log_guid == guids.NIL or _UNREPLAYABLE & report.counts.keys():
        return None, file
    from vhdx.examine.log import check_log  # noqa: PLC0415  most logs are clean
    from vhdx.image import replayed  # noqa: PLC0415

    sequence, storage = replayed.load(file, current, report)
    check_log(file, current, sequence, report)
    return sequence, storage


def _examine_contents(examined: Examined, table: Regions, unreadable: Unreadable, asked: _Asked) -> Examined:
    """Metadata and BAT, each if its region is there."""
    storage, report = examined.storage, examined.report
    place = table.by_guid.get(guids.METADATA_REGION)
    if place is None:
        return examined._replace(unchecked=("metadata", "BAT", "space"))
    found = metadata.load(storage, place, report)
    if rules.LOST_METADATA & report.counts.keys():
        found = _found_anew(storage, table, asked.known) or found
    _report(metadata_corrections(storage, place), report)
    if found.metadata is not None and found.metadata.locator is not None:
        metadata.check_paths(found.metadata, report)
    examined = examined._replace(metadata=found.metadata, geometry=found.geometry)
    if found.geometry is None or guids.BAT_REGION not in table.by_guid:
        return examined._replace(unchecked=("BAT", "space"))
    image.check_table_size(table, found.geometry, report)
    return examined._replace(table=_examine_table(examined, table, found.geometry, unreadable, asked))


def _found_anew(storage: ReadableStorage, table: Regions, known: KnownDisk) -> metadata.Found | None:
    """What lost metadata said, if that can be told without doubt; the report has what is lost."""
    from vhdx.examine.beginning import laid_over  # noqa: PLC0415  sound images need not wait for it
    from vhdx.examine.lost_items import restored_items  # noqa: PLC0415

    place = table.metadata
    try:
        patches = restored_items(storage, place, table.by_guid.get(guids.BAT_REGION), known).patches
    except CorruptImageError:
        return None
    found = metadata.load(laid_over(storage, patches), place, CollectingReport())
    return found if found.geometry is not None else None


def _examine_table(
    examined: Examined, table: Regions, geometry: Geometry, unreadable: Unreadable, asked: _Asked
) -> TableFound:
    storage, report = examined.storage, examined.report
    keeps_length = examined.metadata is not None and examined.metadata.disk_type == "fixed"
    is_small = asked.seen is None and examined.sequence is None
    if is_small and is_faultless(storage, table, geometry, keeps_length=keeps_length):
        return TableFound(None, (), 0, 0)
    # numpy is slow to import: what comes before needs none, and says what is wrong all the same.
    from vhdx.examine.log import logged_runs  # noqa: PLC0415
    from vhdx.examine.space import check_table  # noqa: PLC0415
    from vhdx.journal.replay import known_end  # noqa: PLC0415

    logged = logged_runs(storage, examined.header, examined.sequence)
    return check_table(
        storage,
        table,
        geometry,
        report,
        logged=logged,
        known_end=None if examined.sequence is None else known_end(examined.sequence),
        keeps_length=keeps_length,
        knows_all=not _HIDING & report.counts.keys(),
        unreadable=unreadable,
        progress=asked.progress,
        seen=asked.seen,
    )
