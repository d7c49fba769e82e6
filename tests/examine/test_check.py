"""Clean images, many faults at once, hostile files, chains, and a naive twin for tables."""

import json
import random
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import vhdx
from tests.cli.running import run
from tests.examine.fault import child, dirty, dynamic, shared_space
from tests.support.build import ImageBuilder
from tests.support.damage import flip
from tests.support.layout import (
    FULLY_PRESENT,
    KIB,
    MIB,
    PARTIALLY_PRESENT,
    SECTOR,
    UNDEFINED,
    UNMAPPED,
    ZERO,
)
from tests.support.logs import Data, Entry, Zero
from tests.support.parts import Block, Header, Item, Region, RegionTable
from tests.support.patterns import pattern
from tests.support.presets import disk2vhd_like, qemu_like
from tests.support.soundness import SHORT, Surveyor, UnsoundError
from tests.support.sparse import content_of
from tests.support.tools import needs

REAL = sorted(Path("/tmp/img").glob("*.vhdx"))


def write(image: ImageBuilder, folder: Path, name: str = "image.vhdx") -> Path:
    return image.write(folder / name)


# Clean images ------------------------------------------------------------------------------------

CLEAN: dict[str, Callable[[], ImageBuilder]] = {
    "Windows": dynamic,
    "QEMU": qemu_like,
    "Disk2vhd": disk2vhd_like,
    "4096": lambda: dynamic(logical_sector_size=4096),
    "fixed": lambda: ImageBuilder(10 * MIB, disk_type="fixed"),
    "short last block": lambda: ImageBuilder(10 * MIB + 512, disk_type="fixed", file_length=14 * MIB + 512),
    "odd": lambda: ImageBuilder(10 * MIB + 512, blocks={10: Block(pattern(10, 512))}),
    "child": child,
    "dirty": dirty,
    "large blocks": lambda: ImageBuilder(1 << 40, block_size=256 * MIB, blocks={7: Block(b"x")}),
}


@pytest.mark.parametrize("shape", CLEAN)
def test_clean_images_have_neither_errors_nor_warnings(shape: str, tmp_path: Path) -> None:
    result = vhdx.check(write(CLEAN[shape](), tmp_path))
    assert result.is_clean, result.findings
    assert result.unchecked == ()
    assert result.leaked_size == 0


@pytest.mark.parametrize("disk_type", ["dynamic", "fixed"])
@pytest.mark.parametrize("sector", [512, 4096])
def test_what_we_make_is_clean(disk_type: Any, sector: int, tmp_path: Path) -> None:
    path = tmp_path / "image.vhdx"
    vhdx.create(path, "100M", disk_type=disk_type, logical_sector_size=sector)
    with vhdx.open(path, "r+") as disk:
        disk.pwrite(b"data" * 1024, 50 << 20)
    assert vhdx.check(path).codes == {}
    vhdx.create(tmp_path / "child.vhdx", parent=path)
    with vhdx.open(tmp_path / "child.vhdx", "r+") as disk:
        disk.pwrite(b"data", 1 << 20)
    result = vhdx.check(tmp_path / "child.vhdx", chain=True)
    assert (result.codes, [parent.codes for parent in result.parents]) == ({}, [{}])


