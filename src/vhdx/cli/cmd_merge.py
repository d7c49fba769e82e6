"""``vhdx merge``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from vhdx.cli.costs import Stopwatch
from vhdx.cli.interrupted import changing
from vhdx.cli.options import (
    TARGET,
    chain_options,
    clone_option,
    json_option,
    sparse_option,
    verbose_option,
    warn_if_tracked,
)
from vhdx.cli.render import print_json, progress_bar, shown
from vhdx.text import printable

if TYPE_CHECKING:
    from vhdx.disk.places import ParentPolicy
    from vhdx.ops.merge import MergeResult
    from vhdx.storage.sharing import Clone

_SHARED = (
    "shares its space with what was merged, until that is deleted: the host's disk may become full when "
    "either is written to"
)


@click.command()
@click.argument("child", type=TARGET)
@click.option("--into", type=TARGET, help="Merge all layers down to this ancestor, the lowest first.")
@click.option(
    "--child", "children", multiple=True, type=TARGET, help="An image over CHILD to relink. Repeatable."
)
@click.option("--delete-child", is_flag=True, help="Remove CHILD, and layers between, once all is durable.")
@click.option("--shrink", is_flag=True, help="Also cut data that a layer under CHILD has behind its end.")
@click.option("--force", is_flag=True, help="Also where other images lose their parent.")
@chain_options
@json_option
@verbose_option
@sparse_option
@clone_option
def merge(
    child: str,
    *,
    into: str | None,
    children: tuple[str, ...],
    delete_child: bool,
    shrink: bool,
    force: bool,
    parents: ParentPolicy,
    clone: Clone,
    as_json: bool,
) -> None:
    """Fold the differencing image CHILD into its parent, in place.

    The parent then reads as CHILD did and has its size: without --shrink nothing but zeros is cut. The
    chain opens at every instant, and a merge that was interrupted is completed by running it again. CHILD
    stays, and reads as before, unless it is to be deleted. Images beside CHILD or its parent that would
    lose their parent refuse the job. To leave the chain alone, use vhdx convert.
    """
    from vhdx.ops.merge import merge as merge_image  # noqa: PLC0415  --help needs no library

    stopwatch = Stopwatch()
    with changing("; running it again completes it"), progress_bar("merging") as progress:
        done = merge_image(
            child,
            into=into,
            children=children,
            delete_child=delete_child,
            shrink=shrink,
            force=force,
            parents=parents,
            clone=clone,
            progress=progress,
        )
    warn_if_tracked(done.path)
    if as_json:
        print_json(done)
    else:
        _print_text(child, done, stopwatch)


def _print_text(child: str, done: MergeResult, stopwatch: Stopwatch) -> None:
    from vhdx.ops.make.child import NOT_FOUND_BY_DEFAULT  # noqa: PLC0415  --help needs no library

    click.echo(
        f"{printable(done.path)}: has everything of {printable(child)} now: "
        f"{shown(done.copied_size)} of data and {shown(done.zeroed_size)} of zeros were merged"
        + stopwatch.told()
    )
    if done.cut_size:
        click.echo(f"{printable(done.path)}: its disk is {shown(done.cut_size)} smaller now")
    if done.shares_space:
        click.echo(f"vhdx: {printable(done.path)}: {_SHARED}", err=True)
    for path in done.relinked:
        click.echo(f"{printable(path)}: its parent is {printable(done.path)} now")
    for path in done.not_found_by_default:
        click.echo(f"vhdx: {printable(path)}: {NOT_FOUND_BY_DEFAULT}", err=True)
    for path in done.merged:
        click.echo(f"{printable(path)}: {_fate(done)}")


def _fate(done: MergeResult) -> str:
    if done.deleted:
        return "deleted"
    if done.still_needed:
        return f"needed by {', '.join(map(printable, done.still_needed))}"
    return "is not needed any more, as far as the images beside it tell"
