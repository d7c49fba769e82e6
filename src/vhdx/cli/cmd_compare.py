"""``vhdx compare``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from vhdx.cli.options import (
    FILE,
    FORMAT,
    TARGET,
    chain_options,
    force_option,
    json_option,
    partition_option,
    sparse_option,
    verbose_option,
)
from vhdx.cli.render import print_json, progress_bar, shown

if TYPE_CHECKING:
    from vhdx.disk.formats import Format
    from vhdx.disk.places import ParentPolicy


@click.command()
@click.argument("first", type=FILE)
@click.argument("second", type=FILE)
@click.option("-f", "--first-format", type=FORMAT, help="By default told by FIRST's content.")
@click.option("-F", "--second-format", type=FORMAT, help="By default told by SECOND's content.")
@partition_option
@click.option(
    "--make-child",
    "child",
    type=TARGET,
    metavar="CHILD",
    help="Make a new child of FIRST, a VHDX, that holds what SECOND has otherwise.",
)
@force_option
@sparse_option
@chain_options
@json_option
@verbose_option
def compare(
    first: str,
    second: str,
    *,
    first_format: Format | None,
    second_format: Format | None,
    partition: int | None,
    child: str | None,
    force: bool,
    parents: ParentPolicy,
    as_json: bool,
) -> int:
    """Compare what two disks hold, FIRST and SECOND.

    Each may be raw, VHDX or VHD, and is read with all its parents. Exit code 0 if they are identical, 1
    if not, 2 if they could not be compared. Disks of different size are not identical. With --partition
    that partition of both disks is compared.

    With --make-child the sectors in which they differ go into a differencing image over FIRST, which reads as
    SECOND does; the exit code is 0 then.
    """
    if child is not None:
        if partition is not None:
            raise click.UsageError("--make-child takes whole disks: leave out --partition")
        _make_child(
            child,
            first,
            second,
            parent_format=first_format,
            contents_format=second_format,
            parents=parents,
            overwrite=force,
            as_json=as_json,
        )
        return 0
    if force:
        raise click.UsageError("--force goes with --make-child")
    from vhdx.ops.compare import compare as compare_disks  # noqa: PLC0415  --help needs no library

    with progress_bar("comparing") as progress:
        found = compare_disks(
            first,
            second,
            first_format=first_format,
            second_format=second_format,
            partition=partition,
            parents=parents,
            progress=progress,
        )
    if as_json:
        print_json(found)
    elif found.first_difference is not None:
        click.echo(f"the disks differ, first at offset {found.first_difference}")
    elif not found.identical:
        sizes = f"{shown(found.first_virtual_size)} and {shown(found.second_virtual_size)}"
        click.echo(f"the disks have different sizes, {sizes}; what both have is identical")
    else:
        click.echo("the disks are identical")
    return 0 if found.identical else 1


def _make_child(child: str, first: str, second: str, *, as_json: bool, **how: Any) -> None:
    from vhdx.cli.increments import print_increment  # noqa: PLC0415  --help needs no library
    from vhdx.cli.interrupted import making  # noqa: PLC0415
    from vhdx.ops.make.increment import create_increment  # noqa: PLC0415

    with making(child), progress_bar("comparing") as progress:
        made = create_increment(child, parent=first, contents=second, compare=True, progress=progress, **how)
    print_increment(made, as_json=as_json)
