"""What space files take on Windows: how much there is, and holes in files that are sparse already.

Nothing here makes a file sparse, because Windows attaches no image that is.
"""

from __future__ import annotations

import ctypes
import os
import sys
from typing import TYPE_CHECKING

from vhdx.storage import windows_api as api
from vhdx.storage import windows_calls as calls
from vhdx.storage import windows_names as names

assert sys.platform == "win32"

if TYPE_CHECKING:
    from collections.abc import Iterator

_RANGES_AT_ONCE = 512


def allocated(descriptor: calls.Descriptor) -> int:
    """How many bytes of the host's disk the file takes."""
    found = api.StandardInfo()
    with descriptor as handle:
        api.check(
            api.kernel32.GetFileInformationByHandleEx(
                handle, api.FILE_STANDARD_INFO, ctypes.byref(found), ctypes.sizeof(found)
            )
        )
    return found.allocation_size


def has_attributes(descriptor: calls.Descriptor, attributes: int) -> bool:
    """Whether a file has one of these attributes."""
    if descriptor.sector != 1:
        return False
    found = api.HandleInfo()
    with descriptor as handle:
        api.check(api.kernel32.GetFileInformationByHandle(handle, ctypes.byref(found)))
    return bool(found.attributes & attributes)


def free_space(descriptor: calls.Descriptor) -> int | None:
    """How many bytes the file system of a file has left for us, None where that is not known."""
    free = ctypes.c_uint64()
    try:
        folder = os.path.dirname(names.path_of(descriptor))
    except OSError:
        return None
    if api.kernel32.GetDiskFreeSpaceExW(folder, ctypes.byref(free), None, None):
        return free.value
    return None


def reserve(descriptor: calls.Descriptor, file_offset: int, length: int) -> bool:
    """Whether a range has its space: Windows gives it as a file grows, unless it is sparse or compressed.

    Asking for more could cut the file where another thread extends it meanwhile.
    """
    compact = has_attributes(descriptor, api.ATTRIBUTE_SPARSE | api.ATTRIBUTE_COMPRESSED)
    return not compact and allocated(descriptor) >= file_offset + length


def has_holes(descriptor: calls.Descriptor) -> bool:
    """Whether Windows calls a file sparse."""
    return has_attributes(descriptor, api.ATTRIBUTE_SPARSE)


def is_ntfs(descriptor: calls.Descriptor) -> bool:  # noqa: ARG001
    """Not asked here: Windows makes a file sparse only when it is told to."""
    return False


def shared_unit(_: calls.Descriptor) -> int:
    """0: only ReFS shares space between files, which is not asked for here."""
    return 0


def send(*_: object) -> int:
    """0: what Windows has for it sends to sockets only."""
    return 0


def may_share(*_: object) -> bool:
    """Never: ReFS could, NTFS cannot."""
    return False


def clone_range(*_: object) -> bool:
    """False, as above."""
    return False


def punch(descriptor: calls.Descriptor, file_offset: int, length: int) -> bool:
    """Give a range of a file that is sparse already back to the host; False for all others."""
    if not has_attributes(descriptor, api.ATTRIBUTE_SPARSE):
        return False
    if not length:
        return True
    try:
        calls.control(
            descriptor, api.FSCTL_SET_ZERO_DATA, (ctypes.c_int64 * 2)(file_offset, file_offset + length), None
        )
    except OSError as error:
        if error.winerror in api.UNSUPPORTED:
            return False
        raise
    return True


def zero_range(descriptor: calls.Descriptor, file_offset: int, length: int) -> bool:  # noqa: ARG001  as of POSIX
    """False: Windows has no way to zero a range of a sparse file and keep its space."""
    return False


def data_ranges(descriptor: calls.Descriptor, file_offset: int, length: int) -> Iterator[tuple[int, int]]:
    """The (offset, length) runs of a range that the host does not know to be holes."""
    end = file_offset + length
    found = (ctypes.c_int64 * (2 * _RANGES_AT_ONCE))()
    while file_offset < end:
        ranges = _allocated_ranges(descriptor, file_offset, end - file_offset, found)
        if ranges is None:
            yield file_offset, end - file_offset
            return
        yield from ranges
        if len(ranges) < _RANGES_AT_ONCE:
            return
        file_offset = sum(ranges[-1])


def _allocated_ranges(
    descriptor: calls.Descriptor, file_offset: int, length: int, found: ctypes.Array[ctypes.c_int64]
) -> list[tuple[int, int]] | None:
    """As many as there is room for; None where the host does not tell."""
    if not has_attributes(descriptor, api.ATTRIBUTE_SPARSE):
        return None
    try:
        asked = (ctypes.c_int64 * 2)(file_offset, length)
        count = calls.control(descriptor, api.FSCTL_QUERY_ALLOCATED_RANGES, asked, found)
    except OSError as error:
        if error.winerror in api.UNSUPPORTED:
            return None
        if error.winerror != api.ERROR_MORE_DATA:
            raise
        count = ctypes.sizeof(found)
    return [(found[2 * place], found[2 * place + 1]) for place in range(count // 16)]
