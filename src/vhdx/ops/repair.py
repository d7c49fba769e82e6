"""Put an image right: without guessing, or with the loss of data that the caller accepts.

A repair is staged first, its result is checked, and only if that is better than what there was the same
writes are made in the file, in the same order.
"""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING, NamedTuple

from vhdx import rules
from vhdx.disk.formats import format_of_file
from vhdx.errors import VhdxError
from vhdx.examine import beginning
from vhdx.examine import repair as image_repair
from vhdx.examine.check import examine
from vhdx.examine.doubts import Concerned
from vhdx.examine.lost_items import items_of
from vhdx.examine.rebuild_table import rebuild_table
from vhdx.examine.remains import Remains
from vhdx.image.unowned import Seen
from vhdx.known import NOTHING_KNOWN, KnownDisk
from vhdx.ops import backup as backups
from vhdx.ops.check import format_to_examine, result_of
from vhdx.rules import Remedy, Severity
from vhdx.storage.file import FileStorage, open_for_reading, open_for_writing
from vhdx.storage.staged import StagedChanges
from vhdx.text import brief

if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Set as AbstractSet

    from vhdx.examine.check import Examined
    from vhdx.examine.doubts import DiskRange
    from vhdx.ops.check import CheckResult
    from vhdx.progress import Progress
    from vhdx.rules import CollectingReport
    from vhdx.storage.base import ReadableStorage

_HINTS = {
    Remedy.REBUILD: "a table, or what leads there, is gone: add --rebuild to search for what it named",
    Remedy.ACCEPT_DATA_LOSS: "contents are lost or in doubt: add --accept-data-loss to repair it anyway",
}
_UNREADABLE = "the host cannot read all of the file: copy it with ddrescue, and repair the copy"
_UNREPAIRABLE = "there are errors that cannot be repaired without knowing what was meant"
_DOUBTFUL = image_repair.LOSSY | {rules.BAT_OVERLAP}
_LEAVES_THE_REST_SOUND = frozenset({rules.BAT_STATE, rules.BAT_BITMAP_MISSING})
"""Errors of single blocks that cannot be repaired, but do not keep the rest from being repaired."""
_MISPLACED = frozenset({rules.BAT_PLACE, rules.BAT_PAST_END, rules.BAT_OVERLAP})
_BEGINNING = frozenset({rules.IDENTIFIER_SIGNATURE, rules.HEADER_NONE, rules.REGION_TABLE_NONE})
NOTHING = Concerned((), 0)


@brief("path", "done", "refused", "dry_run")
class RepairResult(NamedTuple):
    """What a repair did, or with ``dry_run`` would do, as sentences; empty if nothing was needed or possible.

    ``refused`` says why nothing was done where something was needed. ``concerned`` are the ranges of the disk
    (bytes) whose contents are lost or doubtful, at most 1000 of them; they have ``concerned_size`` in all.
    ``before`` and ``left`` are what `check` finds before and afterwards.
    """

    path: str
    format: str
    virtual_size: int | None
    """The size of the disk in bytes; None where nothing tells it any more."""
    done: tuple[str, ...]
    refused: str | None
    concerned: tuple[DiskRange, ...]
    concerned_size: int
    before: CheckResult
    left: CheckResult
    dry_run: bool


@brief("path", "file_size", "restored_size")
class UndoResult(NamedTuple):
    """An image as it was before its repair. Sizes in bytes; the disk's is None if nothing tells it."""

    path: str
    format: str
    virtual_size: int | None
    file_size: int
    restored_size: int


def repair(
    path: str | os.PathLike[str],
    *,
    dry_run: bool = False,
    backup: str | os.PathLike[str] | None = None,
    accept_data_loss: bool = False,
    rebuild: bool = False,
    known: KnownDisk = NOTHING_KNOWN,
    lock: bool = True,
    progress: Progress | None = None,
) -> RepairResult:
    """Repair an image: replay a dirty log in place, put damaged copies, reserved bits and the like right.

    What a read of the disk returns stays as it is, and so does the identity that children know it by, unless
    ``accept_data_loss`` lets go what is lost anyway: a log that cannot be replayed, blocks that the file does
    not have any more; blocks that share space get space of their own. ``rebuild`` searches for log,
    metadata and BAT when both headers or both copies of the region table are gone, and for lost metadata at
    their usual places; ``known`` says what they do not tell. ``backup`` is a new
    file for the bytes that will be changed; `undo_repair` brings them back, also after a crash in the middle.
    Parents are not looked for. An image that cannot be repaired, or needs nothing, is not touched.
    ``progress`` is called as by `check`, before and after.

    Raises CorruptImageError for a file that is neither at all, UnsupportedImageError for one that is named
    like a raw disk and is none either, FileExistsError for a ``backup`` that exists,
    ImageLockedError, OSError, ValueError.
    """
    name = os.fspath(path)
    if backup is not None and not dry_run and os.path.lexists(backup):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), os.fspath(backup))
    accepted = {Remedy.REPAIR}
    accepted |= {Remedy.ACCEPT_DATA_LOSS} if accept_data_loss else set()
    accepted |= {Remedy.REBUILD} if rebuild else set()
    file = open_for_reading(name, lock=lock) if dry_run else open_for_writing(name, lock=lock)
    try:
        with contextlib.closing(StagedChanges(file)) as staged:
            result = staged_repair(name, file, staged, accepted, progress, known=known)._replace(
                dry_run=dry_run
            )
            if result.done and isinstance(file, FileStorage) and not dry_run:
                with _saved(backup, file, staged, lock=lock):
                    staged.perform(file)
        return result
    finally:
        file.close()


