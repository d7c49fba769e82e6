"""An increment from a pipe or a file merged into the image that it is over, so that a crash loses nothing.

What comes is kept whole in a file beside the target before anything of that is changed. From then on this
file reads right over the target at every instant, and whoever applies again completes it. At the end the
target has the identity that the contents have where they come from: so the next increment belongs to it.
"""

from __future__ import annotations

import collections
import contextlib
import os
import stat
from typing import TYPE_CHECKING, NamedTuple

from vhdx.disk.formats import open_image
from vhdx.disk.open import lone_disk
from vhdx.errors import CorruptImageError, ParentMismatchError, UnsupportedImageError, VhdxError
from vhdx.format import locator
from vhdx.format.identifier import SIGNATURE
from vhdx.image import image, metadata
from vhdx.ops.make.child import braced, locator_values
from vhdx.ops.merge import merge, refuse_orphans
from vhdx.storage.file import identity_of, open_for_reading, open_for_writing, refuse_as_target
from vhdx.storage.filling import read_whole
from vhdx.storage.publish import new_file, remove_file
from vhdx.storage.zeros import nonzero_runs
from vhdx.text import brief
from vhdx.units import MIB

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO
    from uuid import UUID

    from vhdx.disk.chain import VhdxDisk
    from vhdx.disk.places import Parents
    from vhdx.ops.merge import MergeResult
    from vhdx.progress import Progress
    from vhdx.storage.file import FileStorage

KEPT_SUFFIX = ".applying.avhdx"
"""Of the file in which an increment is kept until it is merged."""
_NAME = "the increment"


@brief("path", "applied", "copied_size")
class ApplyResult(NamedTuple):
    """What was done. ``applied`` is False if the target had the increment already. Sizes in bytes.

    ``data_write_guid`` is the identity that the contents have here and where they come from; ``completed``
    says that an earlier application, which was broken off, was completed first.
    """

    path: str
    format: str
    virtual_size: int
    applied: bool
    completed: bool
    received_size: int
    copied_size: int
    zeroed_size: int
    data_write_guid: UUID


class _HasItAlreadyError(Exception):
    """The target has the contents that the increment leads to."""


def apply_increment(
    target: str | os.PathLike[str],
    increment: BinaryIO | str | os.PathLike[str],
    *,
    shrink: bool = False,
    force: bool = False,
    parents: Parents = None,
    on_kept: Callable[[str], None] | None = None,
    progress: Progress | None = None,
) -> ApplyResult:
    """Merge an increment, as `export_changes` writes it, into the image ``target``, which it must be over.

    ``increment`` is a stream or the path of a file; any differencing VHDX will do. It is kept in a file
    beside the target until it is merged; ``on_kept`` is told its name. ``shrink`` and ``force`` are those of
    `merge`.

    Raises ParentMismatchError for another image's increment, CorruptImageError for one that ended early, both
    before the target was changed; and what `merge` raises.
    """
    target = os.path.realpath(os.fspath(target))
    refuse_as_target(target)
    with contextlib.closing(open_image(target).storage):
        pass  # a VHDX, and nobody writes to it
    kept = target + KEPT_SUFFIX
    how = _How(target, kept, _file_of(increment), shrink, force, parents, on_kept, progress)
    completed = os.path.exists(kept)
    if completed:
        _complete(how)
    try:
        received = _keep(how, increment)
    except _HasItAlreadyError:
        return _result(target, False, completed, (0, 0, 0))
    with _withdrawn_if_untouched(how):
        merged = _merged(how)
    return _result(target, True, completed, (received, merged.copied_size, merged.zeroed_size))


class _How(NamedTuple):
    """What is applied to what, and how."""

    target: str
    kept: str
    source: tuple[int, int] | None
    """Device and inode of the file that the increment comes from."""
    shrink: bool
    force: bool
    parents: Parents
    on_kept: Callable[[str], None] | None
    progress: Progress | None


def _file_of(increment: BinaryIO | str | os.PathLike[str]) -> tuple[int, int] | None:
    """The file that is, or stands behind, what is read; None for a pipe and for what is no file."""
    if isinstance(increment, str | os.PathLike):
        return identity_of(increment)
    try:
        status = os.fstat(increment.fileno())
    except (AttributeError, OSError, ValueError):
        return None
    return (status.st_dev, status.st_ino) if stat.S_ISREG(status.st_mode) else None


def _result(path: str, applied: bool, completed: bool, sizes: tuple[int, int, int]) -> ApplyResult:
    with contextlib.closing(open_for_reading(path, lock=False)) as file:
        found = image.load(file)
    size, identity = found.geometry.disk_size, found.header.data_write_guid
    return ApplyResult(path, "vhdx", size, applied, completed, *sizes, identity)


def _identity(path: str) -> UUID:
    with contextlib.closing(open_for_reading(path, lock=False)) as file:
        return image.write_identity(file).data_write_guid


