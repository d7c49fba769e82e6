"""``vhdx convert``."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, cast

import click

from vhdx.cli.by_qemu import Opening, TargetFormat, refuse_by_qemu
from vhdx.cli.costs import Stopwatch
from vhdx.cli.interrupted import making, passing_on, resuming, uploading
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
    parent_policy,
    partition_option,
    selection,
    source_options,
    sparse_option,
    verbose_option,
    volume_options,
)
from vhdx.cli.render import EXIT_DOUBTS, JsonLists, print_doubt, progress_bar, shown
from vhdx.text import printable

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from vhdx.disk.open import Format
    from vhdx.ops.make.carve import CarvedBlock
    from vhdx.ops.make.convert import ConvertResult
    from vhdx.ops.make.plan import ImageOptions
    from vhdx.storage.sharing import Clone


@click.command()
@click.argument("source", type=File(allow_dash=True))
@click.argument("target", type=OUTPUT)
@click.option("-f", "--source-format", type=FORMAT, help="By default told by SOURCE's content.")
@click.option("-O", "--target-format", type=TargetFormat(), help="By default told by TARGET's suffix.")
@partition_option
@click.option("--discard-free", is_flag=True, help="Leave out what file systems call free.")
@volume_options
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
def convert(
    source: str,
    target: str,
    *,
    source_format: Format | None,
    target_format: Format | str | None,
    partition: int | None,
    discard_free: bool,
    swap: bool,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    parent_dirs: tuple[str, ...],
    any_parent: bool,
    force_share: bool,
    force: bool,
    no_sync: bool,
    clone: Clone,
    scan_zeros: bool,
    verify: bool,
    resume: str | None,
    salvage: bool,
    state: str | None,
    carve: str | None,
    virtual_size: int | None,
    source_type: str | None,
    ignore_bitmaps: bool,
    as_json: bool,
    **options: Any,
) -> int:
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
    from vhdx.known import KnownDisk  # noqa: PLC0415  --help needs no library
    from vhdx.ops.make.convert import convert as convert_disk  # noqa: PLC0415  --help needs no library
    from vhdx.ops.make.plan import ImageOptions  # noqa: PLC0415

    opening = Opening(source, source_format, partition, parent_dirs, any_parent)
    refuse_by_qemu(opening, target, target_format)
    chosen = selection(asked=discard_free, swap=swap, include=include, exclude=exclude)
    known = KnownDisk(virtual_size, options["block_size"], options["logical_sector_size"], source_type)
    if not salvage and (virtual_size or source_type):
        raise click.UsageError("--virtual-size and --disk-type go with --salvage")
    if carve is not None and (not salvage or state is not None):
        raise click.UsageError("--carve goes with --salvage, and not with --state")
    made_format, made_options = cast("Format | None", target_format), ImageOptions(**options)
    is_pipe = target == "-"
    lists = JsonLists("doubts", "carved", err=is_pipe) if as_json else None
    stopwatch = Stopwatch()
    with (
        _interruptible(target, made_format, made_options, state or resume, carve),
        progress_bar("converting") as progress,
    ):
        made = convert_disk(
            source,
            target,
            source_format=source_format,
            target_format=made_format,
            options=made_options,
            known=known if salvage else None,
            partition=partition,
            discard_free=discard_free,
            volumes=chosen,
            parents=parent_policy(parent_dirs, any_parent=any_parent),
            overwrite=force,
            lock=not force_share,
            salvage=salvage,
            state=state,
            sync=not no_sync,
            clone=clone,
            scan_zeros=scan_zeros,
            verify=verify,
            resume=resume,
            ignore_bitmaps=ignore_bitmaps,
            carve_to=carve,
            on_carved=lists.adder("carved") if lists else partial(_print_carved, err=is_pipe),
            on_doubt=lists.adder("doubts") if lists else print_doubt,
            progress=progress,
        )
    if lists:
        lists.finish(made)
    else:
        _print_text("standard output" if is_pipe else made.path, made, stopwatch, err=is_pipe)
    return EXIT_DOUBTS if made.doubts else 0


def _print_carved(block: CarvedBlock, *, err: bool) -> None:
    looks = block.looks_like if block.detail is None else f"{block.looks_like}, {block.detail}"
    lost = f"; {block.unreadable} bytes of it could not be read" if block.unreadable else ""
    click.echo(
        printable(f"{block.path}: {block.length} bytes at {block.file_offset}: {looks}{lost}"), err=err
    )


def _interruptible(
    target: str, target_format: Format | None, options: ImageOptions, state: str | None, carve: str | None
) -> AbstractContextManager[None]:
    from vhdx.ops.make.addresses import BLOB, FILE, OBJECT, address_of, shown  # noqa: PLC0415  as above
    from vhdx.ops.make.destination import goes_into_pages  # noqa: PLC0415  as above

    address, name = address_of(target), shown(target)
    if address in (OBJECT, BLOB) and state is not None:
        return resuming(name, state)
    if address in (OBJECT, BLOB) and not goes_into_pages(target, target_format, options):
        return uploading(name)
    if address is not FILE:
        return passing_on("standard output" if target == "-" else name)
    return making(target, carve) if state is None else resuming(target, state)


def _print_text(target: str, made: ConvertResult, stopwatch: Stopwatch, *, err: bool) -> None:
    for remark in made.remarks:
        click.echo(printable(f"vhdx: {remark}"), err=True)
    if made.doubts:
        click.echo(f"vhdx: ranges that may be wrong: {made.doubts}", err=True)
    click.echo(
        f"{printable(target)}: {made.target_format}, {shown(made.virtual_size)}, of which "
        f"{shown(made.data_size)} data; the file has {shown(made.file_size)}{stopwatch.told(', made')}",
        err=err,
    )
