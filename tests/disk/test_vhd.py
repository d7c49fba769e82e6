"""VHD: fixed, dynamic and differencing ones are read right, whatever is wrong with them is said."""

import io
import os
import random
import uuid
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

import vhdx
from tests.support.layout import KIB, MIB, TIB
from tests.support.vhd import DIFFERENCING, DYNAMIC, FIXED, VhdBuilder, absolute, relative
from vhdx.disk.open import open_any, open_disk
from vhdx.disk.places import ParentPolicy
from vhdx.disk.vhd import VhdDisk, vhd_disk
from vhdx.extents import ExtentKind
from vhdx.storage.stream import StreamStorage

SMALL = 16 * KIB


def sector(number: int) -> bytes:
    return random.Random(number).randbytes(512)


def sectors(*numbers: int) -> dict[int, bytes]:
    return {number: sector(number) for number in numbers}


def opened(path: Path, **options: object) -> VhdDisk:
    disk = open_any(str(path), **options)  # type: ignore[arg-type]
    assert isinstance(disk, VhdDisk)
    return disk


def content(path: Path, **options: object) -> bytes:
    with opened(path, **options) as disk:
        return disk.pread(disk.size, 0)


@pytest.mark.parametrize("disk_type", [FIXED, DYNAMIC])
@pytest.mark.parametrize("block_size", [4 * KIB, SMALL, 512 * KIB, 2 * MIB, 4 * MIB])
def test_contents(tmp_path: Path, disk_type: int, block_size: int) -> None:
    vhd = VhdBuilder(3 * MIB + 512, disk_type, block_size, sectors(0, 1, 7, 8, 1023, 4095, 4096, 6144), (1,))
    path = vhd.write(tmp_path / "a.vhd")
    assert content(path) == vhd.content()
    with opened(path) as disk:
        assert (disk.logical_sector_size, disk.physical_sector_size, disk.read_only) == (512, 512, True)
        assert disk.pread(1000, 300) == vhd.content()[300:1300]
        ranges = list(disk.data_ranges())
    outside = bytearray(vhd.content())
    for start, length in ranges:
        outside[start : start + length] = bytes(length)
    assert not any(outside)


