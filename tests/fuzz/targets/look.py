"""Looking at an image that may not open: check, salvage, dump, log, map. None of them may refuse badly."""

import contextlib
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import TypeVar
from zlib import crc32

from tests.fuzz.images import corpus, image_of, mutated
from tests.fuzz.oracle import Opened, Refused, answer, opened, samples
from tests.support.layout import GIB
from tests.support.sparse import Content, ContentStorage
from vhdx.disk.base import VirtualDisk
from vhdx.disk.chain import VhdxDisk
from vhdx.examine import salvage
from vhdx.examine.check import Examined, examine
from vhdx.examine.owners import Owners
from vhdx.examine.remains import Remains
from vhdx.extents import Doubt
from vhdx.format import guids
from vhdx.image.image import Image
from vhdx.journal.scan import active_sequence
from vhdx.ops import dump as dump_of_image
from vhdx.ops import log
from vhdx.ops.check import result_of
from vhdx.ops.info import ImageInfo, _block_info, _image_info, file_systems_info, table_info
from vhdx.ops.map import cells, map_rows, summary
from vhdx.ops.replay_changes import replay_changes
from vhdx.ops.structures import STRUCTURES

__all__ = ["corpus", "mutated", "run"]

_WHOLE = tuple(name for name in STRUCTURES if name != "bitmap")
_PARTS = ("headers:2", "regions:1", "bat:0-5", "bitmap:0", "log:12K", "log:0")
_LISTED = (
    dump_of_image._header_section,
    dump_of_image._log,
    dump_of_image._regions,
    dump_of_image._bitmaps,
)
_MOST = 200
_LARGEST = 64 * GIB
"""Larger disks are not summed up: their tables take as long as hundreds of small images."""
_Row = TypeVar("_Row")


def run(data: bytes) -> None:
    """Look at the image in one of the ways that do not ask whether it opens; the bytes say in which."""
    content, seed = image_of(data)
    look = _LOOKS[crc32(data) % len(_LOOKS)]
    look(content, seed.parent)


def _check(content: Content, parent: Content | None) -> None:
    """What opens is checked to the end; what does not has an error in the check."""
    found = opened(content, parent)
    examined = answer(lambda: examine(ContentStorage(content)))
    if isinstance(examined, Refused):
        assert isinstance(found, Refused), f"it opens, and cannot be checked: {examined.words}"
        return
    assert isinstance(examined, Examined)
    result = result_of("image.vhdx", examined)
    assert len(result.findings) <= 100 * len(result.codes)
    if isinstance(found, Refused):
        assert result.errors, f"no error was found, but {found.words}"


def _dump(content: Content, parent: Content | None) -> None:
    for name in _WHOLE:
        for dump in _told(STRUCTURES[name](Remains(ContentStorage(content)), "")):
            _told(dump.fields)
    for word in _PARTS:
        name, _, part = word.partition(":")
        with contextlib.suppress(ValueError):  # an image without such a part has the caller to blame
            for dump in _told(STRUCTURES[name](Remains(ContentStorage(content)), part)):
                _told(dump.fields)
    for listed in _LISTED:
        _told(listed(Remains(ContentStorage(content))))


def _told(rows: Iterable[_Row]) -> list[_Row]:
    """The first rows, up to a sound refusal."""
    told: list[_Row] = []

    def take() -> None:
        for row in islice(rows, _MOST):
            told.append(row)  # noqa: PERF402  what was told before a refusal counts

    answer(take, placed=False)
    return told


def _log(content: Content, parent: Content | None) -> None:
    remains = Remains(ContentStorage(content))
    ring = answer(lambda: log._ring_of(remains), placed=False)
    if isinstance(ring, Refused):
        return
    guid = log._guid_of(remains)
    sequence = None if guid == guids.NIL else active_sequence(ring, guid.bytes_le)
    log._obstacle(remains, sequence)
    for entry in _told(log._entries(ring, guid, sequence, Owners(remains))):
        _told(entry.descriptors)
    if sequence is not None:
        changes = answer(lambda: replay_changes(remains, ring, sequence))
        if not isinstance(changes, Refused):
            _told(changes)


def _info(layer: Image, disk: VirtualDisk) -> ImageInfo:
    blocks = _block_info(layer, None) if disk.size < _LARGEST else None
    found = _image_info(layer, iter(layer.findings), blocks)
    return found._replace(partition_table=table_info(disk), file_systems=file_systems_info(disk))


def _map(content: Content, parent: Content | None) -> None:
    found = opened(content, parent)
    if isinstance(found, Refused):
        return
    disk = found.disk
    answer(lambda: _info(found.layers[0], disk))
    rows = _told(map_rows(disk))
    assert sum(row.length for row in rows) <= disk.size
    if disk.size < _LARGEST:
        total = answer(lambda: summary(disk))
        drawn = answer(lambda: list(cells(disk, 40)))
        if not isinstance(total, Refused):
            assert sum(row.length for row in total.rows) == disk.size
            assert not isinstance(drawn, Refused), f"it is summed up, but not drawn: {drawn}"
            assert sum(cell.length for cell in drawn) == disk.size
            wanted = sum(row.length for row in total.rows if row.kind == "data")
            assert sum(cell.data for cell in drawn) == wanted


def _salvage(content: Content, parent: Content | None) -> None:
    """Salvage reads what opening reads, and is in doubt about all that opening refuses."""
    found = opened(content, parent)
    layer = answer(lambda: salvage.load(ContentStorage(content)), placed=False)
    if isinstance(layer, Refused):
        assert isinstance(found, Refused), f"it opens, and cannot be salvaged: {layer.words}"
        return
    layers = [layer]
    if layer.metadata.has_parent and parent is not None:
        layers.append(salvage.load(ContentStorage(parent, "parent.vhdx")))
    with VhdxDisk(layers) as disk:
        told = _told(disk.doubts) if disk.size < _LARGEST else []
        doubts = told if disk.size < _LARGEST and len(told) < _MOST else None
        for offset, length in samples(disk):
            got = disk.pread(length, offset)
            if isinstance(found, Opened):
                _compare(found.disk, got, range(offset, offset + length), doubts)
        _told(disk.extents())


def _compare(disk: VhdxDisk, salvaged: bytes, touched: range, doubts: Sequence[Doubt] | None) -> None:
    read = answer(lambda: disk.pread(len(touched), touched.start))
    if not isinstance(read, Refused):
        assert salvaged == read, f"{len(touched)} bytes at {touched.start} are salvaged wrong"
    elif doubts is not None:
        # Opening refuses whole blocks; of one that the file cuts off only what is missing is in doubt.
        start, stop = touched.start - touched.start % disk.block_size, touched.stop + disk.block_size
        hit = any(d.offset < stop and start < d.offset + d.length for d in doubts)
        assert hit, f"no doubt about {touched}, but {read.words}"


_LOOKS = (_check, _check, _dump, _log, _map, _salvage)
