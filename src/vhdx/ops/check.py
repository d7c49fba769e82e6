"""Check an image: every violation of the format in one run, without changing a byte."""

from __future__ import annotations

from vhdx import rules
from vhdx.disk.formats import format_of_file, format_of_name, policy_of, storage_of
from vhdx.errors import CorruptImageError, ParentMismatchError, ParentNotFoundError, UnsupportedImageError
from vhdx.examine.check import examine
from vhdx.examine.host_holes import refused_holes
from vhdx.format import guids
from vhdx.format.foreign import PREFIX_SIZE, foreign_to_images
from vhdx.image import image
from vhdx.known import NOTHING_KNOWN, KnownDisk
from vhdx.rules import Finding, Place, Severity
from vhdx.storage.file import open_for_reading
from vhdx.text import brief, command
from vhdx.typed import TYPE_CHECKING, NamedTuple, Protocol

ENDS_EARLY = frozenset(
    rule.code
    for rule in (
        rules.BAT_PAST_END,
        rules.REGION_PAST_END,
        rules.LOG_FILE_TRUNCATED,
        rules.VHD_ENTRY_PAST_END,
        rules.VHD_TRUNCATED,
    )
)
"""What is said of a file of which the end is missing."""

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vhdx.disk.formats import Format, Openable
    from vhdx.disk.places import ParentPolicy, Parents
    from vhdx.errors import VhdxError
    from vhdx.examine.check import Examined
    from vhdx.examine.lost_items import LostValue
    from vhdx.image.image import Image
    from vhdx.ops.whole import WholeShare
    from vhdx.progress import Progress
    from vhdx.rules import CollectingReport, Report
    from vhdx.storage.base import ReadableStorage


@brief("severity", "code", "file_offset")
class CheckFinding(NamedTuple):
    """One violation, or one thing worth knowing.

    ``code`` is stable; ``severity`` is ``"error"``, ``"warning"`` or ``"note"``; ``section`` is of [MS-VHDX];
    ``repairable`` is ``"yes"``, ``"accept-data-loss"``, ``"rebuild"`` (what `vhdx repair` must be told) or
    ``"no"``.
    """

    code: str
    severity: str
    structure: str
    file_offset: int
    detail: str
    section: str
    repairable: str


@brief("path", "format", "errors", "warnings", "notes")
class CheckResult(NamedTuple):
    """What the check of one file found.

    The numbers are exact; of each code at most 100 ``findings`` are described, ``codes`` counts all of them.
    ``leaked_size`` belong to nothing and are not zeros, ``free_size`` are.
    ``unchecked`` names what could not be looked at. ``parents`` are the results of the parents that were
    checked, too, from the nearest to the base.
    """

    path: str
    errors: int
    warnings: int
    notes: int
    leaked_size: int
    codes: Mapping[str, int]
    findings: tuple[CheckFinding, ...]
    unchecked: tuple[str, ...]
    parents: tuple[CheckResult, ...] = ()
    format: str = "vhdx"
    """``"vhdx"`` or ``"vhd"``."""
    free_size: int = 0
    whole: WholeShare | None = None
    """How much of the disk is whole, where the file ends early."""
    lost: tuple[LostValue, ...] = ()
    """What the metadata do not say any more and has to be told, with what the image suggests."""
    virtual_size: int | None = None
    """Size of the disk in bytes; None where nothing says it any more."""

    @property
    def is_clean(self) -> bool:
        """Whether there are no errors and no warnings, in the parents neither. Notes do not count."""
        return not (self.errors or self.warnings) and all(parent.is_clean for parent in self.parents)


