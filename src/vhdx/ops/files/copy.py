"""Copy files and trees of a guest into a directory of the host."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, NamedTuple

from vhdx.errors import FileSystemError
from vhdx.files.base import TYPE_OF_KIND, Kind
from vhdx.files.sending import poured
from vhdx.files.walk import until_damage
from vhdx.ops.files.target import Target, dress, give, host_name, host_target, set_attribute, truncate
from vhdx.storage.looks import Looks

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from vhdx.files.base import Entry
    from vhdx.files.resolve import Found
    from vhdx.files.volume import FileVolume
    from vhdx.ops.files.target import Parts

    Progress = Callable[[int, int | None], None]

_OF_THIS_ENTRY = frozenset(
    {
        errno.EACCES,
        errno.EFBIG,
        errno.EILSEQ,
        errno.EINVAL,
        errno.ENAMETOOLONG,
        errno.ENOTSUP,
        errno.EOPNOTSUPP,
        errno.EPERM,
    }
)
"""What hosts say that cannot have one entry, and may have the next."""
_NO_MORE_LINKS = frozenset({errno.EMLINK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EPERM})


class CopyOptions(NamedTuple):
    """What is copied beside contents, times and modes."""

    owners: bool = False
    xattrs: bool = False
    devices: bool = False
    force: bool = False


class CopyResult(NamedTuple):
    """How much was copied; ``left_out`` were told."""

    files: int
    directories: int
    others: int
    bytes: int
    left_out: int


class Copier:
    """Copies entries of one volume below one directory of the host."""

    def __init__(
        self, volume: FileVolume, directory: str, options: CopyOptions, progress: Progress | None = None
    ) -> None:
        self._volume = volume
        self._tree = volume.tree
        self._options = options
        self._progress = progress
        self._target = Target(directory, force=options.force)
        self._first: dict[int, Parts] = {}
        self._counts = dict.fromkeys(CopyResult._fields, 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._target.close()

    @property
    def result(self) -> CopyResult:
        """What was done up to now."""
        return CopyResult(**self._counts)

    def copy(self, found: Found, name: str | None) -> None:
        """Copy an entry and everything below it, under a name; None puts what is in it straight in."""
        top = () if name is None else (name,)
        if found.stream is not None:
            self._attempt((*top,), found.entry, found.stream)
            return
        left_out: Parts | None = None
        for step in self._volume.steps(found.entry):
            if left_out is not None:
                if step.left and step.parts == left_out:
                    left_out = None
                continue
            parts = (*top, *map(host_name, step.parts))
            if step.left:
                self._finish_directory(parts, step.entry)
                continue
            if step.parts and parts[-1] != step.parts[-1]:
                self._volume.tell(f"{'/'.join(step.parts)}: written as {parts[-1]}")
            if not self._attempt(parts, step.entry, at=(*found.parts, *step.parts)) and (
                step.entry.is_directory
            ):
                left_out = step.parts

    def _attempt(self, parts: Parts, entry: Entry, stream: str | None = None, at: Parts = ()) -> bool:
        """Copy one entry, ``at`` these names in the guest; tell what cannot be copied, and whether it was."""
        try:
            return self._one(parts, entry, stream, at)
        except FileExistsError:
            self._leave_out(
                f"{'/'.join(parts)} exists already, or differs only in case; --force replaces files"
            )
        except (FileSystemError, ValueError) as error:
            self._leave_out(f"{'/'.join(parts)}: {error}")
        except OSError as error:
            if error.errno not in _OF_THIS_ENTRY:
                raise
            self._leave_out(f"{'/'.join(parts)}: {error.strerror or error}")
        return False

    def _one(self, parts: Parts, entry: Entry, stream: str | None, at: Parts) -> bool:
        if stream is not None or entry.kind is Kind.FILE:
            self._file(parts, entry, stream)
        elif entry.is_directory:
            if parts:
                self._target.make_directory(parts)
                self._counts["directories"] += 1
        elif entry.kind is Kind.SYMLINK:
            target = host_target(entry.target or "", is_windows=self._tree.is_windows)
            self._target.new_symlink(parts, target, lambda: self._leads_to_directory(at), self._looks(entry))
            self._counts["others"] += 1
        elif entry.kind is Kind.SOCKET or not self._options.devices:
            hint = "" if entry.kind is Kind.SOCKET else "; --devices makes it"
            self._leave_out(f"{'/'.join(parts)} is a {entry.kind.value} and left out{hint}")
        else:
            mode = TYPE_OF_KIND[entry.kind] | entry.permissions
            self._target.new_node(parts, mode, entry.device or (0, 0), self._looks(entry))
            self._counts["others"] += 1
        return True

    def _leads_to_directory(self, at: Parts) -> bool:
        """Whether a link of the guest does."""
        try:
            return self._volume.find("/".join(at)).entry.is_directory
        except (FileSystemError, OSError):
            return False

    def _file(self, parts: Parts, entry: Entry, stream: str | None) -> None:
        is_linked = entry.links > 1 and stream is None
        first = self._first.get(entry.identity) if is_linked else None
        if first is not None and self._linked(parts, first):
            return
        content = self._tree.content(entry, stream)
        with self._target.new_file(parts) as descriptor:
            for start, length in content.data_ranges():
                os.lseek(descriptor, start, os.SEEK_SET)
                for count in poured(content, descriptor, length, start):
                    self._counts["bytes"] += count
                    if self._progress is not None:
                        self._progress(self._counts["bytes"], None)
            truncate(descriptor, content.size)
            self._dress(descriptor, parts, entry)
        self._counts["files"] += 1
        if is_linked:
            self._first[entry.identity] = parts

    def _linked(self, parts: Parts, first: Parts) -> bool:
        """Whether a file that was copied got another name, which not every host can give."""
        try:
            self._target.new_link(parts, first)
        except OSError as error:
            if error.errno not in _NO_MORE_LINKS:
                raise
            self._volume.tell(f"{'/'.join(parts)}: a copy of {'/'.join(first)}: {error.strerror}")
            return False
        self._counts["others"] += 1
        return True

    def _finish_directory(self, parts: Parts, entry: Entry) -> None:
        """Its times last: what was made in it has changed them."""
        if parts:
            self._dress(self._target.directory(parts), parts, entry)

    def _looks(self, entry: Entry) -> Looks:
        keeps_owner = self._options.owners and entry.uid is not None and entry.gid is not None
        owner = (entry.uid or 0, entry.gid or 0) if keeps_owner else None
        return Looks(owner, entry.permissions, entry.created, entry.accessed, entry.modified)

    def _dress(self, descriptor: int, parts: Parts, entry: Entry) -> None:
        """Owner, attributes, mode, times, in this order: each changes what comes before it."""
        looks = self._looks(entry)
        if looks.owner is not None:
            give(descriptor, looks.owner)
        if self._options.xattrs:
            self._set_attributes(descriptor, parts, entry)
        dress(descriptor, looks)

    def _set_attributes(self, descriptor: int, parts: Parts, entry: Entry) -> None:
        path = "/".join(parts)
        for name, value in until_damage(
            self._tree.attributes(entry), lambda why: self._leave_out(f"{path}: {why}")
        ):
            try:
                set_attribute(descriptor, name, value)
            except OSError as error:
                self._leave_out(f"{path}: the attribute {name} cannot be set: {error.strerror}")

    def _leave_out(self, sentence: str) -> None:
        self._counts["left_out"] += 1
        self._volume.tell(sentence)
