"""``vhdx rebase``."""

from __future__ import annotations

import click

from vhdx.cli.interrupted import changing
from vhdx.cli.options import FILE, TARGET, chain_options, json_option, parent_policy
from vhdx.cli.render import print_json, progress_bar
from vhdx.text import printable
from vhdx.units import size_text


@click.command()
@click.argument("child", type=TARGET)
@click.option("--parent", required=True, type=FILE, help="The image that is to be the parent.")
@click.option("--ignore-identity", is_flag=True, help="Trust that the parent's contents are the right ones.")
@click.option("--safe", is_flag=True, help="First copy into CHILD what would read differently.")
@chain_options
@json_option
def rebase(
    child: str,
    *,
    parent: str,
    ignore_identity: bool,
    safe: bool,
    parent_dirs: tuple[str, ...],
    any_parent: bool,
    as_json: bool,
) -> None:
    """Give the differencing image CHILD another parent.

    Rewrites only the parent locator, through the journal: for a parent that was moved or renamed, or,
    with --safe, for another one. Without --safe or --ignore-identity the parent must be the one that
    CHILD knows by its identity.
    """
    from vhdx.ops.make.child import NOT_FOUND_BY_DEFAULT  # noqa: PLC0415  --help needs no library
    from vhdx.ops.rebase import rebase as rebase_image  # noqa: PLC0415

    with changing(image=child), progress_bar("comparing") as progress:
        done = rebase_image(
            child,
            parent,
            ignore_identity=ignore_identity,
            safe=safe,
            parents=parent_policy(parent_dirs, any_parent=any_parent),
            progress=progress,
        )
    if as_json:
        print_json(done)
        return
    click.echo(f"{printable(child)}: the parent is {printable(done.new_values['relative_path'])}")
    if safe:
        click.echo(
            f"{printable(child)}: {size_text(done.copied_size)} copied that the new parent has otherwise"
        )
    if done.hidden_size:
        click.echo(
            f"vhdx: the parent is {size_text(done.hidden_size)} larger than its child, "
            "which does not show what stands behind its own end",
            err=True,
        )
    if not done.found_by_default:
        click.echo(f"vhdx: {NOT_FOUND_BY_DEFAULT}", err=True)
