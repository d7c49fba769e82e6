"""Hilbert's curve: neighbours of a line are neighbours of a square."""

from __future__ import annotations


def side_of(cells: int) -> int:
    """The side of the smallest square that a curve of so many cells fits into."""
    side = 1
    while side * side < cells:
        side *= 2
    return side


def place(distance: int, side: int) -> tuple[int, int]:
    """Column and row of a place of the curve that fills a square of ``side`` cells, a power of two."""
    x = y = 0
    scale = 1
    while scale < side:
        right = 1 & (distance >> 1)
        up = 1 & (distance ^ right)
        if not up:
            if right:
                x, y = scale - 1 - x, scale - 1 - y
            x, y = y, x
        x, y = x + scale * right, y + scale * up
        distance >>= 2
        scale <<= 1
    return x, y
