"""What `compact` gives back, what it leaves alone, and that no reader tells the difference."""

import random
from pathlib import Path

import pytest

import vhdx
from tests.chains.files import digest, others_agree
from tests.chains.twin import assert_sound as chain_is_sound
from tests.crash.session import FILE
from tests.support.build import ImageBuilder
from tests.support.layout import (
    FULLY_PRESENT,
    KIB,
    MIB,
    NOT_PRESENT,
    PARTIALLY_PRESENT,
    UNDEFINED,
    UNMAPPED,
    ZERO,
)
from tests.support.lying import Record
from tests.support.parts import Bitmap, Block
from tests.support.patterns import pattern
from tests.support.sparse import content_of
from tests.write.checking import allocated, assert_sound, guids_of, model_of, qemu_check, structure_of
from tests.write.images import strange
from vhdx.disk.open import open_disk
from vhdx.image import image
from vhdx.ops.compact import Asked, compact_in_place
from vhdx.progress import Meter
from vhdx.reshape import relocate


def some(number: int, length: int = MIB) -> Block:
    return Block({0: pattern(number, 4096), length - 4096: pattern(number, 4096, start=length - 4096)})


def assert_smallest(path: Path) -> None:
    """The file ends with the last thing in it, and no gap is left for the last block."""
    found = structure_of(path)
    assert found.length == max(claim.end for claim in found.claims)


def without_the_host(result: vhdx.CompactResult) -> vhdx.CompactResult:
    """What the host counts may change by its own bookkeeping."""
    return result._replace(host_size_before=0, host_size_after=0, punched_size=0)


@pytest.mark.parametrize("scan", [False, True])
def test_every_state_and_every_kind_of_gap(scan: bool, tmp_path: Path) -> None:
    path = strange().write(tmp_path / "a.vhdx")
    model, identity, before = model_of(path), guids_of(path), structure_of(path)
    foreseen = vhdx.compact(path, scan_zeros=scan, dry_run=True)
    done = vhdx.compact(path, scan_zeros=scan)
    after = assert_sound(path, model)
    assert without_the_host(done._replace(dry_run=True)) == without_the_host(foreseen)
    assert done.file_size_before == before.length
    assert done.file_size_after == after.length == path.stat().st_size < before.length
    assert after.length == max(claim.end for claim in after.claims)
    assert sum(claim.end - claim.start for claim in after.claims) == after.length, "gaps are left"
    assert after.states == before.states
    assert guids_of(path)[0] != identity[0]
    assert guids_of(path)[1] == identity[1]
    assert vhdx.compact(path, scan_zeros=scan).moved_blocks == 0
    qemu_check(path)


def test_an_entry_keeps_no_space_for_nothing(tmp_path: Path) -> None:
    made = strange()
    path = made.write(tmp_path / "a.vhdx")
    vhdx.compact(path)
    bat = path.read_bytes()[made.plan().bat_offset :][: 13 * 8]
    words = [int.from_bytes(bat[at : at + 8], "little") for at in range(0, len(bat), 8)]
    assert [word for word in words if word & 7 != FULLY_PRESENT and word >> 20] == []


def test_kept_space_that_another_block_owns_stays_its_own(tmp_path: Path) -> None:
    made = ImageBuilder(8 * MIB, blocks={0: some(0), 1: some(1), 7: some(7)})
    places = made.plan().blocks
    made.bat = {4: places[1] | UNMAPPED, 5: places[7] | UNDEFINED}
    path = made.write(tmp_path / "a.vhdx")
    with open_disk(path) as disk:
        before = disk.pread(disk.size, 0)
    vhdx.compact(path)
    with open_disk(path) as disk:
        assert disk.pread(disk.size, 0) == before


