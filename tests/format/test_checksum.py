"""CRC-32C and the sealing of structures."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import layout
from vhdx.format import checksum

VECTORS = [
    (b"", 0),
    (b"123456789", 0xE3069283),
    (bytes(32), 0x8A9136AA),
    (b"\xff" * 32, 0x62A8AB43),
    (bytes(range(32)), 0x46DD794E),
    (bytes(4096), 0x98F94189),
    (bytes(65536), 0x72C0C4A4),
]


def naive_crc(data: bytes) -> int:
    """Bit by bit, with the reflected polynomial of the reference."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


@pytest.mark.parametrize(
    ("data", "crc"), VECTORS, ids=lambda value: f"{value:#x}" if isinstance(value, int) else str(len(value))
)
def test_the_vectors_of_the_reference(data: bytes, crc: int) -> None:
    assert checksum.crc32c(data) == crc


@given(st.binary(max_size=300), st.integers(0, 300))
def test_a_checksum_in_pieces_is_that_of_the_whole(data: bytes, cut: int) -> None:
    assert checksum.crc32c(data[cut:], checksum.crc32c(data[:cut])) == naive_crc(data)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_kind_of_bytes_is_taken(kind: type) -> None:
    assert checksum.crc32c(kind(b"123456789")) == 0xE3069283


@given(st.binary(min_size=8, max_size=200))
def test_a_sealed_structure_states_its_own_checksum(data: bytes) -> None:
    sealed = checksum.sealed(data)
    assert sealed == layout.seal(data)
    assert sealed[:4] + sealed[8:] == data[:4] + data[8:]
    assert (
        checksum.stored_checksum(sealed)
        == checksum.structure_checksum(sealed)
        == naive_crc(data[:4] + bytes(4) + data[8:])
    )
