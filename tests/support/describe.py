"""The description of an image: what a test may choose, and the numbers that follow from it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal
from uuid import UUID, uuid5

from .bat import Fill
from .layout import BITS_OF_A_BITMAP, FULLY_PRESENT, MIB, NOT_PRESENT, ZERO_GUID
from .logs import LogBuilder
from .parts import Bitmap, Block, Header, Item, MetadataTable, Region, RegionTable

DiskType = Literal["dynamic", "fixed", "differencing"]
Pairs = Mapping[str, str] | Sequence[tuple[str, str]]
WINDOWS_ITEM_ORDER = (
    "file_parameters",
    "virtual_disk_size",
    "logical_sector_size",
    "physical_sector_size",
    "virtual_disk_id",
    "parent_locator",
)


def round_up(value: int, unit: int = MIB) -> int:
    """The next multiple of the unit."""
    return -(-value // unit) * unit


@dataclass
class Description:
    """Everything about an image that a test may choose; fields left alone are as Windows writes them.

    `blocks` are told by number; all others are in `default_state`, or have the entries that `fill` gives.
    `bat` are raw entries by index, which change nothing but the entry. `placement` is the order in the file,
    `table_order` the one in the region table; regions named in neither follow. `gap` stands before the first
    block, `tail` after everything else, and `file_length` cuts or lengthens the file in the end.
    """

    disk_size: int = 10 * MIB
    block_size: int = MIB
    logical_sector_size: int = 512
    physical_sector_size: int = 4096
    disk_type: DiskType = "dynamic"
    file_parameters_flags: int | None = None
    seed: int = 0
    creator: str | bytes = "Microsoft Windows 10.0.19041.0"
    disk_id: UUID | None = None
    file_write_guid: UUID | None = None
    data_write_guid: UUID | None = None

    blocks: dict[int, Block] = field(default_factory=dict)
    default_state: int | None = None
    fill: Fill | None = None
    bitmaps: dict[int, Bitmap] = field(default_factory=dict)
    bat: dict[int, int] = field(default_factory=dict)

    items: dict[str, Item] = field(default_factory=dict)
    item_order: Sequence[str] = WINDOWS_ITEM_ORDER
    metadata_table: MetadataTable = field(default_factory=MetadataTable)
    stale_slot: bool = True
    locator: Pairs | None = None
    parent_data_write_guid: UUID = ZERO_GUID
    parent_name: str = "parent.vhdx"

    regions: dict[str, Region] = field(default_factory=dict)
    region_required: int = 1
    region_tables: dict[int, RegionTable] = field(default_factory=dict)
    headers: dict[int, Header] = field(default_factory=dict)
    sequence_numbers: tuple[int, int] = (8, 9)
    identifier_signature: bytes = b"vhdxfile"

    log: LogBuilder | bytes | None = None
    log_guid: UUID | None = None
    log_offset: int | None = None
    log_length: int | None = None

    placement: Sequence[str] = ("log", "metadata", "bat")
    table_order: Sequence[str] = ("bat", "metadata")
    gap: int = 0
    tail: bytes = b""
    file_length: int | None = None
    patches: list[tuple[int, bytes]] = field(default_factory=list)

    @property
    def differencing(self) -> bool:
        """Whether this is a differencing image."""
        return self.disk_type == "differencing"

    @property
    def ratio(self) -> int:
        """Payload blocks to a bitmap block."""
        return BITS_OF_A_BITMAP * self.logical_sector_size // self.block_size

    @property
    def sectors_per_block(self) -> int:
        """Logical sectors to a block."""
        return self.block_size // self.logical_sector_size

    @property
    def payload_blocks(self) -> int:
        """Blocks of the disk, the last one possibly short."""
        return -(-self.disk_size // self.block_size)

    @property
    def bat_entries(self) -> int:
        """Entries that the BAT of this disk needs."""
        if self.differencing:
            return -(-self.payload_blocks // self.ratio) * (self.ratio + 1)
        return self.payload_blocks + max(self.payload_blocks - 1, 0) // self.ratio

    def bat_index(self, block: int) -> int:
        """The index of the entry of a payload block."""
        return block + block // self.ratio

    def bitmap_index(self, chunk: int) -> int:
        """The index of the entry of a bitmap block."""
        return (chunk + 1) * self.ratio + chunk

    def guid(self, name: str) -> UUID:
        """The GUID of that name ("disk id", "file write", "data write") of this image."""
        chosen = {
            "disk id": self.disk_id,
            "file write": self.file_write_guid,
            "data write": self.data_write_guid,
        }
        return chosen.get(name) or uuid5(ZERO_GUID, f"{name} {self.seed}")

    @property
    def usual_state(self) -> int:
        """The state of blocks that nothing is said about."""
        if self.default_state is not None:
            return self.default_state
        return FULLY_PRESENT if self.disk_type == "fixed" else NOT_PRESENT

    @property
    def log_size(self) -> int:
        """The length of the log, as placed and as the headers say."""
        if self.log_length is not None:
            return self.log_length
        if isinstance(self.log, LogBuilder):
            return self.log.length
        return max(round_up(len(self.log or b"")), MIB)