def test_blocks_of_zeros_become_zero(tmp_path: Path) -> None:
    made = ImageBuilder(6 * MIB, blocks={0: Block(), 1: some(1), 2: Block(), 5: Block({MIB - 1: b"x"})})
    path = made.write(tmp_path / "a.vhdx")
    assert vhdx.compact(path).freed_blocks == 0
    done = vhdx.compact(path, scan_zeros=True)
    assert done.freed_blocks == 2
    assert structure_of(path).states == [ZERO, FULLY_PRESENT, ZERO, NOT_PRESENT, NOT_PRESENT, FULLY_PRESENT]


@pytest.mark.parametrize("tail", [512, MIB // 2, 3 * MIB + 512])
def test_what_lies_behind_the_end_of_the_disk_is_nobodys_zeros(tail: int, tmp_path: Path) -> None:
    last = Block({tail: b"junk behind the end of the disk"})
    made = ImageBuilder(4 * MIB + tail, block_size=4 * MIB, blocks={0: some(0, 4 * MIB), 1: last})
    path = made.write(tmp_path / "a.vhdx")
    assert vhdx.compact(path, scan_zeros=True, punch=True).freed_blocks == 1
    with open_disk(path) as disk:
        assert disk.pread(tail, 4 * MIB) == bytes(tail)


@pytest.mark.parametrize("sector", [512, 4096])
def test_in_a_child_what_equals_its_parent_is_let_go_of(sector: int, tmp_path: Path) -> None:
    parent = ImageBuilder(8 * MIB, MIB, sector, blocks={n: some(n) for n in range(6)})
    child = parent.child()
    whole = parent.blocks[1].pieces()
    child.blocks = {
        0: Block(dict(parent.blocks[0].pieces())),
        1: Block({**whole, MIB // 2: b"other"}),
        2: Block(),
        3: Block(
            {0: pattern(3, 4096), 64 * KIB: b"own" * 100},
            PARTIALLY_PRESENT,
            present=range(256 * KIB // sector),
        ),
        4: Block({0: pattern(4, 4096)}, PARTIALLY_PRESENT, present=range(8192 // sector)),
        6: Block({}, PARTIALLY_PRESENT, present=range(4)),
        7: Block(b"\0" * 10 + b"seven"),
    }
    parent_path = parent.write(tmp_path / "parent.vhdx")
    path = child.write(tmp_path / "child.vhdx")
    with open_disk(path) as disk:
        before, identity = disk.pread(disk.size, 0), guids_of(path)[1]
    parent_before = digest(parent_path)
    foreseen = vhdx.compact(path, scan_zeros=True, dry_run=True)
    done = vhdx.compact(path, scan_zeros=True)
    assert foreseen.file_size_after == done.file_size_after
    with open_disk(path) as disk:
        assert disk.pread(disk.size, 0) == before
        changed = [(e.offset, e.length, e.kind) for e in disk.changed_extents()]
    chain_is_sound(path)
    assert guids_of(path)[1] == identity
    assert digest(parent_path) == parent_before
    unit, data, zero = 64 * KIB, vhdx.ExtentKind.DATA, vhdx.ExtentKind.ZERO
    assert changed == [
        (MIB + MIB // 2, unit, data),
        (2 * MIB, MIB, zero),
        (3 * MIB + unit, unit, data),
        (6 * MIB, MIB, zero),
        (7 * MIB, unit, data),
    ]
    assert done.freed_blocks == 4


def thinnable(folder: Path, blocks: int, gap: int) -> tuple[Path, list[Path], bytes]:
    """A child without a sector bitmap whose full blocks say again what the parent says, but for a page."""
    parent = ImageBuilder(8 * MIB, blocks={n: Block(pattern(n, MIB)) for n in range(8)})
    child = parent.child()
    child.gap = gap
    same = [bytearray(pattern(n, MIB)) for n in range(blocks)]
    for data in same:
        data[MIB // 2 : MIB // 2 + 4096] = pattern(99, 4096)
    child.blocks = {n: Block(bytes(data)) for n, data in enumerate(same)}
    files = [child.write(folder / "child.vhdx"), parent.write(folder / "parent.vhdx")]
    content = b"".join(same) + b"".join(pattern(n, MIB) for n in range(blocks, 8))
    return files[0], files, content


def test_full_blocks_that_equal_their_parent_in_part_get_a_bitmap(tmp_path: Path) -> None:
    path, files, content = thinnable(tmp_path, 4, gap=MIB)
    length = path.stat().st_size
    foreseen = vhdx.compact(path, scan_zeros=True, dry_run=True)
    done = vhdx.compact(path, scan_zeros=True)
    assert foreseen.file_size_after == done.file_size_after == path.stat().st_size <= length
    assert allocated(path) < length - 3 * MIB
    assert others_agree(files, content)
    with open_disk(path) as disk:
        assert disk.pread(disk.size, 0) == content
        own = [(e.offset, e.length) for e in disk.own_extents() if e.kind is vhdx.ExtentKind.DATA]
    unit = 64 * KIB
    assert own == [(n * MIB + MIB // 2, unit) for n in range(4)]
    chain_is_sound(path)


@pytest.mark.parametrize("tail", [1, 512, 614400])
def test_a_bitmap_in_a_last_mib_that_is_not_whole_lies_in_the_file(tmp_path: Path, tail: int) -> None:
    path, files, content = thinnable(tmp_path, 4, gap=0)
    with path.open("ab") as file:
        file.write(bytes(tail))
    done = vhdx.compact(path, scan_zeros=True)
    assert done.file_size_after == path.stat().st_size
    assert path.stat().st_size % MIB == 0
    assert others_agree(files, content)
    chain_is_sound(path)


@pytest.mark.parametrize(("blocks", "gap"), [(1, MIB), (4, 0)], ids=["too little to gain", "no free space"])
def test_full_blocks_stay_whole_where_a_bitmap_does_not_pay(tmp_path: Path, blocks: int, gap: int) -> None:
    path, _, content = thinnable(tmp_path, blocks, gap)
    length = path.stat().st_size
    done = vhdx.compact(path, scan_zeros=True)
    assert done.file_size_after <= length
    with open_disk(path) as disk:
        assert disk.pread(disk.size, 0) == content
        states = {e.state for e in disk.own_extents() if e.kind is vhdx.ExtentKind.DATA}
    assert states == {vhdx.BlockState.FULLY_PRESENT}


def test_zeros_in_a_child_never_let_the_parent_shine_through(tmp_path: Path) -> None:
    parent = ImageBuilder(2 * MIB, blocks={0: some(0), 1: some(1)})
    child = parent.child()
    child.blocks = {
        0: Block(),
        1: Block({}, PARTIALLY_PRESENT, present=[*range(8), *range(MIB // 512 - 8, MIB // 512)]),
    }
    parent.write(tmp_path / "parent.vhdx")
    path = child.write(tmp_path / "child.vhdx")
    assert vhdx.compact(path, scan_zeros=True).freed_blocks == 2
    with open_disk(path) as disk:
        assert disk.pread(2 * MIB, 0) == bytes(2 * MIB)


def test_a_child_of_a_larger_size_shows_zeros_behind_its_parent(tmp_path: Path) -> None:
    parent = ImageBuilder(MIB + 512, blocks={0: some(0), 1: Block({0: b"p" * 4096})})
    child = parent.child()
    child.disk_size = 3 * MIB
    child.blocks = {1: Block({0: b"p" * 512}), 2: Block({5: b"own"})}
    parent.write(tmp_path / "parent.vhdx")
    path = child.write(tmp_path / "child.vhdx")
    with open_disk(path) as disk:
        before = disk.pread(disk.size, 0)
    assert vhdx.compact(path, scan_zeros=True).freed_blocks == 1
    with open_disk(path) as disk:
        assert disk.pread(disk.size, 0) == before


def test_without_scanning_no_parent_is_needed(tmp_path: Path) -> None:
    parent = ImageBuilder(8 * MIB, blocks={0: some(0)})
    child = parent.child()
    child.gap = 2 * MIB
    child.blocks = {0: some(9), 5: Block({0: b"x" * 512}, PARTIALLY_PRESENT, present=[0])}
    path = child.write(tmp_path / "child.vhdx")
    done = vhdx.compact(path)
    assert done.file_size_after == done.file_size_before - 2 * MIB
    with pytest.raises(vhdx.ParentNotFoundError):
        vhdx.compact(path, scan_zeros=True)
    parent.write(tmp_path / "parent.vhdx")
    with open_disk(path) as disk:
        assert disk.pread(513, 5 * MIB) == b"x" * 512 + b"\0"
        assert disk.pread(4096, 0) == pattern(9, 4096)


def test_a_bitmap_that_no_block_uses_goes(tmp_path: Path) -> None:
    parent = ImageBuilder(4 * MIB, blocks={0: some(0)})
    child = parent.child()
    child.blocks = {1: some(1)}
    child.bitmaps = {0: Bitmap(b"\xff" * 4096, FULLY_PRESENT)}
    parent.write(tmp_path / "parent.vhdx")
    path = child.write(tmp_path / "child.vhdx")
    done = vhdx.compact(path)
    assert done.file_size_after == done.file_size_before - MIB
    chain_is_sound(path)


def test_what_stands_behind_the_last_block_of_a_table_is_nobodys(tmp_path: Path) -> None:
    """A chunk's slots past the end of the disk may hold anything, here the place of a block that moves."""
    parent = ImageBuilder(130 * 1024 * MIB + 512)
    child = parent.child()
    child.block_size, child.gap = MIB, 2 * MIB
    child.blocks = {0: some(0), 1: some(1)}
    entries = 33 * 4097  # 33 chunks of 4 GiB, the last one half used
    child.bat = {entries - 10: child.plan().blocks[1] | FULLY_PRESENT}
    parent.write(tmp_path / "parent.vhdx")
    path = child.write(tmp_path / "child.vhdx")
    done = vhdx.compact(path)
    assert done.moved_blocks == 2
    assert done.file_size_after == done.file_size_before - 2 * MIB
    with open_disk(path) as disk:
        assert disk.pread(4096, 0) == pattern(0, 4096)
        assert disk.pread(4096, MIB) == pattern(1, 4096)


def test_a_fixed_image_keeps_its_size_and_gives_the_host_back_what_is_zeros(tmp_path: Path) -> None:
    path = tmp_path / "a.vhdx"
    vhdx.create(path, "16MiB", disk_type="fixed")
    with open_disk(path, "r+") as disk:
        disk.pwrite(random.Random(1).randbytes(2 * MIB), 5 * MIB + 512)
        disk.pwrite(bytes(3 * MIB), 9 * MIB)
    model, length, taken = model_of(path), path.stat().st_size, allocated(path)
    whole = digest(path)
    assert vhdx.compact(path, scan_zeros=True).freed_blocks == 0
    assert digest(path) == whole
    done = vhdx.compact(path, punch=True)
    assert path.stat().st_size == length
    assert done.punched_size >= 3 * MIB
    assert allocated(path) <= taken - 3 * MIB
    assert_sound(path, model)
    assert structure_of(path).states == [FULLY_PRESENT] * len(structure_of(path).states)


def test_holes_are_made_where_blocks_stay(tmp_path: Path) -> None:
    path = tmp_path / "a.vhdx"
    vhdx.create(path, "64MiB", block_size="32MiB")
    with open_disk(path, "r+") as disk:
        disk.pwrite(bytes(20 * MIB), 0)
        disk.pwrite(b"in the middle", 7 * MIB + 100)
    model, taken = model_of(path), allocated(path)
    done = vhdx.compact(path, punch=True)
    assert done.punched_size >= 20 * MIB - 4096
    assert allocated(path) <= taken - 20 * MIB + 8192
    assert_sound(path, model)


def test_dry_runs_touch_nothing(tmp_path: Path) -> None:
    path = strange().write(tmp_path / "a.vhdx")
    path.chmod(0o400)
    before = digest(path)
    done = vhdx.compact(path, scan_zeros=True, punch=True, dry_run=True)
    assert digest(path) == before
    assert done.file_size_after < done.file_size_before
    assert done.host_size_after is None


def test_where_nothing_is_to_be_gained_nothing_is_modified(tmp_path: Path) -> None:
    path = strange().write(tmp_path / "a.vhdx")
    vhdx.compact(path, scan_zeros=True, punch=True)
    before = digest(path)
    vhdx.compact(path, scan_zeros=True, punch=True)
    vhdx.compact(path)
    assert digest(path) == before


def test_free_ranges_are_let_go_of_and_that_is_a_change_of_contents(tmp_path: Path) -> None:
    blocks = {n: Block(pattern(n, MIB)) for n in range(6)}
    path = ImageBuilder(6 * MIB, blocks=blocks).write(tmp_path / "a.vhdx")
    identity = guids_of(path)[1]
    free = [(MIB + 512, 3 * MIB), (5 * MIB, MIB)]
    foreseen = vhdx.compact(path, free=free, dry_run=True)
    done = vhdx.compact(path, free=iter(free))
    assert done.freed_blocks == foreseen.freed_blocks == 3
    assert done.file_size_after == foreseen.file_size_after == done.file_size_before - 3 * MIB
    assert guids_of(path)[1] != identity
    with open_disk(path) as disk:
        assert disk.pread(MIB, 0) == pattern(0, MIB)
        assert disk.pread(512, MIB) == pattern(1, 512)
        assert disk.pread(MIB - 512, 4 * MIB + 512) == pattern(4, MIB)[512:]
        assert not any(disk.pread(2 * MIB, 2 * MIB))
    with pytest.raises(ValueError, match="not inside the disk"):
        vhdx.compact(path, free=[(6 * MIB, 1)])


def test_what_contradicts_itself_is_refused_and_not_touched(tmp_path: Path) -> None:
    made = ImageBuilder(8 * MIB, blocks={0: some(0), 1: some(1)})
    made.bat = {5: made.plan().blocks[1] | FULLY_PRESENT}
    path = made.write(tmp_path / "a.vhdx")
    before = digest(path)
    for dry_run in (True, False):
        with pytest.raises(vhdx.CorruptImageError):
            vhdx.compact(path, dry_run=dry_run)
    made.bat = {5: 4}
    made.write(path)
    with pytest.raises(vhdx.CorruptImageError, match="state 4"):
        vhdx.compact(path)
    made.bat = {}
    made.write(path)
    assert digest(path) != before


def test_somebody_elses_image_is_not_compacted(tmp_path: Path) -> None:
    path = strange().write(tmp_path / "a.vhdx")
    with open_disk(path), pytest.raises(vhdx.ImageLockedError):
        vhdx.compact(path)


def test_a_write_error_in_the_middle_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = {n: Block(pattern(n, MIB)) if n > 4 else Block() for n in range(12)}
    path = ImageBuilder(12 * MIB, blocks=blocks).write(tmp_path / "a.vhdx")
    model = model_of(path)
    copies = iter(range(100))

    def failing(self: relocate.Relocator, source: int, target: int, length: int) -> None:
        if next(copies) == 2:
            raise OSError(28, "No space left on device")
        really(self, source, target, length)

    really = relocate.Relocator._copy
    monkeypatch.setattr(relocate.Relocator, "_copy", failing)
    with pytest.raises(OSError, match="No space"):
        vhdx.compact(path, scan_zeros=True)
    assert_sound(path, model)
    vhdx.compact(path, scan_zeros=True)
    assert_smallest(path)
    assert_sound(path, model)


def test_many_moves_share_their_flushes() -> None:
    """Promise 14: copies, one flush, entries in the log, one flush."""
    blocks = {n: some(n) if n % 2 else Block() for n in range(60)}
    storage = (record := Record()).storage(FILE, content_of(ImageBuilder(64 * MIB, blocks=blocks)))
    done = compact_in_place(
        storage, image.load(storage), None, Asked(scan_zeros=True, punch=False, free=()), Meter(None)
    )
    assert done.freed_blocks == 30
    assert done.moved_blocks == 15
    few = record.count("flush")
    assert few <= 14  # the close, which cuts the file, says in the log how long it becomes
    blocks = {n: some(n) if n % 2 else Block() for n in range(120)}
    storage = (record := Record()).storage(FILE, content_of(ImageBuilder(128 * MIB, blocks=blocks)))
    compact_in_place(
        storage, image.load(storage), None, Asked(scan_zeros=True, punch=False, free=()), Meter(None)
    )
    assert record.count("flush") == few


def test_progress_ends_with_everything(tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    path = strange().write(tmp_path / "a.vhdx")
    vhdx.compact(path, scan_zeros=True, punch=True, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1][0] == seen[-1][1]
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_a_hole_of_the_host_stays_one(tmp_path: Path) -> None:
    path = tmp_path / "a.vhdx"
    vhdx.create(path, "512MiB", block_size="64MiB")
    with open_disk(path, "r+") as disk:
        for block in range(4):
            disk.pwrite(b"little", block * 64 * MIB + 5 * MIB)
        disk.zero(length=128 * MIB, offset=0)
    taken = allocated(path)
    done = vhdx.compact(path)
    assert done.file_size_after == done.file_size_before - 128 * MIB
    assert done.moved_size == 128 * MIB
    assert allocated(path) <= taken + 64 * KIB
    with open_disk(path) as disk:
        assert disk.pread(6, 197 * MIB) == b"little"


def test_what_an_old_owner_left_does_not_show_through_a_hole(tmp_path: Path) -> None:
    """The target of a move is full of other bytes, the block that moves is all hole but for a little."""
    path = tmp_path / "a.vhdx"
    vhdx.create(path, "16MiB", block_size="4MiB")
    with open_disk(path, "r+") as disk:
        disk.pwrite(b"\xee" * 4 * MIB, 0)
        disk.pwrite(b"little", 5 * MIB)
        place = next(iter(disk.extents())).file_offset
        disk.flush()
        disk.zero(length=4 * MIB, offset=0)
    assert place is not None
    with path.open("r+b") as file:
        file.seek(place)
        file.write(b"\xee" * 4 * MIB)
    model = model_of(path)
    assert vhdx.compact(path).moved_blocks == 1
    assert_sound(path, model)


def test_a_table_of_64_tib_is_looked_through_in_bounded_time(tmp_path: Path) -> None:
    """67 million entries; few of them are anything but NOT_PRESENT."""
    path = tmp_path / "a.vhdx"
    vhdx.create(path, "64TiB", block_size="1MiB")
    places = [0, 5 << 40, 63 << 40]
    with open_disk(path, "r+") as disk:
        for offset in places:
            disk.pwrite(b"here", offset)
        disk.flush()
        disk.zero(length=MIB, offset=places[0])
    done = vhdx.compact(path)
    assert done.file_size_after == done.file_size_before - MIB
    with open_disk(path) as disk:
        assert [disk.pread(4, offset) for offset in places] == [bytes(4), b"here", b"here"]


def test_a_fixed_image_without_some_blocks_loses_nothing_where_only_zeros_are_unowned(tmp_path: Path) -> None:
    """Missing blocks of a fixed image speak for a lost table, but nothing here could have been theirs."""
    image = ImageBuilder(
        disk_type="fixed",
        default_state=NOT_PRESENT,
        disk_size=4 * MIB,
        blocks={1: some(1)},
        file_length=9 * MIB,
    )
    path = image.write(tmp_path / "a.vhdx")
    model = model_of(path)
    vhdx.compact(path, punch=True)
    assert_sound(path, model)
