"""``vhdx mount``."""

from __future__ import annotations

import contextlib
import errno
import os
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Protocol

import click

from vhdx.cli.interrupted import changing
from vhdx.cli.options import (
    FILE,
    RAW_IS_SAID,
    SECONDS,
    chain_options,
    chosen,
    commit_interval_option,
    force_share_option,
    format_option,
    json_option,
    orphans_option,
    partition_option,
    refuse_to_orphan,
    sparse_option,
    warn_if_tracked,
)
from vhdx.cli.render import json_text
from vhdx.errors import VhdxError
from vhdx.text import command, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vhdx.disk.formats import Format
    from vhdx.disk.open import Mode
    from vhdx.disk.opened import Disk
    from vhdx.disk.places import ParentPolicy
    from vhdx.mount.answering import Answering
    from vhdx.ops.files.opening import Selection

    class Make(Protocol):
        """Makes what is served."""

        def __call__(self, *, ready: Callable[[], None]) -> Answering: ...

    Made = tuple[Make, "MountResult"]
    Tell = Callable[[str], None]


class MountResult(NamedTuple):
    """A mount: the disk is in ``file``; with --files that is None, and the files of ``volume`` are there."""

    path: str
    format: str
    virtual_size: int
    partition: int | None
    directory: str
    file: str | None
    volume: str | None
    read_only: bool


class Writing(NamedTuple):
    """How a disk is written to: commits every so many seconds, whether children matter, what was said."""

    commit_interval: float
    force: bool
    is_format_said: bool


@click.command()
@click.argument("image", type=FILE)
@click.argument("directory", type=FILE)
@click.option("--write", is_flag=True, help="Let the disk be written to; without it nothing is changed.")
@click.option(
    "--files", is_flag=True, help="Show the files of the guest instead of the disk; only to be read."
)
@click.option("--foreground", is_flag=True, help="Stay until it is unmounted, or until Ctrl-C.")
@commit_interval_option
@click.option(
    "--timeout", type=SECONDS, metavar="SECONDS", help="Unmount if nobody has opened the file until then."
)
@format_option
@partition_option
@click.option("--volume", metavar="NAME", help="With --files: the volume of this label, UUID or name.")
@orphans_option
@chain_options
@force_share_option
@sparse_option
@json_option
def mount(
    image: str,
    directory: str,
    *,
    write: bool,
    files: bool,
    foreground: bool,
    commit_interval: float,
    timeout: float | None,
    image_format: Format | None,
    partition: int | None,
    volume: str | None,
    force: bool,
    parents: ParentPolicy,
    force_share: bool,
    as_json: bool,
) -> int:
    """Show the disk in IMAGE as a file in DIRECTORY.

    The file is disk.raw, and DIRECTORY must be empty. Everything that works on raw disks works on that
    file: mount -o loop, fdisk, debugfs, mtools. Holes that are punched in it, by fstrim for one, give
    their space back. `vhdx unmount DIRECTORY` ends it and waits until the image is closed. Needs FUSE and
    the extra vhdx[mount].

    With --files the files of the guest are in DIRECTORY instead, only to be read. Needs the extra
    vhdx[files], too.
    """
    if os.name == "nt":
        served, converted = command("serve {}", image), command("convert {} disk.raw", image)
        raise OSError(
            errno.ENOTSUP,
            f"Windows has no FUSE; {served} shows the disk to NBD clients, {converted} makes a file of it",
        )
    from vhdx.disk.open import open_any  # noqa: PLC0415
    from vhdx.mount import background, fuse  # noqa: PLC0415  --help needs no library
    from vhdx.ops.files.opening import Selection  # noqa: PLC0415

    if write and (force_share or files):
        raise click.UsageError(f"{'--files' if files else '--force-share'} is for reading")
    if volume is not None and not files:
        raise click.UsageError("--volume says whose files: it goes with --files")
    fuse.check_directory(directory)
    place = os.path.abspath(directory)
    say: Tell = click.echo
    tell = _complain
    if not foreground:
        side = background.split()
        if isinstance(side, background.Parent):
            if side.said is not None:
                click.echo(side.said)
            return side.code
        say, tell = side.ready, background.tell_system_log
    try:
        opening = partial(open_any, image, image_format=image_format, parents=parents, lock=not force_share)
        if files:
            made = _files(opening, place, Selection(partition, volume, parents, not force_share), tell)
        else:
            writing = Writing(commit_interval, force, image_format is not None) if write else None
            made = _disk(image, opening, place, partition=partition, tell=tell, writing=writing)
        with made as (make, mounted):
            said = json_text(mounted) if as_json else _text(image, mounted)
            fuse.serve(
                make,
                place,
                source=fuse.source_name(_place_of(image)),
                ready=partial(say, said),
                shared=force_share,
                timeout=timeout,
            )
    except (VhdxError, OSError) as error:
        if not foreground:  # nobody may be there any more who sees standard error
            tell(str(error))
        raise
    return 0


