"""jbd2 journals made by hand, and what a disk holds after them: nothing here is shared with the reader."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import google_crc32c

if TYPE_CHECKING:
    from collections.abc import Iterable

BLOCK = 1024
MAGIC = b"\xc0\x3b\x39\x98"
UUID = bytes(range(16))
DISK_BLOCKS = 300
PLAIN, V1, V2, V3 = "plain", "v1", "v2", "v3"


class Transaction(NamedTuple):
    """Writes in order, and the blocks that it revokes."""

    writes: tuple[tuple[int, bytes], ...] = ()
    revokes: tuple[int, ...] = ()


@dataclass
class Journal:
    """The bytes of a journal's blocks. ``cursor`` is where the next block goes."""

    checksums: str = V3
    wide: bool = True
    length: int = 60
    first: int = 1
    start: int = 1
    sequence: int = 7
    tags_in_block: int = 5
    blocks: dict[int, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.cursor, self.next_sequence = self.start, self.sequence
        self.kinds: dict[str, list[int]] = {"descriptor": [], "data": [], "revoke": [], "commit": []}

    @property
    def seed(self) -> int:
        return raw(0xFFFFFFFF, UUID)

    def superblock(self, **changes: int) -> bytes:
        """Fields by their names; the checksum is right whatever they are, unless it is given."""
        incompat = 1 | (2 if self.wide else 0) | {V2: 8, V3: 16}.get(self.checksums, 0)
        values = {
            "magic": 0xC03B3998, "kind": 4, "block_size": BLOCK, "length": self.length, "first": self.first,
            "sequence": self.sequence, "start": self.start, "errno": 0, "compat": self.checksums == V1,
            "incompat": incompat, "ro_compat": 0, "checksum_type": 4, **changes,
        }  # fmt: skip
        block = bytearray(BLOCK)
        struct.pack_into(
            ">12I", block, 0, values["magic"], values["kind"], 0, values["block_size"], values["length"],
            values["first"], values["sequence"], values["start"], values["errno"], values["compat"],
            values["incompat"], values["ro_compat"],
        )  # fmt: skip
        block[0x30:0x40] = UUID
        block[0x50] = values["checksum_type"]
        block[0xFC:0x100] = values.get("checksum", raw(0xFFFFFFFF, bytes(block))).to_bytes(4, "big")
        return bytes(block)

    def add(self, transaction: Transaction, *, commit: bool = True, seconds: int = 1000) -> None:
        """Descriptors with their blocks, revokes, and the commit block."""
        crc = 0xFFFFFFFF
        for begin in range(0, len(transaction.writes), self.tags_in_block):
            part = transaction.writes[begin : begin + self.tags_in_block]
            data = [bytes(4) + data[4:] if data[:4] == MAGIC else data for _, data in part]
            descriptor = self._descriptor(part, data)
            for block in (descriptor, *data):
                crc = crc32_msb_first(crc, block)
            self._put("descriptor", descriptor)
            for block in data:
                self._put("data", block)
        for begin in range(0, len(transaction.revokes), 3):
            self._put("revoke", self._revoke(transaction.revokes[begin : begin + 3]))
        if commit:
            self._put("commit", self._commit(crc, seconds))
            self.next_sequence = (self.next_sequence + 1) % 2**32

    def _put(self, kind: str, block: bytes) -> None:
        assert len(block) == BLOCK
        self.kinds[kind].append(self.cursor)
        self.blocks[self.cursor] = block
        self.cursor += 1
        if self.cursor == self.length:
            self.cursor = self.first

    def _head(self, kind: int) -> bytes:
        return MAGIC + struct.pack(">II", kind, self.next_sequence)

    def _descriptor(self, part: Iterable[tuple[int, bytes]], stored: list[bytes]) -> bytes:
        block, rows = self._head(1), list(part)
        for index, ((number, data), copy) in enumerate(zip(rows, stored, strict=True)):
            flags = (data[:4] == MAGIC) * 1 | (index > 0) * 2 | (index == len(rows) - 1) * 8
            checksum = raw(raw(self.seed, struct.pack(">I", self.next_sequence)), copy)
            low, high = number & 0xFFFFFFFF, number >> 32
            if self.checksums == V3:
                block += struct.pack(">IIII", low, flags, high, checksum)
            else:
                block += struct.pack(">IHH", low, checksum & 0xFFFF if self.checksums == V2 else 0, flags)
                block += struct.pack(">I", high) if self.wide else b""
                block += bytes(2) if self.checksums == V2 else b""
            block += UUID if index == 0 else b""
        return self.tailed(block)

    def _revoke(self, numbers: Iterable[int]) -> bytes:
        body = b"".join(number.to_bytes(8 if self.wide else 4, "big") for number in numbers)
        return self.tailed(self._head(5) + struct.pack(">I", 16 + len(body)) + body)

    def _commit(self, crc: int, seconds: int) -> bytes:
        block = bytearray(self._head(2) + bytes(BLOCK - 12))
        struct.pack_into(">QI", block, 0x30, seconds, 0)
        if self.checksums == V1:
            struct.pack_into(">BBxxI", block, 12, 1, 4, crc)
        if self.checksums in {V2, V3}:
            struct.pack_into(">I", block, 16, raw(self.seed, bytes(block)))
        return bytes(block)

    def tailed(self, block: bytes) -> bytes:
        """Filled up, with the checksum at its end where there are any."""
        block += bytes(BLOCK - len(block))
        if self.checksums not in {V2, V3}:
            return block
        return block[:-4] + raw(self.seed, block[:-4] + bytes(4)).to_bytes(4, "big")

    def damage(self, kind: str, number: int, at: int) -> None:
        """Flip a bit of the ``number``-th block of a kind."""
        position = self.kinds[kind][number]
        block = bytearray(self.blocks[position])
        block[at] ^= 1
        self.blocks[position] = bytes(block)


def places(length: int) -> list[int]:
    """Where the journal's blocks stand: here and there, in pieces of three."""
    return [100 + block // 3 * 4 + block % 3 for block in range(length)]


def disk(journal: Journal, superblock: bytes | None = None) -> bytearray:
    """A disk with a journal in it; each other block says which one it is."""
    image = bytearray(b"".join(number.to_bytes(4, "big") * (BLOCK // 4) for number in range(DISK_BLOCKS)))
    blocks = {**journal.blocks, 0: superblock or journal.superblock()}
    for position, place in enumerate(places(journal.length)):
        image[place * BLOCK : (place + 1) * BLOCK] = blocks.get(position, bytes(BLOCK))
    return image


def expected(image: bytes | bytearray, transactions: list[Transaction]) -> bytes:
    """The disk after all of them, in the obvious way."""
    after = bytearray(image)
    for number, transaction in enumerate(transactions):
        later = {block for other in transactions[number:] for block in other.revokes}
        for block, data in transaction.writes:
            if block not in later:
                after[block * BLOCK : (block + 1) * BLOCK] = data
    return bytes(after)


def raw(seed: int, data: bytes) -> int:
    return int(google_crc32c.extend(seed ^ 0xFFFFFFFF, data)) ^ 0xFFFFFFFF


def crc32_msb_first(crc: int, data: bytes) -> int:
    """CRC-32 bit by bit."""
    for byte in data:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ (0x04C11DB7 if crc & 0x80000000 else 0)) & 0xFFFFFFFF
    return crc
