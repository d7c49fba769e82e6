"""What became of the free space of volumes, a line for each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vhdx.units import format_size

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vhdx.ops.discard import DiscardedVolume


def volume_lines(volumes: Sequence[DiscardedVolume]) -> Iterator[str]:
    """Free, of which in whole blocks, given back, kept and why; that there is no volume, too."""
    if not volumes:
        yield "  no file system that is known was found on the disk"
    for volume in volumes:
        label = f" {volume.label!r}" if volume.label else ""
        yield f"  {volume.name}, {volume.kind}{label}: {', '.join(_parts(volume))}"


def _parts(volume: DiscardedVolume) -> Iterator[str]:
    reasons = "; ".join(volume.reasons)
    if volume.free is None:
        yield f"all of it kept: {reasons}"
        return
    yield f"{format_size(volume.free)} free"
    if volume.reasons and not (volume.discarded_size or volume.kept_size):
        yield f"all of it kept: {reasons}"
        return
    yield f"{format_size(volume.whole_blocks_size)} of it in whole blocks"
    yield f"{format_size(volume.discarded_size)} given back"
    if volume.kept_size:
        yield f"{format_size(volume.kept_size)} kept: {reasons}"