def _saved(
    backup: str | os.PathLike[str] | None, file: FileStorage, staged: StagedChanges, *, lock: bool
) -> contextlib.AbstractContextManager[None]:
    if backup is None:
        return contextlib.nullcontext()
    return backups.saved(os.fspath(backup), file, staged, lock=lock)


def staged_repair(
    name: str,
    file: ReadableStorage,
    staged: StagedChanges,
    accepted: AbstractSet[Remedy],
    progress: Progress | None,
    *,
    known: KnownDisk = NOTHING_KNOWN,
) -> RepairResult:
    """What a repair that may use the ``accepted`` remedies does to a staged copy of ``file``."""
    if format_to_examine(file) == "vhd":
        return _staged_vhd_repair(name, file, staged, accepted, progress)
    seen = Seen()
    staged.on_change = seen.forget
    found = examine(file, progress, seen=seen)
    before = result_of(name, found)
    doubtful = image_repair.concerned(file, found) if _DOUBTFUL & found.report.counts.keys() else NOTHING
    result = _nothing_done(before)._replace(concerned=doubtful.ranges, concerned_size=doubtful.length)
    hint = _hint(found.report, accepted)
    gives_up = Remedy.ACCEPT_DATA_LOSS in accepted and has_lost_entries(found.report)
    if not gives_up and not any(rule.remedy in accepted for rule in found.report.counts):
        return result._replace(refused=hint or (_UNREPAIRABLE if found.report.has_errors else None))
    if hint is not None:
        return result._replace(refused=hint)
    return _repaired(result, staged, found, accepted, progress, known=known, seen=seen)


def _nothing_done(before: CheckResult) -> RepairResult:
    """What is said of a repair before anything of it was done."""
    about = before.path, before.format, before.virtual_size
    return RepairResult(*about, (), None, (), 0, before, before, dry_run=False)


def _staged_vhd_repair(
    name: str,
    file: ReadableStorage,
    staged: StagedChanges,
    accepted: AbstractSet[Remedy],
    progress: Progress | None,
) -> RepairResult:
    """The same for a VHD: the footer from its copy and back, checksums, entries that are 0."""
    from vhdx.examine.vhd_check import examine_vhd  # noqa: PLC0415  the older format is the rarer one
    from vhdx.examine.vhd_repair import repair_vhd  # noqa: PLC0415

    found = examine_vhd(file, progress)
    before = result_of(name, found, name="vhd")
    result = _nothing_done(before)
    hint = _hint(found.report, accepted)
    if hint is not None or not any(rule.remedy in accepted for rule in found.report.counts):
        return result._replace(refused=hint)
    repair_vhd(staged)
    after = examine_vhd(staged, progress)
    done = tuple(_done(found.report, after.report))
    return result._replace(done=done, left=result_of(name, after, name="vhd"))


def keeps_length(report: CollectingReport) -> bool:
    """Whether a repair leaves what nobody claims at the end of the file.

    What a table that was searched for leaves over may be an optional region, or the search wrong; and where a
    place was damaged, what nobody claims is likely to be the block's.
    """
    return not (_MISPLACED | _BEGINNING).isdisjoint(report.counts)


_LOST_ENTRIES = frozenset({rules.SPACE_LOST_ENTRIES, rules.BAT_FIXED_ABSENT})
"""What says that what nobody claims is likely to be blocks."""


def has_lost_entries(report: CollectingReport) -> bool:
    """Whether the table is likely to have lost entries."""
    return not _LOST_ENTRIES.isdisjoint(report.counts)


