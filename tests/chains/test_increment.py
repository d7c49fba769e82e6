"""`create_increment`: a child that reads as another disk does, and holds nothing that its parent has, too."""

import random
from pathlib import Path

import numpy as np
import pytest

import vhdx
from tests.chains.files import digest, seven_zip_is_right
from tests.chains.twin import assert_sound, twin_of
from tests.cli.running import USAGE, succeed
from tests.interop.programs import by_seven_zip, dissect_bytes, pyvhdi_bytes
from tests.support.layout import MIB, ZERO
from vhdx.cli.verbs import called
from vhdx.disk.open import open_disk
from vhdx.extents import ExtentKind
from vhdx.ops.differences import unequal_runs
from vhdx.ops.make import changes
from vhdx.ops.make.increment import IncrementResult, create_increment

SIZE = 9 * MIB


def random_bytes(seed: int, length: int = SIZE) -> bytes:
    """A disk with a hole of 2 MiB from 3 MiB on."""
    content = bytearray(random.Random(seed).randbytes(length))
    content[3 * MIB : 5 * MIB] = bytes(2 * MIB)
    return bytes(content)


def changed(content: bytes, seed: int = 7) -> bytes:
    """It once more, otherwise in small places of any alignment, a block of zeros and one that was a hole."""
    other, chosen = bytearray(content), random.Random(seed)
    for _ in range(30):
        at = chosen.randrange(len(other) - 4096)
        length = chosen.choice((1, 511, 512, 513, 3000))
        other[at : at + length] = chosen.randbytes(length)
    other[6 * MIB : 8 * MIB] = bytes(2 * MIB)
    other[4 * MIB : 5 * MIB] = chosen.randbytes(MIB)
    return bytes(other)


def image(path: Path, content: bytes, sector_size: int = 512, block_size: int = 2 * MIB) -> Path:
    """A dynamic image with these contents."""
    raw = path.with_suffix(".raw")
    raw.write_bytes(content)
    options = vhdx.ImageOptions(block_size=block_size, logical_sector_size=sector_size)
    vhdx.convert(raw, path, options=options)
    return path


def differing(left: bytes, right: bytes, unit: int) -> list[int]:
    """The sectors in which two disks differ, zeros behind the end of the shorter one."""
    size = max(len(left), len(right))
    one, other = (
        np.frombuffer(each.ljust(size, b"\0"), np.uint8).reshape(-1, unit) for each in (left, right)
    )
    return [int(sector) for sector in np.flatnonzero((one != other).any(axis=1))]


