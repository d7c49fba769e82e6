"""Space that nobody owns: what cannot be read of it may hold anything, and what is given back is told."""

from pathlib import Path

import pytest

import vhdx
from tests.support.build import ImageBuilder
from tests.support.layout import MIB
from tests.support.parts import Block
from tests.support.patterns import pattern
from tests.support.unreadable import UnreadableHost
from vhdx.image.unowned import Look, Seen, find_unowned
from vhdx.ops.compact import compact
from vhdx.storage.file import open_for_reading

GAP = 6
"""MiB of zeros between the structures and the first block: more than QEMU leaves."""


def image(**told: object) -> ImageBuilder:
    blocks = {number: Block(pattern(number, 4096)) for number in range(4)}
    return ImageBuilder(40 * MIB, MIB, blocks=blocks, gap=GAP * MIB, **told)  # type: ignore[arg-type]


def gap_of(builder: ImageBuilder) -> int:
    return min(builder.plan().blocks.values()) - GAP * MIB


def _allocated(path: Path) -> Path:
    """The same file without holes, so that all of it is read."""
    path.write_bytes(path.read_bytes())
    return path


@pytest.mark.parametrize("at", [0, 64 * 1024 + 512, MIB - 512])
def test_what_cannot_be_read_is_kept_and_told(
    at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _allocated(image().write(tmp_path / "image.vhdx"))
    place = gap_of(image()) + 2 * MIB
    UnreadableHost(monkeypatch, path, [(place + at, place + at + 512)])
    found = vhdx.check(path)
    assert {"host.read_error", "space.leaked"} <= found.codes.keys()
    assert found.leaked_size == MIB
    with vhdx.open(path, "r+") as disk:
        for block in range(10, 20):
            disk.pwrite(b"new", block * MIB)
        places = [extent.file_offset for extent in disk.extents() if extent.file_offset is not None]
    assert not any(start <= place < start + MIB for start in places)


def test_what_cannot_be_read_is_not_given_back_unasked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _allocated(image().write(tmp_path / "image.vhdx"))
    place = gap_of(image()) + 2 * MIB
    UnreadableHost(monkeypatch, path, [(place, place + 512)])
    before = path.stat()
    with pytest.raises(vhdx.CorruptImageError, match="cannot be read"):
        compact(path)
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert compact(path, accept_data_loss=True).unexplained_size == MIB


def test_nothing_is_read_twice_and_what_is_forgotten_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(3 * MIB) + b"x" * MIB + bytes(2 * MIB))
    host = UnreadableHost(monkeypatch, path, [])
    told = []
    storage = open_for_reading(str(path))
    seen = Seen()
    look = Look(storage, 6 * MIB, advance=lambda done, more: told.append((done, more)), seen=seen)
    found = find_unowned(look, bytes((1, 0, 0, 0, 0, 1)), MIB)
    assert (found.mibs, found.runs, found.first, found.places) == (1, 1, (3 * MIB,), 1)
    assert sum(done for done, _ in told) == sum(more for _, more in told) == 4 * MIB
    reads = len(host.reads)
    assert find_unowned(look, bytes((1, 0, 0, 0, 0, 1)), MIB) == found
    assert len(host.reads) == reads
    seen.forget(3 * MIB, 1)
    find_unowned(look, bytes((1, 0, 0, 0, 0, 1)), MIB)
    assert [offset for offset, *_ in host.reads[reads:]] == [3 * MIB]
    storage.close()


def test_a_repair_gives_back_leaked_space_says_so_and_can_be_undone(tmp_path: Path) -> None:
    builder = image()
    place = gap_of(builder) + 2 * MIB
    builder.patches = [(place, b"of nobody")]
    path = _allocated(builder.write(tmp_path / "image.vhdx"))
    before, host_before = path.read_bytes(), path.stat().st_blocks
    dry = vhdx.repair(path, dry_run=True)
    assert path.read_bytes() == before
    result = vhdx.repair(path, backup=tmp_path / "backup")
    assert dry.done == result.done
    assert any("1 MiB in 1 run belong to nothing and are not zeros" in sentence for sentence in result.done)
    assert path.read_bytes()[place : place + MIB] == bytes(MIB)
    assert path.stat().st_blocks < host_before
    assert vhdx.check(path).is_clean
    vhdx.undo_repair(path, tmp_path / "backup")
    assert path.read_bytes() == before


@pytest.mark.parametrize("entry", [0, 3], ids=["missing", "reserved state"])
def test_a_repair_leaves_what_may_be_a_lost_bitmap(entry: int, tmp_path: Path) -> None:
    child = ImageBuilder(40 * MIB, MIB).child()
    child.blocks = {0: Block(pattern(1, MIB), 7, present=[3])}
    plan = child.plan()
    child.bat = {child.bitmap_index(0): entry}
    path = child.write(tmp_path / "child.vhdx")
    with path.open("r+b") as file:
        file.seek(64 * 1024 + 100)
        file.write(b"damage")
    vhdx.repair(path)
    with path.open("rb") as file:
        file.seek(plan.bitmaps[0])
        assert file.read(1) == b"\x08"


@pytest.mark.parametrize("lossy", [False, True])
def test_a_repair_reads_what_nobody_owns_once(
    lossy: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before, on the way there and afterwards; only what it emptied it looks at again."""
    builder = image()
    gap = gap_of(builder)
    builder.patches = [(gap + 2 * MIB, b"of nobody"), (gap + 4 * MIB + 70 * 1024, b"behind zeros")]
    path = _allocated(builder.write(tmp_path / "image.vhdx"))
    host = UnreadableHost(monkeypatch, path, [])
    result = vhdx.repair(path, accept_data_loss=lossy)
    assert result.done
    assert result.left.errors == result.left.warnings == 0
    read = [(at - gap) // MIB for at, length, _ in host.reads if gap <= at < gap + GAP * MIB]
    assert [read.count(number) for number in (0, 1, 3, 5)] == [2, 2, 2, 2], "the beginning, then the rest"
    assert set(read) == set(range(GAP))
