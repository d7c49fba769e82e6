"""``vhdx metadata``: list, get, set and delete user items."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from vhdx.cli.interrupted import changing, making
from vhdx.cli.options import (
    DISK_ID,
    FILE,
    TARGET,
    json_option,
    orphans_option,
    sparse_option,
    verbose_option,
)
from vhdx.cli.render import print_json, shown, standard
from vhdx.text import printable
from vhdx.units import MIB

if TYPE_CHECKING:
    from uuid import UUID

_image = click.argument("image", type=FILE)
_target = click.argument("image", type=TARGET)
_item = click.argument("item", type=DISK_ID, metavar="GUID")


@click.group()
def metadata() -> None:
    """What programs attach to an image under a GUID: its user items.

    At most 1024 of them, 1 MiB each and 40 MiB in all.
    """


@metadata.command("list")
@_image
@json_option
@verbose_option
def list_items(image: str, *, as_json: bool) -> None:
    """List the user items of IMAGE."""
    from vhdx.ops.metadata import item_list  # noqa: PLC0415  --help needs no library

    found = item_list(image)
    if as_json:
        print_json(found)
        return
    if not found.items:
        click.echo(f"vhdx: {printable(image)} has no user items", err=True)
    for item in found.items:
        flags = [
            word for word, is_set in (("disk", item.virtual_disk), ("required", item.required)) if is_set
        ]
        click.echo("  ".join([str(item.item_id), shown(item.length), *flags]))


@metadata.command("get")
@_image
@_item
@click.option("--output", type=TARGET, help="Write the value to this file, which must not exist.")
def get_item(image: str, item: UUID, *, output: str | None) -> None:
    """Write the value of the user item GUID of IMAGE to standard output."""
    from vhdx.ops.metadata import get_user_item  # noqa: PLC0415

    value = get_user_item(image, item)
    if output is None:
        from vhdx.storage.outgoing import WholeOutput  # noqa: PLC0415  --help needs no library

        printed = WholeOutput(standard(sys.stdout).buffer)
        printed.write(value)
        printed.flush()
    else:
        _write_new(output, value)


def _write_new(path: str, value: bytes) -> None:
    from vhdx.storage.publish import new_file  # noqa: PLC0415

    with making(path), new_file(path, overwrite=False) as file:
        file.write_at(value, 0)


@metadata.command("set")
@_target
@_item
@click.argument("source", type=FILE, default="-", metavar="[FILE]")
@click.option(
    "--disk/--file",
    "virtual_disk",
    default=None,
    help="Whether it follows the disk into copies and children, or stays with this file, as new ones do.",
)
@orphans_option
@sparse_option
def set_item(image: str, item: UUID, source: str, *, virtual_disk: bool | None, force: bool) -> None:
    """Give the user item GUID of IMAGE the contents of FILE.

    Without FILE those of standard input. An item that is not there is added.
    """
    from vhdx.ops.metadata import set_user_item  # noqa: PLC0415

    value = _value_from(source)
    with changing(image=image):
        changed = set_user_item(image, item, value, virtual_disk=virtual_disk, force=force)
    click.echo(f"{printable(image)}: item {item} has {len(value)} bytes{'' if changed else ' already'}")
    if changed:
        _warn()


def _value_from(source: str) -> bytes:
    """What an item is to have; a byte more than it may have is enough to be refused."""
    from vhdx.storage.filling import read_whole  # noqa: PLC0415  --help needs no library

    with standard(sys.stdin).buffer if source == "-" else open(source, "rb") as file:
        return bytes(read_whole(file, MIB + 1))


@metadata.command("delete")
@_target
@_item
@orphans_option
@sparse_option
def delete_item(image: str, item: UUID, *, force: bool) -> None:
    """Delete the user item GUID of IMAGE."""
    from vhdx.ops.metadata import delete_user_item  # noqa: PLC0415

    with changing(image=image):
        delete_user_item(image, item, force=force)
    click.echo(f"{printable(image)}: item {item} is deleted")
    _warn()


def _warn() -> None:
    from vhdx.ops.properties import NEW_IDENTITY  # noqa: PLC0415

    click.echo(f"vhdx: {NEW_IDENTITY}", err=True)
