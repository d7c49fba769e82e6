"""Bitmaps and runs against the obvious loops."""

import random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vhdx.filesystems.bits import clear_runs, set_bits
from vhdx.filesystems.crc import crc32_big_endian, raw_crc16_rows, raw_crc32c, raw_crc32c_rows
from vhdx.filesystems.runs import counts_between, joined, joined_chunks, overlapping, spans

BITS = st.lists(st.tuples(st.booleans(), st.sampled_from((1, 2, 7, 8, 9, 63, 64, 65, 200))), max_size=12)


def bits_of(parts: list[tuple[bool, int]]) -> list[bool]:
    return [bit for bit, count in parts for _ in range(count)]


def packed(bits: list[bool]) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    return np.packbits(np.array(bits, dtype=np.uint8), bitorder="little")


def naive_runs(bits: list[bool]) -> list[list[int]]:
    runs: list[list[int]] = []
    for place, bit in enumerate(bits):
        if not bit and runs and sum(runs[-1]) == place:
            runs[-1][1] += 1
        elif not bit:
            runs.append([place, 1])
    return runs


@given(BITS, st.integers(0, 100))
def test_runs_of_clear_bits(parts: list[tuple[bool, int]], cut: int) -> None:
    bits = bits_of(parts)
    count = max(0, len(bits) - cut)
    assert clear_runs(packed(bits), count).tolist() == naive_runs(bits[:count])


@given(BITS, st.integers(0, 300), st.integers(0, 300))
def test_bits_are_set(parts: list[tuple[bool, int]], first: int, count: int) -> None:
    bits = bits_of(parts)
    first, end = min(first, len(bits)), min(first + count, len(bits))
    bitmap = packed(bits)
    set_bits(bitmap, first, end)
    assert bitmap.tolist() == packed(bits[:first] + [True] * (end - first) + bits[end:]).tolist()


@given(BITS, st.integers(1, 50))
def test_counts_between_borders(parts: list[tuple[bool, int]], step: int) -> None:
    bits = bits_of(parts)
    borders = list(range(0, len(bits) + 1, step))
    runs = np.array(naive_runs(bits), dtype=np.int64).reshape(-1, 2)
    counted = [bits[begin : begin + step].count(False) for begin in borders[:-1]]
    assert counts_between(runs, np.array(borders)).tolist() == counted


@given(BITS, st.integers(1, 60))
def test_chunks_are_joined(parts: list[tuple[bool, int]], step: int) -> None:
    bits = bits_of(parts)
    chunks = []
    for begin in range(0, len(bits), step):
        runs = np.array(naive_runs(bits[begin : begin + step]), dtype=np.int64).reshape(-1, 2)
        chunks.append(runs + np.array((begin, 0)))
    together = [row for chunk in joined_chunks(chunks) for row in chunk.tolist()]
    assert together == naive_runs(bits)
    assert all(len(chunk) for chunk in joined_chunks(chunks))
    if chunks:
        assert joined(np.concatenate(chunks)).tolist() == naive_runs(bits)


@given(st.lists(st.integers(0, 40), min_size=1, max_size=30, unique=True), st.integers(1, 5))
def test_spans_cover_all_numbers(numbers: list[int], most: int) -> None:
    numbers.sort()
    found = list(spans(np.array(numbers, dtype=np.int64), most))
    assert [number + step for _, number, count in found for step in range(count)] == numbers
    assert all(numbers[index] == number and count <= most for index, number, count in found)


def test_overlapping_runs() -> None:
    assert overlapping(np.array([[0, 5], [4, 1]]))
    assert not overlapping(np.array([[0, 5], [5, 1]]))
    assert not overlapping(np.array([[0, 5]]))


def bitwise(polynomial: int, checksum: int, data: bytes) -> int:
    for byte in data:
        checksum ^= byte
        for _ in range(8):
            checksum = checksum >> 1 ^ (polynomial if checksum & 1 else 0)
    return checksum


def test_checksums_of_rows() -> None:
    rows = np.frombuffer(random.Random(1).randbytes(400), dtype=np.uint8).reshape(10, 40)
    seeds = np.arange(10, dtype=np.uint32) * np.uint32(99999937)
    found = raw_crc32c_rows(seeds, rows).tolist()
    assert found == [raw_crc32c(int(seed), row.tobytes()) for seed, row in zip(seeds, rows, strict=True)]
    assert found[3] == bitwise(0x82F63B78, int(seeds[3]), rows[3].tobytes())
    short = raw_crc16_rows(np.full(10, 0xFFFF, dtype=np.uint32), rows).tolist()
    assert short == [bitwise(0xA001, 0xFFFF, row.tobytes()) for row in rows]
    assert (
        raw_crc16_rows(np.full(1, 0xFFFF, np.uint32), np.frombuffer(b"123456789", np.uint8)[None])[0]
        == 0x4B37
    )


def test_crc32_with_the_highest_bit_first() -> None:
    # The check value of CRC-32/MPEG-2, whose parameters these are.
    assert crc32_big_endian(b"123456789") == 0x0376E6E7
    assert crc32_big_endian(b"56789", crc32_big_endian(b"1234")) == 0x0376E6E7
