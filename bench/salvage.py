"""What is saved of damaged images: our `convert --salvage` beside what other programs get from the same file.

Real images, if `images/` is found, and some made here, each damaged in one way after the other; the figure is
which share of the bytes of the disk that are not zeros does not come out as it was. Less is better.
"""

from __future__ import annotations

import contextlib
import json
import lzma
import os
import random
import shutil
import subprocess
from typing import TYPE_CHECKING, NamedTuple

import vhdx
from bench.harness import OURS, Row, have
from vhdx.disk.open import open_disk
from vhdx.units import KIB, MIB

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    Read = Callable[[int, int], bytes]
    """Bytes of a disk by length and offset; OSError where there are none."""
    Contestant = Callable[[Path, "Told"], AbstractContextManager[Read]]

PAGE = 4096
LARGEST_DISK = 1024 * MIB
IMAGES = os.environ.get("VHDX_IMAGES", "../shared/images")
"""The folder of real images, packed, with a list of them in `images.json`."""
TIMES = 3
"""How often each image is damaged in a way that may strike anywhere."""
AIM = "never worse"
NO_CHAINS = "qemu-img convert --salvage, which reads no chains"


class Told(NamedTuple):
    """What a program may know beside the damaged file."""

    known: vhdx.KnownDisk | None = None
    parent: Path | None = None


class Sample(NamedTuple):
    """A sound image: the pages of its disk that are not zeros, by offset, and where its parts stand."""

    path: Path
    known: vhdx.KnownDisk
    pages: dict[int, bytes]
    places: dict[str, int]
    table_size: int
    blocks: list[tuple[int, int]]
    """(file offset, length) of what stands in the file of the disk."""
    parent: Path | None = None
    """Of a differencing image: its sound parent, beside it."""


def measure(folder: Path) -> Iterator[Row]:
    """Each way of damage on every image, for everybody who is there."""
    samples = [sample(path) for path in (*real_images(folder), *made_images(folder))]
    samples = [each for each in samples if each.pages]
    print(f"{len(samples)} images", flush=True)
    for what in DAMAGES:
        yield from rows(what, lost_shares(what, samples, folder))
    chain = [a_chain(folder)]
    for what in DAMAGES:
        yield from rows(what, lost_shares(what, chain, folder), of="a chain, its child")


def rows(what: str, lost: Mapping[str, float], *, of: str = "an image") -> list[Row]:
    """Our share of what was lost, in percent, beside each of the others'."""
    return [
        Row(f"lost of {of} with {what}", lost[OURS], name, share, "%", AIM, lost[OURS] <= share)
        for name, share in lost.items()
        if name != OURS
    ]


# Images ------------------------------------------------------------------------------------------


def real_images(folder: Path) -> Iterator[Path]:
    """The real ones that are no children and whose disks are not too large, unpacked."""
    if not os.path.exists(listed := os.path.join(IMAGES, "images.json")):
        return
    with open(listed, encoding="utf-8") as file:
        images = json.load(file)
    for name, told in images.items():
        if told["virtual_size"] <= LARGEST_DISK and told["type"] != "differencing":
            path = folder / name
            with lzma.open(os.path.join(IMAGES, f"{name}.xz")) as packed, open(path, "wb") as unpacked:
                shutil.copyfileobj(packed, unpacked, MIB)
            yield path


def made_images(folder: Path) -> Iterator[Path]:
    """A dynamic one with blocks in any order, the same with a log that is not empty, and a fixed one."""
    chance = random.Random(1)
    order = chance.sample(range(100), 72)
    path = folder / "scattered.vhdx"
    vhdx.create(path, 100 * MIB, block_size=MIB)
    with vhdx.open(path, "r+") as disk:
        for number in order:
            disk.pwrite(chance.randbytes(64 * KIB), number * MIB + chance.randrange(15) * 64 * KIB)
        disk.flush()
        shutil.copyfile(path, folder / "dirty.vhdx")
    yield path
    yield folder / "dirty.vhdx"
    fixed = folder / "fixed.vhdx"
    vhdx.create(fixed, 80 * MIB, block_size=MIB, disk_type="fixed")
    with vhdx.open(fixed, "r+") as disk:
        for number in range(0, 80, 2):
            disk.pwrite(chance.randbytes(64 * KIB), number * MIB)
    yield fixed


