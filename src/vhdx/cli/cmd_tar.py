"""``vhdx tar``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, cast

import click

from vhdx.cli.guest_volumes import Told, volume_of
from vhdx.cli.guests import guest_options
from vhdx.cli.options import FILE
from vhdx.cli.render import progress_bar, standard

if TYPE_CHECKING:
    from typing import IO, Unpack

    from vhdx.cli.guest_volumes import Chosen


@click.command()
@click.argument("place", metavar="IMAGE[:PATH]", type=FILE)
@click.option("--devices", is_flag=True, help="Device nodes and FIFOs, too.")
@guest_options
def tar(place: str, *, devices: bool, **chosen: Unpack[Chosen]) -> int:
    """Print files of the guest in IMAGE as a tar archive.

    PAX, with owners, nanoseconds, extended attributes, hard links and holes. What is damaged is told and left
    out; the exit code is 1 then. Needs the extra vhdx[files].
    """
    from vhdx.ops.files.archive import Archiver  # noqa: PLC0415  --help needs no library
    from vhdx.storage.outgoing import WholeOutput  # noqa: PLC0415

    if standard(sys.stdout).isatty():
        raise click.UsageError("an archive is nothing for a terminal; redirect it: > files.tar")
    told, output = Told(), WholeOutput(standard(sys.stdout).buffer)
    with volume_of(place, told, **chosen) as (volume, path), progress_bar("archiving") as progress:
        archiver = Archiver(volume, cast("IO[bytes]", output), devices=devices, progress=progress)
        archiver.add(volume.find(path))
        archiver.close()
    output.flush()
    return told.code
