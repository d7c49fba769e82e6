"""Images that we make and others read: what is in them, and how they are made."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import vhdx
from tests.ops.make.making import raw_bytes, write_raw
from tests.support.layout import GIB, KIB, MIB
from tests.support.patterns import pattern


@dataclass(frozen=True)
class Made:
    """A disk of ``size`` bytes with these pieces in it, converted with these options."""

    name: str
    size: int
    pieces: Mapping[int, bytes]
    options: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name

    def write(self, folder: Path) -> Path:
        """Convert the raw disk."""
        raw = write_raw(folder / "source.raw", self.size, self.pieces)
        vhdx.convert(raw, folder / "made.vhdx", options=vhdx.ImageOptions(**self.options))
        return folder / "made.vhdx"

    def content(self) -> bytes:
        """The whole disk."""
        return raw_bytes(self.size, self.pieces)


_SOME = {0: pattern(0, 20 * KIB), 2 * MIB - 5: pattern(1, MIB), 6 * MIB - 512: b"e" * 512}
_SIZE = 10 * MIB + 1024

SMALL = [
    *(
        Made(
            f"{kind}, blocks of {block_size // MIB} MiB",
            _SIZE,
            _SOME,
            {"block_size": block_size, "disk_type": kind},
        )
        for kind in ("dynamic", "fixed")
        for block_size in (MIB, 2 * MIB, 8 * MIB, 32 * MIB, 256 * MIB)
        if kind == "dynamic" or block_size <= 32 * MIB
    ),
    Made("zero blocks", _SIZE, _SOME, {"block_size": MIB, "zero_blocks": True}),
    Made("log of 4 MiB", _SIZE, _SOME, {"block_size": MIB, "log_size": 4 * MIB}),
    Made("physical sectors of 512", _SIZE, _SOME, {"block_size": MIB, "physical_sector_size": 512}),
    Made("empty", _SIZE, {}, {"block_size": MIB}),
    Made("full", 6 * MIB, {0: pattern(0, 6 * MIB)}, {"block_size": MIB}),
    Made("two sectors", 1024, {0: pattern(0, 1024)}),
    Made("one block and two sectors", MIB + 1024, {MIB: b"x" * 1024}, {"block_size": MIB}),
]

ODD_SECTORS = [
    Made("one sector", 512, {0: pattern(0, 512)}),
    Made("one block and a sector", MIB + 512, {MIB: b"x" * 512}, {"block_size": MIB}),
]

LARGE_SECTORS = [
    Made("4096 over 4096", 10 * MIB, _SOME, {"block_size": MIB, "logical_sector_size": 4096}),
    Made(
        "4096 over 512",
        10 * MIB,
        _SOME,
        {"block_size": 2 * MIB, "logical_sector_size": 4096, "physical_sector_size": 512},
    ),
]

_AT_BORDERS = {number * MIB - 512: pattern(number, 1024) for number in (1, 4095, 4096, 4097, 8191, 8192)}
CHUNKS = [
    Made("over chunks, blocks of 1 MiB", 8 * GIB + 3 * MIB, _AT_BORDERS, {"block_size": MIB}),
    Made("over chunks, blocks of 256 MiB", 8 * GIB + 3 * MIB, _AT_BORDERS, {"block_size": 256 * MIB}),
    Made(
        "over chunks, zero blocks",
        8 * GIB + 3 * MIB,
        _AT_BORDERS,
        {"block_size": MIB, "zero_blocks": True},
    ),
    Made("exactly one chunk", 4 * GIB, {4 * GIB - 512: b"x" * 512}, {"block_size": MIB}),
]


def ranges_of(made: Made) -> list[tuple[int, int]]:
    """Where a large disk is worth looking at, as (offset, length)."""
    wanted = {0, made.size - 4096}
    for at, data in made.pieces.items():
        wanted |= {max(0, at - 4096), max(0, at + len(data) - 4096)}
    return [(at, min(8192, made.size - at)) for at in sorted(wanted)]


def expected_of(made: Made) -> list[bytes]:
    """What the ranges hold."""
    found = []
    for start, length in ranges_of(made):
        window = bytearray(length)
        for at, data in made.pieces.items():
            low, high = max(at, start), min(at + len(data), start + length)
            if low < high:
                window[low - start : high - start] = data[low - at : high - at]
        found.append(bytes(window))
    return found
