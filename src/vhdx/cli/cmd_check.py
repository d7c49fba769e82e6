"""``vhdx check``."""

from __future__ import annotations

from typing import Any

import click

from vhdx.cli.options import (
    FILE,
    chain_options,
    force_share_option,
    json_option,
    known_options,
    verbose_option,
)


@click.command()
@click.argument("images", metavar="IMAGE...", type=FILE, nargs=-1, required=True)
@click.option("--chain", is_flag=True, help="Look for the parents, too, and check them.")
@chain_options
@known_options
@force_share_option
@json_option
@verbose_option
def check(images: tuple[str, ...], **options: Any) -> int:
    """Find everything in IMAGE that breaks a rule of the format.

    Nothing is changed; a dirty log is replayed in memory. An image that cannot be opened is checked as
    far as it goes. Exit codes: 0 clean (notes do not count), 2 errors, 3 only warnings or leaked space, 1
    cannot be checked.

    Of several images, and of a directory, each VHDX and VHD in and below it has a line, which is one of JSON
    with --json. The exit code is the worst: 2, else 1, else 3.
    """
    from vhdx.cli.show_check import show  # noqa: PLC0415  --help needs no library

    return show(images, **options)