def a_chain(folder: Path) -> Sample:
    """A child over a parent: whole blocks of its own, parts of blocks, and what only its parent has."""
    parent, child, chance = folder / "base.vhdx", folder / "child.avhdx", random.Random(2)
    vhdx.create(parent, 100 * MIB, block_size=MIB)
    with vhdx.open(parent, "r+") as disk:
        for number in chance.sample(range(100), 60):
            disk.pwrite(chance.randbytes(64 * KIB), number * MIB)
    vhdx.create(child, parent=parent, block_size=MIB)
    with vhdx.open(child, "r+") as disk:
        for number in chance.sample(range(100), 40):
            length = chance.choice((MIB, 64 * KIB))
            disk.pwrite(
                chance.randbytes(length), number * MIB + chance.randrange(MIB - length + 1) // PAGE * PAGE
            )
    return sample(child)._replace(parent=parent, table_size=100 * 8)  # without slots that no block has


def sample(path: Path) -> Sample:
    """What there is to be saved of a sound image."""
    pages = {}
    with open_disk(path) as disk:
        for start, length in disk.data_ranges():
            data = disk.pread(length, start)
            for at in range(0, length, PAGE):
                if (page := data[at : at + PAGE]).strip(b"\0"):
                    pages[start + at] = page
        blocks = [
            (extent.file_offset, extent.length)
            for extent in disk.extents()
            if extent.kind is vhdx.ExtentKind.DATA and extent.file_offset is not None and extent.depth == 1
        ]
        layer = disk.layers[0]
        places = {
            "log": layer.header.log_offset,
            "metadata": layer.regions.metadata.file_offset,
            "BAT": layer.regions.bat.file_offset,
        }
        known = vhdx.KnownDisk(disk.size, disk.block_size, disk.logical_sector_size, disk.disk_type)
        return Sample(path, known, pages, places, layer.geometry.bat_entry_count * 8, blocks)


# Damage ------------------------------------------------------------------------------------------


class Damage(NamedTuple):
    """One way of damage: what is written where, how often, and whether the sizes of the disk must be told."""

    made: Callable[[Sample, random.Random], Iterator[tuple[int, bytes]]]
    times: int = 1
    needs_sizes: bool = False


def _at(*ranges: tuple[int, int]) -> Damage:
    """Other bytes in ranges (file offset, length)."""
    return Damage(lambda _, chance: ((at, chance.randbytes(length)) for at, length in ranges))


def _in(place: str, offset: int, length: int, *, needs_sizes: bool = False) -> Damage:
    """Other bytes in one of the places of an image."""
    return Damage(
        lambda image, chance: iter([(image.places[place] + offset, chance.randbytes(length))]),
        needs_sizes=needs_sizes,
    )


