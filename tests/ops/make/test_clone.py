"""Conversions that share space, on XFS and btrfs of this host. They need root."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import vhdx
from tests.support.layout import MIB
from tests.support.naive import naive_content
from tests.support.patterns import pattern
from tests.support.sharing import MAKERS, SHARING, mounted, writes
from vhdx.ops.make import cloning
from vhdx.storage import host
from vhdx.storage.file import open_for_reading, open_for_writing
from vhdx.storage.sharing import Clone

from .making import raw_bytes, write_raw

SIZE = 21 * MIB + 512
PIECES = {
    0: b"first" * 700,
    5000: b"\1" * 9001,
    7 * MIB - 3: b"over a border of MiB",
    9 * MIB + 1: b"\2" * (3 * MIB),
    SIZE - 5: b"last.",
}
CONTENT = raw_bytes(SIZE, PIECES)
pytestmark = SHARING


@pytest.fixture(name="folder", scope="module", params=MAKERS)
def _folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with mounted(request.param, tmp_path_factory.mktemp(request.param)) as place:
        write_raw(place / "a.raw", SIZE, PIECES)
        yield place


@pytest.fixture(name="copied")
def _copied(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The lengths of all that is copied byte by byte."""
    lengths: list[int] = []
    inner = cloning._copy

    def counted(piece: cloning.Run, start: int, end: int, *rest: object) -> None:
        lengths.append(max(0, end - start))
        inner(piece, start, end, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(cloning, "_copy", counted)
    return lengths


def content_of(path: Path) -> bytes:
    with vhdx.open(path) as disk:
        found = disk.pread(disk.size, 0)
    assert not found[SIZE:].strip(b"\0")
    return found[:SIZE]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("b.vhdx", {"block_size": MIB}),
        ("b.vhdx", {"disk_type": "fixed"}),
        ("b.vhdx", {"logical_sector_size": 4096}),
        ("b.vhd", {}),
        ("b.vhd", {"disk_type": "dynamic"}),
        ("b.raw", {}),
    ],
)
def test_what_is_shared_is_the_same_disk(
    folder: Path, copied: list[int], name: str, options: dict[str, object]
) -> None:
    """There and back; only the ends of runs are copied, and what is made is sound."""
    made = folder / name
    chosen = vhdx.ImageOptions(**options)  # type: ignore[arg-type]
    result = vhdx.convert(folder / "a.raw", made, options=chosen, overwrite=True, clone="always")
    assert content_of(made) == CONTENT
    assert sum(copied) < 64 * 1024
    assert any("shared" in remark for remark in result.remarks) == (
        options.get("disk_type", name) in ("fixed", "b.vhd")
    )
    vhdx.convert(made, folder / "back.raw", overwrite=True, clone="always")
    assert (folder / "back.raw").read_bytes().ljust(SIZE, b"\0")[:SIZE] == CONTENT
    if made.suffix != ".raw":
        assert vhdx.check(made).is_clean
    if made.suffix == ".vhdx":
        assert naive_content(made, 0, SIZE) == CONTENT


def test_a_write_to_one_is_none_to_the_other(folder: Path) -> None:
    vhdx.convert(folder / "a.raw", folder / "w.vhdx", overwrite=True, clone="always")
    with vhdx.open(folder / "w.vhdx", "r+") as disk:
        disk.pwrite(b"new", 9 * MIB + 100)
    assert (folder / "a.raw").read_bytes() == CONTENT
    assert content_of(folder / "w.vhdx") == CONTENT[: 9 * MIB + 100] + b"new" + CONTENT[9 * MIB + 103 :]


def test_a_chain(folder: Path) -> None:
    """Each layer's part out of its own file, sectors that are no whole blocks of the file system included."""
    base, child = folder / "base.vhdx", folder / "child.avhdx"
    vhdx.convert(folder / "a.raw", base, overwrite=True)
    vhdx.create(child, parent=base, overwrite=True)
    with vhdx.open(child, "r+") as disk:
        disk.pwrite(b"\3" * 1536, 9 * MIB + 512)
        disk.zero(length=MIB, offset=10 * MIB)
        disk.pwrite(b"\4" * (2 * MIB), 16 * MIB)
        expected = disk.pread(SIZE, 0)
    vhdx.convert(child, folder / "flat.vhdx", overwrite=True, clone="always")
    assert naive_content(folder / "flat.vhdx", 0, SIZE) == expected
    assert vhdx.check(folder / "flat.vhdx").is_clean


def test_stored_zeros_stay_stored_unless_it_is_never(folder: Path) -> None:
    source = folder / "zeros.raw"
    source.write_bytes(bytes(4 * MIB))
    options = vhdx.ImageOptions(block_size=MIB)
    sizes = [
        vhdx.convert(source, folder / "z.vhdx", options=options, overwrite=True, clone=clone).file_size
        for clone in ("auto", "never")
    ]
    assert sizes[0] - sizes[1] == 4 * MIB


