"""Repairing: one damaged copy of the header or of the region table beside a good one."""

from functools import partial

from tests.crash.explore import HARMLESS
from tests.crash.session import Session
from tests.support import layout
from tests.support.build import ImageBuilder
from tests.support.layout import MIB
from tests.support.parts import Header, RegionTable

from .scenario import Scenario, dynamic
from .sessions import dirty

DAMAGED = HARMLESS | {"one region table is damaged", "the region tables differ"}


def repaired(session: Session) -> None:
    assert session.recover()


def written(session: Session) -> None:
    session.write(512, 512)
    session.write(5 * MIB, 512)
    session.flush()
    session.write(6 * MIB, 512)
    session.close()


def _bad_header(copy: int) -> ImageBuilder:
    return dynamic(headers={copy: Header(checksum=0, reserved=b"junk" * 1000)})


def _bad_table(copy: int) -> ImageBuilder:
    return dynamic(region_tables={copy: RegionTable(checksum=0, rest=b"junk" * 5000)})


def _tables_that_differ() -> ImageBuilder:
    image = dynamic()
    places = image.plan().regions
    entries = [
        layout.pack_region_entry(guid, *places[name])
        for name, guid in (("metadata", layout.METADATA_GUID), ("bat", layout.BAT_GUID))
    ]
    image.region_tables = {2: RegionTable(entries=entries)}
    return image


def _everything() -> ImageBuilder:
    image = dirty(0)
    image.headers = {1: Header(checksum=0)}
    image.region_tables = {1: RegionTable(checksum=0, rest=b"junk" * 5000)}
    return image


SCENARIOS = (
    Scenario("header 1 damaged", partial(_bad_header, 1), written, 56, warnings=DAMAGED),
    Scenario("header 2 damaged, repaired", partial(_bad_header, 2), repaired, 15, warnings=DAMAGED),
    Scenario("region table 1 damaged, repaired", partial(_bad_table, 1), repaired, 320, warnings=DAMAGED),
    Scenario("region table 2 damaged", partial(_bad_table, 2), written, 690, warnings=DAMAGED),
    Scenario("region tables that differ", _tables_that_differ, written, 70, warnings=DAMAGED),
    Scenario("a dirty log and damaged copies", _everything, written, 1210, warnings=DAMAGED),
)
