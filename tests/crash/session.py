"""Somebody who works with a disk on a storage that lies, and remembers what each sector ought to hold."""

import contextlib
import itertools
import random
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple
from unittest import mock

from tests.support.expectation import Changed, Opened, Request, Settled
from tests.support.layout import MIB
from tests.support.lying import Record
from tests.support.patterns import pattern
from tests.support.soundness import Survey, Surveyor
from tests.support.sparse import PAGE, SECTOR, ZERO_SECTOR, Content
from vhdx.disk.chain import VhdxDisk
from vhdx.disk.open import writable_disk
from vhdx.image import image
from vhdx.image.image import Image
from vhdx.ops.compact import Asked, compact_in_place
from vhdx.ops.properties import identity_items, make_fixed, put_items, say_dynamic
from vhdx.progress import Meter
from vhdx.write.items import NewItem
from vhdx.write.session import Session as ImageSession
from vhdx.write.write import Writer

FILE = "image.vhdx"


class Items(NamedTuple):
    """A mark: the user items are to be these, or, once settled, are."""

    items: dict[int, bytes]
    settled: bool = False


OWNER_OF_WRITES = 0x57524954


class Session:
    """A record in the making: each request is remarked, made, and its answer remarked."""

    def __init__(self, content: Content, seed: int = 0, *, story: str = "") -> None:
        self.story = story
        self.record = Record()
        self.storage = self.record.storage(FILE, content)
        self.chance = random.Random(seed)
        self.survey = Surveyor().survey(content)
        self.before = sectors_of(self.survey)
        self.newest = dict(self.before)
        self.unsure: dict[int, set[bytes]] = {}
        """What sectors may hold that were changed after the last flush."""
        self._disk: VhdxDisk | None = None
        self._writes = 0
        self._opened_at = 0
        self._killed_at: int | None = None
        self.items: dict[int, bytes] = {}
        """The user items, by the number of their GUID."""

    @property
    def disk(self) -> VhdxDisk:
        """The disk, opened if need be."""
        if self._disk is None:
            self.record.mark(Opened())
            self._opened_at = len(self.record.operations)
            self._disk = writable_disk(self.storage)
        return self._disk

    @property
    def size(self) -> int:
        """The size of the disk."""
        return self.survey.disk.size

    def write(self, offset: int, length: int = PAGE) -> None:
        """Write bytes that were never written before."""
        self._writes += 1
        data = pattern(self._writes, length, OWNER_OF_WRITES, offset % MIB)
        disk = self.disk
        self._ask("write", offset, length)
        self._change(self._merged(offset, data))
        disk.pwrite(data, offset)

    def zero(self, offset: int, length: int, *, keep_allocated: bool = False) -> None:
        """Zero a range."""
        disk = self.disk
        self._ask("zero", offset, length)
        self._change(self._cleared(offset, length))
        disk.zero(length=length, offset=offset, keep_allocated=keep_allocated)

    def trim(self, offset: int, length: int) -> None:
        """Trim a range; what it reads as from then on, old or zeros, is what it has to stay."""
        disk = self.disk
        self._ask("trim", offset, length)
        cleared = self._cleared(offset, length)
        old = {sector: self.newest[sector] for sector in cleared}
        self._change(cleared)
        disk.trim(length=length, offset=offset)
        found = {sector: disk.pread(SECTOR, sector * SECTOR) for sector in cleared}
        for sector, value in found.items():
            assert value in (old[sector], cleared[sector]), f"sector {sector} after a trim is neither"
        self._change(found)

    def flush(self) -> None:
        """Flush."""
        disk = self.disk
        self._ask("flush")
        self.verify()
        disk.flush()
        # A flush has to make durable what was written by this disk, not what somebody left who was killed.
        if self._killed_at is None or self.record.count("flush", self._killed_at):
            self._settle()

    def recover(self) -> bool:
        """Open, put right what can be put right without guessing, and close, as `vhdx repair` does."""
        assert self._disk is None
        self.record.mark(Opened())
        self._ask("repair")
        start = len(self.record.operations)
        writer = Writer(self.storage, image.load(self.storage), on_failure=_ignore)
        repaired = writer.recover()
        writer.close()
        if self.record.count("flush", start):
            self._settle()
        return repaired

    def compact(
        self,
        *,
        scan_zeros: bool = False,
        punch: bool = False,
        interrupted: int | None = None,
        killed: bool = False,
    ) -> None:
        """As `vhdx compact`, perhaps interrupted by Ctrl-C or killed after so many steps."""
        self._begin("compact")
        start = len(self.record.operations)
        steps = itertools.count()

        def advance(done: int, total: int | None) -> None:
            if next(steps) == interrupted:
                raise KeyboardInterrupt

        leaf = image.load(self.storage)
        wished = Asked(scan_zeros=scan_zeros, punch=punch, free=())
        closing = mock.patch.object(ImageSession, "close") if killed else contextlib.nullcontext()
        with contextlib.suppress(KeyboardInterrupt), closing:
            compact_in_place(self.storage, leaf, self._below(leaf), wished, Meter(advance))
        assert interrupted is None or next(steps) > interrupted, "it was over before"
        if self.record.count("flush", start):
            self._settle()

    def set_type(self, disk_type: str) -> None:
        """As `vhdx set --type`: no read tells the difference."""
        self._begin("compact")
        if disk_type == "fixed":
            make_fixed(self.storage, Meter(None))
            self._settle()
        else:
            say_dynamic(self.storage)
            self.compact(scan_zeros=True)

    def set_identity(self, disk_id: int, physical_sector_size: int) -> None:
        """As `vhdx set --disk-id --physical-sector-size`."""
        self._begin("items")
        loaded = image.load(self.storage)
        put_items(self.storage, loaded, identity_items(loaded, uuid.UUID(int=disk_id), physical_sector_size))
        self._settle()

    def put_item(self, number: int, value: bytes | None) -> None:
        """As `vhdx metadata set`, or `delete` where there is no value."""
        item = NewItem(uuid.UUID(int=number), value or b"", 1, is_user=True)
        if value is not None:
            self._begin("compact")
            writer = self._writer()
            writer.grow_for((item,))
            writer.close()
        self._begin("items")
        items = {key: old for key, old in self.items.items() if key != number}
        self.items = items if value is None else {**items, number: value}
        self.record.mark(Items(self.items))
        writer = self._writer()
        if value is None:
            rows = image.load(self.storage).metadata.entries
            writer.delete_item([entry.item_id.int for entry in rows].index(number))
        else:
            writer.put_items((item,), contents=True)
        self.record.mark(Items(self.items, settled=True))
        writer.close()
        self._settle()

    def _writer(self) -> Writer:
        return Writer(self.storage, image.load(self.storage), on_failure=_ignore)

    def _begin(self, request: str) -> None:
        if self._disk is not None:
            self.close()
        self.record.mark(Opened())
        self._ask(request)

    def _below(self, leaf: Image) -> VhdxDisk | None:
        """What lies under a leaf."""
        assert not leaf.metadata.has_parent
        return None

    def recover_or_close(self) -> None:
        """Leave nothing open and nothing dirty."""
        if self._disk is not None:
            self.close()
        self.recover()

    def close(self) -> None:
        """Close."""
        disk = self.disk
        self._ask("close")
        self.verify()
        disk.close()
        if self.record.count("flush", self._opened_at):
            self._settle()
        self._disk = None

    def abandon(self) -> None:
        """Be killed: the file stays as it is, what was not flushed is uncertain."""
        self.record.mark(Request("killed"))
        self.disk._abandon()
        self._disk = None
        self._killed_at = len(self.record.operations)
        # What was in the host's cache is there, what was only in memory is gone.
        found = {sector: self.disk.pread(SECTOR, sector * SECTOR) for sector in self.unsure}
        for sector, value in found.items():
            assert value in self.unsure[sector], f"sector {sector} after being killed is none of the values"
        self._change(found)

    def forget(self) -> None:
        """Let go of a disk that is still open, as if it had never been looked at again."""
        if self._disk is not None:
            self._disk._abandon()
            self._disk = None

    def verify(self) -> None:
        """The disk reads as its newest contents."""
        for sector in sorted(self.unsure):
            found = self.disk.pread(SECTOR, sector * SECTOR)
            assert found == self.newest.get(sector, ZERO_SECTOR), f"sector {sector} is wrong without a crash"

    def _ask(self, what: str, offset: int = 0, length: int = 0) -> None:
        self.record.mark(Request(what, offset, length))

    def _change(self, values: dict[int, bytes]) -> None:
        self.record.mark(Changed(values))
        for sector, value in values.items():
            self.unsure.setdefault(sector, {self.newest.get(sector, ZERO_SECTOR)}).add(value)
        self.newest.update(values)

    def _settle(self) -> None:
        self.record.mark(Settled())
        self.unsure.clear()
        self._killed_at = None

    def _merged(self, offset: int, data: bytes) -> dict[int, bytes]:
        first, last = offset // SECTOR, (offset + len(data) - 1) // SECTOR
        old = b"".join(self.newest.get(sector, ZERO_SECTOR) for sector in range(first, last + 1))
        start = offset - first * SECTOR
        new = old[:start] + data + old[start + len(data) :]
        return {first + i: new[i * SECTOR : (i + 1) * SECTOR] for i in range(last + 1 - first)}

    def _cleared(self, offset: int, length: int) -> dict[int, bytes]:
        """The sectors that hold something and will hold less once the range is zeros."""
        end = offset + length
        values = {}
        for sector, old in self.newest.items():
            start, stop = max(offset - sector * SECTOR, 0), min(end - sector * SECTOR, SECTOR)
            if start < stop and any(old[start:stop]):
                values[sector] = old[:start] + bytes(stop - start) + old[stop:]
        return values


def _ignore() -> None:
    """Nobody else uses the image."""


def sectors_of(survey: Survey) -> dict[int, bytes]:
    """Everything on a disk that is not zeros."""
    sectors = {}
    pages_of_a_mib = MIB // PAGE
    for number, page in survey.content.pages.items():
        owned = survey.owners.get(number // pages_of_a_mib)
        if owned is None:
            continue
        first = (owned * pages_of_a_mib + number % pages_of_a_mib) * (PAGE // SECTOR)
        for index in range(PAGE // SECTOR):
            sector = page[index * SECTOR : (index + 1) * SECTOR]
            if sector != ZERO_SECTOR and (first + index) * SECTOR < survey.disk.size:
                sectors[first + index] = sector
    return sectors


@contextmanager
def reproducible(seed: int) -> Iterator[None]:
    """The GUIDs and sequence numbers that are drawn inside are the same in each run."""
    chance = random.Random(f"guids {seed}")

    def guid() -> uuid.UUID:
        return uuid.UUID(int=chance.getrandbits(128), version=4)

    with mock.patch("uuid.uuid4", guid), mock.patch("secrets.randbits", chance.getrandbits):
        yield