def own_sectors(child: Path, unit: int) -> list[int]:
    """The sectors that an image itself has."""
    with vhdx.open(child) as disk:
        own = [extent for extent in disk.changed_extents() if extent.length]
    assert all(extent.offset % unit == extent.length % unit == 0 for extent in own)
    return [sector for e in own for sector in range(e.offset // unit, e.end // unit)]


@pytest.mark.parametrize("sector_size", [512, 4096])
@pytest.mark.parametrize("block_size", ["1M", "2M", "256M"])
def test_a_child_holds_exactly_the_sectors_that_differ(
    tmp_path: Path, sector_size: int, block_size: str
) -> None:
    before, after = random_bytes(1), changed(random_bytes(1))
    base = image(tmp_path / "base.vhdx", before, sector_size)
    (tmp_path / "other.raw").write_bytes(after)
    was = digest(base)
    made = create_increment(
        tmp_path / "child.avhdx",
        parent=base,
        contents=tmp_path / "other.raw",
        options=vhdx.ImageOptions(block_size=block_size),
    )
    expected = differing(before, after, sector_size)
    assert own_sectors(tmp_path / "child.avhdx", sector_size) == expected
    assert made.data_size + made.zeroed_size == len(expected) * sector_size
    assert made.file_size == (tmp_path / "child.avhdx").stat().st_size
    assert (made.found_in_tables, made.remarks) == (False, ())
    assert digest(base) == was
    with vhdx.open(tmp_path / "child.avhdx") as disk:
        assert disk.pread(SIZE, 0) == after
    files = (tmp_path / "child.avhdx", base)
    assert_sound(files[0])
    twin = twin_of(*files)
    assert twin.read(SIZE, 0) == after
    if seven_zip_is_right(twin):
        assert by_seven_zip(files[0]) == after
    if block_size == "2M":  # dissect reads wrong over the ends of a parent's blocks that are smaller
        assert dissect_bytes(files[0]) == after


def test_whole_blocks_of_zeros_take_no_space(tmp_path: Path) -> None:
    base = image(tmp_path / "base.vhdx", random_bytes(1))
    (tmp_path / "other.raw").write_bytes(bytes(SIZE))
    made = create_increment(tmp_path / "c.avhdx", parent=base, contents=tmp_path / "other.raw")
    # of blocks 1 and 2 a half is zeros already: that is no change, and so they are partially present
    assert (made.data_size, made.file_size) == (0, 4 * MIB + 2 * 2 * MIB + MIB)
    assert [twin_of(tmp_path / "c.avhdx", base).layers[0].entry(n)[0] for n in (0, 3, 4)] == [ZERO] * 3


def test_libvhdi_reads_it(tmp_path: Path) -> None:
    before = random_bytes(2)
    after = bytearray(before)
    after[700 * 512 : 900 * 512] = random.Random(3).randbytes(200 * 512)
    base = image(tmp_path / "base.vhdx", before)
    (tmp_path / "other.raw").write_bytes(after)
    create_increment(tmp_path / "child.avhdx", parent=base, contents=tmp_path / "other.raw")
    assert pyvhdi_bytes(tmp_path / "child.avhdx", base) == after


@pytest.mark.parametrize("length", [SIZE - 5 * MIB - 512, SIZE - 512, SIZE + 512, SIZE + 6 * MIB - 512])
def test_a_disk_of_another_size(tmp_path: Path, length: int) -> None:
    before = random_bytes(1)
    after = random_bytes(1, length) if length > SIZE else changed(before)[:length]
    base = image(tmp_path / "base.vhdx", before)
    (tmp_path / "other.raw").write_bytes(after)
    made = create_increment(tmp_path / "c.avhdx", parent=base, contents=tmp_path / "other.raw")
    assert made.virtual_size == length
    assert bool(made.remarks) is (length < SIZE)
    with vhdx.open(tmp_path / "c.avhdx") as disk:
        assert disk.pread(disk.size, 0) == after
    assert twin_of(tmp_path / "c.avhdx", base).read(length, 0) == after
    assert own_sectors(tmp_path / "c.avhdx", 512) == differing(before[:length], after, 512)


def test_sectors_of_4096_and_a_raw_disk_that_ends_inside_one(tmp_path: Path) -> None:
    before, after = random_bytes(1), changed(random_bytes(1))[: SIZE - 700]
    base = image(tmp_path / "base.vhdx", before, 4096)
    (tmp_path / "other.raw").write_bytes(after)
    made = create_increment(tmp_path / "c.avhdx", parent=base, contents=tmp_path / "other.raw")
    with vhdx.open(tmp_path / "c.avhdx") as disk:
        assert disk.pread(disk.size, 0) == after.ljust(SIZE, b"\0")
    assert made.virtual_size == SIZE
    assert "rounded" in made.remarks[0]


def _formats(folder: Path, content: bytes) -> dict[str, Path]:
    raw = folder / "other.raw"
    raw.write_bytes(content)
    made = {"raw": raw, "vhdx": image(folder / "other.vhdx", content, block_size=MIB)}
    for kind in ("fixed", "dynamic"):
        made[kind] = folder / f"{kind}.vhd"
        vhdx.convert(raw, made[kind], options=vhdx.ImageOptions(kind))
    return made


def test_the_other_disk_may_be_of_any_format(tmp_path: Path) -> None:
    before, after = random_bytes(1), changed(random_bytes(1))
    base = image(tmp_path / "base.vhdx", before)
    for name, path in _formats(tmp_path, after).items():
        child = tmp_path / f"{name}.avhdx"
        create_increment(child, parent=base, contents=path)
        assert own_sectors(child, 512) == differing(before, after, 512)
        assert twin_of(child, base).read(SIZE, 0) == after


def _chain(folder: Path) -> tuple[list[Path], bytearray]:
    """Base, two layers over it, each written to, and what the youngest reads as."""
    content = bytearray(random_bytes(4))
    files = [image(folder / "base.vhdx", bytes(content))]
    for number in (1, 2):
        files.append(folder / f"{number}.avhdx")
        vhdx.create(files[-1], parent=files[-2])
        with vhdx.open(files[-1], "r+") as disk:
            disk.pwrite(b"\xaa" * (1000 * number), 700_001 * number)
            content[700_001 * number : 700_001 * number + 1000 * number] = b"\xaa" * (1000 * number)
            disk.zero(offset=6 * MIB, length=2 * MIB)
            disk.pwrite(content[:512], 0)  # what is there already
        content[6 * MIB : 8 * MIB] = bytes(2 * MIB)
    return files, content


def test_within_a_chain_the_tables_tell_and_nothing_is_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, content = _chain(tmp_path)
    monkeypatch.setattr(changes, "unequal_runs", None)
    for number, ancestor in enumerate(files[:2]):
        child = tmp_path / f"over{number}.avhdx"
        made = create_increment(child, parent=ancestor, contents=files[2])
        assert made.found_in_tables
        with vhdx.open(files[2]) as disk:
            told = [(e.offset, e.length, e.kind) for e in disk.changed_extents(since=ancestor)]
        with open_disk(child) as disk:
            own = [(e.offset, e.length, e.kind) for e in disk.own_extents()]
        assert [each for each in own if each[2] is not ExtentKind.UNALLOCATED] == told
        assert twin_of(child, *files[number::-1]).read(SIZE, 0) == content
        assert by_seven_zip(child) == content


def test_by_comparing_a_chain_what_was_written_as_it_was_is_no_change(tmp_path: Path) -> None:
    files, content = _chain(tmp_path)
    made = create_increment(tmp_path / "c.avhdx", parent=files[0], contents=files[2], compare=True)
    assert not made.found_in_tables
    with vhdx.open(files[0]) as disk:
        before = disk.pread(SIZE, 0)
    assert own_sectors(tmp_path / "c.avhdx", 512) == differing(before, bytes(content), 512)
    assert 0 not in own_sectors(tmp_path / "c.avhdx", 512)


def test_what_two_children_have_from_their_parent_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = image(tmp_path / "base.vhdx", random_bytes(1))
    for name, at in (("a", 0), ("b", 5 * MIB)):
        vhdx.create(tmp_path / f"{name}.avhdx", parent=base)
        with vhdx.open(tmp_path / f"{name}.avhdx", "r+") as disk:
            disk.pwrite(b"x" * 4096, at)
    read = []

    def watched(left: bytes, right: bytes, unit: int) -> list[tuple[int, int]]:
        read.append(len(left))
        return unequal_runs(left, right, unit)

    monkeypatch.setattr(changes, "unequal_runs", watched)
    create_increment(tmp_path / "c.avhdx", parent=tmp_path / "a.avhdx", contents=tmp_path / "b.avhdx")
    assert read == [4096, 4096]
    assert own_sectors(tmp_path / "c.avhdx", 512) == [*range(8), *range(5 * 2048, 5 * 2048 + 8)]


def test_many_changes_are_kept_in_a_file_and_borders_of_chunks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every second sector around 4 GiB and 8 GiB, where sector bitmaps end."""
    monkeypatch.setattr(changes, "_KEPT", 256)
    size, gib = (9 << 30) + 512, 1 << 30
    vhdx.create(tmp_path / "base.vhdx", size, block_size="256M")
    with (tmp_path / "other.raw").open("wb") as raw:
        raw.truncate(size)
        for border in (4 * gib, 8 * gib):
            for at in range(border - 200 * 512, border + 200 * 512, 1024):
                raw.seek(at)
                raw.write(b"\x55" * 512)
        raw.seek(size - 512)
        raw.write(b"end of it" + bytes(503))
    made = create_increment(
        tmp_path / "c.avhdx", parent=tmp_path / "base.vhdx", contents=tmp_path / "other.raw"
    )
    assert made.data_size == 401 * 512
    assert_sound(tmp_path / "c.avhdx")
    twin = twin_of(tmp_path / "c.avhdx", tmp_path / "base.vhdx")
    for border in (4 * gib, 8 * gib):
        assert twin.read(400 * 512, border - 200 * 512) == (b"\x55" * 512 + bytes(512)) * 200
    assert twin.read(512, size - 512).rstrip(b"\0") == b"end of it"
    assert dict(vhdx.compare(tmp_path / "c.avhdx", tmp_path / "other.raw")._asdict())["identical"]


# what is refused ----------------------------------------------------------------------------------


def _refused(folder: Path, **how: object) -> IncrementResult:
    named = {"parent": folder / "base.vhdx", "contents": folder / "other.raw", **how}
    return create_increment(folder / "c.avhdx", **named)  # type: ignore[arg-type]


@pytest.fixture(name="scene")
def _scene(tmp_path: Path) -> Path:
    image(tmp_path / "base.vhdx", random_bytes(1))
    (tmp_path / "other.raw").write_bytes(changed(random_bytes(1)))
    return tmp_path


def test_a_parent_that_is_no_vhdx(scene: Path) -> None:
    vhdx.convert(scene / "base.vhdx", scene / "base.vhd")
    for name in ("base.vhd", "base.raw"):
        with pytest.raises(vhdx.UnsupportedImageError, match="VHD"):
            _refused(scene, parent=scene / name)
    assert not (scene / "c.avhdx").exists()


def test_logical_sectors_of_another_size(scene: Path) -> None:
    image(scene / "large.vhdx", random_bytes(1), 4096)
    with pytest.raises(vhdx.UnsupportedImageError, match=r"4096 bytes, those of .*base\.vhdx 512"):
        _refused(scene, contents=scene / "large.vhdx")


def test_a_child_that_exists_and_one_that_is_read(scene: Path) -> None:
    (scene / "c.avhdx").write_bytes(b"mine")
    with pytest.raises(FileExistsError):
        _refused(scene)
    assert (scene / "c.avhdx").read_bytes() == b"mine"
    _refused(scene, overwrite=True)
    for name in ("base.vhdx", "other.raw"):
        with pytest.raises(ValueError, match="one of the images that are read"):
            create_increment(
                scene / name, parent=scene / "base.vhdx", contents=scene / "other.raw", overwrite=True
            )


def test_images_that_somebody_writes_to(scene: Path) -> None:
    for name in ("base.vhdx", "c.vhdx"):
        image(scene / "c.vhdx", random_bytes(1)) if name == "c.vhdx" else None
        with vhdx.open(scene / name, "r+"), pytest.raises(vhdx.ImageLockedError):
            _refused(scene, contents=scene / "c.vhdx" if name == "c.vhdx" else scene / "other.raw")


# the command --------------------------------------------------------------------------------------


def test_the_commands(scene: Path) -> None:
    def line(*words: str) -> str:
        return succeed(*words, cwd=scene)

    out = line("create", "a.avhdx", "--parent", "base.vhdx", "--from", "other.raw")
    assert out.startswith("a.avhdx: over base.vhdx, 9 MiB: ")
    assert out.endswith("found by comparing\n")
    line("compare", "base.vhdx", "other.raw", "--make-child", "b.avhdx")
    assert "told by the tables" in line("create", "c.avhdx", "--parent", "base.vhdx", "--from", "a.avhdx")
    for name in ("a.avhdx", "b.avhdx", "c.avhdx"):
        assert vhdx.compare(scene / name, scene / "other.raw").identical
    vhdx.merge(scene / "c.avhdx", force=True)
    assert vhdx.compare(scene / "base.vhdx", scene / "other.raw").identical


@pytest.mark.parametrize(
    "line",
    [
        "create c.avhdx 9M --parent base.vhdx --from other.raw",
        "create c.vhdx 9M --from other.raw",
        "create c.vhdx 9M -F raw",
        "compare base.vhdx other.raw --make-child -",
        "compare base.vhdx other.raw --partition 1 --make-child c.avhdx",
        "compare base.vhdx other.raw --force",
    ],
)
def test_words_that_go_not_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    monkeypatch.chdir(tmp_path)
    assert called(line.split()) == USAGE
    assert not list(tmp_path.iterdir())
