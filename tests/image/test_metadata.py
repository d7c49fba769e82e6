"""The metadata table and its items: every rule that they can break."""

import io
from uuid import UUID

import pytest

import vhdx
from tests.image.collected import load
from tests.support.build import ImageBuilder
from tests.support.layout import (
    IS_REQUIRED,
    IS_USER,
    IS_VIRTUAL_DISK,
    ITEM_GUIDS,
    KIB,
    MIB,
    pack_locator,
)
from tests.support.parts import Item, MetadataTable
from vhdx.image.metadata import linkages
from vhdx.rules import Severity
from vhdx.storage.stream import StreamStorage

REGION = 2 * MIB
REQUIRED_ITEMS = tuple(
    name
    for name in ITEM_GUIDS
    if name not in ("parent_locator", "chs_parameters", "incomplete_file", "pmem_label")
)


def image(**items: Item) -> ImageBuilder:
    return ImageBuilder(items=items)


def codes(built: ImageBuilder) -> list[str]:
    return load(built).report.codes()


def refused(built: ImageBuilder, kind: type[vhdx.VhdxError] = vhdx.CorruptImageError) -> vhdx.VhdxError:
    """The error with which opening refuses an image."""
    with pytest.raises(kind) as caught:
        vhdx.open(io.BytesIO(built.build()))
    return caught.value


def test_what_is_sound_is_loaded_without_a_word() -> None:
    found = load(image())
    assert found.report.codes() == []
    assert found.metadata is not None
    assert len(found.metadata.entries) == 5


@pytest.mark.parametrize("order", [REQUIRED_ITEMS, REQUIRED_ITEMS[::-1]])
def test_items_stand_in_any_order(order: tuple[str, ...]) -> None:
    assert codes(ImageBuilder(item_order=order)) == []


@pytest.mark.parametrize("signature", [b"metadatb", bytes(8), b"atadatem"])
def test_the_signature_of_the_table(signature: bytes) -> None:
    built = ImageBuilder(metadata_table=MetadataTable(signature=signature))
    assert codes(built) == ["metadata.table"]
    assert (refused(built).structure, refused(built).file_offset) == ("metadata table", REGION)


@pytest.mark.parametrize("count", [2048, 65535])
def test_the_count_of_the_table(count: int) -> None:
    assert codes(ImageBuilder(metadata_table=MetadataTable(entry_count=count))) == ["metadata.count"]


def test_reserved_fields_and_what_is_behind_the_last_entry_are_ignored() -> None:
    table = MetadataTable(reserved=7, reserved2=b"\xff" * 20, rest=b"\xff" * 1000)
    assert codes(ImageBuilder(metadata_table=table)) == []
    assert codes(image(virtual_disk_id=Item(reserved2=5))) == []


@pytest.mark.parametrize("name", REQUIRED_ITEMS)
def test_each_of_the_first_five_items_must_be_there(name: str) -> None:
    built = image(**{name: Item(omit=True)})
    assert codes(built) == ["metadata.missing"]
    assert name.replace("_", " ") in str(refused(built))


@pytest.mark.parametrize("name", REQUIRED_ITEMS)
@pytest.mark.parametrize("step", [-1, 1, 100])
def test_a_known_item_has_its_length(name: str, step: int) -> None:
    lengths = {"file_parameters": 8, "virtual_disk_size": 8, "virtual_disk_id": 16}
    value = bytes(lengths.get(name, 4) + step)
    assert "metadata.length" in codes(image(**{name: Item(value=value)}))


@pytest.mark.parametrize("name", REQUIRED_ITEMS)
def test_a_known_item_is_not_empty(name: str) -> None:
    assert "metadata.length" in codes(image(**{name: Item(length=0, offset=0)}))


@pytest.mark.parametrize("name", REQUIRED_ITEMS)
@pytest.mark.parametrize(
    "flags", [0, IS_VIRTUAL_DISK, IS_REQUIRED | 8, 2**32 - 8 | IS_REQUIRED | IS_VIRTUAL_DISK]
)
def test_flags_of_a_known_item_are_a_warning(name: str, flags: int) -> None:
    found = load(image(**{name: Item(flags=flags)}))
    assert found.report.codes() == ["metadata.flags"]
    assert found.report[0].rule.severity is Severity.WARNING
    assert found.metadata is not None


def test_a_known_item_with_the_users_flag_is_another_item() -> None:
    assert "metadata.missing" in codes(image(virtual_disk_size=Item(flags=IS_USER | IS_VIRTUAL_DISK)))


def test_an_item_stands_once_for_the_system_and_once_for_users() -> None:
    twice = {
        "one": Item(value=b"1", flags=0, item_id=UUID(int=5)),
        "two": Item(value=b"2", flags=0, item_id=UUID(int=5)),
    }
    assert "metadata.duplicate" in codes(image(**twice))
    twice["two"].flags = IS_USER
    assert codes(image(**twice)) == ["metadata.unknown"]


