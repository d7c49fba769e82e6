"""``vhdx diff``."""

from __future__ import annotations

import json

import click

from vhdx.cli.options import chain_options, force_share_option, json_option, parent_policy


@click.command()
@click.argument("child", type=click.Path())
@click.option("--since", type=click.Path(), help="An ancestor of CHILD; its parent if not given.")
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
        separator = "["
        for extent in disk.changed_extents(since=since):
            if as_json:
                row = {"offset": extent.offset, "length": extent.length, "kind": extent.kind.value}
                click.echo(f"{separator}{json.dumps(row)}", nl=False)
                separator = ",\n "
            else:
                click.echo(f"{extent.offset:>16} {extent.length:>16} {extent.kind.value}")
        if as_json:
            click.echo("]" if separator != "[" else "[]")