def _table_sector(image: Sample, chance: random.Random) -> Iterator[tuple[int, bytes]]:
    yield image.places["BAT"] + chance.randrange(-(-image.table_size // 512)) * 512, bytes(512)


def _table_noise(image: Sample, chance: random.Random) -> Iterator[tuple[int, bytes]]:
    yield image.places["BAT"] + chance.randrange(-(-image.table_size // 512)) * 512, chance.randbytes(512)


def _entry(image: Sample, chance: random.Random) -> Iterator[tuple[int, bytes]]:
    yield image.places["BAT"] + chance.randrange(image.table_size // 8) * 8, chance.randbytes(8)


def _payload(image: Sample, chance: random.Random) -> Iterator[tuple[int, bytes]]:
    for _ in range(8):
        at, length = chance.choice(image.blocks)
        yield at + chance.randrange(length // 512) * 512, chance.randbytes(512)


def _anywhere(image: Sample, chance: random.Random) -> Iterator[tuple[int, bytes]]:
    end = min(os.path.getsize(image.path), 4 * MIB)
    for _ in range(8):
        yield chance.randrange(end // 512) * 512, chance.randbytes(512)


def _cut(image: Sample, chance: random.Random) -> Iterator[tuple[int, bytes]]:
    """No bytes: the file ends there."""
    first = min(at for at, _ in image.blocks)
    yield chance.randrange(first, os.path.getsize(image.path)), b""


DAMAGES = {
    "no damage": Damage(lambda _image, _chance: iter(())),
    "no identifier": _at((0, 512)),
    "one header gone": _at((64 * KIB, PAGE)),
    "the other header gone": _at((128 * KIB, PAGE)),
    "both headers gone": _at((64 * KIB, PAGE), (128 * KIB, PAGE)),
    "one region table gone": _at((192 * KIB, 512)),
    "both region tables gone": _at((192 * KIB, 512), (256 * KIB, 512)),
    "the first MiB zeros": Damage(lambda _image, _chance: iter([(0, bytes(MIB))])),
    "the metadata table gone": _in("metadata", 0, 512),
    "the metadata items gone": _in("metadata", 64 * KIB, 512, needs_sizes=True),
    "a sector of the BAT zeros": Damage(_table_sector, TIMES),
    "noise in a sector of the BAT": Damage(_table_noise, TIMES),
    "noise in an entry of the BAT": Damage(_entry, TIMES),
    "noise in the log": _in("log", 0, 64 * KIB),
    "noise in 8 sectors of blocks": Damage(_payload, TIMES),
    "noise in 8 sectors of the first 4 MiB": Damage(_anywhere, TIMES),
    "its end cut off": Damage(_cut, TIMES),
}


def damaged(image: Sample, what: str, number: int, target: Path) -> None:
    """A copy of an image, damaged so for the ``number``-th time."""
    shutil.copyfile(image.path, target)
    with open(target, "r+b") as file:
        for at, data in DAMAGES[what].made(image, random.Random(f"{what} {image.path.name} {number}")):
            if data:
                file.seek(at)
                file.write(data)
            else:
                file.truncate(at)


# Contestants -------------------------------------------------------------------------------------


@contextlib.contextmanager
def _ours(path: Path, told: Told) -> Iterator[Read]:
    raw = path.with_suffix(".ours.raw")
    with contextlib.suppress(vhdx.VhdxError):
        vhdx.convert(path, raw, source_format="vhdx", salvage=True, overwrite=True, known=told.known)
    with _reading(raw) as read:
        yield read


@contextlib.contextmanager
def _qemu(path: Path, _told: Told) -> Iterator[Read]:
    raw = path.with_suffix(".qemu.raw")
    words = ["qemu-img", "convert", "--salvage", "-f", "vhdx", "-O", "raw", str(path), str(raw)]
    subprocess.run(words, capture_output=True, check=False)
    with _reading(raw) as read:
        yield read


@contextlib.contextmanager
def _seven_zip(path: Path, _told: Told) -> Iterator[Read]:
    raw = path.with_suffix(".7z.raw")
    with open(raw, "wb") as file:
        words = ["7zz", "x", "-tvhdx", "-so", str(path)]
        subprocess.run(words, stdout=file, stderr=subprocess.DEVNULL, check=False)
    with _reading(raw) as read:
        yield read


@contextlib.contextmanager
def _pyvhdi(path: Path, told: Told) -> Iterator[Read]:
    import pyvhdi  # noqa: PLC0415  may be absent

    file, parent = pyvhdi.file(), pyvhdi.file()
    with contextlib.ExitStack() as opened:
        read: Read = lambda _length, _offset: b""  # noqa: E731  of what cannot be opened
        with contextlib.suppress(OSError):
            file.open(str(path))
            opened.callback(file.close)
            if told.parent is not None:
                parent.open(str(told.parent))
                opened.callback(parent.close)
                file.set_parent(parent)
            read = file.read_buffer_at_offset
        yield read


@contextlib.contextmanager
def _reading(raw: Path) -> Iterator[Read]:
    """A file that may be short or not there; it is removed afterwards."""
    if not raw.exists():
        yield lambda _length, _offset: b""
        return
    with open(raw, "rb") as file:
        yield lambda length, offset: os.pread(file.fileno(), length, offset)
    raw.unlink()


def contestants(*, chain: bool = False) -> dict[str, Contestant]:
    """Who is here."""
    found: dict[str, Contestant] = {OURS: _ours}
    if have("qemu-img"):
        found[NO_CHAINS if chain else "qemu-img convert --salvage"] = _qemu
    with contextlib.suppress(ImportError):
        import pyvhdi  # noqa: F401, PLC0415  may be absent

        found["pyvhdi"] = _pyvhdi
    if have("7zz"):
        found["7-Zip"] = _seven_zip
    return found


def lost_shares(what: str, samples: list[Sample], folder: Path) -> dict[str, float]:
    """For everybody the percentage of bytes that did not come out, each image as heavy as any other."""
    path = folder / "damaged.vhdx"
    here = contestants(chain=any(image.parent for image in samples))
    lost, times = dict.fromkeys(here, 0.0), DAMAGES[what].times
    for image in samples:
        for number in range(times):
            damaged(image, what, number, path)
            told = Told(image.known if DAMAGES[what].needs_sizes else None, image.parent)
            for name, contestant in here.items():
                with contestant(path, told) as read:
                    lost[name] += lost_of(image, read)
    return {name: 100 * share / (times * len(samples)) for name, share in lost.items()}


def lost_of(image: Sample, read: Read) -> float:
    """The share of the pages that are not what they were."""
    return sum(not _is_right(read, offset, page) for offset, page in image.pages.items()) / len(image.pages)


def _is_right(read: Read, offset: int, page: bytes) -> bool:
    try:
        return read(len(page), offset) == page
    except OSError:
        return False
