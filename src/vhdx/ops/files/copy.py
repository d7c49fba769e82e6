"""Copy files and trees of a guest into a directory of the host."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from vhdx.errors import FileSystemError
from vhdx.files.base import TYPE_OF_KIND, Kind
from vhdx.files.host_names import host_name
from vhdx.files.sending import poured
from vhdx.files.walk import until_damage
from vhdx.ops.files.target import Target

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from vhdx.files.base import Entry
    from vhdx.files.resolve import Found
    from vhdx.files.volume import FileVolume
    from vhdx.ops.files.target import Parts

    Progress = Callable[[int, int | None], None]

_PLAIN_MODE = 0o777
"""What is kept of a mode where the owner is not: no file may act as somebody whom the guest chose."""


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
            parts = (*top, *(self._named(part, step.parts) for part in step.parts))
            if step.left:
                self._finish_directory(parts, step.entry)
            elif not self._attempt(parts, step.entry) and step.entry.is_directory:
                left_out = step.parts

    def _named(self, part: str, parts: Parts) -> str:
        name = host_name(part)
        if name != part and part == parts[-1]:
            self._volume.tell(f"{'/'.join(parts)}: written as {name}")
        return name

    def _attempt(self, parts: Parts, entry: Entry, stream: str | None = None) -> bool:
        """Copy one entry; tell what cannot be copied, and whether it was."""
        try:
            return self._one(parts, entry, stream)
        except FileExistsError:
            self._leave_out(
                f"{'/'.join(parts)} exists already, or differs only in case; --force replaces files"
            )
        except (FileSystemError, PermissionError, ValueError) as error:
            self._leave_out(f"{'/'.join(parts)}: {error}")
        return False

    def _one(self, parts: Parts, entry: Entry, stream: str | None) -> bool:
        if stream is not None or entry.kind is Kind.FILE:
            self._file(parts, entry, stream)
        elif entry.is_directory:
            if parts:
                self._target.make_directory(parts)
                self._counts["directories"] += 1
        elif entry.kind is Kind.SYMLINK:
            above = self._target.new_symlink(parts, entry.target or "")
            self._dress_name(parts[-1], above, entry)
        elif entry.kind is Kind.SOCKET or not self._options.devices:
            hint = "" if entry.kind is Kind.SOCKET else "; --devices makes it"
            self._leave_out(f"{'/'.join(parts)} is a {entry.kind.value} and left out{hint}")
        else:
            mode = TYPE_OF_KIND[entry.kind] | entry.permissions
            above = self._target.new_node(parts, mode, entry.device or (0, 0))
            self._dress_name(parts[-1], above, entry)
        return True

    def _file(self, parts: Parts, entry: Entry, stream: str | None) -> None:
        is_linked = entry.links > 1 and stream is None
        first = self._first.get(entry.identity) if is_linked else None
        if first is not None:
            self._target.new_link(parts, first)
            self._counts["others"] += 1
            return
        content = self._tree.content(entry, stream)
        with self._target.new_file(parts) as descriptor:
            for start, length in content.data_ranges():
                os.lseek(descriptor, start, os.SEEK_SET)
                for count in poured(content, descriptor, length, start):
                    self._counts["bytes"] += count
                    if self._progress is not None:
                        self._progress(self._counts["bytes"], None)
            os.ftruncate(descriptor, content.size)
            self._dress(descriptor, parts, entry)
        self._counts["files"] += 1
        if is_linked:
            self._first[entry.identity] = parts

    def _finish_directory(self, parts: Parts, entry: Entry) -> None:
        """Its times last: what was made in it has changed them."""
        if parts:
            self._dress(self._target.directory(parts), parts, entry)

    def _dress(self, descriptor: int, parts: Parts, entry: Entry) -> None:
        """Owner, attributes, mode, times, in this order: each changes what comes before it."""
        keeps_owner = self._options.owners and entry.uid is not None and entry.gid is not None
        if keeps_owner and entry.uid is not None and entry.gid is not None:
            os.fchown(descriptor, entry.uid, entry.gid)
        if self._options.xattrs:
            self._set_attributes(descriptor, parts, entry)
        os.fchmod(descriptor, entry.permissions & (0o7777 if keeps_owner else _PLAIN_MODE))
        if entry.modified is not None:
            os.utime(descriptor, ns=_times(entry))

    def _set_attributes(self, descriptor: int, parts: Parts, entry: Entry) -> None:
        path = "/".join(parts)
        for name, value in until_damage(
            self._tree.attributes(entry), lambda why: self._leave_out(f"{path}: {why}")
        ):
            try:
                os.setxattr(descriptor, os.fsencode(name), value)
            except (OSError, AttributeError) as error:  # the latter where hosts have none
                self._leave_out(f"{path}: the attribute {name} cannot be set: {error}")

    def _dress_name(self, name: str, above: int, entry: Entry) -> None:
        """The same for what cannot be opened."""
        self._counts["others"] += 1
        if self._options.owners and entry.uid is not None and entry.gid is not None:
            os.chown(name, entry.uid, entry.gid, dir_fd=above, follow_symlinks=False)
        if entry.kind is not Kind.SYMLINK:
            os.chmod(name, entry.permissions & _PLAIN_MODE, dir_fd=above)
        if entry.modified is not None:
            os.utime(name, ns=_times(entry), dir_fd=above, follow_symlinks=False)

    def _leave_out(self, sentence: str) -> None:
        self._counts["left_out"] += 1
        self._volume.tell(sentence)


def _times(entry: Entry) -> tuple[int, int]:
    modified = entry.modified or 0
    return (modified if entry.accessed is None else entry.accessed), modified
