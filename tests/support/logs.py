"""Contents of logs: descriptors, entries, and a ring in which entries are placed, right or wrong.

Nothing here knows what the logged sectors mean. A field left `None` is computed as a right writer would
compute it; any other value is written as given, and the checksum is made to fit unless it is given too.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from uuid import UUID, uuid5

from .layout import (
    DATA_DESCRIPTOR,
    DATA_SECTOR,
    LOG_ENTRY,
    MIB,
    SECTOR,
    ZERO_DESCRIPTOR,
    ZERO_GUID,
    Value,
    seal,
)


def _given(**values: Value | None) -> dict[str, Value]:
    return {name: value for name, value in values.items() if value is not None}


@dataclass
class Data:
    """A data descriptor together with its data sector: 4096 bytes for `file_offset`."""

    file_offset: int
    sector: bytes
    signature: bytes | None = None
    sequence_number: int | None = None
    data_signature: bytes | None = None
    sequence_high: int | None = None
    sequence_low: int | None = None

    def descriptor(self, sequence_number: int) -> bytes:
        """The 32 bytes of the descriptor in an entry of that number."""
        values = _given(
            signature=b"desc",
            trailing_bytes=self.sector[4092:4096],
            leading_bytes=self.sector[:8],
            file_offset=self.file_offset,
            sequence_number=sequence_number,
        )
        values |= _given(signature=self.signature, sequence_number=self.sequence_number)
        return DATA_DESCRIPTOR.pack(values)

    def data(self, sequence_number: int) -> bytes:
        """The 4096 bytes of the data sector in an entry of that number."""
        values = _given(
            signature=b"data",
            sequence_high=sequence_number >> 32,
            data=self.sector[8:4092],
            sequence_low=sequence_number & 0xFFFFFFFF,
        )
        values |= _given(
            signature=self.data_signature, sequence_high=self.sequence_high, sequence_low=self.sequence_low
        )
        return DATA_SECTOR.pack(values)


@dataclass
class Zero:
    """A zero descriptor: `length` zero bytes for `file_offset`."""

    file_offset: int
    length: int
    signature: bytes | None = None
    reserved: int | None = None
    sequence_number: int | None = None

    def descriptor(self, sequence_number: int) -> bytes:
        """The 32 bytes of the descriptor in an entry of that number."""
        values = _given(
            signature=b"zero",
            zero_length=self.length,
            file_offset=self.file_offset,
            sequence_number=sequence_number,
        )
        values |= _given(
            signature=self.signature, reserved=self.reserved, sequence_number=self.sequence_number
        )
        return ZERO_DESCRIPTOR.pack(values)

    def data(self, sequence_number: int) -> bytes:
        """Nothing: a zero descriptor has no data sector, but it is asked like one that has."""
        return b""


@dataclass
class Entry:
    """One log entry; `padding` stands behind the last data sector and belongs to the entry."""

    descriptors: Sequence[Data | Zero] = ()
    sequence_number: int = 1
    tail: int = 0
    log_guid: UUID = ZERO_GUID
    flushed_file_offset: int = 0
    last_file_offset: int = 0
    signature: bytes | None = None
    entry_length: int | None = None
    descriptor_count: int | None = None
    reserved: int | None = None
    checksum: int | None = None
    padding: bytes = b""

    def pack(self) -> bytes:
        """The linear bytes of the entry, always whole sectors."""
        number = self.sequence_number
        table = b"".join(item.descriptor(number) for item in self.descriptors)
        head_sectors = -(-(LOG_ENTRY.size + len(table)) // SECTOR)
        body = table.ljust(head_sectors * SECTOR - LOG_ENTRY.size, b"\0")
        body += b"".join(item.data(number) for item in self.descriptors) + self.padding
        body = body.ljust(-(-(LOG_ENTRY.size + len(body)) // SECTOR) * SECTOR - LOG_ENTRY.size, b"\0")
        values = _given(
            signature=b"loge",
            entry_length=LOG_ENTRY.size + len(body),
            tail=self.tail,
            sequence_number=number,
            descriptor_count=len(self.descriptors),
            log_guid=self.log_guid,
            flushed_file_offset=self.flushed_file_offset,
            last_file_offset=self.last_file_offset,
        )
        values |= _given(
            signature=self.signature,
            entry_length=self.entry_length,
            descriptor_count=self.descriptor_count,
            reserved=self.reserved,
        )
        return seal(LOG_ENTRY.pack(values) + body, self.checksum)


def session_guid(seed: int) -> UUID:
    """A log GUID that is the same in each run of the tests."""
    return uuid5(ZERO_GUID, f"log {seed}")


@dataclass
class LogBuilder:
    """A ring of `length` bytes, filled entry by entry from `position` on.

    `guid` and `sequence_number` are those of the next entry, and the two file offsets its defaults; all may
    be changed between entries. A ring with an entry gives its GUID to the headers of the image it is put in.
    """

    length: int = MIB
    guid: UUID = field(default_factory=lambda: session_guid(1))
    sequence_number: int = 1
    position: int = 0
    flushed_file_offset: int = 0
    last_file_offset: int = 0
    placed: list[tuple[int, bytes]] = field(default_factory=list)

    def add(self, *descriptors: Data | Zero, tail: int | None = None) -> int:
        """Place a right entry and return its ring offset; without `tail` it names itself as the tail."""
        at = self.position
        entry = Entry(
            descriptors=descriptors,
            sequence_number=self.sequence_number,
            tail=at if tail is None else tail,
            log_guid=self.guid,
            flushed_file_offset=self.flushed_file_offset,
            last_file_offset=self.last_file_offset,
        )
        return self.place(entry)

    def place(self, entry: Entry) -> int:
        """Place an entry as it is and return its ring offset; the next one is numbered after it."""
        at = self.position
        packed = entry.pack()
        self.put(at, packed)
        self.position = (at + len(packed)) % self.length
        self.sequence_number = entry.sequence_number + 1
        return at

    def put(self, ring_offset: int, data: bytes) -> None:
        """Write raw bytes into the ring; what passes the end goes on at the start."""
        at = ring_offset % self.length
        while data:
            part = data[: self.length - at]
            self.placed.append((at, part))
            data = data[len(part) :]
            at = 0

    def pieces(self) -> Iterator[tuple[int, bytes]]:
        """What is not zero in the ring, as (ring offset, bytes); later pieces win over earlier ones."""
        yield from self.placed

    def contents(self) -> bytes:
        """The whole ring."""
        ring = bytearray(self.length)
        for at, data in self.placed:
            ring[at : at + len(data)] = data
        return bytes(ring)


def sectors(file_offset: int, data: bytes) -> list[Data]:
    """Descriptors that write `data` at `file_offset`, both multiples of 4096."""
    if file_offset % SECTOR or len(data) % SECTOR:
        raise ValueError("only whole sectors are logged")
    return [Data(file_offset + at, data[at : at + SECTOR]) for at in range(0, len(data), SECTOR)]


def difference(before: bytes, after: bytes, start: int = 0, end: int | None = None) -> list[Data]:
    """Descriptors that turn the file `before` into the file `after`, between two file offsets."""
    until = len(after) if end is None else end
    return [
        Data(at, after[at : at + SECTOR].ljust(SECTOR, b"\0"))
        for at in range(start - start % SECTOR, until, SECTOR)
        if before[at : at + SECTOR] != after[at : at + SECTOR]
    ]
