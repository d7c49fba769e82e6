"""What can be wrong with the metadata."""

from functools import partial

from tests.examine.fault import (
    LOCATOR,
    NEEDLESS,
    NEVER,
    OPEN,
    SAFE,
    SIZE,
    STRANGE,
    Fault,
    child,
    dynamic,
    item,
    no_items,
    parameters,
    users,
)
from tests.support.layout import (
    KIB,
    MIB,
    TIB,
    ZERO_GUID,
)
from tests.support.parts import Item, MetadataTable

METADATA_FAULTS = [
    Fault(
        "metadata: signature",
        lambda: dynamic(metadata_table=MetadataTable(signature=b"metadatA")),
        {"metadata.table"},
        NEVER,
        OPEN,
    ),
    Fault(
        "metadata: count",
        lambda: dynamic(metadata_table=MetadataTable(entry_count=2048)),
        {"metadata.count"},
        NEVER,
        OPEN,
    ),
    Fault(
        "metadata: too many user items", lambda: dynamic(items=users(1025)), {"metadata.count"}, NEVER, OPEN
    ),
    Fault(
        "metadata: item twice",
        lambda: dynamic(items=users(2, item_id=STRANGE)),
        {"metadata.duplicate"},
        NEVER,
        OPEN,
    ),
    Fault(
        "metadata: an id of zeros",
        lambda: dynamic(items=users(2, item_id=ZERO_GUID)),
        {"metadata.nameless"},
        SAFE,
    ),
    Fault(
        "metadata: a row of zeros",
        lambda: dynamic(items={"nothing": Item(value=b"", item_id=ZERO_GUID, offset=0, flags=0)}),
        {"metadata.nameless"},
        SAFE,
    ),
    Fault(
        "metadata: an id of zeros that is required",
        lambda: dynamic(items={"nothing": Item(value=b"x" * 16, item_id=ZERO_GUID, flags=4)}),
        {"metadata.nameless", "metadata.unknown_required"},
        NEVER,
        OPEN,
    ),
    Fault(
        "metadata: item in the table",
        lambda: dynamic(items=users(1, offset=512)),
        {"metadata.place"},
        NEVER,
        OPEN,
    ),
    Fault(
        "metadata: item behind the region",
        lambda: dynamic(items=users(1, offset=MIB)),
        {"metadata.place"},
        NEVER,
        OPEN,
    ),
    Fault(
        "metadata: item over 1 MiB",
        lambda: dynamic(items=users(1, length=MIB + 1)),
        {"metadata.place"},
        NEVER,
        OPEN,
    ),
    Fault(
        "metadata: empty item with an offset",
        lambda: dynamic(items=users(1, length=0)),
        {"metadata.place"},
        NEVER,
        OPEN,
    ),
    Fault(
        "metadata: items overlap",
        lambda: dynamic(items=users(1, offset=64 * KIB, data_offset=512 * KIB)),
        {"metadata.overlap"},
        NEVER,
        OPEN,
    ),
    Fault(
        "metadata: unknown required item",
        lambda: dynamic(items={"x": Item(value=b"x", flags=4)}),
        {"metadata.unknown_required"},
        NEVER,
        OPEN,
    ),
    Fault(
        "metadata: unknown item",
        lambda: dynamic(items={"x": Item(value=b"x", flags=2)}),
        {"metadata.unknown"},
        NEEDLESS,
    ),
    Fault(
        "metadata: incomplete file",
        lambda: dynamic(items={"incomplete_file": Item(value=b"", flags=4)}),
        {"metadata.incomplete_file"},
        NEVER,
        OPEN,
    ),
    *(
        Fault(f"metadata: no {name}", partial(no_items, name), {"metadata.missing"}, NEVER, OPEN)
        for name in (
            "file_parameters",
            "virtual_disk_size",
            "virtual_disk_id",
            "logical_sector_size",
            "physical_sector_size",
        )
    ),
    Fault(
        "metadata: item length", lambda: item("virtual_disk_size", SIZE, 9), {"metadata.length"}, NEVER, OPEN
    ),
    Fault(
        "metadata: flags of a known item",
        lambda: dynamic(items={"virtual_disk_size": Item(flags=2)}),
        {"metadata.flags"},
        SAFE,
    ),
    Fault(
        "metadata: reserved bits of flags",
        lambda: dynamic(items={"x": Item(value=b"x", flags=1 | 64)}),
        {"metadata.reserved"},
        SAFE,
    ),
    Fault(
        "metadata: reserved field of an entry",
        lambda: dynamic(items={"virtual_disk_id": Item(reserved2=1)}),
        {"metadata.reserved"},
        SAFE,
    ),
    Fault(
        "metadata: reserved field of the table",
        lambda: dynamic(metadata_table=MetadataTable(reserved=1)),
        {"metadata.reserved"},
        SAFE,
    ),
    Fault(
        "metadata: reserved bytes of the table",
        lambda: dynamic(metadata_table=MetadataTable(reserved2=b"\0" * 19 + b"\1")),
        {"metadata.reserved"},
        SAFE,
    ),
    *(
        Fault(f"block size {size}", partial(parameters, size, 0), {"metadata.block_size"}, NEVER, OPEN)
        for size in (0, MIB // 2, 3 * MIB, 512 * MIB)
    ),
    Fault(
        "file parameters: reserved flags",
        lambda: parameters(MIB, 0x10),
        {"metadata.file_parameter_flags"},
        SAFE,
    ),
    *(
        Fault(
            f"disk size {size}",
            partial(item, "virtual_disk_size", size, 8),
            {"metadata.disk_size"},
            NEVER,
            OPEN,
        )
        for size in (0, SIZE + 1, 64 * TIB + 512)
    ),
    Fault(
        "logical sector size",
        lambda: item("logical_sector_size", 1024, 4),
        {"metadata.logical_sector_size"},
        NEVER,
        OPEN,
    ),
    Fault(
        "physical sector size",
        lambda: item("physical_sector_size", 0, 4),
        {"metadata.physical_sector_size"},
        NEVER,
        OPEN,
    ),
    Fault(
        "locator: missing",
        lambda: child(items={"parent_locator": Item(omit=True)}),
        {"locator.missing"},
        NEVER,
        OPEN,
    ),
    Fault(
        "locator: type",
        lambda: child(items={"parent_locator": Item(value=bytes(20))}),
        {"locator.type"},
        NEVER,
        OPEN,
    ),
    Fault(
        "locator: key twice",
        lambda: child(locator=[*LOCATOR.items(), *LOCATOR.items()]),
        {"locator.entry"},
        NEVER,
        OPEN,
    ),
    Fault(
        "locator: no linkage", lambda: child(locator={"relative_path": "x"}), {"locator.linkage"}, NEVER, OPEN
    ),
    Fault(
        "locator: no path",
        lambda: child(locator={"parent_linkage": f"{{{STRANGE}}}"}),
        {"locator.no_path"},
        NEVER,
        OPEN,
    ),
    Fault(
        "locator: in an image without a parent",
        lambda: dynamic(items={"parent_locator": Item(value=bytes(20), flags=4)}),
        {"locator.unused"},
        NEEDLESS,
    ),
    Fault(
        "locator: form of a path",
        lambda: child(locator={**LOCATOR, "absolute_win32_path": "C:\\x"}),
        {"locator.path_form"},
        NEEDLESS,
        OPEN,
    ),
]
