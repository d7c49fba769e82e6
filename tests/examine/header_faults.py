"""What can be wrong with the file identifier and the headers."""

from tests.examine.fault import (
    BEHIND,
    NEEDLESS,
    NEVER,
    NOWHERE,
    OPEN,
    REBUILD,
    SAFE,
    STRANGE,
    Fault,
    both,
    dirty,
    dynamic,
)
from tests.support.layout import (
    KIB,
    MIB,
    SECTOR,
)
from tests.support.parts import Header

IDENTIFIER_FAULTS = [
    Fault(
        "identifier: signature",
        lambda: dynamic(identifier_signature=b"vhdxfilE"),
        {"identifier.signature"},
        SAFE,
        OPEN,
    ),
]

HEADER_FAULTS = [
    *(
        Fault(f"header {n}: {what}", make, {"header.damaged"}, SAFE)
        for n in (1, 2)
        for what, make in (
            ("signature", lambda n=n: dynamic(headers={n: Header(signature=b"daeh")})),
            ("checksum", lambda n=n: dynamic(headers={n: Header(checksum=1)})),
            ("zeros", lambda n=n: dynamic(headers={n: Header(raw=bytes(SECTOR))})),
        )
    ),
    Fault("headers: both damaged", lambda: dynamic(headers=both(checksum=1)), {"header.none"}, REBUILD, OPEN),
    Fault(
        "headers: tie",
        lambda: dynamic(sequence_numbers=(9, 9), headers={2: Header(file_write_guid=STRANGE)}),
        {"header.tie"},
        NEVER,
        OPEN,
    ),
    Fault("headers: twins", lambda: dynamic(sequence_numbers=(1, 1)), {"header.twins"}, NEEDLESS),
    Fault(
        "header: version",
        lambda: dynamic(headers=both(version=2)),
        {"header.version", "header.noncurrent"},
        NEVER,
        OPEN,
    ),
    Fault(
        "noncurrent header: version",
        lambda: dynamic(headers={1: Header(version=0)}),
        {"header.noncurrent"},
        SAFE,
    ),
    Fault(
        "noncurrent header: log offset",
        lambda: dynamic(headers={1: Header(log_offset=MIB + 512)}),
        {"header.noncurrent"},
        SAFE,
    ),
    Fault(
        "header: version of a log that is not empty",
        lambda: dirty(headers=both(log_version=1)),
        {"header.log_version", "header.noncurrent"},
        NEVER,
        OPEN,
    ),
    Fault(
        "header: version of an empty log",
        lambda: dynamic(headers=both(log_version=1)),
        {"header.reserved"},
        SAFE,
    ),
    Fault(
        "header: log offset unaligned",
        lambda: dynamic(headers={2: Header(log_offset=MIB + 512)}),
        {"header.log_place", "region.overlap"},
        NEVER,
        OPEN,
    ),
    Fault(
        "header: log length unaligned",
        lambda: dynamic(headers={2: Header(log_length=MIB - 512)}),
        {"header.log_place"},
        NEVER,
        OPEN,
    ),
    Fault(
        "header: log in the header section",
        lambda: dynamic(headers={2: Header(log_offset=0)}),
        {"header.log_place", "region.overlap"},
        NEVER,
        OPEN,
    ),
    Fault(
        "header: log behind the end",
        lambda: dynamic(headers={2: Header(log_offset=BEHIND)}),
        {"header.log_place"},
        NEVER,
        OPEN,
    ),
    Fault(
        "header: log without length, but not empty",
        lambda: dynamic(headers={2: Header(log_length=0, log_guid=STRANGE)}),
        {"header.log_place"},
        NEVER,
        OPEN,
    ),
    Fault(
        "header: no log", lambda: dynamic(headers=both(log_length=0)), {"space.leaked"}, NEVER, NOWHERE, OPEN
    ),
    Fault("header: reserved bytes", lambda: dynamic(headers=both(reserved=b"\1")), {"header.reserved"}, SAFE),
    Fault(
        "header section: reserved space",
        lambda: dynamic(patches=[(70 * KIB, b"here")]),
        {"header_section.reserved"},
        NEEDLESS,
    ),
]
