"""A file system of fsspec: files inside of an image by URL, for pandas, polars, duckdb and others.

``vhdx://home/me/data.csv::file:///disks/ext4.vhdx``: the path in the guest, then where the image is, which
may be anything that fsspec opens.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from fsspec import AbstractFileSystem
from fsspec.core import open as open_by_url

from vhdx.disk.open import open_any, open_disk
from vhdx.files.stream import opened
from vhdx.files.volume import chosen

if TYPE_CHECKING:
    from vhdx.files.base import Entry

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class VhdxFileSystem(AbstractFileSystem):
    """The files of one volume of an image, read-only.

    ``fo`` is the image, a path or URL; ``partition`` and ``volume`` say which volume, where it has several.
    """

    protocol = "vhdx"
    root_marker = ""

    def __init__(
        self,
        fo: str = "",
        *,
        target_protocol: str | None = None,
        target_options: dict[str, Any] | None = None,
        partition: int | None = None,
        volume: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if not fo:
            raise ValueError("the URL names no image: vhdx://PATH::file:///IMAGE.vhdx")
        if target_protocol in (None, "file", "local"):
            self._disk: Any = open_any(fo)
        else:
            self._image = open_by_url(fo, "rb", protocol=target_protocol, **(target_options or {})).open()
            self._disk = open_disk(self._image)
        self._volume = chosen(self._disk, partition=partition, volume=volume)

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        """What is in a directory, or the file itself."""
        found = self._volume.find(self._strip_protocol(path))
        if found.entry.is_directory:
            rows = [((*found.parts, each.name), each) for each in self._volume.tree.entries(found.entry)]
        else:
            rows = [(found.parts, found.entry)]
        infos = [_info(parts, entry) for parts, entry in rows]
        return infos if detail else [info["name"] for info in infos]

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """What stands at a path, links followed."""
        found = self._volume.find(self._strip_protocol(path))
        return _info(found.parts, found.entry)

    def modified(self, path: str) -> datetime:
        """When a file's contents changed; DuckDB asks. 1970 where its file system keeps no times."""
        return _EPOCH + timedelta(microseconds=(self._entry(path).modified or 0) // 1000)

    def created(self, path: str) -> datetime:
        """When a file was made, or changed where that is not kept."""
        entry = self._entry(path)
        return _EPOCH + timedelta(microseconds=(entry.created or entry.modified or 0) // 1000)

    def _entry(self, path: str) -> Entry:
        return self._volume.find(self._strip_protocol(path)).entry

    def _open(self, path: str, mode: str = "rb", **_: Any) -> Any:
        """A file object; only for reading."""
        if mode != "rb":
            raise OSError(30, "files of guests are only read", path)
        found = self._volume.find(path)
        if found.entry.is_directory:
            raise IsADirectoryError(path)
        return opened(self._volume.tree.content(found.entry, found.stream))


def _info(parts: tuple[str, ...], entry: Entry) -> dict[str, Any]:
    return {
        "name": "/".join(parts),
        "size": entry.size,
        "type": entry.kind.value,
        "mode": entry.permissions,
        "mtime": None if entry.modified is None else entry.modified / 1e9,
        "ino": entry.identity,
    }
