"""The rules of the format as a table: each has a stable code, a weight and its section of [MS-VHDX].

Loaders do not raise: they report findings to whoever called them. Opening raises on the first error,
a report keeps them all. So there is one set of rules and two strictnesses.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import NamedTuple

from vhdx.errors import CorruptImageError, UnsupportedImageError, VhdxError


class Severity(enum.StrEnum):
    """How much a finding weighs."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


class Rule(NamedTuple):
    """One rule: ``code`` is stable, ``section`` is of [MS-VHDX] revision 8."""

    code: str
    severity: Severity
    section: str
    unsupported: bool = False


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
        )


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


def _error(code: str, section: str) -> Rule:
    return Rule(code, Severity.ERROR, section)


def _warning(code: str, section: str) -> Rule:
    return Rule(code, Severity.WARNING, section)


def _note(code: str, section: str) -> Rule:
    return Rule(code, Severity.NOTE, section)


def _unsupported(code: str, section: str) -> Rule:
    return Rule(code, Severity.ERROR, section, unsupported=True)


IDENTIFIER_SIGNATURE = _error("identifier.signature", "2.2.1")

HEADER_DAMAGED = _warning("header.damaged", "2.2.2")
HEADER_NONE = _error("header.none", "2.2.2")
HEADER_TIE = _error("header.tie", "2.2.2")
HEADER_TWINS = _note("header.twins", "2.2.2")
HEADER_VERSION = _unsupported("header.version", "2.2.2")
HEADER_LOG_VERSION = _unsupported("header.log_version", "2.2.2")
HEADER_LOG_PLACE = _error("header.log_place", "2.2.2")

LOG_NO_SEQUENCE = _error("log.no_sequence", "2.3.3")
LOG_FILE_TRUNCATED = _error("log.file_truncated", "2.3.3")
LOG_GROWTH = _error("log.growth", "2.3.1.1")
LOG_TOO_LARGE = _unsupported("log.too_large", "2.3.3")

REGION_TABLE_DAMAGED = _warning("region_table.damaged", "2.2.3")
REGION_TABLE_NONE = _error("region_table.none", "2.2.3")
REGION_TABLES_DIFFER = _warning("region_table.differ", "2.2.3")
REGION_DUPLICATE = _error("region.duplicate", "2.2.3.2")
REGION_PLACE = _error("region.place", "2.2.3.2")
REGION_OVERLAP = _error("region.overlap", "2.2.3.2")
REGION_UNKNOWN_REQUIRED = _unsupported("region.unknown_required", "2.2.3.2")
REGION_UNKNOWN = _note("region.unknown", "2.2.3.2")
REGION_MISSING = _error("region.missing", "2.2.3.2")
REGION_NOT_REQUIRED = _note("region.not_required", "2.2.3.2")
REGION_PAST_END = _error("region.past_end", "2.2.3.2")
REGION_UNKNOWN_PAST_END = _warning("region.unknown_past_end", "2.2.3.2")

METADATA_TABLE = _error("metadata.table", "2.6.1.1")
METADATA_COUNT = _error("metadata.count", "2.6.1.1")
METADATA_DUPLICATE = _error("metadata.duplicate", "2.6.1.2")
METADATA_PLACE = _error("metadata.place", "2.6.1.2")
METADATA_OVERLAP = _error("metadata.overlap", "2.6.1.2")
METADATA_UNKNOWN_REQUIRED = _unsupported("metadata.unknown_required", "2.6.1.2")
METADATA_UNKNOWN = _note("metadata.unknown", "2.6.1.2")
METADATA_INCOMPLETE_FILE = _unsupported("metadata.incomplete_file", "2.6.1.2")
METADATA_MISSING = _error("metadata.missing", "2.6.2")
METADATA_LENGTH = _error("metadata.length", "2.6.2")
METADATA_FLAGS = _warning("metadata.flags", "2.6.2")

BLOCK_SIZE = _error("metadata.block_size", "2.6.2.1")
FILE_PARAMETER_FLAGS = _warning("metadata.file_parameter_flags", "2.6.2.1")
DISK_SIZE = _error("metadata.disk_size", "2.6.2.2")
LOGICAL_SECTOR_SIZE = _error("metadata.logical_sector_size", "2.6.2.4")
PHYSICAL_SECTOR_SIZE = _error("metadata.physical_sector_size", "2.6.2.5")

LOCATOR_MISSING = _error("locator.missing", "2.6.2.1")
LOCATOR_TYPE = _unsupported("locator.type", "2.6.2.6.1")
LOCATOR_ENTRY = _error("locator.entry", "2.6.2.6.2")
LOCATOR_LINKAGE = _error("locator.linkage", "2.6.2.6.3")
LOCATOR_NO_PATH = _warning("locator.no_path", "2.6.2.6.3")

BAT_TOO_SMALL = _error("bat.too_small", "2.5")
BAT_STATE = _error("bat.state", "2.5.1.1")
BAT_PLACE = _error("bat.place", "2.5.1")
BAT_PAST_END = _error("bat.past_end", "2.5.1")
BAT_OVERLAP = _error("bat.overlap", "2.5.1")
BAT_BITMAP_MISSING = _error("bat.bitmap_missing", "2.5.1.2")
