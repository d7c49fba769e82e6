"""A disk as a map of cells in the terminal: one character each, coloured where colours are shown."""

from __future__ import annotations

import shutil
from itertools import groupby
from typing import TYPE_CHECKING

import click

from vhdx.cli.render import shown
from vhdx.report.colours import COLOURS
from vhdx.text import printable
from vhdx.units import format_size

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vhdx.ops.map import Cell, MappedDisk

_LINES = 16
_LABEL_WIDTH = 12
_LEGEND = {
    "#": (COLOURS["data"].terminal, "data, in the file in the same order"),
    "%": (COLOURS["scattered"].terminal, "data that goes on elsewhere in the file"),
    "+": (COLOURS["data"].terminal, "data in a part of the cell"),
    "*": (COLOURS["scattered"].terminal, "data in a part, elsewhere in the file"),
    "0": (COLOURS["zeros"].terminal, "zeros, as a layer says"),
    ".": (COLOURS["nothing"].terminal, "unallocated: no layer says anything"),
}
_BORDERS = "a partition begins, or the last one ends"


def draw_disk(disk: MappedDisk, depth: int | None) -> None:
    """Print the map of a disk, or of its layer at ``depth``, as wide as the terminal."""
    from vhdx.ops.map import cells  # noqa: PLC0415  --help needs no library

    width = max(1, shutil.get_terminal_size().columns - _LABEL_WIDTH - 1)
    found = list(cells(disk, width * _LINES, depth))
    borders = _borders(disk, found) if depth is None else {}
    size = sum(cell.length for cell in found)
    cell = f", each cell is {format_size(found[0].length)}" if found else ""
    click.echo(f"{printable(disk.chain[(depth or 1) - 1])}: {shown(size)}{cell}")
    for start in range(0, len(found), width):
        line = found[start : start + width]
        click.echo(f"{format_size(line[0].offset):>{_LABEL_WIDTH}} {''.join(_painted(map(_symbol, line)))}")
        marks = _marks({at - start: text for at, text in borders.items() if 0 <= at - start < width})
        if marks:
            click.echo(f"{'':>{_LABEL_WIDTH}} {marks}")
    drawn = {_symbol(cell) for cell in found}
    for symbol, (_, meaning) in _LEGEND.items():
        if symbol in drawn:
            click.echo(f"{'':>{_LABEL_WIDTH}} {''.join(_painted(symbol))} {meaning}")
    if borders:
        click.echo(f"{'':>{_LABEL_WIDTH}} | {_BORDERS}")


def _borders(disk: MappedDisk, found: list[Cell]) -> dict[int, str]:
    """Where partitions begin, and the last one ends: the number of the cell, and what stands under it."""
    from vhdx.ops.info import table_info  # noqa: PLC0415  --help needs no library

    partitions = sorted(table_info(disk).partitions, key=lambda partition: partition.offset)
    if not partitions or not found:
        return {}
    cell = found[0].length
    ends = max(partition.end for partition in partitions) // cell
    begins = {partition.offset // cell: f"|{partition.number}" for partition in reversed(partitions)}
    return dict(sorted({ends: "|", **begins}.items()))


def _marks(borders: dict[int, str]) -> str:
    """One line with the marks of its cells; a number that the next mark would run into is left out."""
    line = ""
    for at, mark in borders.items():
        line = line[:at].ljust(at) + mark
    return line


def _symbol(cell: Cell) -> str:
    if cell.data == cell.length:
        return "%" if cell.jumps else "#"
    if cell.data:
        return "*" if cell.jumps else "+"
    return "0" if cell.zeros else "."


def _painted(symbols: Iterable[str]) -> Iterator[str]:
    """The symbols with their colours, one change of colour for each run; click drops them in a pipe."""
    for symbol, run in groupby(symbols):
        yield click.style("".join(run), fg=_LEGEND[symbol][0])
