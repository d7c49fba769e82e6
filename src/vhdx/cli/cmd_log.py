"""``vhdx log``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from vhdx.cli.options import FILE, force_share_option, json_option, verbose_option
from vhdx.cli.render import is_verbose, print_json_stream, print_rows, shown
from vhdx.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.ops.log import DiffReport, LogEntry, LogReport


@click.command()
@click.argument("image", type=FILE)
@click.option("--diff", is_flag=True, help="What replay would change, structure by structure.")
@force_share_option
@json_option
@verbose_option
def log(image: str, *, diff: bool, force_share: bool, as_json: bool) -> None:
    """Show the log of IMAGE as it stands, without changing anything.

    Every entry with its state: active (would be replayed), applied (before the tail), orphan (in no
    complete sequence), stale (of another session) or damaged, and where its descriptors lead. Of a clean
    image: what the last sessions left. With -v also sessions, tails and sizes of the file.

    Works on images that cannot be opened if a header can be read.
    """
    from vhdx.ops.log import open_log, open_log_changes  # noqa: PLC0415  --help needs no library

    if diff:
        with open_log_changes(image, lock=not force_share) as found:
            print_json_stream(found) if as_json else _print_changes(found)
        return
    with open_log(image, lock=not force_share) as report:
        print_json_stream(report) if as_json else _print_log(report)


def _print_changes(found: DiffReport) -> None:
    change = None
    for change in found.changes:
        words = f"{change.structure}: {change.before} -> {change.after}"
        click.echo(printable(f"{change.file_offset:>16}  {words}"))
    if change is None:
        why = "the log is empty" if found.state == "clean" else "what it holds stands in its place already"
        click.echo(f"replay would change nothing: {why}")


def _print_log(report: LogReport) -> None:
    print_rows(_rows(report))
    for entry in report.entries:
        click.echo(printable(_entry_line(entry)))
        for descriptor in entry.descriptors:
            place = f"{descriptor.kind} {descriptor.length:>10} bytes at {descriptor.file_offset:>14}"
            click.echo(printable(f"{'':>12}{place}  {descriptor.structure}"))


def _rows(report: LogReport) -> Iterator[tuple[str, str]]:
    yield "image", report.path
    yield "log", f"{report.state}, {shown(report.length)} at file offset {report.file_offset}"
    if is_verbose():
        yield "log GUID", str(report.log_guid)
    if report.active_entries:
        numbers = f"sequence numbers {report.first_sequence_number} to {report.last_sequence_number}"
        yield "to replay", f"{report.active_entries} of its entries, {numbers}"
    if report.obstacle:
        yield "cannot be replayed", report.obstacle


def _entry_line(entry: LogEntry) -> str:
    fault = f": {entry.fault}" if entry.fault else ""
    about = f"number {entry.sequence_number}, {shown(entry.length)}, descriptors: {entry.descriptor_count}"
    line = f"{entry.position:>10}  {entry.state}{fault}; {about}"
    if not is_verbose():
        return line
    sizes = f"file size {entry.flushed_file_offset} flushed, {entry.last_file_offset} needed"
    return f"{line}, tail at {entry.tail}, {sizes}, session {entry.log_guid}"
