"""``vhdx compact``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from vhdx.cli.interrupted import changing
from vhdx.cli.options import TARGET, chain_options, json_option, parent_policy
from vhdx.cli.render import print_json, print_rows, progress_bar
from vhdx.text import printable
from vhdx.units import size_text

if TYPE_CHECKING:
    from vhdx.ops.compact import CompactResult


@click.command()
@click.argument("image", type=TARGET)
@click.option("--scan-zeros", is_flag=True, help="Also give back what holds zeros or equals the parent.")
@click.option("--punch", is_flag=True, help="Make holes in the file where blocks that stay are zeros.")
@click.option(
    "--accept-data-loss", is_flag=True, help="Also give back what may be blocks that the table has lost."
)
@click.option("--dry-run", is_flag=True, help="Change nothing; say what it would gain.")
@chain_options
@json_option
def compact(
    image: str,
    *,
    scan_zeros: bool,
    punch: bool,
    accept_data_loss: bool,
    dry_run: bool,
    parent_dirs: tuple[str, ...],
    any_parent: bool,
    as_json: bool,
) -> None:
    """Make the file of IMAGE as small as its contents need.

    Gives back space that was trimmed or zeroed or that nobody owns, moves the last blocks into the gaps and
    cuts the file. No read tells the difference, and children still know the image. It may be interrupted at
    any instant and run again. Fixed images keep their size; --punch gives the host back what is zeros in
    them. Parents are needed for --scan-zeros only. What may be blocks that the table has lost is not given
    back without --accept-data-loss.
    """
    from vhdx.ops.compact import compact as compact_image  # noqa: PLC0415  --help needs no library

    policy = parent_policy(parent_dirs, any_parent=any_parent)
    with changing("; running it again goes on", dry_run=dry_run), progress_bar("compacting") as progress:
        done = compact_image(
            image,
            scan_zeros=scan_zeros,
            punch=punch,
            accept_data_loss=accept_data_loss,
            dry_run=dry_run,
            parents=policy,
            progress=progress,
        )
    if as_json:
        print_json(done)
        return
    click.echo(printable(image) + (": nothing was changed, this is what would be" if dry_run else ""))
    print_rows(_rows(done), indent="  ")
    if done.disk_type == "fixed" and not punch:
        click.echo(
            "vhdx: a fixed image keeps its blocks; --punch gives the host back what is zeros", err=True
        )


def _rows(done: CompactResult) -> list[tuple[str, str]]:
    rows = [
        ("file before", size_text(done.file_size_before)),
        ("file after", size_text(done.file_size_after)),
        ("blocks given back", str(done.freed_blocks)),
        ("moved", f"{done.moved_blocks} blocks, {size_text(done.moved_size)}"),
        ("holes made", size_text(done.punched_size)),
    ]
    if done.unexplained_size:
        rows.append(("of nobody, not zeros", size_text(done.unexplained_size)))
    if done.host_size_before is not None and done.host_size_after is not None:
        host = f"{size_text(done.host_size_before)}, now {size_text(done.host_size_after)}"
        rows.append(("space on the host", host))
    return rows
