"""``vhdx map``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from vhdx.cli.options import FILE, FORMAT, chain_options, force_share_option, json_option, parent_policy
from vhdx.cli.render import print_json, print_json_stream, progress_bar
from vhdx.text import printable
from vhdx.units import size_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.disk.open import Format
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
def map(  # noqa: A001  the verb's name
    image: str,
    *,
    layers: bool,
    summary: bool,
    draw: bool,
    name: Format | None,
    parent_dirs: tuple[str, ...],
    any_parent: bool,
    force_share: bool,
    as_json: bool,
) -> None:
    """Show what the disk in IMAGE is made of.

    Found in the tables, without reading contents. One line for each run: offset and length on the disk,
    kind (data, zero, unallocated), block state, layer that answers (1 is IMAGE, 2 its parent), offset in
    that layer's file, and the file. Of a raw file the holes are shown that the host knows of.
    """
    if draw and (summary or as_json):
        raise click.UsageError("--draw goes with neither --summary nor --json")
    from vhdx.disk.open import open_any  # noqa: PLC0415  --help needs no library

    policy = parent_policy(parent_dirs, any_parent=any_parent)
    with open_any(image, image_format=name, parents=policy, lock=not force_share) as disk:
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
    from vhdx.ops.map import summary  # noqa: PLC0415  --help needs no library

    with progress_bar("counting") as progress:
        found = [summary(disk, depth, progress) for depth in depths]
    if as_json:
        print_json(found)
        return
    for each in found:
        _print_summary(each)


def _print_summary(found: Summary) -> None:
    click.echo(f"{printable(found.path)}: {size_text(found.virtual_size)}")
    click.echo(f"  {'layer':>5} {'kind':<11} {'state':<17} {'runs':>10} {'bytes':>16} {'share':>6}")
    for row in found.rows:
        share = f"{row.length / found.virtual_size:.1%}"
        state = row.state.replace("_", " ")
        click.echo(
            f"  {row.depth or '-':>5} {row.kind:<11} {state:<17} {row.runs:>10} {row.length:>16} {share:>6}"
        )
    click.echo(f"  jumps: {found.jumps} (data that goes on elsewhere in the file)")
