"""Everything that the page of one image shows: asked for part by part, so that what fails is one part."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from vhdx.disk.open import open_any
from vhdx.errors import VhdxError
from vhdx.ops.check import check
from vhdx.ops.compact import compact
from vhdx.ops.info import table_info
from vhdx.ops.info_any import info_any
from vhdx.ops.map import cells, summary
from vhdx.report.bytes_of_file import bytes_of_file
from vhdx.report.log_ring import LogRing, log_ring
from vhdx.storage.file import refuse_elsewhere

if TYPE_CHECKING:
    from collections.abc import Callable

    from vhdx.disk.opened import Disk
    from vhdx.disk.places import ParentPolicy
    from vhdx.disk.volumes import FileSystemOn
    from vhdx.ops.check import CheckResult
    from vhdx.ops.compact import CompactResult
    from vhdx.ops.info import TableInfo
    from vhdx.ops.info_any import Info
    from vhdx.ops.map import Cell, Summary
    from vhdx.report.file_bytes import FileBytes

CELLS = 32 * 32
"""Cells of a map at most: the square of a power of two, as Hilbert's curve wants it."""
_LAYERS = 64
"""Layers of a chain that are told one by one."""
Value = TypeVar("Value")


class Part(NamedTuple, Generic[Value]):
    """One part of a page, or why it is not there."""

    value: Value | None
    problem: str | None = None


class Layer(NamedTuple):
    """One file of a chain: what it holds itself, and how much of what is read comes from it. Bytes."""

    path: str
    file_size: int
    own_data: int
    own_zeros: int
    read_from: int


class Facts(NamedTuple):
    """The parts of a page."""

    path: str
    info: Part[Info]
    check: Part[CheckResult]
    cells: Part[list[Cell]]
    table: Part[TableInfo]
    volumes: Part[tuple[FileSystemOn, ...]]
    layers: Part[list[Layer]]
    file: Part[FileBytes]
    log: Part[LogRing]
    compaction: Part[CompactResult]
    discarding: Part[CompactResult]
    layer_count: int


def facts_of(path: str, *, parents: ParentPolicy, lock: bool = True) -> Facts:
    """Look at an image from all sides; nothing is changed. Raises OSError where there is no file."""
    refuse_elsewhere(path)
    os.stat(path)
    disk_of = partial(_on_disk, path, parents, lock)
    layers = disk_of(lambda disk: len(disk.chain))
    asked = partial(compact, path, dry_run=True, parents=parents, lock=lock)
    return Facts(
        path=path,
        info=_part(lambda: info_any(path, parents=parents, lock=lock)),
        check=_part(lambda: check(path, parents=parents, lock=lock)),
        cells=disk_of(lambda disk: list(cells(disk, CELLS))),
        table=disk_of(table_info),
        volumes=disk_of(lambda disk: disk.filesystems()),
        layers=disk_of(_layers),
        file=_part(lambda: bytes_of_file(path, lock=lock)),
        log=_part(lambda: log_ring(path, lock=lock)),
        compaction=_part(asked),
        discarding=_part(partial(asked, discard_free=True)),
        layer_count=layers.value or 0,
    )


def _part(ask: Callable[[], Value]) -> Part[Value]:
    try:
        return Part(ask())
    except (VhdxError, OSError, ValueError) as error:
        text = error.message if isinstance(error, VhdxError) else str(error)
        return Part(None, text.partition("\n")[0].removesuffix(" Tried:"))


def _on_disk(path: str, parents: ParentPolicy, lock: bool, ask: Callable[[Disk], Value]) -> Part[Value]:
    def asked() -> Value:
        with open_any(path, parents=parents, lock=lock) as disk:
            return ask(disk)

    return _part(asked)


def _layers(disk: Disk) -> list[Layer]:
    read_from: dict[int, int] = {}
    for row in summary(disk).rows:
        if row.kind == "data":
            read_from[row.depth] = read_from.get(row.depth, 0) + row.length
    return [
        _layer(name, summary(disk, depth if len(disk.chain) > 1 else None), read_from.get(depth, 0))
        for depth, name in enumerate(disk.chain[:_LAYERS], 1)
    ]


def _layer(path: str, found: Summary, read_from: int) -> Layer:
    data, zeros = (sum(row.length for row in found.rows if row.kind == kind) for kind in ("data", "zero"))
    return Layer(path, os.stat(path).st_size, data, zeros, read_from)
