"""The rules of the format as a table: each has a stable code, a weight and its section of [MS-VHDX].

Loaders do not raise: they report findings to whoever called them. Opening raises on the first error,
checking keeps them all. So there is one set of rules and two strictnesses.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Callable

from vhdx.errors import CorruptImageError, UnsupportedImageError, VhdxError
from vhdx.text import command
from vhdx.typed import NamedTuple


class Severity(enum.StrEnum):
    """How much a finding weighs."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


class Remedy(enum.StrEnum):
    """What `vhdx repair` needs to be told before it repairs something."""

    NONE = "no"
    """Nothing helps: which bytes would be right cannot be known."""
    REPAIR = "yes"
    """Nothing has to be guessed and nothing can be lost."""
    ACCEPT_DATA_LOSS = "accept-data-loss"
    """Contents of the disk are lost or doubtful, with or without repair."""
    REBUILD = "rebuild"
    """What is missing can be searched for, and is taken if there is only one answer."""


class Rule(NamedTuple):
    """One rule: ``code`` is stable, ``section`` is of [MS-VHDX] revision 8, or begins with ``[VHD]``.

    That is Microsoft's "Virtual Hard Disk Image Format Specification" of 2006, with titles for sections.
    """

    code: str
    severity: Severity
    section: str
    unsupported: bool = False
    remedy: Remedy = Remedy.NONE


class Place(NamedTuple):
    """Where in the file something stands: a structure's name and its file offset in bytes."""

    structure: str
    file_offset: int


class Finding(NamedTuple):
    """One rule broken, or one thing worth saying, at one place."""

    rule: Rule
    place: Place
    detail: str

    def error(self, image: str) -> VhdxError:
        """The exception that says this finding of the file named ``image``."""
        kind = UnsupportedImageError if self.rule.unsupported else CorruptImageError
        return kind(
            self.detail,
            image=image,
            structure=self.place.structure,
            file_offset=self.place.file_offset,
            rule=self.rule.section,
            next_command=command("check {}", image) if self._is_damage else None,
        )

    @property
    def _is_damage(self) -> bool:
        """Whether a check can say more: not of what is only unsupported, or no VHDX at all."""
        return not self.rule.unsupported and self.rule is not IDENTIFIER_SIGNATURE


Report = Callable[[Finding], None]


class OpeningReport:
    """The strict reporter: raises on the first error and keeps warnings and notes."""

    def __init__(self, image: str) -> None:
        self._image = image
        self.findings: list[Finding] = []

    def __call__(self, finding: Finding) -> None:
        if finding.rule.severity is Severity.ERROR:
            raise finding.error(self._image)
        self.findings.append(finding)


KEPT_FINDINGS = 100
"""How many findings of one rule a report keeps: a table may have 67 million wrong entries."""


