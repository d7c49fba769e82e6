"""A second opinion on chains: what BAT and bitmaps of each layer say, and what the disk reads as.

Written from the format reference, faster than `tests.support.naive` because it takes sectors by the array;
`naive_agrees` asks that one, too, at a sample of places.
"""

import os
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.support import naive
from tests.support.calls import OPEN_FLAGS, pread
from tests.support.holes import data_pieces
from tests.support.layout import (
    BITS_OF_A_BITMAP,
    FULLY_PRESENT,
    MIB,
    NOT_PRESENT,
    PARTIALLY_PRESENT,
    UNDEFINED,
    UNMAPPED,
    ZERO,
)
from tests.support.soundness import Survey, Surveyor
from tests.support.sparse import Content

Read = Callable[[int, int], bytes]
ZEROS = (UNDEFINED, ZERO, UNMAPPED)
ZERO_MIB = bytes(MIB)


@dataclass(frozen=True)
class Layer:
    """One file: sizes of its disk, and where its tables and bytes are. `read` takes length and offset."""

    size: int
    block_size: int
    sector_size: int
    differencing: bool
    bat_offset: int
    read: Read

    @property
    def ratio(self) -> int:
        """Blocks of a chunk."""
        return BITS_OF_A_BITMAP * self.sector_size // self.block_size

    @property
    def block_count(self) -> int:
        """Blocks of the disk."""
        return -(-self.size // self.block_size)

    def _word(self, index: int) -> int:
        return int.from_bytes(self.read(8, self.bat_offset + 8 * index), "little")

    def entry(self, block: int) -> tuple[int, int]:
        """State and file offset of a payload block."""
        word = self._word(block + block // self.ratio)
        return word & 7, word >> 20 << 20

    def bitmap(self, chunk: int) -> tuple[int, int]:
        """State and file offset of a bitmap block."""
        word = self._word((chunk + 1) * self.ratio + chunk)
        return word & 7, word >> 20 << 20

    @property
    def states(self) -> list[int]:
        """The state of every block."""
        return [self.entry(block)[0] for block in range(self.block_count)]

    def bits(self, block: int) -> NDArray[np.uint8]:
        """One number for each sector of a block: 1 where the data is in this file."""
        state, place = self.bitmap(block // self.ratio)
        assert state == FULLY_PRESENT, f"block {block} has no bitmap"
        sectors = self.block_size // self.sector_size
        raw = self.read(sectors // 8, place + block % self.ratio * sectors // 8)
        return np.unpackbits(np.frombuffer(raw, np.uint8), bitorder="little")


class Twin:
    """A chain of layers, the youngest first, as one disk. Missing layers read as zeros."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        self.layers = tuple(layers)

    def read(self, length: int, offset: int, depth: int = 0) -> bytes:
        """Bytes of the disk."""
        if depth == len(self.layers):
            return bytes(length)
        layer = self.layers[depth]
        end = max(offset, min(offset + length, layer.size))
        parts, at = [], offset
        while at < end:
            block, inside = divmod(at, layer.block_size)
            step = min(layer.block_size - inside, end - at)
            parts.append(self._part(layer, block, inside, step, depth))
            at += step
        parts.append(bytes(length - (end - offset)))
        return b"".join(parts)

    def _part(self, layer: Layer, block: int, inside: int, length: int, depth: int) -> bytes:
        state, place = layer.entry(block)
        if state == FULLY_PRESENT:
            return layer.read(length, place + inside)
        if state in ZEROS or (state == NOT_PRESENT and not layer.differencing):
            return bytes(length)
        assert state in (NOT_PRESENT, PARTIALLY_PRESENT), f"block {block} is in state {state}"
        below = self.read(length, block * layer.block_size + inside, depth + 1)
        if state == NOT_PRESENT:
            return below
        size = layer.sector_size
        first, last = inside // size, -(-(inside + length) // size)
        mask = np.repeat(layer.bits(block)[first:last], size)[inside - first * size :][:length]
        own = np.frombuffer(layer.read(length, place + inside), np.uint8)
        return np.where(mask, own, np.frombuffer(below, np.uint8)).tobytes()

    def changed(self, layers: int = 1) -> list[tuple[int, int, str]]:
        """(offset, length, kind) of what the first so many layers say, neighbours joined."""
        size = self.layers[0].sector_size
        said = np.zeros(self.layers[0].size // size, np.uint8)
        seen = len(said)
        for layer in self.layers[:layers]:
            seen = min(seen, layer.size // size)
            here = _said(layer)[:seen]
            said[:seen] = np.where(said[:seen] == 0, here, said[:seen])
        borders = [0, *(np.flatnonzero(np.diff(said)) + 1).tolist(), len(said)]
        return [
            (start * size, (end - start) * size, KINDS[int(said[start])])
            for start, end in pairwise(borders)
            if said[start]
        ]


KINDS = ("", "data", "zero")


def _said(layer: Layer) -> NDArray[np.uint8]:
    """The number of the kind of each sector, 0 where the layer says nothing."""
    sectors = layer.block_size // layer.sector_size
    parts = []
    for block, state in enumerate(layer.states):
        if state == PARTIALLY_PRESENT:
            parts.append(layer.bits(block))
        else:
            kind = 2 if state in ZEROS else int(state == FULLY_PRESENT)
            parts.append(np.full(sectors, kind, np.uint8))
    return np.concatenate(parts)[: layer.size // layer.sector_size]


def layer_of_survey(survey: Survey) -> Layer:
    """What a survey found, after replay."""
    from tests.support.layout import BAT_GUID  # noqa: PLC0415  the only place that knows regions

    disk = survey.disk
    bat = survey.regions[BAT_GUID][0]
    return Layer(disk.size, disk.block_size, disk.sector_size, disk.differencing, bat, survey.replayed.read)


def layer_of(path: Path) -> Layer:
    """What stands in a file, after replay of its log; the file is read as it is at each call."""
    descriptor = os.open(path, os.O_RDONLY | OPEN_FLAGS)
    try:
        image = naive._load(*naive.file_of(descriptor))
    finally:
        os.close(descriptor)
    assert not image.overlay, "the log is dirty"
    read = partial(_read, path)
    return Layer(
        image.disk_size, image.block_size, image.sector_size, image.has_parent, image.bat_offset, read
    )


def _read(path: Path, length: int, offset: int) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | OPEN_FLAGS)
    try:
        data = pread(descriptor, length, offset)
    finally:
        os.close(descriptor)
    assert len(data) == length, f"{length} bytes at {offset} pass the end of {path}"
    return data


def twin_of(*files: Path) -> Twin:
    """The disk of files, the youngest first."""
    return Twin([layer_of(file) for file in files])


def content_of_file(path: Path) -> Content:
    """A file in memory, holes left out."""
    content = Content()
    for at, piece in data_pieces(path):
        if piece != ZERO_MIB[: len(piece)]:
            content.write(piece, at)
    content.resize(path.stat().st_size)
    return content


def assert_sound(path: Path) -> Survey:
    """Nothing in a file overlaps, nothing is illegal, and partially present blocks have their bitmap."""
    survey = Surveyor().survey(content_of_file(path))
    assert not survey.warnings
    assert_bitmaps(survey)
    return survey


def assert_bitmaps(survey: Survey) -> None:
    """Every chunk with a partially present block has its bitmap block."""
    ratio = survey.disk.ratio
    for index in np.flatnonzero(survey.words & np.uint64(7) == PARTIALLY_PRESENT).tolist():
        chunk = index // (ratio + 1)
        assert int(survey.words[(chunk + 1) * ratio + chunk]) & 7 == FULLY_PRESENT, f"no bitmap of {chunk}"


def naive_agrees(files: Sequence[Path], content: bytes, seed: int, count: int = 6) -> None:
    """The naive reader sees a content at block borders and at a sample of other places."""
    chance = random.Random(seed)
    size = len(content)
    places = [chance.randrange(size) for _ in range(count)] + [0, size - 700, MIB - 600]
    with naive.naive_reader(files[0], files[1:]) as read:
        for place in places:
            length = min(1200, size - place)
            assert read(place, length) == content[place : place + length], f"the naive reader, at {place}"
