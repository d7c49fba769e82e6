"""A chain of images, child over parent, as one virtual disk. A chain of one is the ordinary case."""

from __future__ import annotations

import io
import os
import warnings
import weakref
from _thread import allocate_lock, get_ident  # as `threading` has them, which takes longer to import
from itertools import accumulate

from vhdx.disk.base import bytes_in, bytes_of, check_change, check_range, keywords_only
from vhdx.disk.contexts import chain_contexts
from vhdx.disk.doubts import DoubtfulLayer, doubts_of
from vhdx.disk.layers import resolved, stored_ranges
from vhdx.disk.nearest import Nearest, answers_of
from vhdx.disk.opened import Disk
from vhdx.disk.unreadable import told_of_disk
from vhdx.errors import ImageFailedError
from vhdx.extents import ExtentKind, merged
from vhdx.format import guids, locator
from vhdx.image.read import ASK_BELOW, SPLIT, ZEROS
from vhdx.reentry import Entrance, one_entrance
from vhdx.storage.base import fill_zeros
from vhdx.storage.file import identity_of
from vhdx.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from uuid import UUID

    from vhdx.disk.base import Buffer, Contexts, Format
    from vhdx.disk.commits import Commits
    from vhdx.disk.layers import Answers
    from vhdx.disk.nearest import Answer
    from vhdx.extents import Doubt, Extent
    from vhdx.image.image import Image
    from vhdx.storage.sharing import FileRange
    from vhdx.write.write import Writer

_FEW_LAYERS = 2
"""Of longer chains it is remembered who answers where."""
_FEW_BLOCKS = 16
"""Ranges over more of them are read by extents, whatever the chain."""


