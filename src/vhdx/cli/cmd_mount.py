"""``vhdx mount``."""

from __future__ import annotations

import errno
import os
from functools import partial
from typing import TYPE_CHECKING

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
    orphans_option,
    parent_policy,
    partition_option,
    refuse_to_orphan,
)
from vhdx.errors import VhdxError
from vhdx.text import command, printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from vhdx.disk.open import Format, Mode


@click.command()
@click.argument("image", type=FILE)
@click.argument("directory", type=FILE)
@click.option("--write", is_flag=True, help="Let the disk be written to; without it nothing is changed.")
@click.option("--foreground", is_flag=True, help="Stay until it is unmounted, or until Ctrl-C.")
@commit_interval_option
@click.option(
    "--timeout", type=SECONDS, metavar="SECONDS", help="Unmount if nobody has opened the file until then."
)
@format_option
@partition_option
@orphans_option
@chain_options
@force_share_option
def mount(
    image: str,
    directory: str,
    *,
    write: bool,
    foreground: bool,
    commit_interval: float,
    timeout: float | None,
    image_format: Format | None,
    partition: int | None,
    force: bool,
    parent_dirs: tuple[str, ...],
    any_parent: bool,
    force_share: bool,
) -> int:
    """Show the disk in IMAGE as a file in DIRECTORY.

    The file is disk.raw, and DIRECTORY must be empty. Everything that works on raw disks works on that
    file: mount -o loop, fdisk, debugfs, mtools. Holes that are punched in it, by fstrim for one, give
    their space back. `vhdx unmount DIRECTORY` ends it and waits until the image is closed. Needs FUSE and
    the extra vhdx[mount].
    """
    if os.name == "nt":
        served, converted = command("serve {}", image), command("convert {} disk.raw", image)
        raise OSError(
            errno.ENOTSUP,
            f"Windows has no FUSE; {served} shows the disk to NBD clients, {converted} makes a file of it",
        )
    from vhdx.disk.chain import Disk  # noqa: PLC0415  --help needs no library
    from vhdx.disk.open import open_any  # noqa: PLC0415
    from vhdx.mount import background, fuse  # noqa: PLC0415
    from vhdx.mount.directory import FILE_NAME  # noqa: PLC0415

    if write and force_share:
        raise click.UsageError("--force-share is for reading")
    fuse.check_directory(directory)
    place = os.path.abspath(directory)
    policy = parent_policy(parent_dirs, any_parent=any_parent)
    announce = partial(
        click.echo, f"{printable(image)}: mounted as {printable(os.path.join(place, FILE_NAME))}"
    )
    ready: Callable[[], None] = announce
    tell = _complain
    if not foreground:
        side = background.split()
        if isinstance(side, background.Parent):
            if side.code == 0:
                announce()
            return side.code
        ready, tell = side.ready, background.tell_system_log
    try:
        mode: Mode = "r+" if write else "r"
        opening = partial(
            open_any, image, mode, image_format=image_format, parents=policy, lock=not force_share
        )
        with opening(commit_interval=commit_interval if write else 0) as disk:
            part = chosen(disk, partition)
            if write and image_format is None and disk.format == "raw":
                raise click.UsageError(RAW_IS_SAID.format(image))
            if write and isinstance(disk, Disk):
                refuse_to_orphan(image, disk, force=force)
                with changing(image=image):
                    disk.replay()  # as Windows does; a log that is dirty later tells that closing failed
            fuse.serve(
                part,
                place,
                source=fuse.source_name(image),
                ready=ready,
                tell=tell,
                shared=force_share,
                timeout=timeout,
            )
    except (VhdxError, OSError) as error:
        if not foreground:  # nobody may be there any more who sees standard error
            tell(str(error))
        raise
    return 0


def _complain(sentence: str) -> None:
    click.echo(f"vhdx: {printable(sentence)}", err=True)
