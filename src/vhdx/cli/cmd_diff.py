"""``vhdx diff``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from vhdx.cli.options import (
    FILE,
    SIZE,
    chain_options,
    force_option,
    force_share_option,
    json_option,
    sparse_option,
)
from vhdx.cli.render import print_json_stream, progress_bar, standard

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.disk.places import ParentPolicy


class Change(NamedTuple):
    """A run of changed sectors, as it is printed."""

    offset: int
    length: int
    kind: str


class Changes(NamedTuple):
    """What is printed of a child."""

    path: str
    format: str
    virtual_size: int
    changes: Iterator[Change]


@click.command()
@click.argument("child", type=FILE)
@click.option("--since", type=FILE, help="An ancestor of CHILD; its parent if not given.")
@click.option(
    "--export",
    "target",
    type=FILE,
    metavar="TARGET",
    help="Write what changed as a differencing image: a new file, or - for standard output.",
)
@click.option(
    "--block-size",
    type=SIZE,
    metavar="N",
    help="With --export: 1M to 256M, 2M by default; a pipe takes whole blocks.",
)
@force_option
@sparse_option
@chain_options
@force_share_option
@json_option
def diff(
    child: str,
    *,
    since: str | None,
    target: str | None,
    block_size: int | None,
    force: bool,
    parents: ParentPolicy,
    force_share: bool,
    as_json: bool,
) -> None:
    """Show what CHILD changed against its parent.

    One line for each run of changed sectors: offset, length and kind, which is data or zero. Found in the
    tables alone, without reading contents. With --since, what all layers over that ancestor changed.

    With --export - it goes through a pipe, front to back, and `vhdx apply` merges it into a copy of the
    ancestor: vhdx diff disk.avhdx --export - | ssh host vhdx apply copy.vhdx -
    """
    if target is not None:
        if force_share:
            raise click.UsageError(
                "--export goes through the tables twice: not while somebody writes to them"
            )
        _export(
            child,
            target,
            since=since,
            block_size=block_size,
            parents=parents,
            overwrite=force,
            as_json=as_json,
        )
        return
    if force or block_size is not None:
        raise click.UsageError("--force and --block-size go with --export")
    from vhdx.disk.open import open_disk  # noqa: PLC0415  --help needs no library

    with open_disk(child, parents=parents, lock=not force_share) as disk:
        changes = disk.changed_extents(since=since)
        if as_json:
            rows = (Change(extent.offset, extent.length, extent.kind.value) for extent in changes)
            print_json_stream(Changes(disk.chain[0], disk.format, disk.size, rows))
            return
        for extent in changes:
            click.echo(f"{extent.offset:>16} {extent.length:>16} {extent.kind.value}")


def _export(child: str, target: str, *, block_size: int | None, as_json: bool, **how: Any) -> None:
    from vhdx.cli.increments import print_increment  # noqa: PLC0415  --help needs no library
    from vhdx.cli.interrupted import making  # noqa: PLC0415
    from vhdx.ops.make.increment import export_changes  # noqa: PLC0415
    from vhdx.ops.make.plan import ImageOptions  # noqa: PLC0415

    options = ImageOptions(block_size=block_size)
    if target != "-":
        with making(target), progress_bar("exporting") as progress:
            made = export_changes(child, target, options=options, progress=progress, **how)
        print_increment(made, as_json=as_json)
        return
    output = standard(sys.stdout)
    if output.isatty():
        raise click.UsageError("an image is nothing for a terminal; redirect it, or name a file")
    if as_json:
        raise click.UsageError("standard output is taken by the image: leave out --json, or name a file")
    with progress_bar("exporting") as progress:
        made = export_changes(child, output.buffer, options=options, progress=progress, **how)
    print_increment(made, as_json=False, err=True)
