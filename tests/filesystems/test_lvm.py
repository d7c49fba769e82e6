"""LVM2: physical volumes that LVM's own tools make; texts that they write; file systems inside of volumes."""

import os
import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.filesystems.noise import (
    MIB,
    aged,
    as_root,
    empty,
    examined,
    hashes,
    joined,
    looked_at,
    loop_device,
    mounted,
    only,
    overlaid,
    patch,
    piece,
    reader_of,
    run,
    scattered,
    spoil,
)
from tests.support.tools import needs
from vhdx.filesystems import lvm
from vhdx.filesystems.base import NotFreeError, examine
from vhdx.filesystems.lvm import _crc
from vhdx.filesystems.lvm_text import parse

pytestmark = needs("pvcreate", "vgcreate", "vgcfgbackup", "vgcfgrestore", "pvs")
EXTENT = MIB
START = MIB
GROUP = f"vhdx{os.getpid()}"
"""Volume groups of tests that run at the same time must not have one name."""


@pytest.fixture(scope="module", autouse=True)
def _own_settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """LVM keeps its backups of texts here, not in the machine's own folder."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("LVM_SYSTEM_DIR", str(tmp_path_factory.mktemp("settings")))
        yield


def segment(first: int, count: int, *stripes: tuple[str, int]) -> str:
    rows = ", ".join(f'"{pv}", {place}' for pv, place in stripes)
    size = "stripe_size = 128\n" if len(stripes) > 1 else ""
    return (
        f'start_extent = {first}\nextent_count = {count}\ntype = "striped"\n'
        f"stripe_count = {len(stripes)}\n{size}stripes = [{rows}]\n"
    )


def volume(name: str, *segments: str, status: str = '"READ", "WRITE", "VISIBLE"') -> str:
    letters = random.Random(name).choices("abcdefghijklmnopqrstuvwxyzABCDEF0123456789", k=32)
    uuid = "-".join(
        "".join(letters[a:b]) for a, b in ((0, 6), (6, 10), (10, 14), (14, 18), (18, 22), (22, 26))
    )
    text = f'{name} {{\nid = "{uuid}-{"".join(letters[26:])}"\nstatus = [{status}]\nflags = []\n'
    text += f"segment_count = {len(segments)}\n"
    return text + "".join(f"segment{n} {{\n{one}}}\n" for n, one in enumerate(segments, 1)) + "}\n"


def group(devices: list[str], folder: Path, *volumes: str) -> str:
    """Make a volume group of block devices; what `pvs` says of its segments."""
    text = folder / "group.txt"
    run("pvcreate", "-y", *devices)
    run("vgcreate", "-s", str(EXTENT) + "b", GROUP, *devices)
    run("vgcfgbackup", "-f", text, GROUP)
    head, brace, tail = text.read_text().rpartition("}")
    text.write_text(head + "logical_volumes {\n" + "".join(volumes) + "}\n" + brace + tail)
    run("vgcfgrestore", "-f", text, GROUP)
    return segments_of(devices)


def segments_of(devices: list[str]) -> str:
    """Which extents belong to what, as LVM says."""
    columns = "pv_name,pvseg_start,pvseg_size,lv_name"
    return run("pvs", "--segments", "--noheadings", "--separator", ":", "-o", columns, *devices)


@pytest.fixture(name="pair")
def _pair(tmp_path: Path) -> tuple[Path, Path, str]:
    """Two physical volumes with linear, striped and hidden volumes on them."""
    as_root()
    images = [empty(tmp_path / f"{n}.raw", 51 * MIB) for n in range(2)]
    with loop_device(images[0]) as first, loop_device(images[1]) as second:
        said = group(
            [first, second],
            tmp_path,
            volume(
                "split", segment(0, 10, ("pv0", 0)), segment(10, 5, ("pv1", 3)), segment(15, 9, ("pv0", 20))
            ),
            volume("striped", segment(0, 6, ("pv0", 30), ("pv1", 20))),
            volume("hidden", segment(0, 2, ("pv0", 40)), status='"READ", "WRITE"'),
        )
        said = said.replace(first, "pv0").replace(second, "pv1")
    return images[0], images[1], said


def test_what_no_volume_has_is_free(pair: tuple[Path, Path, str]) -> None:
    *images, said = pair
    for name, image in zip(("pv0", "pv1"), images, strict=True):
        rows = re.findall(rf"{name}:(\d+):(\d+):\s*$", said, re.MULTILINE)
        with looked_at(image) as found:
            (one,) = found  # its volumes need the other one, too
            assert one.file_system.kind == "LVM2 PV"
            expected = [(START + int(first) * EXTENT, int(count) * EXTENT) for first, count in rows]
            assert list(one.free_ranges()) == expected
        spoil(image)
    with loop_device(images[0]) as first, loop_device(images[1]) as second:
        again = segments_of([first, second])
        assert again.replace(first, "pv0").replace(second, "pv1") == said
        run("vgck", GROUP)


@needs("mkfs.xfs", "xfs_repair")
def test_file_systems_in_volumes_across_partitions_are_looked_into(
    pair: tuple[Path, Path, str], tmp_path: Path
) -> None:
    """Both physical volumes on one disk, as partitions 1 and 2; the second stands before the first."""
    disk = empty(tmp_path / "disk.raw", 110 * MIB)
    places = {"pv0": 56 * MIB, "pv1": 2 * MIB}
    patch(disk, 0, mbr({1: places["pv0"], 2: places["pv1"]}, 51 * MIB))
    patch(disk, places["pv0"], pair[0].read_bytes())
    patch(disk, places["pv1"], pair[1].read_bytes())
    segments = [("pv0", 0, 10), ("pv1", 3, 5), ("pv0", 20, 9)]
    runs = [(places[pv] + START + first * EXTENT, count * EXTENT) for pv, first, count in segments]
    inner = empty(tmp_path / "inner.raw", 24 * EXTENT)
    run("mkfs.xfs", "-q", "-L", "inside", inner)
    before = aged(inner, 3, 8 * MIB)
    alone = only(inner)
    scattered(disk, runs, inner.read_bytes())
    with looked_at(disk) as found:
        assert [(one.name, one.file_system.kind) for one in found] == [
            ("partition 1", "LVM2 PV"),
            ("partition 2", "LVM2 PV"),
            (f"{GROUP}/split", "XFS"),
        ]
        inside = found[2]
        assert inside.file_system == alone
        assert inside.summary.offset is inside.summary.partition is None
        ranges = list(inside.free_ranges())
        assert ranges == sorted(ranges)
        assert all(any(a <= o and o + n <= a + b for a, b in runs) for o, n in ranges)
    assert spoil(disk) > (alone.free or 0)
    inner.write_bytes(joined(disk, runs))
    run("xfs_repair", "-n", "-o", "force_geometry", inner)  # it has one group only
    with mounted(inner) as folder:
        assert hashes(folder) == before


def mbr(offsets: dict[int, int], length: int) -> bytes:
    record = bytearray(512)
    record[440:444], record[510:] = b"disk", b"\x55\xaa"
    for number, offset in offsets.items():
        entry = (
            b"\0\0\0\0\x8e\0\0\0"
            + (offset // 512).to_bytes(4, "little")
            + (length // 512).to_bytes(4, "little")
        )
        record[446 + 16 * (number - 1) : 462 + 16 * (number - 1)] = entry
    return bytes(record)


def test_copies_and_ages_of_a_group_on_one_disk_are_refused(
    pair: tuple[Path, Path, str], tmp_path: Path
) -> None:
    disk = empty(tmp_path / "disk.raw", 110 * MIB)
    patch(disk, 0, mbr({1: 2 * MIB, 2: 56 * MIB}, 51 * MIB))
    for place in (2 * MIB, 56 * MIB):
        patch(disk, place, pair[0].read_bytes())
    with looked_at(disk) as found:
        assert [one.file_system.free for one in found] == [None, None]
        assert all("in two states" in one.file_system.reasons[0] for one in found)


# Texts -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", name="one")
def _one(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A physical volume with one volume of three extents."""
    as_root()
    folder = tmp_path_factory.mktemp("lvm")
    image = empty(folder / "one.raw", 64 * MIB)
    with loop_device(image) as device:
        group([device], folder, volume("root", segment(0, 3, ("pv0", 2))))
    return image.read_bytes()


