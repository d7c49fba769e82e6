"""Archive files of a guest as a PAX tar: attributes, nanoseconds, holes; into a stream that cannot seek."""

from __future__ import annotations

import io
import tarfile
from typing import IO, TYPE_CHECKING, NamedTuple

from vhdx.errors import FileSystemError
from vhdx.files.base import Kind
from vhdx.files.host_names import is_utf8, plain_name
from vhdx.files.walk import until_damage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from typing_extensions import Buffer

    from vhdx.files.base import Content, Entry
    from vhdx.files.resolve import Found
    from vhdx.files.volume import FileVolume

    Progress = Callable[[int, int | None], None]

_PIECE = 1 << 20
_BLOCK = 512
_NS = 10**9
_TYPES = {
    Kind.DIRECTORY: tarfile.DIRTYPE,
    Kind.SYMLINK: tarfile.SYMTYPE,
    Kind.FIFO: tarfile.FIFOTYPE,
    Kind.CHARACTER_DEVICE: tarfile.CHRTYPE,
    Kind.BLOCK_DEVICE: tarfile.BLKTYPE,
}
_SPARSE_NAME = "GNUSparseFile.0/"
"""What programs that know nothing of holes see; GNU tar's own word for it."""


class ArchiveResult(NamedTuple):
    """How much was archived; ``left_out`` were told."""

    members: int
    bytes: int
    left_out: int


class Archiver:
    """Writes entries of one volume into one archive."""

    def __init__(
        self,
        volume: FileVolume,
        output: IO[bytes],
        *,
        devices: bool = False,
        progress: Progress | None = None,
    ) -> None:
        self._volume = volume
        self._devices = devices
        self._progress = progress
        self._first: dict[int, str] = {}
        self._members = self._bytes = self._left_out = 0
        self._tar = tarfile.open(  # noqa: SIM115  closed by close, which writes its end
            fileobj=output, mode="w|", format=tarfile.PAX_FORMAT, encoding="utf-8", errors="surrogateescape"
        )

    def close(self) -> ArchiveResult:
        """Write the end of the archive."""
        self._tar.close()
        return ArchiveResult(self._members, self._bytes, self._left_out)

    def add(self, found: Found) -> None:
        """Add an entry and everything below it; its members are named from the root of the volume."""
        for step in self._volume.steps(found.entry):
            parts = (*found.parts, *step.parts)
            if step.left or not parts:
                continue
            name = "/".join(map(plain_name, parts))
            if plain_name(parts[-1]) != parts[-1]:
                self._volume.tell(f"{'/'.join(parts)}: archived as {name}")
            try:
                self._add(name, step.entry)
            except FileSystemError as error:
                self._leave_out(f"{name}: {error}")

    def _add(self, name: str, entry: Entry) -> None:
        if entry.kind is Kind.SOCKET:
            self._leave_out(f"{name} is a socket and left out")
        elif entry.kind not in (Kind.FILE, Kind.DIRECTORY, Kind.SYMLINK) and not self._devices:
            self._leave_out(f"{name} is a {entry.kind.value} and left out; --devices archives it")
        elif entry.kind is Kind.FILE and entry.links > 1 and entry.identity in self._first:
            member = self._member(name, entry)
            member.type, member.linkname = tarfile.LNKTYPE, self._first[entry.identity]
            self._put(member)
        elif entry.kind is Kind.FILE:
            self._add_file(name, entry)
        else:
            member = self._member(name, entry)
            member.type = _TYPES[entry.kind]
            member.linkname = entry.target or ""
            member.devmajor, member.devminor = entry.device or (0, 0)
            self._put(member)

    def _add_file(self, name: str, entry: Entry) -> None:
        content = self._volume.tree.content(entry)
        runs = list(content.data_ranges())
        member = self._member(name, entry)
        stored = sum(length for _, length in runs)
        before = b""
        if stored + _BLOCK < content.size:
            before = _sparse_map(runs, content.size)
            member.pax_headers = {
                **member.pax_headers,
                "GNU.sparse.major": "1",
                "GNU.sparse.minor": "0",
                "GNU.sparse.name": name,
                "GNU.sparse.realsize": str(content.size),
            }
            head, _, tail = name.rpartition("/")
            member.name = f"{head}/{_SPARSE_NAME}{tail}" if head else f"{_SPARSE_NAME}{tail}"
        else:
            runs, stored = [(0, content.size)], content.size
        member.size = len(before) + stored
        self._put(member, _Runs(self, content, runs, before))
        self._bytes += stored
        if entry.links > 1:
            self._first[entry.identity] = name

    def _member(self, name: str, entry: Entry) -> tarfile.TarInfo:
        member = tarfile.TarInfo(name)
        member.mode = entry.permissions
        member.uid, member.gid = entry.uid or 0, entry.gid or 0
        headers: dict[str, str] = {}
        if entry.modified is not None:
            member.mtime = entry.modified // _NS
            if entry.modified % _NS:
                headers["mtime"] = _seconds(entry.modified)
        found = self._volume.tree.attributes(entry)
        for attribute, value in until_damage(found, lambda why: self._leave_out(f"{name}: {why}")):
            if is_utf8(attribute):
                keyword = attribute.replace("%", "%25").replace("=", "%3D")  # as GNU tar has it
                headers[f"SCHILY.xattr.{keyword}"] = value.decode("utf-8", "surrogateescape")
            else:
                self._leave_out(f"{name}: the attribute {attribute} has a name that no archive can have")
        member.pax_headers = headers
        return member

    def _put(self, member: tarfile.TarInfo, contents: _Runs | None = None) -> None:
        self._tar.addfile(member, None if contents is None else io.BufferedReader(contents, _PIECE))
        if contents is not None and contents.failure is not None:
            self._leave_out(f"{member.name}: {contents.failure}; zeros stand for the rest of it")
        self._members += 1

    def read_up_to(self, count: int) -> None:
        """So much more was read."""
        if self._progress is not None:
            self._progress(self._bytes + count, None)

    def _leave_out(self, sentence: str) -> None:
        self._left_out += 1
        self._volume.tell(sentence)


