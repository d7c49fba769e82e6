"""The process that is killed: it compacts an image, many commits a second. Run by test_compact_killed.py."""

import sys

import vhdx
from tests.support.layout import MIB
from vhdx.image import relocate


def main() -> None:
    """Compact; says when it begins."""
    relocate._BATCH_SIZE = 8 * MIB
    sys.stdout.write("begun\n")
    sys.stdout.flush()
    vhdx.compact(sys.argv[1], scan_zeros=True, punch=True)


if __name__ == "__main__":
    main()
