"""What ``vhdx info`` does and prints, however its command line was read."""

from __future__ import annotations

import os
from functools import partial

from vhdx.cli.render import echo, fragmentation_text, is_verbose, print_json, print_rows, progress_bar, shown
from vhdx.ops.info import ImageInfo
from vhdx.ops.info_any import RawInfo, info_any
from vhdx.text import command, printable
from vhdx.typed import TYPE_CHECKING
from vhdx.units import format_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from vhdx.disk.formats import Format
    from vhdx.disk.places import ParentPolicy
    from vhdx.disk.volumes import FileSystemOn
    from vhdx.ops.info import BlockInfo, LayerInfo, LogInfo, TableInfo
    from vhdx.ops.info_any import Info
    from vhdx.ops.info_vhd import VhdInfo

_LABELS = 17
"""The width of the longest label, so that what comes in several parts stands in one column."""


def show(
    images: Sequence[str],
    *,
    chain: bool,
    blocks: bool,
    image_format: Format | None,
    parents: ParentPolicy,
    force_share: bool,
    as_json: bool,
) -> int:
    """Print what an image is, or a line for each of several."""
    with progress_bar("counting") as progress:
        look = partial(
            info_any,
            image_format=image_format,
            chain=chain,
            blocks=blocks or None,
            parents=parents,
            lock=not force_share,
            progress=progress,
        )
        if len(images) > 1 or os.path.isdir(images[0]):
            from vhdx.cli.several import show_each  # noqa: PLC0415  a single image need not wait for it

            return show_each(images, _COLUMNS, partial(_line, look), as_json=as_json)
        found = look(images[0])
    if as_json:
        print_json(found)
    elif isinstance(found, ImageInfo):
        _print_text(found)
    else:
        _print_other(found)
    return 0


_COLUMNS = (("format", -6), ("type", -12), ("virtual size", 12), ("file size", 10), ("log", -5))


def _line(look: Callable[[str], Info], image: str) -> tuple[Info, tuple[str, ...], int]:
    found = look(image)
    log = found.log.state if isinstance(found, ImageInfo) else ""
    sizes = format_size(found.virtual_size), format_size(found.file_size)
    return found, (found.format, found.disk_type, *sizes, log), 0


def _print_other(found: VhdInfo | RawInfo) -> None:
    """Print what a VHD or a raw disk is."""
    print_rows(_raw_rows(found) if isinstance(found, RawInfo) else _vhd_rows(found), width=_LABELS)
    _print_contents(found.partition_table, found.file_systems)
    if not isinstance(found, RawInfo):
        print_rows(_vhd_details(found), width=_LABELS)
    layers = () if isinstance(found, RawInfo) else found.chain or ()
    for depth, path in enumerate(layers, 1):
        echo(f"  {depth}. {printable(path)}")
    for note in found.notes:
        echo(f"note: {printable(note)}")


def _raw_rows(found: RawInfo) -> Iterator[tuple[str, str]]:
    yield "image", found.path
    yield "type", "raw"
    yield "virtual size", shown(found.virtual_size)
    yield "file size", _file_size_text(found)


def _vhd_rows(found: VhdInfo) -> Iterator[tuple[str, str]]:
    yield "image", found.path
    yield "type", f"{found.disk_type} VHD"
    yield "virtual size", shown(found.virtual_size)
    yield "file size", _file_size_text(found)
    if found.disk_type == "differencing":
        yield "parent", _parent_text(found, next(iter(found.parent_names), None))


def _vhd_details(found: VhdInfo) -> Iterator[tuple[str, str]]:
    if found.block_size is not None:
        yield "block size", shown(found.block_size)
    if is_verbose():
        yield "disk id", str(found.disk_id)
    yield "creator", found.creator
    yield "made", found.created
    yield "geometry", "{} cylinders, {} heads, {} sectors".format(*found.geometry)
    if found.parent_id is not None and is_verbose():
        yield "parent disk id", str(found.parent_id)
        for name in found.parent_names:
            yield "parent named", name


def _print_text(found: ImageInfo) -> None:
    """What it is, what is in it, in which state it is."""
    print_rows(_rows(found), width=_LABELS)
    _print_contents(found.partition_table, found.file_systems)
    print_rows(_state(found), width=_LABELS)
    if is_verbose():
        print_rows(_identities(found), width=_LABELS)
        if found.parent_locator is not None:
            echo("parent locator:")
            print_rows(found.parent_locator.items(), indent="  ")
    if found.chain is not None:
        _print_chain(found.chain)
    if found.tracking_files:
        files = ", ".join(map(printable, found.tracking_files))
        echo(f"change tracking of Windows beside it, which sees no change by other programs: {files}")
    for note in found.notes:
        echo(f"{note.severity}: {note.structure} at file offset {note.file_offset}: {note.text}")
    _print_hint(found)


def _print_chain(chain: tuple[LayerInfo, ...]) -> None:
    echo("chain, from the image to its base:")
    total = sum(each.data_size for each in chain)
    for depth, layer in enumerate(chain, 1):
        share = f"{layer.data_size / total:.1%}" if total else "none"
        about = f"{layer.disk_type}, {shown(layer.virtual_size)}, {share} of the data, log {layer.log_state}"
        echo(f"  {depth}. {printable(layer.path)}: {about}")


