"""Names opened relative to a directory that is open: what only the kernel's own calls of Windows have.

They take one name as it stands: none is a device, no dot or blank is dropped, and no link is followed.
"""

from __future__ import annotations

import ctypes
import sys
from ctypes import wintypes

from vhdx.storage import windows_api as api

assert sys.platform == "win32"

LIST_DIRECTORY, TRAVERSE, READ_ATTRIBUTES, WRITE_ATTRIBUTES = 0x1, 0x20, 0x80, 0x100
OPEN, CREATE = 1, 2
OF_DIRECTORY, OF_FILE = 0x1, 0x40
_SYNCHRONIZE = 0x100000
_ONE_CALL_AT_A_TIME, _FOR_BACKUP, _NO_LINKS = 0x20, 0x4000, 0x200000
_CASE_INSENSITIVE = 0x40
_LINK_INFORMATION = 11


class _Text(ctypes.Structure):
    """UNICODE_STRING: lengths in bytes."""

    _fields_ = (("length", wintypes.USHORT), ("room", wintypes.USHORT), ("characters", ctypes.c_void_p))


class _Name(ctypes.Structure):
    """OBJECT_ATTRIBUTES: a name, and the directory that it is in."""

    _fields_ = (
        ("size", wintypes.ULONG),
        ("above", wintypes.HANDLE),
        ("name", ctypes.POINTER(_Text)),
        ("attributes", wintypes.ULONG),
        ("security", ctypes.c_void_p),
        ("quality", ctypes.c_void_p),
    )


class _Status(ctypes.Structure):
    """IO_STATUS_BLOCK."""

    _fields_ = (("status", ctypes.c_size_t), ("information", ctypes.c_size_t))


class _LinkHead(ctypes.Structure):
    """FILE_LINK_INFORMATION up to its name; no shorter one than this, padding included, is taken."""

    _fields_ = (("replaces", wintypes.BOOLEAN), ("above", wintypes.HANDLE), ("length", wintypes.ULONG))


_NAME_OF_LINK = _LinkHead.length.offset + ctypes.sizeof(wintypes.ULONG)
assert ctypes.sizeof(_Text) == 16
assert ctypes.sizeof(_Name) == 48
assert _NAME_OF_LINK == 20

_ntdll = ctypes.WinDLL("ntdll")
_ULONG, _ANY = wintypes.ULONG, ctypes.c_void_p
_NtCreateFile = _ntdll.NtCreateFile
_NtCreateFile.restype = ctypes.c_int32
_NtCreateFile.argtypes = [_ANY, _ULONG, _ANY, _ANY, _ANY, _ULONG, _ULONG, _ULONG, _ULONG, _ANY, _ULONG]
_NtSetInformationFile = _ntdll.NtSetInformationFile
_NtSetInformationFile.restype = ctypes.c_int32
_NtSetInformationFile.argtypes = [wintypes.HANDLE, _ANY, _ANY, _ULONG, ctypes.c_int]
_code_of = _ntdll.RtlNtStatusToDosError
_code_of.restype, _code_of.argtypes = _ULONG, [ctypes.c_int32]


def open_below(above: int, name: str, access: int, *, share: int, how: int, kind: int = 0) -> int:
    """A handle of what stands under a name in a directory, or of a new file or directory there.

    A link is opened itself. Raises FileNotFoundError, FileExistsError, OSError.
    """
    raw = name.encode("utf-16-le", "surrogatepass")
    characters = ctypes.create_string_buffer(raw, len(raw))
    text = _Text(len(raw), len(raw), ctypes.addressof(characters))
    full = _Name(ctypes.sizeof(_Name), above, ctypes.pointer(text), _CASE_INSENSITIVE, None, None)
    handle, status = wintypes.HANDLE(), _Status()
    options = kind | _ONE_CALL_AT_A_TIME | _FOR_BACKUP | _NO_LINKS
    result = _NtCreateFile(
        ctypes.byref(handle),
        access | _SYNCHRONIZE,
        ctypes.byref(full),
        ctypes.byref(status),
        None,
        0,
        share,
        how,
        options,
        None,
        0,
    )
    if result < 0:
        raise api.error_of(_code_of(result), name)
    assert handle.value is not None
    return handle.value


def link_below(handle: int, above: int, name: str) -> None:
    """Another name for an open file, in a directory. Raises FileExistsError, OSError."""
    raw = name.encode("utf-16-le", "surrogatepass")
    asked = bytes(_LinkHead(False, above, len(raw)))[:_NAME_OF_LINK] + raw
    asked = asked.ljust(ctypes.sizeof(_LinkHead), b"\0")
    status = _Status()
    result = _NtSetInformationFile(handle, ctypes.byref(status), asked, len(asked), _LINK_INFORMATION)
    if result < 0:
        raise api.error_of(_code_of(result), name)
