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
@click.argument("image", type=FILE)
@click.option("--chain", is_flag=True, help="Look for the parents, too, and check them.")
@chain_options
@known_options
@force_share_option
@json_option
@verbose_option
def check(image: str, **options: Any) -> int:
    """Find everything in IMAGE that breaks a rule of the format.

    Nothing is changed; a dirty log is replayed in memory. An image that cannot be opened is checked as
    far as it goes. Exit codes: 0 clean (notes do not count), 2 errors, 3 only warnings or leaked space, 1
    cannot be checked.
    """
    from vhdx.cli.show_check import show  # noqa: PLC0415  --help needs no library

    return show(image, **options)