def text_of(image: bytes) -> tuple[int, bytes]:
    """Where the text stands, and the text."""
    header = 4096
    offset = int.from_bytes(image[header + 40 : header + 48], "little")
    length = int.from_bytes(image[header + 48 : header + 56], "little")
    return header + offset, image[header + offset : header + offset + length]


def with_text(image: bytes, text: bytes, *, offset: int = 512) -> dict[int, bytes]:
    """The pieces that give a physical volume another text, from an offset in its ring on."""
    header = bytearray(image[4096 : 4096 + 512])
    size = int.from_bytes(header[32:40], "little")
    header[40:48], header[48:56] = offset.to_bytes(8, "little"), len(text).to_bytes(8, "little")
    header[56:60] = _crc(text).to_bytes(4, "little")
    header[0:4] = _crc(bytes(header[4:])).to_bytes(4, "little")
    first = min(len(text), size - offset)
    pieces = {4096: bytes(header), 4096 + offset: text[:first]}
    return pieces | ({4096 + 512: text[first:]} if first < len(text) else {})


def told(image: bytes, text: bytes, *, offset: int = 512) -> tuple[int | None, tuple[str, ...]]:
    found = lvm.recognise(overlaid(image, with_text(image, text, offset=offset)), len(image))
    assert found is not None
    result = examine(found, len(image)).file_system
    return result.free, result.reasons


