"""All clusters that the files of an NTFS claim, from every record of its table at once.

numpy over pieces of the table: fix-ups, attributes and run lists of many records go step by step together,
one step for each attribute of the longest record, one for each run of the longest list.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from vhdx.filesystems.ntfs_record import END, STRIDE, damaged

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from vhdx.filesystems.base import Runs
    from vhdx.filesystems.ntfs_volume import Stream

    Bytes = NDArray[np.uint8]
    Numbers = NDArray[np.int64]

PIECE_LENGTH = 8 << 20
_FILE, _DAMAGED = (int.from_bytes(magic, "little") for magic in (b"FILE", b"BAAD"))
_SMALLEST, _STORED_LENGTH = 24, 64
_LAST_CLUSTER = 1 << 62


def claims(mft: Stream, record_size: int, clusters: int) -> Iterator[Runs]:
    """The runs of all attributes of all records in use: rows of (first cluster, clusters), in no order."""
    length = min(mft.length, mft.initialised) // record_size * record_size
    for offset in range(0, length, PIECE_LENGTH):
        piece = mft.read(min(PIECE_LENGTH, length - offset), offset)
        records = np.frombuffer(piece, np.uint8).reshape(-1, record_size)
        yield from _claims_of(_in_use(records), clusters)


def _must(condition: NDArray[np.bool_], what: str) -> None:
    if not condition.all():
        raise damaged(f"a file record {what}")


def _in_use(records: Bytes) -> Bytes:
    """A copy of the records that are in use, after their fix-ups."""
    magic = records.view("<u4")[:, 0]
    written = magic == _FILE
    used = written & (records[:, 22] & 1 == 1)
    _must(magic != _DAMAGED, "was found damaged")
    if not written.any():
        raise damaged("a long part of its table of files holds no records")
    records = records[used]
    words = records.view("<u2")
    sectors = records.shape[1] // STRIDE
    offset, count = words[:, 2].astype(np.int64), words[:, 3].astype(np.int64)
    legal = (count == sectors + 1) & (offset % 2 == 0) & (offset >= 8) & (offset + 2 * count <= STRIDE - 2)
    _must(legal, "has an illegal update sequence")
    sequence = words[np.arange(len(words))[:, None], offset[:, None] // 2 + np.arange(sectors + 1)]
    ends = words[:, STRIDE // 2 - 1 :: STRIDE // 2]
    _must((ends == sequence[:, :1]).ravel(), "was not written whole")
    ends[...] = sequence[:, 1:]
    return records


class _Lists(NamedTuple):
    """Run lists: where they begin and end, and how many clusters they must describe."""

    position: Numbers
    end: Numbers
    clusters: Numbers


def _claims_of(records: Bytes, clusters: int) -> Iterator[Runs]:
    fields = _Fields(records)
    for lists in _run_lists(records, fields):
        yield from _decoded(lists, fields, clusters)


class _Fields:
    """Numbers at any positions of a piece of the table."""

    def __init__(self, records: Bytes) -> None:
        flat = np.concatenate((records.ravel(), np.zeros(32, np.uint8)))
        self._bytes, self._words, self._longs = (
            flat,
            flat.view("<u4"),
            flat.view("<u8").astype(np.uint64, copy=False),
        )

    def byte(self, position: Numbers) -> Numbers:
        return self._bytes[position].astype(np.int64)

    def short(self, position: Numbers) -> Numbers:
        return self.byte(position) | self.byte(position + 1) << 8

    def word(self, position: Numbers) -> Numbers:
        """Positions are multiples of 4."""
        found: Numbers = self._words[position >> 2].astype(np.int64)
        return found

    def long(self, position: Numbers) -> Numbers:
        """Positions are multiples of 8."""
        found: Numbers = self._longs[position >> 3].view(np.int64)
        return found

    def signed(self, position: Numbers, length: Numbers) -> Numbers:
        """Numbers of 0 to 8 bytes; what has none is 0."""
        word, shift = position >> 3, ((position & 7) * 8).astype(np.uint64)
        low = self._longs[word] >> shift
        high = self._longs[word + 1] << (np.uint64(63) - shift) << np.uint64(1)
        unused = np.minimum(64 - 8 * length, 63)
        value = (low | high).view(np.int64) << unused >> unused
        return np.where(length > 0, value, 0)


def _run_lists(records: Bytes, fields: _Fields) -> Iterator[_Lists]:
    """The run lists of the first attributes of all records, then of the second ones, and so on."""
    start = np.arange(len(records), dtype=np.int64) * records.shape[1]
    position, used = start + fields.short(start + 20), start + fields.word(start + 24)
    _must(used - start <= records.shape[1], "says that it is longer than it can be")
    _must(position % 8 == 0, "has attributes at an illegal place")
    while len(position):
        _must(position + 4 <= used, "has attributes without an end")
        more = fields.word(position) != END
        position, used = position[more], used[more]
        length = fields.word(position + 4)
        _must(
            (length >= _SMALLEST) & (length % 8 == 0) & (position + length <= used),
            "has an attribute that leaves it",
        )
        stored = fields.byte(position + 8) != 0
        if stored.any():
            yield _lists_at(position[stored], length[stored], fields)
        position = position + length


def _lists_at(position: Numbers, length: Numbers, fields: _Fields) -> _Lists:
    _must(length >= _STORED_LENGTH, "has an attribute that is too short")
    first, last = fields.long(position + 16), fields.long(position + 24)
    offset = fields.short(position + 32)
    legal = (
        (offset >= _STORED_LENGTH)
        & (offset <= length)
        & (first >= 0)
        & (last >= first - 1)
        & (last < _LAST_CLUSTER)
    )
    _must(legal, "has an illegal run list")
    return _Lists(position + offset, position + length, last - first + 1)


def _decoded(lists: _Lists, fields: _Fields, clusters: int) -> Iterator[Runs]:
    """The first runs of all lists, then the second ones, and so on; not those that store nothing."""
    position, end, left = lists
    cluster = np.zeros(len(position), np.int64)
    while len(position):
        header = np.where(position < end, fields.byte(position), 0)
        _must((left == 0) | (header != 0), "has a run list that is shorter than its size")
        more = header != 0
        position, end, left, cluster, header = (a[more] for a in (position, end, left, cluster, header))
        of_count, of_cluster = header & 15, header >> 4
        following = position + 1 + of_count + of_cluster
        _must((of_count <= 8) & (of_cluster <= 8) & (following <= end), "has an illegal run list")
        count = fields.signed(position + 1, of_count)
        cluster = cluster + fields.signed(position + 1 + of_count, of_cluster)
        _must((count > 0) & (count <= left), "has a run list that is longer than its size")
        left = left - count
        real = of_cluster > 0
        first, lengths = cluster[real], count[real]
        _must(
            (first >= 0) & (lengths <= clusters) & (first <= clusters - lengths),
            "has clusters behind the end",
        )
        yield np.stack((first, lengths), axis=1)
        position = following
