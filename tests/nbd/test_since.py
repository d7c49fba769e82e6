"""What changed since an ancestor, as clients of QEMU's dirty bitmaps ask for it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import vhdx
from tests.chains.twin import twin_of
from tests.interop.programs import run
from tests.support.layout import MIB
from tests.support.patterns import pattern
from tests.support.tools import needs
from vhdx.disk.open import open_disk
from vhdx.nbd.export import Export
from vhdx.ops.info import ImageInfo, info

from .serving import Process, serving

SIZE = 12 * MIB
pytestmark = needs("nbdinfo")


TAKE = """
def take(context, offset, entries, error):
    global at
    for length, dirty in zip(entries[::2], entries[1::2]):
        if dirty: copy.seek(at); copy.write(h.pread(length, at))
        at += length
"""


class Run(NamedTuple):
    """A run as nbdinfo and `qemu-img map` tell it."""

    offset: int
    length: int
    value: int


def chain(folder: Path) -> list[Path]:
    """Base, Monday, Tuesday: the youngest last."""
    files = [folder / "base.vhdx"]
    vhdx.create(files[0], SIZE, block_size=MIB)
    with vhdx.open(files[0], "r+") as disk:
        disk.pwrite(pattern(1, 6 * MIB), 0)
    for number, name in enumerate(("monday", "tuesday"), 1):
        files.append(folder / f"{name}.avhdx")
        vhdx.create(files[-1], parent=files[-2])
        with vhdx.open(files[-1], "r+") as disk:
            disk.pwrite(pattern(number, 3000), number * MIB + 100)
            disk.zero(offset=(3 + number) * MIB, length=MIB)
    return files


def changed(*files: Path, layers: int) -> list[Run]:
    """What the uppermost layers say, by a reader that is not ours, as runs over the whole disk."""
    found, at = [], 0
    for offset, length, _ in [*twin_of(*files).changed(layers), (SIZE, 0, "")]:
        if offset > at:
            found.append(Run(at, offset - at, 0))
        if found and found[-1].value and found[-1].offset + found[-1].length == offset:
            found[-1] = found[-1]._replace(length=found[-1].length + length)
        elif length:
            found.append(Run(offset, length, 1))
        at = offset + length
    return found


@pytest.fixture(name="files")
def _files(tmp_path: Path) -> list[Path]:
    return chain(tmp_path)[::-1]


@pytest.fixture(name="served")
def _served(files: list[Path], tmp_path: Path) -> Iterator[Process]:
    with serving(files[0], "--socket", tmp_path / "s") as process:
        yield process
        assert process.end() == (0, "")


def by_nbdinfo(uri: str, name: str) -> list[Run]:
    found = json.loads(run("nbdinfo", "--json", f"--map=qemu:dirty-bitmap:since-{name}", uri))
    runs: list[Run] = []
    for row in found:  # it asks piece by piece
        if runs and runs[-1].value == row["type"]:
            runs[-1] = runs[-1]._replace(length=runs[-1].length + row["length"])
        else:
            runs.append(Run(row["offset"], row["length"], row["type"]))
    return runs


def test_nbdinfo_and_qemu_see_what_changed(files: list[Path], served: Process) -> None:
    offered = json.loads(run("nbdinfo", "--json", "--list", served.uri))["exports"][0]["contexts"]
    assert offered[-2:] == [
        "qemu:dirty-bitmap:since-monday.avhdx",
        "qemu:dirty-bitmap:since-base.vhdx",
    ]
    for layers, name in ((1, "monday.avhdx"), (2, "base.vhdx")):
        expected = changed(*files, layers=layers)
        assert by_nbdinfo(served.uri, name) == expected
        assert sum(each.length for each in expected if each.value) == layers * (MIB + 3584)
    described = json.loads(run("nbdinfo", "--json", "--map=qemu:dirty-bitmap:since-base.vhdx", served.uri))
    assert {row["description"] for row in described} == {"clean", "dirty"}


@needs("qemu-img")
def test_qemu_takes_it_for_a_dirty_bitmap(files: list[Path], served: Process, tmp_path: Path) -> None:
    """Its client shows the bits of such a bitmap as what is no data."""
    options = {
        "driver": "nbd",
        "server": {"type": "unix", "path": str(tmp_path / "s")},
        "export": "tuesday.avhdx",
        "x-dirty-bitmap": "qemu:dirty-bitmap:since-base.vhdx",
    }
    rows = json.loads(run("qemu-img", "map", "--output=json", f"json:{json.dumps({**options})}"))
    found = [Run(row["start"], row["length"], int(not row["data"])) for row in rows]
    assert found == changed(*files, layers=2)


@needs("nbdsh")
def test_a_client_takes_the_increment(files: list[Path], served: Process, tmp_path: Path) -> None:
    """As backup programs do: only what is dirty is read, and laid over a copy of the ancestor."""
    with vhdx.open(files[2]) as base:
        (tmp_path / "copy.raw").write_bytes(base.pread(SIZE, 0))
    lines = (
        "name = 'qemu:dirty-bitmap:since-base.vhdx'",
        "h.add_meta_context(name)",
        f"h.connect_uri({served.uri!r})",
        "assert h.can_meta_context(name)",
        f"copy, at = open({str(tmp_path / 'copy.raw')!r}, 'r+b'), 0",
        TAKE,
        "runs = []",
        "def note(context, offset, entries, error): runs.append((context, offset, list(entries)))",
        "h.block_status(h.get_size(), 0, note)",
        "for each in runs: take(*each, None)",
        "assert at == h.get_size(), at",
        "copy.close()",
    )
    system = "PATH=/usr/bin:/bin"  # its Python module is that of the host
    run("env", system, "nbdsh", *(word for line in lines for word in ("-c", line)))
    assert (tmp_path / "copy.raw").read_bytes() == twin_of(*files).read(SIZE, 0)


# names, and layers that hide something ------------------------------------------------------------


def test_ancestors_of_one_name_are_called_by_their_identity(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    vhdx.create(tmp_path / "sub" / "disk.vhdx", SIZE)
    vhdx.create(tmp_path / "disk.vhdx", parent=tmp_path / "sub" / "disk.vhdx")
    vhdx.create(tmp_path / "child.vhdx", parent=tmp_path / "disk.vhdx")
    found = [info(path) for path in (tmp_path / "disk.vhdx", tmp_path / "sub" / "disk.vhdx")]
    with vhdx.open(tmp_path / "child.vhdx") as disk:
        names = list(disk.contexts)[2:]
    identities = [each.data_write_guid for each in found if isinstance(each, ImageInfo)]
    assert names == [f"qemu:dirty-bitmap:since-{identity}" for identity in identities]


def test_what_a_shorter_layer_hides_is_changed(tmp_path: Path) -> None:
    """Nothing that reads otherwise than the ancestor may be called clean; more may be dirty."""
    files = chain(tmp_path)
    with vhdx.open(files[0]) as disk:
        base = disk.pread(SIZE, 0)
    (tmp_path / "short.raw").write_bytes(base[: 5 * MIB])
    for path in files[1:]:
        path.unlink()
    vhdx.create_increment(files[1], parent=files[0], contents=tmp_path / "short.raw")
    vhdx.create(files[2], SIZE, parent=files[1])
    with open_disk(files[2]) as disk:
        export = Export("x", disk)
        (runs,) = export.status(SIZE, 0, ["qemu:dirty-bitmap:since-base.vhdx"], one=False)
        now, at = disk.pread(SIZE, 0), 0
        for length, dirty in runs:
            assert dirty or now[at : at + length] == base[at : at + length]
            at += length
    assert at == SIZE
    assert now[5 * MIB : 6 * MIB] != base[5 * MIB : 6 * MIB]
