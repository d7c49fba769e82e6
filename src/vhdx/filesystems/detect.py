"""What stands in a volume: which signatures are looked for, in which order, what more than one means."""

from __future__ import annotations

from importlib import import_module

from vhdx.filesystems.area import Area
from vhdx.filesystems.base import Examined, Identity, NotFreeError, Trusted, examine
from vhdx.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from vhdx.filesystems.base import FileSystem, Read, Recognised, State

    Places = Callable[[int], tuple[int, ...]]

_FRONT = 72 << 10
"""Bytes at the start that hold all signatures but those of arrays, which may stand at the end."""
_BITLOCKER_TO_GO = bytes.fromhex("3bd66749292ed84a8399f6a339e3d001")
_RAID = (b"\xfc\x4e\x2b\xa9", b"\xa9\x2b\x4e\xfc")
_BCACHE = bytes.fromhex("c68573f64e1a45ca8265f57f48ba6d81")
_BCACHEFS = bytes.fromhex("c68573f666ce90a9d96a60cf803df7ef")
_STRATIS = b"!Stra0tis\x86\xff\x02^\x41rh"
_UFS = tuple(magic.to_bytes(4, order) for magic in (0x11954, 0x19540119) for order in ("little", "big"))


class Signature(NamedTuple):
    """What tells a kind: any of these bytes at any of the places, which depend on the size of the volume.

    ``reader`` is the module here whose ``recognise`` reads on, imported when it is needed; without one
    ``reason`` says why nothing of the kind is read. A kind without bytes of its own is there where its
    reader says so.
    """

    kind: str
    places: Places
    magics: tuple[bytes, ...]
    reader: str | None = None
    reason: str = ""


class Hit(NamedTuple):
    """A signature that was found: where, in bytes of the volume, and what it leads to."""

    kind: str
    offset: int
    length: int
    recognised: Recognised


class Found(NamedTuple):
    """What stands in a volume, and other signatures that are there, too, remnants as a rule."""

    recognised: Recognised
    others: tuple[Hit, ...]


class Foreign(NamedTuple):
    """Something that is known by its signature and not read."""

    kind: str
    size: int
    reason: str

    @property
    def identity(self) -> Identity:
        """Nothing but its kind."""
        return Identity(self.kind, None, None, self.size, 0)

    def trusted(self) -> Trusted:
        """Refuse."""
        raise NotFreeError(self.reason, "unknown")


def _at(*offsets: int) -> Places:
    return lambda _: offsets