class VhdxDisk(Disk):
    """The disk in a VHDX with its parents."""

    format: Format = "vhdx"

    def __init__(
        self,
        layers: Sequence[Image],
        make_writer: Callable[[Callable[[], None]], Writer] | None = None,
        ends_early: str | None = None,
        commit_interval: float = 0,
    ) -> None:
        self._layers = tuple(layers)
        self._ends_early = ends_early
        self._leaf = self._layers[0]
        self._leaf_reader = self._leaf.reader
        self._size = self._leaf.geometry.disk_size
        self._closed = False
        self._forked = False
        self._closing = allocate_lock()
        self._entrance = Entrance(self._leaf.name, self._leaf.pages.lock)
        self._answers: tuple[Answer, ...] = answers_of(self._layers)
        self._near = Nearest(self._layers) if len(self._layers) > _FEW_LAYERS else None
        self._storages = tuple(layer.storage for layer in self._layers)
        self._asks: tuple[Answers, ...] = tuple(layer.reader.extents for layer in self._layers)
        # A layer is asked only for what every layer over it has: past the end of a short parent are zeros.
        self._visible = tuple(accumulate((layer.geometry.disk_size for layer in self._layers), min))
        self._contexts: Contexts | None = None
        self._writer = make_writer(_refuse_later(self)) if make_writer else None
        _open_disks.add(self)
        self._commits = self._committing(commit_interval) if commit_interval else None

    def _committing(self, interval: float) -> Commits:
        from vhdx.disk.commits import Commits  # noqa: PLC0415  readers need not wait for it

        return Commits(self, interval)

    @property
    def size(self) -> int:
        """The capacity in bytes."""
        return self._size

    @property
    def read_only(self) -> bool:
        """Whether the disk was opened for reading only."""
        return self._writer is None

    @property
    def disk_type(self) -> str:
        """``"fixed"``, ``"dynamic"`` or ``"differencing"``."""
        return self._leaf.metadata.disk_type

    @property
    def block_size(self) -> int:
        """Bytes in a payload block of the image itself; its parents may have others."""
        return self._leaf.geometry.block_size

    @property
    def logical_sector_size(self) -> int:
        """The unit in which the disk is addressed: 512 or 4096 bytes, the same in all layers."""
        return self._leaf.geometry.logical_sector_size

    @property
    def physical_sector_size(self) -> int:
        """The unit in which the disk says it is best written: 512 or 4096 bytes."""
        return self._leaf.metadata.physical_sector_size

    @property
    def disk_id(self) -> UUID:
        """The identity that a guest sees (SCSI page 83)."""
        return self._leaf.metadata.disk_id

    @property
    def chain(self) -> tuple[str, ...]:
        """The names of the files, from the image itself to its base."""
        return tuple(layer.name for layer in self._layers)

    @property
    def layers(self) -> tuple[Image, ...]:
        """The opened files, from the image itself to its base."""
        return self._layers

    def pread(self, length: int, offset: int) -> bytes:
        """Exactly ``length`` bytes of the disk from ``offset`` on.

        Raises ValueError for a range that is not wholly inside the disk; nothing is shortened.
        """
        if offset < 0 or length < 0 or offset + length > self._size:
            check_range(offset, length, self._size)
        place = ASK_BELOW
        near = self._near
        for locate, reader, storage in self._answers if near is None else near.answers(offset, length):
            generation = reader.generation
            place = locate(offset, length)
            if place > 0:
                try:
                    data = storage.read(length, place)
                except OSError as error:
                    raise told_of_disk(error, offset, length) from None
                if reader.generation == generation:
                    return data
            if place != ASK_BELOW:
                break
        if place in (ZEROS, ASK_BELOW):
            return bytes(length)
        buffer = bytearray(length)
        self._read_several(memoryview(buffer), offset)
        return bytes(buffer)

    def preadinto(self, buffer: Buffer, offset: int) -> None:
        """Fill a writable, contiguous buffer with the bytes of the disk from ``offset`` on."""
        view = bytes_of(buffer)
        length = len(view)
        if offset < 0 or offset + length > self._size:
            check_range(offset, length, self._size)
        near = self._near
        for locate, reader, storage in self._answers if near is None else near.answers(offset, length):
            generation = reader.generation
            place = locate(offset, length)
            if place > 0:
                try:
                    storage.read_into(view, place)
                except OSError as error:
                    raise told_of_disk(error, offset, length) from None
                if reader.generation == generation:
                    return
            if place != ASK_BELOW:
                break
        self._read_several(view, offset)

    def _read_several(self, view: memoryview, offset: int) -> None:
        """Fill a buffer with what no single place holds: of long chains block by block, where these are few.

        Asking one layer after the other for extents takes longer than a system call more for each block.
        """
        geometry, length = self._leaf.geometry, len(view)
        first, last = offset >> geometry.block_shift, (offset + length - 1) >> geometry.block_shift
        if self._near is None or not 0 < last - first < _FEW_BLOCKS:
            self._read_extents(view, offset)
            return
        done = 0
        for span in geometry.spans(offset, length):
            self.preadinto(view[done : done + span.length], offset + done)
            done += span.length

    def _read_extents(self, view: memoryview, offset: int) -> None:
        """Fill a buffer piece by piece; once more if space that was read may have got another owner."""
        generation = -1
        while generation != self._leaf_reader.generation:
            generation = self._leaf_reader.generation
            for extent in merged(self.resolved(offset, len(view), self._asks)):
                piece = view[extent.offset - offset : extent.end - offset]
                if extent.kind is ExtentKind.DATA and extent.file_offset is not None:
                    try:
                        self._layers[extent.depth - 1].storage.read_into(piece, extent.file_offset)
                    except OSError as error:
                        raise told_of_disk(error, extent.offset, extent.length) from None
                else:
                    fill_zeros(piece)

    def extents(self, *, offset: int = 0, length: int | None = None) -> Iterator[Extent]:
        """What a range is made of, in order, neighbours that continue each other made one.

        ``length`` None means up to the end of the disk. Bounded memory, whatever the disk's size.
        """
        self._check()
        length = self._size - offset if length is None else length
        check_range(offset, length, self._size)
        return merged(self.resolved(offset, length, self._asks))

    @property
    def doubts(self) -> Iterator[Doubt]:
        """What may read wrong of a disk that was opened with ``salvage``, from its tables alone; may overlap.

        Of any other disk nothing: what it cannot read right raises. Bounded memory, whatever the damage.
        """
        self._check()
        layers = [DoubtfulLayer(layer.name, layer.doubts, layer.reader.extents) for layer in self._layers]
        return doubts_of(layers, self._size, self.resolved, self._ends_early)

    def changed_extents(self, *, since: int | str | os.PathLike[str] | None = None) -> Iterator[Extent]:
        """What the image, or a run of layers from it downwards, changed: extents of data and of zeros.

        ``since`` is the layer that is looked at from: its depth (2 is the parent, which None means, too) or
        its file. Sector-exact, in order, from the tables and bitmaps alone: no contents are read. Space
        behind the end of that layer that nobody wrote to is not a change.
        Raises ValueError if the chain has no such layer under the image.
        """
        self._check()
        return merged(self._changes(self.depth_of(since) - 1))

    def _changes(self, above: int) -> Iterator[Extent]:
        """What the first ``above`` layers say; zeros where one is too short to show what was there."""
        if above == 1:  # it is as long as what it shows: nothing is hidden by its end
            return self._leaf_reader.said_extents(0, self._size)
        return self._changes_of_several(above)

    def _changes_of_several(self, above: int) -> Iterator[Extent]:
        shown, had = self._visible[above - 1], self._layers[above].geometry.disk_size
        for extent in self.resolved(0, self._size, self._asks[:above]):
            if extent.kind is not ExtentKind.UNALLOCATED:
                yield extent
            elif max(extent.offset, shown) < min(extent.end, had):
                hidden = extent.part(max(extent.offset, shown), min(extent.end, had))
                yield hidden._replace(kind=ExtentKind.ZERO)

    @property
    def contexts(self) -> Contexts:
        """What can be told of an extent beside its kind: the block's state, the layer that answered.

        And for each ancestor whether it was changed since.
        """
        if self._contexts is None:
            self._contexts = chain_contexts(self._layers, self._visible)
        return self._contexts

    def data_ranges(self, *, offset: int = 0, length: int | None = None) -> Iterator[tuple[int, int]]:
        """The (offset, length) runs of a range, in order, that may hold something; all else is zeros.

        Finer than `extents`: holes of the host's files inside present blocks are left out.
        """
        extents = self.extents(offset=offset, length=length)
        return (stored for extent in extents for stored in self.stored_ranges(extent))

    def stored_ranges(self, extent: Extent) -> Iterator[tuple[int, int]]:
        """The (offset, length) runs of one of the disk's extents that are no holes in the host's files."""
        return stored_ranges(extent, self._storages)

    def own_extents(self) -> Iterator[Extent]:
        """What the image itself says, its parents not asked: UNALLOCATED is where it says nothing."""
        self._check()
        return merged(self.resolved(0, self._size, self._asks[:1]))

    def depth_of(self, since: int | str | os.PathLike[str] | None) -> int:
        """The depth of a layer under the image: 2 for its parent, which None means, and so on.

        Raises ValueError if the chain has no such layer under the image.
        """
        if isinstance(since, str | os.PathLike):
            identities = [layer.file.identity() for layer in self._layers]
            found = identity_of(since)
            above = identities.index(found) if found in identities else 0
        else:
            above = 1 if since is None else since - 1
        if len(self._layers) == 1:
            raise ValueError(
                f"{self._leaf.name} is no differencing image: it has no parent against which it changed; "
                "vhdx compare compares any two disks"
            )
        if not 0 < above < len(self._layers):
            wanted = "its parent" if since is None else since
            raise ValueError(
                f"{wanted} is not a layer under {self._leaf.name}; its layers: {', '.join(self.chain)}"
            )
        return above + 1

    def resolved(self, offset: int, length: int, asks: Sequence[Answers]) -> Iterator[Extent]:
        """What the uppermost layers say of a range, ``asks`` being how each of them is asked."""
        return resolved(asks, self._visible, offset, length)

    def pwrite(self, data: Buffer, offset: int) -> None:
        """Write all of ``data`` at ``offset``, any byte offset and length inside the disk.

        Durable after the next `flush`. Raises ValueError for a range that is not wholly inside the disk.
        """
        view = data if type(data) is bytes else bytes_in(data)
        length = len(view)
        if offset < 0 or offset + length > self._size:
            check_range(offset, length, self._size)
        writer = self._writer
        if writer is None or self._forked:
            writer = self._writable()
        entrance, me = self._entrance, get_ident()  # as `one_entrance`, which takes longer
        inside = entrance.inside
        if me in inside or entrance.is_locked():
            raise entrance.refusal("pwrite")
        try:
            inside.add(me)
            if length:
                writer.pwrite(view, offset)
        finally:
            inside.discard(me)

    @one_entrance
    def share(self, found: FileRange, offset: int) -> None:
        """Write bytes that stand in a file, letting the image share their space where that can be."""
        check_range(offset, found.length, self._size)
        self._writable().share(found, offset)

    @keywords_only
    @one_entrance
    def zero(
        self, *, length: int, offset: int, keep_allocated: bool = False, fast_only: bool = False
    ) -> None:
        """Make a range read as zeros, exactly. Whole blocks give their space back, except on fixed images.

        ``keep_allocated`` keeps what space there is behind the zeros; ``fast_only`` raises OSError
        (ENOTSUP) at once, before anything changed, where zeros would have to be written.
        """
        check_change(offset, length, self._size)
        self._writable().zero(length, offset, keep_allocated=keep_allocated, fast_only=fast_only)

    @keywords_only
    @one_entrance
    def trim(self, *, length: int, offset: int) -> None:
        """Say that nobody needs the contents of a range any more. Advisory.

        Whole blocks read as zeros afterwards and give their space back; of parts of blocks the host may
        take back what it can. Fixed images stay as they are.
        """
        check_change(offset, length, self._size)
        self._writable().trim(length, offset)

    @one_entrance
    def flush(self) -> None:
        """Return when everything written before is durable. Costs nothing when nothing was written."""
        self._check()
        writer = self._writer
        if writer is not None:  # another thread may be closing
            writer.flush()

    @one_entrance
    def keep_identity(self) -> None:
        """Before the first write: say that no read will ever tell the difference; the DataWriteGuid stays."""
        self._writable().keep_identity()

    @one_entrance
    def take_identity(self, data_write_guid: UUID) -> None:
        """Before the first write: give the contents this DataWriteGuid, durably."""
        self._writable().take_identity(data_write_guid)

    @one_entrance
    def replay(self) -> bool:
        """Replay a dirty log in its place now, and not with the first change; whether there was one."""
        return self._writable().recover()

    @one_entrance
    def replace_locator(self, values: dict[str, str]) -> None:
        """Rewrite the parent locator of the image, durably; its contents keep their identity."""
        self._writable().replace_item(guids.PARENT_LOCATOR, locator.pack(values))

    def _writable(self) -> Writer:
        self._check()
        if self._writer is None:
            raise io.UnsupportedOperation('the disk was opened for reading; open it with mode "r+"')
        return self._writer

    def files(self) -> tuple[tuple[int, int], ...]:
        """Device and inode of every file of the chain, as far as they are known."""
        identities = (layer.file.identity() for layer in self._layers)
        return tuple(identity for identity in identities if identity is not None)

    @one_entrance
    def close(self) -> None:
        """Make everything durable, leave the image clean, and let go of all files.

        Reads and writes from then on raise ValueError. Closing twice does no harm. Raises ImageFailedError,
        once, after a failure that could not be undone: what was not flushed before it is lost.
        """
        with self._closing:  # nobody lets go of files that another thread still makes durable
            self._close()

    def _close(self) -> None:
        writer = None if self._closed or self._forked else self._writer
        if writer is not None and self._commits is not None:  # not after a fork, where its lock may be held
            self._commits.stop()
        self._closed = True
        try:
            self._refuse_everything()
            if writer is not None:
                writer.close()
        finally:
            self._writer = None
            for layer in self._layers:
                layer.storage.close()

    def _refuse_everything(self) -> None:
        """Let every further read find out why there is none."""
        self._near = None
        self._answers = ((self._refuse_locating, self._leaf_reader, self._leaf.storage),)

    def _refuse_locating(self, offset: int, length: int) -> int:  # noqa: ARG002  stands in for Reader.locate
        self._check()
        return SPLIT

    def _check(self) -> None:
        """Raise if the disk can no longer be used: closed, on the wrong side of a fork, or failed."""
        if self._closed:
            raise ValueError("the disk is closed")
        if self._forked:
            raise ImageFailedError(
                "the disk was opened before a fork; only the process that opened it may use it",
                image=self._leaf.name,
            )
        if self._writer is not None:
            self._writer.check()

    def _abandon(self) -> None:
        """In the child of a fork: refuse everything, touch no lock and no file.

        A fork inside a call, by a signal handler, lets that call go on in the child, too: it finds no file.
        """
        self._forked = True
        self._closing = allocate_lock()  # the old one may be held by a thread that is not here
        self._refuse_everything()
        if get_ident() in self._entrance.inside:
            for layer in self._layers:
                layer.storage.close()
        self._entrance.inside.clear()

    def __del__(self) -> None:
        if getattr(self, "_writer", None) is not None and not self._closed and not self._forked:
            warnings.warn(f"{self!r} was never closed; what was not flushed is lost", ResourceWarning, 1)


_open_disks: weakref.WeakSet[VhdxDisk] = weakref.WeakSet()


def _refuse_later(disk: VhdxDisk) -> Callable[[], None]:
    """What to call when the disk must refuse everything; does not keep it alive."""
    reference = weakref.ref(disk)

    def refuse() -> None:
        alive = reference()
        if alive is not None:
            alive._refuse_everything()  # noqa: SLF001  the other half of the class

    return refuse


def _abandon_all() -> None:
    for disk in list(_open_disks):
        disk._abandon()  # noqa: SLF001  the other half of the class


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_abandon_all)
