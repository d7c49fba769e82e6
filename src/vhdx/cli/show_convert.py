"""What ``vhdx convert`` does and prints, however its command line was read."""

from __future__ import annotations

from functools import partial

from vhdx.cli.by_qemu import Opening, refuse_by_qemu
from vhdx.cli.costs import Stopwatch
from vhdx.cli.interrupted import making, passing_on, resuming, uploading
from vhdx.cli.render import EXIT_DOUBTS, JsonLists, echo, print_doubt, progress_bar, shown
from vhdx.text import printable
from vhdx.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from typing import Any

    from vhdx.disk.formats import Format
    from vhdx.disk.free_space import VolumeSelection
    from vhdx.disk.places import ParentPolicy
    from vhdx.ops.make.carve import CarvedBlock
    from vhdx.ops.make.convert import ConvertResult
    from vhdx.ops.make.plan import ImageOptions
    from vhdx.storage.sharing import Clone


def show(
    source: str,
    target: str,
    *,
    source_format: Format | None,
    target_format: Any,
    partition: int | None,
    volumes: VolumeSelection | None,
    parents: ParentPolicy,
    force_share: bool,
    force: bool,
    no_sync: bool,
    clone: Clone,
    scan_zeros: bool,
    verify: bool,
    resume: str | None,
    salvage: bool,
    state: str | None,
    carve: str | None,
    virtual_size: int | None,
    source_type: str | None,
    ignore_bitmaps: bool,
    as_json: bool,
    **options: Any,
) -> int:
    """Convert, and say what was made; the exit code."""
    from vhdx.known import KnownDisk  # noqa: PLC0415  --help needs no library
    from vhdx.ops.make.convert import convert  # noqa: PLC0415
    from vhdx.ops.make.plan import ImageOptions  # noqa: PLC0415

    refuse_by_qemu(Opening(source, source_format, partition, parents), target, target_format)
    known = KnownDisk(virtual_size, options["block_size"], options["logical_sector_size"], source_type)
    is_pipe = target == "-"
    lists = JsonLists("doubts", "carved", err=is_pipe) if as_json else None
    stopwatch = Stopwatch()
    made_options = ImageOptions(**options)
    how = target_format, made_options, state or resume, carve
    with _interruptible(target, *how), progress_bar("converting") as progress:
        made = convert(
            source,
            target,
            source_format=source_format,
            target_format=target_format,
            options=made_options,
            known=known if salvage else None,
            partition=partition,
            discard_free=volumes is not None,
            volumes=volumes,
            parents=parents,
            overwrite=force,
            lock=not force_share,
            salvage=salvage,
            state=state,
            sync=not no_sync,
            clone=clone,
            scan_zeros=scan_zeros,
            verify=verify,
            resume=resume,
            ignore_bitmaps=ignore_bitmaps,
            carve_to=carve,
            on_carved=lists.adder("carved") if lists else partial(_print_carved, err=is_pipe),
            on_doubt=lists.adder("doubts") if lists else print_doubt,
            progress=progress,
        )
    if lists:
        lists.finish(made)
    else:
        _print_text("standard output" if is_pipe else made.path, made, stopwatch, err=is_pipe)
    return EXIT_DOUBTS if made.doubts else 0


def _print_carved(block: CarvedBlock, *, err: bool) -> None:
    looks = block.looks_like if block.detail is None else f"{block.looks_like}, {block.detail}"
    lost = f"; {block.unreadable} bytes of it could not be read" if block.unreadable else ""
    echo(printable(f"{block.path}: {block.length} bytes at {block.file_offset}: {looks}{lost}"), err=err)


def _interruptible(
    target: str, target_format: Format | None, options: ImageOptions, state: str | None, carve: str | None
) -> AbstractContextManager[None]:
    from vhdx.ops.make.addresses import BLOB, FILE, OBJECT, address_of, shown  # noqa: PLC0415  as above
    from vhdx.ops.make.destination import goes_into_pages  # noqa: PLC0415  as above

    address, name = address_of(target), shown(target)
    if address in (OBJECT, BLOB) and state is not None:
        return resuming(name, state)
    if address in (OBJECT, BLOB) and not goes_into_pages(target, target_format, options):
        return uploading(name)
    if address is not FILE:
        return passing_on("standard output" if target == "-" else name)
    return making(target, carve) if state is None else resuming(target, state)


def _print_text(target: str, made: ConvertResult, stopwatch: Stopwatch, *, err: bool) -> None:
    for remark in made.remarks:
        echo(printable(f"vhdx: {remark}"), err=True)
    if made.doubts:
        echo(f"vhdx: ranges that may be wrong: {made.doubts}", err=True)
    echo(
        f"{printable(target)}: {made.target_format}, {shown(made.virtual_size)}, of which "
        f"{shown(made.data_size)} data; the file has {shown(made.file_size)}{stopwatch.told(', made')}",
        err=err,
    )