PLACES = {
    "in the table": Item(offset=64 * KIB - 1),
    "at 0": Item(offset=0),
    "past the end of the region": Item(offset=MIB - 15),
    "far past the end": Item(offset=2**32 - 16),
    "longer than 1 MiB": Item(length=MIB + 1),
    "of the greatest length": Item(length=2**32 - 1),
    "empty with an offset": Item(length=0, offset=64 * KIB),
}


@pytest.mark.parametrize("name", PLACES)
def test_an_item_lies_between_the_table_and_the_end_of_the_region(name: str) -> None:
    place = PLACES[name]
    known = Item(offset=place.offset, length=place.length, data_offset=64 * KIB + 200)
    assert "metadata.place" in codes(image(virtual_disk_id=known))
    strange = Item(
        value=bytes(16), flags=0, offset=place.offset, length=place.length, data_offset=64 * KIB + 200
    )
    assert "metadata.place" in codes(image(strange=strange)), "an item that is not read, too"


def test_items_at_the_borders_of_their_space() -> None:
    assert codes(image(virtual_disk_id=Item(offset=MIB - 16, data_offset=MIB - 16))) == []


@pytest.mark.parametrize("at", [64 * KIB, 64 * KIB + 7, 64 * KIB + 8])
def test_items_do_not_overlap(at: int) -> None:
    places = {"file_parameters": Item(offset=64 * KIB), "virtual_disk_size": Item(offset=64 * KIB + 400)}
    strange = Item(value=b"12345678", flags=IS_USER, offset=at, data_offset=64 * KIB + 200)
    assert codes(image(**places, strange=strange)) == ([] if at == 64 * KIB + 8 else ["metadata.overlap"])


def test_an_empty_item_is_present_and_overlaps_nothing() -> None:
    assert codes(image(one=Item(value=b"", flags=IS_USER), two=Item(value=b"", flags=IS_USER))) == []


@pytest.mark.parametrize(
    ("name", "flags", "code"),
    [
        ("strange", 0, "metadata.unknown"),
        ("strange", IS_REQUIRED, "metadata.unknown_required"),
        ("strange", IS_REQUIRED | IS_USER, "metadata.unknown_required"),
        ("strange", IS_USER, None),
        ("strange", IS_USER | IS_VIRTUAL_DISK, None),
        ("chs_parameters", IS_REQUIRED, "metadata.unknown"),
        ("pmem_label", IS_REQUIRED | IS_VIRTUAL_DISK, "metadata.unknown"),
        ("incomplete_file", IS_REQUIRED, "metadata.incomplete_file"),
    ],
)
def test_items_beyond_the_known_ones(name: str, flags: int, code: str | None) -> None:
    assert codes(image(**{name: Item(value=b"" if name == "incomplete_file" else b"x", flags=flags)})) == [
        code
    ] * bool(code)


def test_what_needs_other_software_is_unsupported_and_not_corrupt() -> None:
    refused(image(strange=Item(value=b"x", flags=IS_REQUIRED)), vhdx.UnsupportedImageError)
    error = refused(image(incomplete_file=Item(flags=IS_REQUIRED)), vhdx.UnsupportedImageError)
    assert "not finished" in str(error)


@pytest.mark.parametrize(("count", "sound"), [(1024, True), (1025, False)])
def test_1024_user_items_are_allowed(count: int, sound: bool) -> None:
    items = {f"user {n}": Item(value=b"u", flags=IS_USER) for n in range(count)}
    assert codes(image(**items)) == ([] if sound else ["metadata.count"])


def test_user_items_are_read_when_they_are_asked_for() -> None:
    built = image(note=Item(value=b"of a user", flags=IS_USER | IS_VIRTUAL_DISK))
    found = load(built)
    assert found.metadata is not None
    (entry,) = [entry for entry in found.metadata.entries if entry.is_user]
    assert entry.is_virtual_disk
    assert not entry.is_required
    assert found.metadata.item(StreamStorage(io.BytesIO(built.build())), entry) == b"of a user"


@pytest.mark.parametrize("flags", [4, 5, 0x8000_0000, 0xFFFF_FFFD])
def test_reserved_flags_of_the_file_parameters_are_a_warning(flags: int) -> None:
    found = load(ImageBuilder(file_parameters_flags=flags))
    assert found.report.codes() == ["metadata.file_parameter_flags"]
    assert found.metadata is not None


