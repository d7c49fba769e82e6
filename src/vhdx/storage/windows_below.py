"""What `ops.files.target` makes below a directory on Windows: what `below` does on POSIX, by the same names.

Each name is opened relative to a handle of its directory, and what turns out to be another name for
something (a junction, a mounted volume, a symbolic link) is no directory here. Descriptors are numbers of the
C library, which close their handles.
"""

from __future__ import annotations

import ctypes
import errno
import msvcrt
import os
import sys
from ctypes import wintypes
from typing import TYPE_CHECKING

from vhdx.storage import sparse
from vhdx.storage import windows_api as api
from vhdx.storage import windows_names as names
from vhdx.storage import windows_nt as nt
from vhdx.storage.looks import Found
from vhdx.storage.windows_paths import refuse_as_one_name

assert sys.platform == "win32"

if TYPE_CHECKING:
    from collections.abc import Callable

    from vhdx.storage.looks import Looks

_TO_LOOK = nt.READ_ATTRIBUTES
_OF_DIRECTORIES = nt.LIST_DIRECTORY | nt.TRAVERSE | nt.READ_ATTRIBUTES | nt.WRITE_ATTRIBUTES
_OF_FILES = api.GENERIC_WRITE | api.DELETE | nt.READ_ATTRIBUTES
_NOBODY_RENAMES = api.SHARE_READ | api.SHARE_WRITE
_ANOTHER_NAME = 0x20000000
"""A bit of the tags of reparse points: what has it stands for something elsewhere."""
_FIRST_TIME, _TICK_NS = 116444736000000000, 100
"""1970 as Windows counts from 1601, and in which steps."""
_LAST_TIME = (1 << 63) - 1
_WRITABLE = 0o222
_NO_RIGHT_FOR_LINKS = 1314
_DISPOSITION_DELETES, _DISPOSITION_AT_ONCE, _DISPOSITION_READ_ONLY = 0x1, 0x2, 0x10


def open_root(path: str) -> int:
    """A directory by its path, links followed."""
    access, flags = nt.LIST_DIRECTORY | nt.TRAVERSE | nt.READ_ATTRIBUTES, api.FLAG_BACKUP_SEMANTICS
    handle = names.handle_of(path, access, _NOBODY_RENAMES, api.OPEN_EXISTING, flags)
    descriptor = _numbered(handle)
    if not _attributes(handle) & api.ATTRIBUTE_DIRECTORY:
        os.close(descriptor)
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
    return descriptor


def open_directory(name: str, above: int) -> int:
    """A directory in another one. Raises OSError, NotADirectoryError also for a link."""
    handle = _handle(name, above, _OF_DIRECTORIES, share=_NOBODY_RENAMES, kind=nt.OF_DIRECTORY)
    descriptor = _numbered(handle)
    if not _found(handle).is_directory:
        os.close(descriptor)
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), name)
    return descriptor


def make_directory(name: str, above: int) -> None:
    """A new directory. Raises FileExistsError, OSError."""
    api.kernel32.CloseHandle(_handle(name, above, _TO_LOOK, how=nt.CREATE, kind=nt.OF_DIRECTORY))


def found(name: str, above: int) -> Found:
    """What stands under a name. Raises FileNotFoundError, OSError."""
    handle = _handle(name, above, _TO_LOOK)
    try:
        return _found(handle)
    finally:
        api.kernel32.CloseHandle(handle)


def opened(descriptor: int) -> Found:
    """The same of what is open."""
    return _found(msvcrt.get_osfhandle(descriptor))


def create(name: str, above: int) -> int:
    """A new file, sparse where that is asked for. Raises FileExistsError, OSError."""
    share = api.SHARE_READ | api.SHARE_DELETE
    descriptor = _numbered(_handle(name, above, _OF_FILES, share=share, how=nt.CREATE, kind=nt.OF_FILE))
    if sparse.always():
        _make_sparse(msvcrt.get_osfhandle(descriptor))
    return descriptor


def _make_sparse(handle: int) -> None:
    """Let a file have holes, where its file system can: elsewhere it has zeros."""
    count = wintypes.DWORD()
    api.kernel32.DeviceIoControl(handle, api.FSCTL_SET_SPARSE, None, 0, None, 0, ctypes.byref(count), None)


def withdraw(descriptor: int, name: str, above: int) -> None:  # noqa: ARG001  as of POSIX
    """Take a new file away that is open still."""
    _delete(msvcrt.get_osfhandle(descriptor), name)


def remove(name: str, above: int) -> None:
    """Take a file or a link away."""
    access = api.DELETE | nt.READ_ATTRIBUTES | nt.WRITE_ATTRIBUTES
    handle = _handle(name, above, access)
    try:
        _delete(handle, name)
    finally:
        api.kernel32.CloseHandle(handle)


def _delete(handle: int, name: str) -> None:
    """Let a name go: at once where Windows can do that, or when the handle is closed."""
    how = wintypes.DWORD(_DISPOSITION_DELETES | _DISPOSITION_AT_ONCE | _DISPOSITION_READ_ONLY)
    if _set(handle, api.FILE_DISPOSITION_INFO_EX, how):
        return
    _set(handle, api.FILE_BASIC_INFO, api.BasicInfo(attributes=api.ATTRIBUTE_NORMAL))  # read-only files stay
    api.check(_set(handle, api.FILE_DISPOSITION_INFO, wintypes.BOOLEAN(True)), name)


