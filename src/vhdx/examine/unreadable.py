"""What the host cannot read of a file, as findings."""

from __future__ import annotations

from vhdx import rules
from vhdx.rules import Finding, Place
from vhdx.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from vhdx.rules import Report
    from vhdx.storage.skipping import SkippingStorage


def report_unreadable(host: SkippingStorage, report: Report) -> None:
    """Report each part of a file that the host could not read while it was looked at."""
    for start, end in host.unreadable(0, host.size()):
        detail = f"the host cannot read {end - start} bytes, which were taken for zeros: copy the file first"
        report(Finding(rules.HOST_READ, Place("file", start), detail))
