"""`rebase`: another parent, or the same one under another name; identities, refusals, and `--safe`."""

from pathlib import Path

import pytest

import vhdx
from tests.cli.running import run, succeed
from tests.support.build import ImageBuilder
from tests.support.layout import FULLY_PRESENT, MIB, PARTIALLY_PRESENT, ZERO
from tests.support.parts import Block
from tests.support.patterns import pattern
from tests.write.checking import guids_of, is_clean
from vhdx.ops.info import info

from .files import digest
from .making import own_block
from .test_diff import chain
from .twin import assert_sound, twin_of


def content_of(path: Path) -> bytes:
    with vhdx.open(path) as disk:
        return disk.pread(disk.size, 0)


def stranger(folder: Path, seed: int = 9, **changes: int) -> Path:
    blocks = {n: Block(pattern(n, MIB, seed)) for n in range(0, 4, 2)}
    size = changes.pop("disk_size", 6 * MIB)
    return ImageBuilder(size, seed=seed, blocks=blocks, **changes).write(folder / "stranger.vhdx")  # type: ignore[arg-type]


def test_a_parent_that_was_moved(tmp_path: Path) -> None:
    files = chain(tmp_path, {0: own_block(0, PARTIALLY_PRESENT, range(9))})
    content, before = content_of(files[0]), guids_of(files[0])
    (tmp_path / "below").mkdir()
    moved = files[1].rename(tmp_path / "below" / "moved.vhdx")
    digest_of_parent = digest(moved)
    with pytest.raises(vhdx.ParentNotFoundError) as caught:
        vhdx.open(files[0])
    assert caught.value.next_command == f"vhdx rebase {files[0]} --parent FILE"
    done = vhdx.rebase(files[0], moved)
    assert (done.copied_size, done.found_by_default) == (0, True)
    assert content_of(files[0]) == content
    after = guids_of(files[0])
    assert after[0] != before[0]
    assert after[1] == before[1]
    assert done.new_values["relative_path"] == ".\\below\\moved.vhdx"
    assert digest(moved) == digest_of_parent
    assert is_clean(files[0])
    assert_sound(files[0])


def test_another_image_is_a_mismatch_and_nothing_changes(tmp_path: Path) -> None:
    files = chain(tmp_path, {})
    other, before = stranger(tmp_path), digest(files[0])
    with pytest.raises(vhdx.ParentMismatchError, match="DataWriteGuid") as caught:
        vhdx.rebase(files[0], other)
    assert caught.value.next_command == f"vhdx rebase {files[0]} --parent {other} --safe"
    assert digest(files[0]) == before


def test_identity_is_ignored_when_told(tmp_path: Path) -> None:
    files = chain(tmp_path, {0: Block(state=ZERO)})
    before = guids_of(files[0])[1]
    vhdx.rebase(files[0], stranger(tmp_path), ignore_identity=True)
    assert guids_of(files[0])[1] == before
    assert content_of(files[0])[: 3 * MIB] == bytes(2 * MIB) + pattern(2, MIB, 9)


def test_other_sector_sizes_are_refused(tmp_path: Path) -> None:
    files = chain(tmp_path, {})
    other, before = stranger(tmp_path, logical_sector_size=4096), digest(files[0])
    for ignore, safe in ((True, False), (False, True), (False, False)):
        with pytest.raises(vhdx.ParentMismatchError, match="logical sectors"):
            vhdx.rebase(files[0], other, ignore_identity=ignore, safe=safe)
    assert digest(files[0]) == before


def test_an_image_without_parent_is_refused(tmp_path: Path) -> None:
    with pytest.raises(vhdx.UnsupportedImageError, match="no differencing image"):
        vhdx.rebase(chain(tmp_path)[0], stranger(tmp_path))


@pytest.mark.parametrize("safe", [False, True])
@pytest.mark.parametrize("which", [0, 1], ids=["itself", "its child"])
def test_a_loop_is_refused_as_such(tmp_path: Path, which: int, safe: bool) -> None:
    files = chain(tmp_path, {}, {})
    before = [digest(file) for file in files]
    with pytest.raises(ValueError, match="own ancestor"):
        vhdx.rebase(files[1], files[1 - which], ignore_identity=True, safe=safe)
    assert [digest(file) for file in files] == before


