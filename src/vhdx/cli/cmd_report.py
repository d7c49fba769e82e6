"""``vhdx report``."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import click

from vhdx.cli.interrupted import making
from vhdx.cli.options import (
    FILE,
    TARGET,
    chain_options,
    force_option,
    force_share_option,
    json_option,
)
from vhdx.cli.render import print_json
from vhdx.text import printable
from vhdx.units import format_size

if TYPE_CHECKING:
    from vhdx.disk.places import ParentPolicy


class ReportResult(NamedTuple):
    """What was made: the page, or the picture, in the file ``report``, of the image ``path``.

    ``format`` and ``virtual_size`` are None where the image cannot be opened.
    """

    path: str
    format: str | None
    virtual_size: int | None
    report: str
    file_size: int


@click.command()
@click.argument("image", type=FILE)
@click.option(
    "-o", "--output", "target", type=TARGET, required=True, help="The page, or with --png the picture."
)
@click.option("--png", is_flag=True, help="Only the map of the disk, as a picture.")
@force_option
@chain_options
@force_share_option
@json_option
def report(
    image: str,
    *,
    target: str,
    png: bool,
    force: bool,
    parents: ParentPolicy,
    force_share: bool,
    as_json: bool,
) -> None:
    """Draw what IMAGE is as one page of HTML that needs nothing else.

    Shows its identities, what check finds, partitions and file systems and how full they are, the disk as a
    map whose neighbours are neighbours on the disk, where the bytes of the file are, what each layer of a
    chain holds, the log, and what a compaction would give back. Of an image that cannot be opened it shows
    what can be told. Nothing of the image is changed. The page is small whatever the disk. It needs
    vhdx[report].
    """
    from vhdx.report.facts import facts_of  # noqa: PLC0415  --help needs no library
    from vhdx.report.page import page_of, picture_of  # noqa: PLC0415
    from vhdx.storage.publish import new_file  # noqa: PLC0415

    with making(target), new_file(target, overwrite=force) as file:
        facts = facts_of(image, parents=parents, lock=not force_share)
        made = picture_of(facts) if png else page_of(facts).encode()
        file.write_at(made, 0)
    if as_json:
        found = facts.info.value
        image_format, size = (None, None) if found is None else (found.format, found.virtual_size)
        print_json(ReportResult(image, image_format, size, target, len(made)))
    else:
        click.echo(f"{printable(target)}: {format_size(len(made))}")