class CollectingReport:
    """The patient reporter: counts every finding and keeps the first KEPT_FINDINGS of each rule."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self.counts: Counter[Rule] = Counter()

    def __call__(self, finding: Finding) -> None:
        if self.room(finding.rule):
            self.findings.append(finding)
        self.counts[finding.rule] += 1

    @property
    def has_errors(self) -> bool:
        """Whether anything weighs as much as an error."""
        return any(rule.severity is Severity.ERROR for rule, number in self.counts.items() if number)

    def room(self, rule: Rule) -> int:
        """How many more findings of a rule will be kept."""
        return max(0, KEPT_FINDINGS - self.counts[rule])

    def count(self, rule: Rule, number: int) -> None:
        """Add findings that nobody described, because there is no room for them."""
        self.counts[rule] += number


def _error(code: str, section: str, remedy: Remedy = Remedy.NONE) -> Rule:
    return Rule(code, Severity.ERROR, section, remedy=remedy)


def _warning(code: str, section: str, remedy: Remedy = Remedy.NONE) -> Rule:
    return Rule(code, Severity.WARNING, section, remedy=remedy)


def _note(code: str, section: str, remedy: Remedy = Remedy.NONE) -> Rule:
    return Rule(code, Severity.NOTE, section, remedy=remedy)


def _unsupported(code: str, section: str) -> Rule:
    return Rule(code, Severity.ERROR, section, unsupported=True)


HOST_READ = _error("host.read_error", "2.2")
FILE_TOO_LONG = _unsupported("file.too_long", "2.2")

IDENTIFIER_SIGNATURE = _error("identifier.signature", "2.2.1", Remedy.REPAIR)

HEADER_DAMAGED = _warning("header.damaged", "2.2.2", Remedy.REPAIR)
HEADER_NONE = _error("header.none", "2.2.2", Remedy.REBUILD)
HEADER_TIE = _error("header.tie", "2.2.2")
HEADER_TWINS = _note("header.twins", "2.2.2")
HEADER_VERSION = _unsupported("header.version", "2.2.2")
HEADER_LOG_VERSION = _unsupported("header.log_version", "2.2.2")
HEADER_RESERVED = _warning("header.reserved", "2.2.2", Remedy.REPAIR)
HEADER_NONCURRENT = _warning("header.noncurrent", "2.2.2", Remedy.REPAIR)
HEADER_SECTION_RESERVED = _note("header_section.reserved", "2.2")
HEADER_LOG_PLACE = _error("header.log_place", "2.2.2")

LOG_DIRTY = _note("log.dirty", "2.3.3", Remedy.REPAIR)
LOG_TORN = _note("log.torn", "2.3.2", Remedy.REPAIR)
LOG_BROKEN = _warning("log.broken", "2.3.2", Remedy.REPAIR)
LOG_RESERVED = _warning("log.reserved", "2.3.1.1", Remedy.REPAIR)
LOG_UNALIGNED = _note("log.unaligned_size", "2.3.1.1", Remedy.REPAIR)
LOG_PAYLOAD = _warning("log.payload", "2.3")
LOG_NO_SEQUENCE = _error("log.no_sequence", "2.3.3", Remedy.ACCEPT_DATA_LOSS)
LOG_FILE_TRUNCATED = _error("log.file_truncated", "2.3.3", Remedy.ACCEPT_DATA_LOSS)
LOG_GROWTH = _error("log.growth", "2.3.1.1")
LOG_TOO_LARGE = _unsupported("log.too_large", "2.3.3")

REGION_TABLE_DAMAGED = _warning("region_table.damaged", "2.2.3", Remedy.REPAIR)
REGION_TABLE_NONE = _error("region_table.none", "2.2.3", Remedy.REBUILD)
REGION_TABLES_DIFFER = _warning("region_table.differ", "2.2.3", Remedy.REPAIR)
REGION_TABLE_UNUSED = _warning("region_table.unused", "2.2.3", Remedy.REPAIR)
REGION_RESERVED = _warning("region_table.reserved", "2.2.3", Remedy.REPAIR)
REGION_DUPLICATE = _error("region.duplicate", "2.2.3.2")
REGION_PLACE = _error("region.place", "2.2.3.2")
REGION_OVERLAP = _error("region.overlap", "2.2.3.2")
REGION_UNKNOWN_REQUIRED = _unsupported("region.unknown_required", "2.2.3.2")
REGION_UNKNOWN = _note("region.unknown", "2.2.3.2")
REGION_MISSING = _error("region.missing", "2.2.3.2")
REGION_NOT_REQUIRED = _note("region.not_required", "2.2.3.2")
REGION_PAST_END = _error("region.past_end", "2.2.3.2")
REGION_UNKNOWN_PAST_END = _warning("region.unknown_past_end", "2.2.3.2")

METADATA_TABLE = _error("metadata.table", "2.6.1.1", Remedy.REBUILD)
METADATA_COUNT = _error("metadata.count", "2.6.1.1", Remedy.REBUILD)
METADATA_DUPLICATE = _error("metadata.duplicate", "2.6.1.2")
METADATA_PLACE = _error("metadata.place", "2.6.1.2", Remedy.REBUILD)
METADATA_OVERLAP = _error("metadata.overlap", "2.6.1.2")
METADATA_NAMELESS = _warning("metadata.nameless", "2.6.1.2", Remedy.REPAIR)
METADATA_UNKNOWN_REQUIRED = _unsupported("metadata.unknown_required", "2.6.1.2")
METADATA_UNKNOWN = _note("metadata.unknown", "2.6.1.2")
METADATA_INCOMPLETE_FILE = _unsupported("metadata.incomplete_file", "2.6.1.2")
METADATA_MISSING = _error("metadata.missing", "2.6.2", Remedy.REBUILD)
METADATA_LENGTH = _error("metadata.length", "2.6.2", Remedy.REBUILD)
METADATA_FLAGS = _warning("metadata.flags", "2.6.2", Remedy.REPAIR)

METADATA_RESERVED = _warning("metadata.reserved", "2.6.1", Remedy.REPAIR)

BLOCK_SIZE = _error("metadata.block_size", "2.6.2.1", Remedy.REBUILD)
FILE_PARAMETER_FLAGS = _warning("metadata.file_parameter_flags", "2.6.2.1", Remedy.REPAIR)
DISK_SIZE = _error("metadata.disk_size", "2.6.2.2", Remedy.REBUILD)
LOGICAL_SECTOR_SIZE = _error("metadata.logical_sector_size", "2.6.2.4", Remedy.REBUILD)
PHYSICAL_SECTOR_SIZE = _error("metadata.physical_sector_size", "2.6.2.5", Remedy.REBUILD)

LOCATOR_MISSING = _error("locator.missing", "2.6.2.1")
LOCATOR_TYPE = _unsupported("locator.type", "2.6.2.6.1")
LOCATOR_ENTRY = _error("locator.entry", "2.6.2.6.2")
LOCATOR_LINKAGE = _error("locator.linkage", "2.6.2.6.3")
LOCATOR_NO_PATH = _warning("locator.no_path", "2.6.2.6.3")

LOCATOR_RESERVED = _warning("locator.reserved", "2.6.2.6.1", Remedy.REPAIR)
LOCATOR_PATH_FORM = _note("locator.path_form", "2.6.2.6.3")
LOCATOR_UNUSED = _note("locator.unused", "2.6.2.6")
PARENT_NOT_FOUND = _error("parent.not_found", "2.6.2.6.3")
PARENT_SEVERAL = _note("parent.several", "2.6.2.6.3")
PARENT_MISMATCH = _error("parent.mismatch", "2.6.2.6.3")

BAT_TOO_SMALL = _error("bat.too_small", "2.5")
BAT_STATE = _error("bat.state", "2.5.1.1")
BAT_PLACE = _error("bat.place", "2.5.1", Remedy.ACCEPT_DATA_LOSS)
BAT_PAST_END = _error("bat.past_end", "2.5.1", Remedy.ACCEPT_DATA_LOSS)
BAT_OVERLAP = _error("bat.overlap", "2.5.1", Remedy.ACCEPT_DATA_LOSS)
BAT_BITMAP_MISSING = _error("bat.bitmap_missing", "2.5.1.2")
BAT_TAKEN_FOR_PRESENT = _warning("bat.taken_for_present", "2.5.1", Remedy.REPAIR)
BAT_STATE_V095 = _warning("bat.state_v095", "2.5.1.1")
BAT_RESERVED = _warning("bat.reserved", "2.5.1", Remedy.REPAIR)
BAT_NEEDLESS_OFFSET = _warning("bat.needless_offset", "2.5.1.1", Remedy.REPAIR)
BAT_KEPT_PLACE = _warning("bat.kept_place", "2.5.1", Remedy.REPAIR)
BAT_BITMAP_STATE = _warning("bat.bitmap_state", "2.5.1.2")
BAT_BITMAP_UNUSED = _note("bat.bitmap_unused", "2.5.1.2")
BAT_BITMAP_JUNK = _warning("bat.bitmap_junk", "2.5.1.2", Remedy.REPAIR)
BAT_LEFTOVERS = _note("bat.leftovers", "2.5")
BAT_LEFTOVER_SPACE = _warning("bat.leftover_space", "2.5")

BAT_FIXED_ABSENT = _error("bat.fixed_absent", "2.6.2.1", Remedy.REBUILD)

SPACE_LOST_ENTRIES = _error("space.lost_entries", "2.5", Remedy.REBUILD)
SPACE_LEAKED = _warning("space.leaked", "2.2", Remedy.REPAIR)
SPACE_FREE = _note("space.free", "2.2")
SPACE_FREE_TAIL = _note("space.free_tail", "2.2", Remedy.REPAIR)
SPACE_LEAKED_TAIL = _warning("space.leaked_tail", "2.2", Remedy.REPAIR)
SPACE_AFTER_CRASH = _note("space.after_crash", "2.3.1.1", Remedy.REPAIR)
SPACE_RESERVED = _note("space.reserved", "2.6.2.1")
SPACE_GAP = _note("space.gap", "2.2")
SPACE_RAGGED_END = _note("space.ragged_end", "2.2")

_FOOTER = "[VHD] Hard Disk Footer Format"
_DYNAMIC_HEADER = "[VHD] Dynamic Disk Header Format"
_TABLE = "[VHD] Block Allocation Table and Data Blocks"

VHD_FOOTER_NONE = _error("vhd.footer_none", _FOOTER)
VHD_FOOTER_DAMAGED = _warning("vhd.footer_damaged", _FOOTER, Remedy.REPAIR)
VHD_FOOTER_COPY = _warning("vhd.footer_copy", _FOOTER, Remedy.REPAIR)
VHD_FOOTER_CHECKSUM = _error("vhd.footer_checksum", _FOOTER, Remedy.REPAIR)
VHD_FOOTER_SIZE = _error("vhd.footer_size", _FOOTER)
VHD_VERSION = _unsupported("vhd.version", _FOOTER)
VHD_DISK_TYPE = _unsupported("vhd.disk_type", _FOOTER)
VHD_TRUNCATED = _error("vhd.truncated", _FOOTER)
FILE_HOLES = _note("file.holes", "[Windows] 0xC03A001A")
VHD_SAVED_STATE = _note("vhd.saved_state", _FOOTER)
VHD_HEADER_NONE = _error("vhd.header_none", _DYNAMIC_HEADER)
VHD_HEADER_CHECKSUM = _error("vhd.header_checksum", _DYNAMIC_HEADER, Remedy.REPAIR)
VHD_BLOCK_SIZE = _error("vhd.block_size", _DYNAMIC_HEADER)
VHD_ENTRY_COUNT = _error("vhd.entry_count", _DYNAMIC_HEADER)
VHD_TABLE_PAST_END = _error("vhd.table_past_end", _DYNAMIC_HEADER)
VHD_ENTRY_ZERO = _warning("vhd.entry_zero", _TABLE, Remedy.REPAIR)
VHD_ENTRY_PLACE = _error("vhd.entry_place", _TABLE)
VHD_ENTRY_PAST_END = _error("vhd.entry_past_end", _TABLE)
VHD_BLOCK_OVERLAP = _error("vhd.block_overlap", _TABLE)
VHD_BITMAP_CLEAR = _warning("vhd.bitmap_clear", _TABLE)
VHD_SPACE_UNOWNED = _warning("vhd.space_unowned", _TABLE)

LOST_METADATA = frozenset(
    {
        METADATA_TABLE,
        METADATA_COUNT,
        METADATA_MISSING,
        METADATA_LENGTH,
        METADATA_PLACE,
        BLOCK_SIZE,
        DISK_SIZE,
        LOGICAL_SECTOR_SIZE,
        PHYSICAL_SECTOR_SIZE,
    }
)
"""What is wrong with metadata of which a piece is lost."""
