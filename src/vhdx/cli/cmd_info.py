"""``vhdx info``."""

from __future__ import annotations

from typing import Any

import click

from vhdx.cli.options import (
    FILE,
    chain_options,
    force_share_option,
    format_option,
    json_option,
    verbose_option,
)


@click.command()
@click.argument("images", metavar="IMAGE...", type=FILE, nargs=-1, required=True)
@click.option("--chain", is_flag=True, help="Open the parents, too, and list every layer.")
@click.option("--blocks", is_flag=True, help="Count blocks also where the table is larger than 1 MiB.")
@format_option
@chain_options
@force_share_option
@json_option
@verbose_option
def info(images: tuple[str, ...], **options: Any) -> int:
    """Say what IMAGE is, without changing it.

    Shows sizes, type, identities, the state of the log, blocks by state and their fragmentation, where
    the parent is looked for, partitions, file systems with the space that they say they use, and what is
    unusual. A dirty log is replayed in memory. IMAGE may be a VHD or a raw disk, too.

    Of several images, and of a directory, each VHDX and VHD in and below it has a line, which is one of JSON
    with --json. The exit code is the worst.
    """
    from vhdx.cli.show_info import show  # noqa: PLC0415  --help needs no library

    return show(images, **options)
