"""The long run: a random mix of everything against a reference file, for the time that is given.

    python -m tests.soak --seconds 3600 [--seed N] [--folder DIR]

Era follows era, with one seed after the other. A failure leaves its folder and says which seed brings it
back, as far as the moments of signals allow. Killed processes prove order and replay; the host's memory
survives them, so losses of power are for `python -m tests.crash`.
Exit code 1 if something does not hold, 64 for wrong usage.
"""

import argparse
import sys
import tempfile
import time
import traceback
from pathlib import Path

from .driver import SoakError, has_room, run_era
from .report import Report


def main() -> int:
    """Run, and print what was done."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--seed", type=int, default=1, help="of the first era; the next ones follow")
    parser.add_argument("--folder", type=Path, help="on a disk with 4 GiB free; by default a temporary one")
    arguments = parser.parse_args()
    folder = (arguments.folder or Path(tempfile.mkdtemp(prefix="vhdx-soak-"))).resolve()
    if not has_room(folder):
        sys.stderr.write(f"{folder} has less than 4 GiB free\n")
        return 64
    report, began, seed = Report(), time.monotonic(), arguments.seed
    failure = None
    while failure is None and time.monotonic() - began < arguments.seconds:
        failure = _failure_of(folder / f"era-{seed}", seed, report, began + arguments.seconds)
        seed += 1
    sys.stdout.writelines(f"{line}\n" for line in report.lines())
    sys.stdout.write(f"{time.monotonic() - began:.0f} seconds, seeds {arguments.seed} to {seed - 1}\n")
    if failure is not None:
        _tell(failure, folder / f"era-{seed - 1}", report)
        sys.stderr.write(f"once more: python -m tests.soak --seed {seed - 1}\n")
        return 1
    if arguments.folder is None:
        folder.rmdir()
    return 0


def _failure_of(folder: Path, seed: int, report: Report, until: float) -> SoakError | None:
    try:
        run_era(folder, seed, report, until)
    except SoakError as error:
        return error
    return None


def _tell(failure: SoakError, folder: Path, report: Report) -> None:
    traceback.print_exception(failure)
    said = "".join(f"  {sentence}\n" for sentence in report.last)
    sys.stderr.write(f"\nwhat was done last:\n{said}\n{failure}\nthe files are in {folder}\n")


if __name__ == "__main__":
    sys.exit(main())