def check(
    file: Openable,
    *,
    chain: bool = False,
    parents: Parents = None,
    lock: bool = True,
    known: KnownDisk = NOTHING_KNOWN,
    progress: Progress | None = None,
) -> CheckResult:
    """Check a VHDX or a VHD against every rule of its format, without writing anything.

    ``file`` is what `vhdx.open` takes. A dirty log is replayed in memory. An image that cannot be opened is
    checked as far as its structures reach. ``chain`` looks for the parents, too, and checks them. ``known``
    is what somebody knows of a disk whose metadata are lost. ``progress`` is called with the bytes of the
    table that were looked at, and their number. Raises CorruptImageError for a file that is neither at all,
    UnsupportedImageError for one that is named like a raw disk and is none either, ImageLockedError,
    OSError, ValueError.
    """
    storage = storage_of(file, lock=lock)
    policy = policy_of(file, parents)
    try:
        if format_to_examine(storage) == "vhd":
            result = _checked_vhd(storage, policy, chain=chain, lock=lock, progress=progress)
            return result._replace(whole=_whole(storage, result))
        examined = examine(storage, progress, known)
        _report_holes(storage, examined.report)
        leaf = _leaf(storage) if chain else None
        if chain and leaf is None and (examined.metadata is None or examined.metadata.has_parent):
            examined = examined._replace(unchecked=(*examined.unchecked, "parents"))
        above = _checked_parents(leaf, policy, examined, lock=lock) if leaf else ()
        result = result_of(storage.name, examined, above)
        return result._replace(whole=_whole(storage, result), lost=_lost(examined, known))
    finally:
        storage.close()


def format_to_examine(storage: ReadableStorage) -> Format:
    """What a file is checked as: what is neither image by its contents is a VHDX that lost its beginning.

    Unless its name says otherwise: raises UnsupportedImageError for that of a raw disk, CorruptImageError for
    that of a VHD, of which nothing is known without a footer.
    """
    found, name = format_of_file(storage), storage.name
    if found != "raw":
        return found
    named = format_of_name(name)
    if named == "raw":
        raise UnsupportedImageError(
            "a raw disk has no structures that could break a rule",
            image=name,
            next_command=command("info {}", name),
        )
    if named == "vhd":
        raise _no_vhd(storage)
    return "vhdx"


def _no_vhd(storage: ReadableStorage) -> CorruptImageError:
    from vhdx.format.vhd import FOOTER_SIZE  # noqa: PLC0415  the older format is the rarer one

    size = storage.size()
    other = foreign_to_images(storage.read(min(size, PREFIX_SIZE), 0))
    what = "neither its end nor its beginning is a footer"
    return CorruptImageError(
        f"this is no VHD file: {what if other is None else f'it is {other.kind}; {other.advice}'}",
        image=storage.name,
        structure="footer",
        file_offset=max(0, size - FOOTER_SIZE),
        rule=rules.VHD_FOOTER_NONE.section,
        next_command=command("info -f raw {}", storage.name) if other is None else None,
    )


def _report_holes(storage: ReadableStorage, report: Report) -> None:
    """Tell of holes in the file that Windows would refuse."""
    for finding in refused_holes(storage):
        report(finding)


def _lost(examined: Examined, known: KnownDisk) -> tuple[LostValue, ...]:
    if examined.regions is None or guids.METADATA_REGION not in examined.regions.by_guid:
        return ()
    if not rules.LOST_METADATA & examined.report.counts.keys():
        return ()
    bat = examined.regions.by_guid.get(guids.BAT_REGION)
    from vhdx.examine.lost_items import lost_values  # noqa: PLC0415  sound images need not wait for it

    return lost_values(examined.storage, examined.regions.metadata, bat, known)


def _whole(storage: ReadableStorage, result: CheckResult) -> WholeShare | None:
    if ENDS_EARLY.isdisjoint(result.codes):
        return None
    from vhdx.ops.whole import whole_share  # noqa: PLC0415  most files end where they should

    return whole_share(storage, result.format)


class FoundInFile(Protocol):
    """What an examination of one file found, of whatever format."""

    @property
    def report(self) -> CollectingReport:
        """The findings."""

    @property
    def unchecked(self) -> tuple[str, ...]:
        """What could not be looked at."""

    @property
    def virtual_size(self) -> int | None:
        """Size of the disk, as far as that can be told."""

    @property
    def leaked_size(self) -> int:
        """Bytes of the file that belong to nothing and are not zeros."""

    @property
    def free_size(self) -> int:
        """Bytes of the file that belong to nothing and are zeros."""


