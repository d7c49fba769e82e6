"""``vhdx create``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from vhdx.cli.interrupted import making
from vhdx.cli.options import (
    FILE,
    FORMAT,
    SIZE,
    TARGET,
    chain_options,
    force_option,
    image_options,
    json_option,
    sparse_option,
    verbose_option,
)
from vhdx.cli.render import print_json, progress_bar, shown
from vhdx.text import printable

if TYPE_CHECKING:
    from vhdx.disk.formats import Format
    from vhdx.disk.places import ParentPolicy
    from vhdx.ops.make.formatting import FileSystemKind, TableKind

_KINDS = ("fat12", "fat16", "fat32", "exfat", "ext2", "ext3", "ext4", "ntfs", "xfs")


@click.command()
@click.argument("image", type=TARGET)
@click.argument("size", type=SIZE, required=False)
@click.option("--parent", type=FILE, help="Make a differencing image: a child of this image.")
@click.option("--format", "kind", type=click.Choice(_KINDS), help="Put a file system on the disk.")
@click.option("--partition", type=click.Choice(["gpt", "mbr"]), help="With --format: in a partition.")
@click.option("--label", help="With --format: the label of the file system.")
@click.option(
    "--from",
    "contents",
    type=FILE,
    metavar="PATH",
    help="With --parent: the disk that IMAGE is to read as. With --format: a directory of files.",
)
@click.option("-F", "--from-format", type=FORMAT, help="Of the disk of --from; by default told by content.")
@click.option("--esp", is_flag=True, help="With --format and --partition: it is an EFI system partition.")
@image_options
@chain_options
@force_option
@json_option
@verbose_option
@sparse_option
def create(
    image: str,
    size: int | None,
    *,
    parent: str | None,
    kind: FileSystemKind | None,
    partition: TableKind | None,
    label: str | None,
    contents: str | None,
    from_format: Format | None,
    esp: bool,
    parents: ParentPolicy,
    force: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Create an empty disk of SIZE in the new file IMAGE.

    With --parent it is a child of that image and begins with its contents. The file appears whole or not
    at all. Sizes that the format cannot have are rounded up, and the command says so. A fixed image
    reserves its space on the host. With --parent the size may be left out; disk id, sector sizes and the
    user metadata of the disk are the parent's, blocks have 2M unless told otherwise.

    With --parent and --from IMAGE holds exactly what the disk PATH has otherwise than the parent, sector by
    sector, and reads as it does: an increment, which vhdx merge applies. If the parent is an ancestor of
    PATH, the tables of the images between tell what that is; else the contents are compared.

    With --format there is a file system on it. FAT is made here, the others by mkfs of this host; --from
    fills FAT, exFAT, ext2, ext3 and ext4.
    """
    from vhdx.ops.make.create import create as create_image  # noqa: PLC0415  --help needs no library

    _refuse_other_suffix(image)
    if parent is not None and contents is not None and kind is None:
        if size is not None:
            raise click.UsageError("with --parent and --from the size is that of the disk PATH: leave it out")
        made_of = _Increment(image, parent, contents, from_format, parents, force, as_json)
        _create_increment(made_of, options)
        return
    if from_format is not None:
        raise click.UsageError("--from-format says what the disk is that --parent and --from take")
    formatting = None
    if kind is not None:
        from vhdx.ops.make.formatting import Formatting  # noqa: PLC0415

        formatting = Formatting(kind, partition, label, contents, esp)
    elif contents is not None:
        raise click.UsageError("--from goes with --format or with --parent; vhdx convert copies a disk")
    elif partition is not None or label is not None or esp:
        raise click.UsageError("--partition, --label and --esp say more of --format")
    with making(image):
        made = create_image(
            image,
            size,
            parent=parent,
            parents=parents,
            overwrite=force,
            formatting=formatting,
            **options,
        )
    if as_json:
        print_json(made)
        return
    for remark in made.remarks:
        click.echo(printable(f"vhdx: {remark}"), err=True)
    blocks = f"blocks of {shown(made.block_size)}"
    click.echo(f"{printable(made.path)}: {made.disk_type}, {shown(made.virtual_size)}, {blocks}")


class _Increment(NamedTuple):
    """What the options say of an increment."""

    image: str
    parent: str
    contents: str
    from_format: Format | None
    parents: ParentPolicy
    force: bool
    as_json: bool


def _create_increment(asked: _Increment, options: dict[str, Any]) -> None:
    from vhdx.cli.increments import print_increment  # noqa: PLC0415  --help needs no library
    from vhdx.ops.make.increment import create_increment  # noqa: PLC0415
    from vhdx.ops.make.plan import ImageOptions  # noqa: PLC0415

    with making(asked.image), progress_bar("comparing") as progress:
        made = create_increment(
            asked.image,
            parent=asked.parent,
            contents=asked.contents,
            contents_format=asked.from_format,
            options=ImageOptions(**options),
            parents=asked.parents,
            overwrite=asked.force,
            progress=progress,
        )
    print_increment(made, as_json=asked.as_json)


def _refuse_other_suffix(image: str) -> None:
    """Raise UsageError for a name under which the verbs themselves would not take a VHDX for one."""
    from vhdx.disk.formats import SUFFIXES  # noqa: PLC0415  --help needs no library

    kind = SUFFIXES.get(os.path.splitext(image)[1].lower(), "vhdx")
    if kind != "vhdx":
        name = "raw disk" if kind == "raw" else kind.upper()
        raise click.UsageError(
            f"{printable(image)} is named like a {name}, but what is created is a VHDX: name it .vhdx, and "
            "use vhdx convert to make another format of it"
        )
