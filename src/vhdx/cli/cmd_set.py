"""``vhdx set``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import click

from vhdx.cli.interrupted import changing
from vhdx.cli.options import (
    DISK_ID,
    SECTOR_SIZE,
    TARGET,
    json_option,
    orphans_option,
    sparse_option,
    verbose_option,
)
from vhdx.cli.render import print_json, progress_bar, shown
from vhdx.text import printable

if TYPE_CHECKING:
    from uuid import UUID


class NewOrDiskId(click.ParamType["UUID | str"]):
    """A GUID, or a random one."""

    name = "uuid"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> UUID | str:
        return value if value == "new" else DISK_ID.convert(value, param, ctx)


@click.command("set")
@click.argument("image", type=TARGET)
@click.option("--disk-id", type=NewOrDiskId(), metavar="new|UUID", help="The identity that a guest sees.")
@click.option("--physical-sector-size", type=SECTOR_SIZE, metavar="N", help="512 or 4096.")
@click.option("--type", "disk_type", type=click.Choice(["fixed", "dynamic"]), help="Not of a child.")
@orphans_option
@json_option
@verbose_option
@sparse_option
def set(  # noqa: A001  the verb's name
    image: str,
    *,
    disk_id: UUID | str | None,
    physical_sector_size: int | None,
    disk_type: Literal["fixed", "dynamic"] | None,
    force: bool,
    as_json: bool,
) -> None:
    """Change what IMAGE says of its disk, in place.

    "--type fixed" gives every block space, "--type dynamic" gives blocks of zeros back; contents stay. With
    another disk id or physical sector size the image is another one to its children, which then have to be
    rebased: with children beside it that takes --force.
    """
    from vhdx.ops.properties import NEW_IDENTITY, set_properties  # noqa: PLC0415  --help needs no library

    if disk_id is None and physical_sector_size is None and disk_type is None:
        raise click.UsageError("say what is to be set: --disk-id, --physical-sector-size or --type")
    with changing(image=image), progress_bar("changing") as progress:
        done = set_properties(
            image,
            disk_id=disk_id,
            physical_sector_size=physical_sector_size,
            disk_type=disk_type,
            force=force,
            progress=progress,
        )
    if as_json:
        print_json(done)
    else:
        click.echo(
            f"{printable(image)}: {done.disk_type}, {done.physical_sector_size} bytes in a physical sector, "
            f"disk id {done.disk_id}; the file has {shown(done.file_size_after)}"
            + ("" if done.changed else "; nothing changed")
        )
    for remark in (*done.remarks, *((NEW_IDENTITY,) if done.new_identity else ())):
        click.echo(f"vhdx: {remark}", err=True)
