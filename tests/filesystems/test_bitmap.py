"""Bitmaps in pieces against a loop over the bits."""

import random

import numpy as np
import pytest

from vhdx.filesystems import bitmap
from vhdx.filesystems.bits import clear_runs
from vhdx.filesystems.runs import joined_chunks


def naive(data: bytes, count: int) -> list[tuple[int, int]]:
    runs: list[tuple[int, int]] = []
    for bit in range(count):
        if not data[bit >> 3] >> (bit & 7) & 1:
            if runs and sum(runs[-1]) == bit:
                runs[-1] = (runs[-1][0], runs[-1][1] + 1)
            else:
                runs.append((bit, 1))
    return runs


def samples() -> list[bytes]:
    dice = random.Random(2)
    kinds = (b"\0", b"\xff", b"\0\xff", b"\x80\x01", b"\x7f\xfe", bytes(range(256)))
    return [b"".join(dice.choice((b"\0", b"\xff", dice.choice(kinds))) for _ in range(40)) for _ in range(40)]


def test_runs_of_clear_bits() -> None:
    for data in samples():
        for count in (0, 1, 7, 8, 9, 63, 64, 65, 127, 128, 200, 8 * 40 - 1, 8 * 40):
            found = clear_runs(np.frombuffer(data, np.uint8), count)
            assert list(map(tuple, found.tolist())) == naive(data, count)


@pytest.mark.parametrize("piece", [1, 3, 8, 64])
def test_pieces_join_to_the_same(monkeypatch: pytest.MonkeyPatch, piece: int) -> None:
    monkeypatch.setattr(bitmap, "PIECE_LENGTH", piece)
    for data in samples():
        for count in (1, 9, 64, 8 * 40 - 3, 8 * 40):
            chunks = list(
                joined_chunks(bitmap.clear_runs_in_pieces(lambda n, at: data[at : at + n], count))  # noqa: B023
            )
            assert all(len(chunk) for chunk in chunks)
            assert [tuple(run) for chunk in chunks for run in chunk.tolist()] == naive(data, count)


def test_in_bytes() -> None:
    (runs,) = bitmap.in_bytes([np.array([[2, 3], [9, 1]])], 512, 4096)
    assert runs.tolist() == [[512 + 2 * 4096, 3 * 4096], [512 + 9 * 4096, 4096]]
