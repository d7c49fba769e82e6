"""Merging and compacting by shared space, on XFS and btrfs of this host: the same files as by copying."""

import errno
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

import vhdx
from tests.chains.files import others_agree
from tests.cli.running import run
from tests.support.layout import MIB
from tests.support.patterns import pattern
from tests.support.sharing import MAKERS, SHARING, mounted, same_identities, writes
from vhdx.storage import host

pytestmark = SHARING
SIZE = 24 * MIB
MOST_WRITTEN = MIB
"""What tables, logs and the ends of runs may take."""
Making = Callable[[Path], Path]


@pytest.fixture(name="system", scope="module", params=MAKERS)
def _system(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with mounted(request.param, tmp_path_factory.mktemp(request.param)) as place:
        yield place


@pytest.fixture(name="folder")
def _folder(system: Path) -> Iterator[Path]:
    folder = system / "test"
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


def chain(base_size: int = SIZE, **options: object) -> Making:
    """A child that says much, in whole blocks and in sectors, over blocks that are there and that are not."""

    def make(folder: Path) -> Path:
        base, child = folder / "base.vhdx", folder / "child.avhdx"
        vhdx.create(base, base_size, block_size=MIB, **options)  # type: ignore[arg-type]
        with vhdx.open(base, "r+") as disk:
            disk.pwrite(pattern(1, 3 * MIB), MIB)
        vhdx.create(child, parent=base, block_size=2 * MIB)
        with vhdx.open(child, "r+") as disk:
            disk.pwrite(pattern(2, 7 * MIB), 2 * MIB)
            disk.pwrite(pattern(3, 4096 + 512), 12 * MIB + 512)
            disk.zero(length=MIB, offset=3 * MIB)
            disk.pwrite(pattern(4, 5 * MIB + 512), 14 * MIB)
        return child

    return make


def longer_chain(folder: Path) -> Path:
    """The parent is a child itself, which keeps sectors of its own."""
    top, middle = folder / "top.avhdx", chain()(folder)
    vhdx.create(top, parent=middle, block_size=MIB)
    with vhdx.open(top, "r+") as disk:
        disk.pwrite(pattern(7, 3 * MIB + 1024), 9 * MIB + 512)
    return top


def holes_and_gaps(folder: Path) -> Path:
    """An image whose last blocks fit into its gaps."""
    path = folder / "gaps.vhdx"
    vhdx.create(path, SIZE, block_size=MIB)
    with vhdx.open(path, "r+") as disk:
        disk.pwrite(pattern(5, 16 * MIB), 0)
        disk.pwrite(pattern(6, 5), 20 * MIB + 7)
    with vhdx.open(path, "r+") as disk:
        disk.trim(length=8 * MIB, offset=0)
        disk.trim(length=2 * MIB, offset=11 * MIB)
    return path


def dirty(make: Making) -> Making:
    """The same, as a crash leaves it: the log is not empty."""

    def made(folder: Path) -> Path:
        path = make(folder)
        left = path.with_stem("left")
        with vhdx.open(path, "r+") as disk:
            disk.pwrite(pattern(8, 3 * MIB), 18 * MIB)
            disk.flush()
            shutil.copyfile(path, left)
        path.unlink()
        assert "log.dirty" in {finding.code for finding in vhdx.check(left).findings}
        return left

    return made


def merged(child: Path, clone: str) -> Path:
    result = vhdx.merge(child, clone=clone, delete_child=True)  # type: ignore[arg-type]
    return Path(result.path)


def compacted(path: Path, clone: str) -> Path:
    assert vhdx.compact(path, clone=clone).moved_blocks > 3  # type: ignore[arg-type]
    return path


CASES: dict[str, tuple[Making, Callable[[Path, str], Path]]] = {
    "merge": (chain(), merged),
    "merge into a fixed one": (chain(disk_type="fixed"), merged),
    "merge of sectors of 4096 bytes": (chain(logical_sector_size=4096), merged),
    "merge into a child": (longer_chain, merged),
    "merge of a dirty one": (dirty(chain()), merged),
    "compact": (holes_and_gaps, compacted),
    "compact a dirty one": (dirty(holes_and_gaps), compacted),
}


@pytest.mark.parametrize("case", CASES)
def test_the_same_file_byte_by_byte(folder: Path, case: str) -> None:
    make, change = CASES[case]
    made: dict[str, bytes] = {}
    for clone in ("never", "always"):
        place = folder / case
        place.mkdir()
        with same_identities():
            path = make(place)
            with vhdx.open(path) as disk:
                expected = disk.pread(SIZE, 0)
            with writes() as written:
                path = change(path, clone)
        assert (sum(written) < MOST_WRITTEN) is (clone == "always")
        assert vhdx.check(path).is_clean
        with vhdx.open(path) as disk:
            assert disk.pread(SIZE, 0) == expected
        content = bytearray(path.read_bytes())
        content[MIB : 2 * MIB] = bytes(MIB)  # the log, which is empty: what remains in it means nothing
        made[clone] = bytes(content)
        shutil.rmtree(place)
    assert made["never"] == made["always"]


def test_a_writer_of_one_does_not_touch_the_other(folder: Path) -> None:
    """The child stays and shares the space of its parent: each keeps its own bytes."""
    place = folder / "both"
    place.mkdir()
    child = chain()(place)
    base = Path(vhdx.merge(child, clone="always").path)
    with vhdx.open(base) as disk:
        expected = bytearray(disk.pread(SIZE, 0))
    expected[4 * MIB : 8 * MIB] = b"\xee" * (4 * MIB)
    before = child.read_bytes()
    with vhdx.open(base, "r+") as disk:
        disk.pwrite(b"\xee" * (4 * MIB), 4 * MIB)
    assert child.read_bytes() == before
    assert others_agree([base], bytes(expected))


@pytest.mark.parametrize("one_in", [2, 3])
def test_where_sharing_fails_now_and_then(folder: Path, one_in: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest is copied."""
    inner, calls = host.clone_range, iter(range(10_000))
    monkeypatch.setattr(
        host, "clone_range", lambda *places: bool(one_in) and next(calls) % one_in == 0 and inner(*places)
    )
    for case, (make, change) in CASES.items():
        place = folder / f"{case} {one_in} failing"
        place.mkdir()
        path = make(place)
        with vhdx.open(path) as disk:
            expected = disk.pread(SIZE, 0)
        path = change(path, "auto")
        with vhdx.open(path) as disk:
            assert disk.pread(SIZE, 0) == expected
        assert vhdx.check(path).is_clean


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("refused", [0, 2])
def test_what_must_be_shared_is_never_copied(
    folder: Path, case: str, refused: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The host refuses the first share, or one in the middle: an error, and what was done stays right."""
    make, change = CASES[case]
    place = folder / f"{case} {refused} refused"
    place.mkdir()
    path = make(place)
    with vhdx.open(path) as disk:
        expected = disk.pread(SIZE, 0)
    inner, calls = host.clone_range, iter(range(10_000))
    with monkeypatch.context() as patch, writes() as written:
        patch.setattr(host, "clone_range", lambda *places: next(calls) != refused and inner(*places))
        with pytest.raises(OSError, match=r"refused to share .* bytes with .*what was done stays right"):
            change(path, "always")
    assert sum(written) < 3 * MIB
    with vhdx.open(path) as disk:
        assert disk.pread(SIZE, 0) == expected
    assert vhdx.check(path).is_clean
    path = change(path, "auto")
    with vhdx.open(path) as disk:
        assert disk.pread(SIZE, 0) == expected
    assert vhdx.check(path).is_clean


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_whatever_keeps_from_sharing_keeps_from_nothing_else(
    folder: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ZFS wants a file to be on its disk first, XFS has no room for the count of one extent: it is copied."""
    inner = fcntl.ioctl

    def failing(descriptor: int, code: int, *rest: Any) -> Any:
        if code == host._FICLONERANGE and host._CLONE.unpack(rest[0])[2] >= MIB:
            raise OSError(number, "not now")
        return inner(descriptor, code, *rest)

    monkeypatch.setattr(fcntl, "ioctl", failing)
    for case in ("merge", "compact"):
        make, change = CASES[case]
        place = folder / f"{case} {number}"
        place.mkdir()
        path = make(place)
        with vhdx.open(path) as disk:
            expected = disk.pread(SIZE, 0)
        path = change(path, "auto")
        with vhdx.open(path) as disk:
            assert disk.pread(SIZE, 0) == expected


def test_whoever_shares_any_byte_shares_none_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether space can be shared is asked of bytes that no file has: the target's first ones stay."""
    asked: list[int] = []
    monkeypatch.setattr(fcntl, "ioctl", lambda _, __, what: asked.append(host._CLONE.unpack(what)[1]))
    assert host.may_share(1, 2)
    assert asked[0] >= 1 << 62


def test_moved_blocks_keep_no_space_twice(folder: Path) -> None:
    """What was shared with the old place is the image's alone once that is cut off."""
    place = folder / "once"
    place.mkdir()
    path = compacted(holes_and_gaps(place), "always")
    os.sync()
    assert path.stat().st_blocks * 512 <= path.stat().st_size + MIB


def test_where_it_must_be_shared_and_cannot(tmp_path: Path) -> None:
    """Before anything is changed."""
    child = chain()(tmp_path)
    before = child.read_bytes(), (tmp_path / "base.vhdx").read_bytes()
    if host.may_share(os.open(child, os.O_RDONLY), os.open(child, os.O_RDWR)):
        pytest.skip("the host's own file system shares space")
    with pytest.raises(ValueError, match="cannot share space"):
        vhdx.merge(child, clone="always")
    path = holes_and_gaps(tmp_path)
    with pytest.raises(ValueError, match="cannot share space"):
        vhdx.compact(path, clone="always")
    assert (child.read_bytes(), (tmp_path / "base.vhdx").read_bytes()) == before


def test_what_is_shared_needs_no_space(folder: Path) -> None:
    """A full disk is where it matters most that nothing is copied."""
    child = chain()(folder)
    with vhdx.open(child) as disk:
        expected = disk.pread(SIZE, 0)
    with mock.patch("shutil.disk_usage", return_value=mock.Mock(free=MIB)):
        with pytest.raises(OSError, match="nothing was merged"):
            vhdx.merge(child, clone="never")
        result = vhdx.merge(child)
    with vhdx.open(result.path) as disk:
        assert disk.pread(SIZE, 0) == expected


@pytest.mark.parametrize(("clone", "delete", "shares"), [("always", 0, 1), ("always", 1, 0), ("never", 0, 0)])
def test_a_fixed_image_says_that_its_space_is_shared(
    folder: Path, clone: str, delete: int, shares: int
) -> None:
    child = chain(disk_type="fixed")(folder)
    done = run("merge", child, "--clone", clone, *["--delete-child"] * delete)
    assert done.code == 0
    assert ("shares its space with what was merged" in done.err) == shares


def test_a_layer_that_cannot_share_is_found_before_another_one_is_merged(
    folder: Path, tmp_path: Path
) -> None:
    """The uppermost one is on another file system."""
    middle, top = chain()(folder), tmp_path / "top.avhdx"
    vhdx.create(top, parent=middle)
    before = middle.read_bytes(), (folder / "base.vhdx").read_bytes()
    with pytest.raises(ValueError, match="cannot share space"):
        vhdx.merge(top, into=folder / "base.vhdx", clone="always", parents=[folder])
    assert (middle.read_bytes(), (folder / "base.vhdx").read_bytes()) == before


def test_files_without_holes_are_not_shared_within_themselves(folder: Path) -> None:
    """Their old places are filled again, which would take space anew."""
    place = folder / "dense"
    place.mkdir()
    with vhdx.sparse("never"):
        path = holes_and_gaps(place)
        with pytest.raises(ValueError, match="cannot share space"):
            vhdx.compact(path, clone="always")
        compacted(path, "auto")
    assert vhdx.check(path).is_clean
