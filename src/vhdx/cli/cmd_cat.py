"""``vhdx cat``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from vhdx.cli.guests import guest_options
from vhdx.cli.options import FILE

if TYPE_CHECKING:
    from typing import Unpack

    from vhdx.cli.guest_volumes import Chosen


@click.command()
@click.argument("place", metavar="IMAGE:PATH", type=FILE)
@guest_options
def cat(place: str, **chosen: Unpack[Chosen]) -> int:
    r"""Print a file of the guest in IMAGE.

    Symbolic links are followed inside of the guest. PATH:STREAM is an alternate stream of NTFS. Needs the
    extra vhdx[files].
    """
    from vhdx.cli.show_cat import show  # noqa: PLC0415  --help needs no library

    return show(place, **chosen)
