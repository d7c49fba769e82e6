"""The loss table: each structure, lost as a whole or in part, and what must become of the image.

A row says which codes `check` finds beside those of the sound image, what a repair must be told, and what
salvage returns. Rows are looked through from above; the first one that fits counts. Two losses at once are as
bad as each of them, unless a row of their own says otherwise.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from tests.examine.losing import Subject
from vhdx.rules import Remedy

NEEDLESS: frozenset[Remedy] = frozenset()
SAFE = frozenset({Remedy.REPAIR})
REBUILD = SAFE | {Remedy.REBUILD}
LOSS = SAFE | {Remedy.ACCEPT_DATA_LOSS}
EVERYTHING = REBUILD | LOSS
NEVER = frozenset({Remedy.NONE})
"""What repair must be told; nothing helps in the last case, nothing is needed in the first."""
ALL_OR_NOTHING = frozenset({Remedy.REBUILD, Remedy.NONE})
"""Without loss repair either restores everything, or it is refused and changes nothing."""

WHOLE, DOUBTFUL, UNTOLD, REFUSED = range(4)
"""What salvage returns: the disk as it was; all but what it calls doubtful; also what nobody can know to be
wrong; nothing."""


@dataclass(frozen=True)
class Row:
    """What becomes of an image that lost one structure."""

    structure: str
    codes: set[str]
    repaired: frozenset[Remedy]
    salvage: int = WHOLE
    may: set[str] = field(default_factory=set)
    """Codes that may be there, too: it depends on what stands in the lost place."""
    pieces: str = ""
    """What is in the names of the parts that this row is about; all if it is empty."""
    when: Callable[[Subject], bool] = lambda _: True

    def fits(self, subject: Subject, structure: str, piece: str) -> bool:
        """Whether it is about this loss."""
        named = structure == self.structure and self.pieces in piece
        return named and self.when(subject)


def _is_dirty(subject: Subject) -> bool:
    return subject.is_dirty


def _is_clean(subject: Subject) -> bool:
    return not subject.is_dirty


def _has_parent(subject: Subject) -> bool:
    return subject.kind == "differencing"


def _is_dirty_child(subject: Subject) -> bool:
    return subject.is_dirty and _has_parent(subject)


def _is_dirty_and_fixed(subject: Subject) -> bool:
    return subject.is_dirty and _is_fixed(subject)


def _is_fixed(subject: Subject) -> bool:
    return subject.kind == "fixed"


ITEMS = {
    "metadata.block_size",
    "metadata.disk_size",
    "metadata.logical_sector_size",
    "metadata.physical_sector_size",
}
ODD_ENTRIES = {"bat.needless_offset", "bat.reserved", "bat.leftovers", "bat.bitmap_unused"}
FREE = {"space.leaked", "space.free"}
ODD_ITEMS = {"metadata.file_parameter_flags", "locator.unused", "locator.reserved"}
ROWS = [
    Row("identifier", {"identifier.signature"}, SAFE, may={"header_section.reserved"}),
    Row("header 1", {"header.damaged"}, SAFE),
    Row("header 2", {"header.damaged"}, SAFE),
    Row("region table 1", {"region_table.damaged"}, SAFE),
    Row("region table 2", {"region_table.damaged"}, SAFE),
    Row("log", {"log.no_sequence", "bat.fixed_absent"}, EVERYTHING, DOUBTFUL, when=_is_dirty_and_fixed),
    Row("log", {"log.no_sequence"}, LOSS, DOUBTFUL, when=_is_dirty),
    Row("metadata table", {"metadata.table"}, REBUILD),
    Row("metadata items", {"locator.entry"}, NEVER, pieces="sector 1", when=_has_parent),
    Row("metadata items", ITEMS, NEVER, REFUSED, ODD_ITEMS),
    *(
        Row("BAT", {"bat.bitmap_missing", "space.leaked"}, NEVER, DOUBTFUL, ODD_ENTRIES, pieces)
        for pieces in ("page of the bitmap", "sector of the bitmap")
    ),
    Row(
        "BAT",
        {"bat.bitmap_missing", "space.leaked"},
        NEVER,
        DOUBTFUL,
        ODD_ENTRIES,
        "of the bitmap",
        _is_dirty,
    ),
    Row("BAT", set(), NEEDLESS, may=ODD_ENTRIES, when=_is_dirty),
    Row("BAT", {"bat.fixed_absent", "space.lost_entries"}, REBUILD, DOUBTFUL, ODD_ENTRIES, when=_is_fixed),
    Row("BAT", {"space.lost_entries"}, ALL_OR_NOTHING, DOUBTFUL, ODD_ENTRIES),
    Row("bitmap", set(), NEEDLESS, UNTOLD),
]

PAIRS: list[tuple[set[str], Row]] = [
    ({"header 1", "header 2"}, Row("both headers", {"header.none"}, REBUILD, may={"bat.fixed_absent"})),
    (
        {"region table 1", "region table 2"},
        Row("both region tables", {"region_table.none"}, REBUILD),
    ),
    (
        {"metadata table", "metadata items"},
        Row("metadata", {"metadata.table"}, NEVER, REFUSED),
    ),
    (
        {"log", "BAT"},
        Row("log and BAT", {"log.no_sequence"}, LOSS, DOUBTFUL, ODD_ENTRIES, when=_is_dirty_child),
    ),
    (
        {"BAT", "bitmap"},
        Row("table and bits", {"space.lost_entries"}, ALL_OR_NOTHING, DOUBTFUL, ODD_ENTRIES, when=_is_clean),
    ),
    ({"BAT", "bitmap"}, Row("table and bits", {"bat.bitmap_missing"}, NEVER, DOUBTFUL, ODD_ENTRIES | FREE)),
    ({"log", "bitmap"}, Row("log and bits", {"log.no_sequence"}, LOSS, DOUBTFUL, when=_is_dirty)),
    (
        {"log", "metadata items"},
        Row("log and sizes", {"log.no_sequence", *ITEMS}, NEVER, REFUSED, ODD_ITEMS, when=_is_dirty),
    ),
    ({"metadata items", "BAT"}, Row("sizes and table", ITEMS, NEVER, REFUSED, ODD_ITEMS | ODD_ENTRIES)),
]
"""Two structures that are worse together than each for itself, or of which one hides the other."""


def together(needed: list[frozenset[Remedy]]) -> frozenset[Remedy]:
    """What repair must be told of several losses."""
    worst = [each for each in (NEVER, ALL_OR_NOTHING) if each in needed]
    return worst[0] if worst else frozenset().union(*needed)


def expected(subject: Subject, *lost: tuple[str, str]) -> Row:
    """What becomes of an image that lost these pieces, told as (structure, piece)."""
    names = {structure for structure, _ in lost}
    for pair, row in PAIRS:
        if pair == names and row.when(subject):
            return row
    rows = [next(row for row in ROWS if row.fits(subject, *each)) for each in lost]
    return Row(
        " and ".join(row.structure for row in rows),
        set().union(*(row.codes for row in rows)),
        together([row.repaired for row in rows]),
        max(row.salvage for row in rows),
        set().union(*(row.may for row in rows)),
    )
