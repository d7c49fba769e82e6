"""``vhdx trim``."""

from __future__ import annotations

import click

from vhdx.cli.interrupted import changing
from vhdx.cli.options import (
    SIZE,
    TARGET,
    chain_options,
    chosen,
    orphans_option,
    parent_policy,
    partition_option,
    refuse_to_orphan,
)
from vhdx.cli.slices import in_slices
from vhdx.text import printable
from vhdx.units import size_text


@click.command()
@click.argument("image", type=TARGET)
@click.argument("offset", type=SIZE)
@click.argument("length", type=SIZE)
@partition_option
@orphans_option
@chain_options
def trim(
    image: str,
    offset: int,
    length: int,
    *,
    partition: int | None,
    force: bool,
    parent_dirs: tuple[str, ...],
    any_parent: bool,
) -> None:
    """Let go of a part of the disk in IMAGE.

    Nobody needs the contents of LENGTH bytes from OFFSET on any more. Whole blocks read as zeros
    afterwards and give their space back; of parts of blocks the host may take back what it can. Fixed
    images stay as they are.
    """
    from vhdx.disk.open import open_disk  # noqa: PLC0415  --help needs no library

    policy = parent_policy(parent_dirs, any_parent=any_parent)
    with changing(image=image), open_disk(image, "r+", parents=policy) as disk:
        refuse_to_orphan(image, disk, force=force)
        part = chosen(disk, partition)
        in_slices(part, offset, length, "trimming", part.trim)
        note = "; a fixed image keeps its space, so nothing changed" if disk.disk_type == "fixed" else ""
    click.echo(f"{printable(image)}: let go of {size_text(length)} at offset {offset}{note}")
