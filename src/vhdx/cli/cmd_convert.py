"""``vhdx convert``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from vhdx.cli.options import (
    FORMAT,
    chain_options,
    force_option,
    force_share_option,
    image_options,
    parent_policy,
    partition_option,
)
from vhdx.cli.render import progress_bar, size_text
from vhdx.text import printable

if TYPE_CHECKING:
    from vhdx.disk.open import Format


@click.command()
@click.argument("source", type=click.Path(allow_dash=True))
@click.argument("target", type=click.Path())
@click.option("-f", "--source-format", type=FORMAT, help="By default told by SOURCE's content.")
@click.option("-O", "--target-format", type=FORMAT, help="By default told by TARGET's suffix.")
@partition_option
@image_options
@chain_options
@force_share_option
@force_option
def convert(
    source: str,
    target: str,
    *,
    source_format: Format | None,
    target_format: Format | None,
    partition: int | None,
    parent_dirs: tuple[str, ...],
    any_parent: bool,
    force_share: bool,
    force: bool,
    **options: Any,
) -> None:
    """Write the contents of SOURCE into the new file TARGET.

    SOURCE is a raw disk (file or block device), a VHDX or VHD with all its parents, or - for raw on standard
    input. From a VHDX to a VHDX the disk id, the sector sizes and the user metadata of the disk are kept.
    With --partition TARGET has that partition only, as a disk of its own. TARGET appears whole or not at
    all; holes and blocks of zeros take no space in it. Options that describe an image go with VHDX targets;
    a VHD target is a fixed one, rounded up to whole MiB, as Azure wants it.
    """
    from vhdx.ops.convert import convert as convert_disk  # noqa: PLC0415  --help needs no library
    from vhdx.ops.plan import ImageOptions  # noqa: PLC0415

    with progress_bar("converting") as progress:
        made = convert_disk(
            source,
            target,
            source_format=source_format,
            target_format=target_format,
            options=ImageOptions(**options),
            partition=partition,
            parents=parent_policy(parent_dirs, any_parent=any_parent),
            overwrite=force,
            lock=not force_share,
            progress=progress,
        )
    for remark in made.remarks:
        click.echo(f"vhdx: {remark}", err=True)
    click.echo(
        f"{printable(target)}: {made.target_format}, {size_text(made.virtual_size)}, of which "
        f"{size_text(made.data_size)} data; the file has {size_text(made.file_size)}"
    )