def truncate(descriptor: int, size: int) -> None:
    """Make a file as long as this; what is added is zeros, and a hole in a file that is sparse."""
    api.check(_set(msvcrt.get_osfhandle(descriptor), api.FILE_END_OF_FILE_INFO, ctypes.c_int64(size)))


def link(name: str, above: int, first: str, first_above: int) -> None:
    """Another name for a file. Raises OSError, with ENOTSUP where the file system has no such names."""
    refuse_as_one_name(name)
    handle = _handle(first, first_above, nt.WRITE_ATTRIBUTES, kind=nt.OF_FILE)
    try:
        nt.link_below(handle, msvcrt.get_osfhandle(above), name)
    except OSError as error:
        if error.winerror in api.UNSUPPORTED:
            raise OSError(errno.ENOTSUP, "there are no hard links here") from None
        raise
    finally:
        api.kernel32.CloseHandle(handle)


def symlink(name: str, above: int, target: str, is_directory: Callable[[], bool]) -> None:
    """A symbolic link. Raises OSError, PermissionError where Windows lets us make none.

    It is made by its path: the directory is held open, so that nobody renames it or what is above it.
    """
    refuse_as_one_name(name)
    path = f"{names.path_of_handle(msvcrt.get_osfhandle(above))}\\{name}"
    try:
        os.symlink(target, path, target_is_directory=is_directory())
        found(name, above)
    except FileExistsError:
        raise
    except OSError as error:
        if error.winerror == _NO_RIGHT_FOR_LINKS:
            why = "Windows lets administrators make links, and everybody in its Developer Mode"
            raise PermissionError(errno.EPERM, f"a link to {target}, left out: {why}") from None
        if error.winerror in api.UNSUPPORTED or isinstance(error, FileNotFoundError):
            raise OSError(errno.ENOTSUP, f"a link to {target}, left out: there are none here") from None
        raise


def make_node(name: str, above: int, mode: int, device: tuple[int, int]) -> None:  # noqa: ARG001  as of POSIX
    """Windows has neither devices nor FIFOs among files. Raises OSError."""
    raise OSError(errno.ENOTSUP, "Windows has neither devices nor FIFOs among its files", name)


def give(descriptor: int, owner: tuple[int, int]) -> None:
    """Nothing: owners of Windows are no numbers."""


def set_attribute(descriptor: int, name: str, value: bytes) -> None:  # noqa: ARG001  as of POSIX
    """Windows has other attributes. Raises OSError."""
    raise OSError(errno.ENOTSUP, "Windows has none of that kind")


def dress(descriptor: int, looks: Looks) -> None:
    """Times, and the attribute "read-only" for a file that nobody may write."""
    handle = msvcrt.get_osfhandle(descriptor)
    read_only = not looks.permissions & _WRITABLE and not _found(handle).is_directory
    _dress(handle, looks, api.ATTRIBUTE_READ_ONLY if read_only else 0)


def dress_name(name: str, above: int, looks: Looks) -> None:
    """Times of a link."""
    handle = _handle(name, above, nt.WRITE_ATTRIBUTES)
    try:
        _dress(handle, looks, 0)
    finally:
        api.kernel32.CloseHandle(handle)


def _dress(handle: int, looks: Looks, attributes: int) -> None:
    """A time of 0 and no attributes stay as they are."""
    accessed = looks.modified if looks.accessed is None else looks.accessed
    times = (looks.created, accessed, looks.modified)
    api.check(_set(handle, api.FILE_BASIC_INFO, api.BasicInfo(*map(_ticks, times), 0, attributes)))


def _ticks(time: int | None) -> int:
    """A time as Windows counts it, the nearest that it has; 0 for none."""
    return 0 if time is None else min(max(1, time // _TICK_NS + _FIRST_TIME), _LAST_TIME)


def _set(handle: int, what: int, value: ctypes._CData) -> bool:
    return bool(
        api.kernel32.SetFileInformationByHandle(handle, what, ctypes.byref(value), ctypes.sizeof(value))
    )


def _handle(
    name: str, above: int, access: int, *, share: int = names.ANYBODY, how: int = nt.OPEN, kind: int = 0
) -> int:
    """A handle below a directory. Raises ValueError for a name that only the kernel would take as it is."""
    refuse_as_one_name(name)
    return nt.open_below(msvcrt.get_osfhandle(above), name, access, share=share, how=how, kind=kind)


def _numbered(handle: int) -> int:
    try:
        return msvcrt.open_osfhandle(handle, os.O_BINARY | os.O_NOINHERIT)
    except BaseException:
        api.kernel32.CloseHandle(handle)
        raise


def _found(handle: int) -> Found:
    attributes = _attributes(handle)
    is_directory = bool(attributes & api.ATTRIBUTE_DIRECTORY)
    leads_elsewhere = bool(attributes & api.ATTRIBUTE_REPARSE_POINT and _tag(handle) & _ANOTHER_NAME)
    return Found(names.identity_of_handle(handle), is_directory and not leads_elsewhere)


def _attributes(handle: int) -> int:
    info = api.HandleInfo()
    api.check(api.kernel32.GetFileInformationByHandle(handle, ctypes.byref(info)))
    return info.attributes


def _tag(handle: int) -> int:
    """What kind of reparse point an open one is."""
    attributes_and_tag = (wintypes.DWORD * 2)()
    api.check(
        api.kernel32.GetFileInformationByHandleEx(
            handle,
            api.FILE_ATTRIBUTE_TAG_INFO,
            ctypes.byref(attributes_and_tag),
            ctypes.sizeof(attributes_and_tag),
        )
    )
    return attributes_and_tag[1]
