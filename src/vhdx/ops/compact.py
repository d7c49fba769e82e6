"""Make an image's file as small as its contents need it to be."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from vhdx.disk.base import check_range
from vhdx.disk.chain import VhdxDisk
from vhdx.disk.children import refuse_orphans
from vhdx.disk.formats import closing_on_failure
from vhdx.disk.free_space import VolumeSelection
from vhdx.disk.parents import open_chain
from vhdx.disk.places import policy_from
from vhdx.examine.unexplained import free_unexplained
from vhdx.image import image
from vhdx.image.states import is_present
from vhdx.ops.compact_hints import converted_size, present_size, still_free_size
from vhdx.ops.discard import Discard, DiscardedVolume
from vhdx.progress import Meter
from vhdx.reshape.compact import Compaction, Given
from vhdx.reshape.estimate import Estimate
from vhdx.reshape.holes import free_ranges, punch_all, zero_ranges
from vhdx.reshape.relocate import Relocator
from vhdx.storage.dry_run import DryRunStorage
from vhdx.storage.file import FileStorage, open_for_reading, open_for_writing
from vhdx.storage.sharing import may_share
from vhdx.text import brief
from vhdx.write.session import Session

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vhdx.disk.places import Parents
    from vhdx.image.image import Image
    from vhdx.progress import Progress
    from vhdx.storage.base import ReadableStorage, Storage
    from vhdx.storage.sharing import Clone


@brief("path", "file_size_before", "file_size_after", "dry_run")
class CompactResult(NamedTuple):
    """What was done, or what would be. Sizes in bytes.

    ``host_size`` is what the file takes on the host's disk, None where that is not known; ``freed_blocks``
    need no space any more; ``punched_size`` became holes of the host's file, beside what was cut off.
    ``volumes`` says for ``discard_free`` what went of each. ``still_free_size`` is how much of what is in the
    file its file systems call free at least, by their own counters, where it is cheap to know and a block or
    more. ``converted_size`` is the file that `convert` with ``discard_free`` and blocks of 1 MiB would make,
    if that is known and at most half.
    """

    path: str
    format: str
    virtual_size: int
    disk_type: str
    file_size_before: int
    file_size_after: int
    host_size_before: int | None
    host_size_after: int | None
    freed_blocks: int
    moved_blocks: int
    moved_size: int
    punched_size: int
    dry_run: bool
    volumes: tuple[DiscardedVolume, ...] = ()
    still_free_size: int | None = None
    converted_size: int | None = None
    unexplained_size: int = 0
    """How much of what was given back belonged to nothing and was not zeros."""


def compact(
    path: str | os.PathLike[str],
    *,
    scan_zeros: bool = False,
    punch: bool = False,
    dry_run: bool = False,
    free: Iterable[tuple[int, int]] = (),
    accept_data_loss: bool = False,
    discard_free: bool = False,
    volumes: VolumeSelection | None = None,
    parents: Parents = None,
    lock: bool = True,
    clone: Clone = "auto",
    progress: Progress | None = None,
) -> CompactResult:
    """Give back the space that an image does not need, move its last blocks into the gaps, cut the file.

    Given back is what was trimmed or zeroed, what blocks without contents keep, and what nobody owns; with
    ``scan_zeros`` also blocks that hold only zeros and, in a child, what equals its parent (``parents`` says
    where that may be). ``punch`` makes holes in the host's file where blocks that stay are zeros. ``free``
    are (offset, length) ranges of the disk whose contents nobody needs: they are trimmed first. Fixed images
    keep their size and their blocks.

    ``discard_free`` gives back what the file systems on the disk call free, once all that they keep of it
    was read and agreed: whole blocks, with ``punch`` parts of blocks, too. It reads as zeros then; files stay
    as they are. ``volumes`` says of which, by default of all but swap areas. In a child only what
    stands in it goes, and hides the parent. Raises UnsupportedImageError for an image that images beside it
    have for their parent: in them the space may be in use.

    Where space that nobody owns is likely to be blocks whose entries were lost, nothing is done unless
    ``accept_data_loss``.

    On file systems that can share space blocks are moved without being copied (``clone`` as for `convert`).

    No read tells the difference, except of ``free`` ranges and what is discarded, and without these children
    still know the image. May be interrupted at any instant, and run again. ``dry_run`` changes nothing and
    says what would become of it. ``progress`` is called with bytes done and bytes to do, which grow as they
    are found. Raises what opening for writing raises.
    """
    path = os.fspath(path)
    asked = Asked(scan_zeros, punch, tuple(free), accept_data_loss=accept_data_loss, clone=clone)
    selection = (volumes or VolumeSelection()) if discard_free else None
    storage = open_for_reading(path, lock=lock) if dry_run else open_for_writing(path, lock=lock)
    with closing_on_failure(storage):
        tried = DryRunStorage(storage)
        leaf = image.load(tried if dry_run else storage)
        if discard_free:
            refuse_orphans(path, leaf.header.data_write_guid, "giving back free space", forcible=False)
        needs_parents = (scan_zeros or discard_free) and leaf.metadata.has_parent
        layers = open_chain(leaf, policy_from(parents), lock=lock) if needs_parents else [leaf]
    with VhdxDisk(layers) as disk:
        for offset, length in asked.free:
            check_range(offset, length, disk.size)
        below = VhdxDisk(layers[1:]) if layers[1:] else None
        discard = None if selection is None else Discard(disk, selection)
        asked = asked._replace(discard=discard)
        before, host_before = storage.size(), _host_size(storage)
        if isinstance(storage, FileStorage) and not dry_run:
            done = compact_in_place(storage, leaf, below, asked, Meter(progress))
            after = storage.size()
        else:
            done, after = estimate(tried, leaf, below, asked, Meter(progress))
        return CompactResult(
            path,
            disk.format,
            disk.size,
            disk.disk_type,
            before,
            after,
            host_before,
            None if dry_run else _host_size(storage),
            done.freed_blocks,
            done.moved_blocks,
            done.moved_size,
            done.punched_size,
            dry_run,
            () if discard is None else discard.results(punch=punch),
            None if discard else still_free_size(disk),
            None if discard is None else converted_size(disk, discard.needed_mibs, after),
            done.unexplained_size,
        )


class Asked(NamedTuple):
    """What is to be looked for; ``free`` are (offset, length) ranges of the disk."""

    scan_zeros: bool
    punch: bool
    free: tuple[tuple[int, int], ...]
    discard: Discard | None = None
    accept_data_loss: bool = False
    """Whether space that is likely to be lost blocks may be given back."""
    clone: Clone = "auto"
    """Whether moved blocks share the space of where they were."""


class Done(NamedTuple):
    """What was given back. Sizes in bytes."""

    freed_blocks: int
    moved_blocks: int
    moved_size: int
    punched_size: int
    unexplained_size: int = 0


def compact_in_place(
    storage: Storage, leaf: Image, below: VhdxDisk | None, asked: Asked, meter: Meter
) -> Done:
    """Compact the image in a storage and close the session, not the storage."""
    shares = may_share(asked.clone, storage, storage)
    with Session(storage, leaf) as session, session.lock:
        changes = Relocator(session, below, shares=shares, must_share=asked.clone == "always")
        return _compacted(session, changes, below, asked, meter)


def estimate(
    storage: DryRunStorage, leaf: Image, below: VhdxDisk | None, asked: Asked, meter: Meter
) -> tuple[Done, int]:
    """What compacting would do, and how long the file would be."""
    changes = Estimate(storage, leaf, below)
    session = changes.session
    done = _compacted(session, changes, below, asked, meter)
    size = storage.size()
    return done, size if session.keeps_blocks else min(size, session.space.used_end)


def _compacted(
    session: Session, changes: Relocator, below: VhdxDisk | None, asked: Asked, meter: Meter
) -> Done:
    unexplained = 0
    if asked.punch or not session.keeps_blocks:
        accept = asked.accept_data_loss
        unexplained = free_unexplained(session, accept=accept, advance=meter.advance)
    done = _work(changes, below, asked, meter)._replace(unexplained_size=unexplained)
    if not session.keeps_blocks and session.space.used_end < session.file.size():
        session.begin(contents=False)  # closing cuts
    return done


def _work(
    changes: Relocator,
    below: VhdxDisk | None,
    asked: Asked,
    meter: Meter,
) -> Done:
    leaf, keeps_blocks = changes.image, changes.image.metadata.disk_type == "fixed"
    _ = changes.space  # an image that contradicts itself is not modified at all
    given, trimmed = Given(0, 0, 0), 0
    if not keeps_blocks:
        for offset, length in asked.free:
            trimmed += _present_blocks(leaf, offset, length)
            changes.trim(length, offset)
    punched = 0
    if asked.discard is not None:
        discarded, punched = asked.discard.apply(changes, punch=asked.punch)
        trimmed += discarded
    if not keeps_blocks:
        given = Compaction(changes, meter.advance).run(below, scan_zeros=asked.scan_zeros)
    if asked.punch or not keeps_blocks:
        punched += punch_all(leaf, free_ranges(leaf, changes.space), changes.punch)
    if asked.punch:
        meter.advance(0, present_size(leaf))
        punched += punch_all(leaf, zero_ranges(leaf, lambda done: meter.advance(done, 0)), changes.punch)
    return Done(given.freed_blocks + trimmed, given.moved_blocks, given.moved_size, punched)


def _present_blocks(leaf: Image, offset: int, length: int) -> int:
    covered = leaf.geometry.covered(offset, length)
    runs = leaf.bat.runs(covered.start, len(covered))
    return sum(run.block_count for run in runs if is_present(run.entry))


def _host_size(storage: ReadableStorage) -> int | None:
    return storage.allocated() if isinstance(storage, FileStorage) else None
