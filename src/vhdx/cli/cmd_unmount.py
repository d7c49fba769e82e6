"""``vhdx unmount``."""

from __future__ import annotations

import contextlib

import click

from vhdx.cli.options import FILE
from vhdx.errors import ImageFailedError
from vhdx.text import command, printable


@click.command()
@click.argument("directory", type=FILE)
def unmount(directory: str) -> None:
    """End what `vhdx mount` began in DIRECTORY.

    Returns when the image is closed: everything is durable and its log is clean. Refused while the disk
    is in use.
    """
    from vhdx.mount.unmount import mounted_at  # noqa: PLC0415  --help needs no library
    from vhdx.mount.unmount import unmount as unmount_disk  # noqa: PLC0415

    mounted = mounted_at(directory)
    unmount_disk(mounted)
    state = "as it was" if mounted.read_only else _state_of(mounted.image)
    click.echo(f"{printable(directory)}: unmounted; {printable(mounted.image)} is {state}")


def _state_of(image: str) -> str:
    """What became of an image. Raises ImageFailedError if a log is not empty: the image was not closed."""
    from vhdx.disk.open import format_of_file, storage_of  # noqa: PLC0415  --help needs no library
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
