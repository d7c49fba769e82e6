"""``vhdx du``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from vhdx.cli.guest_volumes import Told, print_entries, volume_of
from vhdx.cli.guests import guest_options
from vhdx.cli.options import FILE, json_option
from vhdx.text import printable
from vhdx.units import format_size

if TYPE_CHECKING:
    from typing import Unpack

    from vhdx.cli.guest_volumes import Chosen


@click.command()
@click.argument("place", metavar="IMAGE[:PATH]", type=FILE)
@click.option("--ncdu", "as_ncdu", is_flag=True, help="Print what `ncdu -f -` shows and lets one browse.")
@guest_options
@json_option
def du(place: str, *, as_ncdu: bool, as_json: bool, **chosen: Unpack[Chosen]) -> int:
    """Say how much the directories of a guest hold.

    Below PATH in IMAGE; bytes that are stored, without holes. A file with several names counts once. Needs
    the extra vhdx[files].
    """
    from vhdx.ops.files.usage import ncdu, usage  # noqa: PLC0415  --help needs no library

    if as_ncdu and as_json:
        raise click.UsageError("--ncdu and --json are two formats")
    told = Told()
    with volume_of(place, told, **chosen) as (volume, path):
        found = volume.find(path)
        if as_ncdu:
            for piece in ncdu(volume, found):
                click.echo(piece, nl=False)
        elif as_json:
            print_entries(volume, usage(volume, found))
        else:
            for each in usage(volume, found):
                click.echo(f"{format_size(each.stored):>12}  {printable(each.path)}")
    return told.code
