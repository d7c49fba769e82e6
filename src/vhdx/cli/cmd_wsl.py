"""``vhdx wsl``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from vhdx.cli.options import json_option, verbose_option
from vhdx.cli.render import print_json, print_rows, shown
from vhdx.text import printable

if TYPE_CHECKING:
    from vhdx.ops.wsl import LinuxDisk


@click.command()
@json_option
@verbose_option
def wsl(*, as_json: bool) -> None:
    """List the disks of WSL and of Docker Desktop.

    With the size of each file, what is in use in it, and what `vhdx compact` would give back. On Windows and
    inside WSL every verb takes wsl:NAME for a distribution's disk, wsl: for the default one's, docker: for
    Docker's.
    """
    from vhdx.ops.wsl import linux_disks  # noqa: PLC0415  --help needs no library

    disks = linux_disks()
    if as_json:
        print_json(disks)
        return
    for disk in disks.disks:
        click.echo(printable(disk.name) + (" (default)" if disk.is_default else ""))
        print_rows(_rows(disk), indent="  ")
    if not disks.disks:
        click.echo("vhdx: WSL has no distribution here, and Docker Desktop no disk", err=True)


def _rows(disk: LinuxDisk) -> list[tuple[str, str]]:
    rows = [("image", printable(disk.path))]
    if disk.file_size is not None:
        rows.append(("file", shown(disk.file_size)))
    if disk.used_size is not None:
        rows.append(("in use", shown(disk.used_size)))
    if disk.file_size is not None and disk.compacted_size is not None:
        rows.append(("compact gives back", shown(disk.file_size - disk.compacted_size)))
    if disk.file_size is not None and disk.discarded_size is not None:
        rows.append(("with --discard-free", shown(disk.file_size - disk.discarded_size)))
    if disk.problem is not None:
        rows.append(("not known", printable(disk.problem)))
    return rows
