"""``vhdx download``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from vhdx.cli.costs import Stopwatch
from vhdx.cli.interrupted import making
from vhdx.cli.options import (
    FORMAT,
    TARGET,
    force_option,
    image_options,
    jobs_option,
    json_option,
    sparse_option,
    verbose_option,
)
from vhdx.cli.render import print_json, progress_bar, shown
from vhdx.text import printable

if TYPE_CHECKING:
    from vhdx.disk.formats import Format
    from vhdx.ops.make.download import DownloadResult


@click.command()
@click.argument("blob")
@click.argument("target", type=TARGET)
@click.option("-f", "--source-format", type=FORMAT, help="By default vhd: what has no footer is not read.")
@click.option("-O", "--target-format", type=FORMAT, help="By default told by TARGET's suffix.")
@image_options
@jobs_option
@force_option
@json_option
@verbose_option
@sparse_option
def download(
    blob: str,
    target: str,
    *,
    source_format: Format | None,
    target_format: Format | None,
    jobs: int,
    force: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Make an image of the disk in a page blob of Azure.

    BLOB is an address as `vhdx upload` takes it, or the SAS that `az disk grant-access` or `az snapshot
    grant-access` gives. Only pages that are stored are read, and compared with the MD5 that the service says.
    TARGET, a VHDX, VHD or raw disk by its suffix, appears whole or not at all; if the blob is changed
    meanwhile, not at all. Needs the extra vhdx[cloud].
    """
    from vhdx.ops.make.download import download as download_disk  # noqa: PLC0415  --help needs no library
    from vhdx.ops.make.plan import ImageOptions  # noqa: PLC0415

    stopwatch = Stopwatch()
    with making(target), progress_bar("downloading") as progress:
        made = download_disk(
            blob,
            target,
            source_format=source_format,
            target_format=target_format,
            options=ImageOptions(**options),
            overwrite=force,
            jobs=jobs,
            progress=progress,
        )
    if as_json:
        print_json(made)
    else:
        _print_text(made, stopwatch)


def _print_text(made: DownloadResult, stopwatch: Stopwatch) -> None:
    for remark in made.remarks:
        click.echo(printable(f"vhdx: {remark}"), err=True)
    click.echo(
        f"{printable(made.path)}: {made.format}, {shown(made.virtual_size)}, of which "
        f"{shown(made.fetched_size)} came; the file has {shown(made.file_size)}{stopwatch.told(', made')}"
    )
    if made.next_command is not None:
        click.echo(f"next: {printable(made.next_command)}")
