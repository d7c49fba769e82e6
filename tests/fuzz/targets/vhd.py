"""VHD, the older format: fixed, dynamic and differencing, against a reader of a few obvious lines."""

import struct
from collections.abc import Iterator
from functools import cache
from random import Random

from tests.fuzz import mutate
from tests.fuzz.case import Area, Seed, packed, unpack, written
from tests.fuzz.oracle import Meter, Refused, answer
from tests.support.layout import KIB, MIB, Layout
from tests.support.patterns import pattern
from tests.support.sparse import Content
from vhdx.disk.vhd import VhdDisk
from vhdx.extents import ExtentKind
from vhdx.image.vhd import VhdImage
from vhdx.image.vhd_load import is_vhd
from vhdx.ops.info_vhd import _vhd_info

__all__ = ["corpus", "mutated", "run"]

_BLOCK = 16 * KIB
_SIZE = 5 * _BLOCK + 512
_TABLE = 1536
_BITMAP = 512
READS_TO_OPEN = 16
_FOOTER = Layout(
    ("cookie", 8, "bytes"),
    *((name, 4, "bytes") for name in ("features", "version")),
    ("header offset", 8, "bytes"),
    *((name, 4, "bytes") for name in ("time", "creator", "creator version", "host")),
    *((name, 8, "bytes") for name in ("original size", "size")),
    *((name, 4, "bytes") for name in ("geometry", "type", "checksum")),
    ("id", 16, "bytes"),
    ("saved", 1, "bytes"),
)
_HEADER = Layout(
    *((name, 8, "bytes") for name in ("cookie", "next", "table")),
    *((name, 4, "bytes") for name in ("version", "count", "block size", "checksum")),
    ("parent id", 16, "bytes"),
    ("parent time", 4, "bytes"),
)
_LOCATOR = Layout(
    *((name, 4, "bytes") for name in ("platform", "space", "length", "reserved")), ("offset", 8, "bytes")
)
_ENTRY = Layout(("sector", 4, "bytes"))


@cache
def _seeds() -> tuple[Seed, ...]:
    return _seed("dynamic", 3), _seed("differencing", 4, _image(3, range(5))), _seed("fixed", 2)


def _seed(name: str, disk_type: int, parent: Content | None = None) -> Seed:
    content = _image(disk_type, (0, 2, 5))
    areas = [Area("footer", content.size - 512, 512, _FOOTER)]
    if disk_type != 2:
        areas += [
            Area("copy of the footer", 0, 512, _FOOTER),
            Area("header", 512, 1024, _HEADER, _LOCATOR, 576),
            Area("table", _TABLE, 64, rows=_ENTRY),
            Area("first bitmap", 2048, _BITMAP),
            Area("name of the parent", 768, 64),
        ]
    return Seed(name, content, tuple(areas), (0, 0), parent)


