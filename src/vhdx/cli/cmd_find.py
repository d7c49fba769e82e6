"""``vhdx find``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from vhdx.cli.guest_volumes import Told, print_entries, volume_of
from vhdx.cli.guests import guest_options
from vhdx.cli.options import FILE, json_option
from vhdx.text import printable

if TYPE_CHECKING:
    from typing import Unpack

    from vhdx.cli.guest_volumes import Chosen


@click.command()
@click.argument("place", metavar="IMAGE[:PATH]", type=FILE)
@click.argument("pattern")
@guest_options
@json_option
def find(place: str, pattern: str, *, as_json: bool, **chosen: Unpack[Chosen]) -> int:
    """Print the paths in the guest of IMAGE that match PATTERN.

    Only those below PATH. Without a slash in it the name must match, as in `*.conf`; with one the path from
    the root, where `**` stands for any number of directories: `/home/**/*.conf`. Needs the extra vhdx[files].
    """
    from vhdx.ops.files.listing import listed, matching, path_of  # noqa: PLC0415  --help needs no library

    told = Told()
    with volume_of(place, told, **chosen) as (volume, path):
        rows = matching(volume, volume.find(path), pattern)
        if as_json:
            print_entries(volume, (listed(path_of(parts), entry) for parts, entry in rows))
        else:
            for parts, _ in rows:
                click.echo(printable(path_of(parts)))
    return told.code
