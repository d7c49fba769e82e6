"""What ``vhdx fleet`` does and prints."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any

import click

from vhdx.cli.exit_codes import EXIT_FAILURE
from vhdx.cli.fleet_table import exit_code, print_summary, print_table
from vhdx.cli.interrupted import changing
from vhdx.cli.render import print_json_line, progress_bar
from vhdx.fleet import executors
from vhdx.fleet.changes import ChangeLog
from vhdx.fleet.columns import CHANGING
from vhdx.fleet.options import FleetOptions
from vhdx.fleet.ordered import Ordered
from vhdx.fleet.paths import STANDARD_INPUT, files
from vhdx.fleet.run import USUAL, run_on
from vhdx.fleet.summary import Summary
from vhdx.fleet.targets import PAGE, open_report, read_report

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import ExitStack

    from vhdx.disk.places import ParentPolicy
    from vhdx.fleet.columns import Row
    from vhdx.fleet.engine import Pool
    from vhdx.fleet.reports import Report

_OF = {
    "dry_run": ("compact",),
    "punch": ("compact",),
    "scan_zeros": ("compact", "measure"),
    "discard_free": ("compact", "convert", "measure"),
    "target_dir": ("convert",),
    "sparse": ("compact", "convert"),
}
"""Options, and the verbs that they say something to."""


class _Outputs:
    """Where rows go: reports, the terminal, the log of a run that changes images."""

    def __init__(
        self,
        held: ExitStack,
        verb: str,
        reports: Sequence[str],
        *,
        go_on: bool,
        overwrite: bool,
        as_json: bool,
    ) -> None:
        self._verb, self._as_json, self._prints_table = verb, as_json, not reports and not as_json
        self._data = [path for path in reports if not path.lower().endswith(PAGE)]
        self._all = held.enter_context(contextlib.closing(Ordered()))
        self._reports: list[Report] = []
        self._pages: list[Report] = []
        for path in reports:
            report = open_report(path, verb, go_on=go_on, overwrite=overwrite)
            held.enter_context(contextlib.closing(report))
            (self._reports if path in self._data else self._pages).append(report)

    def before(self) -> Iterator[Row]:
        """The rows of the report that is gone on with."""
        for row in read_report(self._data[0], self._verb):
            self._keep(row)
            yield row

    def add(self, row: Row) -> None:
        """One more row."""
        for report in self._reports:
            report.write(row)
        if self._as_json:
            print_json_line(row)
        self._keep(row)

    def _keep(self, row: Row) -> None:
        self._all.add(row)
        for page in self._pages:
            page.write(row)

    def tell(self) -> int:
        """Print what people are told; the exit code."""
        summary = Summary()
        for row in self._all.rows():
            summary.add(row)
        if self._prints_table:
            print_table(self._verb, self._all.rows())
        if not self._as_json:
            print_summary(summary)
        return exit_code(summary) if summary.images else EXIT_FAILURE


def show(
    verb: str,
    paths: Sequence[str],
    *,
    reports: Sequence[str],
    as_json: bool,
    resume: bool,
    force: bool,
    include: Sequence[str],
    yes: bool,
    log: str | None,
    threads: int | None,
    processes: int | None,
    dask: str | None,
    **options: Any,
) -> int:
    """Do a verb to many images; the exit code."""
    asked = _options(verb, **options)
    if resume and not any(not path.lower().endswith(PAGE) for path in reports):
        raise click.UsageError("--resume goes on with a report of data: name it with -o")
    changes = verb in CHANGING and not asked.dry_run
    asks = changes and not yes
    if asks and (as_json or sys.stdin is None or not sys.stdin.isatty() or STANDARD_INPUT in paths):
        raise click.UsageError("nobody can be asked here: say --yes")
    with contextlib.ExitStack() as held:
        log = log or f"vhdx-fleet-{verb}.log"
        held.enter_context(changing(f"; {log} says what was done", fate=_FATE, dry_run=not changes))
        outputs = _Outputs(held, verb, reports, go_on=resume, overwrite=force, as_json=as_json)
        progress = held.enter_context(progress_bar(verb, "images"))
        planned = _Planned(verb, asks=asks)
        changed = held.enter_context(contextlib.closing(ChangeLog(log))) if changes else None
        rows = run_on(
            _pool(held, threads, processes, dask),
            files(paths, include, None if sys.stdin is None else sys.stdin.buffer),
            verb,
            options=asked,
            done=outputs.before() if resume else (),
            planned=planned,
            begun=None if changed is None else changed.begun,
        )
        for done, row in enumerate(held.enter_context(contextlib.closing(rows)), 1):
            if changed is not None:
                changed.done(row)
            outputs.add(row)
            if progress is not None:
                progress(done, planned.number)
        return outputs.tell()


_FATE = "every image is whole: what was under way is done in part or not at all"


class _Planned:
    """Told how many images there are to be done, before the first; asks whether to, if it ``asks``."""

    def __init__(self, verb: str, *, asks: bool) -> None:
        self._verb, self._asks = verb, asks
        self.number: int | None = None

    def __call__(self, number: int) -> None:
        self.number = number
        if number and self._asks:
            click.confirm(f"{self._verb} {number} image{'s' if number > 1 else ''}?", abort=True)


def _options(
    verb: str,
    *,
    parents: ParentPolicy,
    force_share: bool,
    time_limit: float,
    **options: Any,
) -> FleetOptions:
    """The options as values. Raises UsageError for those that say nothing to the verb."""
    for name, verbs in _OF.items():
        if options[name] and verb not in verbs:
            raise click.UsageError(
                f"--{_WORDS.get(name, name.replace('_', '-'))} goes with {', '.join(verbs)} only"
            )
    if verb == "convert" and options["target_dir"] is None:
        raise click.UsageError("say with --to where the new files go")
    if verb == "compact" and force_share and not options["dry_run"]:
        raise click.UsageError("--force-share only reads: an image that somebody uses is not compacted")
    options["sparse"] = options["sparse"] or USUAL.sparse
    return FleetOptions(parents=parents, lock=not force_share, seconds=time_limit, **options)


_WORDS = {"target_dir": "to"}


def _pool(held: ExitStack, threads: int | None, processes: int | None, dask: str | None) -> Pool:
    """Who does the work. Raises UsageError where that is said twice."""
    if dask is not None:
        if threads is not None:
            raise click.UsageError("--dask says who does the work: --threads goes without it")
        return executors.dask(dask, held, processes)
    if processes is None:
        return executors.threads(threads)
    if threads is not None:
        raise click.UsageError("--threads or --processes, not both")
    return executors.processes(processes)