def result_of(
    path: str, examined: FoundInFile, parents: tuple[CheckResult, ...] = (), name: str = "vhdx"
) -> CheckResult:
    """What an examination found, as the public result; ``name`` is the format."""
    counts = examined.report.counts
    total = {s: sum(n for rule, n in counts.items() if rule.severity is s) for s in Severity}
    return CheckResult(
        path=path,
        errors=total[Severity.ERROR],
        warnings=total[Severity.WARNING],
        notes=total[Severity.NOTE],
        leaked_size=examined.leaked_size,
        codes={rule.code: number for rule, number in counts.items() if number},
        findings=tuple(map(_public, examined.report.findings)),
        unchecked=examined.unchecked,
        parents=parents,
        format=name,
        free_size=examined.free_size,
        virtual_size=examined.virtual_size,
    )


def _public(finding: Finding) -> CheckFinding:
    rule, place = finding.rule, finding.place
    return CheckFinding(
        code=rule.code,
        severity=rule.severity.value,
        structure=place.structure,
        file_offset=place.file_offset,
        detail=finding.detail,
        section=rule.section,
        repairable=rule.remedy.value,
    )


def _leaf(storage: ReadableStorage) -> Image | None:
    """The image that names the parents; None if it cannot be opened, which one bad block does not prevent."""
    try:
        return image.load(storage)
    except (CorruptImageError, UnsupportedImageError):
        return None


def _checked_parents(
    leaf: Image, policy: ParentPolicy, child: Examined, *, lock: bool
) -> tuple[CheckResult, ...]:
    """Check the parents that can be found; what keeps one from being found is a finding of its child."""
    from vhdx.disk.parents import open_parent  # noqa: PLC0415  whoever checks one file need not wait for it

    layers = [leaf]
    found: list[tuple[str, Examined]] = []
    try:
        while layers[-1].metadata.has_parent:
            try:
                layers.append(open_parent(layers, policy, lock=lock))
            except (ParentNotFoundError, ParentMismatchError) as error:
                report = found[-1][1].report if found else child.report
                report(_parent_finding(layers[-1], error))
                break
            except (CorruptImageError, UnsupportedImageError) as error:
                found.append(_examined_at(error.image or layers[-1].name, lock=lock))
                break
            found.append((layers[-1].name, examine(layers[-1].file)))
    finally:
        for layer in layers[1:]:
            layer.file.close()
    return tuple(result_of(path, examined) for path, examined in found)


def _checked_vhd(
    storage: ReadableStorage, policy: ParentPolicy, *, chain: bool, lock: bool, progress: Progress | None
) -> CheckResult:
    """Check a VHD and, if asked, the parents that can be found."""
    from vhdx.disk.vhd import vhd_layers  # noqa: PLC0415  the older format is the rarer one
    from vhdx.examine.vhd_check import examine_vhd  # noqa: PLC0415

    found = examine_vhd(storage, progress)
    _report_holes(storage, found.report)
    if not chain or found.image is None:
        found = found._replace(unchecked=(*found.unchecked, "parents")) if chain else found
        return result_of(storage.name, found, name="vhd")
    layers, failure = vhd_layers(found.image, policy, lock=lock, salvage=True)
    try:
        if failure is not None:
            last = layers[-1]
            rule = (
                rules.PARENT_MISMATCH if isinstance(failure, ParentMismatchError) else rules.PARENT_NOT_FOUND
            )
            place = Place("parent locators", last.footer.header_offset)
            found.report(Finding(rule, place, f"{last.name}: {failure.args[0]}".strip()))
        above = tuple(
            result_of(layer.name, examine_vhd(layer.storage, progress), name="vhd") for layer in layers[1:]
        )
    finally:
        for layer in layers[1:]:
            layer.storage.close()
    return result_of(storage.name, found, above, "vhd")


def _examined_at(path: str, *, lock: bool) -> tuple[str, Examined]:
    storage = open_for_reading(path, lock=lock)
    try:
        return path, examine(storage)
    finally:
        storage.close()


def _parent_finding(child: Image, error: VhdxError) -> Finding:
    rule = rules.PARENT_MISMATCH if isinstance(error, ParentMismatchError) else rules.PARENT_NOT_FOUND
    place = Place("parent locator", child.metadata.region.file_offset)
    return Finding(rule, place, error.message.strip())
