"""``python -m bench [SUBJECT …]``: measure, print one table, write ``bench/results/latest.json``."""

from __future__ import annotations

import argparse
import importlib
import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bench import readme
from bench.harness import save, show

if TYPE_CHECKING:
    from bench.harness import Row

SUBJECTS = (
    "reads",
    "conversion",
    "huge",
    "start",
    "writes",
    "chains",
    "compact",
    "check",
    "looking",
    "serve",
    "filesystems",
)
RESULTS = Path(__file__).with_name("results") / "latest.json"


def main() -> None:
    """Run the subjects that were asked for, or all."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("subjects", nargs="*", metavar="SUBJECT", help=f"any of {', '.join(SUBJECTS)}")
    parser.add_argument("--folder", help="where the files go while measuring; by default a temporary one")
    parser.add_argument("--readme", action="store_true", help="put the figures into README, too")
    options = parser.parse_args()
    unknown = set(options.subjects) - set(SUBJECTS)
    if unknown:
        parser.error(f"no such subject: {', '.join(sorted(unknown))}")
    # Programs are measured as installed ones run: with their bytecode on disk after the first round.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    begin = time.monotonic()
    rows: list[Row] = []
    for subject in options.subjects or SUBJECTS:
        print(f"measuring {subject} …", flush=True)
        with tempfile.TemporaryDirectory(prefix="vhdx-bench-", dir=options.folder) as folder:
            rows += importlib.import_module(f"bench.{subject}").measure(Path(folder))
    seconds = time.monotonic() - begin
    print(f"\n{show(rows)}\n")
    print(f"ratio: how many times as much the other one takes; {seconds:.0f} s in all; {RESULTS}")
    save(rows, RESULTS, seconds)
    if options.readme:
        readme.update(rows)


if __name__ == "__main__":
    main()
