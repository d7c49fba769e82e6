"""``vhdx resize``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

from vhdx.cli.costs import change
from vhdx.cli.interrupted import changing
from vhdx.cli.options import (
    TARGET,
    chain_options,
    json_option,
    orphans_option,
    say_if_decimal,
    sparse_option,
    verbose_option,
)
from vhdx.cli.render import print_json, progress_bar, shown
from vhdx.text import printable

if TYPE_CHECKING:
    from vhdx.disk.places import ParentPolicy
    from vhdx.ops.resize import ResizeResult

_SMALLER_BY = re.compile(r"-[0-9.]")


class _WithSizeWords(click.Command):
    """Takes ``-1G`` for a size, not for options."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if "--" not in args:
            words = [word for word in args if _SMALLER_BY.match(word)]
            args = [word for word in args if word not in words] + (["--", *words] if words else [])
        return super().parse_args(ctx, args)


@click.command(cls=_WithSizeWords)
@click.argument("image", type=TARGET)
@click.argument("size", required=False, metavar="SIZE|+N|-N")
@click.option("--shrink", is_flag=True, help="Also cut data.")
@click.option(
    "--to-minimum",
    is_flag=True,
    help="Down to the end of the last partition, or of the one file system.",
)
@click.option(
    "--grow-partition",
    type=click.IntRange(min=1),
    metavar="N",
    help="Then give the last partition, of this number, all the space behind it.",
)
@orphans_option
@chain_options
@json_option
@verbose_option
@sparse_option
def resize(
    image: str,
    size: str | None,
    *,
    shrink: bool,
    to_minimum: bool,
    grow_partition: int | None,
    force: bool,
    parents: ParentPolicy,
    as_json: bool,
) -> None:
    """Give the disk of IMAGE another size.

    The size is SIZE, or N more (+10G), or N less (-10G). What is added reads as zeros. Without --shrink
    nothing but zeros is cut. The backup of a GPT moves to the new end; partitions and file systems keep
    their size, but for the partition of --grow-partition, which also goes without SIZE. A crash leaves the
    old size or the new one, the old partition or the new one. What makes the file system in it larger is
    told at the end.
    """
    if to_minimum and (size is not None or grow_partition is not None):
        raise click.UsageError("--to-minimum goes with neither a size nor --grow-partition")
    if size is None and not to_minimum and grow_partition is None:
        raise click.UsageError("say a size, --to-minimum or --grow-partition")
    from vhdx.ops.resize import resize as resize_image  # noqa: PLC0415  --help needs no library

    if size is not None:
        say_if_decimal(size)

    with changing(image=image), progress_bar("looking for data") as progress:
        done = resize_image(
            image,
            size,
            shrink=shrink,
            to_minimum=to_minimum,
            grow_partition=grow_partition,
            force=force,
            parents=parents,
            progress=progress,
        )
    if as_json:
        print_json(done)
    else:
        _print_text(done)


def _print_text(done: ResizeResult) -> None:
    for remark in done.remarks:
        click.echo(f"vhdx: {remark}", err=True)
    click.echo(
        f"{printable(done.path)}: {change(done.virtual_size_before, done.virtual_size_after)}; "
        f"the file has {shown(done.file_size_after)}"
    )
    if done.table_moved:
        click.echo("the backup GPT stands at the new end")
    for partition in done.partitions:
        kind = partition.type_name or partition.type
        fate = ", cut" if partition.end > done.virtual_size_after else ""
        fate += ", grown" if partition.number == done.grown_partition else ""
        click.echo(f"partition {partition.number}: {shown(partition.length)}, {kind}{fate}")
    if done.limit is not None:
        click.echo(printable(f"not smaller because {done.limit}"))
    if done.partitions:
        click.echo(f"free behind the last partition: {shown(done.free_size)}")
    if done.grow_commands:
        click.echo(f"to make use of it, in a Linux guest: {' && '.join(done.grow_commands)}")