@given(st.data())
def test_any_range_over_a_parent(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("vhd")
    numbers = st.sets(st.integers(0, 127), max_size=20)
    parent = VhdBuilder(
        data.draw(st.sampled_from([48 * KIB, 64 * KIB, 80 * KIB])),
        data.draw(st.sampled_from([FIXED, DYNAMIC])),
        data.draw(st.sampled_from([8 * KIB, SMALL])),
        sectors(*(n for n in data.draw(numbers) if n < 96)),
    )
    parent.write(folder / "parent.vhd")
    child = VhdBuilder(
        *(64 * KIB, DIFFERENCING, SMALL, sectors(*data.draw(numbers)), (2,)),
        unique_id=uuid.UUID(int=5),
        parent_id=parent.unique_id,
        parent_timestamp=parent.timestamp,
        locators=(relative("parent.vhd"),),
    )
    expected = child.content(parent.content())
    with opened(child.write(folder / "child.vhd")) as disk:
        assert disk.findings == ()
        offset = data.draw(st.integers(0, disk.size))
        length = data.draw(st.integers(0, disk.size - offset))
        assert disk.pread(length, offset) == expected[offset : offset + length]
        extents = list(disk.extents())
        assert [extent.offset for extent in extents] == [0, *(extent.end for extent in extents)][:-1]
        assert extents[-1].end == disk.size
        for extent in extents:
            if extent.kind is not ExtentKind.DATA:
                assert not any(expected[extent.offset : extent.end])


def chain_in(folder: Path, depth: int) -> bytes:
    expected = b""
    for level in range(depth):
        vhd = VhdBuilder(
            *(SMALL, DIFFERENCING if level else FIXED, SMALL, sectors(level % 32)),
            unique_id=uuid.UUID(int=level + 1),
            parent_id=uuid.UUID(int=level),
            locators=(relative(f"{level - 1}.vhd"),) if level else (),
        )
        vhd.write(folder / f"{level}.vhd")
        expected = vhd.content(expected)
    return expected


def test_deep_chains(tmp_path: Path) -> None:
    assert content_of_deep(tmp_path, 200) == chain_in(tmp_path, 200)


def content_of_deep(folder: Path, depth: int) -> bytes:
    chain_in(folder, depth)
    return content(folder / f"{depth - 1}.vhd")


def test_chains_that_are_too_deep(tmp_path: Path) -> None:
    with pytest.raises(vhdx.UnsupportedImageError, match="more than 256 images"):
        content_of_deep(tmp_path, 258)


def family(folder: Path, *locators: tuple[bytes, bytes], name: str = "") -> tuple[VhdBuilder, VhdBuilder]:
    parent = VhdBuilder(SMALL, DYNAMIC, SMALL, sectors(1, 2, 3))
    child = VhdBuilder(
        *(SMALL, DIFFERENCING, SMALL, sectors(2, 9)),
        unique_id=uuid.UUID(int=5),
        parent_id=parent.unique_id,
        parent_timestamp=parent.timestamp,
        parent_name=name,
        locators=locators,
    )
    (folder / "home").mkdir()
    child.write(folder / "home" / "child.vhd")
    return parent, child


@pytest.mark.parametrize(
    ("locators", "name", "where"),
    [
        ([relative("parent.vhd")], "", "parent.vhd"),
        ([relative("PARENT.vhd")], "", "parent.vhd"),
        ([relative("down\\parent.vhd")], "", "down/parent.vhd"),
        ([absolute("C:\\vm\\parent.vhd")], "", "parent.vhd"),
        ([(b"MacX", b"file://localhost/vm/parent.vhd")], "", "parent.vhd"),
        ([(b"MacX", b"file:///vm/%C3%9Cber%20all.vhd")], "", "Über all.vhd"),
        ([(b"Wi2r", b"parent.vhd")], "", "parent.vhd"),
        ([], "D:\\vm\\parent.vhd", "parent.vhd"),
        ([absolute("C:\\nowhere.vhd"), relative("parent.vhd")], "", "parent.vhd"),
    ],
)
def test_where_parents_are_found(
    tmp_path: Path, locators: list[tuple[bytes, bytes]], name: str, where: str
) -> None:
    parent, child = family(tmp_path, *locators, name=name)
    (tmp_path / "home" / "down").mkdir()
    parent.write(tmp_path / "home" / where)
    assert content(tmp_path / "home" / "child.vhd") == child.content(parent.content())


@pytest.mark.parametrize("locator", [relative("..\\parent.vhd"), relative("link.vhd")])
def test_paths_out_of_the_directory_are_not_followed_unasked(
    tmp_path: Path, locator: tuple[bytes, bytes]
) -> None:
    parent, child = family(tmp_path, locator)
    parent.write(tmp_path / "parent.vhd")
    (tmp_path / "home" / "link.vhd").symlink_to(tmp_path / "parent.vhd")
    path, expected = tmp_path / "home" / "child.vhd", child.content(parent.content())
    with pytest.raises(vhdx.ParentNotFoundError, match="only followed with --any-parent"):
        opened(path)
    assert content(path, parents=ParentPolicy(any_parent=True)) == expected
    assert content(path, parents=tmp_path / "parent.vhd") == expected
    assert content(path, parents=tmp_path) == expected


def test_absolute_paths_are_not_followed_unasked(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    parent, child = family(tmp_path, absolute(str(tmp_path / "far" / "parent.vhd")))
    parent.write(tmp_path / "far" / "parent.vhd")
    path = tmp_path / "home" / "child.vhd"
    with pytest.raises(vhdx.ParentNotFoundError, match="only followed with --any-parent"):
        opened(path)
    assert content(path, parents=ParentPolicy(any_parent=True)) == child.content(parent.content())


def test_parents_are_opened_as_the_policy_says_and_may_have_no_identity(tmp_path: Path) -> None:
    """Both times, with a lock at the second: what the caller names need not be a path of the host."""
    parent, child = family(tmp_path)
    path = parent.write(tmp_path / "parent.vhd")
    asked = []

    def open_file(name: str, lock: bool) -> StreamStorage:
        asked.append((name, lock))
        return StreamStorage(io.BytesIO(path.read_bytes()), name, owned=False)

    policy = ParentPolicy(files=("memory://parent",), open_file=open_file)
    bytes_of_child = io.BytesIO((tmp_path / "home" / "child.vhd").read_bytes())
    with vhd_disk(StreamStorage(bytes_of_child, owned=False), policy, lock=True) as disk:
        assert disk.pread(disk.size, 0) == child.content(parent.content())
        assert disk.findings == ()
    assert asked == [("memory://parent", False), ("memory://parent", True)]


def test_another_image_is_no_parent(tmp_path: Path) -> None:
    parent, _ = family(tmp_path, relative("parent.vhd"))
    parent.unique_id = uuid.UUID(int=6)
    parent.write(tmp_path / "home" / "parent.vhd")
    with pytest.raises(vhdx.ParentMismatchError, match="is another image: its unique id is 0000"):
        opened(tmp_path / "home" / "child.vhd")


def test_an_image_is_not_its_own_parent(tmp_path: Path) -> None:
    vhd = VhdBuilder(SMALL, DIFFERENCING, SMALL, parent_id=uuid.UUID(int=77), locators=(relative("a.vhd"),))
    with pytest.raises(vhdx.ParentNotFoundError, match="is in the chain already"):
        opened(vhd.write(tmp_path / "a.vhd"))


@pytest.mark.parametrize("other", ["fifo", "directory", "raw"])
def test_other_files_are_no_parents(tmp_path: Path, other: str) -> None:
    family(tmp_path, relative("parent.vhd"))
    place = tmp_path / "home" / "parent.vhd"
    if other == "fifo":
        os.mkfifo(place)
    elif other == "directory":
        place.mkdir()
    else:
        place.write_bytes(bytes(4096))
    with pytest.raises(vhdx.ParentNotFoundError):
        opened(tmp_path / "home" / "child.vhd")


def test_a_parent_of_another_time_is_worth_a_word(tmp_path: Path) -> None:
    parent, child = family(tmp_path, relative("parent.vhd"))
    parent.timestamp += 1
    path = parent.write(tmp_path / "home" / "parent.vhd")
    with opened(tmp_path / "home" / "child.vhd") as disk:
        assert "was copied, or written to after the child was made" in disk.findings[0]
        assert disk.pread(disk.size, 0) == child.content(parent.content())
    os.utime(path, (0, child.parent_timestamp + 946684800))
    with opened(tmp_path / "home" / "child.vhd") as disk:
        assert disk.findings == ()


@pytest.mark.parametrize("disk_type", [DYNAMIC, DIFFERENCING])
def test_a_damaged_footer_with_a_sound_copy(tmp_path: Path, disk_type: int) -> None:
    vhd = VhdBuilder(SMALL, disk_type, SMALL, sectors(1), parent_id=uuid.UUID(int=8))
    data = bytearray(vhd.write(tmp_path / "a.vhd").read_bytes())
    VhdBuilder(SMALL, FIXED, unique_id=uuid.UUID(int=8)).write(tmp_path / "b.vhd")
    for damaged in (data[:-1] + b"x", data[:-512] + b"x" * 512, data[:-512]):
        (tmp_path / "a.vhd").write_bytes(damaged)
        with opened(tmp_path / "a.vhd", parents=tmp_path / "b.vhd") as disk:
            assert disk.pread(SMALL, 0) == vhd.content()
            assert "its copy is used" in disk.findings[0]


def test_a_damaged_footer_without_copy(tmp_path: Path) -> None:
    path = VhdBuilder(SMALL, FIXED, sectors=sectors(1)).write(tmp_path / "a.vhd")
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(vhdx.CorruptImageError, match="footer at file offset 16384: checksum is") as caught:
        opened(path)
    assert "no sound copy; its fields agree with the file ([VHD] Hard Disk Footer Format)" in str(
        caught.value
    )
    path.write_bytes(path.read_bytes()[:-464] + b"x" + path.read_bytes()[-463:])  # another size, too
    with pytest.raises(vhdx.CorruptImageError, match="no sound copy at the beginning"):
        opened(path)


@pytest.mark.parametrize("length", [257, 300, 510])
def test_a_footer_that_is_cut_is_none_though_its_sum_is_right(tmp_path: Path, length: int) -> None:
    path = VhdBuilder(MIB, FIXED).write(tmp_path / "disk.vhd")
    path.write_bytes(path.read_bytes()[-512:][:length])
    with pytest.raises(vhdx.CorruptImageError, match="no sound copy"):
        open_any(str(path), image_format="vhd")


def test_the_footer_of_old_files_is_a_byte_shorter(tmp_path: Path) -> None:
    vhd = VhdBuilder(SMALL, FIXED, sectors=sectors(1, 31))
    path = tmp_path / "a.vhd"
    path.write_bytes(vhd.fixed()[:-1])
    assert content(path) == vhd.content()


@pytest.mark.parametrize(
    ("changes", "error", "text"),
    [
        ({"footer_changes": {12: b"\0\2\0\0"}}, vhdx.UnsupportedImageError, "version 2 of the format"),
        ({"footer_changes": {60: b"\0\0\0\1"}}, vhdx.UnsupportedImageError, "disk type 1"),
        ({"footer_changes": {48: bytes(8)}}, vhdx.CorruptImageError, "the size is 0 bytes"),
        ({"footer_changes": {48: bytes(7) + b"\1"}}, vhdx.CorruptImageError, "no whole sectors"),
        ({"footer_changes": {16: b"\xff" * 8}}, vhdx.CorruptImageError, "behind the end of the file"),
        ({"footer_changes": {16: bytes(8)}}, vhdx.CorruptImageError, "cookie is b'conectix'"),
        ({"header_changes": {24: b"\0\2\0\0"}}, vhdx.UnsupportedImageError, "version 2 of the dynamic"),
        ({"block_size": 2048}, vhdx.CorruptImageError, "block size is 2048"),
        ({"header_changes": {32: b"\xff" * 4}}, vhdx.CorruptImageError, "block size is 4294967295"),
        ({"header_changes": {32: bytes(4)}}, vhdx.CorruptImageError, "block size is 0"),
        ({"entry_count": 0}, vhdx.CorruptImageError, "1 blocks have only 0 entries"),
        ({"header_changes": {16: b"\xff" * 8}}, vhdx.CorruptImageError, "behind the end of the file"),
        ({"footer_changes": {48: b"\0\0\1" + bytes(5)}}, vhdx.CorruptImageError, "have only 1 entries"),
        ({"footer_changes": {48: b"\xff" * 6 + b"\0\0"}}, vhdx.CorruptImageError, "have only 1 entries"),
    ],
)
def test_what_is_refused(
    tmp_path: Path, changes: dict[str, object], error: type[vhdx.VhdxError], text: str
) -> None:
    vhd = VhdBuilder(SMALL, **{"block_size": SMALL, "sectors": sectors(1), **changes})  # type: ignore[arg-type]
    with pytest.raises(error, match=text):
        opened(vhd.write(tmp_path / "a.vhd"))


def test_a_fixed_disk_larger_than_its_file(tmp_path: Path) -> None:
    vhd = VhdBuilder(SMALL, FIXED, footer_changes={48: b"\0\0\0\1\0\0\0\0"})
    with pytest.raises(vhdx.CorruptImageError, match="the file has 16896 bytes, the disk 4294967296"):
        opened(vhd.write(tmp_path / "a.vhd"))


@pytest.mark.parametrize("entry", [0, 0xFFFFFFFE, 5, 1 << 20])
def test_blocks_outside_the_file(tmp_path: Path, entry: int) -> None:
    vhd = VhdBuilder(4 * SMALL, DYNAMIC, SMALL, sectors(1, 40), table_changes={1: entry})
    with opened(vhd.write(tmp_path / "a.vhd")) as disk:
        if entry == 0:  # the footer's copy stands there: it is an unused one
            assert disk.pread(SMALL, SMALL) == bytes(SMALL)
            assert "1 entries of the table are 0" in disk.findings[0]
            return
        if entry == 5:  # inside the file, over another block
            with pytest.raises(vhdx.CorruptImageError, match="claimed by another block"):
                disk.pread(SMALL, 0)
        else:
            assert disk.pread(SMALL, 0) == vhd.content()[:SMALL]
        with pytest.raises(vhdx.CorruptImageError, match="block 1 "):
            disk.pread(1, SMALL)


def test_the_table_is_no_block(tmp_path: Path) -> None:
    vhd = VhdBuilder(4 * SMALL, DYNAMIC, SMALL, sectors(1, 40), table_changes={1: 3})
    stands = pytest.raises(vhdx.CorruptImageError, match="where another structure stands")
    with opened(vhd.write(tmp_path / "a.vhd")) as disk, stands:
        disk.pread(1, SMALL)


def test_tables_of_several_windows(tmp_path: Path) -> None:
    count = 33_000
    vhd = VhdBuilder(count * 4096, DYNAMIC, 4096, sectors(0, 16_384 * 8 - 1, 16_384 * 8, 8 * count - 1))
    with opened(vhd.write(tmp_path / "a.vhd")) as disk:
        window = 16_384 * 4096
        assert [start for start, _ in disk.data_ranges()] == [0, window - 512, window, count * 4096 - 512]
        for number in vhd.sectors:
            assert disk.pread(512, number * 512) == sector(number)


def test_locators_that_lead_astray_are_passed_over(tmp_path: Path) -> None:
    vhd = VhdBuilder(SMALL, DIFFERENCING, SMALL, locators=(relative("x"), relative("y")))
    vhd.header_changes = {576 + 8: b"\xff" * 4, 600 + 16: b"\xff" * 8}
    with pytest.raises(vhdx.ParentNotFoundError):
        opened(vhd.write(tmp_path / "a.vhd"))


def test_it_is_never_written_to(tmp_path: Path) -> None:
    path = VhdBuilder(SMALL, FIXED).write(tmp_path / "a.vhd")
    with opened(path) as disk:
        with pytest.raises(io.UnsupportedOperation, match="only read"):
            disk.pwrite(b"x", 0)
        with pytest.raises(io.UnsupportedOperation, match="only read"):
            disk.zero(length=1, offset=0)
        with pytest.raises(io.UnsupportedOperation, match="only read"):
            disk.trim(length=1, offset=0)
        disk.flush()
        assert disk.contexts == {}
        assert len(disk.files()) == 1
        assert disk.stream().read(512) == bytes(512)
        with pytest.raises(ValueError, match="not inside the disk"):
            disk.pread(1, SMALL)
    with pytest.raises(vhdx.UnsupportedImageError, match="only read"):
        open_any(str(path), mode="r+")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("a.vhd", None),
        ("a.bin2", None),
        ("a.vhdx", None),
        ("a.raw", "looks like a VHD; say -f raw or -f vhd"),
    ],
)
def test_how_it_is_recognised(tmp_path: Path, name: str, said: str | None) -> None:
    path = VhdBuilder(SMALL, FIXED, sectors=sectors(4)).write(tmp_path / name)
    if said:
        with pytest.raises(ValueError, match=said):
            open_any(str(path))
    assert content(path, image_format="vhd" if said else None)[2048:2560] == sector(4)


