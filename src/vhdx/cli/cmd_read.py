"""``vhdx read``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from vhdx.cli.options import (
    FILE,
    SIZE,
    chain_options,
    chosen,
    force_share_option,
    format_option,
    partition_option,
)
from vhdx.cli.render import EXIT_DOUBTS, print_doubt, progress_bar, standard
from vhdx.units import MIB

if TYPE_CHECKING:
    from vhdx.disk.formats import Format
    from vhdx.disk.places import ParentPolicy


@click.command()
@click.argument("image", type=FILE)
@click.argument("offset", type=SIZE)
@click.argument("length", type=SIZE, required=False)
@format_option
@partition_option
@chain_options
@force_share_option
@click.option("--salvage", is_flag=True, help="Read what can be read of a damaged IMAGE.")
def read(
    image: str,
    offset: int,
    length: int | None,
    *,
    image_format: Format | None,
    partition: int | None,
    parents: ParentPolicy,
    force_share: bool,
    salvage: bool,
) -> int:
    """Print bytes of a disk.

    Those of the disk in IMAGE from OFFSET on, LENGTH of them or all up to its end.

    With --salvage each range among them that may be wrong is listed on standard error, and the exit code is 3
    if there is one.
    """
    from vhdx.disk.base import check_range  # noqa: PLC0415  --help needs no library
    from vhdx.disk.open import open_any  # noqa: PLC0415
    from vhdx.storage.outgoing import WholeOutput  # noqa: PLC0415

    output = WholeOutput(standard(sys.stdout).buffer)
    doubtful = 0
    with open_any(
        image, image_format=image_format, parents=parents, lock=not force_share, salvage=salvage
    ) as disk:
        part = chosen(disk, partition)
        length = max(0, part.size - offset) if length is None else length
        check_range(offset, length, part.size)
        with progress_bar("reading") as progress:
            for start in range(offset, offset + length, MIB):
                output.write(part.pread(min(MIB, offset + length - start), start))
                if progress is not None:
                    progress(start - offset, length)
        output.flush()
        for doubt in part.doubts:
            if doubt.offset < offset + length and doubt.offset + doubt.length > offset:
                print_doubt(doubt)
                doubtful += 1
    return EXIT_DOUBTS if doubtful else 0
