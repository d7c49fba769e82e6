"""The content hash of a disk: what any other file with the same disk in it has, too."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

from vhdx.disk.afar import is_afar, read_ahead
from vhdx.disk.open import open_any
from vhdx.disk.parts import one_partition, one_volume
from vhdx.pieces import pieces
from vhdx.text import brief
from vhdx.units import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Protocol

    from vhdx.disk.base import Format, VirtualDisk
    from vhdx.disk.formats import Openable
    from vhdx.disk.opened import Disk
    from vhdx.disk.places import Parents
    from vhdx.progress import Progress

    class _Hash(Protocol):
        def update(self, data: bytes | memoryview, /) -> None: ...


Algorithm = Literal["md5", "sha1", "sha256", "sha384", "sha512", "sha3_256", "sha3_512", "blake2b", "blake2s"]
"""Those of Python that every host has and that programs of their own reckon."""
_ZEROS = bytes(MIB)


@brief("path", "algorithm", "digest")
class HashResult(NamedTuple):
    """The hash of what a disk, or a part of it, holds: that of a raw file with the same bytes."""

    path: str
    format: str
    virtual_size: int
    """The size of the whole disk, in bytes."""
    partition: int | None
    """The partition that was hashed."""
    volume: str | None
    """The volume that was hashed, by the name that was asked for."""
    hashed_size: int
    """How many bytes went into the hash."""
    algorithm: str
    digest: str


def content_hash(
    file: Openable,
    algorithm: Algorithm = "sha256",
    *,
    image_format: Format | None = None,
    partition: int | None = None,
    volume: str | None = None,
    parents: Parents = None,
    lock: bool = True,
    progress: Progress | None = None,
) -> HashResult:
    """The hash of a disk, raw, or VHDX or VHD with its parents: what ``sha256sum`` says of it as a raw file.

    What is known to be zeros is not read. ``partition`` hashes only the partition of this number, ``volume``
    only the volume of this name, label or UUID. ``progress`` is called with bytes hashed and bytes to hash.

    Raises what opening raises; ValueError for an unknown algorithm, where a format cannot be told without
    doubt, and for a part that is not there.
    """
    if algorithm not in get_args(Algorithm):
        raise ValueError(f"the algorithm {algorithm!r} is none of {', '.join(get_args(Algorithm))}")
    with open_any(file, image_format=image_format, parents=parents, lock=lock) as disk:
        part = _part(disk, partition, volume)
        state = hashlib.new(algorithm, usedforsecurity=False)
        for done in _fed(state, part):
            if progress is not None:
                progress(done, part.size)
        digest = state.hexdigest()
        name = disk.chain[0]
        return HashResult(name, disk.format, disk.size, partition, volume, part.size, algorithm, digest)


def _part(disk: Disk, partition: int | None, volume: str | None) -> Disk:
    if partition is not None and volume is not None:
        raise ValueError("a partition or a volume can be hashed, not both")
    if partition is not None:
        return one_partition(disk, partition, owns=False)
    return disk if volume is None else one_volume(disk, volume)


def _fed(state: _Hash, disk: VirtualDisk) -> Iterator[int]:
    """Feed a disk to a hash; how far it is after each piece."""
    end = 0
    for offset, data in _read(disk):
        yield from _fed_zeros(state, end, offset)
        state.update(data)
        end = offset + len(data)
        yield end
    yield from _fed_zeros(state, end, disk.size)


def _read(disk: VirtualDisk) -> Iterator[tuple[int, bytes | memoryview]]:
    """What may not be zeros, in pieces, each valid until the next."""
    places = ((at, count) for start, length in disk.data_ranges() for at, count in pieces(start, length, MIB))
    if is_afar(disk):
        yield from read_ahead(lambda offset, length: (offset, disk.pread(length, offset)), places)
        return
    buffer = memoryview(bytearray(MIB))
    for offset, length in places:
        disk.preadinto(buffer[:length], offset)
        yield offset, buffer[:length]


def _fed_zeros(state: _Hash, offset: int, end: int) -> Iterator[int]:
    for start in range(offset, end, MIB):
        count = min(MIB, end - start)
        state.update(memoryview(_ZEROS)[:count])
        yield start + count