@pytest.mark.parametrize("mode", ["r", "r+"])
def test_opening_it_as_a_vhdx_says_what_to_do(tmp_path: Path, mode: Literal["r", "r+"]) -> None:
    path = VhdBuilder(SMALL, FIXED).write(tmp_path / "a.vhd")
    with pytest.raises(vhdx.UnsupportedImageError, match="this is a VHD, the older format") as caught:
        open_disk(path, mode)
    assert caught.value.next_command == f"vhdx convert {path} NEW.vhdx"
    path.write_bytes(bytes(4096))
    with pytest.raises(vhdx.CorruptImageError, match="no VHDX file"):
        open_disk(path, mode)


@pytest.mark.parametrize("size", [0, 10, 511, 512, 5000])
def test_a_name_is_not_enough(tmp_path: Path, size: int) -> None:
    (tmp_path / "a.vhd").write_bytes(bytes(size))
    what = "is nothing but zeros at its beginning: .*" if size else "does not look like one"
    with pytest.raises(vhdx.CorruptImageError, match=f"{what}; say -f raw or -f vhd"):
        open_any(str(tmp_path / "a.vhd"))
    with pytest.raises(vhdx.CorruptImageError, match="cookie"):
        open_any(str(tmp_path / "a.vhd"), image_format="vhd")


