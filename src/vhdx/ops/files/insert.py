"""Put files and trees of the host into a FAT or exFAT of an image: all, or none where they do not fit."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, NamedTuple

from vhdx.disk import volumes as disk_volumes
from vhdx.disk.chain import VhdxDisk
from vhdx.disk.children import refuse_orphans
from vhdx.errors import FileSystemError, UnsupportedImageError
from vhdx.files.resolve import parts_of
from vhdx.filesystems.base import NotFreeError
from vhdx.filesystems.insert.base import Details
from vhdx.filesystems.insert.open import KINDS, open_inserter
from vhdx.storage.zeros import is_zero

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from vhdx.disk.base import VirtualDisk
    from vhdx.disk.volumes import Volume
    from vhdx.filesystems.insert.base import Directory, New
    from vhdx.filesystems.insert.inserter import Inserter

    Tell = Callable[[str], None]
    Progress = Callable[[int, int | None], None]
    Waiting = tuple[str, Directory, str, os.stat_result]
    """A directory of the host, where it goes, and its name there."""

_PIECE = 1 << 20
_OWNER_WRITES = 0o200


class Inserted(NamedTuple):
    """How much was put into the volume of this name; ``left_out`` were told."""

    volume: str
    files: int
    directories: int
    bytes: int
    left_out: int


class InsertOptions(NamedTuple):
    """``recursive`` takes directories, ``force`` replaces files, ``partition`` and ``volume`` say where.

    ``contents`` takes what is in directories instead of these.
    """

    recursive: bool = False
    force: bool = False
    partition: int | None = None
    volume: str | None = None
    contents: bool = False


def insert(
    disk: VirtualDisk,
    sources: Iterable[str],
    path: str,
    *,
    tell: Tell,
    options: InsertOptions | None = None,
    progress: Progress | None = None,
) -> Inserted:
    """Put files of the host at ``path`` of a disk: into that directory, or one of them under that name.

    Nothing is changed before everything is known to fit, and nothing that is in use before all bytes are
    durable. Raises FileNotFoundError, NotADirectoryError, IsADirectoryError, FileExistsError, ValueError,
    OSError (ENOSPC), FileSystemError for a volume that was not unmounted cleanly or does not agree with
    itself, UnsupportedImageError where there is none that is written to.
    """
    options = options or InsertOptions()
    volume = chosen_volume(disk, options)
    try:
        inserter = open_inserter(volume.file_system.kind, volume.map.read, volume.map.size)
        job = _Job(inserter, volume, tell=tell, options=options, progress=progress)
        job.plan(list(sources), path)
        inserter.reserve()
        job.write_files()
        for step in inserter.steps():
            if step is None:
                disk.flush()
            else:
                volume.map.write(step.data, step.offset)
    except NotFreeError as error:
        raise FileSystemError(f"{volume.name} is not written to: {error.reason}") from None
    return job.result


def chosen_volume(disk: VirtualDisk, options: InsertOptions) -> Volume:
    """The FAT or exFAT that is meant. Raises ValueError for several, UnsupportedImageError for none."""
    named = [
        each
        for each in disk_volumes.volumes(disk, agree=False)
        if options.partition in (None, each.partition)
        and (options.volume is None or each.is_named(options.volume))
    ]
    found = [each for each in named if each.file_system.kind in KINDS]
    if len(found) == 1:
        reasons = found[0].file_system.reasons
        if reasons:
            raise FileSystemError(f"{found[0].name} is not written to: {'; '.join(reasons)}")
        return found[0]
    if found:
        there = ", ".join(f"{each.name} ({each.file_system.kind})" for each in found)
        raise ValueError(f"several volumes take files: {there}; choose with --partition N or --volume NAME")
    there = ", ".join(f"{each.name} ({each.file_system.kind})" for each in named) or "nothing that is known"
    raise UnsupportedImageError(
        f"files are put into FAT and exFAT only, and there is {there}; debugfs and ntfs-3g put them into "
        "ext4 and NTFS, on what vhdx mount --write shows"
    )


def refuse_orphans_of(image: str, disk: VirtualDisk) -> None:
    """Raise UnsupportedImageError where images beside this one have it for their parent."""
    if isinstance(disk, VhdxDisk):
        identity = disk.layers[0].header.data_write_guid
        refuse_orphans(image, identity, "a change of its contents", forcible=False)


class _Job:
    """What is put where."""

    def __init__(
        self,
        inserter: Inserter,
        volume: Volume,
        *,
        tell: Tell,
        options: InsertOptions,
        progress: Progress | None,
    ) -> None:
        self._inserter, self._volume, self._tell = inserter, volume, tell
        self._options, self._progress = options, progress
        self._files: list[tuple[str, Directory, New]] = []
        self._directories = self._bytes = self._left_out = 0

    @property
    def result(self) -> Inserted:
        """How much it is."""
        return Inserted(self._volume.name, len(self._files), self._directories, self._bytes, self._left_out)

    # What ----------------------------------------------------------------------------------------

    def plan(self, sources: list[str], path: str) -> None:
        """Say what is to be where. Raises where a path that was named cannot be had."""
        directory, name = self._target(path, single=len(sources) == 1)
        for source in sources:
            status = os.stat(source)
            own = name or os.path.basename(os.path.abspath(source))
            if stat.S_ISDIR(status.st_mode):
                if not self._options.recursive:
                    raise IsADirectoryError(f"{source} is a directory; -R copies it with all that is in it")
                top = (source, directory, own, status)
                self._trees(self._listed(source, directory) if self._options.contents else [top])
            elif stat.S_ISREG(status.st_mode):
                self._file(source, directory, own, status)
            else:
                raise ValueError(f"{source} is neither a file nor a directory")

    def _target(self, path: str, *, single: bool) -> tuple[Directory, str | None]:
        """The directory that a path means, and the name in it where that is not there yet."""
        parts: list[str] = []
        for part in parts_of(path, is_windows=True):
            if part == "..":
                del parts[-1:]
            else:
                parts.append(part)
        directory = self._inserter.root
        for index, part in enumerate(parts):
            is_last = index == len(parts) - 1
            kind = self._inserter.kind(directory, part)
            if is_last and kind != "directory" and single and path[-1] not in "/\\":
                return directory, part
            directory = self._inserter.directory(directory, part)
        return directory, None

    def _trees(self, waiting: list[Waiting]) -> None:
        """Directories and all that is in them; without recursion, as trees may be deep."""
        while waiting:
            path, parent, own, found = waiting.pop()
            if self._inserter.kind(parent, own) == "directory":
                directory = self._inserter.directory(parent, own)
            else:
                try:
                    directory = self._inserter.add_directory(parent, own, _details(found))
                except (FileExistsError, ValueError) as error:
                    self._leave_out(path, error)
                    continue
                self._directories += 1
            waiting += self._listed(path, directory)

    def _listed(self, path: str, directory: Directory) -> list[Waiting]:
        """Say the files in a directory of the host; its directories to be looked into, the last one first."""
        try:
            entries = sorted(os.scandir(path), key=lambda entry: entry.name)
        except OSError as error:
            self._leave_out(path, error)
            return []
        found: list[Waiting] = []
        for entry in entries:
            try:
                status = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(status.st_mode):
                    found.append((entry.path, directory, entry.name, status))
                elif stat.S_ISREG(status.st_mode):
                    self._file(entry.path, directory, entry.name, status)
                else:
                    raise ValueError("it is neither a file nor a directory, and a FAT keeps nothing else")
            except (OSError, ValueError) as error:
                self._leave_out(entry.path, error)
        return found[::-1]

    def _file(self, source: str, directory: Directory, name: str, status: os.stat_result) -> None:
        new = self._inserter.add_file(
            directory, name, status.st_size, _details(status), replace=self._options.force
        )
        self._files.append((source, directory, new))

    def _leave_out(self, path: str, error: Exception) -> None:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        self._left_out += 1
        self._tell(f"{path}: {reason}; it is left out")

    # Bytes ---------------------------------------------------------------------------------------

    def write_files(self) -> None:
        """Their bytes, into clusters that are free still."""
        kept = []
        for source, directory, new in self._files:
            try:
                self._write(source, new)
            except _ChangedError as error:
                self._inserter.drop(directory, new)
                self._leave_out(source, error)
            else:
                kept.append((source, directory, new))
        self._files = kept

    def _write(self, source: str, new: New) -> None:
        try:
            file = open(source, "rb", buffering=0)  # noqa: SIM115  closed below
        except OSError as error:
            raise _ChangedError(error.strerror) from None
        with file:
            for start, length in self._inserter.places(new):
                self._put(file.read, start, length)
            if file.read(1):
                raise _ChangedError(_CHANGED)

    def _put(self, read: Callable[[int], bytes | None], start: int, length: int) -> None:
        """The next bytes of a file, in one place; zeros together, so that whole blocks need no room."""
        zeros = start
        for offset in range(start, start + length, _PIECE):
            data = _exactly(read, min(_PIECE, start + length - offset))
            if not is_zero(data):
                self._zero(zeros, offset)
                self._volume.map.write(data, offset)
                zeros = offset + len(data)
            self._bytes += len(data)
            if self._progress is not None:
                self._progress(self._bytes, None)
        self._zero(zeros, start + length)

    def _zero(self, start: int, end: int) -> None:
        if start < end:
            self._volume.map.zero(end - start, start)


_CHANGED = "its size changed while it was read"


class _ChangedError(Exception):
    """A file cannot be read, or not as it was a moment ago."""


def _exactly(read: Callable[[int], bytes | None], length: int) -> bytes:
    """So many bytes. Raises _ChangedError where the file has fewer, or cannot be read."""
    pieces: list[bytes] = []
    while length:
        try:
            data = read(length)
        except OSError as error:
            raise _ChangedError(error.strerror) from None
        if not data:
            raise _ChangedError(_CHANGED)
        pieces.append(data)
        length -= len(data)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _details(status: os.stat_result) -> Details:
    return Details(status.st_mtime_ns, status.st_atime_ns, not status.st_mode & _OWNER_WRITES)
