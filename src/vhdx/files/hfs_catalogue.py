"""The catalogue of an HFS+, as far as libfshfs does not tell it: hard links of directories.

Time Machine makes them. A file of no contents stands there, with the number of the directory in its record.
"""

from __future__ import annotations

import struct

from vhdx.errors import FileSystemError
from vhdx.files.placed import PlacedContent
from vhdx.filesystems.area import big_number
from vhdx.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.files.library import LibraryTree

_HEADER_AT, _HEADER_LENGTH = 1024, 512
_BLOCK_SIZE_AT, _FORK_AT = 40, 272
_FORK = struct.Struct(">QII16I")  # size, clump, blocks, eight times first block and count
_TREE = struct.Struct(">16xI12xH2xI")  # root, size of a node, nodes
_INDEX, _LEAF = 0x00, 0xFF
_DEEPEST = 16
_FILE, _FILE_LENGTH = 2, 56
_DIRECTORY_LINK = b"fdrpMACS"


class _Record(NamedTuple):
    """What stands behind a key: in an index the number of a node, else a record."""

    parent: int
    data: bytes


class Catalogue:
    """Reads it by the numbers of directories. Raises FileSystemError."""

    def __init__(self, tree: LibraryTree) -> None:
        header = tree.source.pread(_HEADER_LENGTH, _HEADER_AT)
        if len(header) < _HEADER_LENGTH:
            raise FileSystemError("its header is cut off")
        block = big_number(header, _BLOCK_SIZE_AT, 4)
        size, _, _, *extents = _FORK.unpack_from(header, _FORK_AT)
        places = [
            (first * block, count * block) for first, count in zip(*[iter(extents)] * 2, strict=True) if count
        ]
        self._file = PlacedContent(tree, "catalogue", size, places)
        first = self._file.pread(_TREE.size, 0)
        if len(first) < _TREE.size:
            raise _damaged()
        root, node_size, nodes = _TREE.unpack(first)
        self._root: int = root
        self._node_size: int = node_size
        self._nodes: int = nodes
        if not 512 <= self._node_size <= 32768:
            raise _damaged()

    def directory_links(self, directory: int) -> dict[int, int]:
        """The files in a directory that stand for another one, and which, by their numbers."""
        found = {}
        for parent, data in self._from(directory):
            if parent > directory:
                break
            is_file = len(data) >= _FILE_LENGTH and big_number(data, 0, 2) == _FILE
            if parent == directory and is_file and data[48:56] == _DIRECTORY_LINK:
                found[big_number(data, 8, 4)] = big_number(data, 44, 4)
        return found

    def _from(self, parent: int) -> Iterator[_Record]:
        """The records of leaves, from before the first one with this parent on."""
        number = self._leaf_for(parent)
        for _ in range(self._nodes):
            node = self._node(number)
            yield from self._records(node)
            number = big_number(node, 0, 4)
            if not number:
                return
        raise _damaged()

    def _leaf_for(self, parent: int) -> int:
        number = self._root
        for _ in range(_DEEPEST):
            node = self._node(number)
            if node[8] == _LEAF:
                return number
            records = list(self._records(node))
            if node[8] != _INDEX or not records:
                break
            before = [record for record in records if record.parent < parent]
            number = big_number((before[-1] if before else records[0]).data, 0, 4)
        raise _damaged()

    def _node(self, number: int) -> bytes:
        node = self._file.pread(self._node_size, number * self._node_size)
        if len(node) < self._node_size:
            raise _damaged()
        return node

    def _records(self, node: bytes) -> Iterator[_Record]:
        count = big_number(node, 10, 2)
        if 2 * count > self._node_size - 16:
            raise _damaged()
        ends = len(node)
        for index in range(count):
            start = big_number(node, ends - 2 * index - 2, 2)
            end = big_number(node, ends - 2 * index - 4, 2)
            data = start + 2 + big_number(node, start, 2)
            if not start + 8 <= data <= end <= ends:
                raise _damaged()
            yield _Record(big_number(node, start + 2, 4), node[data : min(end, data + _FILE_LENGTH)])


def _damaged() -> FileSystemError:
    return FileSystemError("its catalogue is damaged")
