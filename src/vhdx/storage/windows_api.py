"""What of Windows' own interface is used, as ctypes declares it. Knows neither images nor files' meaning."""

from __future__ import annotations

import ctypes
import sys
from ctypes import wintypes

assert sys.platform == "win32"

GENERIC_READ, GENERIC_WRITE, DELETE = 0x80000000, 0x40000000, 0x00010000
SHARE_READ, SHARE_WRITE, SHARE_DELETE = 1, 2, 4
CREATE_NEW, OPEN_EXISTING = 1, 3
ATTRIBUTE_READ_ONLY, ATTRIBUTE_DIRECTORY, ATTRIBUTE_NORMAL = 0x1, 0x10, 0x80
ATTRIBUTE_SPARSE, ATTRIBUTE_REPARSE_POINT, ATTRIBUTE_COMPRESSED = 0x200, 0x400, 0x800
FLAG_OVERLAPPED, FLAG_BACKUP_SEMANTICS, FLAG_DELETE_ON_CLOSE = 0x40000000, 0x02000000, 0x04000000
FLAG_OPEN_REPARSE_POINT = 0x00200000
TYPE_DISK = 1
NO_ATTRIBUTES = 0xFFFFFFFF
NO_HANDLE = ctypes.c_void_p(-1).value

LOCK_FAIL_IMMEDIATELY, LOCK_EXCLUSIVE = 1, 2
MOVE_REPLACES, MOVE_WRITES_THROUGH = 1, 8

FILE_BASIC_INFO, FILE_STANDARD_INFO, FILE_DISPOSITION_INFO, FILE_END_OF_FILE_INFO = 0, 1, 4, 6
FILE_ATTRIBUTE_TAG_INFO, FILE_ID_INFO, FILE_DISPOSITION_INFO_EX = 9, 18, 21

FSCTL_SET_SPARSE = 0x000900C4
FSCTL_SET_ZERO_DATA = 0x000980C8
FSCTL_QUERY_ALLOCATED_RANGES = 0x000940CF
IOCTL_DISK_GET_DRIVE_GEOMETRY = 0x00070000
IOCTL_DISK_GET_LENGTH_INFO = 0x0007405C

ERROR_INVALID_FUNCTION = 1
ERROR_ACCESS_DENIED = 5
ERROR_SHARING_VIOLATION = 32
ERROR_LOCK_VIOLATION = 33
ERROR_HANDLE_EOF = 38
ERROR_NOT_SUPPORTED = 50
ERROR_INVALID_PARAMETER = 87
ERROR_CALL_NOT_IMPLEMENTED = 120
ERROR_MORE_DATA = 234
ERROR_IO_PENDING = 997

UNSUPPORTED = frozenset(
    {ERROR_INVALID_FUNCTION, ERROR_NOT_SUPPORTED, ERROR_INVALID_PARAMETER, ERROR_CALL_NOT_IMPLEMENTED}
)


class Overlapped(ctypes.Structure):
    """OVERLAPPED: where in the file a request begins, what tells its end, and how it ended."""

    _fields_ = (
        ("status", ctypes.c_size_t),
        ("count", ctypes.c_size_t),
        ("offset_low", wintypes.DWORD),
        ("offset_high", wintypes.DWORD),
        ("event", wintypes.HANDLE),
    )
    status: int
    count: int
    offset_low: int
    offset_high: int
    event: int | None


class BasicInfo(ctypes.Structure):
    """FILE_BASIC_INFO: times, 0 for those that stay; attributes, 0 where they stay."""

    _fields_ = (
        ("created", ctypes.c_int64),
        ("accessed", ctypes.c_int64),
        ("written", ctypes.c_int64),
        ("changed", ctypes.c_int64),
        ("attributes", wintypes.DWORD),
    )


class StandardInfo(ctypes.Structure):
    """FILE_STANDARD_INFO."""

    _fields_ = (
        ("allocation_size", ctypes.c_int64),
        ("end_of_file", ctypes.c_int64),
        ("links", wintypes.DWORD),
        ("delete_pending", wintypes.BOOLEAN),
        ("directory", wintypes.BOOLEAN),
    )
    allocation_size: int


class IdInfo(ctypes.Structure):
    """FILE_ID_INFO: a number of the volume, and 128 bits for the file."""

    _fields_ = (("volume", ctypes.c_uint64), ("file_low", ctypes.c_uint64), ("file_high", ctypes.c_uint64))
    volume: int
    file_low: int
    file_high: int


