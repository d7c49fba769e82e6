"""``vhdx convert``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import click

from vhdx.cli.interrupted import making
from vhdx.cli.options import (
    FORMAT,
    TARGET,
    chain_options,
    force_option,
    force_share_option,
    image_options,
    json_option,
    parent_policy,
    partition_option,
)
from vhdx.cli.render import JsonList, progress_bar
from vhdx.text import command, printable, shell_word
from vhdx.units import size_text

if TYPE_CHECKING:
    from vhdx.disk.open import Format
    from vhdx.extents import Doubt
    from vhdx.ops.make.convert import ConvertResult

_EXIT_DOUBTS = 3
_BY_QEMU = ("qcow2", "vmdk", "vdi")
"""Formats that are not written here, and the suffixes of their files."""


class TargetFormat(click.Choice[str]):
    """A format that is written, or one that is told how to get to."""

    def __init__(self) -> None:
        super().__init__(FORMAT.choices)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return value if value in _BY_QEMU else super().convert(value, param, ctx)


@click.command()
@click.argument("source", type=click.Path(allow_dash=True))
@click.argument("target", type=TARGET)
@click.option("-f", "--source-format", type=FORMAT, help="By default told by SOURCE's content.")
@click.option("-O", "--target-format", type=TargetFormat(), help="By default told by TARGET's suffix.")
@partition_option
@image_options
@chain_options
@force_share_option
@force_option
@click.option(
    "--no-sync",
    is_flag=True,
    help="Do not wait for the host's disk: after a loss of power TARGET may not be whole.",
)
@click.option(
    "--salvage", is_flag=True, help="Read what can be read of a damaged SOURCE; list what is doubtful."
)
@click.option(
    "--ignore-bitmaps",
    is_flag=True,
    help="Take every sector of a VHD's blocks as it stands, as QEMU does; not of a differencing one.",
)
@json_option
def convert(
    source: str,
    target: str,
    *,
    source_format: Format | None,
    target_format: Format | str | None,
    partition: int | None,
    parent_dirs: tuple[str, ...],
    any_parent: bool,
    force_share: bool,
    force: bool,
    no_sync: bool,
    salvage: bool,
    ignore_bitmaps: bool,
    as_json: bool,
    **options: Any,
) -> int:
    """Write the contents of SOURCE into the new file TARGET.

    SOURCE is a raw disk (file or block device), a VHDX or VHD with all its parents, or - for raw on standard
    input. From a VHDX to a VHDX the disk id, the sector sizes and the user metadata of the disk are kept.
    With --partition TARGET has that partition only, as a disk of its own. TARGET appears whole or not at
    all; holes and blocks of zeros take no space in it. Options that describe an image go with VHDX targets;
    a VHD target is a fixed one, rounded up to whole MiB, as Azure wants it.

    With --salvage each range of the disk that may be wrong is listed on standard error (in the output of
    --json), and the exit code is 3 if there is one.
    """
    from vhdx.ops.make.convert import convert as convert_disk  # noqa: PLC0415  --help needs no library
    from vhdx.ops.make.plan import ImageOptions  # noqa: PLC0415

    wanted = target_format or os.path.splitext(target)[1][1:].lower()
    if wanted in _BY_QEMU:
        opened = Opening(source_format, partition, parent_dirs, any_parent)
        raise ValueError(f"{wanted} is written by QEMU; {_way_by_qemu(source, target, wanted, opened)}")
    doubts = JsonList("doubts") if as_json else None
    with making(target), progress_bar("converting") as progress:
        made = convert_disk(
            source,
            target,
            source_format=source_format,
            target_format=cast("Format | None", target_format),
            options=ImageOptions(**options),
            partition=partition,
            parents=parent_policy(parent_dirs, any_parent=any_parent),
            overwrite=force,
            lock=not force_share,
            salvage=salvage,
            sync=not no_sync,
            ignore_bitmaps=ignore_bitmaps,
            on_doubt=doubts.add if doubts else _print_doubt,
            progress=progress,
        )
    if doubts:
        doubts.finish(made)
    else:
        _print_text(target, made)
    return _EXIT_DOUBTS if made.doubts else 0


class Opening(NamedTuple):
    """How a source is opened, as the options say."""

    source_format: str | None
    partition: int | None
    parent_dirs: tuple[str, ...]
    any_parent: bool


def _way_by_qemu(source: str, target: str, wanted: str, opened: Opening) -> str:
    """The command that makes a file of a format that is not written here."""
    if source == "-":
        return "make a VHDX of standard input first; then convert says how"
    options = f" -f {opened.source_format}" if opened.source_format else ""
    options += f" --partition {opened.partition}" if opened.partition else ""
    options += " --any-parent" if opened.any_parent else ""
    options += " --parent-dir {}" * len(opened.parent_dirs)
    line = f'qemu-img convert -O {wanted} "$uri" {shell_word(target)}'
    return "try: " + command("serve" + options + " {} --run {}", *opened.parent_dirs, source, line)


def _print_doubt(doubt: Doubt) -> None:
    where = f"doubtful: {doubt.length} bytes at {doubt.offset}"
    click.echo(printable(f"vhdx: {where}: {doubt.reason}"), err=True)


def _print_text(target: str, made: ConvertResult) -> None:
    for remark in made.remarks:
        click.echo(printable(f"vhdx: {remark}"), err=True)
    if made.doubts:
        click.echo(f"vhdx: ranges that may be wrong: {made.doubts}", err=True)
    click.echo(
        f"{printable(target)}: {made.target_format}, {size_text(made.virtual_size)}, of which "
        f"{size_text(made.data_size)} data; the file has {size_text(made.file_size)}"
    )
