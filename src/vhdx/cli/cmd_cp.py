"""``vhdx cp``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from vhdx.cli.guests import Told, guest_options, selection
from vhdx.cli.interrupted import changing
from vhdx.cli.options import FILE, TARGET
from vhdx.cli.render import progress_bar

if TYPE_CHECKING:
    from typing import Unpack

    from vhdx.cli.guests import Chosen
    from vhdx.files.resolve import Found
    from vhdx.ops.files.copy import Copier


@click.command()
@click.argument("places", metavar="IMAGE:PATH...", nargs=-1, required=True, type=FILE)
@click.argument("target", type=TARGET)
@click.option("-R", "-r", "--recursive", is_flag=True, help="Directories with all that is in them.")
@click.option(
    "--xattrs", is_flag=True, help="Extended attributes, access control lists and named streams, too."
)
@click.option("--devices", is_flag=True, help="Device nodes and FIFOs, too.")
@click.option("--owners/--no-owners", default=None, help="Keep owners; by default for root only.")
@click.option("--force", is_flag=True, help="Replace files that exist.")
@guest_options
def cp(
    places: tuple[str, ...],
    target: str,
    *,
    recursive: bool,
    xattrs: bool,
    devices: bool,
    owners: bool | None,
    force: bool,
    **chosen: Unpack[Chosen],
) -> int:
    r"""Copy files of the guest in IMAGE to TARGET.

    TARGET is a directory that exists, or a new name. Times, modes, symbolic and hard links and holes are
    kept. Nothing is written outside of TARGET, whatever names the guest has: what the host cannot have is
    escaped, which is told. What is damaged is told and left out; the exit code is 1 then. Needs the extra
    vhdx[files].
    """
    from vhdx.ops.files.copy import Copier, CopyOptions  # noqa: PLC0415  --help needs no library
    from vhdx.ops.files.opening import opened, split  # noqa: PLC0415

    is_directory = os.path.isdir(target)
    if len(places) > 1 and not is_directory:
        raise click.UsageError(f"several files go into a directory, and {target} is none")
    directory, name = (target, None) if is_directory else os.path.split(os.path.abspath(target))
    options = CopyOptions(os.geteuid() == 0 if owners is None else owners, xattrs, devices, force)
    told = Told()
    with progress_bar("copying") as progress:
        for argument in places:
            place = split(argument)
            if place.path is None:
                raise click.UsageError(f"{argument} names no file in an image: IMAGE:PATH")
            with (
                opened(place.image, place.path, told, selection(**chosen)) as volume,
                Copier(volume, directory, options, progress) as copier,
            ):
                found = volume.find(place.path, follow=not recursive)
                with changing(fate="files that were copied stay, the one under way is taken away"):
                    _copy(copier, found, name, recursive=recursive)
    return told.code


def _copy(copier: Copier, found: Found, name: str | None, *, recursive: bool) -> None:
    from vhdx.ops.files.names import host_name  # noqa: PLC0415  --help needs no library

    if found.entry.is_directory and not recursive:
        raise click.UsageError(
            f"/{'/'.join(found.parts)} is a directory; -R copies it with all that is in it"
        )
    own = found.stream or found.entry.name
    copier.copy(found, name or (host_name(own) if own else None))