def _repaired(
    result: RepairResult,
    staged: StagedChanges,
    found: Examined,
    accepted: AbstractSet[Remedy],
    progress: Progress | None,
    *,
    known: KnownDisk,
    seen: Seen,
) -> RepairResult:
    """Try what may be done, and say what came of it."""
    lossy = Remedy.ACCEPT_DATA_LOSS in accepted
    sources: tuple[str, ...] = ()
    has_let_go = False
    try:
        if _BEGINNING & found.report.counts.keys():
            anew = beginning.restored(staged)
            if anew.doubt is not None and not lossy:
                return result._replace(refused=f"{anew.doubt}: add --accept-data-loss to repair it anyway")
            beginning.write_patches(staged, anew.patches)
            sources = anew.found
        if rules.LOST_METADATA & found.report.counts.keys():
            items = items_of(staged, known)
            beginning.write_patches(staged, items.patches)
            sources += items.found
        if Remedy.REBUILD in accepted and has_lost_entries(found.report):
            # A log that cannot be replayed is given up before the table is looked at.
            has_let_go = lossy and image_repair.make_openable(staged, seen)
            sources += (rebuild_table(staged, seen),)
        keeps = keeps_length(found.report) or (not lossy and has_lost_entries(found.report))
        stays_broken = not _LEAVES_THE_REST_SOUND.isdisjoint(found.report.counts)  # by what nobody claims?
        image_repair.repair_image(
            staged,
            accept_data_loss=lossy,
            seen=seen,
            keep_length=keeps,
            keep_unowned=stays_broken,
            has_let_go=has_let_go,
        )
    except VhdxError as error:
        advice = f"; try: {error.next_command}" if error.next_command else ""
        return result._replace(refused=f"{error.message}{advice}")
    after = examine(staged, progress, seen=seen)
    left = result_of(result.path, after)
    told = tuple(f"made anew: {source}" for source in sources)
    done = (*told, *_replayed(found), *_done(found.report, after.report))
    if left.errors > result.before.errors or left.unchecked or not done:
        return result._replace(refused="what can be tried would not make the image better")
    return result._replace(done=done, left=left)


def _hint(report: CollectingReport, accepted: AbstractSet[Remedy]) -> str | None:
    """What the caller has to allow before anything is done; None if nothing, or if nothing would help."""
    errors = [rule for rule in report.counts if rule.severity is Severity.ERROR]
    if rules.HOST_READ in errors:
        return _UNREADABLE
    if Remedy.ACCEPT_DATA_LOSS in accepted:  # which gives up what the table has lost, instead
        errors = [rule for rule in errors if rule not in _LOST_ENTRIES]
    for remedy, hint in _HINTS.items():
        if remedy not in accepted and any(rule.remedy is remedy for rule in errors):
            return hint
    if any(rule.remedy is Remedy.NONE and rule not in _LEAVES_THE_REST_SOUND for rule in errors):
        return _UNREPAIRABLE
    return None


def _replayed(found: Examined) -> Iterator[str]:
    if rules.LOG_DIRTY in found.report.counts and found.sequence is not None:
        count = len(found.sequence.positions)
        yield f"log: replayed {count} {'entry' if count == 1 else 'entries'}"


def _done(before: CollectingReport, after: CollectingReport) -> Iterator[str]:
    for rule, number in before.counts.items():
        repaired = number - after.counts[rule]
        if rule is not rules.LOG_DIRTY and rule.remedy is not Remedy.NONE and repaired > 0:
            first = next(finding for finding in before.findings if finding.rule is rule)
            others = f" (and {repaired - 1} more of {rule.code})" if repaired > 1 else ""
            yield f"{first.place.structure}: repaired: {first.detail}{others}"


def undo_repair(
    path: str | os.PathLike[str], backup: str | os.PathLike[str], *, lock: bool = True
) -> UndoResult:
    """Bring back the bytes that a repair saved in ``backup`` before it changed them.

    Raises CorruptImageError unless the image is exactly as the repair left it, ValueError for a file that is
    no backup, is damaged or was used before, ImageLockedError, OSError. A repair that was interrupted can be
    undone, too, and an undo that was interrupted can be run again.
    """
    name = os.fspath(path)
    with contextlib.closing(open_for_writing(name, lock=lock)) as file:
        restored = backups.restore(file, os.fspath(backup), lock=lock)
        found = "vhd" if format_of_file(file) == "vhd" else "vhdx"  # for which a repair takes all else
        size = _vhd_size(file) if found == "vhd" else Remains(file).disk_size
    return UndoResult(name, found, size, restored.size_before, restored.length)


def _vhd_size(file: ReadableStorage) -> int | None:
    from vhdx.examine.vhd_check import examine_vhd  # noqa: PLC0415  the older format is the rarer one

    return examine_vhd(file).virtual_size
