"""``vhdx zero``."""

from __future__ import annotations

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
from vhdx.cli.render import shown
from vhdx.cli.slices import in_slices

if TYPE_CHECKING:
    from vhdx.disk.formats import Format
    from vhdx.disk.places import ParentPolicy


@click.command()
@click.argument("image", type=TARGET)
@click.argument("offset", type=SIZE)
@click.argument("length", type=SIZE)
@click.option("--keep-allocated", is_flag=True, help="Keep what space there is behind the zeros.")
@format_option
@partition_option
@orphans_option
@chain_options
@json_option
@verbose_option
@sparse_option
def zero(
    image: str,
    offset: int,
    length: int,
    *,
    image_format: Format | None,
    keep_allocated: bool,
    partition: int | None,
    force: bool,
    parents: ParentPolicy,
    as_json: bool,
) -> None:
    """Make a part of the disk in IMAGE read as zeros.

    The part is LENGTH bytes from OFFSET on. Whole blocks give their space back, except in fixed
    images; of a raw disk a hole is made where the host can.
    """
    from vhdx.disk.open import open_any  # noqa: PLC0415  --help needs no library

    with changing(image=image), open_any(image, "r+", image_format=image_format, parents=parents) as disk:
        refuse_to_orphan(image, disk, force=force)
        part = chosen(disk, partition)
        in_slices(part, offset, length, "zeroing", partial(part.zero, keep_allocated=keep_allocated))
        changed = range_of(image, disk, partition, offset, length)
    print_changed(changed, f"{shown(length)} at offset {offset} read as zeros", as_json=as_json)