@needs("qemu-img")
@pytest.mark.parametrize("options", ["subformat=dynamic", "subformat=fixed", "block_state_zero=off"])
def test_what_qemu_makes_is_clean(options: str, tmp_path: Path) -> None:
    path = tmp_path / "image.vhdx"
    command = ["qemu-img", "create", "-q", "-f", "vhdx", "-o", options, str(path), "35M"]
    subprocess.run(command, check=True)
    assert vhdx.check(path).is_clean
    command = ["qemu-io", "-f", "vhdx", "-c", "write -P 7 1M 64k", str(path)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    assert vhdx.check(path).is_clean


@pytest.mark.skipif(not REAL, reason="the real images are not here")
@pytest.mark.parametrize("path", REAL, ids=lambda path: path.name)
def test_real_images_have_no_errors(path: Path) -> None:
    result = vhdx.check(path)
    assert result.errors == 0, result.findings
    assert result.unchecked == ()


# Damage does not hide damage ---------------------------------------------------------------------


def test_one_run_finds_what_is_wrong_in_every_structure(tmp_path: Path) -> None:
    image = shared_space(
        identifier_signature=b"damaged!",
        headers={1: Header(checksum=1), 2: Header(reserved=b"\1")},
        region_tables={1: RegionTable(checksum=1), 2: RegionTable(reserved=1)},
        items={
            "virtual_disk_id": Item(omit=True),
            "physical_sector_size": Item(value=bytes(4)),
            "file_parameters": Item(reserved2=1),
        },
    )
    image.bat |= {5: 4, 6: 8, 7: 5 << 40 | FULLY_PRESENT}
    result = vhdx.check(write(image, tmp_path))
    assert result.codes == {
        "identifier.signature": 1,
        "header.damaged": 1,
        "header.reserved": 1,
        "region_table.damaged": 1,
        "region_table.reserved": 1,
        "metadata.missing": 1,
        "metadata.physical_sector_size": 1,
        "metadata.reserved": 1,
        "bat.state": 1,
        "bat.reserved": 1,
        "bat.past_end": 1,
        "bat.overlap": 1,
        "space.leaked_tail": 1,
    }


def test_what_cannot_be_reached_is_named(tmp_path: Path) -> None:
    tables = {n: RegionTable(checksum=1) for n in (1, 2)}
    assert vhdx.check(write(dynamic(region_tables=tables), tmp_path)).unchecked == (
        "metadata",
        "BAT",
        "space",
    )
    image = dynamic(items={"file_parameters": Item(omit=True)})
    assert vhdx.check(write(image, tmp_path)).unchecked == ("BAT", "space")


def test_a_double_claim_names_both(tmp_path: Path) -> None:
    (finding,) = (f for f in vhdx.check(write(shared_space(), tmp_path)).findings if f.code == "bat.overlap")
    assert finding.structure == "BAT entry 1"
    assert finding.file_offset == 3 * MIB + 8
    assert finding.detail == f"block 1 at {4 * MIB}: the space is claimed by block 0, too"


@pytest.mark.parametrize(
    ("change", "blocks"),
    [
        (Zero(4 * MIB - SECTOR, SECTOR), []),
        (Zero(4 * MIB - SECTOR, SECTOR + MIB), [0]),
        (Zero(4 * MIB - SECTOR, 2 * SECTOR + MIB), [0, 1]),
        (Zero(5 * MIB, 200 * MIB), [1]),
        (Data(5 * MIB - SECTOR, pattern(9, SECTOR)), [0]),
    ],
)
def test_a_log_that_writes_into_blocks_names_all_of_them(
    change: Data | Zero, blocks: list[int], tmp_path: Path
) -> None:
    """Zeros that begin in the table and reach over a block wipe it as much as those that begin in it."""
    image = dirty(Entry([change], flushed_file_offset=6 * MIB, last_file_offset=6 * MIB))
    found = [f for f in vhdx.check(write(image, tmp_path)).findings if f.code == "log.payload"]
    expected = [f"the log writes into block {block}, which is no metadata" for block in blocks]
    assert [finding.detail for finding in found] == expected


def test_a_file_that_is_no_image_cannot_be_checked(tmp_path: Path) -> None:
    path, raw = tmp_path / "disk.vhdx", tmp_path / "disk.raw"
    for content in (b"", b"x", bytes(MIB), b"vhdxfil" + bytes(MIB)):
        path.write_bytes(content)
        with pytest.raises(vhdx.CorruptImageError, match=r"file identifier at file offset 0: .* VHDX"):
            vhdx.check(path)
        raw.write_bytes(content)
        with pytest.raises(vhdx.UnsupportedImageError, match="a raw disk has no structures"):
            vhdx.repair(raw)
        with pytest.raises(vhdx.UnsupportedImageError, match="a raw disk has no structures"):
            vhdx.check(raw)


def test_many_findings_are_counted_and_few_are_kept(tmp_path: Path) -> None:
    image = ImageBuilder(10_000 * MIB)
    image.fill = lambda blocks: blocks * np.uint64(0) + np.uint64(4 * MIB | 8 | FULLY_PRESENT)
    image.file_length = 6 * MIB
    result = vhdx.check(write(image, tmp_path))
    assert result.codes == {"bat.reserved": 10_000, "bat.overlap": 9_999, "space.free_tail": 1}
    assert (result.errors, result.warnings) == (9_999, 10_000)
    assert len(result.findings) == 201
    assert "block 0," in next(f.detail for f in result.findings if f.code == "bat.overlap")


def test_overlaps_across_windows_name_the_first_owner(tmp_path: Path) -> None:
    count = 300_000
    image = ImageBuilder(count * MIB)
    image.fill = lambda blocks: (
        (blocks % np.uint64(count - 1)) * np.uint64(MIB) + np.uint64(8 * MIB | FULLY_PRESENT)
    )
    image.file_length = (count + 7) * MIB
    result = vhdx.check(write(image, tmp_path))
    (finding,) = (f for f in result.findings if f.code == "bat.overlap")
    assert f"block {count - 1} at {8 * MIB}: the space is claimed by block 0, too" == finding.detail


# A naive twin ------------------------------------------------------------------------------------

ENTRIES = st.builds(
    lambda state, mib, bits: state | mib << 20 | bits << 3,
    st.sampled_from([0, UNDEFINED, ZERO, UNMAPPED, 4, 5, FULLY_PRESENT, PARTIALLY_PRESENT, FULLY_PRESENT]),
    st.sampled_from([0, 0, 1, 3, *range(4, 12), 500]),
    st.sampled_from([0, 0, 0, 1]),
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(ENTRIES, min_size=6, max_size=6), st.sampled_from([0, 4 * MIB | 6, 5 * MIB | 6]), st.booleans()
)
def test_a_naive_twin_agrees(entries: list[int], bitmap: int, differencing: bool) -> None:
    image = child() if differencing else dynamic()
    image.blocks, image.disk_size, image.file_length = {}, 6 * MIB, 12 * MIB
    image.bat = dict(enumerate(entries)) | ({4096: bitmap} if differencing else {})
    found = _codes(image)
    try:
        seen = Surveyor().survey(content_of(image))
        sound = not {*seen.warnings} - {SHORT}
    except UnsoundError:
        sound = False
    # The twin knows no leaks, and says nothing of bitmaps that are needed but not there.
    missing = {"bat.bitmap_missing"} & found
    assert bool(missing) or sound == (
        not found - {"space.free", "space.free_tail", "space.gap"} - {"bat.bitmap_unused"}
    )


def _codes(image: ImageBuilder) -> set[str]:
    import tempfile  # noqa: PLC0415  hypothesis runs this more often than a fixture

    with tempfile.TemporaryDirectory() as folder:
        return set(vhdx.check(write(image, Path(folder))).codes)


# Hostile files -----------------------------------------------------------------------------------


def damaged(path: Path, rounds: int) -> Iterator[None]:
    original = path.read_bytes()
    rng = random.Random(5)
    for _ in range(rounds):
        path.write_bytes(original)
        for _ in range(rng.randrange(1, 5)):
            start, end = rng.choice(
                [(0, 320 * KIB), (MIB, MIB + 8 * KIB), (2 * MIB, 2 * MIB + 66 * KIB), (3 * MIB, 3 * MIB + 80)]
            )
            flip(path, rng.randrange(start, end), rng.randrange(1, 256))
        if rng.random() < 0.3:
            with open(path, "r+b") as file:
                file.truncate(rng.randrange(len(original)))
        yield


@pytest.mark.parametrize("make", [dynamic, child, dirty])
def test_no_damage_makes_check_fail(make: Any, tmp_path: Path) -> None:
    path = write(make(), tmp_path)
    for _ in damaged(path, 120):
        try:
            result = vhdx.check(path)
        except vhdx.CorruptImageError as error:
            assert "no VHDX" in error.message  # noqa: PT017  most rounds raise nothing
            continue
        try:
            with vhdx.open(path, parents=str(tmp_path)):
                pass
        except (vhdx.ParentNotFoundError, vhdx.ParentMismatchError):
            continue
        except vhdx.VhdxError:
            assert result.errors, "opening refuses what check finds clean"
        else:
            assert not {f.code for f in result.findings if f.severity == "error"} - _ONLY_READING_CARES


_ONLY_READING_CARES = {
    "bat.state", "bat.place", "bat.past_end", "bat.overlap", "bat.bitmap_missing", "space.lost_entries",
}  # fmt: skip


# Chains ------------------------------------------------------------------------------------------


def _family(folder: Path) -> tuple[Path, Path]:
    parent = dynamic()
    offspring = parent.child()
    offspring.locator = {
        "parent_linkage": f"{{{parent.guid('data write')}}}",
        "relative_path": ".\\parent.vhdx",
    }
    return write(offspring, folder, "child.vhdx"), write(parent, folder, "parent.vhdx")


def test_parents_are_checked_when_asked_for(tmp_path: Path) -> None:
    path, parent = _family(tmp_path)
    assert vhdx.check(path).parents == ()
    result = vhdx.check(path, chain=True)
    assert result.is_clean
    assert [above.path for above in result.parents] == [str(parent)]


def test_a_missing_and_a_changed_parent_are_errors_of_the_child(tmp_path: Path) -> None:
    path, parent = _family(tmp_path)
    dynamic(seed=5).write(parent)
    assert vhdx.check(path, chain=True).codes == {"parent.mismatch": 1}
    parent.unlink()
    result = vhdx.check(path, chain=True)
    assert result.codes == {"parent.not_found": 1}
    assert not result.is_clean


def test_a_damaged_child_hides_no_damage_of_its_parent(tmp_path: Path) -> None:
    parent = dynamic(bat={6: 4})
    parent.write(tmp_path / "parent.vhdx")
    image = child(bat={5: 4})
    image.locator = {"parent_linkage": f"{{{parent.guid('data write')}}}", "relative_path": ".\\parent.vhdx"}
    result = vhdx.check(image.write(tmp_path / "child.vhdx"), chain=True)
    assert (result.codes, [p.codes for p in result.parents]) == ({"bat.state": 1}, [{"bat.state": 1}])
    assert result.unchecked == ()
    image.regions["metadata"] = Region(length=0)
    result = vhdx.check(image.write(tmp_path / "child.vhdx"), chain=True)
    assert "parents" in result.unchecked


def test_a_damaged_parent_is_checked_as_far_as_it_goes(tmp_path: Path) -> None:
    path, parent = _family(tmp_path)
    dynamic(items={"virtual_disk_id": Item(omit=True)}, bat={5: 4}).write(parent)
    result = vhdx.check(path, chain=True)
    assert result.errors == 0
    assert [above.codes for above in result.parents] == [{"metadata.missing": 1, "bat.state": 1}]
    assert not result.is_clean


# The command -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("image", "code"),
    [
        (dynamic(), 0),
        (dirty(), 0),
        (shared_space(), 2),
        (dynamic(gap=9 * MIB), 0),
        (dynamic(headers={1: Header(checksum=1)}), 3),
    ],
)
def test_exit_codes(image: ImageBuilder, code: int, tmp_path: Path) -> None:
    path = write(image, tmp_path)
    done = run("check", path)
    assert done.code == code
    told = json.loads(run("check", "--json", path).out)
    assert (told["errors"] > 0, told["warnings"] > 0) == (code == 2, code in (2, 3))
    lines = [line for line in done.out.splitlines() if not line.startswith(f"{path}: to ")]  # what to do next
    assert len(lines) == len(told["findings"]) + 1


def test_what_cannot_be_checked_is_a_failure(tmp_path: Path) -> None:
    assert run("check", tmp_path / "nowhere.vhdx").code == 1
    (tmp_path / "disk.raw").write_bytes(bytes(MIB))
    assert run("check", tmp_path / "disk.raw").code == 1


def test_the_worst_of_a_chain_decides(tmp_path: Path) -> None:
    path, parent = _family(tmp_path)
    dynamic(bat={5: 4}).write(parent)
    done = run("check", "--chain", path)
    assert done.code == 2
    assert f"{parent}: error: BAT entry 5 at file offset {3 * MIB + 40}" in done.out
