"""``vhdx unmount``."""

from __future__ import annotations

import contextlib
from typing import NamedTuple

import click

from vhdx.cli.options import FILE, json_option
from vhdx.cli.render import print_json
from vhdx.errors import ImageFailedError
from vhdx.text import command, printable


class UnmountResult(NamedTuple):
    """A mount that was ended, and whether nothing could be written to the image through it."""

    path: str
    directory: str
    read_only: bool


@click.command()
@click.argument("directory", type=FILE)
@json_option
def unmount(directory: str, *, as_json: bool) -> None:
    """End what `vhdx mount` began in DIRECTORY.

    Returns when the image is closed: everything is durable and its log is clean. Refused while the disk
    is in use.
    """
    from vhdx.mount.unmount import mounted_at  # noqa: PLC0415  --help needs no library
    from vhdx.mount.unmount import unmount as unmount_disk  # noqa: PLC0415

    mounted = mounted_at(directory)
    unmount_disk(mounted)
    state = "as it was" if mounted.read_only else _state_of(mounted.image)
    if as_json:
        print_json(UnmountResult(mounted.image, mounted.directory, mounted.read_only))
    else:
        click.echo(f"{printable(directory)}: unmounted; {printable(mounted.image)} is {state}")


def _state_of(image: str) -> str:
    """What became of an image. Raises ImageFailedError if a log is not empty: the image was not closed."""
    from vhdx.disk.formats import format_of_file, storage_of  # noqa: PLC0415  --help needs no library
    from vhdx.ops.log import open_log  # noqa: PLC0415

    with contextlib.closing(storage_of(image, lock=False)) as storage:
        if format_of_file(storage) != "vhdx":
            return "closed"
    with open_log(image, lock=False) as log:
        state = log.state
    if state != "clean":
        raise ImageFailedError(
            "unmounted, but the image was not closed; all that was flushed is in its log",
            image=image,
            next_command=command("repair {}", image),
        )
    return "closed and clean"
