"""The words of the fault table: images with one thing wrong each, and what must become of them.

Each row says which codes `check` finds, what it takes to repair the image, and at which step opening and then
reading, and opening and then writing, fail. Everything is sealed: what is wrong stands behind right
checksums, but where the checksum is what is wrong.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from tests.support.build import ImageBuilder
from tests.support.layout import (
    BAT_GUID,
    FULLY_PRESENT,
    METADATA_GUID,
    MIB,
    PARTIALLY_PRESENT,
    SECTOR,
    UNMAPPED,
    ZERO,
    pack_region_entry,
)
from tests.support.logs import Data, Entry, LogBuilder
from tests.support.parts import Block, Header, Item, RegionTable
from tests.support.patterns import pattern

SIZE = 10 * MIB
STRANGE = UUID(int=77)

SAFE, LOSS, REBUILD, NEVER, NEEDLESS = "safe", "loss", "rebuild", "never", "needless"
"""What repairs an image: repair alone, with an option, nothing; or there is nothing to repair."""
OPEN, READ, WRITE, NOWHERE = "open", "read", "write", ""
"""The step that fails."""


LOCATOR = {"parent_linkage": f"{{{STRANGE}}}", "relative_path": ".\\parent.vhdx"}


@dataclass(frozen=True)
class Fault:
    """One row of the table."""

    name: str
    make: Callable[[], ImageBuilder]
    codes: set[str]
    repaired: str
    reading: str = NOWHERE
    writing: str | None = None
    after: set[str] = field(default_factory=set)
    """The codes that are left when it is repaired."""

    @property
    def writing_fails(self) -> str:
        """Writing fails where reading fails, unless told otherwise."""
        if self.writing is not None:
            return self.writing
        return self.reading if self.reading == OPEN else NOWHERE


def dynamic(**changes: Any) -> ImageBuilder:
    """A dynamic image with blocks in most states."""
    image = ImageBuilder(SIZE)
    image.blocks = {
        0: Block(pattern(0, MIB)),
        1: Block(pattern(1, MIB)),
        2: Block(state=ZERO),
        3: Block(state=UNMAPPED),
    }
    return _changed(image, changes)


def child(**changes: Any) -> ImageBuilder:
    """A differencing image with a block of each kind. Its parent is not there."""
    image = dynamic().child()
    image.locator = LOCATOR
    image.blocks = {
        0: Block(pattern(0, MIB, 1), PARTIALLY_PRESENT, present=b"\xfd\x7f" * 128),
        1: Block(pattern(1, MIB, 1)),
        2: Block(state=UNMAPPED),
    }
    return _changed(image, changes)


def dirty(*entries: Entry, **changes: Any) -> ImageBuilder:
    """A dynamic image whose log has these entries, numbered and named as the log's, or one good one."""
    image = dynamic()
    log = LogBuilder(sequence_number=1)
    for entry in entries or (Entry(sector(image)),):
        entry.log_guid, entry.sequence_number = log.guid, log.sequence_number
        log.place(entry)
    image.log = log
    return _changed(image, changes)


def sector(image: ImageBuilder, file_offset: int | None = None) -> list[Data]:
    """A sector of free metadata space, or elsewhere, to be logged."""
    target = image.plan().metadata_offset + MIB - SECTOR if file_offset is None else file_offset
    return [Data(target, pattern(9, SECTOR))]


def _changed(image: ImageBuilder, changes: dict[str, Any]) -> ImageBuilder:
    for name, value in changes.items():
        old = getattr(image, name)
        merged = isinstance(old, dict) and name != "locator"
        setattr(image, name, {**old, **value} if merged else value)
    return image


def both(**fields: Any) -> dict[int, Any]:
    """Both headers, with these fields."""
    return {1: Header(**fields), 2: Header(**fields)}


def tables(*entries: bytes, **fields: Any) -> dict[int, RegionTable]:
    """Both copies of the region table, with these entries and fields."""
    return {n: RegionTable(entries=entries or None, **fields) for n in (1, 2)}


BAT = pack_region_entry(BAT_GUID, 3 * MIB, MIB)
METADATA = pack_region_entry(METADATA_GUID, 2 * MIB, MIB)


def regions(*entries: bytes) -> ImageBuilder:
    """A dynamic image with other regions."""
    return dynamic(region_tables=tables(*entries))


def item(name: str, value: int, length: int, make: Callable[..., ImageBuilder] = dynamic) -> ImageBuilder:
    """An image with another value of one item."""
    return make(items={name: Item(value=value.to_bytes(length, "little"))})


def parameters(block_size: int, flags: int) -> ImageBuilder:
    """A dynamic image with other file parameters."""
    return item("file_parameters", flags << 32 | block_size, 8)


def entry(
    index: int, value: int, make: Callable[..., ImageBuilder] = dynamic, **changes: Any
) -> ImageBuilder:
    """An image with another entry of the BAT."""
    return make(bat={index: value}, **changes)


def shared_space(**changes: Any) -> ImageBuilder:
    """Block 1 stands where block 0 does, and its own space belongs to nobody."""
    image = dynamic(**changes)
    return _changed(image, {"bat": {1: image.plan().blocks[0] | FULLY_PRESENT}})


def half_shared_space() -> ImageBuilder:
    """Blocks of 2 MiB that overlap by one."""
    image = ImageBuilder(SIZE, block_size=2 * MIB)
    image.blocks = {0: Block(pattern(0, 2 * MIB)), 1: Block(pattern(1, 2 * MIB))}
    return _changed(image, {"bat": {1: image.plan().blocks[0] + MIB | FULLY_PRESENT}})


def cut_block() -> ImageBuilder:
    """The file ends in the middle of block 1."""
    image = dynamic()
    return _changed(image, {"file_length": image.plan().blocks[1] + MIB // 2})


def logged_payload() -> ImageBuilder:
    """The log writes into block 1."""
    image = dynamic()
    return dirty(Entry(sector(image, image.plan().blocks[1])))


def no_items(name: str) -> ImageBuilder:
    """A dynamic image without an item."""
    return dynamic(items={name: Item(omit=True)})


def users(count: int, **fields: Any) -> dict[str, Item]:
    """User items of 16 bytes."""
    return {f"user {i}": Item(value=bytes(16), flags=1, **fields) for i in range(count)}


def fixed_without_contents(**changes: Any) -> ImageBuilder:
    """As QEMU makes fixed images: all blocks ZERO, all space kept."""
    image = ImageBuilder(SIZE, disk_type="fixed", default_state=ZERO, file_length=4 * MIB + SIZE)
    return _changed(image, changes)


BEHIND = 3 << 40
"""Far behind the end of every file here."""
