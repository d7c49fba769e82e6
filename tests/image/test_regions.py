"""Which region table is used, and every rule that its entries can break."""

import io
from uuid import UUID

import pytest

import vhdx
from tests.image.collected import load
from tests.support.build import ImageBuilder
from tests.support.layout import BAT_GUID, KIB, METADATA_GUID, MIB, TIB, pack_region_entry
from tests.support.parts import Region, RegionTable
from tests.support.presets import qemu_like
from vhdx.rules import Severity

STRANGE = UUID(int=77)
BAT = pack_region_entry(BAT_GUID, 3 * MIB, MIB)
METADATA = pack_region_entry(METADATA_GUID, 2 * MIB, MIB)


def image(*entries: bytes, **changes: object) -> ImageBuilder:
    """An image of 12 MiB whose two tables both have these entries."""
    built = ImageBuilder(
        region_tables={n: RegionTable(entries=entries) for n in (1, 2)}, file_length=12 * MIB
    )
    for name, value in changes.items():
        setattr(built, name, value)
    return built


def errors(built: ImageBuilder) -> list[str]:
    return load(built).report.codes(Severity.ERROR)


DAMAGES = {
    "checksum": RegionTable(checksum=1),
    "signature": RegionTable(signature=b"iger"),
    "zeros": RegionTable(raw=bytes(64 * KIB)),
    "count": RegionTable(entry_count=2048),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("copy", [1, 2])
def test_a_damaged_table_leaves_the_other(damage: str, copy: int) -> None:
    found = load(ImageBuilder(region_tables={copy: DAMAGES[damage]}))
    assert found.regions is not None
    assert found.report.codes() == ["region_table.damaged"]
    assert found.report[0].place == (f"region table {copy}", (192 * KIB, 256 * KIB)[copy - 1])
    assert f"copy {3 - copy} is used" in found.report[0].detail


def test_two_damaged_tables_are_the_end() -> None:
    found = load(ImageBuilder(region_tables={1: DAMAGES["checksum"], 2: DAMAGES["signature"]}))
    assert found.regions is None
    assert found.report.codes() == ["region_table.none"]


def test_of_tables_that_differ_the_first_is_used() -> None:
    built = image(BAT, METADATA)
    built.region_tables[2] = RegionTable(entries=[METADATA])
    found = load(built)
    assert found.report.codes() == ["region_table.differ"]
    assert found.regions is not None
    assert [entry.guid for entry in found.regions.entries] == [BAT_GUID, METADATA_GUID]


@pytest.mark.parametrize(
    ("entries", "missing"),
    [((), 2), ((BAT,), 1), ((METADATA,), 1), ((pack_region_entry(STRANGE, 5 * MIB, MIB, 0),), 2)],
)
def test_bat_and_metadata_must_be_there(entries: tuple[bytes, ...], missing: int) -> None:
    assert errors(image(*entries)) == ["region.missing"] * missing


@pytest.mark.parametrize("twin", [BAT, METADATA])
def test_a_region_stands_once(twin: bytes) -> None:
    assert "region.duplicate" in errors(image(BAT, METADATA, twin))


def test_an_unknown_region_stands_once_too() -> None:
    strange = [pack_region_entry(STRANGE, at * MIB, MIB, 0) for at in (5, 6)]
    assert errors(image(BAT, METADATA, *strange)) == ["region.duplicate"]


PLACES = [
    (0, MIB),
    (MIB - 4096, MIB),
    (3 * MIB + 4096, MIB),
    (3 * MIB, 0),
    (3 * MIB, 4096),
    (3 * MIB, MIB + 512),
    (256 * TIB, MIB),
    (2**64 - MIB, MIB),
]


@pytest.mark.parametrize(("file_offset", "length"), PLACES)
def test_a_region_lies_on_whole_mebibytes_behind_the_header_section(file_offset: int, length: int) -> None:
    assert errors(image(pack_region_entry(BAT_GUID, file_offset, length), METADATA))[0] == "region.place"


@pytest.mark.parametrize(("file_offset", "length"), [(12 * MIB, MIB), (11 * MIB, 2 * MIB), (12 * TIB, MIB)])
def test_a_known_region_lies_in_the_file(file_offset: int, length: int) -> None:
    found = load(image(pack_region_entry(BAT_GUID, file_offset, length), METADATA))
    assert found.report.codes(Severity.ERROR) == ["region.past_end"]
    assert found.report[0].place.file_offset == 192 * KIB + 16


OVERLAPS = {
    "BAT and metadata": (pack_region_entry(BAT_GUID, 2 * MIB, MIB), METADATA),
    "the end of the metadata": (BAT, pack_region_entry(METADATA_GUID, 2 * MIB, 2 * MIB)),
    "the log": (pack_region_entry(BAT_GUID, MIB, MIB), METADATA),
    "an unknown region": (BAT, METADATA, pack_region_entry(STRANGE, 3 * MIB, MIB, 0)),
    "around all": (BAT, METADATA, pack_region_entry(STRANGE, MIB, 8 * MIB, 0)),
}


@pytest.mark.parametrize("name", OVERLAPS)
def test_regions_and_log_do_not_overlap(name: str) -> None:
    found = errors(image(*OVERLAPS[name]))
    assert found
    assert set(found) == {"region.overlap"}


def test_neighbours_do_not_overlap() -> None:
    strange = pack_region_entry(STRANGE, 4 * MIB, 8 * MIB, 0)
    assert errors(image(BAT, METADATA, strange)) == []


@pytest.mark.parametrize(
    ("required", "refused"), [(0, False), (1, True), (2, False), (3, True), (2**32 - 1, True)]
)
def test_an_unknown_region_is_refused_if_it_is_required(required: int, refused: bool) -> None:
    built = image(BAT, METADATA, pack_region_entry(STRANGE, 6 * MIB, MIB, required))
    assert load(built).report.codes() == (["region.unknown_required"] if refused else ["region.unknown"])
    if refused:
        with pytest.raises(vhdx.UnsupportedImageError, match=str(STRANGE)):
            vhdx.open(io.BytesIO(built.build()))


def test_an_unknown_region_past_the_end_is_only_a_warning() -> None:
    found = load(image(BAT, METADATA, pack_region_entry(STRANGE, 60 * MIB, MIB, 0)))
    assert found.report.codes() == ["region.unknown", "region.unknown_past_end"]
    assert found.metadata is not None


def test_no_block_may_lie_in_an_unknown_region() -> None:
    built = image(BAT, METADATA, pack_region_entry(STRANGE, 6 * MIB, 2 * MIB, 0))
    built.bat = {0: 5 * MIB | 6, 1: 6 * MIB | 6, 2: 7 * MIB | 6, 3: 8 * MIB | 6}
    with vhdx.open(io.BytesIO(built.build())) as disk:
        for block, sound in enumerate((True, False, False, True)):
            if sound:
                assert disk.pread(MIB, block * MIB) == bytes(MIB)
            else:
                with pytest.raises(vhdx.CorruptImageError, match=str(STRANGE)):
                    disk.pread(MIB, block * MIB)


def test_what_qemu_leaves_out_is_noted() -> None:
    found = load(qemu_like())
    assert found.report.codes() == ["region.not_required"] * 2
    assert found.report[0].rule.severity is Severity.NOTE


@pytest.mark.parametrize(
    "order", [("bat", "metadata", "log"), ("metadata", "log", "bat"), ("log", "bat", "metadata")]
)
def test_regions_lie_in_any_order(order: tuple[str, ...]) -> None:
    found = load(ImageBuilder(placement=order, table_order=order))
    assert found.report.codes() == []
    assert found.metadata is not None


def test_what_stands_behind_the_last_entry_is_ignored() -> None:
    tables = {n: RegionTable(rest=b"\xff" * 4096, reserved=9) for n in (1, 2)}
    assert load(ImageBuilder(region_tables=tables)).report.codes() == []


def test_a_bat_region_that_is_too_small_is_refused() -> None:
    small = ImageBuilder(disk_size=200_000 * MIB, regions={"bat": Region(size=MIB)})
    with pytest.raises(vhdx.CorruptImageError, match="the disk needs") as caught:
        vhdx.open(io.BytesIO(small.build()))
    assert (caught.value.structure, caught.value.file_offset) == ("BAT region", 3 * MIB)
