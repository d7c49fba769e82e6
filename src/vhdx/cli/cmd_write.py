"""``vhdx write``."""

from __future__ import annotations

import errno
import os
import stat
import sys
from functools import partial
from typing import TYPE_CHECKING

import click

from vhdx.cli.changed_range import print_changed, range_of
from vhdx.cli.interrupted import changing
from vhdx.cli.options import (
    SIZE,
    TARGET,
    chain_options,
    chosen,
    format_option,
    json_option,
    orphans_option,
    partition_option,
    refuse_to_orphan,
    sparse_option,
    verbose_option,
)
from vhdx.cli.render import progress_bar, shown, standard
from vhdx.storage.file import telling_if_full
from vhdx.units import MIB

if TYPE_CHECKING:
    from typing import BinaryIO

    from vhdx.cli.render import ProgressBar
    from vhdx.disk.base import VirtualDisk
    from vhdx.disk.formats import Format
    from vhdx.disk.places import ParentPolicy


@click.command()
@click.argument("image", type=TARGET)
@click.argument("offset", type=SIZE)
@format_option
@partition_option
@orphans_option
@chain_options
@json_option
@verbose_option
@sparse_option
def write(
    image: str,
    offset: int,
    *,
    image_format: Format | None,
    partition: int | None,
    force: bool,
    parents: ParentPolicy,
    as_json: bool,
) -> None:
    """Write standard input to the disk in IMAGE, from OFFSET on.

    What was written is durable when the command ends.
    """
    from vhdx.disk.base import check_range  # noqa: PLC0415  --help needs no library
    from vhdx.disk.open import open_any  # noqa: PLC0415

    source = standard(sys.stdin).buffer
    with (
        changing(image=image),
        open_any(image, "r+", image_format=image_format, parents=parents) as disk,
        progress_bar("writing") as progress,
    ):
        refuse_to_orphan(image, disk, force=force)
        part = chosen(disk, partition)
        length = _known_length(source)
        check_range(offset, length or 0, part.size)
        count = _copy(source, part, offset, length, progress)
        changed = range_of(image, disk, partition, offset, count)
    print_changed(changed, f"wrote {shown(count)} at offset {offset}", as_json=as_json)


def _known_length(source: BinaryIO) -> int | None:
    """How many bytes will come, if that is known: a file that does not fit is refused as a whole."""
    status = os.fstat(source.fileno())
    return status.st_size - source.tell() if stat.S_ISREG(status.st_mode) else None


def _kept(done: int) -> str:
    return f"{shown(done)} had been written, and stay" if done else "nothing had been written"


def _copy(
    source: BinaryIO, disk: VirtualDisk, offset: int, length: int | None, progress: ProgressBar | None
) -> int:
    from vhdx.storage.filling import read_whole  # noqa: PLC0415  --help needs no library

    start = offset
    while piece := read_whole(source, MIB):
        if offset + len(piece) > disk.size:
            raise OSError(
                errno.ENOSPC,
                f"standard input is longer than what is written to, which ends at {disk.size}; "
                f"{offset - start} bytes were written, the rest was not",
            )
        with telling_if_full(partial(_kept, offset - start)):
            disk.pwrite(piece, offset)
        offset += len(piece)
        if progress is not None:
            progress(offset - start, length)
    return offset - start