def test_a_text_that_wraps_in_its_ring_is_read(one: bytes) -> None:
    _, text = text_of(one)
    size = int.from_bytes(one[4096 + 32 : 4096 + 40], "little")
    expected = told(one, text)
    assert expected[0] == 60 * EXTENT
    assert told(one, text, offset=size - 700) == expected


TEXTS = {
    "more segments": (b"segment_count = 1", b"segment_count = 2", "has other segments than it counts"),
    "unknown type": (b'"striped"', b'"novelty"', "unknown type 'novelty'"),
    "flagged type": (b'"striped"', b'"striped+X"', r"unknown type 'striped\+X'"),
    "moved": (b'"striped"', b'"mirror"', "being moved or mirrored"),
    "outside": (b'"pv0", 2', b'"pv0", 62', "overlap|use the same bytes"),
    "negative": (b'"pv0", 2', b'"pv0", -2', "makes no sense"),
    "huge": (b"extent_count = 3", b"extent_count = 99999999999999999999", "no extent_count"),
    "none": (b"extent_count = 3", b"extent_count = 0", "makes no sense"),
    "another volume": (b"pe_start = 2048", b"pe_start = 4096", "do not agree on where"),
    "too many extents": (b"pe_count = 63", b"pe_count = 64", "its extents leave it"),
    "extents of nothing": (b"extent_size = 2048", b"extent_size = 0", "its extents leave it"),
    "no end": (b"}", b"", "not one that LVM2 writes"),
    "a quote": (b'"striped"', b'"striped', "not one that LVM2 writes"),
    "binary": (b"{", b"\0\xff{", "not one that LVM2 writes|does not know|no volume group|no id"),
}


@pytest.mark.parametrize("name", TEXTS)
def test_texts_that_make_no_sense_are_refused(name: str, one: bytes) -> None:
    old, new, reason = TEXTS[name]
    _, text = text_of(one)
    assert old in text
    free, reasons = told(one, text.replace(old, new))
    assert free is None
    assert re.search(reason, reasons[0])


