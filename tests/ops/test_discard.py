"""Which free space goes, and who is refused; that no crash and no change in between loses what is used."""

import json
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

import vhdx
from tests.cli.running import USAGE
from tests.cli.running import run as command
from tests.crash.session import FILE
from tests.filesystems.noise import MIB, empty, looked_at, patch, piece, run, spoil
from tests.partitions.tables import gpt_disk
from tests.support.build import ImageBuilder
from tests.support.lying import Crash, Record, crashes
from tests.support.parts import Block
from tests.support.sparse import content_of
from tests.support.tools import needs
from vhdx.disk.chain import VhdxDisk
from vhdx.filesystems.base import Examined, NotFreeError
from vhdx.image import image
from vhdx.ops.compact import Asked, compact_in_place
from vhdx.ops.discard import Discard
from vhdx.ops.make.source import without
from vhdx.progress import Meter
from vhdx.reshape import relocate

pytestmark = needs("mkfs.ext4", "mkswap", "e2fsck", "debugfs")
SECTOR = 512


class Used(NamedTuple):
    """A raw disk with noise in all that is free, and the ranges that are."""

    raw: Path
    free: list[tuple[int, int]]


def ext4(folder: Path, size: int, label: str = "root") -> Path:
    """An ext4 with files, some of which were deleted."""
    files = folder / "files"
    files.mkdir()
    chance = random.Random(1)
    for number in range(24):
        (files / f"f{number}").write_bytes(chance.randbytes(chance.randrange(size // 40)))
    made = empty(folder / "ext4.part", size)
    run("mkfs.ext4", "-q", "-b", "1024", "-J", "size=1", "-L", label, "-d", files, made)
    run("debugfs", "-w", "-R", "rm f3", made)
    for number in range(0, 24, 2):
        run("debugfs", "-w", "-R", f"rm f{number}", made)
    run("e2fsck", "-fn", made)
    return made


@pytest.fixture(scope="module", name="used")
def _used(tmp_path_factory: pytest.TempPathFactory) -> Used:
    """A GPT, an ext4 in partition 1 and a swap area in partition 2."""
    folder = tmp_path_factory.mktemp("used")
    root, swap = ext4(folder, 16 * MIB), empty(folder / "swap.part", 4 * MIB)
    run("mkswap", "-p", "4096", swap)
    raw = empty(folder / "disk.raw", 24 * MIB)
    table = gpt_disk(24 * MIB, [(2048, 2048 + 32 * 1024 - 1), (2048 + 34 * 1024, 2048 + 42 * 1024 - 1)])
    patch(raw, 0, bytes(table))
    patch(raw, MIB, root.read_bytes())
    patch(raw, 18 * MIB, swap.read_bytes())
    with looked_at(raw) as found:
        free = [one for volume in found for one in volume.free_ranges()]
    spoil(raw)
    return Used(raw, free)


@pytest.fixture(name="path")
def _path(used: Used, tmp_path: Path) -> Path:
    """The disk in an image with blocks of 1 MiB."""
    path = tmp_path / "used.vhdx"
    vhdx.convert(used.raw, path, options=vhdx.ImageOptions(block_size=MIB))
    return path


def contents(path: Path) -> bytes:
    with vhdx.open(path) as disk:
        return disk.pread(disk.size, 0)


def assert_kept(used: Used, after: bytes, swap: bool = False) -> int:
    """Outside of free ranges nothing changed, inside only to zeros; how many bytes are zeros now."""
    before, end, zeros = used.raw.read_bytes(), 0, 0
    free = [one for one in used.free if swap or one[0] < 18 * MIB]
    for offset, length in [*free, (len(before), 0)]:
        assert after[end:offset] == before[end:offset]
        for at in range(offset, offset + length, SECTOR):
            if after[at : at + SECTOR] != before[at : at + SECTOR]:
                assert not any(after[at : at + SECTOR])
                zeros += SECTOR
        end = offset + length
    return zeros


# What goes ----------------------------------------------------------------------------------------


def test_swap_areas_only_when_asked(used: Used, path: Path) -> None:
    first, second = vhdx.compact(path, discard_free=True, punch=True).volumes
    assert (first.name, first.kind, first.label, first.partition) == ("partition 1", "ext4", "root", 1)
    assert first.reasons in ((), ("holes of files have no such small parts",))
    assert second.kind == "swap"
    assert (second.discarded_size, second.kept_size) == (0, 0)
    assert second.reasons == ("swap areas are left alone unless they are asked for (--swap)",)
    assert assert_kept(used, contents(path)) == first.discarded_size > 0
    both = vhdx.compact(path, discard_free=True, volumes=vhdx.VolumeSelection(swap=True)).volumes
    assert both[1].discarded_size >= 3 * MIB
    assert assert_kept(used, contents(path), swap=True) == first.discarded_size + both[1].discarded_size


@pytest.mark.parametrize(
    "selection", [vhdx.VolumeSelection(swap=True, include=("2",)), vhdx.VolumeSelection(True, (), ("1",))]
)
def test_partitions_are_chosen(selection: vhdx.VolumeSelection, used: Used, path: Path) -> None:
    first, second = vhdx.compact(path, discard_free=True, volumes=selection).volumes
    assert (first.discarded_size, first.reasons) == (0, ("it was not asked for",))
    assert second.discarded_size
    after = contents(path)
    assert_kept(used, after, swap=True)
    assert after[: 18 * MIB] == piece(used.raw, 0, 18 * MIB)


def test_a_partition_that_is_not_there(path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(ValueError, match="there is no volume 3; there are: 1, 2"):
        vhdx.compact(path, discard_free=True, volumes=vhdx.VolumeSelection(exclude=("3",)))
    assert path.read_bytes() == before


def test_without_the_option_a_hint_and_nothing_else(used: Used, path: Path) -> None:
    done = vhdx.compact(path)
    assert contents(path) == used.raw.read_bytes()
    assert done.volumes == ()
    free = sum(length for offset, length in used.free if offset < 18 * MIB)
    with vhdx.open(path) as disk:
        part = disk.extents(offset=MIB, length=16 * MIB)
        stored = sum(one.length for one in part if one.kind is vhdx.ExtentKind.DATA)
    assert done.still_free_size == stored - (16 * MIB - free)
    assert done.still_free_size > MIB
    vhdx.compact(path, discard_free=True)
    assert vhdx.compact(path).still_free_size is None or done.still_free_size > MIB


def test_a_conversion_of_one_partition(used: Used, tmp_path: Path) -> None:
    for target in (tmp_path / "part.raw", tmp_path / "part.vhdx"):
        vhdx.convert(used.raw, target, partition=1, discard_free=True)
    with vhdx.open(tmp_path / "part.vhdx") as disk:
        assert disk.pread(disk.size, 0) == (tmp_path / "part.raw").read_bytes()
    part = (tmp_path / "part.raw").read_bytes()
    free = [(offset - MIB, length) for offset, length in used.free if offset < 18 * MIB]
    assert all(not any(part[offset : offset + length]) for offset, length in free)
    whole = piece(used.raw, MIB, 16 * MIB)
    for offset, length in free:
        whole = whole[:offset] + bytes(length) + whole[offset + length :]
    assert part == whole
    run("e2fsck", "-fn", tmp_path / "part.raw")


def test_a_vhd_without_its_free_space(used: Used, tmp_path: Path) -> None:
    vhdx.convert(used.raw, tmp_path / "used.vhd")
    done = vhdx.convert(tmp_path / "used.vhd", tmp_path / "small.vhdx", discard_free=True)
    assert any("swap: its free space is kept" in remark for remark in done.remarks)
    free = sum(length for offset, length in used.free if offset < 18 * MIB)
    assert assert_kept(used, contents(tmp_path / "small.vhdx")) == free
    assert done.data_size < 24 * MIB - free


def test_large_blocks_are_advised_against(tmp_path: Path) -> None:
    raw = empty(tmp_path / "large.raw", 1024 * MIB)
    run("mkfs.ext4", "-q", "-b", "4096", raw)
    with looked_at(raw) as (volume,):
        for offset, _ in list(volume.free_ranges())[::2]:
            patch(raw, offset, b"deleted")
    path = tmp_path / "large.vhdx"
    vhdx.convert(raw, path, options=vhdx.ImageOptions(block_size=64 * MIB))
    done = vhdx.compact(path, discard_free=True)
    assert done.converted_size is not None
    assert 2 * done.converted_size <= done.file_size_after
    copy = vhdx.convert(
        path, tmp_path / "copy.vhdx", discard_free=True, options=vhdx.ImageOptions(block_size=MIB)
    )
    assert copy.file_size <= done.converted_size


def test_ranges_without_free_ones() -> None:
    chance = random.Random(5)
    for _ in range(300):
        stored, free = bytearray(60), bytearray(60)
        for flags, chosen in ((stored, ranges(chance)), (free, ranges(chance))):
            for offset, length in chosen:
                flags[offset : offset + length] = b"\1" * length
        left = bytes(a & ~b & 1 for a, b in zip(stored, free, strict=True))
        rows = [np.array(part).reshape(-1, 2) for part in ([*runs(free)][:1], [*runs(free)][1:])]
        found = bytearray(60)
        end = 0
        for offset, length in without(runs(stored), rows):
            assert length > 0
            assert offset >= end
            found[offset : offset + length] = b"\1" * length
            end = offset + length
        assert bytes(found) == left


def ranges(chance: random.Random) -> Iterator[tuple[int, int]]:
    for _ in range(chance.randrange(6)):
        offset = chance.randrange(59)
        yield offset, chance.randrange(1, 61 - offset)


def runs(flags: bytes | bytearray) -> Iterator[tuple[int, int]]:
    start = None
    for at, flag in enumerate([*flags, 0]):
        if flag and start is None:
            start = at
        elif not flag and start is not None:
            yield start, at - start
            start = None


def test_trim_free_is_the_same_without_moves(used: Used, path: Path) -> None:
    size = path.stat().st_size
    (first, _) = vhdx.trim_free(path).volumes
    assert assert_kept(used, contents(path)) == first.discarded_size > 0
    assert path.stat().st_size == size
    assert vhdx.trim_free(path).volumes[0].discarded_size == 0
    with vhdx.open(path) as disk:
        states = {one.state for one in disk.extents() if one.kind is not vhdx.ExtentKind.DATA}
    assert vhdx.BlockState.UNMAPPED in states


# Refusals -----------------------------------------------------------------------------------------


def test_what_is_not_clean_is_kept_and_the_reason_told(used: Used, path: Path) -> None:
    with vhdx.open(path, "r+") as disk:
        disk.pwrite(b"\0\0", MIB + 1024 + 0x3A)  # mounted
        before = disk.pread(disk.size, 0)
    first, _ = vhdx.compact(path, discard_free=True, punch=True).volumes
    assert first.free is None
    assert first.state == "unclean"
    assert first.reasons
    assert contents(path) == before


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_parent_is_refused(dry_run: bool, path: Path, tmp_path: Path) -> None:
    vhdx.create(tmp_path / "child.avhdx", parent=path)
    before = path.read_bytes()
    with pytest.raises(vhdx.UnsupportedImageError, match=r"its parent|their parent") as refused:
        vhdx.compact(path, discard_free=True, dry_run=dry_run)
    assert "--force" not in str(refused.value)
    with pytest.raises(vhdx.UnsupportedImageError, match="their parent"):
        vhdx.trim_free(path)
    assert path.read_bytes() == before
    vhdx.compact(path)


def test_a_parent_is_refused_by_the_name_of_a_link_too(path: Path, tmp_path: Path) -> None:
    """Children know it by the name that stands beside them."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    link = elsewhere / "base.vhdx"
    link.symlink_to(path)
    vhdx.create(elsewhere / "child.avhdx", parent=link)
    with pytest.raises(vhdx.UnsupportedImageError, match=r"child\.avhdx"):
        vhdx.compact(link, discard_free=True)
    with pytest.raises(vhdx.UnsupportedImageError, match=r"child\.avhdx"):
        vhdx.trim_free(link)


@pytest.mark.parametrize("late", range(3))
def test_a_file_system_that_changes_meanwhile(
    late: int, used: Used, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At whichever pass: an error, and nothing but free space went."""
    asked = iter(range(100))

    def runs_of(self: Examined) -> Iterator[object]:
        yield from really(self)
        if next(asked) >= late:
            raise NotFreeError("the bitmap is another one")

    really = Examined.free_runs
    monkeypatch.setattr(Examined, "free_runs", runs_of)
    before = path.read_bytes()
    with pytest.raises(vhdx.UnsupportedImageError, match=r"partition 1: its ext4 .*is another one"):
        vhdx.compact(path, discard_free=True, punch=True)
    monkeypatch.undo()
    if late < 2:
        assert path.read_bytes() == before
    assert_kept(used, contents(path))
    assert not vhdx.check(path).errors


def test_a_source_that_changes_meanwhile(used: Used, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def runs_of(self: Examined) -> Iterator[object]:
        yield from really(self)
        raise NotFreeError("the bitmap is another one")

    really = Examined.free_runs
    monkeypatch.setattr(Examined, "free_runs", runs_of)
    with pytest.raises(vhdx.UnsupportedImageError, match="the bitmap is another one"):
        vhdx.convert(used.raw, tmp_path / "a.vhdx", discard_free=True)
    assert list(tmp_path.iterdir()) == []


def test_ranges_that_become_others(used: Used, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def runs_of(self: Examined) -> Iterator[object]:
        yield from (chunk[1:] for chunk in really(self))

    really = Examined.free_runs
    monkeypatch.setattr(Examined, "free_runs", runs_of)
    before = path.read_bytes()
    with pytest.raises(vhdx.UnsupportedImageError, match="changes while it is read"):
        vhdx.compact(path, discard_free=True)
    assert path.read_bytes() == before


def test_sources_that_cannot_be_believed_in(used: Used, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nobody else writes to"):
        vhdx.convert(used.raw, tmp_path / "a.vhdx", discard_free=True, lock=False)
    with pytest.raises(ValueError, match="nobody else writes to"):
        vhdx.convert(used.raw, tmp_path / "a.vhdx", discard_free=True, salvage=True)
    assert not (tmp_path / "a.vhdx").exists()


# Crashes ------------------------------------------------------------------------------------------


def test_no_crash_loses_a_byte_that_is_used(used: Used, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relocate, "_BATCH_SIZE", 2 * MIB)
    data = used.raw.read_bytes()
    blocks = {number: Block(data[number * MIB : (number + 1) * MIB]) for number in range(len(data) // MIB)}
    storage = (record := Record()).storage(FILE, content_of(ImageBuilder(len(data), blocks=blocks)))
    leaf = image.load(storage)
    disk = VhdxDisk([leaf])
    discard = Discard(disk, vhdx.VolumeSelection())
    asked = Asked(scan_zeros=False, punch=True, free=(), discard=discard)
    assert compact_in_place(storage, leaf, None, asked, Meter(None)).freed_blocks
    seen = set()
    for item in crashes(record, random.Random(3), 1, one_in=5):
        if isinstance(item, Crash) and item.files[FILE].digest not in seen:
            seen.add(item.files[FILE].digest)
            crashed = Record().storage(FILE, item.files[FILE])
            with VhdxDisk([image.load(crashed)]) as after:
                assert_kept(used, after.pread(after.size, 0))
    assert len(seen) > 20


# The command --------------------------------------------------------------------------------------


def said(*words: str | Path) -> str:
    done = subprocess.run([sys.executable, "-m", "vhdx", *words], capture_output=True, text=True, check=True)
    return done.stdout + done.stderr


def test_the_command_tells_volume_by_volume(used: Used, path: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copy(path, tmp_path / "copy.vhdx"))
    assert f"vhdx compact --discard-free {path}" in said("compact", "--dry-run", path)
    foreseen = said("compact", "--discard-free", "--dry-run", path)
    assert path.read_bytes() == copy.read_bytes()
    done = said("compact", "--discard-free", path)
    lines = [line for line in done.splitlines() if line.startswith("  partition")]
    assert lines == [line for line in foreseen.splitlines() if line.startswith("  partition")]
    assert lines[0].startswith("  partition 1, ext4 'root': ")
    assert "it stands in blocks with what is in use; --punch makes holes there" in lines[0]
    assert lines[1].endswith("all of it kept: swap areas are left alone unless they are asked for (--swap)")
    found = json.loads(said("compact", "--discard-free", "--punch", "--swap", "--json", path))
    assert [one["name"] for one in found["volumes"]] == ["partition 1", "partition 2"]
    (volume, _) = json.loads(said("trim", "--free", "--partition", "1", "--json", copy))["volumes"]
    assert volume["name"] == "partition 1"
    assert volume["discarded_size"] > MIB
    assert said("trim", "--free", "--partition", "1", copy).startswith(f"{copy}: let go of 0 bytes")
    assert_kept(used, contents(copy))


def test_nothing_is_found_to_give_back(tmp_path: Path) -> None:
    """Which is said, for nothing else tells why nothing went; who did not ask is not told."""
    path = tmp_path / "a.vhdx"
    vhdx.create(path, MIB)
    sentence = "  no file system that is known was found on the disk\n"
    assert said("trim", "--free", path) == f"{path}: let go of 0 bytes\n{sentence}"
    assert said("compact", "--discard-free", path).startswith(sentence)
    assert sentence not in said("compact", path)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("compact", "--swap"), "say so"),
        (("trim", "--free", "--force"), "no --force"),
        (("trim",), "say either"),
        (("trim", "1M"), "say either"),
        (("trim", "1M", "--free"), "say either"),
        (("trim", "0", "1M", "--free"), "say either"),
        (("trim", "0", "1M", "--swap"), "say so"),
    ],
)
def test_options_that_make_no_sense(words: tuple[str, ...], why: str, path: Path) -> None:
    done = command(words[0], path, *words[1:])
    assert done.code == USAGE
    assert why in done.err
