"""``vhdx convert``."""

from __future__ import annotations

from typing import Any

import click

from vhdx.cli.by_qemu import FORMATS
from vhdx.cli.options import (
    FORMAT,
    OUTPUT,
    TARGET,
    File,
    chain_options,
    clone_option,
    force_option,
    force_share_option,
    image_options,
    json_option,
    left_out_option,
    partition_option,
    source_options,
    sparse_option,
    verbose_option,
)


class TargetFormat(click.Choice[str]):
    """A format that is written, or one that is told how to get to."""

    def __init__(self) -> None:
        super().__init__(FORMAT.choices)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return value if value in FORMATS else super().convert(value, param, ctx)


@click.command()
@click.argument("source", type=File(readable=False, allow_dash=True))
@click.argument("target", type=OUTPUT)
@click.option("-f", "--source-format", type=FORMAT, help="By default told by SOURCE's content.")
@click.option("-O", "--target-format", type=TargetFormat(), help="By default told by TARGET's suffix.")
@partition_option
@left_out_option
@image_options
@chain_options
@force_share_option
@force_option
@click.option(
    "--no-sync",
    is_flag=True,
    help="Do not wait for the host's disk: after a loss of power TARGET may not be whole.",
)
@clone_option
@click.option(
    "--scan-zeros", is_flag=True, help="Where space is shared read what is stored, too, and leave zeros out."
)
@click.option("--verify", is_flag=True, help="Read a block device or an export back, and compare.")
@click.option(
    "--resume",
    type=TARGET,
    metavar="FILE",
    help="To an object store: keep in FILE what was sent, and go on from there; FILE goes when all is there.",
)
@click.option(
    "--salvage", is_flag=True, help="Read what can be read of a damaged SOURCE; list what is doubtful."
)
@click.option(
    "--state",
    type=TARGET,
    metavar="FILE",
    help="With --salvage to raw: keep what is done in FILE, a map as ddrescue's, and go on from there.",
)
@click.option(
    "--carve",
    type=TARGET,
    metavar="DIR",
    help="With --salvage: write what no table of a VHDX names any more into DIR, a file for each block.",
)
@source_options
@click.option(
    "--ignore-bitmaps",
    is_flag=True,
    help="Take every sector of a VHD's blocks as it stands, as QEMU does; not of a differencing one.",
)
@json_option
@verbose_option
@sparse_option
def convert(**options: Any) -> int:
    """Write the contents of SOURCE into the new file TARGET.

    SOURCE is a raw disk (file, block device, nbd:// URI), a VHDX or VHD with all its parents, or - for
    standard input, which is raw or an image. TARGET is a file, or - for standard output; then all that is
    said goes to standard error. A block device that nobody uses, or an nbd:// export, is written over with
    --force, if the disk fits. s3://, gs:// and az:// addresses (also https:// of Azure's blobs) are objects
    that appear whole or not at all; in Azure a fixed VHD becomes a page blob, as by upload. From a VHDX to a
    VHDX the disk id, the sector sizes and the user metadata of the disk are kept. With --partition TARGET has
    that partition only, as a disk of its own. A file appears whole or not at all; holes and blocks of zeros
    take no space in it. Options that describe an image go with VHDX targets, of VHDs only --type does:
    without it a VHD is a fixed one, as Azure wants it. VHDs are rounded up to whole MiB.

    With --discard-free the space of deleted files is neither read nor stored: what the file systems on the
    disk call free, once all that they keep of it was read and agrees. Files stay as they are. With
    --block-size 1M that is the smallest VHDX of a disk.

    With --salvage, --virtual-size, --block-size, --logical-sector-size and --disk-type are taken for what
    the image has lost, and for nothing else of SOURCE. Each range of the disk that may be wrong is listed on
    standard error (in the output of --json), and the exit code is 3 if there is one.

    With --carve each block of SOURCE's file that holds something and that no entry of its table names is
    written to DIR, which is made or empty, under its place in the file and what it looks like; each is
    listed.
    """
    from vhdx.cli.show_convert import show  # noqa: PLC0415  --help needs no library

    if not options["salvage"] and (options["virtual_size"] or options["source_type"]):
        raise click.UsageError("--virtual-size and --disk-type go with --salvage")
    if options["carve"] is not None and (not options["salvage"] or options["state"] is not None):
        raise click.UsageError("--carve goes with --salvage, and not with --state")
    return show(**options)
