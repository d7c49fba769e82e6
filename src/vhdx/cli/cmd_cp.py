"""``vhdx cp``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

import click

from vhdx.cli.guest_volumes import Told, selection
from vhdx.cli.guests import guest_options
from vhdx.cli.interrupted import changing
from vhdx.cli.options import (
    FILE,
    TARGET,
    json_option,
    sparse_option,
    warn_if_tracked,
)
from vhdx.cli.render import JsonLists, progress_bar

if TYPE_CHECKING:
    from typing import Unpack

    from vhdx.cli.guest_volumes import Chosen
    from vhdx.disk.opened import Disk
    from vhdx.files.resolve import Found
    from vhdx.ops.files.copy import Copier, CopyResult
    from vhdx.ops.files.insert import Inserted


class CopiedPlace(NamedTuple):
    """What was copied out of a place in an image, or into it; ``others`` are links, devices and the like."""

    path: str
    format: str
    virtual_size: int
    volume: str
    guest_path: str
    files: int
    directories: int
    others: int
    copied_size: int
    left_out: int


@click.command()
@click.argument("places", metavar="PLACE...", nargs=-1, required=True, type=FILE)
@click.argument("target", type=TARGET)
@click.option("-R", "-r", "--recursive", is_flag=True, help="Directories with all that is in them.")
@click.option(
    "--xattrs", is_flag=True, help="Extended attributes, access control lists and named streams, too."
)
@click.option("--devices", is_flag=True, help="Device nodes and FIFOs, too.")
@click.option("--owners/--no-owners", default=None, help="Keep owners; by default for root only.")
@click.option("--force", is_flag=True, help="Replace files that exist.")
@guest_options
@sparse_option
@json_option
def cp(
    places: tuple[str, ...],
    target: str,
    *,
    recursive: bool,
    xattrs: bool,
    devices: bool,
    owners: bool | None,
    force: bool,
    as_json: bool,
    **chosen: Unpack[Chosen],
) -> int:
    r"""Copy files out of an image, or files into one.

    Out: PLACE is IMAGE:PATH, TARGET a directory that exists, or a new name. Times, modes, symbolic and
    hard links and holes are kept. Nothing is written outside of TARGET, whatever names the guest has: what
    the host cannot have is escaped, which is told. What is damaged is told and left out; the exit code is
    1 then. Needs the extra vhdx[files].

    In: PLACE is a file, TARGET is IMAGE:PATH, on a FAT or exFAT that was unmounted cleanly. All of it is
    put in, or nothing where it does not fit. Power may fail meanwhile: what was there is there, a new name
    stands for its whole file or is not there.
    """
    from vhdx.ops.files.copy import Copier, CopyOptions  # noqa: PLC0415  --help needs no library
    from vhdx.ops.files.opening import opened, split  # noqa: PLC0415

    into = split(target)
    if into.path is not None and os.path.exists(into.image):
        if xattrs or devices or owners or any(split(place).path is not None for place in places):
            raise click.UsageError("into an image go files of the host, their times and contents only")
        lists = JsonLists("remarks") if as_json else None
        return _insert(places, into.image, into.path, lists, recursive=recursive, force=force, **chosen)
    is_directory = os.path.isdir(target)
    if len(places) > 1 and not is_directory:
        raise click.UsageError(f"several files go into a directory, and {target} is none")
    directory, name = (target, None) if is_directory else os.path.split(os.path.abspath(target))
    options = CopyOptions(_keeps_owners(owners), xattrs, devices, force)
    lists = JsonLists("remarks") if as_json else None
    told, copied = _told(lists), []
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
                done = copier.result
                copied.append(
                    _copied(volume.whole, volume.summary.name, place.path, done, others=done.others)
                )
    if lists:
        lists.finish(copied)
    return told.code


def _keeps_owners(wanted: bool | None) -> bool:
    if hasattr(os, "geteuid"):
        return os.geteuid() == 0 if wanted is None else wanted
    if wanted:
        raise click.UsageError("owners are numbers in guests, which Windows has not")
    return False


def _told(lists: JsonLists | None) -> Told:
    """Where remarks go: into the list that is printed while it grows, or to standard error."""
    return Told(lists.adder("remarks") if lists else None)


def _copied(disk: Disk, volume: str, path: str, done: CopyResult | Inserted, others: int = 0) -> CopiedPlace:
    counts = done.files, done.directories, others, done.bytes, done.left_out
    return CopiedPlace(disk.chain[0], disk.format, disk.size, volume, path, *counts)


def _insert(
    places: tuple[str, ...],
    image: str,
    path: str,
    lists: JsonLists | None,
    *,
    recursive: bool,
    force: bool,
    **chosen: Unpack[Chosen],
) -> int:
    from vhdx.disk.open import open_any  # noqa: PLC0415  --help needs no library
    from vhdx.ops.files.insert import InsertOptions, insert, refuse_orphans_of  # noqa: PLC0415

    if chosen["force_share"]:
        raise click.UsageError("--force-share is for reading")
    warn_if_tracked(image)
    told = _told(lists)
    options = InsertOptions(recursive, force, chosen["partition"], chosen["volume"])
    with (
        progress_bar("copying") as progress,
        changing(image=image, fate=_INTERRUPTED),
        open_any(image, mode="r+", parents=chosen["parents"]) as disk,
    ):
        refuse_orphans_of(image, disk)
        try:
            done = insert(disk, places, path, tell=told, options=options, progress=progress)
        except FileExistsError as error:
            raise FileExistsError(error.errno, error.strerror, f"{error.filename} in {image}") from error
        copied = _copied(disk, done.volume, path, done)
    if lists:
        lists.finish([copied])
    return told.code


_INTERRUPTED = (
    "what was there is there, each file that was copied is there whole or not at all; "
    "if the volume is told to be in use, run fsck on it"
)


def _copy(copier: Copier, found: Found, name: str | None, *, recursive: bool) -> None:
    from vhdx.ops.files.target import host_name  # noqa: PLC0415  --help needs no library

    if found.entry.is_directory and not recursive:
        raise click.UsageError(
            f"/{'/'.join(found.parts)} is a directory; -R copies it with all that is in it"
        )
    own = found.stream or found.entry.name
    copier.copy(found, name or (host_name(own) if own else None))