class HandleInfo(ctypes.Structure):
    """BY_HANDLE_FILE_INFORMATION."""

    _fields_ = (
        ("attributes", wintypes.DWORD),
        ("times", wintypes.FILETIME * 3),
        ("volume", wintypes.DWORD),
        ("size_high", wintypes.DWORD),
        ("size_low", wintypes.DWORD),
        ("links", wintypes.DWORD),
        ("index_high", wintypes.DWORD),
        ("index_low", wintypes.DWORD),
    )
    attributes: int
    volume: int
    index_high: int
    index_low: int


assert ctypes.sizeof(Overlapped) == 32
assert ctypes.sizeof(BasicInfo) == 40
assert ctypes.sizeof(StandardInfo) == 24
assert ctypes.sizeof(IdInfo) == 24
assert ctypes.sizeof(HandleInfo) == 52

kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)

_HANDLE, _DWORD, _BOOL, _ANY, _TEXT = (
    wintypes.HANDLE,
    wintypes.DWORD,
    wintypes.BOOL,
    ctypes.c_void_p,
    wintypes.LPCWSTR,
)
_FUNCTIONS = {
    "CancelIoEx": (_BOOL, _HANDLE, _ANY),
    "CloseHandle": (_BOOL, _HANDLE),
    "CreateEventW": (_HANDLE, _ANY, _BOOL, _BOOL, _TEXT),
    "CreateFileW": (_HANDLE, _TEXT, _DWORD, _DWORD, _ANY, _DWORD, _DWORD, _HANDLE),
    "DeviceIoControl": (_BOOL, _HANDLE, _DWORD, _ANY, _DWORD, _ANY, _DWORD, _ANY, _ANY),
    "DuplicateHandle": (_BOOL, _HANDLE, _HANDLE, _HANDLE, _ANY, _DWORD, _BOOL, _DWORD),
    "FlushFileBuffers": (_BOOL, _HANDLE),
    "GetCurrentProcess": (_HANDLE,),
    "GetDiskFreeSpaceExW": (_BOOL, _TEXT, _ANY, _ANY, _ANY),
    "GetFileAttributesW": (_DWORD, _TEXT),
    "GetFileInformationByHandle": (_BOOL, _HANDLE, _ANY),
    "GetFileInformationByHandleEx": (_BOOL, _HANDLE, ctypes.c_int, _ANY, _DWORD),
    "GetFileSizeEx": (_BOOL, _HANDLE, _ANY),
    "GetFileType": (_DWORD, _HANDLE),
    "GetFinalPathNameByHandleW": (_DWORD, _HANDLE, _TEXT, _DWORD, _DWORD),
    "GetOverlappedResult": (_BOOL, _HANDLE, _ANY, _ANY, _BOOL),
    "LockFileEx": (_BOOL, _HANDLE, _DWORD, _DWORD, _DWORD, _DWORD, _ANY),
    "MoveFileExW": (_BOOL, _TEXT, _TEXT, _DWORD),
    "OpenProcess": (_HANDLE, _DWORD, _BOOL, _DWORD),
    "ReadFile": (_BOOL, _HANDLE, _ANY, _DWORD, _ANY, _ANY),
    "SetFileInformationByHandle": (_BOOL, _HANDLE, ctypes.c_int, _ANY, _DWORD),
    "UnlockFileEx": (_BOOL, _HANDLE, _DWORD, _DWORD, _DWORD, _ANY),
    "WaitForSingleObject": (_DWORD, _HANDLE, _DWORD),
    "WriteFile": (_BOOL, _HANDLE, _ANY, _DWORD, _ANY, _ANY),
}
"""Each function with the type of its result and those of its arguments."""

for _name, (_result, *_arguments) in _FUNCTIONS.items():
    _function = getattr(kernel32, _name)
    _function.restype, _function.argtypes = _result, _arguments


def last_error(name: str | None = None) -> OSError:
    """What went wrong in the call before, with the number that other hosts have for it."""
    return error_of(ctypes.get_last_error(), name)


def error_of(code: int, name: str | None = None) -> OSError:
    """The error with Windows' number; Python finds the number that other hosts have for it."""
    return OSError(0, ctypes.FormatError(code).strip(), name, code)


def check(success: int, name: str | None = None) -> None:
    """Raise OSError for a call that failed."""
    if not success:
        raise last_error(name)
