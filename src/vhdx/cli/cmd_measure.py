"""``vhdx measure``."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from vhdx.cli.options import (
    FILE,
    FORMAT,
    chain_options,
    force_share_option,
    image_options,
    json_option,
    left_out_option,
    partition_option,
    verbose_option,
)
from vhdx.cli.render import print_json, print_rows, progress_bar, shown
from vhdx.units import format_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vhdx.disk.formats import Format
    from vhdx.disk.free_space import VolumeSelection
    from vhdx.disk.places import ParentPolicy
    from vhdx.ops.make.measure import MeasureResult


@click.command()
@click.argument("sources", metavar="SOURCE...", type=FILE, nargs=-1, required=True)
@click.option("-f", "--source-format", type=FORMAT, help="By default told by SOURCE's content.")
@click.option(
    "-O", "--target-format", type=FORMAT, default="vhdx", show_default=True, help="What would be made."
)
@click.option("--scan-zeros", is_flag=True, help="Read the contents, too: exact, but as slow as converting.")
@partition_option
@left_out_option
@image_options
@chain_options
@force_share_option
@json_option
@verbose_option
def measure(
    sources: tuple[str, ...],
    *,
    source_format: Format | None,
    target_format: Format,
    scan_zeros: bool,
    partition: int | None,
    volumes: VolumeSelection | None,
    parents: ParentPolicy,
    force_share: bool,
    as_json: bool,
    **options: Any,
) -> int:
    """Say how long a file converting SOURCE would make.

    And what compacting it would leave, if it is a VHDX. Takes the options of `vhdx convert` and does
    nothing. Without --scan-zeros stored zeros count as contents, so the file may become smaller than
    said, never larger.

    Of several sources, and of a directory, each VHDX and VHD in and below it has a line, which is one of JSON
    with --json. The exit code is the worst.
    """
    from vhdx.ops.make.measure import measure as measure_disk  # noqa: PLC0415  --help needs no library
    from vhdx.ops.make.plan import ImageOptions  # noqa: PLC0415

    with progress_bar("reading") as progress:
        look = partial(
            measure_disk,
            source_format=source_format,
            target_format=target_format,
            options=ImageOptions(**options),
            partition=partition,
            discard_free=volumes is not None,
            volumes=volumes,
            scan_zeros=scan_zeros,
            parents=parents,
            lock=not force_share,
            progress=progress,
        )
        if len(sources) > 1 or os.path.isdir(sources[0]):
            from vhdx.cli.several import show_each  # noqa: PLC0415

            return show_each(sources, _COLUMNS, partial(_line, look), as_json=as_json)
        found = look(sources[0])
    if as_json:
        print_json(found)
        return 0
    for remark in found.remarks:
        click.echo(f"vhdx: {remark}", err=True)
    print_rows(_rows(found))
    return 0


_COLUMNS = (("virtual size", 12), ("required", 10), ("fully allocated", 15), ("compacted", 10))


def _line(look: Callable[[str], MeasureResult], source: str) -> tuple[MeasureResult, tuple[str, ...], int]:
    found = look(source)
    compacted = "-" if found.compacted_size is None else format_size(found.compacted_size)
    sizes = (found.virtual_size, found.required_size, found.fully_allocated_size)
    return found, (*map(format_size, sizes), compacted), 0


def _rows(found: MeasureResult) -> Iterator[tuple[str, str]]:
    bound = "" if found.scanned else "at most "
    yield "target", f"{found.target_format}, {shown(found.virtual_size)}"
    yield "contents", f"{bound}{shown(found.data_size)}"
    certain = found.required_size == found.fully_allocated_size
    yield "required", f"{'' if certain else bound}{shown(found.required_size)}"
    yield "fully allocated", shown(found.fully_allocated_size)
    if found.compacted_size is not None:
        yield "source, compacted", f"{bound}{shown(found.compacted_size)}"
