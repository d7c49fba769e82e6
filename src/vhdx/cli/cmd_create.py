"""``vhdx create``."""

from __future__ import annotations

from typing import Any

import click

from vhdx.cli.options import SIZE, force_option, image_options
from vhdx.cli.render import size_text


@click.command()
@click.argument("image", type=click.Path())
@click.argument("size", type=SIZE)
@image_options
@force_option
def create(image: str, size: int, *, force: bool, **options: Any) -> None:
    """Create an empty disk of SIZE in the new file IMAGE.

    The file appears whole or not at all. Sizes that the format cannot have are rounded up, and the
    command says so. A fixed image reserves its space on the host.
    """
    from vhdx.ops.create import create as create_image  # noqa: PLC0415  --help needs no library

    made = create_image(image, size, overwrite=force, **options)
    for remark in made.remarks:
        click.echo(f"vhdx: {remark}", err=True)
    blocks = f"blocks of {size_text(made.block_size)}"
    click.echo(f"{made.path}: {made.disk_type}, {size_text(made.virtual_size)}, {blocks}")
