"""What can be wrong with the log."""

from tests.examine.fault import (
    LOSS,
    NEVER,
    OPEN,
    SAFE,
    STRANGE,
    Fault,
    dirty,
    dynamic,
    logged_payload,
    sector,
)
from tests.support.layout import (
    KIB,
    MIB,
    SECTOR,
    TIB,
)
from tests.support.logs import Data, Entry

LOG_FAULTS = [
    Fault("log: dirty", dirty, {"log.dirty"}, SAFE),
    Fault("log: GUID without entries", lambda: dynamic(log_guid=STRANGE), {"log.no_sequence"}, LOSS, OPEN),
    Fault("log: entry checksum", lambda: dirty(Entry(checksum=1)), {"log.no_sequence"}, LOSS, OPEN),
    Fault("log: entry signature", lambda: dirty(Entry(signature=b"lage")), {"log.no_sequence"}, LOSS, OPEN),
    Fault(
        "log: entry length", lambda: dirty(Entry(entry_length=SECTOR + 512)), {"log.no_sequence"}, LOSS, OPEN
    ),
    Fault(
        "log: entry too short",
        lambda: dirty(Entry(sector(dynamic()), entry_length=SECTOR)),
        {"log.no_sequence"},
        LOSS,
        OPEN,
    ),
    Fault("log: descriptor count", lambda: dirty(Entry(descriptor_count=1)), {"log.no_sequence"}, LOSS, OPEN),
    Fault("log: tail outside", lambda: dirty(Entry(tail=MIB)), {"log.no_sequence"}, LOSS, OPEN),
    Fault("log: tail is no entry", lambda: dirty(Entry(tail=8 * SECTOR)), {"log.no_sequence"}, LOSS, OPEN),
    Fault(
        "log: descriptor signature",
        lambda: dirty(Entry([Data(4 * MIB, bytes(SECTOR), signature=b"dasc")])),
        {"log.no_sequence"},
        LOSS,
        OPEN,
    ),
    Fault(
        "log: descriptor sequence",
        lambda: dirty(Entry([Data(4 * MIB, bytes(SECTOR), sequence_number=9)])),
        {"log.no_sequence"},
        LOSS,
        OPEN,
    ),
    Fault(
        "log: data sector sequence",
        lambda: dirty(Entry([Data(4 * MIB, bytes(SECTOR), sequence_low=9)])),
        {"log.no_sequence"},
        LOSS,
        OPEN,
    ),
    Fault(
        "log: target in a header",
        lambda: dirty(Entry(sector(dynamic(), 64 * KIB))),
        {"log.no_sequence"},
        LOSS,
        OPEN,
    ),
    Fault(
        "log: target in the log",
        lambda: dirty(Entry(sector(dynamic(), MIB + 512 * KIB))),
        {"log.no_sequence"},
        LOSS,
        OPEN,
    ),
    Fault(
        "log: file was cut",
        lambda: dirty(Entry(flushed_file_offset=7 * MIB, last_file_offset=7 * MIB)),
        {"log.file_truncated", "log.dirty"},
        LOSS,
        OPEN,
    ),
    Fault(
        "log: growth",
        lambda: dirty(Entry(last_file_offset=257 * TIB)),
        {"log.growth", "log.dirty"},
        NEVER,
        OPEN,
    ),
    Fault("log: reserved field", lambda: dirty(Entry(reserved=1)), {"log.reserved", "log.dirty"}, SAFE),
    Fault(
        "log: broken middle",
        lambda: dirty(Entry(), Entry(checksum=1), Entry(tail=0)),
        {"log.broken", "log.dirty"},
        SAFE,
    ),
    Fault("log: torn end", lambda: dirty(Entry(), Entry(checksum=1)), {"log.torn", "log.dirty"}, SAFE),
    Fault(
        "log: sizes unaligned",
        lambda: dirty(Entry(flushed_file_offset=MIB + 512)),
        {"log.unaligned_size", "log.dirty"},
        SAFE,
    ),
    Fault("log: target in a block", logged_payload, {"log.payload", "log.dirty"}, SAFE),
]
