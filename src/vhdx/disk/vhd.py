"""A VHD with its parents as a virtual disk: the older format, which is read and converted, never changed."""

from __future__ import annotations

import io
import os
from itertools import accumulate

from vhdx.disk.base import bytes_of, check_range, keywords_only
from vhdx.disk.layers import resolved, stored_ranges
from vhdx.disk.opened import Disk
from vhdx.disk.parents import (
    MAXIMUM_DEPTH,
    advise_salvage,
    closing_parents,
    first_sentence,
    others_of,
    salvage_of,
)
from vhdx.disk.places import Places
from vhdx.disk.unreadable import told_of_disk
from vhdx.errors import ParentMismatchError, ParentNotFoundError, UnsupportedImageError, VhdxError
from vhdx.extents import ExtentKind, merged
from vhdx.format import vhd
from vhdx.image.vhd import VhdImage
from vhdx.storage.base import fill_zeros
from vhdx.text import command
from vhdx.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import NoReturn
    from uuid import UUID

    from vhdx.disk.base import Buffer, Contexts, Format
    from vhdx.disk.layers import Answers
    from vhdx.disk.places import Named, ParentPolicy
    from vhdx.extents import Doubt, Extent
    from vhdx.format.vhd import DynamicHeader
    from vhdx.storage.base import ReadableStorage

_RELATIVE = (b"W2ru", b"Wi2r")
_FILE_URL = "file://"


class VhdDisk(Disk):
    """A fixed, dynamic or differencing VHD. Owns the storages of its layers.

    Raises CorruptImageError for a range whose bytes the file cannot give.
    """

    format: Format = "vhd"
    logical_sector_size = vhd.SECTOR_SIZE
    physical_sector_size = vhd.SECTOR_SIZE
    read_only = True

    def __init__(self, layers: Sequence[VhdImage], ends_early: str | None = None) -> None:
        self.layers = tuple(layers)
        """The opened files, from the image itself to its base."""
        self._size = layers[0].size
        self._answers = tuple(layer.extents for layer in layers)
        self._storages = tuple(layer.storage for layer in layers)
        self._visible = tuple(accumulate((layer.size for layer in layers), min))
        self._ends_early = ends_early

    @property
    def size(self) -> int:
        """The capacity in bytes."""
        return self._size

    @property
    def disk_type(self) -> str:
        """``"fixed"``, ``"dynamic"`` or ``"differencing"``."""
        return self.layers[0].disk_type

    @property
    def block_size(self) -> int | None:
        """Bytes in a block; None of a fixed one."""
        header = self.layers[0].header
        return None if header is None else header.block_size

    @property
    def disk_id(self) -> UUID:
        """By which children know it."""
        return self.layers[0].footer.unique_id

    @property
    def contexts(self) -> Contexts:
        """Nothing more can be told of a VHD."""
        return {}

    @property
    def chain(self) -> tuple[str, ...]:
        """The names of the files, from the image itself to its base."""
        return tuple(layer.storage.name for layer in self.layers)

    @property
    def doubts(self) -> Iterator[Doubt]:
        """What may read wrong of a VHD that was opened to be salvaged, by its structures alone."""
        from vhdx.disk.doubts import DoubtfulLayer, doubts_of  # noqa: PLC0415  sound images need not wait for it

        layers = [DoubtfulLayer(layer.name, layer.doubts, layer.extents) for layer in self.layers]
        return doubts_of(layers, self.size, self._resolve, self._ends_early)

    def _resolve(self, offset: int, length: int, asks: Sequence[Answers]) -> Iterator[Extent]:
        return resolved(asks, self._visible, offset, length)

    @property
    def findings(self) -> tuple[str, ...]:
        """What is unusual about the image or its parents."""
        return tuple(finding for layer in self.layers for finding in layer.all_findings())

    def hidden_bytes(self, most_blocks: int | None = None) -> int:
        """Bytes that are not zeros behind clear bits of an image without a parent, which read as zeros here.

        Reads what stands there, in the first ``most_blocks`` blocks if given.
        """
        from vhdx.examine.vhd_hidden import hidden_runs  # noqa: PLC0415  only some ask

        base = self.layers[-1]
        runs = hidden_runs(base, most_blocks=most_blocks) if base.uses_bitmaps else ()
        return sum(run.length for run in runs)

    def pread(self, length: int, offset: int) -> bytes:
        """Exactly ``length`` bytes."""
        check_range(offset, length, self.size)
        buffer = bytearray(length)
        self.preadinto(buffer, offset)
        return bytes(buffer)

    def preadinto(self, buffer: Buffer, offset: int) -> None:
        """Fill a writable buffer."""
        view = bytes_of(buffer)
        for extent in self.extents(offset=offset, length=len(view)):
            piece = view[extent.offset - offset : extent.end - offset]
            if extent.kind is ExtentKind.DATA and extent.file_offset is not None:
                try:
                    self.layers[extent.depth - 1].storage.read_into(piece, extent.file_offset)
                except OSError as error:
                    raise told_of_disk(error, extent.offset, extent.length) from None
            else:
                fill_zeros(piece)

    def extents(self, *, offset: int = 0, length: int | None = None) -> Iterator[Extent]:
        """What a range is made of, in order, neighbours that continue each other made one."""
        length = self.size - offset if length is None else length
        check_range(offset, length, self.size)
        return merged(resolved(self._answers, self._visible, offset, length))

    def data_ranges(self, *, offset: int = 0, length: int | None = None) -> Iterator[tuple[int, int]]:
        """The (offset, length) runs of a range that may hold something; holes of the files are left out."""
        extents = self.extents(offset=offset, length=length)
        return (stored for extent in extents for stored in stored_ranges(extent, self._storages))

    def pwrite(self, data: Buffer, offset: int) -> NoReturn:  # noqa: ARG002  the protocol's signature
        """Refused, as every change."""
        self._refuse()

    @keywords_only
    def zero(
        self,
        *,
        length: int,  # noqa: ARG002  the protocol's signature
        offset: int,  # noqa: ARG002
        keep_allocated: bool = False,  # noqa: ARG002
        fast_only: bool = False,  # noqa: ARG002
    ) -> NoReturn:
        """Refused, as every change."""
        self._refuse()

    @keywords_only
    def trim(self, *, length: int, offset: int) -> NoReturn:  # noqa: ARG002  the protocol's signature
        """Refused, as every change."""
        self._refuse()

    def flush(self) -> None:
        """Nothing was written."""

    def _refuse(self) -> NoReturn:
        raise io.UnsupportedOperation("a VHD is only read; vhdx convert makes a VHDX of it")

    def files(self) -> tuple[tuple[int, int], ...]:
        """Device and inode of every file of the chain, as far as they are known."""
        identities = (layer.storage.identity() for layer in self.layers)
        return tuple(identity for identity in identities if identity is not None)

    def close(self) -> None:
        """Let go of all files."""
        for layer in self.layers:
            layer.storage.close()


