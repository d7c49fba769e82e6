"""The process that is killed: it writes what its seed says and reports each flush. Run by test_kill.py.

Arguments: image, seed. The steps are endless and known to the parent, too.
"""

import random
import sys
from collections.abc import Iterator
from typing import NamedTuple

import vhdx
from tests.support.layout import MIB
from tests.support.patterns import pattern

SIZE = 24 * MIB + 512
BLOCKS = 24
LONGEST = 48 * 1024


class Step(NamedTuple):
    """What is done to a range; ``data`` is empty for zeros and trims."""

    what: str
    offset: int
    length: int
    data: bytes = b""


def steps(seed: int) -> Iterator[Step]:
    """Mostly what changes the table: new blocks, blocks that go; now and then writes in place; flushes."""
    chance = random.Random(seed)
    number = 0
    while True:
        number += 1
        for _ in range(chance.randint(1, 4)):
            block = chance.randrange(BLOCKS)
            what = chance.choices(["write", "zero", "trim"], [5, 3, 2])[0]
            if what == "write":
                offset = block * MIB + chance.choice([0, 512, 700, MIB - 5000])
                length = min(chance.choice([512, 4096, 10_000, LONGEST]), SIZE - offset)
                yield Step("write", offset, length, pattern(block, length, seed=number))
            else:
                yield Step(what, block * MIB, MIB)
        yield Step("flush", 0, 0)


def do(disk: vhdx.Disk, step: Step) -> None:
    """Take one step."""
    if step.what == "write":
        disk.pwrite(step.data, step.offset)
    elif step.what == "zero":
        disk.zero(length=step.length, offset=step.offset)
    elif step.what == "trim":
        disk.trim(length=step.length, offset=step.offset)
    else:
        disk.flush()


def main() -> None:
    """Write until killed."""
    path, seed = sys.argv[1:]
    disk = vhdx.open(path, "r+")
    flushes = 0
    for step in steps(int(seed)):
        do(disk, step)
        if step.what == "flush":
            flushes += 1
            sys.stdout.write(f"{flushes}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
