"""What ``vhdx cat`` does, however its command line was read."""

from __future__ import annotations

import errno
import sys

from vhdx.cli.guest_volumes import Told, volume_of
from vhdx.cli.render import standard
from vhdx.files.sending import poured
from vhdx.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Unpack

    from vhdx.cli.guest_volumes import Chosen


def show(place: str, **chosen: Unpack[Chosen]) -> int:
    """Print a file of a guest."""
    told = Told()
    output = standard(sys.stdout).fileno()
    with volume_of(place, told, **chosen) as (volume, path):
        found = volume.find(path)
        if found.entry.is_directory:
            raise IsADirectoryError(errno.EISDIR, "Is a directory", path)
        content = volume.tree.content(found.entry, found.stream)
        for _ in poured(content, output, content.size, 0):
            pass
    return told.code
