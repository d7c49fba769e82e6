"""The long run: a random mix of everything against a reference file, for the time that is given.

    python -m tests.soak --seconds 3600 [--seed N] [--folder DIR]

Era follows era, with one seed after the other. A failure leaves its folder and says which seed brings it
back, as far as the moments of signals allow. Killed processes prove order and replay; the host's memory
survives them, so losses of power are for `python -m tests.crash`.
Exit code 1 if something does not hold, 64 for wrong usage.
"""

import argparse
import itertools
import sys
import tempfile
import time
import traceback
from pathlib import Path

from .driver import SoakError, room_for, run_era
from .report import Report


def main() -> int:
    """Run, and print what was done."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="on a disk with 4 GiB free; by default a temporary one")
    arguments = parser.parse_args()
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="vhdx-soak-"))
    if not room_for(folder):
        sys.stderr.write(f"{folder} has less than 4 GiB free\n")
        return 64
    report, began = Report(), time.monotonic()
    failed = None
    for seed in itertools.count(arguments.seed):
        if time.monotonic() - began > arguments.seconds:
            break
        try:
            run_era(folder.resolve() / f"era-{seed}", seed, report, began + arguments.seconds)
        except SoakError as error:
            failed = error
            break
    for line in report.lines():
        sys.stdout.write(f"{line}\n")
    last = f"{arguments.seed} to {seed - 1}"
    sys.stdout.write(f"{time.monotonic() - began:.0f} seconds, seeds {last}\n")
    if failed is None:
        if arguments.folder is None:
            folder.rmdir()
        return 0
    traceback.print_exception(failed)
    sys.stderr.write("\nwhat was done last:\n" + "".join(f"  {said}\n" for said in report.last))
    sys.stderr.write(f"\n{failed}\nthe files are in {folder / f'era-{seed}'}; once more:\n")
    sys.stderr.write(f"  python -m tests.soak --seed {seed} --seconds {arguments.seconds:.0f}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
