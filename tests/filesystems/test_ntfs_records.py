"""NTFS built by hand: what is spread over records, and what is not as it must be."""

import contextlib
import random
import struct

import numpy as np
import pytest

from tests.filesystems.ntfs_making import (
    ATTRIBUTE_LIST,
    BITMAP,
    DATA,
    INDEX_ROOT,
    VOLUME_INFORMATION,
    Runs,
    Volume,
    empty_index,
    encoded,
    listed,
    protected,
    record,
    resident,
    restart_page,
    stored,
)
from vhdx.filesystems import ntfs, ntfs_volume
from vhdx.filesystems.base import Examined, NotFreeError, examine
from vhdx.filesystems.ntfs_boot import Boot
from vhdx.filesystems.ntfs_claims import claims
from vhdx.filesystems.ntfs_record import Attribute, attributes, decoded, fixed_up

from .scribble import over


def looked_at(image: bytes | bytearray) -> Examined:
    found = ntfs.recognise(over(image), len(image))
    assert found is not None
    return examine(found, len(image))


def told(image: bytes | bytearray) -> str:
    result = looked_at(image)
    assert list(result.free_ranges()) == []
    return " ".join(result.file_system.reasons)


def free_clusters(volume: Volume) -> list[tuple[int, int]]:
    """By a loop over the bits."""
    bits = volume.bits()
    runs: list[tuple[int, int]] = []
    for cluster in range(volume.clusters):
        if not bits[cluster >> 3] >> (cluster & 7) & 1:
            if runs and sum(runs[-1]) == cluster:
                runs[-1] = (runs[-1][0], runs[-1][1] + 1)
            else:
                runs.append((cluster, 1))
    return runs