def _raid_places(size: int) -> tuple[int, ...]:
    """Versions 1.1, 1.2, 1.0 and 0.90."""
    return 0, 4096, (size // 512 - 16 & ~7) * 512, (size & ~0xFFFF) - 0x10000


_PAGES = (4096, 8192, 16384, 32768, 65536)
_SWAP = (b"SWAPSPACE2", b"S1SUSPEND", b"S2SUSPEND", b"ULSUSPEND", b"LINHIB0001")
_ENCRYPTED = "it is encrypted"
_NO_READER = "it is not read here"
_MEMBER = "it is only a part of a pool or an array"
_UNREAD = (
    Signature("BitLocker", _at(3), (b"-FVE-FS-",), reason=_ENCRYPTED),
    Signature("BitLocker", _at(424), (_BITLOCKER_TO_GO,), reason=_ENCRYPTED),
    Signature("LUKS", _at(0), (b"LUKS\xba\xbe",), reason=_ENCRYPTED),
    Signature("ReFS", _at(3), (b"ReFS\0\0\0\0",), reason="how it keeps free space is not published"),
    Signature("mdraid", _raid_places, _RAID, reason=_MEMBER),
    Signature("ZFS", _at(16384 + 12), (b"\0\0\0\x24\0\0\0\x20\0\0\0\7version\0",), reason=_MEMBER),
    Signature("bcache", _at(4096 + 24), (_BCACHE,), reason=_MEMBER),
    Signature("bcachefs", _at(4096 + 24), (_BCACHEFS,), reason=_NO_READER),
    Signature("Stratis", _at(512 + 4, 4608 + 4), (_STRATIS,), reason=_MEMBER),
    Signature("VDO", _at(0), (b"dmvdo001",), reason=_MEMBER),
    Signature("Ceph", _at(0), (b"bluestore block device\n",), reason=_MEMBER),
    Signature("F2FS", _at(1024), (b"\x10\x20\xf5\xf2",), reason=_NO_READER),
    Signature("HFS+", _at(1024), (b"H+\0\4", b"HX\0\5"), reason=_NO_READER),
    Signature("APFS", _at(32), (b"NXSB",), reason=_NO_READER),
    Signature("JFS", _at(32768), (b"JFS1",), reason=_NO_READER),
    Signature("ReiserFS", _at(65536 + 52, 8192 + 52), (b"ReIsEr",), reason=_NO_READER),
    Signature("UFS", _at(8192 + 1372, 65536 + 1372), _UFS, reason=_NO_READER),
    Signature("ISO 9660", _at(32768 + 1), (b"CD001",), reason=_NO_READER),
    Signature("UDF", _at(32768 + 1), (b"BEA01",), reason=_NO_READER),
)
"""What is named and kept, whatever else is there: what makes it need not wipe the signatures of others, and a
remnant of a file system that was there before may agree with itself to the last byte."""
_READ = (
    Signature("XFS", _at(0), (b"XFSB",), "xfs"),
    Signature("btrfs", _at(65536 + 64), (b"_BHRfS_M",), "btrfs"),
    Signature("NTFS", _at(3), (b"NTFS    ",), "ntfs"),
    Signature("exFAT", _at(3), (b"EXFAT   ",), "exfat"),
    Signature("LVM2 PV", _at(0, 512, 1024, 1536), (b"LABELONE",), "lvm"),
    Signature("swap", _at(*(page - 10 for page in _PAGES)), _SWAP, "swap"),
)
"""The most specific first: of several the first is taken, if the others lie in what it calls free."""
_WEAK_SIGNATURES = (
    Signature("ext", _at(1080), (b"\x53\xef",), "ext"),
    Signature("FAT", _at(0), (), "fat"),
)
"""Two bytes, or none: only there where the reader makes sense of the rest. They come last."""

_HIBERNATES = {"NTFS": "ntfs", "swap": "swap"}
"""Kinds on which a machine may sleep, and the reader whose ``hibernated`` tells."""


def detect(read: Read, size: int) -> Found | None:
    """What stands in a volume of ``size`` bytes; None where nothing is known of it."""
    hits = tuple(_hits(Area(read, size)))
    return Found(hits[0].recognised, hits[1:]) if hits else None


def examine_found(found: Found, space: int, *, agree: bool = True) -> Examined:
    """Run the passes over what was found; refuse it unless other signatures lie in what it calls free."""
    examined = examine(found.recognised, space, agree=agree)
    file_system = examined.file_system
    if file_system.reasons or not found.others:
        return examined
    try:
        left = _not_free(examined, found.others)
    except NotFreeError as error:  # its bytes changed between two passes over them
        return _refused(file_system, error.state, error.reason)
    if not left:
        return examined
    names = ", ".join(f"{hit.kind} at {hit.offset}" for hit in left)
    reason = f"there are other signatures, too, so that it may be something else: {names}"
    return _refused(file_system, "unknown", reason)


def _refused(file_system: FileSystem, state: State, reason: str) -> Examined:
    return Examined(file_system._replace(used=None, free=None, state=state, reasons=(reason,)))


def _not_free(examined: Examined, hits: tuple[Hit, ...]) -> list[Hit]:
    """Which signatures are not wholly in what a file system calls free."""
    left = list(hits)
    for runs in examined.free_runs():
        starts, ends = runs[:, 0], runs[:, 0] + runs[:, 1]
        left = [hit for hit in left if not ((starts <= hit.offset) & (ends >= hit.offset + hit.length)).any()]
    return left


def _hits(area: Area) -> Iterator[Hit]:
    front = area.peek(0, _FRONT)
    for signature in (*_UNREAD, *_READ):
        place = _place(signature, area, front)
        if place is not None:
            yield _hit(signature, place, _recognised(signature, area) or _senseless(signature, area.size))
    for signature in _WEAK_SIGNATURES:
        place = _place(signature, area, front)
        recognised = None if place is None else _recognised(signature, area)
        if place is not None and recognised is not None:
            yield _hit(signature, place, recognised)


def _hit(signature: Signature, offset: int, recognised: Recognised) -> Hit:
    length = max(map(len, signature.magics), default=512)
    return Hit(recognised.identity.kind, offset, length, recognised)


def _place(signature: Signature, area: Area, front: bytes) -> int | None:
    """Where the signature stands; 0 where it needs no bytes of its own."""
    if not signature.magics:
        return 0
    longest = max(map(len, signature.magics))
    for offset in signature.places(area.size):
        is_near = 0 <= offset <= len(front) - longest
        there = front[offset : offset + longest] if is_near else area.peek(offset, longest)
        if there.startswith(signature.magics):
            return offset
    return None


def _recognised(signature: Signature, area: Area) -> Recognised | None:
    if signature.reader is None:
        return Foreign(signature.kind, area.size, signature.reason)
    recognised: Recognised | None = _reader(signature.reader).recognise(area.read, area.size)
    return recognised


def _reader(name: str) -> Any:
    return import_module(f"vhdx.filesystems.{name}")


def _senseless(signature: Signature, size: int) -> Foreign:
    return Foreign(signature.kind, size, "it has this signature, and what follows makes no sense")


def hibernated(kind: str, read: Read, size: int) -> bool:
    """Whether a machine sleeps on a volume of this kind, and has other volumes of the disk in its memory."""
    return kind in _HIBERNATES and bool(_reader(_HIBERNATES[kind]).hibernated(read, size))
