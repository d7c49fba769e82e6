"""Entries of the log: the vectors of the reference, and what the independent builder packs."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.layout import MIB, SECTOR, seal
from tests.support.logs import Data, Entry, Zero
from vhdx.format import checksum, log
from vhdx.format.log import DataDescriptor, EntryHeader, ZeroDescriptor
from vhdx.journal.replay import changes
from vhdx.journal.ring import Ring
from vhdx.journal.scan import active_sequence

GUID = UUID("e6fc743c-81ed-4fe8-bf54-698ed57ba0b8")
# [IMG DiscUtils__vhdx-log-replay], format reference 20
EMPTY = bytes.fromhex(
    "6c6f676591898df0001000000000000053e53f0664a21c010000000000000000"
    "3c74fce6ed81e84fbf54698ed57ba0b800004000000000000000400000000000"
).ljust(4096, b"\0")
HEAD = bytes.fromhex(
    "6c6f67659fb167a9002000000050000057e53f0664a21c010100000000000000"
    "3c74fce6ed81e84fbf54698ed57ba0b800004002000000000000400200000000"
    "6465736300000000060040000000000000003000000000" + "0057e53f0664a21c01"
).ljust(4096, b"\0")
DATA = bytearray(4096)
DATA[:8] = bytes.fromhex("6461746164a21c01")
DATA[24] = DATA[72] = DATA[248] = 2
DATA[-4:] = bytes.fromhex("57e53f06")


def test_the_empty_entry_of_the_reference() -> None:
    header = log.unpack_entry_header(EMPTY)
    assert header == EntryHeader(
        b"loge", 0xF08D8991, 4096, 0, 0x011CA264063FE553, 0, 0, GUID.bytes_le, 4 * MIB, 4 * MIB
    )
    assert checksum.structure_checksum(EMPTY) == 0xF08D8991
    assert log.pack_entry_header(header) == EMPTY[:64]


def test_the_head_entry_of_the_reference() -> None:
    header = log.unpack_entry_header(HEAD)
    assert (header.sequence_number, header.tail, header.entry_length) == (0x011CA264063FE557, 0x5000, 0x2000)
    assert checksum.structure_checksum(HEAD + bytes(DATA)) == header.checksum == 0xA967B19F
    (descriptor,) = log.unpack_descriptors(HEAD[64:96])
    assert isinstance(descriptor, DataDescriptor)
    assert (descriptor.file_offset, descriptor.sequence_number) == (3 * MIB, header.sequence_number)
    assert log.data_sector_sequence(bytes(DATA)) == header.sequence_number
    sector = log.restored_sector(descriptor, bytes(DATA))
    words = {n: int.from_bytes(sector[8 * n : 8 * n + 8], "little") for n in range(512)}
    assert {n: word for n, word in words.items() if word} == {0: 0x400006, 3: 2, 9: 2, 31: 2}


def test_the_entries_of_the_reference_are_found_in_a_ring() -> None:
    log_bytes = bytes(0x5000) + HEAD + bytes(DATA) + bytes(MIB - 0x7000)  # where its tail says that it begins
    ring = Ring(MIB, MIB, lambda length, at: log_bytes[at - MIB :][:length])
    sequence = active_sequence(ring, GUID.bytes_le)
    assert sequence is not None
    assert sequence.positions == (0x5000,)
    assert [change.file_offset for change in changes(ring, sequence)] == [3 * MIB]


NUMBERS = st.integers(1, 2**64 - 1)


@given(NUMBERS, st.binary(min_size=12, max_size=12), st.integers(0, 2**50), st.integers(0, 2**40))
def test_descriptors_and_data_sectors_as_the_builder_packs_them(
    number: int, ends: bytes, target: int, length: int
) -> None:
    sector = ends[:8] + bytes(range(256)) * 15 + bytes(244) + ends[8:]
    data, zeros = Data(target, sector), Zero(target, length)
    packed = data.descriptor(number) + zeros.descriptor(number)
    assert list(log.unpack_descriptors(packed)) == [
        DataDescriptor(target, ends[:8], ends[8:], number),
        ZeroDescriptor(target, length, number),
    ]
    assert log.data_sector_sequence(data.data(number)) == number
    descriptor = DataDescriptor(target, ends[:8], ends[8:], number)
    assert log.restored_sector(descriptor, data.data(number)) == sector


def test_malformed_descriptors_are_none_and_keep_their_place() -> None:
    sound = Zero(MIB, SECTOR).descriptor(1)
    malformed = [bytes(32), b"desk" + sound[4:], Zero(MIB, SECTOR, reserved=1).descriptor(1)]
    found = list(log.unpack_descriptors(sound + b"".join(malformed) + sound))
    assert [descriptor is None for descriptor in found] == [False, True, True, True, False]


@pytest.mark.parametrize("sector", [bytes(4096), b"atad" + bytes(4092)])
def test_a_data_sector_has_its_signature(sector: bytes) -> None:
    assert log.data_sector_sequence(sector) is None


@pytest.mark.parametrize(
    ("descriptors", "sectors"),
    [(0, 1), (1, 1), (126, 1), (127, 2), (254, 2), (255, 3), (2**32 - 1, 2**25 + 1)],
)
def test_how_many_sectors_descriptors_take(descriptors: int, sectors: int) -> None:
    assert log.descriptor_sector_count(descriptors) == sectors


@given(NUMBERS, st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1))
def test_entry_headers_come_back_as_they_were(number: int, tail: int, flushed: int) -> None:
    packed = Entry((), number, tail, GUID, flushed, 7).pack()
    header = log.unpack_entry_header(packed)
    assert (header.sequence_number, header.tail, header.flushed_file_offset, header.last_file_offset) == (
        number,
        tail,
        flushed,
        7,
    )
    assert log.pack_entry_header(header) == packed[:64]
    assert seal(packed) == packed
