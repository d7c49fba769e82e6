from typing import NamedTuple

HAS_ZSTD: bool

class Extent(NamedTuple):
    compression: int
    encryption: int
    disk_offset: int
    disk_length: int
    offset: int
    length: int

class ExtentStream:
    extents: list[Extent]
