"""The process that is killed: it compacts an image, many commits a second. Run by test_compact_killed.py."""

import sys

import vhdx
from tests.support.layout import MIB
from vhdx.reshape import relocate


def tell(done: int, total: int | None) -> None:
    """A line for each block that was looked at or moved."""
    sys.stdout.write(f"{done} of {total}\n")
    sys.stdout.flush()


def main() -> None:
    """Compact."""
    relocate._BATCH_SIZE = 8 * MIB
    vhdx.compact(sys.argv[1], scan_zeros=True, punch=True, progress=tell)


if __name__ == "__main__":
    main()
