"""What became of a range of a disk that was written, zeroed or let go of."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import click

from vhdx.cli.render import print_json
from vhdx.text import printable

if TYPE_CHECKING:
    from vhdx.disk.opened import Disk


class ChangedRange(NamedTuple):
    """A range that was changed: bytes of the disk at ``path``, counted from the start of the partition."""

    path: str
    format: str
    virtual_size: int
    partition: int | None
    offset: int
    length: int


def range_of(image: str, disk: Disk, partition: int | None, offset: int, length: int) -> ChangedRange:
    """A range of the disk in an image, or of a partition of it."""
    return ChangedRange(image, disk.format, disk.size, partition, offset, length)


def print_changed(changed: ChangedRange, words: str, *, as_json: bool) -> None:
    """Print a range as JSON, or what became of it in words."""
    if as_json:
        print_json(changed)
    else:
        click.echo(f"{printable(changed.path)}: {words}")
