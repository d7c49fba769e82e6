"""``vhdx check``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from vhdx.cli.options import (
    FILE,
    chain_options,
    force_share_option,
    json_option,
    known_options,
    parent_policy,
)
from vhdx.cli.render import print_json, progress_bar, size_text
from vhdx.errors import cited
from vhdx.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.ops.check import CheckFinding, CheckResult

EXIT_ERRORS = 2
EXIT_WARNINGS = 3
_ORDER = ("error", "warning", "note")


@click.command()
@click.argument("image", type=FILE)
@click.option("--chain", is_flag=True, help="Look for the parents, too, and check them.")
@chain_options
@known_options
@force_share_option
@json_option
def check(
    image: str,
    *,
    chain: bool,
    parent_dirs: tuple[str, ...],
    any_parent: bool,
    force_share: bool,
    as_json: bool,
    **known: Any,
) -> int:
    """Find everything in IMAGE that breaks a rule of the format.

    Nothing is changed; a dirty log is replayed in memory. An image that cannot be opened is checked as
    far as it goes. Exit codes: 0 clean (notes do not count), 2 errors, 3 only warnings or leaked space, 1
    cannot be checked.
    """
    from vhdx.examine.known import KnownDisk  # noqa: PLC0415  --help needs no library
    from vhdx.ops.check import check as check_image  # noqa: PLC0415  --help needs no library

    policy = parent_policy(parent_dirs, any_parent=any_parent)
    with progress_bar("checking") as progress:
        found = check_image(
            image,
            chain=chain,
            parents=policy,
            known=KnownDisk(**known),
            lock=not force_share,
            progress=progress,
        )
    if as_json:
        print_json(found)
    else:
        for result in (found, *found.parents):
            print_result(result)
            print_hints(result)
    return exit_code((found, *found.parents))


def exit_code(results: tuple[CheckResult, ...]) -> int:
    """The exit code that the findings stand for."""
    if any(result.errors for result in results):
        return EXIT_ERRORS
    return EXIT_WARNINGS if any(result.warnings for result in results) else 0


def print_result(result: CheckResult, *, notes: bool = True) -> None:
    """Print the findings of one file, the gravest first, and a line that sums them up."""
    path = printable(result.path)
    for finding in sorted(result.findings, key=lambda f: _ORDER.index(f.severity)):
        if finding.severity == "note" and not notes:
            break
        click.echo(f"{path}: {finding_text(finding)}")
    for sentence in _others(result):
        click.echo(f"{path}: {sentence}")
    click.echo(f"{path}: {_summary(result)}")


def print_hints(result: CheckResult) -> None:
    """Say what to do about errors and warnings."""
    path = printable(result.path)
    for what, command in _hints(result):
        click.echo(f"{path}: to {what}: vhdx {command.format(path)}")


def _hints(result: CheckResult) -> Iterator[tuple[str, str]]:
    grave = [finding for finding in result.findings if finding.severity == "error"]
    parent = any(finding.code.startswith("parent.") for finding in grave)
    errors = {finding.repairable for finding in grave if not finding.code.startswith("parent.")}
    warnings = {finding.repairable for finding in result.findings if finding.severity == "warning"}
    if parent:
        yield "look for the parent elsewhere", "check --chain --parent-dir DIR {}"
    if errors & {"no", "accept-data-loss", "rebuild"}:
        named = " -f vhdx" if "identifier.signature" in result.codes else ""
        yield "try to save what can be read", f"convert --salvage{named} {{}} TARGET"
    if "no" not in errors and (errors | warnings) - {"no"}:
        options = [f" --{word}" for word in ("rebuild", "accept-data-loss") if word in errors]
        yield "see what can be repaired", "repair --dry-run" + "".join(options) + " {}"
    if "space.leaked" in result.codes and not grave:
        yield "give leaked space back", "compact {}"


def finding_text(finding: CheckFinding) -> str:
    """One finding as a line; where several files were tried, with a line for each of them."""
    place = f"{finding.structure} at file offset {finding.file_offset}"
    rule = f"{cited(finding.section)}, {finding.code}"
    text = f"{finding.severity}: {place}: {finding.detail} ({rule})"
    return "\n".join(map(printable, text.split("\n")))


def _others(result: CheckResult) -> Iterator[str]:
    described = [finding.code for finding in result.findings]
    for code, number in result.codes.items():
        if number > described.count(code):
            yield f"and {number - described.count(code)} more of {code}"
    if result.unchecked:
        yield f"not checked, because what leads there is damaged: {', '.join(result.unchecked)}"


def _summary(result: CheckResult) -> str:
    if not (result.errors or result.warnings or result.notes):
        return "no errors, no warnings"
    counted = ((result.errors, "error"), (result.warnings, "warning"), (result.notes, "note"))
    parts = [f"{number} {name if number == 1 else name + 's'}" for number, name in counted]
    leaked = f"; {size_text(result.leaked_bytes)} leaked" if result.leaked_bytes else ""
    return ", ".join(parts) + leaked
