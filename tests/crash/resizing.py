"""Images that are to get another size, and what their disks must hold then: described byte by byte."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.chains.twin import Twin, layer_of_survey
from tests.support.build import ImageBuilder
from tests.support.layout import FULLY_PRESENT, MIB, PARTIALLY_PRESENT, UNMAPPED, ZERO
from tests.support.lying import Record
from tests.support.parts import Block
from tests.support.patterns import pattern
from tests.support.presets import qemu_like
from tests.support.soundness import Surveyor
from tests.support.sparse import Content, ContentStorage, content_of
from vhdx.disk.chain import VhdxDisk
from vhdx.image import image
from vhdx.reshape.resize import resize

FILE = "image.vhdx"
OWN, BELOW, JUNK = 0x4F574E, 0x42454C, 0x4A554E4B


@dataclass(frozen=True)
class Case:
    """One image, perhaps over a parent, and the size that its disk is to get."""

    name: str
    build: Callable[[], ImageBuilder]
    new_size: int
    parent: Callable[[], ImageBuilder] | None = None

    def __str__(self) -> str:
        return self.name

    @property
    def has_parent(self) -> bool:
        """Whether there is a parent."""
        return self.parent is not None

    @property
    def below(self) -> list[Content]:
        """The parent, if there is one."""
        return [] if self.parent is None else [content_of(self.parent())]


def resized(case: Case, content: Content) -> tuple[Record, Content]:
    """The record of the resize, and the file after it."""
    record = Record()
    storage = record.storage(FILE, content)
    layers = [image.load(ContentStorage(parent)) for parent in case.below]
    resize(storage, case.new_size, below=VhdxDisk(layers) if layers else None)
    return record, storage.content


class Spots:
    """Places of a disk where something stands or could: all of a small disk, samples of a large one."""

    def __init__(self, case: Case, old_size: int) -> None:
        borders = [0, 4096 * MIB, 4100 * MIB, old_size, case.new_size, *(9 * MIB, 10 * MIB) * case.has_parent]
        starts = {border // MIB * MIB + step * MIB for border in borders for step in (-1, 0, 1)}
        small = range(min(14 * MIB, max(old_size, case.new_size)) // MIB + 1)
        self._pieces = sorted({number * MIB for number in small} | starts)

    def read(self, read: Callable[[int, int], bytes], size: int) -> bytes:
        """All spots of a disk of `size`."""
        return b"".join(read(min(MIB, size - start), start) for start in self._pieces if 0 <= start < size)


def read_by_twin(content: Content, below: list[Content]) -> Callable[[int, int], bytes]:
    """The disk by the eyes of somebody who shares no code with the library."""
    return Twin([layer_of_survey(Surveyor().survey(one)) for one in (content, *below)]).read


def read_by_us(content: Content, below: list[Content]) -> Callable[[int, int], bytes]:
    """The same by the library."""
    return VhdxDisk([image.load(ContentStorage(one)) for one in (content, *below)]).pread


def _own(number: int, length: int = MIB) -> Block:
    return Block(pattern(number, length, OWN))


def _dynamic(blocks: int, size: int, sector_size: int = 512) -> ImageBuilder:
    made = ImageBuilder(size, MIB, sector_size, blocks={number: _own(number) for number in range(blocks)})
    made.log_length = MIB
    return made


def _odd() -> ImageBuilder:
    """Ends in the middle of a block full of data, junk behind its end included."""
    return _dynamic(3, 2 * MIB + 5 * 512)


def _with_leftovers() -> ImageBuilder:
    """Entries behind the end name blocks that are others', and the header section."""
    made = _dynamic(3, 3 * MIB)
    place = made.plan().blocks[1]
    made.bat = {3: FULLY_PRESENT | place, 4: ZERO | 0xFFFF8, 6: FULLY_PRESENT | MIB, 200: 7}
    return made


def _fixed(sector_size: int = 512) -> ImageBuilder:
    made = _dynamic(3, 2 * MIB + 4096, sector_size)
    made.disk_type = "fixed"
    return made


