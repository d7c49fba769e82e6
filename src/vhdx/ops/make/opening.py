"""Opening what a conversion reads: from its address to its pieces."""

from __future__ import annotations

import contextlib
from functools import partial

from vhdx.disk.open import open_any
from vhdx.ops.make.addresses import EXPORT, PIPE, readable
from vhdx.ops.make.source import DiskSource, vhd_of
from vhdx.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.disk.formats import Format, Openable
    from vhdx.disk.free_space import VolumeSelection
    from vhdx.disk.places import Parents
    from vhdx.known import KnownDisk
    from vhdx.ops.make.source import Source


@contextlib.contextmanager
def open_source(
    source: Openable,
    name: Format | None,
    *,
    parents: Parents,
    lock: bool,
    partition: int | None = None,
    salvage: bool = False,
    ignore_bitmaps: bool = False,
    volumes: VolumeSelection | None = None,
    known: KnownDisk | None = None,
    whole: bool = False,
) -> Iterator[Source]:
    """Open what is to be converted, or one of its partitions; closed at the end of the ``with``.

    With ``volumes`` what these call free is left out. With ``whole`` what a pipe holds is known before
    anything is read. Raises ValueError where the format cannot be told without doubt, for a partition or
    volume that is not there, and where free space cannot be believed in: in a damaged image, and in one that
    somebody may be writing to.
    """
    if volumes is not None and (salvage or not lock):
        raise ValueError("what is free is only certain of a sound image that nobody else writes to")
    address = readable(source)
    if address is PIPE:
        from vhdx.ops.make.incoming import standard_input  # noqa: PLC0415  most sources are files

        in_part = partition is not None or volumes is not None
        with standard_input(
            name,
            parents=parents,
            salvage=salvage,
            ignore_bitmaps=ignore_bitmaps,
            known=known,
            whole=whole or in_part,
        ) as found:
            yield _part_of(found, partition, volumes)
        return
    with open_any(
        source,
        image_format=name,
        parents=parents,
        lock=lock,
        salvage=salvage,
        ignore_bitmaps=ignore_bitmaps,
        known=known,
    ) as disk:
        # An export reads ahead by itself; a thread that waits for a server could not be broken off.
        found = DiskSource(disk, disk.format, image=vhd_of(disk), waits=address is EXPORT)
        yield _part_of(found, partition, volumes)


def _part_of(source: Source, number: int | None, volumes: VolumeSelection | None) -> Source:
    """The source, or a partition of it, less what is free in these volumes."""
    disk = source.disk
    if disk is None:
        return source
    if number is None and volumes is None:
        return source
    from vhdx.disk.parts import one_partition  # noqa: PLC0415  who takes all needs none of its partitions
    from vhdx.disk.slice import SliceDisk  # noqa: PLC0415

    part = disk if number is None else one_partition(disk, number)
    if volumes is None:
        return DiskSource(part, source.format, told=source.told, waits=source.waits)
    if number is not None and not volumes.include:
        volumes = volumes._replace(include=(str(number),))
    from vhdx.disk.free_space import FreeSpace  # noqa: PLC0415  who keeps all need not wait for it

    space = FreeSpace(disk, volumes)
    start = part.start if isinstance(part, SliceDisk) else 0
    return DiskSource(
        part,
        source.format,
        free=partial(space.runs_in, start, part.size),
        told=(*source.remarks(), *space.remarks()),
        waits=source.waits,
    )
