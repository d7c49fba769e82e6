"""``vhdx cat``."""

from __future__ import annotations

import errno
import sys
from typing import TYPE_CHECKING

import click

from vhdx.cli.guests import Told, guest_options, volume_of
from vhdx.cli.options import FILE, standard

if TYPE_CHECKING:
    from typing import Unpack

    from vhdx.cli.guests import Chosen


@click.command()
@click.argument("place", metavar="IMAGE:PATH", type=FILE)
@guest_options
def cat(place: str, **chosen: Unpack[Chosen]) -> int:
    r"""Print a file of the guest in IMAGE.

    Symbolic links are followed inside of the guest. PATH:STREAM is an alternate stream of NTFS. Needs the
    extra vhdx[files].
    """
    from vhdx.files.stream import BUFFER_SIZE  # noqa: PLC0415  --help needs no library

    told = Told()
    output = standard(sys.stdout).buffer
    with volume_of(place, told, **chosen) as (volume, path):
        found = volume.find(path)
        if found.entry.is_directory:
            raise IsADirectoryError(errno.EISDIR, "Is a directory", path)
        content = volume.tree.content(found.entry, found.stream)
        for offset in range(0, content.size, BUFFER_SIZE):
            output.write(content.pread(BUFFER_SIZE, offset))
    output.flush()
    return told.code
