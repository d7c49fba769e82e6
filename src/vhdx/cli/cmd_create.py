"""``vhdx create``."""

from __future__ import annotations

import os
from typing import Any

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
    verbose_option,
)
from vhdx.cli.render import print_json, shown
from vhdx.text import printable


@click.command()
@click.argument("image", type=TARGET)
@click.argument("size", type=SIZE, required=False)
@click.option("--parent", type=FILE, help="Make a differencing image: a child of this image.")
@image_options
@chain_options
@force_option
@json_option
@verbose_option
def create(
    image: str,
    size: int | None,
    *,
    parent: str | None,
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
    """
    from vhdx.ops.make.create import create as create_image  # noqa: PLC0415  --help needs no library

    _refuse_other_suffix(image)
    policy = parent_policy(parent_dirs, any_parent=any_parent)
    with making(image):
        made = create_image(image, size, parent=parent, parents=policy, overwrite=force, **options)
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
