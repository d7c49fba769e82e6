"""``vhdx apply``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from vhdx.cli.costs import Stopwatch
from vhdx.cli.interrupted import changing
from vhdx.cli.options import (
    FILE,
    TARGET,
    chain_options,
    json_option,
    sparse_option,
    verbose_option,
)
from vhdx.cli.render import print_json, progress_bar, shown, standard
from vhdx.text import printable

if TYPE_CHECKING:
    from vhdx.disk.places import ParentPolicy
    from vhdx.ops.apply import ApplyResult


@click.command()
@click.argument("target", type=TARGET)
@click.argument("increment", type=FILE, default="-")
@click.option("--shrink", is_flag=True, help="Also cut data that TARGET has behind the increment's end.")
@click.option("--force", is_flag=True, help="Also where other images lose their parent.")
@sparse_option
@chain_options
@json_option
@verbose_option
def apply(
    target: str,
    increment: str,
    *,
    shrink: bool,
    force: bool,
    parents: ParentPolicy,
    as_json: bool,
) -> None:
    """Merge an increment from a pipe or file into TARGET.

    INCREMENT is a differencing VHDX over TARGET, by default from standard input, as `vhdx diff --export -`
    writes it. It is first kept in a file beside TARGET, whole, and must belong to it: TARGET is a copy of the
    image that it was made over, and nobody wrote to that since. TARGET then has the contents and the identity
    of the image that was exported, so that its next increment belongs, too. What was interrupted is completed
    by the next vhdx apply; until then TARGET.applying.avhdx is what reads right.
    """
    from vhdx.ops.apply import apply_increment  # noqa: PLC0415  --help needs no library

    stopwatch = Stopwatch()
    source = increment if increment != "-" else standard(sys.stdin).buffer
    if increment == "-" and standard(sys.stdin).isatty():
        raise click.UsageError("an increment comes through a pipe, not from a terminal: name a file, or |")

    def told(kept: str) -> None:
        click.echo(printable(f"vhdx: what comes is kept in {kept} until it is merged"), err=True)

    with changing("; the next vhdx apply completes it"), progress_bar("merging") as progress:
        done = apply_increment(
            target,
            source,
            shrink=shrink,
            force=force,
            parents=parents,
            on_kept=told,
            progress=progress,
        )
    if as_json:
        print_json(done)
    else:
        _print_text(done, stopwatch)


def _print_text(done: ApplyResult, stopwatch: Stopwatch) -> None:
    if done.completed:
        click.echo(f"{printable(done.path)}: an increment that had been interrupted was completed first")
    if not done.applied:
        click.echo(f"{printable(done.path)}: has this increment already")
        return
    click.echo(
        f"{printable(done.path)}: {shown(done.received_size)} came; {shown(done.copied_size)} of data and "
        f"{shown(done.zeroed_size)} of zeros were merged" + stopwatch.told()
    )