def _text(image: str, mounted: MountResult) -> str:
    return f"{printable(image)}: mounted as {printable(mounted.file or mounted.directory)}"


def _place_of(image: str) -> str:
    """Where an image is, wherever one stands: everybody may see the list of mounts, so without secrets."""
    from vhdx.storage.elsewhere import without_secrets  # noqa: PLC0415  --help needs no library
    from vhdx.storage.stream import is_url  # noqa: PLC0415

    return without_secrets(image) if is_url(image) else os.path.abspath(image)


@contextlib.contextmanager
def _files(opening: Callable[..., Disk], place: str, selection: Selection, tell: Tell) -> Iterator[Made]:
    """What makes the directory of a guest's files at a place, while the image is open."""
    from vhdx.files.volume import chosen as chosen_volume  # noqa: PLC0415
    from vhdx.mount.files import FilesDirectory  # noqa: PLC0415

    with opening() as disk:
        volume = chosen_volume(disk, partition=selection.partition, volume=selection.volume, tell=tell)
        found = volume.summary
        make = partial(
            FilesDirectory,
            volume.tree,
            size=found.size,
            free=found.free or 0,
            tell=tell,
            shared=not selection.lock,
        )
        who = disk.chain[0], disk.format, disk.size
        yield make, MountResult(*who, selection.partition, place, None, found.name, read_only=True)


@contextlib.contextmanager
def _disk(
    image: str,
    opening: Callable[..., Disk],
    place: str,
    *,
    partition: int | None,
    tell: Tell,
    writing: Writing | None,
) -> Iterator[Made]:
    """What makes the directory of a disk at a place, while the image is open."""
    from vhdx.mount.directory import FILE_NAME, DiskDirectory  # noqa: PLC0415

    mode: Mode = "r" if writing is None else "r+"
    with opening(mode=mode, commit_interval=0 if writing is None else writing.commit_interval) as disk:
        part = chosen(disk, partition)
        if writing is not None:
            _prepare(image, disk, writing)
        who, file = (disk.chain[0], disk.format, disk.size), os.path.join(place, FILE_NAME)
        shown = MountResult(*who, partition, place, file, None, part.read_only)
        yield partial(DiskDirectory, part, tell=tell), shown


def _prepare(image: str, disk: Disk, writing: Writing) -> None:
    """Refuse what may not be written to, and replay a dirty log as Windows does.

    One that is dirty later tells that closing failed.
    """
    from vhdx.disk.chain import VhdxDisk  # noqa: PLC0415

    if disk.format == "raw" and not writing.is_format_said:
        raise click.UsageError(RAW_IS_SAID.format(image))
    warn_if_tracked(image)
    if isinstance(disk, VhdxDisk):
        refuse_to_orphan(image, disk, force=writing.force)
        with changing(image=image):
            disk.replay()


def _complain(sentence: str) -> None:
    click.echo(f"vhdx: {printable(sentence)}", err=True)
