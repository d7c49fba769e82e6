"""``vhdx trim``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from vhdx.cli.changed_range import print_changed, range_of
from vhdx.cli.free_text import volume_lines
from vhdx.cli.interrupted import changing
from vhdx.cli.options import (
    SIZE,
    TARGET,
    chain_options,
    chosen,
    format_option,
    free_options,
    json_option,
    orphans_option,
    partition_option,
    refuse_to_orphan,
    sparse_option,
    verbose_option,
)
from vhdx.cli.render import print_json, shown
from vhdx.cli.slices import in_slices
from vhdx.text import printable

if TYPE_CHECKING:
    from vhdx.disk.formats import Format
    from vhdx.disk.free_space import VolumeSelection
    from vhdx.disk.places import ParentPolicy


@click.command()
@click.argument("image", type=TARGET)
@click.argument("offset", type=SIZE, required=False)
@click.argument("length", type=SIZE, required=False)
@free_options("--free", "All that its file systems call free, instead of a range.")
@format_option
@partition_option
@orphans_option
@chain_options
@verbose_option
@json_option
@sparse_option
def trim(
    image: str,
    offset: int | None,
    length: int | None,
    *,
    image_format: Format | None,
    volumes: VolumeSelection | None,
    partition: int | None,
    force: bool,
    parents: ParentPolicy,
    as_json: bool,
) -> None:
    """Let go of a part of the disk in IMAGE.

    Nobody needs the contents of LENGTH bytes from OFFSET on any more. Whole blocks read as zeros
    afterwards and give their space back; of parts of blocks the host may take back what it can. Fixed
    images stay as they are; of a raw disk a hole is made where the host can.

    With --free that is what the file systems on the disk call free, once all that they keep of it was read
    and agrees: what fstrim does in the guest. An image that others have for their parent is refused then.
    """
    if volumes is None and offset is not None and length is not None:
        _trim_range(
            *(image, offset, length, partition, parents),
            image_format=image_format,
            force=force,
            as_json=as_json,
        )
        return
    if volumes is None or offset is not None:
        raise click.UsageError("say either OFFSET and LENGTH or --free")
    if image_format not in (None, "vhdx"):
        raise click.UsageError("--free is for VHDX images only")
    if force:
        raise click.UsageError(
            "no --force with --free: what is free in a parent may be in use in its children"
        )
    if partition is not None:
        volumes = volumes._replace(include=(*volumes.include, str(partition)))
    _trim_free(image, volumes, parents, as_json=as_json)


def _trim_range(
    image: str,
    offset: int,
    length: int,
    partition: int | None,
    parents: ParentPolicy,
    *,
    image_format: Format | None,
    force: bool,
    as_json: bool,
) -> None:
    from vhdx.disk.open import open_any  # noqa: PLC0415  --help needs no library

    with changing(image=image), open_any(image, "r+", image_format=image_format, parents=parents) as disk:
        refuse_to_orphan(image, disk, force=force)
        part = chosen(disk, partition)
        in_slices(part, offset, length, "trimming", part.trim)
        keeps = disk.format != "raw" and disk.disk_type == "fixed"
        note = "; a fixed image keeps its space, so nothing changed" if keeps else ""
        changed = range_of(image, disk, partition, offset, length)
    print_changed(changed, f"let go of {shown(length)} at offset {offset}{note}", as_json=as_json)


def _trim_free(image: str, volumes: VolumeSelection, parents: ParentPolicy, *, as_json: bool) -> None:
    from vhdx.ops.trim_free import trim_free  # noqa: PLC0415  --help needs no library

    with changing("; running it again goes on", image=image):
        done = trim_free(image, volumes=volumes, parents=parents)
    if as_json:
        print_json(done)
        return
    click.echo(
        f"{printable(image)}: let go of {shown(sum(volume.discarded_size for volume in done.volumes))}"
    )
    for line in volume_lines(done.volumes):
        click.echo(printable(line))
