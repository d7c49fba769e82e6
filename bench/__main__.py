"""``python -m bench [SUBJECT …]``: measure, print one table, write ``bench/results/``."""

from __future__ import annotations

import argparse
import importlib
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bench import history, readme, revisions
from bench.harness import remember, save, show

if TYPE_CHECKING:
    from bench.harness import Row

SUBJECTS = (
    "reads",
    "conversion",
    "clones",
    "objects",
    "blobs",
    "piped",
    "increments",
    "huge",
    "start",
    "writes",
    "chains",
    "growth",
    "compact",
    "check",
    "looking",
    "serve",
    "mounted",
    "filesystems",
    "discard",
    "shrink",
    "guest_files",
    "salvage",
    "fleet",
)
RESULTS = Path(__file__).with_name("results") / "latest.json"


def main() -> None:
    """Run the subjects that were asked for, or all."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("subjects", nargs="*", metavar="SUBJECT", help=f"any of {', '.join(SUBJECTS)}")
    parser.add_argument("--folder", help="where the files go while measuring; by default a temporary one")
    parser.add_argument("--readme", action="store_true", help="put the figures into README, too")
    parser.add_argument("--base", metavar="REVISION", help="compare with this revision, and with nobody else")
    options = parser.parse_args()
    unknown = set(options.subjects) - set(SUBJECTS)
    if unknown:
        parser.error(f"no such subject: {', '.join(sorted(unknown))}")
    # Programs are measured as installed ones run: with their bytecode on disk after the first round.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    begin = time.monotonic()
    rows: list[Row] = []
    costs: list[Row] = []
    if options.base:
        with tempfile.TemporaryDirectory(prefix="vhdx-bench-", dir=options.folder) as folder:
            rows = list(revisions.measure(Path(folder), options.base))
        print(show(rows))
        return
    for subject in options.subjects or SUBJECTS:
        print(f"measuring {subject} …", flush=True)
        with tempfile.TemporaryDirectory(prefix="vhdx-bench-", dir=options.folder) as folder:
            found = list(importlib.import_module(f"bench.{subject}").measure(Path(folder)))
        rows += found
        costs += [] if subject in readme.ELSEWHERE else found
    seconds = time.monotonic() - begin
    print(f"\n{show(rows)}\n")
    print(f"ratio: how many times as much the other one takes; {seconds:.0f} s in all; {RESULTS}")
    save(rows, RESULTS, seconds)
    print(f"ratios are kept in {remember(rows, RESULTS.parent, _revision())}, drawn in {history.draw()}")
    if options.readme:
        readme.update(costs)


def _revision() -> str:
    """Which code was measured."""
    words = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


if __name__ == "__main__":
    main()
