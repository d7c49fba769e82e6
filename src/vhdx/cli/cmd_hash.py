"""``vhdx hash``."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

import click

from vhdx.cli.options import (
    FILE,
    chain_options,
    force_share_option,
    format_option,
    json_option,
    partition_option,
)
from vhdx.cli.render import print_json, progress_bar
from vhdx.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from vhdx.disk.formats import Format
    from vhdx.disk.places import ParentPolicy
    from vhdx.ops.hash import Algorithm, HashResult

_COLUMNS = (("", 0),)
"""As sha256sum prints it, which has no headings."""
_ALGORITHMS = ("md5", "sha1", "sha256", "sha384", "sha512", "sha3_256", "sha3_512", "blake2b", "blake2s")


@click.command("hash")
@click.argument("images", metavar="IMAGE...", type=FILE, nargs=-1, required=True)
@click.option(
    "--algorithm",
    type=click.Choice(_ALGORITHMS),
    metavar="NAME",
    default="sha256",
    show_default=True,
    help=f"One of {', '.join(_ALGORITHMS)}.",
)
@format_option
@partition_option
@click.option("--volume", metavar="NAME", help="Only the volume of this name, label or UUID.")
@chain_options
@force_share_option
@json_option
def hash(  # noqa: A001  the verb's name
    images: tuple[str, ...],
    *,
    algorithm: Algorithm,
    image_format: Format | None,
    partition: int | None,
    volume: str | None,
    parents: ParentPolicy,
    force_share: bool,
    as_json: bool,
) -> int:
    """Print the hash of what the disk in IMAGE holds.

    Of the disk, not of its file: the same for VHDX, VHD and raw, whatever the type, the blocks and the
    layers, and what sha256sum says of the disk as a raw file. Holes are not read, but hashed as the zeros
    that they are. A line is as sha256sum prints it; images that are parents are hashed with what is under
    them.

    Of several images, and of a directory, each VHDX and VHD in and below it has a line, which is one of JSON
    with --json. The exit code is the worst.
    """
    from vhdx.ops.hash import content_hash  # noqa: PLC0415  --help needs no library

    if partition is not None and volume is not None:
        raise click.UsageError("--partition and --volume exclude each other")
    with progress_bar("hashing") as progress:
        look = partial(
            content_hash,
            algorithm=algorithm,
            image_format=image_format,
            partition=partition,
            volume=volume,
            parents=parents,
            lock=not force_share,
            progress=progress,
        )
        if len(images) > 1 or os.path.isdir(images[0]):
            from vhdx.cli.several import show_each  # noqa: PLC0415

            return show_each(images, _COLUMNS, partial(_line, look), as_json=as_json)
        found = look(images[0])
    if as_json:
        print_json(found)
    else:
        click.echo(f"{found.digest}  {printable(images[0])}")
    return 0


def _line(look: Callable[[str], HashResult], image: str) -> tuple[HashResult, tuple[str, ...], int]:
    found = look(image)
    return found, (found.digest,), 0
