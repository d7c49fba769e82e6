"""``vhdx compact``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from vhdx.cli.costs import Stopwatch, change
from vhdx.cli.free_text import volume_lines
from vhdx.cli.interrupted import changing
from vhdx.cli.options import (
    TARGET,
    chain_options,
    clone_option,
    free_options,
    json_option,
    sparse_option,
    verbose_option,
)
from vhdx.cli.render import is_verbose, print_json, print_rows, progress_bar, shown
from vhdx.text import command, printable

if TYPE_CHECKING:
    from vhdx.disk.free_space import VolumeSelection
    from vhdx.disk.places import ParentPolicy
    from vhdx.ops.compact import CompactResult
    from vhdx.storage.sharing import Clone

_HARDLY = 0.99
"""What share of its length a file has to have kept for the reason to be told."""


@click.command()
@click.argument("image", type=TARGET)
@free_options("--discard-free", "Also give back what its file systems call free.")
@click.option("--scan-zeros", is_flag=True, help="Also give back what holds zeros or equals the parent.")
@click.option("--punch", is_flag=True, help="Make holes where blocks that stay are zeros, or free.")
@click.option(
    "--accept-data-loss", is_flag=True, help="Also give back what may be blocks that the table has lost."
)
@click.option("--dry-run", is_flag=True, help="Change nothing; say what it would gain.")
@chain_options
@json_option
@verbose_option
@sparse_option
@clone_option
def compact(
    image: str,
    *,
    volumes: VolumeSelection | None,
    scan_zeros: bool,
    punch: bool,
    accept_data_loss: bool,
    dry_run: bool,
    parents: ParentPolicy,
    clone: Clone,
    as_json: bool,
) -> None:
    """Make the file of IMAGE as small as its contents need.

    Gives back space that was trimmed or zeroed or that nobody owns, moves the last blocks into the gaps and
    cuts the file. No read tells the difference, and children still know the image. It may be interrupted at
    any instant and run again. Fixed images keep their size; --punch gives the host back what is zeros in
    them. Parents are needed for --scan-zeros and --discard-free only.

    What may be blocks that the table has lost is not given back without --accept-data-loss.

    With --discard-free the space of deleted files goes, too: what the file systems on the disk (ext2/3/4,
    NTFS, FAT, exFAT, XFS, btrfs, LVM2) call free, once all that they keep of it was read and agrees. Files
    stay as they are; nothing can be undeleted any more. Whole blocks go; with --punch also parts of blocks,
    as holes of the file. An image that others have for their parent is refused.
    """
    from vhdx.ops.compact import compact as compact_image  # noqa: PLC0415  --help needs no library

    stopwatch = Stopwatch()
    with changing("; running it again goes on", dry_run=dry_run), progress_bar("compacting") as progress:
        done = compact_image(
            image,
            scan_zeros=scan_zeros,
            punch=punch,
            accept_data_loss=accept_data_loss,
            dry_run=dry_run,
            discard_free=volumes is not None,
            volumes=volumes,
            parents=parents,
            clone=clone,
            progress=progress,
        )
    if as_json:
        print_json(done)
        return
    for line in volume_lines(done.volumes) if volumes is not None else ():
        click.echo(printable(line))
    if is_verbose():
        print_rows(_rows(done), indent="  ")
    click.echo(f"{printable(image)}: {_closing(done, stopwatch)}")
    _print_hints(image, done)
    if _gained_nothing(done) and done.still_free_size is None and done.disk_type != "fixed":
        _print_why(scan_zeros=scan_zeros, discard_free=volumes is not None, punch=punch)
    if done.disk_type == "fixed" and not punch:
        click.echo(
            "vhdx: a fixed image keeps its blocks; --punch gives the host back what is zeros", err=True
        )


def _closing(done: CompactResult, stopwatch: Stopwatch) -> str:
    parts = [change(done.file_size_before, done.file_size_after) + stopwatch.told()]
    before, after = done.host_size_before, done.host_size_after
    if done.punched_size and before is not None and after is not None:
        parts.append(f"on the host {change(before, after)}")
    if done.freed_blocks:
        parts.append(f"{done.freed_blocks} block{'s' if done.freed_blocks > 1 else ''} given back")
    if done.moved_size:
        parts.append(f"{shown(done.moved_size)} moved")
    if done.punched_size and after is None:
        parts.append(f"{shown(done.punched_size)} made holes")
    if done.unexplained_size:
        parts.append(f"{shown(done.unexplained_size)} that nobody owned given back")
    if done.dry_run:
        parts.append("nothing was changed, this is what would be")
    return "; ".join(parts)


def _gained_nothing(done: CompactResult) -> bool:
    """Whether the file is hardly shorter, and has no new holes either."""
    return done.file_size_after >= _HARDLY * done.file_size_before and not done.punched_size


def _print_why(*, scan_zeros: bool, discard_free: bool, punch: bool) -> None:
    """Say why hardly anything was gained, and what has not been tried."""
    untried = (
        (discard_free, "--discard-free gives back what deleted files left"),
        (scan_zeros, "--scan-zeros finds blocks of zeros"),
        (punch, "--punch makes holes inside of blocks"),
    )
    sentences = ", ".join(sentence for was_tried, sentence in untried if not was_tried)
    click.echo("; ".join(filter(None, ("vhdx: every block of the file is in use", sentences))), err=True)


def _print_hints(image: str, done: CompactResult) -> None:
    """What else could be done, where that is known."""
    if done.still_free_size is not None:
        size = shown(done.still_free_size)
        click.echo(
            f"vhdx: at least {size} of what is stored is free by its file systems; to give whole blocks of "
            "it back, with --punch parts, too: " + command("compact --discard-free {}", image),
            err=True,
        )
    if done.converted_size is not None:
        click.echo(
            f"vhdx: a copy with smaller blocks would have at most {shown(done.converted_size)}: "
            + command("convert --discard-free --block-size 1M {} small.vhdx", image),
            err=True,
        )


def _rows(done: CompactResult) -> list[tuple[str, str]]:
    rows = [
        ("file before", shown(done.file_size_before)),
        ("file after", shown(done.file_size_after)),
        ("blocks given back", str(done.freed_blocks)),
        ("moved", f"{done.moved_blocks} blocks, {shown(done.moved_size)}"),
        ("holes made", shown(done.punched_size)),
    ]
    if done.unexplained_size:
        rows.append(("of nobody, not zeros", shown(done.unexplained_size)))
    if done.host_size_before is not None and done.host_size_after is not None:
        host = f"{shown(done.host_size_before)}, now {shown(done.host_size_after)}"
        rows.append(("space on the host", host))
    return rows