def vhd_disk(
    storage: ReadableStorage,
    policy: ParentPolicy,
    *,
    lock: bool,
    salvage: bool = False,
    uses_bitmaps: bool = True,
) -> VhdDisk:
    """The disk of the VHD in a storage, which it takes over. Raises as opening a VHDX does.

    With ``salvage`` what is there is read of damaged files and of chains that end early. Without
    ``uses_bitmaps`` every sector of a block of an image without a parent counts as stored.
    """
    try:
        leaf = _loader(salvage)(storage, uses_bitmaps=uses_bitmaps)
        layers, failure = vhd_layers(leaf, policy, lock=lock, salvage=salvage)
    except BaseException:
        storage.close()
        raise
    return VhdDisk(layers, None if failure is None else first_sentence(failure))


def vhd_layers(
    leaf: VhdImage, policy: ParentPolicy, *, lock: bool, salvage: bool
) -> tuple[list[VhdImage], VhdxError | OSError | None]:
    """The image and its parents, opened and verified; with ``salvage`` as far as they can be had, and why."""
    layers = [leaf]
    with closing_parents(layers):
        try:
            while layers[-1].has_parent:
                layers.append(_parent_of(layers, policy, lock=lock, salvage=salvage))
        except (VhdxError, OSError) as error:
            if not salvage:
                raise
            return layers, error
    return layers, None


def named_parent(leaf: VhdImage, policy: ParentPolicy) -> VhdImage:
    """The parent that opening an image finds, open, without a lock. Raises as opening does."""
    return _parent_of([leaf], policy, lock=False, salvage=False)


def _loader(salvage: bool) -> type[VhdImage]:
    if not salvage:
        return VhdImage
    from vhdx.examine.vhd_salvage import SalvagedVhd  # noqa: PLC0415  sound images need not wait for it

    return SalvagedVhd


