"""What a virtual disk can do, whatever it is made of: the protocol that jobs and servers build on."""

from __future__ import annotations

import functools

from vhdx.typed import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any, Literal, TypeAlias, TypeVar

    import typing_extensions
    from numpy.typing import NDArray

    from vhdx.extents import Doubt, Extent

    Buffer: TypeAlias = typing_extensions.Buffer | NDArray[Any]
    """What holds bytes. Arrays of numpy are buffers by their types only from Python 3.12 on."""
    Method = TypeVar("Method", bound=Callable[..., Any])
    Contexts = Mapping[str, Callable[[Extent], int]]

Format: TypeAlias = "Literal['raw', 'vhdx', 'vhd']"


class VirtualDisk(Protocol):
    """A run of bytes of fixed size. Offsets and lengths are bytes of the virtual disk."""

    @property
    def size(self) -> int:
        """The capacity in bytes."""

    @property
    def logical_sector_size(self) -> int:
        """512 or 4096."""

    @property
    def physical_sector_size(self) -> int:
        """512 or 4096."""

    @property
    def read_only(self) -> bool:
        """Whether nothing can be changed through this object."""

    def pread(self, length: int, offset: int) -> bytes:
        """Exactly ``length`` bytes. Raises ValueError for a range that is not wholly inside the disk."""

    def preadinto(self, buffer: Buffer, offset: int) -> None:
        """Fill a writable buffer."""

    def pwrite(self, data: Buffer, offset: int) -> None:
        """Write all of ``data``. Raises io.UnsupportedOperation for a disk that is read-only."""

    def zero(
        self, *, length: int, offset: int, keep_allocated: bool = False, fast_only: bool = False
    ) -> None:
        """Make a range read as zeros, exactly; ``keep_allocated`` keeps what space stands behind it.

        ``fast_only`` raises OSError (ENOTSUP) before anything changed where zeros would have to be written.
        """

    def trim(self, *, length: int, offset: int) -> None:
        """Say that nobody needs the contents of a range any more. Advisory; touches nothing outside it."""

    def flush(self) -> None:
        """Return when everything written before is durable."""

    def extents(self, *, offset: int = 0, length: int | None = None) -> Iterator[Extent]:
        """What a range is made of, in order; None as ``length`` means up to the end of the disk."""

    def data_ranges(self, *, offset: int = 0, length: int | None = None) -> Iterator[tuple[int, int]]:
        """The (offset, length) runs of a range, in order, that may hold something; all else is zeros."""

    @property
    def contexts(self) -> Contexts:
        """What else can be told of an extent: a name as NBD forms it, and the number for an extent.

        0 always means that nothing is known.
        """

    @property
    def doubts(self) -> Iterator[Doubt]:
        """Which ranges may read wrong: none, unless a damaged disk was opened to salvage what can be."""

    def files(self) -> tuple[tuple[int, int], ...]:
        """Device and inode of every file that stands behind the disk, as far as they are known."""

    def close(self) -> None:
        """Let go of all files. Closing twice does no harm."""


def check_range(offset: int, length: int, size: int) -> None:
    """Raise ValueError unless the range is wholly inside a disk of ``size`` bytes."""
    if offset < 0 or length < 0 or offset + length > size:
        raise ValueError(f"{length} bytes at offset {offset} are not inside the disk of {size} bytes")


def check_change(offset: int, length: int, size: int) -> None:
    """The same of a range that is to be cleared, which must not be empty: that is a mistake of the caller."""
    check_range(offset, length, size)
    if not length:
        raise ValueError(f"the range at offset {offset} is empty: its length must be more than 0")


def keywords_only(method: Method) -> Method:
    """Refuse a range that is given without names: two numbers that are swapped are a legal range, too."""
    name = method.__name__

    @functools.wraps(method)
    def called(self: object, *positional: object, **named: object) -> object:
        if positional:
            raise TypeError(f"{name}() takes its range by name: {name}(length=..., offset=...)")
        return method(self, **named)

    return cast("Method", called)


def bytes_in(data: Buffer) -> memoryview:
    """A contiguous buffer as bytes to be written. Raises TypeError for any other."""
    view = memoryview(data)  # type: ignore[arg-type]  # before Python 3.12 arrays do not say it
    return view.cast("B") if view.nbytes else memoryview(b"")


def bytes_of(buffer: Buffer) -> memoryview:
    """A writable, contiguous buffer as bytes. Raises TypeError for any other."""
    view = memoryview(buffer)  # type: ignore[arg-type]  # as above
    if view.readonly:
        raise TypeError("the buffer to read into is read-only")
    return view.cast("B") if view.nbytes else memoryview(bytearray())


def padded_read(disk: VirtualDisk, length: int, offset: int) -> bytes:
    """Bytes of a disk, zeros behind its end."""
    there = max(0, min(length, disk.size - offset))
    return (disk.pread(there, offset) if there else b"").ljust(length, b"\0")
