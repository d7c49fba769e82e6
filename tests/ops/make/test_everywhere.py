"""Every place that a disk comes from, every place that it goes to, every kind of image: the same bytes.

What is read was made by QEMU where it makes such images, and comes from programs of others (cat, nbdkit, a
web server, loop devices); what is written is taken by them, and judged by QEMU or the naive reader.
"""

import contextlib
import io
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from itertools import product
from pathlib import Path
from typing import NamedTuple

import pytest

import vhdx
from tests.client.peers import nbdkit
from tests.remote.server import serving
from tests.support.layout import MIB
from tests.support.naive import naive_content
from tests.support.patterns import pattern
from tests.support.tools import needs
from vhdx.disk.base import Format

from .making import write_raw

SIZE = 4 * MIB
PIECES = {
    0: b"first" * 3000,
    MIB - 3: b"over a border of MiB",
    2 * MIB: pattern(1, MIB + 512),
    SIZE - 5: b"last.",
}
OLD = b"\xaa" * SIZE
Attach = Callable[[Path], Path]
pytestmark = needs("qemu-img", "nbdkit", "cat")


class Image(NamedTuple):
    """A file with the disk in it, and the files that it needs."""

    path: Path
    format: Format
    others: tuple[Path, ...] = ()


def by_qemu(name: str, kind: str, options: str) -> Callable[[Path, Path], Image]:
    def make(folder: Path, raw: Path) -> Image:
        path = folder / name
        line = ["qemu-img", "convert", "-f", "raw", "-O", kind, "-o", options, str(raw), str(path)]
        subprocess.run(line, check=True)
        return Image(path, "vhd" if kind == "vpc" else "vhdx")

    return make


def chain(folder: Path, raw: Path) -> Image:
    """The child has the middle, the parent all else."""
    base, child = folder / "base.vhdx", folder / "child.avhdx"
    vhdx.convert(raw, base, options=vhdx.ImageOptions(block_size=MIB))
    content = raw.read_bytes()
    with vhdx.open(base, "r+") as disk:
        disk.pwrite(b"\xee" * (2 * MIB), MIB)
    vhdx.create(child, parent=base, block_size=MIB)
    with vhdx.open(child, "r+") as disk:
        disk.pwrite(content[MIB : 3 * MIB], MIB)
    return Image(child, "vhdx", (base,))


def of_4096(folder: Path, raw: Path) -> Image:
    vhdx.convert(raw, folder / "4096.vhdx", options=vhdx.ImageOptions(logical_sector_size=4096))
    return Image(folder / "4096.vhdx", "vhdx")


def dirty(folder: Path, raw: Path) -> Image:
    """As a crash leaves it: the tables of some blocks stand in the log alone."""
    path, left = folder / "clean.vhdx", folder / "dirty.vhdx"
    vhdx.create(path, SIZE, block_size=MIB)
    with vhdx.open(path, "r+") as disk:
        disk.pwrite(raw.read_bytes(), 0)
        disk.flush()
        shutil.copyfile(path, left)
    assert "log.dirty" in {finding.code for finding in vhdx.check(left).findings}
    return Image(left, "vhdx")


KINDS: dict[str, Callable[[Path, Path], Image]] = {
    "raw": lambda _, raw: Image(raw, "raw"),
    "fixed VHD": by_qemu("fixed.vhd", "vpc", "subformat=fixed,force_size=on"),
    "dynamic VHD": by_qemu("dynamic.vhd", "vpc", "subformat=dynamic,force_size=on"),
    "VHDX": by_qemu("dynamic.vhdx", "vhdx", "subformat=dynamic"),
    "fixed VHDX": by_qemu("fixed.vhdx", "vhdx", "subformat=fixed"),
    "chain": chain,
    "4096": of_4096,
    "dirty": dirty,
}


@pytest.fixture(name="images", scope="module")
def _images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Image]:
    folder = tmp_path_factory.mktemp("images")
    raw = write_raw(folder / "a.raw", SIZE, PIECES)
    return {kind: make(folder, raw) for kind, make in KINDS.items()}


