"""``vhdx upload``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from vhdx.cli.costs import Stopwatch
from vhdx.cli.interrupted import passing_on, resuming
from vhdx.cli.options import (
    FORMAT,
    TARGET,
    File,
    chain_options,
    force_share_option,
    jobs_option,
    json_option,
    left_out_option,
    partition_option,
    verbose_option,
)
from vhdx.cli.render import print_json, progress_bar, shown
from vhdx.text import printable

if TYPE_CHECKING:
    from vhdx.disk.formats import Format
    from vhdx.disk.free_space import VolumeSelection
    from vhdx.disk.places import ParentPolicy
    from vhdx.ops.make.upload import UploadResult


@click.command()
@click.argument("image", type=File(allow_dash=True))
@click.argument("target")
@click.option("-f", "--source-format", type=FORMAT, help="By default told by IMAGE's content.")
@partition_option
@left_out_option
@click.option(
    "--resume",
    type=TARGET,
    metavar="FILE",
    help="Keep what is done in FILE, and go on from there; it is removed when all is done.",
)
@jobs_option
@chain_options
@force_share_option
@click.option("--force", is_flag=True, help="Also over a blob that holds something, which is cleared first.")
@json_option
@verbose_option
def upload(
    image: str,
    target: str,
    *,
    source_format: Format | None,
    partition: int | None,
    volumes: VolumeSelection | None,
    resume: str | None,
    jobs: int,
    parents: ParentPolicy,
    force_share: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Write a disk into a page blob of Azure.

    It becomes a fixed VHD there, with no file between them: of these Azure makes disks of machines. IMAGE is
    what convert takes. TARGET is https://ACCOUNT.blob.core.windows.net/CONTAINER/NAME.vhd, with or without a
    SAS, the SAS that `az disk grant-access --access-level Write` gives, or az://CONTAINER/NAME.vhd.
    What TARGET lacks the environment says: AZURE_STORAGE_ACCOUNT with AZURE_STORAGE_KEY or
    AZURE_STORAGE_SAS_TOKEN, or AZURE_STORAGE_CONNECTION_STRING. Secrets are never shown.

    Only pages that are not zeros are sent, each piece with its MD5, the VHD's footer last. The size is
    rounded up to whole MiB, as Azure wants it. A blob that is there and holds something needs --force. With
    --resume an upload that was broken off, by whatever, goes on; neither IMAGE nor the blob may have been
    changed since. Needs the extra vhdx[cloud].
    """
    from vhdx.ops.make.upload import upload as upload_disk  # noqa: PLC0415  --help needs no library
    from vhdx.storage.blob_address import without_secrets  # noqa: PLC0415

    name = without_secrets(target)
    stopwatch = Stopwatch()
    with (
        passing_on(name) if resume is None else resuming(name, resume),
        progress_bar("uploading") as progress,
    ):
        done = upload_disk(
            image,
            target,
            source_format=source_format,
            partition=partition,
            discard_free=volumes is not None,
            volumes=volumes,
            resume=resume,
            jobs=jobs,
            parents=parents,
            lock=not force_share,
            overwrite=force,
            progress=progress,
        )
    if as_json:
        print_json(done)
    else:
        _print_text(done, stopwatch)


def _print_text(done: UploadResult, stopwatch: Stopwatch) -> None:
    for remark in done.remarks:
        click.echo(printable(f"vhdx: {remark}"), err=True)
    before = f", {shown(done.resumed_size)} had gone before" if done.resumed_size else ""
    click.echo(
        f"{printable(done.path)}: {done.format}, {shown(done.virtual_size)}; {shown(done.sent_size)} went, "
        f"{shown(done.skipped_size)} of zeros did not{before}{stopwatch.told(', made')}"
    )
    click.echo(f"next: {printable(done.next_command)}")
