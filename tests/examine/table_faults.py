"""What can be wrong with the BAT and the space of the file."""

from functools import partial

from tests.examine.fault import (
    BEHIND,
    LOSS,
    NEEDLESS,
    NEVER,
    OPEN,
    READ,
    SAFE,
    WRITE,
    Fault,
    child,
    cut_block,
    dynamic,
    entry,
    fixed_without_contents,
    half_shared_space,
    item,
    shared_space,
)
from tests.support.build import ImageBuilder
from tests.support.layout import (
    FULLY_PRESENT,
    MIB,
    TIB,
    UNDEFINED,
    UNMAPPED,
    ZERO,
)
from tests.support.parts import Bitmap, Block
from tests.support.patterns import pattern

JUNK = [(4 * MIB + 5000, b"of nobody")]
"""Bytes behind the structures that no entry names."""

TABLE_FAULTS = [
    Fault(
        "BAT: too small",
        lambda: item("virtual_disk_size", 256 * 1024 * MIB, 8),
        {"bat.too_small"},
        NEVER,
        OPEN,
    ),
    Fault("block: state 4", lambda: entry(5, 4), {"bat.state"}, NEVER, READ),
    Fault(
        "block: partially present without a parent",
        lambda: dynamic(blocks={5: Block(pattern(5, MIB), 7)}),
        {"bat.taken_for_present"},
        SAFE,
    ),
    Fault(
        "block: partially present without a parent, behind the end",
        lambda: entry(5, BEHIND | 7),
        {"bat.taken_for_present", "bat.past_end"},
        LOSS,
        READ,
        WRITE,
    ),
    Fault("block: state 5", lambda: entry(5, 5), {"bat.state_v095"}, NEVER),
    Fault(
        "block: reserved bits",
        lambda: dynamic(blocks={4: Block(pattern(4, MIB), reserved=1)}),
        {"bat.reserved"},
        SAFE,
    ),
    Fault("block: ZERO with an offset", lambda: entry(5, 20 * MIB | ZERO), {"bat.needless_offset"}, SAFE),
    Fault("block: NOT_PRESENT with an offset", lambda: entry(5, MIB), {"bat.needless_offset"}, SAFE),
    Fault(
        "block: NOT_PRESENT with an offset at which its contents stand",
        lambda: entry(1, dynamic().plan().blocks[1]),
        {"bat.needless_offset", "space.lost_entries"},
        NEVER,
    ),
    *(
        Fault(f"block: in {where}", partial(entry, 5, at | FULLY_PRESENT), {"bat.place"}, LOSS, READ, WRITE)
        for where, at in (
            ("the identifier", 0),
            ("the log", MIB),
            ("the metadata", 2 * MIB),
            ("the BAT", 3 * MIB),
        )
    ),
    Fault(
        "block: over 256 TiB", lambda: entry(5, 256 * TIB | FULLY_PRESENT), {"bat.place"}, LOSS, READ, WRITE
    ),
    Fault(
        "block: behind the end", lambda: entry(5, BEHIND | FULLY_PRESENT), {"bat.past_end"}, LOSS, READ, WRITE
    ),
    Fault("block: partly behind the end", cut_block, {"bat.past_end"}, LOSS, READ, WRITE),
    Fault("block: space of another", shared_space, {"bat.overlap", "space.leaked_tail"}, LOSS, READ, WRITE),
    Fault(
        "block: space of another in part",
        half_shared_space,
        {"bat.overlap", "space.leaked_tail"},
        LOSS,
        READ,
        WRITE,
        after={"space.leaked"},
    ),
    Fault("kept space: in the log", lambda: entry(5, MIB | UNMAPPED), {"bat.kept_place"}, SAFE),
    Fault("kept space: behind the end", lambda: entry(5, BEHIND | UNDEFINED), {"bat.kept_place"}, SAFE),
    Fault(
        "kept space: of a block",
        lambda: entry(5, dynamic().plan().blocks[0] | UNMAPPED),
        {"bat.kept_place"},
        SAFE,
    ),
    Fault(
        "bitmap: missing", lambda: entry(4096, 0, child), {"bat.bitmap_missing", "space.leaked"}, NEVER, OPEN
    ),
    Fault(
        "bitmap: behind the end",
        lambda: entry(4096, BEHIND | 6, child),
        {"bat.past_end", "space.leaked"},
        NEVER,
        OPEN,
    ),
    Fault(
        "bitmap: in the log", lambda: entry(4096, MIB | 6, child), {"bat.place", "space.leaked"}, NEVER, OPEN
    ),
    Fault(
        "bitmap: space of a block",
        lambda: entry(4096, child().plan().blocks[1] | 6, child),
        {"bat.overlap", "space.leaked"},
        LOSS,
        OPEN,
    ),
    Fault(
        "bitmap: reserved state",
        lambda: entry(4096, 3, child),
        {"bat.bitmap_state", "bat.bitmap_missing", "space.leaked"},
        NEVER,
        OPEN,
    ),
    Fault(
        "bitmap: state 7",
        lambda: entry(4096, child().plan().bitmaps[0] | 7, child, bitmaps={0: Bitmap()}),
        {"bat.taken_for_present"},
        SAFE,
        OPEN,
    ),
    Fault(
        "bitmap: reserved bits", lambda: child(bitmaps={0: Bitmap(reserved=1)}), {"bat.reserved"}, SAFE, OPEN
    ),
    Fault(
        "bitmap: unused",
        lambda: child(blocks={0: Block(state=UNMAPPED)}, bitmaps={0: Bitmap(state=6)}),
        {"bat.bitmap_unused"},
        NEEDLESS,
        OPEN,
    ),
    Fault(
        "bitmap: not there but with a place",
        lambda: entry(4096, 20 * MIB, child, blocks={0: Block(state=UNMAPPED)}),
        {"bat.needless_offset"},
        SAFE,
        OPEN,
    ),
    Fault(
        "bitmap: in an image without a parent",
        lambda: ImageBuilder(5 << 30, bat={4096: 20 * MIB | 6}),
        {"bat.bitmap_junk"},
        SAFE,
    ),
    Fault("BAT: entries behind the last", lambda: entry(10, 2), {"bat.leftovers"}, NEEDLESS),
    Fault("BAT: entries far behind the last", lambda: entry(100000, 2), {"bat.leftovers"}, NEEDLESS),
    Fault("space: free", lambda: dynamic(gap=5 * MIB), {"space.free"}, NEEDLESS),
    Fault("space: leaked", lambda: dynamic(gap=5 * MIB, patches=JUNK), {"space.free", "space.leaked"}, SAFE),
    Fault(
        "space: a gap as of QEMU, but filled", lambda: dynamic(gap=MIB, patches=JUNK), {"space.leaked"}, SAFE
    ),
    Fault("space: gap of QEMU", lambda: dynamic(gap=4 * MIB), {"space.gap"}, NEEDLESS),
    Fault("space: free tail", lambda: dynamic(tail=bytes(2 * MIB)), {"space.free_tail"}, SAFE),
    Fault("space: leaked tail", lambda: dynamic(tail=bytes(2 * MIB) + b"x"), {"space.leaked_tail"}, SAFE),
    Fault("space: ragged end", lambda: dynamic(tail=bytes(512)), {"space.ragged_end"}, NEEDLESS),
    Fault(
        "space: of no block in a fixed image",
        lambda: fixed_without_contents(patches=JUNK),
        {"space.reserved", "space.leaked"},
        SAFE,
    ),
    Fault("space: kept by a fixed image", fixed_without_contents, {"space.reserved"}, NEEDLESS),
]
