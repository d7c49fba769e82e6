"""Checking one VHD against every rule of its format, as far as its structures reach."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from vhdx import rules
from vhdx.errors import CorruptImageError
from vhdx.examine.unreadable import report_unreadable
from vhdx.examine.vhd_hidden import hidden_runs
from vhdx.examine.vhd_salvage import SalvagedVhd
from vhdx.format import vhd
from vhdx.image.vhd import VhdImage
from vhdx.image.vhd_load import block_count, load_footer
from vhdx.rules import CollectingReport, Finding, Place
from vhdx.storage.skipping import SkippingStorage
from vhdx.storage.zeros import stored_nonzero_runs
from vhdx.units import format_size

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from vhdx.format.vhd import DynamicHeader
    from vhdx.progress import Progress
    from vhdx.storage.base import ReadableStorage

    Numbers = NDArray[np.int64]

_SMALLEST_EVIDENCE = 64 * 1024
"""Fewer unowned bytes that are not zeros are what programs leave between structures and blocks."""


class ExaminedVhd(NamedTuple):
    """What was found in one file; ``image`` is None where nothing says what the file is."""

    report: CollectingReport
    image: VhdImage | None
    unchecked: tuple[str, ...]
    leaked_size: int = 0
    free_size: int = 0
    """Both always 0: a VHD gives no space back."""

    @property
    def virtual_size(self) -> int | None:
        """Size of the disk in bytes, if anything says it."""
        return self.image.size if self.image else None


def examine_vhd(storage: ReadableStorage, progress: Progress | None = None) -> ExaminedVhd:
    """Check one VHD; ``progress`` is called with the bytes of the disk looked at, and its size."""
    report = CollectingReport()
    host = SkippingStorage(storage)
    examined = _examine_readable(host, report, progress)
    report_unreadable(host, report)
    return examined


def _examine_readable(
    storage: ReadableStorage, report: CollectingReport, progress: Progress | None
) -> ExaminedVhd:
    try:
        image = VhdImage(storage, report)
    except CorruptImageError:
        if load_footer(storage, lambda _: None) is None:
            return ExaminedVhd(report, None, ("dynamic disk header", "BAT", "space"))
        return ExaminedVhd(report, None, ("BAT", "space"))
    if image.header is not None:
        _check_table(image, image.header, report)
        if not image.has_parent:
            _check_bitmaps(storage, report, progress)
    return ExaminedVhd(report, image, ())


def _check_table(image: VhdImage, header: DynamicHeader, report: CollectingReport) -> None:
    import numpy as np  # noqa: PLC0415  what comes before needs none

    count = block_count(header, image.footer)
    entries = np.frombuffer(image.table_bytes(header, 0, count), dtype=">u4").astype(np.int64)
    zeros = np.flatnonzero(entries == 0)
    _report_entries(zeros, rules.VHD_ENTRY_ZERO, header, report, "the entry of block {} is 0: an unused one")
    used = np.flatnonzero((entries != vhd.UNUSED_ENTRY) & (entries != 0))
    places = entries[used] * vhd.SECTOR_SIZE
    lengths = np.full(len(used), image.stored_length(header))
    if used.size and used[-1] == count - 1:  # may be stored as far as the disk has it
        lengths[-1] -= count * header.block_size - image.size
    ends = places + lengths
    wrong = np.zeros(len(used), dtype=bool)
    for start, end in image.structures:
        wrong |= (places < end) & (start < ends)
    past = ~wrong & (ends > image.storage.size())
    detail = "block {} stands where another structure stands"
    _report_entries(used[wrong], rules.VHD_ENTRY_PLACE, header, report, detail)
    _report_entries(used[past], rules.VHD_ENTRY_PAST_END, header, report, "block {} is not inside the file")
    order = np.argsort(places[~wrong], kind="stable")
    blocks, starts, stops = (array[~wrong][order] for array in (used, places, ends))
    reach = np.maximum.accumulate(stops)[:-1] if len(stops) else stops
    shared = np.flatnonzero(starts[1:] < reach) + 1
    detail = "block {}: the space is claimed by another block, too"
    _report_entries(np.sort(blocks[shared]), rules.VHD_BLOCK_OVERLAP, header, report, detail)
    _check_space(image, header, starts, stops, report)


def _report_entries(
    blocks: Numbers, rule: rules.Rule, header: DynamicHeader, report: CollectingReport, detail: str
) -> None:
    kept = report.room(rule)
    for block in blocks[:kept].tolist():
        place = Place(f"BAT entry {block}", header.table_offset + block * vhd.ENTRY_SIZE)
        report(Finding(rule, place, detail.format(block)))
    if len(blocks) > kept:
        report.count(rule, len(blocks) - kept)


def _check_space(
    image: VhdImage, header: DynamicHeader, starts: Numbers, stops: Numbers, report: CollectingReport
) -> None:
    """Report what stands where nothing is named: the table may have lost entries."""
    import numpy as np  # noqa: PLC0415

    size = image.storage.size()
    fixed = [*image.structures, (size - vhd.FOOTER_SIZE, size)]
    fixed += [(place.file_offset, place.file_offset + place.length) for place in header.locators]
    owned = np.concatenate((np.array(fixed, dtype=np.int64), np.stack((starts, stops), axis=1)))
    owned = owned[np.argsort(owned[:, 0], kind="stable")]
    reach = np.minimum(np.maximum.accumulate(owned[:, 1]), size)
    gaps = np.flatnonzero(owned[1:, 0] - reach[:-1] > 0)
    total, first = 0, None
    for index in gaps.tolist():
        start, stop = int(reach[index]), min(int(owned[index + 1, 0]), size)
        for place, count in stored_nonzero_runs(image.storage, start, stop - start, vhd.SECTOR_SIZE):
            total += count
            first = place if first is None else first
    if first is not None and total >= _SMALLEST_EVIDENCE:
        detail = (
            f"{format_size(total)} that are not zeros belong to no block: the table may have lost entries"
        )
        report(Finding(rules.VHD_SPACE_UNOWNED, Place("free space", first), detail))


def _check_bitmaps(
    storage: ReadableStorage, report: CollectingReport, progress: Progress | None = None
) -> None:
    total, first = 0, None
    for run in hidden_runs(SalvagedVhd(storage), progress):
        total += run.length
        first = run if first is None else first
    if first is not None:
        detail = (
            f"{format_size(total)} that are not zeros stand where bitmaps say that nothing is stored, first "
            f"at disk offset {first.disk_offset}: QEMU and others show them, as vhdx convert --ignore-bitmaps"
        )
        report(Finding(rules.VHD_BITMAP_CLEAR, Place("sector bitmaps", first.file_offset), detail))