def test_two_volumes_with_the_same_extents_are_refused(one: bytes) -> None:
    _, text = text_of(one)
    again = volume("second", segment(0, 2, ("pv0", 4))).encode()
    free, reasons = told(one, text.replace(b"logical_volumes {", b"logical_volumes {\n" + again))
    assert (free, reasons) == (None, ("two things of it use the same bytes, or bytes outside of it",))


@pytest.mark.parametrize(
    "extra",
    [
        'type = "snapshot"\nchunk_size = 8\norigin = "root"\ncow_store = "cow"\n',
        'type = "thin-pool"\nmetadata = "meta"\npool = "root"\n',
        'type = "raid1"\ndevice_count = 1\nraids = ["meta", "root"]\n',
    ],
)
def test_volumes_that_others_stand_on_are_not_looked_into(extra: str, one: bytes) -> None:
    _, text = text_of(one)
    more = volume("upper", f"start_extent = 0\nextent_count = 3\n{extra}").encode()
    new = text.replace(b"logical_volumes {", b"logical_volumes {\n" + more)
    assert told(one, new) == told(one, text)
    for changed, names in ((text, [f"{GROUP}/root"]), (new, [])):
        found = lvm.recognise(overlaid(one, with_text(one, changed)), len(one))
        assert found is not None
        assert [each.name for each in found.trusted().logical_volumes()] == names


@pytest.mark.parametrize(
    ("place", "data", "reason"),
    [
        (512 + 40, b"\1", "checksum of its label"),
        (4096 + 9, b"\1", "header of its metadata is damaged"),
        (4096 + 40, b"\1", "header of its metadata is damaged"),
    ],
)
def test_damage_is_refused(place: int, data: bytes, reason: str, one: bytes) -> None:
    found = lvm.recognise(overlaid(one, {place: data}), len(one))
    assert found is not None
    assert reason in examine(found, len(one)).file_system.reasons[0]


def test_a_physical_volume_without_a_group_is_kept(tmp_path: Path) -> None:
    as_root()
    image = empty(tmp_path / "disk.raw", 64 * MIB)
    with loop_device(image) as device:
        run("pvcreate", "-y", device)
    found = only(image)
    assert (found.kind, found.free, found.state) == ("LVM2 PV", None, "unknown")
    assert "belongs to no volume group" in found.reasons[0]


@pytest.mark.parametrize(
    "text", ["a {" * 10000, "a = [" + "1," * 10, "a", "=", "}", "a = [[1]]", 'a = "b', "a = {", "a { } a { }"]
)
def test_garbage_is_no_text(text: str) -> None:
    with pytest.raises(NotFreeError, match="not one that LVM2 writes"):
        parse(text)


def test_a_text_is_read_whatever_its_lines() -> None:
    text = 'g{n=-1 s="a \\"b\\" {" # }\n l=["x",2]\nm {\n}\n}\nversion=1'
    assert parse(text) == {"g": {"n": -1, "s": 'a "b" {', "l": ["x", 2], "m": {}}, "version": 1}


def test_damage_at_random_never_raises(one: bytes) -> None:
    chance = random.Random(10)
    _, text = text_of(one)
    for _ in range(500):
        new = bytearray(text)
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(new))
            new[at : at + chance.randint(0, 9)] = chance.choice(
                (b"{", b"}", b'"', b"9", b"\0", b"[", b"", b"-")
            )
        told(one, bytes(new))


def test_it_is_examined_alone_as_on_a_disk(one: bytes, tmp_path: Path) -> None:
    image = tmp_path / "one.raw"
    image.write_bytes(one)
    assert examined(lvm.recognise, image) == only(image)
    assert piece(image, 512, 8) == b"LABELONE"
    assert lvm.recognise(reader_of(one[:512]), 512) is None
