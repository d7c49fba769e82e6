"""What is done to children and grandchildren while power may fail."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from tests.crash.scenarios.scenario import junk
from tests.crash.scenarios.wandering import wander
from tests.crash.session import reproducible
from tests.support.build import ImageBuilder
from tests.support.layout import GIB, KIB, MIB, PARTIALLY_PRESENT, UNMAPPED, ZERO
from tests.support.parts import Bitmap, Block
from tests.support.patterns import pattern
from tests.support.sparse import content_of

from .crash_session import ChainSession, Family

PAGE = 4096
Made = tuple[ImageBuilder, list[list[ImageBuilder]]]
"""A leaf, and the chains under it that it may have, the one that it has first."""


@dataclass(frozen=True)
class ChainScenario:
    """`least` is how many distinct contents of the leaf its exploration examines at least."""

    name: str
    images: Callable[[], Made]
    script: Callable[[ChainSession], None]
    least: int
    samples: int = 9
    one_in: int = 1

    def __str__(self) -> str:
        return self.name

    def recorded(self, seed: int = 0) -> ChainSession:
        """A session in which the script was played, on fresh images."""
        leaf, chains = self.images()
        family = Family([[content_of(image) for image in chain] for chain in chains])
        with reproducible(seed):
            session = ChainSession(content_of(leaf), family, seed, story=f"chain {self.name}, seed {seed}")
            try:
                self.script(session)
            finally:
                session.forget()
        return session


def some_data(number: int, owner: int, block_size: int = MIB) -> Block:
    """A block with something at its start, in its middle and at its end."""
    places = (0, 2 * PAGE, block_size // 2 - 512, block_size - PAGE)
    return Block({at: pattern(number, PAGE, owner, at) for at in places})


def part(number: int, present: set[int] | range, owner: int, block_size: int = MIB) -> Block:
    """A partially present block; where its bits are not set stands junk."""
    block = some_data(number, owner, block_size)
    return Block(block.data, PARTIALLY_PRESENT, present=present)


def base(sector: int = 512, seed: int = 1, block_size: int = MIB, disk_size: int = 12 * MIB) -> ImageBuilder:
    """A disk whose first half has data."""
    count = min(6, -(-disk_size // block_size))
    blocks = {n: some_data(n, 100 + seed, block_size) for n in range(count)}
    return ImageBuilder(disk_size, block_size, sector, seed=seed, blocks=blocks)


def child(
    sector: int = 512, *, mixed: bool = True, gap: bool = False, block_size: int = MIB, log: int = MIB
) -> Made:
    """One layer over a base."""
    parent = base(sector)
    leaf = parent.child()
    leaf.block_size = block_size
    leaf.log_length = log
    if mixed:
        leaf.blocks = {
            0: part(0, {0, 1, 2, MIB // sector - 1}, 7),
            1: some_data(1, 7),
            2: Block(state=ZERO),
            3: Block(state=UNMAPPED),
        }
    if gap:
        leaf.gap = 4 * MIB
        junk(leaf, leaf.plan().blocks_offset // MIB - 4, 4)
    return leaf, [[parent]]


def grandchild(sector: int = 512) -> Made:
    """Two layers over a base of other block sizes."""
    bottom = base(sector, block_size=2 * MIB)
    middle = bottom.child()
    middle.block_size = MIB
    middle.blocks = {0: part(0, {0, 5}, 5), 1: Block(state=ZERO), 4: some_data(4, 5), 7: some_data(7, 5)}
    leaf = middle.child()
    leaf.blocks = {4: part(4, {0}, 7), 5: Block(state=ZERO)}
    return leaf, [[middle, bottom]]


def two_parents(sector: int = 512) -> Made:
    """A child, its parent, and another one."""
    leaf, chains = child(sector)
    other = base(sector, seed=9)
    other.blocks.pop(5)
    other.blocks[8] = some_data(8, 109)
    return leaf, [*chains, [other]]


def first_write(session: ChainSession) -> None:
    session.write(4 * MIB + 512, 1024)
    session.flush()
    session.write(4 * MIB + 300, 10)
    session.write(8 * MIB + 700, 5000)
    session.close()


def many_bits(session: ChainSession) -> None:
    for number in range(10):
        session.write(4 * MIB + number * 24_576, 512 if number % 2 else 4096)
        session.write(number % 3 * MIB + 65_536 + number * 8192 + 100, 600)
        if number % 3 == 2:
            session.flush()
    session.close()


def from_part_to_full(session: ChainSession) -> None:
    session.write(0, MIB)
    session.flush()
    session.write(4 * MIB, 4096)
    session.write(4 * MIB, MIB)
    session.write(5 * MIB, MIB)
    session.flush()
    session.write(4 * MIB + 100, 100)
    session.close()


def hidden(session: ChainSession) -> None:
    session.write(2 * MIB + 512, 512)
    session.write(3 * MIB + 100, 512)
    session.flush()
    session.zero(0, MIB)
    session.write(512, 512)
    session.zero(4 * MIB + 300, 10_000)
    session.flush()
    session.trim(4 * MIB, MIB)
    session.write(4 * MIB + 4096, 512)
    session.trim(5 * MIB, MIB)
    session.flush()
    session.write(5 * MIB + 4096, 512)
    session.zero(MIB - 5000, 2 * MIB, keep_allocated=True)
    session.trim(MIB // 2, 4096)
    session.close()


def killed(session: ChainSession) -> None:
    session.write(4 * MIB + 512, 1024)
    session.flush()
    session.write(5 * MIB + 300, 1024)
    session.zero(MIB, MIB)
    session.flush()
    session.abandon()
    session.write(4 * MIB + 1024, 2048)
    session.flush()
    session.abandon()
    session.recover_or_close()


def rebased(session: ChainSession, *, safe: bool) -> None:
    first, second = session.family.known()
    session.write(4 * MIB + 512, 1024)
    if safe:
        session.rebase(second, safe=True)
        session.write(5 * MIB + 512, 1024)
        session.close()
        session.rebase(first, safe=True)
    else:
        session.close()
        session.rebase(first, safe=False)
        session.write(5 * MIB + 512, 1024)
        session.close()


def large() -> Made:
    """Blocks of 256 MiB, whose bits take 16 pages; a log of 1 MiB is full after 14 commits of them all."""
    parent = base(block_size=32 * MIB, disk_size=GIB)
    leaf = parent.child()
    leaf.block_size = 256 * MIB
    return leaf, [[parent]]


def laps(session: ChainSession) -> None:
    for round_ in range(16):
        for page in range(16):
            session.write(page * 16 * MIB + round_ * 4096, 512)
        session.flush()
    session.close()


def like_its_parent(sector: int = 512, block_size: int = MIB) -> Made:
    """A child that says again what its parent says, whole blocks and parts, and zeros; bitmaps at the end.

    Behind 8 MiB nobody says anything. Junk stands in a gap, and where bits are not set.
    """
    parent = base(sector)
    leaf = parent.child()
    leaf.block_size = block_size
    same = {at: parent.blocks[0].pieces()[at] for at in parent.blocks[0].pieces()}
    changed = {**same, MIB // 2: pattern(77, PAGE)}
    partial_same = Block({at: parent.blocks[1].pieces()[at] for at in (0, 2 * PAGE)}, PARTIALLY_PRESENT)
    partial_same.present = range(4 * PAGE // sector)
    leaf.blocks = {
        0: Block(changed),
        1: partial_same,
        2: Block(dict(parent.blocks[2].pieces())),
        3: Block(),
        4: part(4, {0, 1, 2, MIB // sector - 1}, 7),
        6: Block(state=PARTIALLY_PRESENT, present=range(MIB // sector)),
        7: some_data(7, 7),
    }
    leaf.gap = 3 * MIB
    junk(leaf, leaf.plan().blocks_offset // MIB - 3, 3)
    return leaf, [[parent]]


def in_want_of_a_bitmap(sector: int = 512) -> Made:
    """Full blocks that equal their parent's but for a page, and free space for a bitmap full of junk."""
    parent = base(sector)
    leaf = parent.child()
    leaf.block_size = MIB
    leaf.blocks = {}
    for number in (0, 1, 2):
        leaf.blocks[number] = Block({**parent.blocks[number].pieces(), MIB // 4: pattern(70 + number, PAGE)})
    leaf.gap = MIB
    junk(leaf, leaf.plan().blocks_offset // MIB - 1, 1)
    return leaf, [[parent]]


def in_want_of_the_last_mib(sector: int = 512) -> Made:
    """As before, but the free space is the last MiB of the file, which ends inside it."""
    leaf, chains = in_want_of_a_bitmap(sector)
    leaf.gap, leaf.patches = 0, []
    leaf.tail = bytes(600 * KIB)
    return leaf, chains


def bitmap_for_nobody(sector: int = 512) -> Made:
    """No block is partially present, but there is a bitmap, in front of a block that moves to its place."""
    leaf, chains = child(sector)
    leaf.blocks = {0: part(0, {0, 1}, 7), 1: some_data(1, 7), 5: some_data(5, 7)}
    return leaf, chains


def two_chunks() -> Made:
    """The bitmap of the first chunk goes, and that of the second moves to its place."""
    parent = base(disk_size=5 * GIB)
    leaf = parent.child()
    leaf.block_size = 2 * MIB
    chunk = 4 * GIB // (2 * MIB)
    leaf.blocks = {
        0: Block({0: pattern(0, PAGE, 101)}, PARTIALLY_PRESENT, present=range(8)),
        chunk: Block({0: b"", PAGE: pattern(9, PAGE)}, PARTIALLY_PRESENT, present=range(8, 16)),
    }
    low = leaf.plan().blocks_offset
    leaf.bitmaps = {0: Bitmap(file_offset=low), 1: Bitmap(file_offset=low + 7 * MIB)}
    leaf.blocks[0].file_offset, leaf.blocks[chunk].file_offset = low + 3 * MIB, low + MIB
    return leaf, [[parent]]


def scanned_and_punched(session: ChainSession) -> None:
    session.compact(scan_zeros=True, punch=True)


def compacted(session: ChainSession) -> None:
    session.compact()
    session.write(4 * MIB + 512, 1024)
    session.write(9 * MIB + 512, 1024)
    session.close()
    session.compact(punch=True)


def scanned(session: ChainSession) -> None:
    session.compact(scan_zeros=True, punch=True)
    session.write(MIB + 8192, 1024)
    session.write(2 * MIB + 512, 1024)
    session.flush()
    session.zero(4 * MIB, MIB)
    session.close()
    session.compact(scan_zeros=True)


def without_bitmaps(session: ChainSession) -> None:
    """The bitmap goes, a block moves to its place, and another bitmap comes."""
    session.zero(0, MIB)
    session.close()
    session.compact()
    session.write(9 * MIB + 512, 512)
    session.flush()
    session.compact(scan_zeros=True)
    session.write(9 * MIB + 1024, 512)
    session.close()


def interrupted(session: ChainSession) -> None:
    session.compact(scan_zeros=True, killed=True, interrupted=5)
    session.compact(scan_zeros=True, interrupted=4)
    session.compact(scan_zeros=True)


BOTH = (512, 4096)
SCENARIOS = (
    *(
        ChainScenario(f"{name}, sectors of {sector}", partial(images, sector), script, 20)
        for sector in BOTH
        for name, images, script in (
            ("first write of a child", partial(child, mixed=False), first_write),
            ("a new bitmap block among junk", partial(child, mixed=False, gap=True), first_write),
            ("many bits", child, many_bits),
            ("from part to full", child, from_part_to_full),
            ("zeroed and trimmed", child, hidden),
            ("a replay interrupted", child, killed),
            ("a grandchild", grandchild, many_bits),
            ("zeroed and trimmed in a grandchild", grandchild, hidden),
            ("wandering on a grandchild", grandchild, wander),
            ("wandering among junk", partial(child, gap=True), wander),
            ("rebased", two_parents, partial(rebased, safe=False)),
            ("compacted among junk", partial(child, gap=True), compacted),
            ("compacted, a grandchild", grandchild, scanned),
            ("compacted, like its parent", like_its_parent, scanned),
            ("compacted without bitmaps", bitmap_for_nobody, without_bitmaps),
            ("compacted with a new bitmap", in_want_of_a_bitmap, scanned_and_punched),
            ("compacted with a bitmap in the last MiB", in_want_of_the_last_mib, scanned_and_punched),
            ("compacted, interrupted", like_its_parent, interrupted),
        )
    ),
    *(
        ChainScenario(
            f"rebased safely, sectors of {sector}",
            partial(two_parents, sector),
            partial(rebased, safe=True),
            20,
            samples=3,
            one_in=10,
        )
        for sector in BOTH
    ),
    ChainScenario("compacted, two chunks", two_chunks, scanned_and_punched, 20, samples=4),
    ChainScenario("blocks of 256 MiB", large, laps, 20, samples=1, one_in=30),
)
