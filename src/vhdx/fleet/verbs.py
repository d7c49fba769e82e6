"""What each verb of a fleet asks of one image, and what of the answer becomes columns."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from vhdx.fleet.columns import CHANGING, text_of
from vhdx.fleet.stopping import going_on
from vhdx.storage.sparse import sparse
from vhdx.storage.stream import is_url

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from vhdx.disk.volumes import FileSystemOn
    from vhdx.fleet.columns import Row
    from vhdx.fleet.options import FleetOptions
    from vhdx.fleet.task import Task
    from vhdx.ops.check import CheckResult

_SEPARATOR = "; "
_PRESENT = ("fully_present", "partially_present")


def _info(path: str, options: FleetOptions) -> Row:
    from vhdx.ops.info import ImageInfo  # noqa: PLC0415  each verb imports what it needs
    from vhdx.ops.info_any import info_any  # noqa: PLC0415

    found = info_any(path, parents=options.parents, lock=options.lock)
    row: Row = {
        "format": found.format,
        "disk_type": found.disk_type,
        "virtual_size": found.virtual_size,
        "file_size": found.file_size,
        "logical_sector_size": found.logical_sector_size,
        "allocated_size": found.allocated_size,
        "notes": len(found.notes),
        "block_size": getattr(found, "block_size", None),
        "creator": _text(getattr(found, "creator", "")),
    }
    if found.partition_table is not None:
        table = found.partition_table
        row |= {"partition_table": table.kind, "partitions": len(table.partitions)}
    if found.file_systems is not None:
        row["file_systems"] = _kinds(found.file_systems)
    if isinstance(found, ImageInfo):
        row["log_state"] = found.log.state
        if found.blocks is not None:
            states = found.blocks.by_state
            row |= {
                "present_blocks": sum(states.get(state, 0) for state in _PRESENT),
                "free_size": found.blocks.free_size,
                "fragmentation": found.blocks.fragmentation,
            }
    return row


def _check(path: str, options: FleetOptions) -> Row:
    from vhdx.ops.check import check  # noqa: PLC0415

    found = check(path, parents=options.parents, lock=options.lock)
    result = "errors" if found.errors else "warnings" if found.warnings else "ok"
    row: Row = {
        "format": found.format,
        "errors": found.errors,
        "warnings": found.warnings,
        "notes": found.notes,
        "leaked_size": found.leaked_size,
        "free_size": found.free_size,
        "codes": json.dumps(dict(sorted(found.codes.items()))),
        "worst": _worst(found),
        "unchecked": _text(", ".join(found.unchecked)),
        "result": result,
    }
    return row if found.virtual_size is None else row | {"virtual_size": found.virtual_size}


def _worst(found: CheckResult) -> str | None:
    order = ("error", "warning", "note")
    gravest = min(found.findings, key=lambda each: order.index(each.severity), default=None)
    if gravest is None:
        return None
    detail = gravest.detail.partition("\n")[0]
    return _text(f"{gravest.structure} at file offset {gravest.file_offset}: {detail} ({gravest.code})")


def _measure(path: str, options: FleetOptions) -> Row:
    from vhdx.ops.make.measure import measure  # noqa: PLC0415

    found = measure(
        path,
        target_format=options.target_format,
        scan_zeros=options.scan_zeros,
        discard_free=options.discard_free,
        parents=options.parents,
        lock=options.lock,
    )
    return {
        "format": found.source_format,
        "virtual_size": found.virtual_size,
        "data_size": found.data_size,
        "required_size": found.required_size,
        "fully_allocated_size": found.fully_allocated_size,
        "compacted_size": found.compacted_size,
        "remarks": _text(_SEPARATOR.join(found.remarks)),
    }


def _usage(path: str, options: FleetOptions) -> Row:
    from vhdx.disk.open import open_any  # noqa: PLC0415
    from vhdx.disk.volumes import file_systems  # noqa: PLC0415
    from vhdx.ops.info import allocated_size  # noqa: PLC0415

    with open_any(path, parents=options.parents, lock=options.lock) as disk:
        found = file_systems(disk)
        row: Row = {"format": disk.format, "disk_type": disk.disk_type, "virtual_size": disk.size}
        stored = getattr(disk, "layers", ())
        row["allocated_size"] = allocated_size(stored[0].storage) if stored else None
    counted = [each for each in found if each.free is not None and each.used is not None]
    row |= {
        "file_systems": _kinds(found),
        "file_system_size": sum(each.size for each in counted),
        "file_system_used": sum(each.used or 0 for each in counted),
        "file_system_free": sum(each.free or 0 for each in counted),
        "not_counted": _text(_SEPARATOR.join(_reasons(found))),
    }
    return row | _given_back(path, options, row["format"])


def _reasons(found: Iterable[FileSystemOn]) -> Iterable[str]:
    return (f"{each.name}: {each.reasons[0]}" for each in found if each.reasons)


def _given_back(path: str, options: FleetOptions, image_format: str) -> Row:
    """What a compaction would leave of the file; nothing is changed."""
    from vhdx.errors import CorruptImageError, UnsupportedImageError  # noqa: PLC0415
    from vhdx.ops.compact import compact  # noqa: PLC0415

    if image_format != "vhdx" or is_url(path):
        return {"not_compacted": "only a VHDX on this host is compacted"}
    try:
        done = compact(path, dry_run=True, discard_free=True, parents=options.parents, lock=options.lock)
    except (CorruptImageError, UnsupportedImageError) as error:
        return {"not_compacted": _text(error.message.partition("\n")[0])}
    return {
        "compacted_size": done.file_size_after,
        "given_back": done.file_size_before - done.file_size_after,
    }


def _map(path: str, options: FleetOptions) -> Row:
    from vhdx.disk.open import open_any  # noqa: PLC0415
    from vhdx.ops.map import summary  # noqa: PLC0415

    with open_any(path, parents=options.parents, lock=options.lock) as disk:
        found, layers = summary(disk), len(disk.chain)
        about: Row = {"format": disk.format, "disk_type": disk.disk_type, "virtual_size": disk.size}
    sizes = {
        f"{word}_size": sum(row.length for row in found.rows if row.kind == kind)
        for kind, word in (("data", "data"), ("zero", "zero"), ("unallocated", "unallocated"))
    }
    own = sum(row.length for row in found.rows if row.kind == "data" and row.depth == 1)
    runs = sum(row.runs for row in found.rows)
    return {**about, "layers": layers, **sizes, "own_data_size": own, "runs": runs, "jumps": found.jumps}


def _hash(path: str, options: FleetOptions) -> Row:
    from vhdx.ops.hash import content_hash  # noqa: PLC0415

    found = content_hash(path, parents=options.parents, lock=options.lock)
    return {
        "format": found.format,
        "virtual_size": found.virtual_size,
        "algorithm": found.algorithm,
        "hash": found.digest,
    }


def _compact(path: str, options: FleetOptions) -> Row:
    from vhdx.ops.compact import compact  # noqa: PLC0415
    from vhdx.ops.tracking import unseen  # noqa: PLC0415

    done = compact(
        path,
        scan_zeros=options.scan_zeros,
        punch=options.punch,
        discard_free=options.discard_free,
        dry_run=options.dry_run,
        parents=options.parents,
        lock=options.lock or not options.dry_run,
        progress=going_on,
    )
    names = (
        *("disk_type", "file_size_before", "file_size_after", "host_size_before", "host_size_after"),
        *("freed_blocks", "moved_size", "punched_size", "dry_run"),
    )
    row: Row = {name: getattr(done, name) for name in names}
    return row if options.dry_run else row | {"remarks": _text(unseen(path) or "")}


def _convert(path: str, options: FleetOptions) -> Row:
    from vhdx.ops.make.convert import convert  # noqa: PLC0415

    assert options.target_dir is not None  # `run` refuses it
    stem = os.path.splitext(os.path.basename(path))[0]
    target = os.path.join(options.target_dir, f"{stem}.{options.target_format}")
    done = convert(
        path,
        target,
        target_format=options.target_format,
        discard_free=options.discard_free,
        parents=options.parents,
        lock=options.lock,
        progress=going_on,
    )
    return {
        "format": done.source_format,
        "virtual_size": done.virtual_size,
        "target": text_of(target),
        "target_format": done.target_format,
        "target_size": done.file_size,
        "data_size": done.data_size,
        "remarks": _text(_SEPARATOR.join(done.remarks)),
    }


def _kinds(found: Iterable[FileSystemOn]) -> str | None:
    return _text(", ".join(each.kind for each in found))


def _text(words: str) -> str | None:
    """Words out of an image, harmless; None where there are none."""
    return text_of(words) or None


ASKED: dict[str, Callable[[str, FleetOptions], Row]] = {
    "info": _info,
    "check": _check,
    "measure": _measure,
    "usage": _usage,
    "map": _map,
    "hash": _hash,
    "compact": _compact,
    "convert": _convert,
}
"""The columns that each verb fills, by the verb. What a function raises becomes the error of the row."""


def answer(task: Task) -> Row:
    """What the verb says of an image. Raises what it raises."""
    with sparse(task.options.sparse):
        found = ASKED[task.verb](task.image.path, task.options)
    if task.verb in CHANGING and not is_url(task.image.path):
        status = os.stat(task.image.path)
        found |= {"file_size": status.st_size, "mtime_ns": status.st_mtime_ns}
    return {"result": "ok", **found}
