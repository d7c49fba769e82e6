"""``vhdx diff``."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import click

from vhdx.cli.options import FILE, chain_options, force_share_option, json_option, parent_policy
from vhdx.cli.render import print_json_stream

if TYPE_CHECKING:
    from collections.abc import Iterator


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
@chain_options
@force_share_option
@json_option
def diff(
    child: str,
    *,
    since: str | None,
    parent_dirs: tuple[str, ...],
    any_parent: bool,
    force_share: bool,
    as_json: bool,
) -> None:
    """Show what CHILD changed against its parent.

    One line for each run of changed sectors: offset, length and kind, which is data or zero. Found in the
    tables alone, without reading contents. With --since, what all layers over that ancestor changed.
    """
    from vhdx.disk.open import open_disk  # noqa: PLC0415  --help needs no library

    policy = parent_policy(parent_dirs, any_parent=any_parent)
    with open_disk(child, parents=policy, lock=not force_share) as disk:
        changes = disk.changed_extents(since=since)
        if as_json:
            rows = (Change(extent.offset, extent.length, extent.kind.value) for extent in changes)
            print_json_stream(Changes(disk.chain[0], disk.format, disk.size, rows))
            return
        for extent in changes:
            click.echo(f"{extent.offset:>16} {extent.length:>16} {extent.kind.value}")
