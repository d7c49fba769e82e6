"""``vhdx map``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from vhdx.cli.layers import contents_text, jumps_text, layer_names, room_beside
from vhdx.cli.options import (
    FILE,
    FORMAT,
    chain_options,
    force_share_option,
    json_option,
    verbose_option,
)
from vhdx.cli.render import is_verbose, print_json, print_json_stream, progress_bar, shown
from vhdx.text import printable
from vhdx.units import exact_word

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vhdx.disk.formats import Format
    from vhdx.disk.places import ParentPolicy
    from vhdx.ops.map import MappedDisk, MapRow, Summary


@click.command("map")
@click.argument("image", type=FILE)
@click.option("--layers", is_flag=True, help="What each layer itself says, from IMAGE to its base.")
@click.option("--summary", is_flag=True, help="Only count: runs and bytes by kind and state.")
@click.option("--draw", is_flag=True, help="Draw the disk as a map of cells, with a legend.")
@click.option(
    "-f",
    "--format",
    "name",
    type=FORMAT,
    help="By default told by IMAGE's content.",
)
@chain_options
@force_share_option
@json_option
@verbose_option
def map(  # noqa: A001  the verb's name
    image: str,
    *,
    layers: bool,
    summary: bool,
    draw: bool,
    name: Format | None,
    parents: ParentPolicy,
    force_share: bool,
    as_json: bool,
) -> None:
    """Show what the disk in IMAGE is made of.

    Found in the tables, without reading contents. One line for each run: offset and length on the disk,
    what it holds, where that stands in the file of the layer that answers, and the name of that. With -v
    in bytes, with the state of the block and the whole name. Of a raw file the holes are shown that the
    host knows of.
    """
    if draw and (summary or as_json):
        raise click.UsageError("--draw goes with neither --summary nor --json")
    from vhdx.disk.open import open_any  # noqa: PLC0415  --help needs no library

    with open_any(image, image_format=name, parents=parents, lock=not force_share) as disk:
        depths = range(1, len(disk.chain) + 1) if layers else (None,)
        if draw:
            from vhdx.cli.drawing import draw_disk  # noqa: PLC0415

            for depth in depths:
                draw_disk(disk, depth)
        elif summary:
            _print_summaries(disk, depths, as_json=as_json)
        elif as_json:
            from vhdx.ops.map import DiskMap  # noqa: PLC0415  --help needs no library

            runs = (row for depth in depths for row in _rows(disk, depth))
            print_json_stream(DiskMap(disk.chain[0], disk.format, disk.size, runs))
        else:
            _print_rows(disk, depths)


def _rows(disk: MappedDisk, depth: int | None) -> Iterator[MapRow]:
    from vhdx.ops.map import layer_rows, map_rows  # noqa: PLC0415  --help needs no library

    return map_rows(disk) if depth is None else layer_rows(disk, depth)


def _print_rows(disk: MappedDisk, depths: range | tuple[None]) -> None:
    if is_verbose():
        _print_all_of_rows(disk, depths)
        return
    head = f"{'offset':>10} {'length':>10} {'contents':<14} {'in file at':>10} "
    names = layer_names(disk.chain, room_beside(len(head)))
    click.echo(f"{head}layer")
    for depth in depths:
        for row in _rows(disk, depth):
            at = "" if row.file_offset is None else exact_word(row.file_offset)
            layer = "" if row.file is None else names[row.depth]
            place = f"{exact_word(row.offset):>10} {exact_word(row.length):>10}"
            click.echo(f"{place} {contents_text(row.kind, row.state):<14} {at:>10} {layer}".rstrip())


def _print_all_of_rows(disk: MappedDisk, depths: range | tuple[None]) -> None:
    click.echo(
        f"{'offset':>16} {'length':>16} {'kind':<11} {'state':<17} {'layer':>5} {'file offset':>16} file"
    )
    for depth in depths:
        for row in _rows(disk, depth):
            place = "-" if row.file_offset is None else row.file_offset
            file = "-" if row.file is None else printable(row.file)
            state = row.state.replace("_", " ")
            click.echo(
                f"{row.offset:>16} {row.length:>16} {row.kind:<11} {state:<17} {row.depth or '-':>5} "
                f"{place:>16} {file}"
            )


def _print_summaries(disk: MappedDisk, depths: range | tuple[None], *, as_json: bool) -> None:
    from vhdx.ops.map import DiskSummary, summary  # noqa: PLC0415  --help needs no library

    with progress_bar("counting") as progress:
        found = tuple(summary(disk, depth, progress) for depth in depths)
    if as_json:
        print_json(DiskSummary(disk.chain[0], disk.format, disk.size, found))
        return
    for each in found:
        _print_summary(each, disk.chain)


def _print_summary(found: Summary, chain: Sequence[str]) -> None:
    click.echo(f"{printable(found.path)}: {shown(found.virtual_size)}")
    width = 26 if is_verbose() else 10
    head = f"  {'contents':<14} {'runs':>8} {'size':>{width}} {'share':>6} "
    names = layer_names(chain, None if is_verbose() else room_beside(len(head)))
    click.echo(f"{head}layer")
    for row in found.rows:
        share = f"{row.length / found.virtual_size:.1%}"
        layer = "" if row.file is None else f" {names[row.depth]}"
        contents = contents_text(row.kind, row.state)
        click.echo(f"  {contents:<14} {row.runs:>8} {shown(row.length):>{width}} {share:>6}{layer}")
    data = sum(row.length for row in found.rows if row.kind == "data")
    click.echo(f"  fragmentation: {jumps_text(found.jumps, data)}")
