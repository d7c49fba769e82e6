"""What the libraries of one family, libyal, have in common: how they list and read."""

from __future__ import annotations

from functools import cached_property

from vhdx.errors import FileSystemError
from vhdx.files.handles import H, V
from vhdx.files.library import LibraryTree, joined
from vhdx.files.placed import PlacedContent
from vhdx.typed import TYPE_CHECKING, Generic

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.files.base import Content, Entry, Tell
    from vhdx.files.handles import Readable
    from vhdx.files.placed import Place
    from vhdx.files.source import VolumeSource


_PIECE = 256 << 10
SPARSE = 1
"""The flag of an extent that reads as zeros, be it unallocated or unwritten."""


class LibyalTree(LibraryTree, Generic[V, H]):
    """A volume that one of the libraries has opened. Adapters say what an entry of theirs is."""

    reads_by_extents = False
    """Whether what extents say is all there is to know of where bytes stand."""

    def __init__(self, volume: V, source: VolumeSource, tell: Tell) -> None:
        super().__init__(source, tell)
        self.volume = volume
        with self.asking("the file system"):
            volume.open_file_object(source)
            self.root = self.entry(volume.get_root_directory(), "")

    def entry(self, handle: H, name: str) -> Entry:
        """What an object of the library is."""
        raise NotImplementedError

    def handle_of(self, entry: Entry) -> H:
        """The object of the library that an entry keeps."""
        handle: H = entry.handle
        return handle

    def name_of(self, handle: H, directory: Entry) -> str:  # noqa: ARG002  adapters need it
        """The name of an object of the library in its directory."""
        if handle.name is None:
            raise FileSystemError("it has no name")
        return handle.name

    def content_handle(self, entry: Entry, stream: str | None) -> Readable:
        """The object of the library that holds the bytes. Raises FileNotFoundError for no such stream."""
        if stream is not None:
            raise FileNotFoundError(f"{entry.name} has no stream {stream!r}: only files of NTFS have any")
        return self.handle_of(entry)

    def has_holes(self, entry: Entry) -> bool:  # noqa: ARG002  adapters need it
        """Whether its extents tell where nothing is stored."""
        return True

    def places(self, content: LibyalContent[V, H]) -> list[Place] | None:
        """Where the bytes of a file stand, in their order; None where only the library knows."""
        if not self.reads_by_extents:
            return None
        return [(None if flags & SPARSE else place, length) for place, length, flags in content.extents()]

    def entries(self, directory: Entry) -> Iterator[Entry]:
        """What is in a directory; what cannot be read is told and left out."""
        with self.asking(f"the directory {directory.name!r}"):
            parent = self.handle_of(directory)
            count = parent.get_number_of_sub_file_entries()
        for index in range(count):
            try:
                with self.asking(f"entry {index + 1} of the directory {directory.name!r}"):
                    handle = parent.get_sub_file_entry(index)
                    found = self.entry(handle, self.name_of(handle, directory))
            except FileSystemError as error:
                self.tell(str(error))
                continue
            if found.name not in (".", ".."):  # a sound file system has them as links, not as entries
                yield found

    def content(self, entry: Entry, stream: str | None = None) -> Content:
        """The bytes of a file or of a stream."""
        with self.asking(f"the file {entry.name!r}"):
            handle = self.content_handle(entry, stream)
            size = handle.get_size()
        return LibyalContent(self, handle, entry, size, stream)


class LibyalContent(Generic[V, H]):
    """The bytes of a file as a library gives them."""

    def __init__(
        self, tree: LibyalTree[V, H], handle: Readable, entry: Entry, size: int, stream: str | None = None
    ) -> None:
        self._tree = tree
        self._handle = handle
        self.entry = entry
        self.size = size
        self.stream = stream

    def pread(self, length: int, offset: int) -> bytes:
        """The bytes of a range, as far as the file reaches."""
        if self._placed is not None:
            return self._placed.pread(length, offset)
        left = max(0, min(length, self.size - offset))
        pieces = []
        while left:
            with self._tree.asking(f"the file {self.entry.name!r}"):
                data = self._handle.read_buffer_at_offset(min(left, _PIECE), offset)
            if not data:
                raise FileSystemError(f"the file {self.entry.name!r} ends at {offset}, before its size")
            pieces.append(data)
            offset += len(data)
            left -= len(data)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def sent(self, output: int, length: int, offset: int) -> int:
        """How many bytes of a range, from its start on, were copied to a descriptor without reading them."""
        return 0 if self._placed is None else self._placed.sent(output, length, offset)

    @cached_property
    def _placed(self) -> PlacedContent | None:
        """The same by the places of its bytes, if they hold all of the file and are all there is to know."""
        found = self._tree.places(self)
        if found is None or sum(length for _, length in found) < self.size:
            return None
        return PlacedContent(self._tree, self.entry.name, self.size, found)

    def data_ranges(self) -> Iterator[tuple[int, int]]:
        """The runs that are stored; all of it where the library does not say."""
        yield from joined(self._runs(), self.size)

    def _runs(self) -> Iterator[tuple[int, int]]:
        position = 0
        has_holes = self.stream is None and self._tree.has_holes(self.entry)
        for _, length, flags in self.extents() if has_holes else ():
            if not flags & SPARSE:
                yield position, length
            position += length
        if position < self.size:  # in the inode itself, for one
            yield position, self.size - position

    def extents(self) -> Iterator[tuple[int, int, int]]:
        """Place in the volume, length and flags of each."""
        handle = self._handle
        with self._tree.asking(f"the file {self.entry.name!r}"):
            count = handle.get_number_of_extents()
        for index in range(count):
            with self._tree.asking(f"the file {self.entry.name!r}"):
                extent = handle.get_extent(index)
            yield extent