def _print_contents(table: TableInfo | None, file_systems: Iterable[FileSystemOn] | None) -> None:
    if table is not None:
        _print_table(table)
    said = {_why_unread(finding) for finding in table.findings} - {""} if table is not None else set()
    print_file_systems(each for each in file_systems or () if said.isdisjoint(map(_why_unread, each.reasons)))


def _why_unread(sentence: str) -> str:
    """Why something cannot be read: the same of the table and of what stands on the disk is said once."""
    return sentence.partition(" cannot be read: ")[2]


def _print_hint(found: ImageInfo) -> None:
    """Say what to do about an image that is not as it should be left behind."""
    if found.log.state == "dirty":
        repair = command("repair {}", found.path)
        echo(f"the log was replayed in memory; to replay it in the file: {repair}")
    if any(note.severity == "warning" for note in found.notes):
        echo(f"for all that is wrong: {command('check {}', found.path)}")


def _print_table(table: TableInfo) -> None:
    """Print what a partition table says."""
    if table.kind != "none":
        identity = f", disk id {table.disk_id}" if table.disk_id is not None and is_verbose() else ""
        echo(f"partitions ({table.kind}{identity}):")
    for partition in table.partitions:
        kind = partition.type_name or partition.type
        name = f" {printable(partition.name)!r}" if partition.name else ""
        boot = ", bootable" if partition.bootable else ""
        size = shown(partition.length)
        echo(f"  {partition.number}. at {shown(partition.offset)}: {size}, {kind}{name}{boot}")
    for finding in table.findings:
        echo(f"note: partitions: {printable(finding)}")


def print_file_systems(found: Iterable[FileSystemOn]) -> None:
    """Print what stands in each volume, how full it is by its own count, and in which state."""
    rows = [f"  {printable(each.name)}: {_file_system_text(each)}" for each in found]
    for line in ("file systems:", *rows) if rows else ():
        echo(line)


def _file_system_text(found: FileSystemOn) -> str:
    parts = [found.kind + (f" {printable(found.label)!r}" if found.label else "")]
    if found.free is not None and found.used is not None:
        parts += [f"{shown(found.used)} used", f"{shown(found.free)} free"]
    reasons = "; ".join(map(printable, found.reasons))
    parts.append(f"{found.state}: {reasons}" if reasons else found.state)
    return ", ".join(parts)


def _rows(found: ImageInfo) -> Iterator[tuple[str, str]]:
    yield "image", found.path
    yield "type", f"{found.disk_type} VHDX"
    yield "virtual size", shown(found.virtual_size)
    yield "file size", _file_size_text(found)
    if found.disk_type == "differencing":
        yield "parent", _parent_text(found, (found.parent_locator or {}).get("relative_path"))


def _file_size_text(found: Info) -> str:
    host = "" if found.allocated_size is None else f", on the host {shown(found.allocated_size)}"
    return shown(found.file_size) + host


def _parent_text(found: ImageInfo | VhdInfo, named: str | None) -> str:
    if found.parent is not None:
        return f"{found.parent}, which is there"
    return f"{named or 'not named'}: {found.parent_problem}; --parent-dir DIR looks for it elsewhere"


def _state(found: ImageInfo) -> Iterator[tuple[str, str]]:
    yield "log", _log_text(found.log)
    if found.blocks is None:
        yield "blocks", "not counted, the table is large: add --blocks"
    else:
        yield "blocks", f"{_block_text(found.blocks)}; {shown(found.block_size)} each"
        if found.blocks.fragmentation is not None:
            yield "fragmentation", fragmentation_text(found.blocks.fragmentation)
        if found.blocks.free_size:
            free = shown(found.blocks.free_size)
            yield "free in the file", f"{free}; vhdx compact gives back what it can"
    yield "sectors", f"{found.logical_sector_size} logical, {found.physical_sector_size} physical"
    yield "creator", found.creator


def _identities(found: ImageInfo) -> Iterator[tuple[str, str]]:
    yield "disk id", str(found.disk_id)
    yield "file write GUID", str(found.file_write_guid)
    yield "data write GUID", str(found.data_write_guid)
    yield "log GUID", str(found.log_guid)


def _log_text(log: LogInfo) -> str:
    if log.state == "clean":
        return f"clean, {shown(log.size)}"
    numbers = f"sequence numbers {log.first_sequence_number} to {log.last_sequence_number}"
    entries = "1 entry" if log.entries == 1 else f"{log.entries} entries"
    return f"dirty, {entries} to replay ({numbers}), {shown(log.size)}"


def _block_text(blocks: BlockInfo) -> str:
    states = ", ".join(f"{count} {state.replace('_', ' ')}" for state, count in blocks.by_state.items())
    number = blocks.sector_bitmaps
    bitmaps = f"; {number} sector bitmap{'s' if number > 1 else ''}" if number else ""
    return f"{blocks.total}: {states}{bitmaps}"
