"""What stands in the directories of XFS, however large these are."""

from __future__ import annotations

from vhdx.errors import FileSystemError
from vhdx.files.base import Kind
from vhdx.filesystems.area import big_number
from vhdx.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.files.source import Read
    from vhdx.files.xfs_fork import Geometry
    from vhdx.files.xfs_inode import Inode

_HEADERS = {b"XD2D": 16, b"XD2B": 16, b"XDD3": 64, b"XDB3": 64}
"""Blocks with names, and how long their headers are."""
_WITH_HASHES = (b"XD2B", b"XDB3")
"""Those that end with a table of hashes, as nothing else is in the directory."""
_END_OF_NAMES = 1 << 35
"""Where in a directory its index begins."""
_UNUSED = 0xFFFF
_LONGEST = 1 << 30
_KINDS = {
    1: Kind.FILE,
    2: Kind.DIRECTORY,
    3: Kind.CHARACTER_DEVICE,
    4: Kind.BLOCK_DEVICE,
    5: Kind.FIFO,
    6: Kind.SOCKET,
    7: Kind.SYMLINK,
}


class Name(NamedTuple):
    """A name in a directory; ``kind`` is None where only the inode says it."""

    text: str
    inode: int
    kind: Kind | None


def names_in(read: Read, geometry: Geometry, directory: Inode) -> Iterator[list[Name]]:
    """What is in a directory, without ``.`` and ``..``, block by block. Raises FileSystemError at damage."""
    held = directory.held
    if held is not None:
        yield list(_in_inode(held, has_types=geometry.has_types))
        return
    size = geometry.block_size
    for number, places in enumerate(_blocks(directory, geometry)):
        if number * geometry.directory_block > _LONGEST:
            raise FileSystemError("it is longer than there can be")
        block = b"".join(read(size, place) for place in places)
        if len(block) < geometry.directory_block:
            raise FileSystemError("it lies behind the end of the volume")
        yield [
            each for each in _in_block(block, has_types=geometry.has_types) if each.text not in (".", "..")
        ]


def _blocks(directory: Inode, geometry: Geometry) -> Iterator[list[int]]:
    """The blocks of a directory, which may be several of the file system each: where these stand."""
    size, places = geometry.block_size, list[int]()
    each, end = geometry.directory_block // size, min(directory.size, _END_OF_NAMES) // size
    for first, count, offset in directory.extents:
        if first >= end:
            return
        for block in range(first, min(first + count, end)):
            if block % each == 0:
                places = []
            if offset is not None:
                places.append(offset + (block - first) * size)
            if block % each == each - 1:
                if len(places) < each:
                    raise FileSystemError("a part of it is missing")
                yield places


def _in_inode(held: bytes, *, has_types: bool) -> Iterator[Name]:
    count, width = held[0] or held[1], 8 if held[1] else 4
    position = 2 + width
    for _ in range(count):
        start = position + 3
        end = start + held[position] if position < len(held) else 0
        place = end + has_types
        if not end or place + width > len(held):
            raise _damaged()
        yield Name(
            _text(held[start:end]), big_number(held, place, width), _kind(held, end, has_types=has_types)
        )
        position = place + width


def _in_block(block: bytes, *, has_types: bool) -> Iterator[Name]:
    magic = block[:4]
    position, end = _HEADERS.get(magic, 0), len(block)
    if not position:
        raise _damaged()
    if magic in _WITH_HASHES:
        end -= 8 + 8 * big_number(block, len(block) - 8, 4)
    while position + 8 <= end:
        if big_number(block, position, 2) == _UNUSED:
            length = big_number(block, position + 2, 2)
        else:
            size = block[position + 8]
            length = 8 + 1 + size + has_types + 2 + 7 & ~7
            stop = position + 9 + size
            if not size or position + length > end:
                raise _damaged()
            name = _text(block[position + 9 : stop])
            yield Name(name, big_number(block, position, 8), _kind(block, stop, has_types=has_types))
        if length < 8 or length % 8:
            raise _damaged()
        position += length


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def _kind(data: bytes, place: int, *, has_types: bool) -> Kind | None:
    return _KINDS.get(data[place]) if has_types else None


def _damaged() -> FileSystemError:
    return FileSystemError("a block of it is damaged")
