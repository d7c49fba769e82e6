"""Images as the exports of ``vhdx serve``."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, NamedTuple

import click

from vhdx.cli.options import RAW_IS_SAID, chosen, refuse_to_orphan, warn_if_tracked
from vhdx.text import printable
from vhdx.units import format_size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.disk.children import Families
    from vhdx.disk.formats import Format
    from vhdx.disk.open import Mode
    from vhdx.disk.opened import Disk
    from vhdx.disk.places import ParentPolicy
    from vhdx.nbd.export import Export

_NAME_LIMIT = 255
"""Bytes of an export's name, as of a file's; some clients end themselves over a thousand."""


class ServedDisk(NamedTuple):
    """One export: ``size`` bytes of the disk of an image, all of them or a partition."""

    name: str
    path: str
    format: str
    virtual_size: int
    partition: int | None
    size: int
    read_only: bool
    uri: str


class Opening(NamedTuple):
    """How images are opened."""

    source_format: Format | None
    write: bool
    snapshot: bool
    salvage: bool
    force: bool
    commit_interval: float
    partition: int | None
    parents: ParentPolicy
    families: Families


def export_names(images: tuple[str, ...], name: str | None) -> list[str]:
    """The name of each export: that of its file, or the one that was asked for."""
    if name is not None:
        if len(images) > 1:
            raise click.UsageError("--name goes with one image")
        if printable(name) != name or len(name.encode()) > _NAME_LIMIT:
            raise click.UsageError(f"--name takes up to {_NAME_LIMIT} bytes of text that can be printed")
        return [name]
    names = [printable(os.path.basename(image)) for image in images]
    for each in names:
        if names.count(each) > 1:
            raise click.UsageError(f"two images are named {each}: serve them one by one")
    return names


@contextlib.contextmanager
def export_of(image: str, name: str, opening: Opening, *, multi: bool) -> Iterator[tuple[Export, ServedDisk]]:
    """An image as an export, and what is told of it; its URI is not known yet."""
    from vhdx.disk.chain import VhdxDisk  # noqa: PLC0415  --help needs no library
    from vhdx.nbd.export import Export  # noqa: PLC0415

    whole = _opened(image, opening)
    with contextlib.closing(whole):
        if opening.write:
            warn_if_tracked(image)
        if opening.write and isinstance(whole, VhdxDisk):
            refuse_to_orphan(image, whole, force=opening.force, families=opening.families)
        disk = chosen(whole, opening.partition)
        about = f"{format_size(disk.size)}, {_kind(whole)}"
        if opening.partition is not None:
            about += f", partition {opening.partition}"
        export = Export(name, disk, about, multi=multi)
        path = whole.chain[1 if opening.snapshot else 0]  # over it lies the file of the snapshot
        who = path, whole.format, whole.size, opening.partition
        yield export, ServedDisk(name, *who, disk.size, disk.read_only, "")


def _kind(disk: Disk) -> str:
    return "raw" if disk.format == "raw" else disk.disk_type + (" VHD" if disk.format == "vhd" else "")


def _opened(image: str, opening: Opening) -> Disk:
    from vhdx.disk.open import open_any  # noqa: PLC0415
    from vhdx.disk.raw import RawDisk  # noqa: PLC0415
    from vhdx.ops.snapshot import open_snapshot  # noqa: PLC0415

    if not opening.snapshot:
        mode: Mode = "r+" if opening.write else "r"
        salvage, interval = opening.salvage, opening.commit_interval if opening.write else 0
        found, parents = opening.source_format, opening.parents
        disk = open_any(
            image, mode, image_format=found, parents=parents, salvage=salvage, commit_interval=interval
        )
        if opening.write and opening.source_format is None and isinstance(disk, RawDisk):
            disk.close()
            raise click.UsageError(RAW_IS_SAID.format(image))
        return disk
    if opening.source_format == "raw":
        raise click.UsageError("--snapshot goes with VHDX images, not with raw disks")
    return open_snapshot(image, parents=opening.parents)