def test_safe_copies_exactly_what_differs(tmp_path: Path) -> None:
    files = chain(tmp_path, {})
    content = content_of(files[0])
    changed = bytearray(content)
    changed[512:1024] = bytes(512)
    changed[5 * MIB - 1] ^= 1
    blocks = {n: Block(bytes(changed[n * MIB : (n + 1) * MIB])) for n in range(6)}
    other = ImageBuilder(6 * MIB, seed=9, blocks=blocks).write(tmp_path / "other.vhdx")
    done = vhdx.rebase(files[0], other, safe=True)
    assert done.copied_size == 1024
    assert content_of(files[0]) == content
    with vhdx.open(files[0]) as disk:
        assert [(e.offset, e.length) for e in disk.changed_extents()] == [(512, 512), (5 * MIB - 512, 512)]


def test_safe_over_blocks_that_the_child_has_in_between(tmp_path: Path) -> None:
    """What the child does not have lies on both sides of what it has: both sides are copied."""
    files = chain(
        tmp_path, {1: own_block(1, FULLY_PRESENT, ()), 3: own_block(3, PARTIALLY_PRESENT, range(5, 99))}
    )
    content = content_of(files[0])
    vhdx.rebase(files[0], stranger(tmp_path), safe=True)
    assert content_of(files[0]) == content


@pytest.mark.parametrize("size", [2 * MIB + 512, 6 * MIB, 8 * MIB])
def test_safe_over_a_parent_of_another_size(tmp_path: Path, size: int) -> None:
    files = chain(tmp_path, {})
    content = content_of(files[0])
    other = stranger(tmp_path, disk_size=size)
    before = digest(other)
    vhdx.rebase(files[0], other, safe=True)
    assert content_of(files[0]) == content
    assert twin_of(files[0], other).read(6 * MIB, 0) == content
    assert digest(other) == before


def test_safe_leaves_the_identity_alone_because_no_byte_of_the_disk_changes(tmp_path: Path) -> None:
    """Promise 9. Otherwise the children of what was rebased no longer know it."""
    files = chain(tmp_path, {}, {})
    content, before = content_of(files[0]), guids_of(files[1])[1]
    vhdx.rebase(files[1], stranger(tmp_path), safe=True)
    assert guids_of(files[1])[1] == before
    assert content_of(files[0]) == content


def test_safe_needs_the_old_parent(tmp_path: Path) -> None:
    files = chain(tmp_path, {})
    files[1].unlink()
    with pytest.raises(vhdx.ParentNotFoundError):
        vhdx.rebase(files[0], stranger(tmp_path), safe=True)


def test_a_child_in_use_is_refused(tmp_path: Path) -> None:
    files = chain(tmp_path, {})
    with vhdx.open(files[0]), pytest.raises(vhdx.ImageLockedError):
        vhdx.rebase(files[0], files[1])


def test_the_command(tmp_path: Path) -> None:
    files = chain(tmp_path, {})
    other = stranger(tmp_path)
    assert run("rebase", files[0], "--parent", other).code == 1
    assert "copied" in succeed("rebase", files[0], "--parent", other, "--safe")
    (tmp_path / "sub").mkdir()
    child = files[0].rename(tmp_path / "sub" / "child.vhdx")
    done = run("rebase", child, "--parent", other)
    assert done.code == 0
    assert "--any-parent" in done.err


def test_info_shows_the_share_of_every_layer(tmp_path: Path) -> None:
    files = chain(
        tmp_path,
        {0: own_block(0, FULLY_PRESENT, ()), 1: Block(state=ZERO)},
        {0: own_block(0, PARTIALLY_PRESENT, range(8))},
    )
    found = info(files[0], chain=True).chain
    assert found is not None
    assert [layer.path for layer in found] == [str(file) for file in files]
    assert [layer.data_size for layer in found] == [4096, MIB - 4096, 4 * MIB]
    assert "80.0% of the data" in succeed("info", "--chain", files[0])
