"""Copies of blocks that a broken-off compaction leaves are no lost blocks; contents that repeat may be."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

import vhdx
from tests.support.build import ImageBuilder
from tests.support.layout import MIB
from tests.support.parts import Block
from tests.support.patterns import pattern

COUNT = 20
COPIED = 12
"""More than any crash but that of a compaction leaves."""


def _cut_short(content: bytes) -> bytes:
    return content[: MIB - 4096] + bytes(4096)


def _other_end(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


def _all_alike(content: bytes) -> bytes:
    return pattern(3, MIB)


def _same(content: bytes) -> bytes:
    return content


def _broken_off(path: Path, change: Callable[[bytes], bytes]) -> tuple[bytes, ...]:
    """Blocks of which some stand behind the others once more, changed; what the disk holds."""
    image = ImageBuilder(2 * COUNT * MIB, MIB)
    image.blocks = {number: Block(pattern(number, MIB)) for number in range(COUNT)}
    image.write(path)
    contents = tuple(pattern(number, MIB) for number in range(COUNT))
    with open(path, "r+b") as file:
        file.seek(0, os.SEEK_END)
        file.writelines(change(content) for content in contents[:COPIED])
        file.write(pattern(99, 4096))  # a copy that was not even begun in order: no whole MiB
    return contents


@pytest.mark.parametrize("change", [_same, _cut_short])
def test_copies_are_given_back(change: Callable[[bytes], bytes], tmp_path: Path) -> None:
    path = tmp_path / "vm.vhdx"
    contents = _broken_off(path, change)
    found = vhdx.check(path)
    assert "space.lost_entries" not in found.codes
    assert not found.errors
    vhdx.compact(path)
    assert not vhdx.check(path).findings
    with vhdx.open(path) as disk:
        assert disk.pread(COUNT * MIB, 0) == b"".join(contents)


@pytest.mark.parametrize("change", [_other_end, _all_alike])
def test_what_differs_or_repeats_is_kept(change: Callable[[bytes], bytes], tmp_path: Path) -> None:
    path = tmp_path / "vm.vhdx"
    _broken_off(path, change)
    before = path.read_bytes()
    assert vhdx.check(path).codes["space.lost_entries"] == 1
    with pytest.raises(vhdx.CorruptImageError, match="lost entries"):
        vhdx.compact(path)
    assert path.read_bytes() == before
