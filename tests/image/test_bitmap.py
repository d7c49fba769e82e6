"""Runs of bits, against a twin that looks at one bit after the other."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vhdx.image.bitmap import BitRun, bit_runs


def naive_bits(data: bytes, first: int, count: int) -> list[bool]:
    return [bool(data[bit >> 3] >> (bit & 7) & 1) for bit in range(first, first + count)]


def bits_of(runs: Iterator[BitRun], first: int) -> list[bool]:
    """The bits that runs stand for; they must follow each other."""
    bits: list[bool] = []
    for run in runs:
        assert run.first_bit == first + len(bits)
        assert run.bit_count > 0
        bits += [run.is_set] * run.bit_count
    return bits


class Reader:
    """Bytes that refuse to be read past their end, and remember how much was read."""

    def __init__(self, data: bytes) -> None:
        self.data, self.read = data, 0

    def __call__(self, length: int, offset: int) -> bytes:
        assert offset >= 0
        assert offset + length <= len(self.data), "read past the end of the bitmap"
        self.read += length
        return self.data[offset : offset + length]


PIECES = st.lists(
    st.tuples(st.sampled_from([b"\0", b"\xff", b"\x55", b"\x01", b"\x80", b"\xfe"]), st.integers(1, 700)),
    max_size=8,
)


@given(PIECES, st.binary(max_size=20), st.data())
def test_runs_are_the_bits(pieces: list[tuple[bytes, int]], tail: bytes, data: st.DataObject) -> None:
    bitmap = b"".join(byte * count for byte, count in pieces) + tail
    first = data.draw(st.integers(0, len(bitmap) * 8))
    count = data.draw(st.integers(0, len(bitmap) * 8 - first))
    assert bits_of(bit_runs(Reader(bitmap), first, count), first) == naive_bits(bitmap, first, count)


@pytest.mark.parametrize("first", [0, 1, 7, 8, 4095, 4096, 4097])
@pytest.mark.parametrize("count", [0, 1, 2, 7, 8, 9, 4095, 4096, 4097, 9000])
@pytest.mark.parametrize("byte", [0, 0xFF, 0x0F, 0xAA])
def test_runs_at_the_borders_of_pieces(first: int, count: int, byte: int) -> None:
    bitmap = bytes([byte]) * 2000
    assert bits_of(bit_runs(Reader(bitmap), first, count), first) == naive_bits(bitmap, first, count)


@pytest.mark.parametrize("bit", range(16))
def test_the_least_significant_bit_comes_first(bit: int) -> None:
    bitmap = (1 << bit).to_bytes(2, "little")
    set_ones = [run.first_bit for run in bit_runs(Reader(bitmap), 0, 16) if run.is_set]
    assert set_ones == [bit]


@pytest.mark.parametrize("byte", [b"\0", b"\xff"])
def test_a_uniform_bitmap_is_a_run_for_each_piece_and_each_byte_is_read_once(byte: bytes) -> None:
    source = Reader(byte * (1 << 17))
    runs = list(bit_runs(source, 0, 1 << 20))
    assert len(runs) <= 1 << 8
    assert source.read == 1 << 17


def test_nothing_is_read_before_it_is_needed() -> None:
    source = Reader(b"\x01" * (1 << 17))
    next(bit_runs(source, 0, 1 << 20))
    assert source.read <= 512