def _parent_of(layers: list[VhdImage], policy: ParentPolicy, *, lock: bool, salvage: bool) -> VhdImage:
    if len(layers) >= MAXIMUM_DEPTH:
        raise UnsupportedImageError(f"the chain has more than {MAXIMUM_DEPTH} images", image=layers[0].name)
    return _Search(layers, policy, lock=lock, load=_loader(salvage)).parent()


class _Search:
    """One search for the parent of the last layer: a VHD whose unique id the child names."""

    def __init__(
        self, layers: list[VhdImage], policy: ParentPolicy, *, lock: bool, load: type[VhdImage]
    ) -> None:
        self._load = load
        self._child = layers[-1]
        self._lock = lock
        assert self._child.header is not None
        self._header = self._child.header
        self._open_file = policy.open_file
        self._salvage = salvage_of(layers[0].name, policy)
        advise_salvage(layers[0].storage, self._salvage)
        self._in_chain = {layer.storage.identity() for layer in layers} - {None}
        self._places = Places(self._child.storage, policy)
        self._mismatch = False

    def parent(self) -> VhdImage:
        """The parent, opened. Raises ParentNotFoundError or ParentMismatchError with every path tried."""
        for path in self._places.candidates(self._named()):
            if self._is_parent(path):
                return self._opened(path)
        found = self._places.in_directories(self._is_parent, [name for name, _ in self._named()])
        if found:
            if len(found) > 1:
                self._child.findings.append(others_of(found))
            return self._opened(found[0])
        kind = ParentMismatchError if self._mismatch else ParentNotFoundError
        raise kind(
            f"the parent with unique id {self._header.parent_id} was not found. "
            f"Tried:{self._places.tried()}\n",
            image=self._child.name,
            structure="parent locators",
            next_command=command(
                "info {} --chain " + ("--any-parent" if self._places.outside else "--parent-dir DIR"),
                self._child.name,
            ),
        )

    def _named(self) -> Iterator[Named]:
        return names_of_parent(self._child, self._header)

    def _is_parent(self, path: str) -> bool:
        file = self._places.opened(path)
        if file is None:
            return False
        try:
            if file.identity() in self._in_chain:
                self._places.refused[path] = "is in the chain already"
                return False
            found = self._load(file).footer.unique_id
        except (OSError, VhdxError) as error:
            self._places.note_failure(path, error)
            return False
        finally:
            file.close()
        if found != self._header.parent_id:
            self._mismatch = True
            self._places.refused[path] = f"is another image: its unique id is {found}"
            return False
        return True

    def _opened(self, path: str) -> VhdImage:
        """Open what was recognised, with a lock now, and verify it again under the lock."""
        file = self._open_file(path, self._lock)
        advise_salvage(file, self._salvage)
        try:
            parent = self._load(file)
            if parent.footer.unique_id != self._header.parent_id:
                raise ParentMismatchError("the file changed while it was opened", image=path)
            # Some write the time of the parent's footer, some that of its file, which copying changes:
            # the unique id decides, another time is only worth a word.
            if self._header.parent_timestamp not in (parent.footer.timestamp, _time_of_file(file, path)):
                self._child.findings.append(
                    f"the timestamp of {path} is not the one that its child names: "
                    "it was copied, or written to after the child was made"
                )
        except BaseException:
            file.close()
            raise
        return parent


def names_of_parent(child: VhdImage, header: DynamicHeader) -> Iterator[Named]:
    """What a child calls its parent: relative names first, then absolute ones, then that in the header."""
    names = sorted(child.parent_names(), key=lambda named: named[0] not in _RELATIVE)
    for platform, name in names:
        yield _without_scheme(name), platform in _RELATIVE
    yield header.parent_name.replace("\\", "/").rpartition("/")[2], True


def _without_scheme(name: str) -> str:
    """The path of a file URL; any other name as it is."""
    if not name.startswith(_FILE_URL):
        return name
    from urllib.parse import unquote  # noqa: PLC0415  only who looks for parents needs it

    return "/" + unquote(name.removeprefix(_FILE_URL).partition("/")[2])


def _time_of_file(file: ReadableStorage, path: str) -> int | None:
    """When the host last changed a file, as VHD counts; None if the path is not the host's name of it."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    same = (status.st_dev, status.st_ino) == file.identity()
    return int(status.st_mtime) - vhd.EPOCH if same else None