def _complete(how: _How) -> None:
    """Complete what an earlier application left: its file is whole, and belongs to the target."""
    with contextlib.closing(open_image(how.kept).storage) as file:
        found = image.load(file)
        known = metadata.linkages(found.metadata.locator or {})
        final = found.header.data_write_guid
    present = _identity(how.target)
    if present not in (*known, final):
        raise ParentMismatchError(
            f"it was left by an increment that was not applied to its end, and {how.target} was changed "
            "since: look at both, and move it away",
            image=how.kept,
        )
    if present == final:  # only its removal was missing
        with contextlib.closing(open_for_writing(how.kept)) as held:
            remove_file(how.kept, held)
    else:
        _merged(how)


def _keep(how: _How, increment: BinaryIO | str | os.PathLike[str]) -> int:
    """Bring what comes into a file beside the target if it is whole and belongs to it; its length."""
    with contextlib.ExitStack() as held:
        if isinstance(increment, str | os.PathLike):
            if how.source == identity_of(how.target):
                raise ValueError(f"{how.target} is not an increment over itself")
            stream: BinaryIO = held.enter_context(open(increment, "rb"))
        else:
            stream = increment
        with new_file(how.kept, overwrite=False) as storage:
            length = _received(how, stream, storage)
            _check(how, storage)
            with lone_disk(storage.lent()) as disk:
                _link_to(disk, how.target, how.kept)
            return length


def _received(how: _How, stream: BinaryIO, storage: FileStorage) -> int:
    """Write a stream into a file, zeros left out; its length. Raises CorruptImageError for no VHDX."""
    offset = 0
    while piece := read_whole(stream, MIB):
        if not offset:
            if not piece.startswith(SIGNATURE):
                raise CorruptImageError("it does not begin as a VHDX does", image=_NAME)
            if how.on_kept is not None:
                how.on_kept(how.kept)
        for start, stop in nonzero_runs(piece):
            storage.write_at(memoryview(piece)[start:stop], offset + start)
        offset += len(piece)
    if not offset:
        raise CorruptImageError("nothing came: whatever makes it has failed", image=_NAME)
    storage.resize(offset)
    return offset


def _increment(storage: FileStorage) -> VhdxDisk:
    """What came, opened. Raises CorruptImageError where it is not whole."""
    try:
        return lone_disk(storage.lent())
    except VhdxError as error:
        raise CorruptImageError(f"it is not whole: {error.message}", image=_NAME) from None


def _check(how: _How, storage: FileStorage) -> None:
    """Raise unless what came is whole and the target's increment."""
    with contextlib.closing(open_image(how.target).storage) as file:
        below = image.load(file)
        present, sectors = below.header.data_write_guid, below.geometry.logical_sector_size
    with _increment(storage) as disk:
        leaf = disk.layers[0]
        if not leaf.metadata.has_parent:
            raise UnsupportedImageError(
                "it is a whole disk and no increment: write it into a file of its own", image=_NAME
            )
        known = metadata.linkages(leaf.metadata.locator or {})
        if present not in known:
            if leaf.header.data_write_guid == present:
                raise _HasItAlreadyError
            raise ParentMismatchError(
                f"the increment is over an image with DataWriteGuid {' or '.join(map(str, known))}, this has "
                f"{present}: another image, changed since, or increments between are missing",
                image=how.target,
                rule="2.6.2.6.3",
            )
        if leaf.geometry.logical_sector_size != sectors:
            raise ParentMismatchError(f"its logical sectors have not {sectors} bytes", image=_NAME)
        try:
            collections.deque(disk.own_extents(), maxlen=0)  # each place is looked at: whether it came
        except VhdxError as error:
            raise CorruptImageError(f"it is not whole: {error.message}", image=_NAME) from None


def _link_to(disk: VhdxDisk, target: str, kept: str) -> None:
    with contextlib.closing(open_image(target).storage) as file:
        values = dict(locator_values(kept, image.load(file)))
    disk.keep_identity()
    disk.replace_locator(values)


@contextlib.contextmanager
def _withdrawn_if_untouched(how: _How) -> Iterator[None]:
    """Remove what is kept if a merge was refused: while the target has its identity, nothing was done."""
    before = _identity(how.target)
    try:
        yield
    except BaseException:
        if os.path.exists(how.kept) and _identity(how.target) == before:
            with contextlib.closing(open_for_writing(how.kept)) as held:
                remove_file(how.kept, held)
        raise


def _merged(how: _How) -> MergeResult:
    """Merge what is kept, give the target the identity of its contents, then let go of it.

    What came is over the target, too, and needs it no more.
    """
    if not how.force:
        known = () if how.source is None else (how.source,)
        refuse_orphans([how.kept, how.target], known, how.parents, delete_child=False)
    done = merge(
        how.kept,
        into=how.target,
        shrink=how.shrink,
        force=True,
        parents=how.parents,
        progress=how.progress,
    )
    with lone_disk(open_for_writing(how.target)) as below:
        held = open_for_writing(how.kept)
        with lone_disk(held.lent()) as leaf, contextlib.closing(held):
            values = dict(leaf.layers[0].metadata.locator or {})
            present, final = (each.layers[0].header.data_write_guid for each in (below, leaf))
            if present not in metadata.linkages(values):
                raise ParentMismatchError("somebody wrote to it since it was merged into", image=how.target)
            leaf.keep_identity()
            leaf.replace_locator({**values, locator.PARENT_LINKAGE2: braced(final)})
            below.take_identity(final)
            below.flush()
            leaf.close()
            remove_file(how.kept, held)
    return done
