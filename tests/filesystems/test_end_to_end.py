"""``compact --discard-free`` on images of whole guests: what goes, what stays, and who reads the same."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

import vhdx
from tests.chains.files import others_agree
from tests.filesystems import making
from tests.filesystems.ext_crash import LOADS, machine
from tests.filesystems.guests import GUESTS, Guest, assert_only_free_changed, assert_well
from tests.filesystems.noise import MIB, as_root, looked_at, mounted, run, spoil
from tests.support.layout import FULLY_PRESENT, PARTIALLY_PRESENT, ZERO
from tests.support.tools import needs
from tests.write.checking import structure_of
from vhdx.units import parse_size

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = needs(
    *("mkfs.ext4", "e2fsck", "mkntfs", "ntfs-3g", "ntfsresize", "mkfs.vfat", "fsck.fat", "mcopy", "mdel"),
    *("pvcreate", "vgcreate", "vgcfgbackup", "vgcfgrestore", "pvs", "qemu-img"),
)


@pytest.fixture(scope="module", autouse=True)
def _own_settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("LVM_SYSTEM_DIR", str(tmp_path_factory.mktemp("settings")))
        yield


@pytest.fixture(scope="module", name="made", params=GUESTS)
def _guest(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Guest, str]:
    make, block_size = GUESTS[request.param]
    return make(tmp_path_factory.mktemp("guest")), block_size


FEW = pytest.mark.parametrize(
    "made",
    [
        "WSL",
        *(pytest.param(name, marks=pytest.mark.slow) for name in GUESTS if name != "WSL"),
    ],
    indirect=True,
)


def image_of(guest: Guest, path: Path, block_size: str, **options: Any) -> Path:
    """The whole disk in an image, noise and all."""
    size = guest.raw.stat().st_size
    vhdx.create(path, size, block_size=block_size, logical_sector_size=guest.sector_size, **options)
    with vhdx.open(path, "r+") as disk, open(guest.raw, "rb") as raw:
        for offset in range(0, size, MIB):
            piece = raw.read(MIB)
            if any(piece):
                disk.pwrite(piece, offset)
    return path


def states_of(image: Path) -> list[int]:
    """The states of all blocks."""
    return [state for state in structure_of(image).states if state is not None]


def raw_of(image: Path) -> Path:
    raw = image.with_suffix(".after")
    vhdx.convert(image, raw, target_format="raw", overwrite=True)
    return raw


def free_whole_blocks(guest: Guest, block_size: int) -> int:
    """How many blocks of some size lie wholly in free ranges."""
    size = guest.raw.stat().st_size
    free = bytearray(size // 512)
    for offset, length in guest.free:
        free[offset // 512 : (offset + length) // 512] = b"\1" * (length // 512)
    step = block_size // 512
    return sum(0 not in free[at : at + step] for at in range(0, len(free), step))


@pytest.mark.parametrize(
    "punch", [pytest.param(False, id="blocks", marks=pytest.mark.slow), pytest.param(True, id="punch")]
)
def test_free_space_goes_and_nothing_else(made: tuple[Guest, str], punch: bool, tmp_path: Path) -> None:
    guest, block_size = made
    image = image_of(guest, tmp_path / "guest.vhdx", block_size)
    free = sum(length for _, length in guest.free)
    foreseen = vhdx.compact(image, discard_free=True, punch=punch, dry_run=True)
    done = vhdx.compact(image, discard_free=True, punch=punch)
    assert foreseen.volumes == done.volumes
    assert foreseen.file_size_after == done.file_size_after == image.stat().st_size
    assert sum(one.free or 0 for one in done.volumes) == free
    assert done.freed_blocks == free_whole_blocks(guest, parse_size(block_size))
    assert done.file_size_before - done.file_size_after == done.freed_blocks * parse_size(block_size)
    raw = raw_of(image)
    zeros = assert_only_free_changed(guest, raw)
    assert zeros == sum(one.discarded_size for one in done.volumes)
    if punch:
        assert zeros >= free * 99 // 100
        assert sum(one.kept_size for one in done.volumes) == free - zeros
        assert (done.host_size_after or 0) < guest.raw.stat().st_size - zeros + 4 * MIB
    assert_well(guest, raw)
    assert list(vhdx.check(image).findings) == []
    if guest.sector_size == 512:  # QEMU opens no others
        run("qemu-img", "check", image)
        run("qemu-img", "compare", "-f", "vhdx", "-F", "raw", image, raw)
    if punch:
        assert "libvhdi" in others_agree([image], raw.read_bytes())


@FEW
def test_a_child_gives_back_its_own_and_hides_its_parent(made: tuple[Guest, str], tmp_path: Path) -> None:
    guest, block_size = made
    parent = image_of(guest, tmp_path / "parent.vhdx", block_size)
    below = parent.read_bytes()
    child = tmp_path / "child.avhdx"
    vhdx.create(child, parent=parent)
    with vhdx.open(child, "r+") as disk, open(guest.raw, "rb") as source:
        for offset in range(0, disk.size - MIB, 3 * MIB // 2):
            source.seek(offset)
            disk.pwrite(source.read(MIB - 4096), offset)
    before = states_of(child)
    with pytest.raises(vhdx.UnsupportedImageError, match=r"take their parent from .*child"):
        vhdx.compact(parent, discard_free=True)
    assert parent.read_bytes() == below
    foreseen = vhdx.compact(child, discard_free=True, punch=True, dry_run=True)
    done = vhdx.compact(child, discard_free=True, punch=True)
    assert foreseen.volumes == done.volumes
    assert parent.read_bytes() == below
    raw = raw_of(child)
    zeros = assert_only_free_changed(guest, raw)
    assert 0 < zeros == sum(one.discarded_size for one in done.volumes)
    assert_well(guest, raw)
    changes = {(old, new) for old, new in zip(before, states_of(child), strict=True) if old != new}
    assert changes <= {(FULLY_PRESENT, ZERO), (PARTIALLY_PRESENT, ZERO)}, "only what is its own goes"
    assert changes or parse_size(block_size) > MIB
    assert list(vhdx.check(child).findings) == []


@FEW
def test_a_conversion_neither_reads_nor_stores_it(made: tuple[Guest, str], tmp_path: Path) -> None:
    guest, _ = made
    options = vhdx.ImageOptions(block_size="1M", logical_sector_size=guest.sector_size)
    for source in (guest.raw, image_of(guest, tmp_path / "guest.vhdx", "32M")):
        target = tmp_path / "small.vhdx"
        measured = vhdx.measure(source, discard_free=True, options=options)
        result = vhdx.convert(source, target, discard_free=True, options=options, overwrite=True)
        assert result.file_size <= measured.required_size
        raw = raw_of(target)
        free = sum(length for _, length in guest.free)
        assert assert_only_free_changed(guest, raw) == free
        assert_well(guest, raw)


@FEW
def test_a_fixed_image_keeps_its_blocks_and_gets_holes(made: tuple[Guest, str], tmp_path: Path) -> None:
    guest, block_size = made
    image = image_of(guest, tmp_path / "guest.vhdx", block_size, disk_type="fixed")
    assert {one.discarded_size for one in vhdx.compact(image, discard_free=True).volumes} == {0}
    assert assert_only_free_changed(guest, raw_of(image)) == 0
    size = image.stat().st_size
    done = vhdx.compact(image, discard_free=True, punch=True)
    assert image.stat().st_size == size
    zeros = assert_only_free_changed(guest, raw_of(image))
    assert zeros >= sum(length for _, length in guest.free) * 99 // 100
    assert zeros == sum(one.discarded_size for one in done.volumes)


def test_a_machine_that_was_ended(tmp_path: Path) -> None:
    """Its journal is replayed in memory only; e2fsck replays it on the disk, where free space is gone."""
    as_root()
    with machine(tmp_path, LOADS[1], seed=3) as worker:
        while worker.steps < 60 and worker.failure is None:
            time.sleep(0.05)
        cut = worker.cut(tmp_path / "cut.raw")
    with looked_at(cut.image) as (volume,):
        assert volume.file_system.state == "replayed"
        free = list(volume.free_ranges())
    spoil(cut.image)
    guest = Guest(cut.image, (), free)
    image = image_of(guest, tmp_path / "dirty.vhdx", "1M")
    (done,) = vhdx.compact(image, discard_free=True, punch=True).volumes
    assert (done.state, done.free) == ("replayed", sum(length for _, length in free))
    raw = raw_of(image)
    assert assert_only_free_changed(guest, raw) == done.discarded_size > 0
    making.run("e2fsck", "-fy", raw, codes=(0, 1))
    run("e2fsck", "-fn", raw)
    with mounted(raw) as point:
        assert making.hashes_of(point, cut.hashes) == cut.hashes
