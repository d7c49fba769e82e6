"""An estate of small images: of every kind, broken ones, chains, orphans, some in use. Cheap to make."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import vhdx
from tests.support.build import ImageBuilder
from tests.support.damage import flip, overwrite
from tests.support.layout import MIB
from tests.support.parts import Block
from tests.support.patterns import pattern
from tests.support.presets import qemu_like
from tests.support.vhd import DYNAMIC, FIXED, VhdBuilder

BROKEN = 8
"""Kinds of damage."""


class Estate(NamedTuple):
    """Where it is, and how many images of it are what; ``rows`` is how many images there are."""

    folder: Path
    rows: int
    broken: int
    chains: int
    orphans: int
    in_use: list[Path]


def _dynamic(path: Path, seed: int) -> None:
    ImageBuilder(
        4 * MIB, seed=seed, blocks={0: Block(pattern(seed, 4096)), 2: Block(pattern(seed, 512))}
    ).write(path)


def _empty(path: Path, seed: int) -> None:
    ImageBuilder(64 * MIB, seed=seed).write(path)


def _fixed(path: Path, seed: int) -> None:
    ImageBuilder(
        2 * MIB, seed=seed, disk_type="fixed", blocks={n: Block(pattern(seed, 512)) for n in range(2)}
    ).write(path)


def _large_sectors(path: Path, seed: int) -> None:
    ImageBuilder(8 * MIB, seed=seed, logical_sector_size=4096, blocks={1: Block(pattern(seed, 4096))}).write(
        path
    )


def _qemu(path: Path, seed: int) -> None:
    qemu_like(disk_size=16 * MIB, seed=seed).write(path)


def _vhd(path: Path, seed: int) -> None:
    VhdBuilder(MIB, DYNAMIC, sectors={3: pattern(seed, 512)}, unique_id=UUID(int=seed)).write(path)


def _fixed_vhd(path: Path, seed: int) -> None:
    VhdBuilder(64 * 1024, FIXED, sectors={3: pattern(seed, 512)}, unique_id=UUID(int=seed)).write(path)


KINDS: list[tuple[Callable[[Path, int], None], str]] = [
    (_dynamic, ".vhdx"),
    (_empty, ".vhdx"),
    (_fixed, ".VHDX"),
    (_large_sectors, ".vhdx"),
    (_qemu, ".vhdx"),
    (_vhd, ".vhd"),
    (_fixed_vhd, ".vhd"),
]


def _no_region_tables(path: Path) -> None:
    for place in (192 << 10, 256 << 10):
        flip(path, place + 100)


def broken(path: Path, kind: int, seed: int) -> None:
    """An image with something wrong in it, of one of `BROKEN` kinds."""
    image = ImageBuilder(4 * MIB, seed=seed, blocks={0: Block(pattern(seed, 4096))})
    plan = image.plan()
    image.write(path)
    entry = path.read_bytes()[plan.bat_offset : plan.bat_offset + 8]
    (
        lambda: flip(path, 0),  # the signature
        lambda: flip(path, 64 * 1024 + 100),  # a header
        lambda: _no_region_tables(path),  # both region tables
        lambda: overwrite(path, plan.bat_offset + 8, entry),  # two blocks in one place
        lambda: overwrite(path, plan.metadata_offset, bytes(8)),  # the metadata table
        lambda: os.truncate(path, 2 * MIB),
        lambda: os.truncate(path, 0),
        lambda: overwrite(path, plan.bat_offset + 16, ((1 << 40) | 6).to_bytes(8, "little")),  # past the end
    )[kind]()


def _chain(folder: Path, seed: int) -> None:
    """A base with two children, one of which has one."""
    base = ImageBuilder(4 * MIB, seed=seed, blocks={0: Block(pattern(seed, 4096))})
    base.write(folder / f"base{seed}.vhdx")
    names = {"a": f"base{seed}.vhdx", "b": f"base{seed}.vhdx", "aa": f"a{seed}.avhdx"}
    made = {f"base{seed}.vhdx": base}
    for number, (name, parent) in enumerate(names.items(), 1):
        child = made[parent].child(parent)
        child.seed = seed + number
        made[f"{name}{seed}.avhdx"] = child
        child.write(folder / f"{name}{seed}.avhdx")


def make(folder: Path, *, plain: int, broken_ones: int, chains: int, in_use: int) -> Estate:
    """So many images of every kind, in directories of fifty."""
    folder.mkdir()
    seed = 1000
    for number in range(plain):
        place = folder / f"d{number // 50}"
        place.mkdir(exist_ok=True)
        write, suffix = KINDS[number % len(KINDS)]
        write(place / f"i{number}{suffix}", seed + number)
    seed += plain
    (folder / "broken").mkdir()
    for number in range(broken_ones):
        broken(folder / "broken" / f"b{number}.vhdx", number % BROKEN, seed + number)
    seed += broken_ones
    (folder / "chains").mkdir()
    for number in range(chains):
        _chain(folder / "chains", seed + 10 * number)
    seed += 10 * chains
    ImageBuilder(4 * MIB, seed=seed).child("gone.vhdx").write(folder / "chains" / "orphan.avhdx")
    (folder / "used").mkdir()
    used = [folder / "used" / f"u{number}.vhdx" for number in range(in_use)]
    for number, path in enumerate(used):
        _dynamic(path, seed + 1 + number)
    (folder / "readme.txt").write_text("no image")
    rows = plain + broken_ones + 4 * chains + 1 + in_use
    return Estate(folder, rows, broken_ones, chains, 1, used)


@contextlib.contextmanager
def in_use(estate: Estate) -> Iterator[None]:
    """As long as somebody writes to some of the images."""
    with contextlib.ExitStack() as held:
        for path in estate.in_use:
            held.enter_context(vhdx.open(path, "r+"))
        yield