class _Runs(io.RawIOBase):
    """Some bytes and then the runs of a file, one after the other, always as many as were announced.

    What cannot be read is zeros from there on: the archive would make no sense with fewer bytes.
    """

    def __init__(
        self, archiver: Archiver, content: Content, runs: list[tuple[int, int]], before: bytes
    ) -> None:
        self.failure: FileSystemError | None = None
        self._archiver = archiver
        self._content = content
        self._pieces = self._all(runs, before)
        self._rest = memoryview(b"")
        self._count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer) -> int:
        view = memoryview(buffer).cast("B")
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = memoryview(piece)
        count = min(len(view), len(self._rest))
        view[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        self._count += count
        self._archiver.read_up_to(self._count)
        return count

    def _all(self, runs: list[tuple[int, int]], before: bytes) -> Iterator[bytes]:
        yield before
        for start, length in runs:
            for offset in range(start, start + length, _PIECE):
                yield self._piece(min(_PIECE, start + length - offset), offset)

    def _piece(self, length: int, offset: int) -> bytes:
        if self.failure is None:
            try:
                return self._content.pread(length, offset)
            except FileSystemError as error:
                self.failure = error
        return bytes(length)


def _sparse_map(runs: list[tuple[int, int]], size: int) -> bytes:
    """GNU tar's map 1.0: how many runs, and each as two lines, filled up to a whole block."""
    ends = runs if runs and runs[-1][0] + runs[-1][1] == size else [*runs, (size, 0)]
    numbers = [len(ends), *(number for run in ends for number in run)]
    text = "".join(f"{number}\n" for number in numbers).encode()
    return text + bytes(-len(text) % _BLOCK)


def _seconds(nanoseconds: int) -> str:
    whole, rest = divmod(abs(nanoseconds), _NS)
    return f"{'-' if nanoseconds < 0 else ''}{whole}.{rest:09d}"