@pytest.mark.parametrize(
    ("flags", "kind"), [(0, "dynamic"), (1, "fixed"), (2, "differencing"), (3, "differencing")]
)
def test_the_type_of_an_image(flags: int, kind: str) -> None:
    built = ImageBuilder(
        disk_type="differencing", file_parameters_flags=flags, parent_data_write_guid=UUID(int=9)
    )
    found = load(built)
    assert found.metadata is not None
    assert found.metadata.disk_type == kind
    assert (found.metadata.locator is None) == (kind != "differencing")


def child(item: Item) -> ImageBuilder:
    built = ImageBuilder().child()
    built.items["parent_locator"] = item
    return built


LINKAGE = {"parent_linkage": f"{{{UUID(int=9)}}}"}
PATH = {"relative_path": ".\\parent.vhdx"}
BOTH = [*LINKAGE.items(), *PATH.items()]
LOCATORS: dict[str, tuple[Item, str]] = {
    "none": (Item(omit=True), "locator.missing"),
    "too short for a type": (Item(value=b"x" * 19), "locator.type"),
    "another type": (Item(value=pack_locator(BOTH, locator_type=UUID(int=3))), "locator.type"),
    "more entries than fit": (Item(value=pack_locator(BOTH, key_value_count=60)), "locator.entry"),
    "65535 entries": (Item(value=pack_locator(BOTH, key_value_count=65535)), "locator.entry"),
    "key at 0": (Item(value=pack_locator(BOTH, entries=[{"key_offset": 0}])), "locator.entry"),
    "empty key": (Item(value=pack_locator(BOTH, entries=[{"key_length": 0}])), "locator.entry"),
    "empty value": (Item(value=pack_locator(BOTH, entries=[{"value_length": 0}])), "locator.entry"),
    "value outside": (Item(value=pack_locator(BOTH, entries=[{"value_offset": 5000}])), "locator.entry"),
    "value far outside": (
        Item(value=pack_locator(BOTH, entries=[{"value_offset": 2**32 - 1}])),
        "locator.entry",
    ),
    "value of odd length": (Item(value=pack_locator(BOTH, entries=[{"value_length": 3}])), "locator.entry"),
    "NUL in a key": (Item(value=pack_locator([*BOTH, ("a\0b", "c")])), "locator.entry"),
    "NUL in a value": (Item(value=pack_locator([*BOTH, ("a", "b\0")])), "locator.entry"),
    "lone surrogate": (Item(value=pack_locator([*BOTH, ("a", "\ud800")])), "locator.entry"),
    "a key twice": (Item(value=pack_locator([*BOTH, ("relative_path", "x")])), "locator.entry"),
    "no linkage": (Item(value=pack_locator(PATH)), "locator.linkage"),
    "a linkage that is no GUID": (
        Item(value=pack_locator({"parent_linkage": "{x}", **PATH})),
        "locator.linkage",
    ),
    "a linkage of zeros": (
        Item(value=pack_locator({"parent_linkage": f"{{{UUID(int=0)}}}"})),
        "locator.linkage",
    ),
    "a key in capitals": (
        Item(value=pack_locator({"Parent_Linkage": f"{{{UUID(int=9)}}}", **PATH})),
        "locator.linkage",
    ),
}


@pytest.mark.parametrize("name", LOCATORS)
def test_a_locator_that_breaks_a_rule(name: str) -> None:
    item, code = LOCATORS[name]
    found = load(child(item))
    assert found.report.codes(Severity.ERROR) == [code]
    assert found.metadata is None
    place = found.report[0].place
    assert place.structure == ("file parameters" if name == "none" else "parent locator")
    assert place.file_offset >= REGION + 64 * KIB


def test_a_locator_without_a_path_is_a_warning() -> None:
    found = load(child(Item(value=pack_locator(LINKAGE))))
    assert found.report.codes() == ["locator.no_path"]
    assert found.metadata is not None


def test_a_locator_in_an_image_without_a_parent_is_not_read() -> None:
    built = ImageBuilder(disk_type="differencing", file_parameters_flags=0)
    built.items["parent_locator"] = Item(value=b"rubbish")
    assert codes(built) == ["locator.unused"]


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ({}, set()),
        ({"parent_linkage": "{00000000-0000-0000-0000-000000000009}"}, {9}),
        ({"parent_linkage": "00000000000000000000000000000009"}, {9}),
        ({"parent_linkage": f"{{{UUID(int=9)}}}", "parent_linkage2": f"{{{UUID(int=8)}}}"}, {8, 9}),
        ({"parent_linkage": f"{{{UUID(int=9)}}}", "parent_linkage2": f"{{{UUID(int=0)}}}"}, {9}),
        ({"parent_linkage": "?", "parent_linkage2": f"{{{UUID(int=8)}}}"}, {8}),
    ],
)
def test_the_linkages_of_a_locator(values: dict[str, str], found: set[int]) -> None:
    assert linkages(values) == {UUID(int=number) for number in found}
