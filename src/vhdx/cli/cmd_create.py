"""``vhdx create``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from vhdx.cli.interrupted import making
from vhdx.cli.options import (
    FILE,
    SIZE,
    TARGET,
    chain_options,
    force_option,
    image_options,
    json_option,
    parent_policy,
    sparse_option,
    verbose_option,
)
from vhdx.cli.render import print_json, shown
from vhdx.text import printable

if TYPE_CHECKING:
    from vhdx.ops.make.formatting import FileSystemKind, TableKind

_KINDS = ("fat12", "fat16", "fat32", "exfat", "ext2", "ext3", "ext4", "ntfs", "xfs")


@click.command()
@click.argument("image", type=TARGET)
@click.argument("size", type=SIZE, required=False)
@click.option("--parent", type=FILE, help="Make a differencing image: a child of this image.")
@click.option("--format", "kind", type=click.Choice(_KINDS), help="Put a file system on the disk.")
@click.option("--partition", type=click.Choice(["gpt", "mbr"]), help="With --format: in a partition.")
@click.option("--label", help="With --format: the label of the file system.")
@click.option("--from", "contents", type=FILE, metavar="DIRECTORY", help="With --format: the files in it.")
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
    esp: bool,
    parent_dirs: tuple[str, ...],
    any_parent: bool,
    force: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Create an empty disk of SIZE in the new file IMAGE.

    With --parent it is a child of that image and begins with its contents. The file appears whole or not
    at all. Sizes that the format cannot have are rounded up, and the command says so. A fixed image
    reserves its space on the host. With --parent the size may be left out; disk id, sector sizes and the
    user metadata of the disk are the parent's, blocks have 2M unless told otherwise.

    With --format there is a file system on it. FAT is made here, the others by mkfs of this host; --from
    fills FAT, exFAT, ext2, ext3 and ext4.
    """
    from vhdx.ops.make.create import create as create_image  # noqa: PLC0415  --help needs no library

    _refuse_other_suffix(image)
    formatting = None
    if kind is not None:
        from vhdx.ops.make.formatting import Formatting  # noqa: PLC0415

        formatting = Formatting(kind, partition, label, contents, esp)
    elif partition is not None or label is not None or contents is not None or esp:
        raise click.UsageError("--partition, --label, --from and --esp say more of --format")
    policy = parent_policy(parent_dirs, any_parent=any_parent)
    with making(image):
        made = create_image(
            image,
            size,
            parent=parent,
            parents=policy,
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


def _refuse_other_suffix(image: str) -> None:
    """Raise UsageError for a name under which the verbs themselves would not take a VHDX for one."""
    from vhdx.disk.open import SUFFIXES  # noqa: PLC0415  --help needs no library

    kind = SUFFIXES.get(os.path.splitext(image)[1].lower(), "vhdx")
    if kind != "vhdx":
        name = "raw disk" if kind == "raw" else kind.upper()
        raise click.UsageError(
            f"{printable(image)} is named like a {name}, but what is created is a VHDX: name it .vhdx, and "
            "use vhdx convert to make another format of it"
        )
