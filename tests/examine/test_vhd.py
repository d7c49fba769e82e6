"""Damaged VHDs: what check finds, what salvage returns, what repair may do. Nothing is lost."""

import shutil
import subprocess
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

import vhdx
from tests.cli.running import run
from tests.support.layout import KIB, MIB
from tests.support.tools import needs
from tests.support.vhd import DIFFERENCING, DYNAMIC, FIXED, VhdBuilder
from vhdx.disk.open import open_any
from vhdx.storage.file import FileStorage
from vhdx.text import shell_word

BLOCK = 64 * KIB
SIZE = 5 * BLOCK - 1024
SECTORS = {number: bytes([number % 251 + 1]) * 512 for number in (*range(128), *range(300, 330), 600, 637)}
"""All of block 0, parts of the blocks 2 and 4, of which the last one is short."""


def builder(disk_type: int = DYNAMIC, **options: object) -> VhdBuilder:
    return VhdBuilder(SIZE, disk_type, BLOCK, SECTORS, **options)  # type: ignore[arg-type]


class Damage(NamedTuple):
    """A damaged file: the codes that check finds, whether repair makes it clean, which blocks are lost."""

    name: str
    make: Callable[[bytes], bytes]
    codes: frozenset[str]
    repaired: bool
    lost: frozenset[int] = frozenset()
    doubtful: bool = True
    disk_type: int = DYNAMIC


def changed(data: bytes, at: int, value: bytes) -> bytes:
    at %= len(data)
    return data[:at] + value + data[at + len(value) :]


def entry(block: int, value: int) -> Callable[[bytes], bytes]:
    return lambda data: changed(data, 1536 + 4 * block, value.to_bytes(4, "big"))


def place_of(data: bytes, block: int) -> int:
    return int.from_bytes(data[1536 + 4 * block :][:4], "big") * 512