@contextlib.contextmanager
def from_pipe(image: Image, _folder: Path, _attach: Attach) -> Iterator[str]:
    with subprocess.Popen(["cat", str(image.path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        with pytest.MonkeyPatch.context() as patch, io.TextIOWrapper(process.stdout) as read:
            patch.setattr(sys, "stdin", read)
            yield "-"


@contextlib.contextmanager
def from_web(image: Image, _folder: Path, _attach: Attach) -> Iterator[str]:
    with serving({f"/{image.path.name}": image.path.read_bytes()}) as server:
        yield f"{server.url}/{image.path.name}"


SOURCES: dict[str, Callable[[Image, Path, Attach], AbstractContextManager[str]]] = {
    "file": lambda image, *_: contextlib.nullcontext(str(image.path)),
    "pipe": from_pipe,
    "device": lambda image, _, attach: contextlib.nullcontext(str(attach(image.path))),
    "nbd": lambda image, folder, _: nbdkit(folder, "-r", "file", image.path),
    "web": from_web,
}


class Case(NamedTuple):
    """What is converted, where it comes from, where it goes to, and what it is there."""

    kind: str
    source: str
    sink: str
    wanted: str


class Made(NamedTuple):
    """Where a conversion writes to, and the file in which that ends up."""

    target: str
    file: Path


@contextlib.contextmanager
def to_pipe(name: str, folder: Path, _attach: Attach) -> Iterator[Made]:
    made = folder / name
    with (
        open(made, "wb") as file,
        subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=file) as process,
        pytest.MonkeyPatch.context() as patch,
    ):
        assert process.stdin is not None
        with io.TextIOWrapper(process.stdin) as output:
            patch.setattr(sys, "stdout", output)
            yield Made("-", made)


@contextlib.contextmanager
def to_device(_name: str, folder: Path, attach: Attach) -> Iterator[Made]:
    disk = folder / "device"
    disk.write_bytes(OLD)
    device = attach(disk)
    yield Made(str(device), disk)
    subprocess.run(["blockdev", "--flushbufs", str(device)], check=True)


@contextlib.contextmanager
def to_server(_name: str, folder: Path, _attach: Attach) -> Iterator[Made]:
    disk = folder / "export"
    disk.write_bytes(OLD)
    with nbdkit(folder, "file", disk) as uri:
        yield Made(uri, disk)


SINKS: dict[str, Callable[[str, Path, Attach], AbstractContextManager[Made]]] = {
    "file": lambda name, folder, _: contextlib.nullcontext(Made(str(folder / name), folder / name)),
    "pipe": to_pipe,
    "device": to_device,
    "nbd": to_server,
}
TARGETS: dict[str, tuple[Format, vhdx.ImageOptions | None]] = {
    "raw": ("raw", None),
    "VHD": ("vhd", None),
    "dynamic VHD": ("vhd", vhdx.ImageOptions(disk_type="dynamic")),
    "VHDX": ("vhdx", None),
    "fixed VHDX": ("vhdx", vhdx.ImageOptions(disk_type="fixed", block_size=MIB)),
}


def held_by(made: Path, format_: Format, *, sectors_of_4096: bool) -> bytes:
    """What others find in it."""
    if format_ == "raw":
        return made.read_bytes()
    if format_ == "vhdx" and sectors_of_4096:  # which QEMU refuses
        return naive_content(made, 0, SIZE)
    options = f"driver={'vpc' if format_ == 'vhd' else 'vhdx'},file.filename={made}"
    options += ",force_size_calc=current_size" if format_ == "vhd" else ""
    line = ["qemu-img", "convert", "--image-opts", "-O", "raw", options, f"{made}.back"]
    subprocess.run(line, check=True, capture_output=True)
    return Path(f"{made}.back").read_bytes()


def convert(images: dict[str, Image], case: Case, folder: Path, attach: Attach) -> None:
    image, (target_format, options) = images[case.kind], TARGETS[case.wanted]
    name = f"made.{target_format}"
    with (
        SOURCES[case.source](image, folder, attach) as source,
        SINKS[case.sink](name, folder, attach) as made,
    ):
        vhdx.convert(
            source,
            made.target,
            source_format=image.format,
            target_format=target_format,
            options=options,
            parents=image.others or None,
            overwrite=True,
        )
    found = held_by(made.file, target_format, sectors_of_4096=case.kind == "4096")
    assert found == images["raw"].path.read_bytes(), case


def cases() -> Iterator[Case]:
    for source, sink, kind in product(SOURCES, SINKS, KINDS):
        for wanted in TARGETS if sink in ("file", "pipe") else ["raw"]:
            yield Case(kind, source, sink, wanted)


def some() -> Iterator[Case]:
    """Two kinds for each pair of places, others for each pair."""
    by_places: dict[tuple[str, str], list[Case]] = {}
    for case in cases():
        by_places.setdefault((case.source, case.sink), []).append(case)
    for number, found in enumerate(by_places.values()):
        for step in (7 * number, 7 * number + len(found) // 2):
            yield found[step % len(found)]


@pytest.mark.parametrize("case", list(some()), ids=" ".join)
def test_places_and_kinds(images: dict[str, Image], tmp_path: Path, block_device: Attach, case: Case) -> None:
    convert(images, case, tmp_path, block_device)


@pytest.mark.slow
@pytest.mark.parametrize("case", list(cases()), ids=" ".join)
def test_every_place_and_kind(
    images: dict[str, Image], tmp_path: Path, block_device: Attach, case: Case
) -> None:
    convert(images, case, tmp_path, block_device)
