"""What ``vhdx info`` does and prints, however its command line was read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vhdx.cli.render import echo, fragmentation_text, is_verbose, print_json, print_rows, progress_bar, shown
from vhdx.disk.open import is_vhd_file
from vhdx.disk.places import ParentPolicy
from vhdx.ops.info import info as image_info
from vhdx.text import command, printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vhdx.disk.volumes import FileSystemOn
    from vhdx.ops.info import BlockInfo, ImageInfo, LayerInfo, LogInfo, TableInfo
    from vhdx.ops.info_vhd import VhdInfo

_LABELS = 17
"""The width of the longest label, so that what comes in several parts stands in one column."""


def show(
    image: str,
    *,
    chain: bool,
    blocks: bool,
    parent_dirs: tuple[str, ...],
    any_parent: bool,
    force_share: bool,
    as_json: bool,
) -> None:
    """Print what an image is."""
    policy = ParentPolicy(directories=parent_dirs, any_parent=any_parent)
    if is_vhd_file(image):
        _print_vhd(image, policy, chain=chain, as_json=as_json, lock=not force_share)
        return
    with progress_bar("counting") as progress:
        found = image_info(
            image,
            chain=chain,
            blocks=blocks or None,
            parents=policy,
            lock=not force_share,
            progress=progress,
        )
    if as_json:
        print_json(found)
    else:
        _print_text(found)


def _print_vhd(image: str, policy: ParentPolicy, *, chain: bool, as_json: bool, lock: bool) -> None:
    from vhdx.ops.info_vhd import vhd_info  # noqa: PLC0415  the older format is the rarer one

    found = vhd_info(image, chain=chain, parents=policy, lock=lock)
    if as_json:
        print_json(found)
        return
    print_rows(_vhd_rows(found), width=_LABELS)
    _print_contents(found.partition_table, found.file_systems)
    print_rows(_vhd_details(found), width=_LABELS)
    for depth, path in enumerate(found.chain or (), 1):
        echo(f"  {depth}. {printable(path)}")
    for note in found.notes:
        echo(f"note: {printable(note)}")


def _vhd_rows(found: VhdInfo) -> Iterator[tuple[str, str]]:
    yield "image", found.path
    yield "type", f"{found.disk_type} VHD"
    yield "virtual size", shown(found.virtual_size)
    yield "file size", shown(found.file_size)


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
        yield "parent", name


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
    print_file_systems(file_systems or ())


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
    host = "" if found.allocated_size is None else f", on the host {shown(found.allocated_size)}"
    yield "file size", shown(found.file_size) + host
    if found.disk_type == "differencing":
        yield "parent", _parent_text(found)


def _parent_text(found: ImageInfo) -> str:
    if found.parent is not None:
        return f"{found.parent}, which is there"
    named = (found.parent_locator or {}).get("relative_path")
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
