"""The metadata region and the parent locator, strictly as for opening and patiently as for checking."""

from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from random import Random

from tests.fuzz import mutate
from tests.fuzz.case import Area, Seed, packed, unpack, written
from tests.fuzz.oracle import Meter, Refused, answer
from tests.fuzz.seeds import child, clean
from tests.support.build import ImageBuilder
from tests.support.layout import (
    IS_USER,
    KIB,
    LOCATOR,
    LOCATOR_ENTRY,
    METADATA_ENTRY,
    METADATA_TABLE,
    MIB,
    TABLE_SIZE,
)
from tests.support.metadata import metadata_pieces
from tests.support.parts import Item
from tests.support.sparse import Content
from vhdx.examine.corrections import metadata_corrections
from vhdx.format import guids, locator
from vhdx.format.region import RegionEntry
from vhdx.geometry import Geometry
from vhdx.image import metadata
from vhdx.rules import CollectingReport, OpeningReport

__all__ = ["corpus", "mutated", "run"]

_START = MIB
MOST_BYTES = 7 * MIB
"""The table, and six items of at most 1 MiB that are known and read."""


@cache
def _seeds() -> tuple[Seed, ...]:
    return (
        _seed("dynamic", clean()),
        _seed("child", child(clean())),
        _seed("with items of users", _with_user_items(clean())),
        Seed(
            "locator alone",
            _region(child(clean())),
            (Area("locator", _locator_at(), 512, *_LOCATOR),),
            (0, 0),
        ),
    )


_LOCATOR = (LOCATOR, LOCATOR_ENTRY, LOCATOR.size)


def _seed(name: str, image: ImageBuilder) -> Seed:
    areas = [
        Area("table", _START, TABLE_SIZE, METADATA_TABLE, METADATA_ENTRY, METADATA_TABLE.size),
        Area("items", _START + TABLE_SIZE, 64),
        Area("all items", _START + TABLE_SIZE, 4 * KIB),
    ]
    if image.differencing:
        areas.append(Area("locator", _locator_at(), 512, *_LOCATOR))
    return Seed(name, _region(image), tuple(areas), (0, 0))


def _locator_at() -> int:
    return _START + TABLE_SIZE + 8 + 8 + 4 + 4 + 16


def _region(image: ImageBuilder) -> Content:
    content = Content(2 * MIB)
    for at, data in metadata_pieces(image):
        content.write(data, _START + at)
    return content


def _with_user_items(image: ImageBuilder) -> ImageBuilder:
    image.items |= {f"user {n}": Item(value=b"x" * n, flags=IS_USER) for n in range(9)}
    return image


def corpus() -> Iterator[bytes]:
    """Each seed as it is."""
    for number in range(len(_seeds())):
        yield packed(number)


def mutated(data: bytes, chance: Random) -> bytes:
    """A case that differs in one step."""
    return mutate.mutated(data, chance, _seeds())


def run(data: bytes) -> None:
    """Load the region both ways; what is loaded must keep the rules, whatever the region says."""
    case = unpack(data)
    seed = _seeds()[case.seed % len(_seeds())]
    content, _ = written(seed, case)
    storage = Meter(content)
    region = RegionEntry(guids.METADATA_REGION, _START, MIB, True)
    strict = answer(lambda: metadata.load(storage, region, OpeningReport("image.vhdx")))
    assert storage.bytes_read <= MOST_BYTES, f"{storage.bytes_read} bytes read"
    patient = CollectingReport()
    found = metadata.load(Meter(content), region, patient)
    assert isinstance(strict, Refused) == patient.has_errors, (strict, patient.counts)
    if found.metadata is not None and not isinstance(strict, Refused):
        assert strict.metadata == found.metadata
        _keeps_the_rules(found.metadata, content)
    if content.size >= _START + TABLE_SIZE:
        for correction in metadata_corrections(Meter(content), region):
            assert correction.finding.detail
    start = _locator_at()
    _unpack_locator(content.read(max(0, min(content.size - start, 4096)), start))


def _keeps_the_rules(loaded: metadata.Metadata, content: Content) -> None:
    assert loaded.block_size in {1 << bit for bit in range(20, 29)}
    assert {loaded.logical_sector_size, loaded.physical_sector_size} <= {512, 4096}
    assert 0 < loaded.disk_size <= 64 << 40
    assert loaded.disk_size % loaded.logical_sector_size == 0
    places = sorted((entry.offset, entry.end) for entry in loaded.entries if entry.length)
    assert all(end <= start for (_, end), (start, _) in pairwise(places))
    assert all(TABLE_SIZE <= start < end <= MIB for start, end in places)
    for entry in loaded.entries[:40]:
        answer(lambda wanted=entry: loaded.item(Meter(content), wanted))  # type: ignore[misc]
    geometry = Geometry(loaded.disk_size, loaded.block_size, loaded.logical_sector_size, loaded.has_parent)
    assert geometry.bat_entry_count >= geometry.block_count
    assert loaded.locator is None or metadata.linkages(loaded.locator)


def _unpack_locator(item: bytes) -> None:
    """What is unpacked is small, packs again, and is what it was then."""
    if locator.locator_type(item) is None:
        return
    try:
        values = locator.unpack(item)
    except locator.MalformedLocatorError as error:
        assert 0 <= error.offset <= len(item)  # noqa: PT017  the error is what is judged
        return
    assert sum(map(len, values)) + sum(map(len, values.values())) <= len(item) // 2
    if values:
        assert locator.unpack(locator.pack(values)) == values
