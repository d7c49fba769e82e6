"""Promise 17: sizes at and past every limit, and a bound for the memory that hostile files can take."""

import io
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid5

import pytest

import vhdx
from tests.support import layout
from tests.support.build import ImageBuilder
from tests.support.layout import FULLY_PRESENT, GIB, MIB, SECTOR, TIB, ZERO
from tests.support.logs import Entry, LogBuilder, Zero
from tests.support.parts import Block, Header, Item, Region, RegionTable
from tests.support.reading import in_memory

CORRUPT, UNSUPPORTED = vhdx.CorruptImageError, vhdx.UnsupportedImageError


def number(value: int, size: int) -> Item:
    return Item(value=value.to_bytes(size, "little"))


@pytest.mark.parametrize("block_size", [MIB << shift for shift in range(9)])
def test_block_sizes_within_the_limits(block_size: int) -> None:
    with in_memory(ImageBuilder(5 * MIB, block_size)) as disk:
        assert disk.block_size == block_size


BLOCK_SIZES = [0, 1, 512, MIB // 2, MIB - 1, MIB + 1, 3 * MIB, 96 * MIB, 512 * MIB, 2**31, 2**32 - 1]


@pytest.mark.parametrize("block_size", BLOCK_SIZES)
def test_block_sizes_past_the_limits(block_size: int) -> None:
    value = block_size.to_bytes(4, "little") + bytes(4)
    image = ImageBuilder(5 * MIB, items={"file_parameters": Item(value=value)})
    with pytest.raises(CORRUPT, match=f"block size is {block_size} bytes") as caught:
        in_memory(image)
    assert caught.value.structure == "file parameters"


DISK_SIZES = [(512, 512), (4096, 4096), (64 * TIB, 512), (64 * TIB - 512, 512), (64 * TIB, 4096)]


@pytest.mark.parametrize(("size", "sector_size"), DISK_SIZES)
def test_disk_sizes_within_the_limits(size: int, sector_size: int, tmp_path: Path) -> None:
    image = ImageBuilder(size, 256 * MIB if size > GIB else MIB, sector_size)
    with vhdx.open(image.write(tmp_path / "image.vhdx")) as disk:
        assert disk.size == size
        assert disk.pread(1, size - 1) == b"\0"


BAD_SIZES = [
    (0, 512),
    (1, 512),
    (511, 512),
    (513, 512),
    (512, 4096),
    (4096 + 512, 4096),
    (64 * TIB + 512, 512),
]


@pytest.mark.parametrize(("size", "sector_size"), [*BAD_SIZES, (2**63, 512), (2**64 - 512, 512)])
def test_disk_sizes_past_the_limits(size: int, sector_size: int) -> None:
    items = {"virtual_disk_size": number(size, 8)}
    with pytest.raises(CORRUPT, match=f"virtual disk size is {size} bytes"):
        in_memory(ImageBuilder(MIB, logical_sector_size=sector_size, items=items))


@pytest.mark.parametrize("name", ["logical_sector_size", "physical_sector_size"])
@pytest.mark.parametrize("size", [0, 1, 256, 513, 1024, 2048, 8192, 2**32 - 1])
def test_sector_sizes_past_the_limits(name: str, size: int) -> None:
    with pytest.raises(CORRUPT, match=f"{name.replace('_', ' ')} is {size} bytes, must be 512 or 4096"):
        in_memory(ImageBuilder(items={name: number(size, 4)}))


@pytest.mark.parametrize(
    ("disk_size", "fits"), [(131072 * MIB + 31 * MIB, False), (131041 * MIB, True), (131042 * MIB, False)]
)
def test_a_table_that_is_too_small_for_its_disk_is_refused(disk_size: int, fits: bool) -> None:
    # 131072 slots fit into 1 MiB; 31 of those before the last block belong to bitmaps
    image = ImageBuilder(disk_size, regions={"bat": Region(size=MIB)})
    assert fits == (image.bat_entries <= 131072)
    if fits:
        with in_memory(image) as disk:
            assert disk.pread(1, disk_size - 1) == b"\0"
        return
    with pytest.raises(CORRUPT, match="the BAT region has 1048576 bytes"):
        in_memory(image)


def region(**changes: Any) -> Callable[[ImageBuilder], None]:
    def change(image: ImageBuilder) -> None:
        image.regions["bat"] = Region(**changes)

    return change


def log_place(**changes: Any) -> Callable[[ImageBuilder], None]:
    def change(image: ImageBuilder) -> None:
        image.headers = {2: Header(**changes)}

    return change


def entry_count(table: str, count: int) -> Callable[[ImageBuilder], None]:
    def change(image: ImageBuilder) -> None:
        if table == "metadata":
            image.metadata_table.entry_count = count
        else:
            image.region_tables = {n: RegionTable(entry_count=count) for n in (1, 2)}

    return change


LIES: dict[str, tuple[Callable[[ImageBuilder], None], type[vhdx.VhdxError], str]] = {
    "region of no length": (region(length=0), CORRUPT, "no whole MiB"),
    "region of the greatest length": (region(length=2**32 - MIB), CORRUPT, "behind the end of the file"),
    "region of odd length": (region(length=MIB + 1), CORRUPT, "no whole MiB"),
    "region at 0": (region(file_offset=0), CORRUPT, "no whole MiB"),
    "region at the largest offset": (region(file_offset=2**64 - MIB), CORRUPT, "no whole MiB"),
    "region that ends at 256 TiB": (
        region(file_offset=256 * TIB - MIB),
        CORRUPT,
        "behind the end of the file",
    ),
    "region over 256 TiB": (region(file_offset=256 * TIB), CORRUPT, "no whole MiB"),
    "log of the greatest length": (log_place(log_length=2**32 - MIB), CORRUPT, "behind the end of the file"),
    "log at the largest offset": (log_place(log_offset=2**64 - MIB), CORRUPT, "behind the end of the file"),
    "log at 0": (log_place(log_offset=0), CORRUPT, "header section"),
    "log of odd length": (log_place(log_length=SECTOR), CORRUPT, "not aligned"),
    "2048 regions": (entry_count("region", 2048), CORRUPT, "at most 2047 fit"),
    "2^32-1 regions": (entry_count("region", 2**32 - 1), CORRUPT, "at most 2047 fit"),
    "2048 metadata items": (entry_count("metadata", 2048), CORRUPT, "at most 2047 fit"),
    "65535 metadata items": (entry_count("metadata", 65535), CORRUPT, "at most 2047 fit"),
    "2047 metadata items of zeros": (entry_count("metadata", 2047), CORRUPT, "twice"),
    "2047 regions of zeros": (entry_count("region", 2047), CORRUPT, "no whole MiB"),
}


@pytest.mark.parametrize("lie", LIES)
def test_numbers_past_the_limits_are_refused(lie: str) -> None:
    change, kind, words = LIES[lie]
    image = ImageBuilder()
    change(image)
    with pytest.raises(kind, match=words) as caught:
        in_memory(image)
    assert caught.value.structure is not None
    assert caught.value.file_offset is not None


def test_2047_regions_and_2047_items_are_read() -> None:
    image = ImageBuilder(blocks={0: Block(b"x" * 512)})
    extra = [
        layout.pack_region_entry(uuid5(layout.ZERO_GUID, str(n)), (10 + n) * MIB, MIB, 0) for n in range(2045)
    ]
    plan = image.plan()
    known = [
        layout.pack_region_entry(layout.BAT_GUID, plan.bat_offset, MIB),
        layout.pack_region_entry(layout.METADATA_GUID, plan.metadata_offset, MIB),
    ]
    image.region_tables = {n: RegionTable(entries=[*extra, *known]) for n in (1, 2)}
    image.items = {f"system {n}": Item(value=b"", flags=0) for n in range(1018)}
    image.items |= {f"user {n}": Item(value=b"u", flags=layout.IS_USER) for n in range(1024)}
    with in_memory(image) as disk:
        assert disk.pread(512, 0) == b"x" * 512
    image.items["one more"] = Item(value=b"u", flags=layout.IS_USER)
    with pytest.raises(CORRUPT, match="at most"):
        in_memory(image)


def a_locator_that_unfolds(folder: Path) -> Path:
    """65535 entries that all name the same 64 KiB: gigabytes of text out of 1 MiB."""
    head = layout.LOCATOR.pack({"locator_type": layout.LOCATOR_TYPE, "key_value_count": 65535})
    fields = {"value_offset": 800_000, "value_length": 65534, "key_length": 65534}
    entries = b"".join(
        layout.LOCATOR_ENTRY.pack({**fields, "key_offset": 790_000 + 2 * n}) for n in range(65535)
    )
    child = ImageBuilder().child()
    text = b"".join((0x3400 + n % 0x6000).to_bytes(2, "little") for n in range(MIB // 2))
    child.items["parent_locator"] = Item(value=(head + entries + text)[:MIB])
    child.regions["metadata"] = Region(size=3 * MIB)
    return child.write(folder / "image.vhdx")


def a_table_of_overlapping_items(folder: Path) -> Path:
    """1024 items of 1 MiB that all lie in the same MiB."""
    image = ImageBuilder(regions={"metadata": Region(size=3 * MIB)})
    user: dict[str, Any] = {"flags": layout.IS_USER, "offset": 65536 + 4096, "length": MIB}
    image.items = {f"user {n}": Item(value=b"x", data_offset=70_000, **user) for n in range(1024)}
    return image.write(folder / "image.vhdx")


def a_log_that_fills_the_memory(folder: Path) -> Path:
    """An entry of 65537 runs of zeros that do not touch each other: one more than is kept."""
    return log_of(folder, runs=64 * 1024 + 1)


def log_of(folder: Path, runs: int) -> Path:
    log = LogBuilder(length=4 * MIB)
    log.add(*(Zero(16 * MIB + n * 2 * SECTOR, SECTOR) for n in range(runs)))
    return ImageBuilder(log=log).write(folder / "image.vhdx")


def a_log_that_makes_the_file_grow(folder: Path) -> Path:
    log = LogBuilder(last_file_offset=256 * TIB + MIB)
    log.add()
    return ImageBuilder(log=log).write(folder / "image.vhdx")


def a_large_log_without_entries(folder: Path) -> Path:
    log = LogBuilder(length=512 * MIB)
    log.put(512 * MIB - SECTOR, b"loge")
    return ImageBuilder(log=log, log_guid=log.guid).write(folder / "image.vhdx")


def a_log_full_of_lies(folder: Path) -> Path:
    """Every sector says to begin an entry that is as long as the log."""
    log = LogBuilder(length=4 * MIB)
    lie = Entry(log_guid=log.guid, entry_length=4 * MIB, checksum=1, descriptor_count=100_000).pack()
    for at in range(0, 4 * MIB, SECTOR):
        log.put(at, lie)
    return ImageBuilder(log=log, log_guid=log.guid).write(folder / "image.vhdx")


HOSTILE = [
    (a_locator_that_unfolds, CORRUPT, "longer than the item"),
    (a_table_of_overlapping_items, CORRUPT, "overlaps"),
    (a_log_that_fills_the_memory, UNSUPPORTED, "too many to replay in memory"),
    (a_log_that_makes_the_file_grow, CORRUPT, "256 TiB"),
    (a_large_log_without_entries, CORRUPT, "no complete sequence"),
    (a_log_full_of_lies, CORRUPT, "no complete sequence"),
]


@pytest.mark.parametrize(("image", "kind", "words"), HOSTILE)
def test_hostile_files_are_refused_in_little_memory(
    image: Callable[[Path], Path], kind: type[vhdx.VhdxError], words: str, tmp_path: Path
) -> None:
    path = image(tmp_path)
    tracemalloc.start()
    with pytest.raises(kind, match=words) as caught:
        vhdx.open(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 32 * MIB
    assert caught.value.file_offset is not None


def test_a_log_at_the_limit_is_replayed(tmp_path: Path) -> None:
    with vhdx.open(log_of(tmp_path, runs=64 * 1024)) as disk:
        assert disk.pread(10 * MIB, 0) == bytes(10 * MIB)


def test_runs_of_zeros_that_touch_are_one_and_cost_nothing(tmp_path: Path) -> None:
    log = LogBuilder(length=4 * MIB)
    log.add(*(Zero((16 + n % 7) * MIB, MIB) for n in range(100_000)))
    image = ImageBuilder(log=log, blocks={0: Block(b"x" * MIB, file_offset=16 * MIB), 9: Block(b"y" * MIB)})
    with vhdx.open(image.write(tmp_path / "image.vhdx")) as disk:
        assert disk.pread(MIB, 0) == bytes(MIB)


def test_cached_pages_of_a_large_table_are_bounded(tmp_path: Path) -> None:
    image = ImageBuilder(4 * TIB, default_state=ZERO)
    with vhdx.open(image.write(tmp_path / "image.vhdx")) as disk:
        tracemalloc.start()
        for offset in range(0, disk.size, 512 * MIB):
            assert disk.pread(1, offset) == b"\0"
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 24 * MIB, "8 MiB of pages and the places of 64 Ki blocks"


def test_a_stream_as_long_as_it_likes_is_not_read_whole() -> None:
    class Endless(io.BytesIO):
        """Says to be 256 TiB long and gives zeros for all that is behind its bytes."""

        def seek(self, offset: int, whence: int = 0, /) -> int:
            if whence == io.SEEK_END:
                return 256 * TIB
            return super().seek(offset, whence)

    with vhdx.open(Endless(ImageBuilder(blocks={0: Block(b"x" * MIB)}).build())) as disk:
        assert disk.pread(MIB, 0) == b"x" * MIB


def test_a_full_table_of_conflicts_is_reported_and_not_dwelt_on(tmp_path: Path) -> None:
    image = ImageBuilder(
        120_000 * MIB, default_state=FULLY_PRESENT, fill=lambda blocks: blocks * 0 + (8 << 20 | 6)
    )
    image.file_length = 16 * MIB
    with vhdx.open(image.write(tmp_path / "image.vhdx")) as disk, pytest.raises(CORRUPT, match="claimed by"):
        disk.pread(MIB, 0)
