"""``vhdx rebase``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from vhdx.cli.interrupted import changing
from vhdx.cli.options import (
    FILE,
    TARGET,
    chain_options,
    json_option,
    sparse_option,
    verbose_option,
)
from vhdx.cli.render import EXIT_DOUBTS, print_json, progress_bar, shown
from vhdx.text import printable

if TYPE_CHECKING:
    from vhdx.disk.places import ParentPolicy
    from vhdx.ops.mend import Mend


@click.command()
@click.argument("child", type=TARGET, required=False)
@click.option("--parent", type=FILE, help="The image that is to be the parent.")
@click.option("--ignore-identity", is_flag=True, help="Trust that the parent's contents are the right ones.")
@click.option("--safe", is_flag=True, help="First copy into CHILD what would read differently.")
@click.option(
    "--all",
    "directory",
    metavar="DIR",
    type=click.Path(file_okay=False),
    help="Give all orphans in DIR the parents that are there, told by identity.",
)
@click.option("--yes", is_flag=True, help="With --all: do not ask.")
@click.option("--dry-run", is_flag=True, help="With --all: only show what would be done.")
@chain_options
@json_option
@verbose_option
@sparse_option
def rebase(
    child: str | None,
    *,
    parent: str | None,
    ignore_identity: bool,
    safe: bool,
    directory: str | None,
    yes: bool,
    dry_run: bool,
    parents: ParentPolicy,
    as_json: bool,
) -> int:
    """Give the differencing image CHILD another parent.

    Rewrites only the parent locator, through the journal: for a parent that was moved or renamed, or,
    with --safe, for another one. Without --safe or --ignore-identity the parent must be the one that
    CHILD knows by its identity.

    With --all every image at or below DIR whose parent is there under another name or in another place, as
    `vhdx tree` draws them, gets it back, ancestors first. What is to be done is shown before. Exit code 3 if
    images are left without a parent. VHDs are only read: theirs are told.
    """
    if directory is not None:
        if child or parent or ignore_identity or safe or parents.directories or parents.any_parent:
            raise click.UsageError("--all goes by identity: only with --yes, --dry-run and --json")
        return _rebase_all(directory, yes=yes, dry_run=dry_run, as_json=as_json)
    if child is None or parent is None or yes or dry_run:
        raise click.UsageError("say CHILD and --parent FILE, or --all DIR, which takes --yes and --dry-run")
    from vhdx.ops.make.child import NOT_FOUND_BY_DEFAULT  # noqa: PLC0415  --help needs no library
    from vhdx.ops.rebase import rebase as rebase_image  # noqa: PLC0415

    with changing(image=child), progress_bar("comparing") as progress:
        done = rebase_image(
            child,
            parent,
            ignore_identity=ignore_identity,
            safe=safe,
            parents=parents,
            progress=progress,
        )
    if as_json:
        print_json(done)
        return 0
    click.echo(f"{printable(child)}: the parent is {printable(done.new_values['relative_path'])}")
    if safe:
        click.echo(f"{printable(child)}: {shown(done.copied_size)} copied that the new parent has otherwise")
    if done.hidden_size:
        click.echo(
            f"vhdx: the parent is {shown(done.hidden_size)} larger than its child, "
            "which does not show what stands behind its own end",
            err=True,
        )
    if not done.found_by_default:
        click.echo(f"vhdx: {NOT_FOUND_BY_DEFAULT}", err=True)
    return 0


def _rebase_all(directory: str, *, yes: bool, dry_run: bool, as_json: bool) -> int:
    from vhdx.ops.mend import mend_all  # noqa: PLC0415  --help needs no library

    asks = not (yes or dry_run)

    def shown(planned: tuple[Mend, ...]) -> bool:
        for each in () if as_json else planned:
            click.echo(_line(each, " is to be"))
        if as_json or sys.stdin is None or not sys.stdin.isatty():
            raise click.UsageError("nobody can be asked here: say --yes to do it")
        return click.confirm("Do that?")

    with changing("; running it again goes on", dry_run=dry_run):
        done = mend_all(directory, dry_run=dry_run, confirm=shown if asks else lambda _: True)
    if as_json:
        print_json(done)
    else:
        for each in done.mended if not asks or not done.dry_run else ():
            click.echo(_line(each, " would be" if dry_run else " is"))
        for path in done.orphans:
            click.echo(f"vhdx: {printable(path)}: is left without a parent", err=True)
        if not done.mended and not done.orphans:
            click.echo(f"{printable(directory)}: no image looks in vain for its parent")
    return EXIT_DOUBTS if done.orphans else 0


def _line(each: Mend, verb: str) -> str:
    if each.problem is not None:
        return printable(f"{each.path}: not changed: {each.problem}")
    named = f", not {each.named}" if each.named else ""
    return printable(f"{each.path}: the parent{verb} {each.parent}{named}")