def must_be_clean(volume: Volume) -> None:
    result = looked_at(volume.build())
    assert result.file_system.reasons == ()
    size = volume.cluster_size
    assert [(at // size, n // size) for at, n in result.free_ranges()] == free_clusters(volume)


@pytest.mark.parametrize("cluster_size", [512, 4096, 65536, 1 << 20, 2 << 20])
def test_usual_records(cluster_size: int) -> None:
    large = cluster_size > 65536
    must_be_clean(Volume(200 if large else 4001, cluster_size, table=1 if large else 64))


def test_long_part_of_the_table_without_records() -> None:
    assert "holds no records" in told(Volume(4096, table=3900 - 16).build())


def test_table_that_is_longer_than_the_volume() -> None:
    volume = Volume()
    runs = [(64, 16), *[(4000, 0)] * 200]
    volume.records[0] = record(stored(DATA, runs, length=1 << 40))
    assert "longer than the volume" in told(volume.build())


@pytest.mark.parametrize("record_size", [512, 1024, 4096])
def test_sizes_of_records(record_size: int) -> None:
    must_be_clean(Volume(record_size=record_size))


def spread(volume: Volume) -> Volume:
    """The volume with lists in records 0, 2, 3 and 6, and the table, the log and the bitmap in many parts."""
    volume.table = [(8, 16), (3, 300), (5, 200), (48, 2000)]
    volume.log = [(2, 100), (3, 400), (1, 90)]
    volume.bitmap = [(1, 120), (1, 110), (2, 130)]
    volume.clusters = 4096 * 8 * 3 + 77
    volume.used += [(310, 4)]
    table, log, bits = (volume.length(runs) for runs in (volume.table, volume.log, volume.bitmap))
    value = listed([(DATA, 0, 0), (DATA, 8, 24), (DATA, 11, 25), (DATA, 16, 63)])
    logs = listed([(0x10, 0, 2), (DATA, 0, 26), (DATA, 2, 27)])
    bitmaps = listed([(DATA, 0, 28), (DATA, 2, 29)])
    volume.records = {
        0: record(resident(ATTRIBUTE_LIST, value), stored(DATA, volume.table[:1], length=table)),
        24: record(stored(DATA, volume.table[1:2], first=8)),
        25: record(stored(DATA, volume.table[2:3], first=11)),
        63: record(stored(DATA, volume.table[3:], first=16)),
        2: record(resident(ATTRIBUTE_LIST, logs)),
        26: record(stored(DATA, volume.log[:1], length=log), base=2),
        27: record(stored(DATA, volume.log[1:], first=2), base=2),
        3: record(resident(ATTRIBUTE_LIST, listed([(VOLUME_INFORMATION, 0, 3)])),
                  resident(VOLUME_INFORMATION, bytes(8) + b"\x03\x01\0\0")),
        6: record(resident(ATTRIBUTE_LIST, bitmaps)),
        28: record(stored(DATA, volume.bitmap[:2], length=bits), base=6),
        29: record(stored(DATA, volume.bitmap[2:], first=2), base=6),
        150: record(stored(DATA, [(4, 310)], length=16384)),
    }  # fmt: skip
    return volume


def test_attribute_lists_of_its_own_files() -> None:
    must_be_clean(spread(Volume()))


def test_attribute_list_in_clusters() -> None:
    volume = spread(Volume())
    volume.used += [(500, 1)]
    value = listed([(DATA, 0, 28), (DATA, 2, 29)])
    volume.records[6] = record(stored(ATTRIBUTE_LIST, [(1, 500)], length=len(value)))
    image = volume.build()
    image[500 * 4096 : 500 * 4096 + len(value)] = value
    assert looked_at(image).file_system.reasons == ()


BROKEN_LISTS: dict[str, dict[int, list[tuple[int, int, int]]]] = {
    "part is missing": {0: [(DATA, 0, 0), (DATA, 11, 25)]},
    "names itself again": {0: [(DATA, 0, 0), (DATA, 0, 0)]},
    "out of order": {0: [(DATA, 0, 0), (DATA, 11, 25), (DATA, 8, 24)]},
    "record behind the table": {0: [(DATA, 0, 0), (DATA, 8, 1 << 40)]},
    "part in the part itself": {0: [(DATA, 0, 0), (DATA, 8, 63)]},
    "first part elsewhere": {0: [(DATA, 0, 24)]},
    "another file's record": {6: [(DATA, 0, 28), (DATA, 2, 27)]},
    "record not in use": {6: [(DATA, 0, 28), (DATA, 2, 40)]},
    "empty": {6: []},
}


@pytest.mark.parametrize("name", BROKEN_LISTS)
def test_broken_attribute_lists(name: str) -> None:
    volume = spread(Volume())
    for index, entries in BROKEN_LISTS[name].items():
        own = stored(DATA, volume.table[:1], length=volume.length(volume.table)) if index == 0 else b""
        volume.records[index] = record(resident(ATTRIBUTE_LIST, listed(entries)), own)
    assert told(volume.build())


def test_reference_with_another_sequence_number() -> None:
    volume = spread(Volume())
    value = listed([(DATA, 0, 28), (DATA, 2, 29)], sequence=2)
    volume.records[6] = record(resident(ATTRIBUTE_LIST, value))
    assert "not in use" in told(volume.build())


def file_with(
    *runs: tuple[int, int | None], pairs: bytes | None = None, first: int = 0, flags: int = 0
) -> Volume:
    volume = Volume()
    volume.records[30] = record(stored(DATA, runs, pairs=pairs, first=first, flags=flags))
    return volume


def test_sparse_and_compressed_runs() -> None:
    runs: Runs = [(5, 1000), (11, None), (3, 900), (13, None), (1 << 30, None), (2, 3000)]
    volume = file_with(*runs, flags=1)
    volume.used += [(1000, 5), (900, 3), (3000, 2)]
    must_be_clean(volume)


def test_extents_of_files_in_other_records_are_claims_too() -> None:
    volume = file_with((4, 1000))
    volume.used += [(1000, 4)]
    volume.records[31] = record(stored(DATA, [(2, 1500)], first=4), base=30)
    assert told(volume.build()).startswith("cluster 1500 is free by its bitmap and belongs to a file")
    volume.used += [(1500, 2)]
    must_be_clean(volume)


def test_records_that_are_not_in_use_claim_nothing() -> None:
    volume = Volume()
    volume.records[30] = record(stored(DATA, [(4, 1000)]), in_use=False)
    volume.records[31] = bytes(1024)
    volume.records[32] = b"\xa5" * 1024
    must_be_clean(volume)


def test_what_was_never_initialised_claims_nothing() -> None:
    volume = Volume()
    volume.records[40] = record(stored(DATA, [(4, 1000)]))
    attribute = bytearray(stored(DATA, volume.table, length=volume.length(volume.table)))
    attribute[56:64] = struct.pack("<q", 40 * 1024)
    volume.records[0] = record(bytes(attribute))
    must_be_clean(volume)


BROKEN = {
    "behind the end": (file_with((4, 4094)), "behind the end"),
    "before the start": (file_with((4, -3)), "behind the end"),
    "one longer than said": (file_with((1, 1000), pairs=encoded([(2, 1000)])), "longer than its size"),
    "one shorter than said": (file_with((3, 1000), pairs=encoded([(2, 1000)])), "shorter than its size"),
    "no length": (file_with((1, 1000), pairs=b"\x20\xe8\x03\0"), "illegal run list|longer than its size"),
    "negative length": (file_with((1, 1000), pairs=b"\x11\xff\x10\0"), "longer than its size"),
    "length of 9 bytes": (file_with((1, 1000), pairs=b"\x19" + b"\1" * 20), "illegal run list"),
    "leaves the attribute": (file_with((1, 1000), pairs=b"\x88" + b"\1" * 7), "illegal run list"),
    "offset that wraps": (file_with((2, 5), pairs=2 * (b"\x81\1" + b"\xff" * 7 + b"\x7f")), "behind the end"),
    "of two files": (file_with((1, 118), (4, 100)), "belongs to two files"),
    "twice the same": (file_with((1, 118), (1, 118)), "belongs to two files"),
    "first after last": (file_with((1, 1000), first=-9), "illegal run list"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_broken_run_lists(name: str) -> None:
    volume, expected = BROKEN[name]
    volume.used += [(118, 1), (1000, 9), (4090, 6)]
    assert any(part in told(volume.build()) for part in expected.split("|"))


def changed(field: int, value: bytes, at: int = 30) -> bytearray:
    volume = file_with((4, 1000))
    volume.used += [(1000, 4)]
    image = volume.build()
    start = 16 * 4096 + at * 1024
    assert "".join(looked_at(image).file_system.reasons) == ""
    image[start + field : start + field + len(value)] = value
    return image


CHANGES = {
    "torn": (510, b"\x08\x00", "not written whole"),
    "torn at its end": (1022, b"\x08\x00", "not written whole"),
    "found damaged": (0, b"BAAD", "damaged"),
    "update sequence outside": (4, b"\xfe\x03", "illegal update sequence"),
    "update sequence too long": (6, b"\xff\xff", "illegal update sequence"),
    "update sequence of nothing": (6, b"\x00\x00", "illegal update sequence"),
    "first attribute outside": (20, b"\xf8\xff", "without an end"),
    "first attribute at an odd place": (20, b"\x39\x00", "illegal place"),
    "longer than a record": (24, b"\xff\xff\xff\xff", "longer than it can be"),
    "attribute without length": (0x3C, b"\0\0\0\0", "leaves it"),
    "attribute of odd length": (0x3C, b"\x49\0\0\0", "leaves it"),
    "attribute behind the end": (0x3C, b"\xf8\xff\xff\xff", "leaves it"),
    "run list before the attribute's own fields": (0x38 + 32, b"\x00\x00", "illegal run list"),
    "run list behind the attribute": (0x38 + 32, b"\xff\xff", "illegal run list"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_broken_records(name: str) -> None:
    field, value, expected = CHANGES[name]
    assert expected in told(changed(field, value))


OWN = {
    "table elsewhere": lambda v: v.records.update({0: record(stored(DATA, [(64, 1000)]))}),
    "table in itself": lambda v: v.records.update({0: record(resident(DATA, b"x"))}),
    "sparse table": lambda v: v.records.update({0: record(stored(DATA, [(8, 16), (9, None)]))}),
    "compressed bitmap": lambda v: v.records.update(
        {6: record(stored(DATA, v.bitmap, length=4096, flags=1))}
    ),
    "short bitmap": lambda v: v.records.update({6: record(stored(DATA, v.bitmap, length=511))}),
    "bitmap that says more than it has": lambda v: v.records.update(
        {6: record(stored(DATA, [], length=1 << 40))}
    ),
    "bitmap in itself": lambda v: v.records.update({6: record(resident(DATA, bytes(400)))}),
    "no bitmap": lambda v: v.records.update({6: record()}),
    "log that says more than it has": lambda v: v.records.update(
        {2: record(stored(DATA, v.log, length=1 << 50))}
    ),
    "no log": lambda v: v.records.update({2: record(stored(DATA, []))}),
    "no root": lambda v: v.records.update({5: record()}),
    "no information": lambda v: v.records.update({3: record(resident(VOLUME_INFORMATION, b"123"))}),
    "no boot file": lambda v: v.records.update({7: record(in_use=False)}),
    "root that is too long": lambda v: v.records.update(
        {5: record(resident(INDEX_ROOT, empty_index()[:20] + b"\xff" * 4 + empty_index()[24:], "$I30"))}
    ),
    "root whose blocks are missing": lambda v: v.records.update(
        {5: record(resident(INDEX_ROOT, empty_index()[:28] + b"\1" + empty_index()[29:], "$I30"))}
    ),
}


@pytest.mark.parametrize("name", OWN)
def test_broken_files_of_its_own(name: str) -> None:
    volume = Volume()
    OWN[name](volume)
    assert told(volume.build())


def test_negative_lengths() -> None:
    for kind, index in ((ATTRIBUTE_LIST, 6), (DATA, 6), (DATA, 2), (DATA, 0)):
        volume = Volume()
        volume.records[index] = record(stored(kind, [(9, None)], length=-1 << 62))
        assert "negative length" in told(volume.build())
    volume = Volume()
    volume.records[5] = record(stored(INDEX_ROOT, [(9, None)], length=-9, name="$I30"))
    assert "negative length" in told(volume.build())


def test_boot_sectors() -> None:
    image = Volume().build()
    for field, value in (
        (11, b"\0\0"),
        (11, b"\1\2"),
        (13, b"\0"),
        (13, b"\3"),
        (13, b"\xf0"),
        (14, b"\1"),
        (40, bytes(8)),
        (40, b"\xff" * 8),
        (48, b"\xff" * 8),
        (64, b"\0"),
        (64, b"\x80"),
        (64, b"\x7f"),
    ):
        other = image.copy()
        other[field : field + len(value)] = value
        result = looked_at(other)
        assert result.file_system.state == "unknown"
        assert result.file_system.free is None
    assert ntfs.recognise(over(b"\0" * 4096), 4096) is None
    assert ntfs.recognise(over(image[:100]), 100) is None
    assert "ends at" in told(image[: len(image) // 2]) or "only" in told(image[: len(image) // 2])


def naive_claims(image: bytes, volume: Volume) -> list[tuple[int, int]]:
    """The same by the reader of single records."""
    runs = []
    for index in range(volume.length(volume.table) // 1024):
        raw = image[16 * 4096 + index * 1024 :][:1024]
        if raw[:4] == b"FILE" and raw[22] & 1:
            for part in attributes(fixed_up(raw, b"FILE", "it"), "it"):
                runs += [(at, count) for count, at in part.runs if at is not None]
    return sorted(runs)


def test_all_records_at_once_are_what_single_ones_are() -> None:
    for seed in range(10):
        dice = random.Random(seed)
        volume = Volume(clusters=1 << 33)
        for index in range(10, 200):
            parts = [resident(0x10, dice.randbytes(dice.randrange(60)))]
            for kind in range(0x80, 0x80 + dice.randrange(3) * 16, 16):
                runs = [
                    (dice.choice((1, 3, 200, 70000, 1 << 31)), dice.choice((None, dice.randrange(1 << 32))))
                    for _ in range(dice.randrange(1, 30))
                ]
                parts.append(stored(kind, runs, first=dice.choice((0, 77))))
            if sum(map(len, parts)) < 900:
                volume.records[index] = record(*parts, in_use=dice.random() < 0.9)
        small = bytearray(16 * 4096 + 200 * 1024)
        for index, data in volume.records.items():
            small[16 * 4096 + index * 1024 :][:1024] = data
            small[16 * 4096 + index * 1024 : 16 * 4096 + (index + 1) * 1024] = data
        stream = _Table(bytes(small[16 * 4096 :]))
        found = np.concatenate(list(claims(stream, 1024, volume.clusters)))  # type: ignore[arg-type]
        volume.table = [(50, 16)]
        assert sorted(map(tuple, found.tolist())) == naive_claims(bytes(small), volume)
        assert len(found) > 100


class _Table:
    def __init__(self, data: bytes) -> None:
        self.data, self.length, self.initialised = data, len(data), len(data)

    def read(self, length: int, offset: int) -> bytes:
        return self.data[offset : offset + length]


def test_runs_of_eight_bytes() -> None:
    for count, cluster in ((1, 1), (127, 128), (1 << 40, 1 << 55), ((1 << 62) - 1, (1 << 62) - 1)):
        assert decoded(encoded([(count, cluster), (1, 0)]), "it") == [(count, cluster), (1, 0)]


@pytest.mark.parametrize("part", ["boot", "records", "bitmap and log"])
def test_mutations_end_in_a_reason_or_in_ranges(part: str) -> None:
    volume = spread(Volume())
    image = bytes(volume.build()[: 4096 * 4096])
    dice = random.Random(part)
    area = {
        "boot": [*range(11, 84)],
        "records": [16 * 4096 + index * 1024 for index in (0, 1, 2, 3, 5, 6, 7, 24, 25, 26, 28)],
        "bitmap and log": [100 * 4096, 400 * 4096, 120 * 4096, 110 * 4096],
    }[part]
    outcomes = set()
    for _ in range(120):
        other = _Mutated(image, 1024 * 1024 * 1024)
        for _ in range(dice.randrange(1, 4)):
            at = dice.choice(area) + (dice.randrange(200) if part != "boot" else 0)
            other.changes[at] = dice.choice((0, 1, 0x7F, 0x80, 0xFF, dice.randrange(256)))
        found = ntfs.recognise(other.read, other.size)
        if found is None:
            continue
        result = examine(found, other.size)
        outcomes.add(bool(result.file_system.reasons))
        list(result.free_ranges())
        with contextlib.suppress(NotFreeError):
            ntfs.hibernated(other.read, other.size)
    assert True in outcomes


class _Mutated:
    """A volume in which single bytes are others; zeros behind what is given."""

    def __init__(self, image: bytes, size: int) -> None:
        self.image, self.size = image, size
        self.changes: dict[int, int] = {}

    def read(self, length: int, offset: int) -> bytes:
        assert offset + length <= self.size
        assert length <= 16 << 20
        data = bytearray(self.image[offset : offset + length].ljust(length, b"\0"))
        for at, value in self.changes.items():
            if offset <= at < offset + length:
                data[at - offset] = value
        return bytes(data)


def test_a_restart_page_is_what_it_is_made_of() -> None:
    """The builder against the reader of single records."""
    page = restart_page()
    assert fixed_up(page, b"RSTR", "it")[510:512] == b"\0\0"
    assert protected(page, 0x1E)[:4] == b"RSTR"
    assert BITMAP == 0xB0


def test_places_of_a_stream() -> None:
    """What was never written reads as zeros, whatever stands in its clusters."""
    data = bytearray(64 * 4096)
    boot = Boot(512, 4096, 64, 1024, 4, 32, len(data))
    stream = ntfs_volume.Stream(over(data), boot, "a file")
    stream.add(Attribute(DATA, "", 0, None, 0, [(4, 10), (2, None), (3, 50)], 35_000, 6 * 4096 + 5000))
    assert list(stream.places()) == [
        (10 * 4096, 4 * 4096),
        (None, 2 * 4096),
        (50 * 4096, 5000),
        (None, 3 * 4096 - 5000),
    ]
    assert stream.is_as_stored
