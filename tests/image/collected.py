"""Loaders report what they find; here it is collected, errors included, as a report of `check` would."""

import io
from typing import NamedTuple

from tests.support.build import ImageBuilder
from vhdx.image import headers, metadata, regions
from vhdx.image.headers import Headers
from vhdx.image.metadata import Metadata
from vhdx.image.regions import Regions
from vhdx.rules import Finding, Severity
from vhdx.storage.stream import StreamStorage


class Report(list[Finding]):
    """All findings of a load, in order."""

    def __call__(self, finding: Finding) -> None:
        self.append(finding)

    def codes(self, *severities: Severity) -> list[str]:
        """The codes of the findings, of these severities or of all."""
        return [f.rule.code for f in self if not severities or f.rule.severity in severities]


class Loaded(NamedTuple):
    """What the loaders of an image gave, one after the other, as far as they came."""

    report: Report
    headers: Headers | None
    regions: Regions | None = None
    metadata: Metadata | None = None


def load(image: ImageBuilder | bytes) -> Loaded:
    """Run all loaders of a clean image without stopping at errors."""
    storage = StreamStorage(io.BytesIO(image if isinstance(image, bytes) else image.build()))
    report = Report()
    headers.check_identifier(storage, report)
    found = headers.load(storage, report)
    if found is None:
        return Loaded(report, None)
    table = regions.load(storage, found.current, report)
    if table is None:
        return Loaded(report, found)
    if any(guid not in table.by_guid for guid in regions.KNOWN_REGIONS):
        return Loaded(report, found, table)
    return Loaded(report, found, table, metadata.load(storage, table.metadata, report).metadata)
