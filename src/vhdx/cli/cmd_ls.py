"""``vhdx ls``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from vhdx.cli.guests import guest_options
from vhdx.cli.options import FILE, json_option

if TYPE_CHECKING:
    from typing import Unpack

    from vhdx.cli.guest_volumes import Chosen


@click.command()
@click.argument("place", metavar="IMAGE[:PATH]", type=FILE)
@click.option("-l", "long", is_flag=True, help="Modes, links, owners, sizes and times, too.")
@click.option("-R", "--recursive", is_flag=True, help="Everything below, too.")
@guest_options
@json_option
def ls(place: str, *, long: bool, recursive: bool, as_json: bool, **chosen: Unpack[Chosen]) -> int:
    r"""List files of the guest in IMAGE, without mounting it.

    PATH is a path in the guest: /etc, or C:\Users where the file system is one of Windows. Nothing is written
    to IMAGE. Exit code 1 where something is damaged, which is told. Needs the extra vhdx[files].
    """
    from vhdx.cli.show_ls import show  # noqa: PLC0415  --help needs no library

    return show(place, long=long, recursive=recursive, as_json=as_json, **chosen)
