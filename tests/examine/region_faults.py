"""What can be wrong with the region tables."""

from tests.examine.fault import (
    BAT,
    BEHIND,
    METADATA,
    NEEDLESS,
    NEVER,
    NOWHERE,
    OPEN,
    REBUILD,
    SAFE,
    STRANGE,
    WRITE,
    Fault,
    dynamic,
    regions,
    tables,
)
from tests.support.layout import (
    KIB,
    METADATA_GUID,
    MIB,
    TIB,
    pack_region_entry,
)
from tests.support.parts import Region, RegionTable

REGION_FAULTS = [
    *(
        Fault(f"region table {n}: {what}", make, {"region_table.damaged"}, SAFE)
        for n in (1, 2)
        for what, make in (
            ("signature", lambda n=n: dynamic(region_tables={n: RegionTable(signature=b"iger")})),
            ("checksum", lambda n=n: dynamic(region_tables={n: RegionTable(checksum=1)})),
            ("count", lambda n=n: dynamic(region_tables={n: RegionTable(entry_count=2048)})),
            ("zeros", lambda n=n: dynamic(region_tables={n: RegionTable(raw=bytes(64 * KIB))})),
        )
    ),
    Fault(
        "region tables: both damaged",
        lambda: dynamic(region_tables=tables(checksum=1)),
        {"region_table.none"},
        REBUILD,
        OPEN,
    ),
    Fault(
        "region tables: both zeros",
        lambda: dynamic(region_tables=tables(raw=bytes(64 * KIB))),
        {"region_table.none"},
        REBUILD,
        OPEN,
    ),
    Fault(
        "region tables: differ",
        lambda: dynamic(region_tables={2: RegionTable(entries=(METADATA, BAT))}),
        {"region_table.differ"},
        SAFE,
    ),
    Fault(
        "region tables: copy 2 lacks a region",
        lambda: dynamic(region_tables={2: RegionTable(entries=(METADATA,))}),
        {"region_table.differ", "region_table.unused"},
        SAFE,
    ),
    Fault(
        "region table: reserved",
        lambda: dynamic(region_tables=tables(reserved=1)),
        {"region_table.reserved"},
        SAFE,
    ),
    Fault(
        "region: reserved bits of Required",
        lambda: regions(BAT, pack_region_entry(METADATA_GUID, 2 * MIB, MIB, 3)),
        {"region_table.reserved"},
        SAFE,
    ),
    Fault(
        "region: twice",
        lambda: regions(BAT, METADATA, METADATA),
        {"region.duplicate", "region.overlap"},
        NEVER,
        OPEN,
    ),
    Fault(
        "region: offset unaligned",
        lambda: regions(BAT, METADATA, pack_region_entry(STRANGE, 9 * MIB + 512, MIB, 0)),
        {"region.place", "region.unknown"},
        NEVER,
        OPEN,
    ),
    Fault(
        "region: in the header section",
        lambda: regions(BAT, METADATA, pack_region_entry(STRANGE, 0, MIB, 0)),
        {"region.place", "region.unknown", "region.overlap"},
        NEVER,
        OPEN,
    ),
    Fault(
        "region: no length",
        lambda: regions(BAT, METADATA, pack_region_entry(STRANGE, 9 * MIB, 0, 0)),
        {"region.place", "region.unknown"},
        NEVER,
        OPEN,
    ),
    Fault(
        "region: length unaligned",
        lambda: regions(BAT, METADATA, pack_region_entry(STRANGE, 9 * MIB, 512, 0)),
        {"region.place", "region.unknown"},
        NEVER,
        OPEN,
    ),
    Fault(
        "region: over 256 TiB",
        lambda: regions(BAT, METADATA, pack_region_entry(STRANGE, 257 * TIB, MIB, 0)),
        {"region.place", "region.unknown"},
        NEVER,
        OPEN,
    ),
    Fault(
        "region: over the log",
        lambda: regions(BAT, METADATA, pack_region_entry(STRANGE, MIB, MIB, 0)),
        {"region.overlap", "region.unknown"},
        NEVER,
        OPEN,
    ),
    Fault(
        "region: over another",
        lambda: regions(BAT, METADATA, pack_region_entry(STRANGE, 2 * MIB, 2 * MIB, 0)),
        {"region.overlap", "region.unknown"},
        NEVER,
        OPEN,
    ),
    Fault(
        "region: metadata behind the end",
        lambda: regions(BAT, pack_region_entry(METADATA_GUID, BEHIND, MIB)),
        {"region.past_end", "metadata.table"},
        NEVER,
        OPEN,
    ),
    Fault(
        "region: optional one behind the end",
        lambda: regions(BAT, METADATA, pack_region_entry(STRANGE, BEHIND, MIB, 0)),
        {"region.unknown_past_end", "region.unknown"},
        NEVER,
        NOWHERE,
        WRITE,
    ),
    Fault("region: no BAT", lambda: regions(METADATA), {"region.missing"}, NEVER, OPEN),
    Fault("region: no metadata", lambda: regions(BAT), {"region.missing"}, NEVER, OPEN),
    Fault(
        "region: unknown and required",
        lambda: dynamic(regions={"strange": Region(guid=STRANGE, required=1)}),
        {"region.unknown_required"},
        NEVER,
        OPEN,
    ),
    Fault(
        "region: unknown",
        lambda: dynamic(regions={"strange": Region(guid=STRANGE)}),
        {"region.unknown"},
        NEEDLESS,
    ),
    Fault("region: not required", lambda: dynamic(region_required=0), {"region.not_required"}, NEEDLESS),
]