@given(st.data())
def test_noise_never_raises_anything_else(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    disk_type = data.draw(st.sampled_from([FIXED, DYNAMIC, DIFFERENCING]))
    vhd = VhdBuilder(2 * SMALL, disk_type, SMALL, sectors(1, 40), locators=(relative("x"),))
    field = st.dictionaries(st.integers(8, 500), st.binary(min_size=1, max_size=9), max_size=3)
    vhd.footer_changes, vhd.header_changes = data.draw(field), data.draw(field)
    path = vhd.write(tmp_path_factory.mktemp("noise") / "a.vhd")
    try:
        with opened(path) as disk:
            for offset in range(0, min(disk.size, 64 * KIB), 512):
                disk.pread(512, offset)
    except (vhdx.VhdxError, OSError):
        pass


@pytest.mark.parametrize("size", [2 * TIB + MIB, 3 * TIB, 64 * TIB])
def test_a_table_bounds_the_file_and_not_the_disk(tmp_path: Path, size: int) -> None:
    """Its places are sector numbers of 32 bits; the sectors of the disk are not."""
    block = 2 * MIB
    last = (size - 1) // block
    first_of_last = last * block // 512
    built = VhdBuilder(size, block_size=block, sectors={0: b"a" * 512, first_of_last + 7: b"z" * 512})
    path = built.write(tmp_path / "a.vhd")
    with open_any(str(path)) as disk:
        assert disk.size == size
        assert disk.pread(512, 0) == b"a" * 512
        assert disk.pread(1024, (first_of_last + 7) * 512) == b"z" * 512 + bytes(512)
        assert disk.pread(4096, 2 * TIB - 2048) == bytes(4096)


@pytest.mark.slow
def test_a_large_dynamic_disk_is_converted(tmp_path: Path) -> None:
    size, block = 3 * TIB, 2 * MIB
    at = (2 * TIB + block) // 512
    VhdBuilder(size, block_size=block, sectors={at: b"z" * 512}).write(tmp_path / "a.vhd")
    vhdx.convert(tmp_path / "a.vhd", tmp_path / "a.vhdx")
    with vhdx.open(tmp_path / "a.vhdx") as disk:
        assert disk.size == size
        assert [*disk.data_ranges()] != []
        assert disk.pread(512, at * 512) == b"z" * 512


def test_a_block_at_the_end_of_what_sector_numbers_reach(tmp_path: Path) -> None:
    """A file of nearly 2 TiB, mostly a hole."""
    block, sector = 2 * MIB, 0xFFFFE000
    built = VhdBuilder(3 * TIB, block_size=block, table_changes={5: sector})
    path = built.write(tmp_path / "a.vhd")
    with path.open("r+b") as file:
        file.seek(sector * 512)
        file.write(b"\xff" * 512 + b"y" * block + built.footer())
    with open_any(str(path)) as disk:
        assert disk.pread(block, 5 * block) == b"y" * block
