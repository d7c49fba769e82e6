"""What is drawn, in numbers: the templates only put them into words of SVG."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from vhdx.report.facts import CELLS
from vhdx.report.hilbert import place, side_of
from vhdx.report.log_ring import SECTORS
from vhdx.units import format_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vhdx.disk.volumes import FileSystemOn
    from vhdx.ops.info import TableInfo
    from vhdx.ops.map import Cell
    from vhdx.report.file_bytes import FileBytes
    from vhdx.report.log_ring import LogRing

_STEPS = 4
"""Shades of a colour, for how full a cell is."""
_TABLE_ROWS = 32
"""Rows of the table that tells the map without a picture."""
_PARTITIONS = 32
"""Of a disk that are drawn."""


class Square(NamedTuple):
    """A cell of the map; ``parent`` says that most of it comes from another file."""

    x: int
    y: int
    kind: str
    shade: int
    parent: bool
    text: str


class Stretch(NamedTuple):
    """A part of a bar, in shares of its length."""

    start: float
    width: float
    kind: str
    label: str
    text: str
    fill: float = 1.0


class Told(NamedTuple):
    """A row of the table for those who do not see the map."""

    where: str
    data: str
    zeros: str
    jumps: int
    layers: str


def squares(found: Sequence[Cell], names: Sequence[str]) -> list[Square]:
    """The cells along Hilbert's curve, each with its words."""
    side = side_of(len(found))
    return [_square(place(number, side), cell, names) for number, cell in enumerate(found[:CELLS])]


def _square(at: tuple[int, int], cell: Cell, names: Sequence[str]) -> Square:
    kind = ("scattered" if cell.jumps else "data") if cell.data else "zeros" if cell.zeros else "nothing"
    share = (cell.data or cell.zeros or cell.length) / cell.length
    parts = [f"{format_size(cell.offset)} to {format_size(cell.offset + cell.length)}: {_contents(cell)}"]
    if cell.jumps:
        parts.append(f"goes on elsewhere {cell.jumps} time{'s' if cell.jumps > 1 else ''}")
    if cell.depth and len(names) > 1:
        parts.append(names[cell.depth - 1] if cell.depth <= len(names) else f"layer {cell.depth}")
    return Square(*at, kind, max(1, math.ceil(share * _STEPS)), cell.depth > 1, ", ".join(parts))


def _contents(cell: Cell) -> str:
    words = [
        f"{percent(part, cell.length)} {word}"
        for part, word in ((cell.data, "data"), (cell.zeros, "zeros"))
        if part
    ]
    return " and ".join(words) or "nothing stored"


def percent(part: int, whole: int) -> str:
    """A share for people: never 0 % of something, never 100 % of what is not all."""
    if not whole or part in (0, whole):
        return "100 %" if part else "0 %"
    return f"{min(99, max(1, round(100 * part / whole)))} %"


def told(found: Sequence[Cell], names: Sequence[str]) -> list[Told]:
    """The same map in a fixed number of rows."""
    step = max(1, -(-len(found) // _TABLE_ROWS))
    return [_told(found[at : at + step], names) for at in range(0, len(found), step)]


def _told(part: Sequence[Cell], names: Sequence[str]) -> Told:
    length = sum(cell.length for cell in part)
    depths = sorted({cell.depth for cell in part} - {0})
    layers = ", ".join(names[depth - 1] for depth in depths if depth <= len(names)) or "none"
    return Told(
        f"{format_size(part[0].offset)} to {format_size(part[-1].offset + part[-1].length)}",
        percent(sum(cell.data for cell in part), length),
        percent(sum(cell.zeros for cell in part), length),
        sum(cell.jumps for cell in part),
        layers,
    )


def volume_bar(table: TableInfo | None, volumes: Sequence[FileSystemOn], size: int) -> list[Stretch]:
    """The partitions along the disk, each as full as what stands in it says."""
    by_partition = {each.partition: each for each in volumes if each.offset is not None}
    places: list[tuple[int, int, str, FileSystemOn | None]] = [
        (each.offset, each.length, f"{each.number}", by_partition.get(each.number))
        for each in (table.partitions if table is not None else ())
    ]
    if not places and None in by_partition:
        whole = by_partition[None]
        places = [(whole.offset or 0, whole.size, "disk", whole)]
    return [_volume(*each, size) for each in places[:_PARTITIONS] if size]


def _volume(offset: int, length: int, label: str, found: FileSystemOn | None, size: int) -> Stretch:
    used = None if found is None else found.used
    about = "nothing recognised" if found is None else f"{found.kind}, {found.state}"
    if used is not None:
        about += f", {format_size(used)} of {format_size(length)} used"
    fill = 0.0 if used is None else min(1.0, used / max(1, length))
    kind = "free" if used is None else "data"
    start, width = min(1.0, offset / size), min(1.0, length / size)
    return Stretch(start, min(width, 1 - start), kind, label, f"{label}: {about}", fill)


def file_bar(found: FileBytes) -> list[Stretch]:
    """The parts of the file, each what most of it is."""
    parts = []
    count = len(found.data_parts)
    shares_of = zip(found.structure_parts, found.data_parts, found.leaked_parts, strict=True)
    for number, (structures, data, leaked) in enumerate(shares_of):
        start = number * found.part_length
        length = min(found.part_length, found.size - start)
        if length <= 0:
            break
        kind = "structure" if structures > data else "data" if data else "leaked" if leaked else "free"
        shares = (percent(min(each, length), length) for each in (structures, data, leaked))
        text = "{}: {} structures, {} blocks, {} leaked".format(format_size(start), *shares)
        fill = min(1.0, (structures + data + leaked) / length) or 1.0
        parts.append(Stretch(number / count, 1 / count, kind, "", text, fill))
    return parts


class Arc(NamedTuple):
    """A sector of the log as a path of SVG."""

    path: str
    kind: str
    text: str


_KINDS = {
    "": "nothing",
    "stale": "free",
    "applied": "zeros",
    "orphan": "leaked",
    "active": "warnings",
    "damaged": "errors",
}


def arcs(ring: LogRing) -> list[Arc]:
    """The log as a ring, from the top clockwise; neighbours of one state are one arc."""
    found, first = [], 0
    for at in range(1, SECTORS + 1):
        if at == SECTORS or ring.sectors[at] != ring.sectors[first]:
            state = ring.sectors[first]
            begin, end = (format_size(ring.length * each // SECTORS) for each in (first, at))
            text = f"{begin} to {end}: {state or 'nothing'}"
            found.append(Arc(_arc(first / SECTORS, at / SECTORS), _KINDS[state], text))
            first = at
    return found


def _arc(start: float, end: float, outer: float = 48, inner: float = 32) -> str:
    """A piece of a ring around (50, 50), in turns; one that is all of it ends a little before itself."""
    end = min(end, start + 0.9999)
    corners = [
        (50 + radius * math.sin(2 * math.pi * turn), 50 - radius * math.cos(2 * math.pi * turn))
        for radius, turn in ((outer, start), (outer, end), (inner, end), (inner, start))
    ]
    a, b, c, d = (f"{x:.2f} {y:.2f}" for x, y in corners)
    large = int(end - start > 0.5)
    return f"M{a}A{outer} {outer} 0 {large} 1 {b}L{c}A{inner} {inner} 0 {large} 0 {d}Z"