@pytest.mark.parametrize("clone", ["auto", "always"])
@pytest.mark.parametrize("name", ["z.vhdx", "z.vhd", "z.raw"])
def test_zeros_are_left_out_where_they_are_looked_for(folder: Path, name: str, clone: Clone) -> None:
    """What is stored and no zeros is shared, of the same bytes as by copying."""
    source, made, copied = folder / "some.raw", folder / name, folder / f"copied-{name}"
    data = bytearray(6 * MIB)
    data[MIB : 2 * MIB + 4096] = pattern(1, MIB + 4096)
    data[4 * MIB + 512 : 4 * MIB + 9000] = pattern(2, 8488)
    data[-100:] = pattern(3, 100)
    source.write_bytes(data)
    options = vhdx.ImageOptions(block_size=MIB) if name == "z.vhdx" else None
    done = vhdx.convert(source, made, options=options, overwrite=True, clone=clone, scan_zeros=True)
    assert content_of(made)[: len(data)] == data
    assert done.data_size < 2 * MIB
    other = vhdx.convert(source, copied, options=options, overwrite=True, clone="never")
    assert (done.file_size, made.stat().st_size) == (other.file_size, copied.stat().st_size)
    os.sync()
    assert made.stat().st_blocks * 512 <= copied.stat().st_blocks * 512 + 65536
    with writes() as written:
        vhdx.convert(source, made, options=options, overwrite=True, clone=clone, scan_zeros=True)
    assert sum(written) < 2 * MIB + 65536


def test_where_nothing_can_be_shared(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is copied, or refused if it must be shared."""
    monkeypatch.setattr(host, "clone_range", lambda *_: False)
    vhdx.convert(folder / "a.raw", folder / "n.vhdx", overwrite=True)
    assert content_of(folder / "n.vhdx") == CONTENT
    with pytest.raises(OSError, match="refused to share"):
        vhdx.convert(folder / "a.raw", folder / "n2.vhdx", clone="always")
    assert not (folder / "n2.vhdx").exists()


@pytest.mark.parametrize("one_in", [0, 2, 3])
def test_what_is_copied_before_anything_is_shared(
    one_in: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part that is no whole block of the file system comes first, in another block of the disk."""
    base, child = folder / "empty.vhdx", folder / "few.avhdx"
    vhdx.create(base, SIZE, block_size=MIB, overwrite=True)
    vhdx.create(child, parent=base, block_size=MIB, overwrite=True)
    with vhdx.open(child, "r+") as disk:
        disk.pwrite(b"\3" * 512, 512)
        disk.pwrite(b"\4" * (4 * MIB), 9 * MIB)
        expected = disk.pread(SIZE, 0)
    inner, calls = host.clone_range, iter(range(1000))

    def sometimes(*places: int) -> bool:
        return bool(one_in) and next(calls) % one_in == 0 and inner(*places)

    monkeypatch.setattr(host, "clone_range", sometimes)
    for name, options in (("d.vhdx", vhdx.ImageOptions(block_size=MIB)), ("d.raw", None)):
        vhdx.convert(child, folder / name, options=options, overwrite=True)
        assert content_of(folder / name) == expected


def test_a_question_changes_nothing(folder: Path, tmp_path: Path) -> None:
    (folder / "q.raw").write_bytes(CONTENT)
    (tmp_path / "q.raw").write_bytes(CONTENT)
    with contextlib.closing(open_for_reading(str(folder / "a.raw"))) as source:
        for path, may_share in ((folder / "q.raw", True), (tmp_path / "q.raw", False)):
            with contextlib.closing(open_for_writing(str(path))) as target:
                assert target.may_share_with(source) is may_share
            assert path.read_bytes() == CONTENT


def test_two_file_systems(folder: Path, tmp_path: Path) -> None:
    vhdx.convert(folder / "a.raw", tmp_path / "b.vhdx")
    assert content_of(tmp_path / "b.vhdx") == CONTENT
    with pytest.raises(ValueError, match="cannot share space"):
        vhdx.convert(folder / "a.raw", tmp_path / "c.vhdx", clone="always")


def test_where_sharing_ends_in_the_middle(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file system counts how often; the rest is copied, unless it must be shared."""
    inner, calls = host.clone_range, iter(range(1000))
    monkeypatch.setattr(host, "clone_range", lambda *a: next(calls) % 2 == 0 and inner(*a))
    vhdx.convert(folder / "a.raw", folder / "m.vhdx", overwrite=True)
    assert content_of(folder / "m.vhdx") == CONTENT
    with pytest.raises(OSError, match="refused to share"):
        vhdx.convert(folder / "a.raw", folder / "m2.vhdx", clone="always")
    assert not (folder / "m2.vhdx").exists()
