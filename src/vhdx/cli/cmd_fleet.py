"""``vhdx fleet``."""

from __future__ import annotations

from typing import Any

import click

from vhdx.cli.options import FORMAT, SECONDS, SIZE, chain_options, force_share_option, verbose_option

_VERBS = ("info", "check", "measure", "usage", "map", "hash", "compact", "convert")


@click.command()
@click.argument("verb", type=click.Choice(_VERBS))
@click.argument("paths", metavar="PATHS...", type=click.Path(allow_dash=True), nargs=-1, required=True)
@click.option(
    "-o",
    "--output",
    "reports",
    multiple=True,
    metavar="REPORT",
    help="A .parquet, .csv, .jsonl or .html, or with / at its end a directory of Parquet. Repeatable.",
)
@click.option("--json", "as_json", is_flag=True, help="Print each image as a line of JSON, as it comes.")
@click.option("--resume", is_flag=True, help="Leave out what the reports have of the same file, unchanged.")
@click.option("--force", is_flag=True, help="Replace reports that are there.")
@click.option(
    "--include", multiple=True, metavar="PATTERN", help="Of directories only files named so. Repeatable."
)
@click.option(
    "--threads", type=click.IntRange(1, 1024), metavar="N", help="By default some more than processors."
)
@click.option("--processes", type=click.IntRange(1, 1024), metavar="N", help="Processes instead of threads.")
@click.option(
    "--dask", metavar="ADDRESS", help="The workers of a scheduler of Dask; local: of one that is made here."
)
@click.option("--isolate", is_flag=True, help="Look at each image in a process of its own, which may die.")
@click.option(
    "--memory",
    type=SIZE,
    metavar="N",
    default="1G",
    show_default=True,
    help="With --isolate: at most so much.",
)
@click.option(
    "--time-limit",
    type=SECONDS,
    metavar="SECONDS",
    default=300,
    show_default=True,
    help="With --isolate: not longer.",
)
@click.option(
    "--discard-free", is_flag=True, help="compact, convert, measure: without what file systems call free."
)
@click.option("--scan-zeros", is_flag=True, help="compact, measure: read the contents, too.")
@click.option("--punch", is_flag=True, help="compact: make holes where blocks that stay are zeros, or free.")
@click.option("--dry-run", is_flag=True, help="compact: change nothing; say what it would gain.")
@click.option(
    "--to",
    "target_dir",
    type=click.Path(exists=True, file_okay=False),
    help="convert: where the new files go.",
)
@click.option(
    "-O", "--target-format", type=FORMAT, default="vhdx", show_default=True, help="convert, measure: to what."
)
@click.option(
    "--sparse",
    type=click.Choice(["auto", "never", "always"]),
    help="compact, convert: whether files get holes; by default auto.",
)
@click.option("--yes", is_flag=True, help="compact, convert: ask nothing.")
@click.option(
    "--log", metavar="FILE", help="compact, convert: what was done, a line each; vhdx-fleet-VERB.log."
)
@chain_options
@force_share_option
@verbose_option
def fleet(verb: str, paths: tuple[str, ...], **options: Any) -> int:
    """Do VERB, such as check or compact, to thousands of images.

    VERB is info, check, measure, usage, map, hash, compact or convert. PATHS are files, directories with all
    that is below, patterns, URLs; - is a list of names on standard input. Each image is one row, also the one
    that cannot be looked at, and comes after its parents. Without -o the rows are printed, the worst first,
    and what they come to.

    usage says what file systems use and what compact --discard-free would give back, hash is that of the
    contents of the disk. compact and convert ask before they begin, and log what they do; an image that is
    in use is left alone. The exit code is the worst: 2 errors, else 1 where one could not be examined, else 3
    warnings.
    """
    from vhdx.cli.show_fleet import show  # noqa: PLC0415  --help needs no library

    return show(verb, paths, **options)
