"""What ``vhdx check`` does and prints, however its command line was read."""

from __future__ import annotations

import os
from functools import partial

from vhdx.cli.render import echo, painted, print_json, progress_bar, shown
from vhdx.errors import cited
from vhdx.text import command, printable
from vhdx.typed import TYPE_CHECKING
from vhdx.units import format_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

    from vhdx.disk.places import ParentPolicy
    from vhdx.ops.check import CheckFinding, CheckResult
    from vhdx.ops.whole import FileSystemShare

EXIT_ERRORS = 2
EXIT_WARNINGS = 3
_ORDER = ("error", "warning", "note")
_COLOURS = {"error": "31", "warning": "33", "note": "2"}
_TOLD = 3
"""How many findings of one kind have a line each, or are named in the line of all."""


def show(
    images: Sequence[str],
    *,
    chain: bool,
    parents: ParentPolicy,
    force_share: bool,
    as_json: bool,
    **known: Any,
) -> int:
    """Print what is wrong with an image, or a line for each of several; the exit code for how grave it is."""
    from vhdx.known import KnownDisk  # noqa: PLC0415
    from vhdx.ops.check import check as check_image  # noqa: PLC0415

    with progress_bar("checking") as progress:
        look = partial(
            check_image,
            chain=chain,
            parents=parents,
            lock=not force_share,
            known=KnownDisk(**known),
            progress=progress,
        )
        if len(images) > 1 or os.path.isdir(images[0]):
            from vhdx.cli.several import show_each  # noqa: PLC0415

            return show_each(images, _COLUMNS, partial(_line, look), as_json=as_json)
        found = look(images[0])
    if as_json:
        print_json(found)
    else:
        for result in (found, *found.parents):
            print_result(result)
            print_hints(result)
    return exit_code((found, *found.parents))


_COLUMNS = (("format", -6), ("errors", 8), ("warnings", 8), ("notes", 8), ("leaked", 10), ("result", -8))
_WORDS = {0: "clean", EXIT_WARNINGS: "warnings", EXIT_ERRORS: "errors"}


def _line(look: Callable[[str], CheckResult], image: str) -> tuple[CheckResult, tuple[str, ...], int]:
    found = look(image)
    results = (found, *found.parents)
    code = exit_code(results)
    counts = (
        sum(numbers) for numbers in zip(*((r.errors, r.warnings, r.notes) for r in results), strict=True)
    )
    leaked = format_size(sum(result.leaked_size for result in results))
    return found, (found.format, *map(str, counts), leaked, _WORDS[code]), code


def exit_code(results: tuple[CheckResult, ...]) -> int:
    """The exit code that the findings stand for."""
    if any(result.errors for result in results):
        return EXIT_ERRORS
    return EXIT_WARNINGS if any(result.warnings for result in results) else 0


def print_result(result: CheckResult, *, notes: bool = True) -> None:
    """Print the findings of one file, the gravest first, many of a kind in one line, and their sums."""
    path = printable(result.path)
    for severity in _ORDER if notes else _ORDER[:-1]:
        kinds: dict[str, list[CheckFinding]] = {}
        for finding in result.findings:
            if finding.severity == severity:
                kinds.setdefault(finding.code, []).append(finding)
        for code, found in kinds.items():
            for text in _texts(found, result.codes[code]):
                word, _, rest = text.partition(":")
                echo(f"{path}: {painted(word, _COLOURS[severity])}:{rest}")
    if result.unchecked:
        parts = ", ".join(result.unchecked)
        echo(f"{path}: not checked, because what leads there is damaged: {parts}")
    for sentence in _whole(result):
        echo(f"{path}: {sentence}")
    for lost in result.lost:
        echo(f"{path}: to be told: {lost.argument}: {lost.reason}")
    echo(f"{path}: {_summary(result)}")


def _whole(result: CheckResult) -> Iterator[str]:
    """What is left of a disk whose file ends early."""
    whole = result.whole
    if whole is None:
        return
    left = shown(whole.stored - whole.lost)
    yield f"the file ends early: of {shown(whole.stored)} that it held of the disk {left} are whole"
    for part in whole.partitions:
        share = "whole" if not part.lost else f"{shown(part.lost)} of {shown(part.length)} are lost"
        yield f"partition {part.number}: {share}"
    for found in whole.file_systems:
        yield f"{found.name}: {found.kind}: {_files_share(found)}"


def _files_share(found: FileSystemShare) -> str:
    """How much of the contents of a file system is lost."""
    if found.used is None or found.lost is None:
        reason = (found.reason or "").partition(";")[0]  # what it advises is for a disk that is whole
        return f"how much of its files is lost is not known: {reason}"
    if not found.lost:
        return f"all {shown(found.used)} in use are whole"
    return f"{shown(found.lost)} of {shown(found.used)} in use are lost"


def _texts(found: list[CheckFinding], number: int) -> Iterator[str]:
    """The findings of one kind, of which there are ``number``: a line each if they are few, else one line."""
    if number <= _TOLD:
        yield from map(finding_text, found)
        return
    others = ", ".join(f"{each.structure} at {each.file_offset}" for each in found[1:_TOLD])
    more = f"; the same of {others} and {number - _TOLD} more"
    yield finding_text(found[0]._replace(severity=f"{number} {found[0].severity}s"), more)


def print_hints(result: CheckResult) -> None:
    """Say what to do about the worst findings."""
    path = printable(result.path)
    for what, words in _hints(result):
        echo(f"{path}: to {what}: {command(words, result.path)}")


def _hints(result: CheckResult) -> Iterator[tuple[str, str]]:
    grave = [finding for finding in result.findings if finding.severity == "error"]
    parent = any(finding.code.startswith("parent.") for finding in grave)
    errors = {finding.repairable for finding in grave if not finding.code.startswith("parent.")}
    warnings = {finding.repairable for finding in result.findings if finding.severity == "warning"}
    told = "".join(f" {lost.argument}" for lost in result.lost)
    if parent:
        yield "look for the parent elsewhere", "check --chain --parent-dir DIR {}"
    if errors & {"no", "accept-data-loss", "rebuild"}:
        named = " -f vhdx" if "identifier.signature" in result.codes else ""
        carve = " --carve PIECES" if "space.lost_entries" in result.codes else ""
        yield "try to save what can be read", f"convert --salvage{named}{carve}{told} {{}} SALVAGED.vhdx"
    if "no" not in errors and (errors or warnings) - {"no"}:
        options = [f" --{word}" for word in ("rebuild", "accept-data-loss") if word in errors]
        options += [told] if "rebuild" in errors else []
        yield "see what can be repaired", "repair --dry-run" + "".join(options) + " {}"
    if "space.leaked" in result.codes and not grave:
        yield "give leaked space back", "compact {}"


def finding_text(finding: CheckFinding, more: str = "") -> str:
    """One finding as a line, with ``more`` to say; where several files were tried, with a line for each."""
    place = f"{finding.structure} at file offset {finding.file_offset}"
    rule = f"{cited(finding.section)}, {finding.code}"
    text = f"{finding.severity}: {place}: {finding.detail}{more} ({rule})"
    return "\n".join(map(printable, text.split("\n")))


def _summary(result: CheckResult) -> str:
    if not (result.errors or result.warnings or result.notes):
        return "no errors, no warnings"
    counted = ((result.errors, "error"), (result.warnings, "warning"), (result.notes, "note"))
    parts = [f"{number} {name if number == 1 else name + 's'}" for number, name in counted]
    leaked = f"; {shown(result.leaked_size)} leaked" if result.leaked_size else ""
    return ", ".join(parts) + leaked