DAMAGES = [
    Damage("sound", bytes, frozenset(), repaired=True, doubtful=False),
    Damage("sound fixed", bytes, frozenset(), repaired=True, doubtful=False, disk_type=FIXED),
    Damage(
        "footer lost",
        lambda data: changed(data, -512, bytes(512)),
        frozenset({"vhd.footer_damaged"}),
        repaired=True,
        doubtful=False,
    ),
    Damage(
        "footer cut off",
        lambda data: data[:-512],
        frozenset({"vhd.footer_damaged"}),
        repaired=True,
        doubtful=False,
    ),
    Damage(
        "footer copy lost",
        lambda data: changed(data, 0, bytes(512)),
        frozenset({"vhd.footer_copy"}),
        repaired=True,
        doubtful=False,
    ),
    Damage(
        "both sums wrong",
        lambda data: changed(changed(data, 70, b"new id"), -512 + 70, b"new id"),
        frozenset({"vhd.footer_checksum"}),
        repaired=True,
    ),
    Damage(
        "the only sum wrong",
        lambda data: changed(data, -512 + 70, b"new id"),
        frozenset({"vhd.footer_checksum"}),
        repaired=True,
        disk_type=FIXED,
    ),
    Damage(
        "sum of the header wrong",
        lambda data: changed(data, 512 + 900, b"?"),
        frozenset({"vhd.header_checksum"}),
        repaired=True,
    ),
    Damage("entry of 0", entry(1, 0), frozenset({"vhd.entry_zero"}), repaired=True, doubtful=False),
    Damage(
        "entry in the table",
        entry(2, 3),
        frozenset({"vhd.entry_place", "vhd.space_unowned"}),
        repaired=False,
        lost=frozenset({2}),
    ),
    Damage(
        "entry far behind",
        entry(2, 1 << 30),
        frozenset({"vhd.entry_past_end", "vhd.space_unowned"}),
        repaired=False,
        lost=frozenset({2}),
    ),
    Damage(
        "entry lost",
        entry(0, 0xFFFFFFFF),
        frozenset({"vhd.space_unowned"}),
        repaired=False,
        lost=frozenset({0}),
        doubtful=False,
    ),
    Damage(
        "overlap",
        lambda data: changed(data, 1536 + 4, ((place_of(data, 0) // 512) + 1).to_bytes(4, "big")),
        frozenset({"vhd.block_overlap"}),
        repaired=False,
        lost=frozenset({1}),
    ),
]
IDS = [damage.name for damage in DAMAGES]


def write(damage: Damage, path: Path) -> tuple[Path, bytes]:
    made = builder(damage.disk_type)
    whole = made.write(path).read_bytes()
    path.write_bytes(damage.make(whole))
    return path, made.content()


@pytest.mark.parametrize("damage", DAMAGES, ids=IDS)
def test_check(tmp_path: Path, damage: Damage) -> None:
    path, _ = write(damage, tmp_path / "a.vhd")
    before = path.read_bytes()
    found = vhdx.check(path)
    hidden = {"vhd.bitmap_clear"} if damage.disk_type == DYNAMIC else set()  # the builder's junk
    assert set(found.codes) - hidden == damage.codes
    assert found.format == "vhd"
    assert all(finding.section.startswith("[VHD] ") for finding in found.findings)
    assert path.read_bytes() == before


@pytest.mark.parametrize("damage", DAMAGES, ids=IDS)
def test_salvage(tmp_path: Path, damage: Damage) -> None:
    path, content = write(damage, tmp_path / "a.vhd")
    with open_any(str(path), image_format="vhd", salvage=True) as disk:
        got = disk.pread(disk.size, 0)
        assert bool(list(disk.doubts)) == damage.doubtful
        doubted = {
            block
            for doubt in disk.doubts
            for block in range(doubt.offset // BLOCK, -(-(doubt.offset + doubt.length) // BLOCK))
        }
    for block in range(5):
        same = got[block * BLOCK : (block + 1) * BLOCK] == content[block * BLOCK : (block + 1) * BLOCK]
        assert same or block in damage.lost, block
        assert same or block in doubted or not damage.doubtful


@pytest.mark.parametrize("damage", DAMAGES, ids=IDS)
def test_check_where_the_host_tells_no_holes(
    tmp_path: Path, damage: Damage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As macOS, Windows and servers: nothing is asked for behind the end of the file."""
    path, _ = write(damage, tmp_path / "a.vhd")
    found = vhdx.check(path)
    monkeypatch.setattr(
        FileStorage, "data_ranges", lambda _, file_offset, length: iter([(file_offset, length)])
    )
    assert vhdx.check(path) == found


@pytest.mark.parametrize("damage", DAMAGES, ids=IDS)
def test_repair(tmp_path: Path, damage: Damage) -> None:
    path, content = write(damage, tmp_path / "a.vhd")
    before = path.read_bytes()
    result = vhdx.repair(path)
    if not damage.repaired:
        assert not result.done
        assert path.read_bytes() == before
        return
    assert bool(result.done) == bool(damage.codes)
    left = vhdx.check(path)
    assert set(left.codes) <= {"vhd.bitmap_clear"}
    with open_any(str(path), image_format="vhd") as disk:
        assert disk.pread(disk.size, 0) == content
    after = path.read_bytes()
    start = 0 if damage.disk_type == FIXED else 2048
    payload = slice(start, len(builder(damage.disk_type).write(tmp_path / "b.vhd").read_bytes()) - 512)
    assert after[payload] == before[payload]
    assert vhdx.repair(path).done == ()


@needs("qemu-img")
@pytest.mark.parametrize("damage", [d for d in DAMAGES if d.repaired], ids=lambda d: d.name)
def test_qemu_reads_what_was_repaired(tmp_path: Path, damage: Damage) -> None:
    path, content = write(damage, tmp_path / "a.vhd")
    if damage.disk_type == DYNAMIC:
        path.write_bytes(
            damage.make(builder(junk=b"\0").write(path).read_bytes())
        )  # QEMU shows what bits hide
    vhdx.repair(path)
    raw = tmp_path / "a.raw"
    subprocess.run(["qemu-img", "convert", "-f", "vpc", "-O", "raw", path, raw], check=True)
    assert raw.read_bytes()[: len(content)] == content


def test_a_fixed_file_that_ends_early_keeps_its_beginning(tmp_path: Path) -> None:
    made = builder(FIXED)
    footer = made.footer()
    path = tmp_path / "a.vhd"
    path.write_bytes(made.content()[: 2 * BLOCK] + footer)
    assert "vhd.truncated" in vhdx.check(path).codes
    with open_any(str(path), image_format="vhd", salvage=True) as disk:
        assert disk.size == SIZE
        assert disk.pread(2 * BLOCK, 0) == made.content()[: 2 * BLOCK]
        assert any(doubt.offset + doubt.length == SIZE for doubt in disk.doubts)


def test_a_dynamic_file_that_ends_early_keeps_the_blocks_that_are_there(tmp_path: Path) -> None:
    path = builder().write(tmp_path / "a.vhd")
    whole = path.read_bytes()
    path.write_bytes(whole[: place_of(whole, 0) + 512 + 10_000])  # the builder stores block 0 last
    found = vhdx.check(path)
    assert {"vhd.footer_damaged", "vhd.entry_past_end"} <= set(found.codes)
    before = path.read_bytes()
    assert not vhdx.repair(path).done
    assert path.read_bytes() == before
    content = builder().content()
    with open_any(str(path), salvage=True) as disk:
        got = disk.pread(SIZE, 0)
    assert got[:10_000] == content[:10_000]
    assert got[10_000:BLOCK] == bytes(BLOCK - 10_000)
    assert got[BLOCK:] == content[BLOCK:]


def test_a_child_whose_block_is_gone_shows_zeros_and_not_its_parent(tmp_path: Path) -> None:
    parent = VhdBuilder(SIZE, DYNAMIC, BLOCK, dict.fromkeys(range(630), b"p" * 512))
    parent.write(tmp_path / "p.vhd")
    child = VhdBuilder(
        SIZE,
        DIFFERENCING,
        BLOCK,
        SECTORS,
        parent_id=parent.unique_id,
        unique_id=uuid.UUID(int=5),
        parent_name="p.vhd",
        table_changes={2: 1 << 30},
    ).write(tmp_path / "c.vhd")
    with open_any(str(child), salvage=True) as disk:
        assert disk.pread(BLOCK, 2 * BLOCK) == bytes(BLOCK)
        assert disk.pread(BLOCK, BLOCK) == b"p" * BLOCK
        assert [(d.offset, d.length) for d in disk.doubts] == [(2 * BLOCK, BLOCK)]
    (tmp_path / "p.vhd").unlink()
    with open_any(str(child), salvage=True) as disk:
        assert any(doubt.offset == BLOCK and "zeros are read" in doubt.reason for doubt in disk.doubts)
    assert "parent.not_found" in vhdx.check(child, chain=True).codes


def test_the_parents_of_a_chain_are_checked(tmp_path: Path) -> None:
    parent = VhdBuilder(SIZE, DYNAMIC, BLOCK, SECTORS)
    parent.write(tmp_path / "p.vhd")
    child = VhdBuilder(SIZE, DIFFERENCING, BLOCK, {}, parent_id=parent.unique_id, parent_name="p.vhd")
    child.unique_id = uuid.UUID(int=6)
    path = child.write(tmp_path / "c.vhd")
    (tmp_path / "p.vhd").write_bytes(entry(1, 0)((tmp_path / "p.vhd").read_bytes()))
    found = vhdx.check(path, chain=True)
    assert [Path(layer.path).name for layer in found.parents] == ["p.vhd"]
    assert "vhd.entry_zero" in found.parents[0].codes


@needs("qemu-img")
def test_bitmaps_that_were_never_written(tmp_path: Path) -> None:
    """A state that programs leave which work on whole blocks: QEMU shows what stands there."""
    path = VhdBuilder(SIZE, DYNAMIC, BLOCK, {}, blocks=(0, 3), junk=b"data").write(tmp_path / "a.vhd")
    told = vhdx.convert(path, tmp_path / "zeros.raw")
    assert any(f"{2 * BLOCK} bytes that this leaves out" in remark for remark in told.remarks)
    assert not any((tmp_path / "zeros.raw").read_bytes())
    vhdx.convert(path, tmp_path / "ours.raw", ignore_bitmaps=True)
    theirs = tmp_path / "theirs.raw"
    subprocess.run(["qemu-img", "convert", "-f", "vpc", "-O", "raw", path, theirs], check=True)
    assert (tmp_path / "ours.raw").read_bytes() == theirs.read_bytes()[:SIZE]
    assert vhdx.check(path).codes == {"vhd.bitmap_clear": 1}


def test_an_undo_brings_a_vhd_back(tmp_path: Path) -> None:
    path, _ = write(next(d for d in DAMAGES if d.name == "both sums wrong"), tmp_path / "a.vhd")
    before = path.read_bytes()
    shutil.copy(path, tmp_path / "keep.vhd")
    assert vhdx.repair(path, backup=tmp_path / "backup").done
    assert path.read_bytes() != before
    vhdx.undo_repair(path, tmp_path / "backup")
    assert path.read_bytes() == before


def test_a_large_table_is_checked_in_arrays(tmp_path: Path) -> None:
    count = 2 * MIB // 4
    path = VhdBuilder(count * 4096, DYNAMIC, 4096, {0: b"x" * 512, 8: b"y" * 512}).write(tmp_path / "a.vhd")
    data = path.read_bytes()
    path.write_bytes(changed(data, 1536 + 4 * (count - 1), data[1536:1540]))
    assert vhdx.check(path).codes["vhd.block_overlap"] == 1


def test_what_is_said_of_shared_space_can_be_pasted(tmp_path: Path) -> None:
    [overlap] = [damage for damage in DAMAGES if damage.name == "overlap"]
    path, _ = write(overlap, tmp_path / "a b.vhd")
    assert f"blocks share space with another: vhdx check {shell_word(str(path))}\n" in run("info", path).out