def _qemu_fixed() -> ImageBuilder:
    """Ends in the file where the disk ends, in the middle of its last block."""
    made = qemu_like(disk_size=2 * MIB + 512, block_size=MIB, file_parameters_flags=1)
    made.blocks = {0: _own(0), 1: _own(1), 2: _own(2, 512)}
    made.file_length = made.plan().blocks[2] + 512
    return made


def _full_table() -> ImageBuilder:
    """A BAT region without room for one entry more."""
    ratio = 4096
    entries = MIB // 8
    blocks = entries - entries // (ratio + 1)
    made = _dynamic(2, blocks * MIB)
    made.blocks |= {blocks - 1: _own(7), ratio: _own(8)}
    return made


def _parent() -> ImageBuilder:
    made = ImageBuilder(9 * MIB, MIB, seed=1)
    made.blocks = {number: Block(pattern(number, MIB, BELOW)) for number in range(9)}
    return made


def _child() -> ImageBuilder:
    """Ends inside a partially present block over a parent that goes on; leftover bits behind the end."""
    made = _parent().child("parent.vhdx")
    made.disk_size = 2 * MIB + 5 * 512
    made.blocks = {
        0: Block(b"", UNMAPPED),
        1: Block(pattern(1, MIB, OWN), PARTIALLY_PRESENT, present=range(3, 2000)),
        2: Block(pattern(2, MIB, JUNK), PARTIALLY_PRESENT, present=(1, 4, 5, 9, 100, 2047)),
    }
    return made


def _large_child() -> ImageBuilder:
    """Two chunks with bitmaps, of which the second one goes."""
    made = _parent().child("parent.vhdx")
    made.disk_size, made.block_size = 4102 * MIB, MIB
    partial = [Block(pattern(n, MIB, OWN), PARTIALLY_PRESENT, present=range(5, 99)) for n in range(3)]
    made.blocks = {1: partial[0], 4100: partial[1], 4101: partial[2]}
    return made


def _short_parent() -> ImageBuilder:
    """Ends inside the child's last block."""
    made = ImageBuilder(MIB + MIB // 2, MIB, seed=1)
    made.blocks = {number: Block(pattern(number, MIB, BELOW)) for number in range(2)}
    return made


def _child_with_more() -> ImageBuilder:
    """Junk behind the end in a full block, over a parent that ends before it."""
    made = _short_parent().child("parent.vhdx")
    made.disk_size = MIB + MIB // 2 + 512
    made.blocks = {1: Block(pattern(1, MIB, JUNK))}
    return made


CASES = (
    Case("grow inside the last block", _odd, 3 * MIB - 512),
    Case("grow by blocks", _odd, 9 * MIB + 512),
    Case("grow over leftovers", _with_leftovers, 9 * MIB),
    Case("grow, sectors of 4096", lambda: _dynamic(2, 2 * MIB - 4096, 4096), 6 * MIB),
    Case("grow a fixed image", _fixed, 7 * MIB),
    Case("grow a fixed image, sectors of 4096", lambda: _fixed(4096), 4 * MIB),
    Case("grow a fixed image that QEMU made", _qemu_fixed, 5 * MIB + 512),
    Case("grow a child over more of its parent", _child, 7 * MIB + 512, _parent),
    Case("grow a child behind its parent", _child, 12 * MIB, _parent),
    Case("grow a child over a parent that ends in its last block", _child_with_more, 4 * MIB, _short_parent),
    Case("shrink inside the last block", _odd, 2 * MIB + 512),
    Case("shrink by blocks", lambda: _dynamic(8, 8 * MIB), 3 * MIB + 512),
    Case("shrink a fixed image", _fixed, 512),
    Case("shrink a child", _child, MIB + 512, _parent),
    Case("shrink a child by a chunk", _large_child, 4099 * MIB, _parent),
)
LARGE_CASES = (
    Case("grow by a longer table", _full_table, 200 * 1024 * MIB),
    Case("shrink a large disk", _full_table, 3 * MIB),
)