def _image(disk_type: int, present: range | tuple[int, ...]) -> Content:
    """An image as the specification has it: copy of the footer, header, table, blocks, footer."""
    content = Content()
    footer = struct.pack(
        ">8sIIQI4sI4sQQIII16s",
        b"conectix",
        2,
        1 << 16,
        512,
        7,
        b"test",
        1,
        b"Wi2k",
        _SIZE,
        _SIZE,
        0,
        disk_type,
        0,
        b"i" * 16,
    ).ljust(512, b"\0")
    if disk_type == 2:
        content.write(pattern(0, _SIZE), 0)
        content.write(_summed(footer, 64), _SIZE)
        return content
    header = struct.pack(
        ">8sQQIIII16sI", b"cxsparse", (1 << 64) - 1, _TABLE, 1 << 16, 6, _BLOCK, 0, b"p" * 16, 0
    )
    header = (header.ljust(64, b"\0") + "parent.vhd".encode("utf-16-be")).ljust(576, b"\0")
    header += struct.pack(">4sIIIQ", b"W2ru", 512, 8, 0, 768)
    content.write(_summed(footer, 64), 0)
    content.write(_summed(header.ljust(1024, b"\0"), 36), 512)
    content.write(b"\xff" * 512, _TABLE)
    place = 2048
    for block in present:
        content.write((place // 512).to_bytes(4, "big"), _TABLE + 4 * block)
        content.write((b"\xa5\x0f\xff\x80" if block else b"\xff" * 4), place)
        content.write(pattern(block, _BLOCK, disk_type), place + _BITMAP)
        place += _BITMAP + _BLOCK
    content.write(_summed(footer, 64), place)
    return content


def _summed(structure: bytes, at: int) -> bytes:
    total = ~(sum(structure) - sum(structure[at : at + 4])) & 0xFFFFFFFF
    return structure[:at] + total.to_bytes(4, "big") + structure[at + 4 :]


def corpus() -> Iterator[bytes]:
    """Each seed as it is."""
    for number in range(len(_seeds())):
        yield packed(number)


def mutated(data: bytes, chance: Random) -> bytes:
    """A case that differs in one step."""
    return mutate.mutated(data, chance, _seeds())


def run(data: bytes) -> None:
    """Open the image, read it in every way, compare."""
    case = unpack(data)
    seed = _seeds()[case.seed % len(_seeds())]
    content, touched = written(seed, case)
    for bit, number in enumerate(sorted(touched & {0, 1, 2})):
        area = seed.areas[number]
        if not case.broken >> bit & 1 and area.offset + area.size <= content.size:
            content.write(
                _summed(content.read(area.size, area.offset), 36 if number == 2 else 64), area.offset
            )
    storage = Meter(content, "disk.vhd")
    found = answer(lambda: VhdImage(storage), placed=False)
    assert storage.reads <= READS_TO_OPEN, f"{storage.reads} reads to open"
    if isinstance(found, Refused):
        return
    assert is_vhd(storage)
    assert all(len(name) <= 64 * KIB for _, name in found.parent_names())
    layers = [found]
    if found.has_parent and seed.parent is not None:
        layers.append(VhdImage(Meter(seed.parent, "parent.vhd")))
    disk = VhdDisk(layers)
    _vhd_info(found, disk if len(layers) > 1 or not found.has_parent else None, chain=True)
    if disk.size <= 1 << 31:
        _read(disk, [content] + ([seed.parent] if len(layers) > 1 and seed.parent is not None else []))


def _read(disk: VhdDisk, files: list[Content]) -> None:
    told, end = answer(lambda: list(disk.extents()), placed=False), 0
    if not isinstance(told, Refused):
        for extent in told:
            assert extent.offset == end, extent
            end = extent.end
        assert end == disk.size
    block = disk.layers[0].header.block_size if disk.layers[0].header else MIB
    for offset in (0, block - 700, 2 * block, disk.size // 2, disk.size - 900):
        start = max(0, min(offset, disk.size - 1))
        length = min(1500, disk.size - start)
        got = answer(lambda at=start, count=length: disk.pread(count, at), placed=False)  # type: ignore[misc]
        if isinstance(got, Refused):
            assert isinstance(told, Refused), f"{start} is told of, but {got.words}"
            continue
        want = bytes(_byte(disk, files, 0, at) for at in range(start, start + length, 97))
        assert got[::97] == want, f"{length} bytes at {start} are wrong"
        assert got == b"".join(_pieces(disk, files, start, length))


def _pieces(disk: VhdDisk, files: list[Content], start: int, length: int) -> Iterator[bytes]:
    for extent in disk.extents(offset=start, length=length):
        if extent.kind is ExtentKind.DATA and extent.file_offset is not None:
            yield files[extent.depth - 1].read(extent.length, extent.file_offset)
        else:
            yield bytes(extent.length)


def _byte(disk: VhdDisk, files: list[Content], layer: int, at: int) -> int:
    """One byte, the obvious way."""
    if layer >= len(files) or at >= disk.layers[layer].size:
        return 0
    header, content = disk.layers[layer].header, files[layer]
    if header is None:
        return content.read(1, at)[0]
    block, inside = divmod(at, header.block_size)
    entry = int.from_bytes(content.read(4, header.table_offset + 4 * block), "big")
    bitmap = -(-header.block_size // (512 * 8 * 512)) * 512
    sector = inside // 512
    if entry in (0, 0xFFFFFFFF) or not content.read(1, entry * 512 + sector // 8)[0] >> (7 - sector % 8) & 1:
        return _byte(disk, files, layer + 1, at)
    return content.read(1, entry * 512 + bitmap + inside)[0]
