"""``vhdx repair``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from vhdx.cli.interrupted import changing
from vhdx.cli.options import TARGET, json_option, known_options, sparse_option, verbose_option
from vhdx.cli.render import print_json, progress_bar, shown
from vhdx.cli.show_check import EXIT_ERRORS, EXIT_WARNINGS, print_hints, print_result
from vhdx.text import command, printable, shell_word

if TYPE_CHECKING:
    from vhdx.ops.repair import RepairResult

EXIT_NOTHING_DONE = 1
_IN_PART = "what was under way is done in part or not at all, and the image is no worse than it was"
_NOT_YET = "the image may be neither as it was nor as the repair left it"


@click.command()
@click.argument("image", type=TARGET)
@click.option("--dry-run", is_flag=True, help="Say what would be done, and change nothing.")
@click.option(
    "--backup",
    type=TARGET,
    metavar="FILE",
    help="Save the bytes that will be changed in a new FILE first.",
)
@click.option(
    "--undo", type=TARGET, metavar="FILE", help="Bring back what --backup saved, and do nothing else."
)
@click.option(
    "--accept-data-loss",
    is_flag=True,
    help="Also repair what costs contents that are lost or in doubt anyway.",
)
@click.option(
    "--rebuild",
    is_flag=True,
    help="Search for log, metadata and BAT if both headers or both region tables are gone.",
)
@known_options
@json_option
@verbose_option
@sparse_option
def repair(
    image: str,
    *,
    dry_run: bool,
    backup: str | None,
    undo: str | None,
    accept_data_loss: bool,
    rebuild: bool,
    as_json: bool,
    **known: Any,
) -> int:
    """Repair IMAGE where nothing has to be guessed.

    Replays the log, puts right damaged copies, reserved bits, needless offsets, and cuts a leaked tail. What
    a read of the disk returns stays as it is, unless --accept-data-loss is given; the ranges of the disk
    that are concerned are told first. Parents are not looked for. Exit codes: 0 clean afterwards, 3 warnings
    left, 2 errors left, 1 nothing could be done.
    """
    from vhdx.known import KnownDisk  # noqa: PLC0415  --help needs no library
    from vhdx.ops.repair import repair as repair_image  # noqa: PLC0415  --help needs no library

    if undo is not None:
        alone = not (dry_run or backup or accept_data_loss or rebuild)
        return _undo(image, undo, alone=alone, as_json=as_json)
    had_backup = backup is not None and os.path.lexists(backup)
    with (
        changing(lambda: _advice(None if had_backup else backup), fate=_IN_PART, dry_run=dry_run),
        progress_bar("checking") as progress,
    ):
        result = repair_image(
            image,
            dry_run=dry_run,
            backup=backup,
            accept_data_loss=accept_data_loss,
            rebuild=rebuild,
            known=KnownDisk(**known),
            progress=progress,
        )
    if as_json:
        print_json(result)
    else:
        _print(result)
    return exit_code(result)


def _advice(backup: str | None) -> str:
    """What to do after Ctrl-C. A backup that is there may be needed: it is not written again."""
    if backup is None or not os.path.lexists(backup):
        return "; run it again"
    return f"; --undo {shell_word(backup)} brings back what was, or run it again with another --backup"


def _undo(image: str, backup: str, *, alone: bool, as_json: bool) -> int:
    from vhdx.ops.repair import undo_repair  # noqa: PLC0415  --help needs no library

    if not alone:
        raise click.UsageError("--undo brings back what was; it goes with no other option")
    again = command("repair --undo {} {}", backup, image)
    with changing(f"; run {again} again before anything else", fate=_NOT_YET):
        restored = undo_repair(image, backup)
    if as_json:
        print_json(restored)
    else:
        size = shown(restored.restored_size)
        click.echo(f"{printable(image)}: as it was before the repair; {size} were brought back")
    return 0


def exit_code(result: RepairResult) -> int:
    """The exit code that a result stands for."""
    if result.refused is not None:
        return EXIT_NOTHING_DONE
    if result.left.errors:
        return EXIT_ERRORS
    return EXIT_WARNINGS if result.left.warnings else 0


def _print(result: RepairResult) -> None:
    path = printable(result.path)
    for concerned in result.concerned:
        end = concerned.offset + concerned.length
        click.echo(f"{path}: concerned: bytes {concerned.offset} to {end} of the disk: {concerned.reason}")
    if result.concerned:
        click.echo(f"{path}: concerned are {shown(result.concerned_size)} of the disk in all")
    would = "would be done: " if result.dry_run else ""
    for sentence in result.done:
        click.echo(f"{path}: {would}{printable(sentence)}")
    if result.refused is not None:
        click.echo(f"{path}: nothing was done: {result.refused}")
    elif not result.done:
        click.echo(f"{path}: nothing to repair")
    if result.done:
        click.echo(f"{path}: afterwards:")
    print_result(result.left, notes=False)
    if result.done and not result.dry_run:
        print_hints(result.left)
