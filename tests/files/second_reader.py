"""The Sleuth Kit as the second reader of files on a disk, by pytsk3."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from vhdx.disk.base import VirtualDisk

pytsk3 = pytest.importorskip("pytsk3", reason="needs pytsk3, the second reader")
_PIECE = 1 << 20
_OWN = (
    "$OrphanFiles",
    "$MBR",
    "$FAT1",
    "$FAT2",
    "$ALLOC_BITMAP",
    "$UPCASE_TABLE",
    "$VOLUME_GUID",
    "$TEX_FAT",
)
"""What the Sleuth Kit shows as files beside those that there are."""


class _Image(pytsk3.Img_Info):  # type: ignore[misc,name-defined]  # pytsk3 carries no types
    def __init__(self, disk: VirtualDisk) -> None:
        self._disk = disk
        super().__init__(url="", type=pytsk3.TSK_IMG_TYPE_EXTERNAL)

    def get_size(self) -> int:
        return self._disk.size

    def read(self, offset: int, length: int) -> bytes:
        return self._disk.pread(max(0, min(length, self._disk.size - offset)), offset)


def tsk_hashes(disk: VirtualDisk, offset: int = 0) -> dict[str, str]:
    """The SHA-256 of every regular file, by its path, of the file system that begins there."""
    system = pytsk3.FS_Info(_Image(disk), offset=offset)
    found: dict[str, str] = {}
    waiting = [("", system.open_dir("/"))]
    while waiting:
        above, directory = waiting.pop()
        for entry in directory:
            name = entry.info.name.name.decode("utf-8", "surrogateescape")
            meta = entry.info.meta
            if name in (".", "..") or name.endswith(_OWN) or meta is None or not _is_there(entry):
                continue
            if meta.type == pytsk3.TSK_FS_META_TYPE_DIR:
                waiting.append((f"{above}{name}/", entry.as_directory()))
            elif meta.type == pytsk3.TSK_FS_META_TYPE_REG and ":" not in name and not name.startswith("$"):
                found[above + name] = _hash(entry)
    return found


def _is_there(entry: Any) -> bool:
    return bool(int(entry.info.name.flags) & int(pytsk3.TSK_FS_NAME_FLAG_ALLOC))


def _hash(entry: Any) -> str:
    digest = hashlib.sha256()
    size = entry.info.meta.size
    for offset in range(0, size, _PIECE):
        digest.update(entry.read_random(offset, min(_PIECE, size - offset)))
    return digest.hexdigest()
