"""A disk as a map of cells in the terminal: one character each, coloured where colours are shown."""

from __future__ import annotations

import shutil
from itertools import groupby
from typing import TYPE_CHECKING

import click

from vhdx.text import printable
from vhdx.units import format_size, size_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vhdx.ops.map import Cell, MappedDisk

_LINES = 16
_LABEL_WIDTH = 12
_LEGEND = {
    "#": ("green", "data that goes on in the file where it goes on on the disk"),
    "%": ("red", "data that jumps in the file"),
    "+": ("green", "data in a part of the cell"),
    "*": ("red", "data in a part of the cell that jumps"),
    "0": ("blue", "zeros, as a layer says"),
    ".": (None, "unallocated: no layer says anything"),
}


def draw_disk(disk: MappedDisk, depth: int | None) -> None:
    """Print the map of a disk, or of its layer at ``depth``, as wide as the terminal."""
    from vhdx.ops.map import cells  # noqa: PLC0415  --help needs no library

    width = max(1, shutil.get_terminal_size().columns - _LABEL_WIDTH - 1)
    found = list(cells(disk, width * _LINES, depth))
    size = sum(cell.length for cell in found)
    cell = f", each cell is {format_size(found[0].length)}" if found else ""
    click.echo(f"{printable(disk.chain[(depth or 1) - 1])}: {size_text(size)}{cell}")
    for start in range(0, len(found), width):
        line = found[start : start + width]
        click.echo(f"{format_size(line[0].offset):>{_LABEL_WIDTH}} {''.join(_painted(map(_symbol, line)))}")
    shown = {_symbol(cell) for cell in found}
    for symbol, (_, meaning) in _LEGEND.items():
        if symbol in shown:
            click.echo(f"{'':>{_LABEL_WIDTH}} {''.join(_painted(symbol))} {meaning}")


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
