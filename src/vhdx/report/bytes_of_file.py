"""Where the bytes of an image are, whatever its format."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from vhdx.disk.formats import format_of_contents
from vhdx.report.bytes_of_vhd import bytes_of_raw, bytes_of_vhd
from vhdx.report.bytes_of_vhdx import bytes_of_vhdx
from vhdx.storage.file import open_for_reading

if TYPE_CHECKING:
    from vhdx.report.file_bytes import FileBytes

_LOOKS = {"vhdx": bytes_of_vhdx, "vhd": bytes_of_vhd, "raw": bytes_of_raw}


def bytes_of_file(path: str, *, lock: bool = True) -> FileBytes:
    """Look where everything is. Raises what opening raises."""
    with contextlib.closing(open_for_reading(path, lock=lock)) as storage:
        found = format_of_contents(path, storage)
    return _LOOKS[found](path, lock=lock)
