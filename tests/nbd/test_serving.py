"""Requests as they come, in slices of any length, against a server that takes them one by one."""

import random
import struct
from collections.abc import Sequence
from typing import NamedTuple

import pytest

from vhdx.nbd.answers import PIECE, Answers
from vhdx.nbd.export import Export
from vhdx.nbd.negotiate import Agreement
from vhdx.nbd.prepared import READ_LIMIT
from vhdx.nbd.serving import Serving

from .client import DISCONNECT, EINVAL, ENOSPC, EPERM, FLUSH, FUA, READ, TRIM, WRITE, WRITE_ZEROES
from .disks import MemoryDisk

SIZE = 3 * PIECE + 512
LENGTHS = (1, 512, 4096, READ_LIMIT, READ_LIMIT + 1, 65536, PIECE, PIECE + 1)
SLICES = (1, 3, 27, 28, 29, 33, 4096, READ_LIMIT + 28, 65536, 1 << 20)
MODES = {"simple": (False, False), "structured": (True, False), "extended": (False, True)}


class Asked(NamedTuple):
    """A request: how it looks, and the payload behind it."""

    kind: int
    offset: int
    length: int
    flags: int
    cookie: int
    payload: bytes

    def packed(self, *, extended: bool) -> bytes:
        form, magic = (">IHHQQQ", 0x21E41C71) if extended else (">IHHQQI", 0x25609513)
        frame = struct.pack(form, magic, self.flags, self.kind, self.cookie, self.offset, self.length)
        return frame + self.payload


class Scripted:
    """A transport of one thread that gives what is to come in slices, and keeps what is sent."""

    one_thread = True

    def __init__(self, coming: bytes, slices: Sequence[int], chance: random.Random) -> None:
        self._coming = memoryview(coming)
        self._slices, self._chance = slices, chance
        self.sent = bytearray()

    def receive_into(self, view: memoryview) -> int:
        assert len(view)
        count = min(len(view), len(self._coming), self._chance.choice(self._slices))
        view[:count] = self._coming[:count]
        self._coming = self._coming[count:]
        return count

    def send(self, buffers: Sequence[bytes | bytearray | memoryview]) -> None:
        for buffer in buffers:
            self.sent += buffer

    def stop_receiving(self) -> None: ...
    def shut(self) -> None: ...
    def close(self) -> None: ...


def agreement_of(export: Export, mode: str) -> Agreement:
    structured, extended = MODES[mode]
    return Agreement(export.offer, export.offer.flags, structured, extended, {})


def requests(chance: random.Random, count: int) -> list[Asked]:
    """Mostly small ones, some of them over a border or past the end."""
    made = []
    for _ in range(count):
        kind = chance.choice((READ, READ, WRITE, WRITE, TRIM, WRITE_ZEROES, FLUSH, 77))
        length = chance.choice(LENGTHS[:5] if chance.random() < 0.9 else LENGTHS)
        offset = chance.choice((0, PIECE - 100, SIZE - length, SIZE - length + 1, chance.randrange(SIZE)))
        if kind == FLUSH:
            offset = length = 0
        flags = FUA * (kind in (WRITE, TRIM, WRITE_ZEROES) and chance.random() < 0.2)
        payload = chance.randbytes(length) if kind == WRITE else b""
        made.append(Asked(kind, offset, length, flags, chance.getrandbits(64), payload))
    return made


def naive(asked: Asked, disk: bytearray, *, read_only: bool) -> tuple[int, bytes]:
    """The error and the contents of one answer."""
    place = slice(asked.offset, asked.offset + asked.length)
    changes = asked.kind in (WRITE, TRIM, WRITE_ZEROES)
    if asked.kind == 77:
        return EINVAL, b""
    if changes and read_only:
        return EPERM, b""
    if place.stop > len(disk):
        return ENOSPC if asked.kind in (WRITE, WRITE_ZEROES) else EINVAL, b""
    if asked.kind == READ:
        return 0, bytes(disk[place])
    if asked.kind in (WRITE, WRITE_ZEROES):  # TRIM changes nothing in a `MemoryDisk`
        disk[place] = asked.payload or bytes(asked.length)
    return 0, b""


class Answered:
    """Takes apart what a server sent, one answer after the other."""

    def __init__(self, sent: bytearray, mode: str) -> None:
        self._sent, self._at, self._mode = sent, 0, mode

    def _take(self, form: str) -> tuple[int, ...]:
        found = struct.unpack_from(form, self._sent, self._at)
        self._at += struct.calcsize(form)
        return found

    def next(self, asked: Asked) -> tuple[int, bytes]:
        if self._mode == "simple":
            magic, error, cookie = self._take(">IIQ")
            assert (magic, cookie) == (0x67446698, asked.cookie)
            return error, self._bytes(asked.length if asked.kind == READ and not error else 0)
        contents, error, flags = bytearray(), 0, 0
        while not flags & 1:
            flags, kind, payload = self._chunk(asked)
            if kind == 1:
                assert int.from_bytes(payload[:8], "big") == asked.offset + len(contents)
                contents += payload[8:]
            elif kind == 2:
                start, count = struct.unpack(">QI", payload)
                assert start == asked.offset + len(contents)
                contents += bytes(count)
            elif kind:
                assert kind == 0x8001
                error = int.from_bytes(payload[:4], "big")
        return error, bytes(contents)

    def _chunk(self, asked: Asked) -> tuple[int, int, bytes]:
        if self._mode == "extended":
            magic, flags, kind, cookie, offset, length = self._take(">IHHQQQ")
            assert (magic, offset) == (0x6E8A278C, asked.offset)
        else:
            magic, flags, kind, cookie, length = self._take(">IHHQI")
            assert magic == 0x668E33EF
        assert cookie == asked.cookie
        return flags, kind, self._bytes(length)

    def _bytes(self, length: int) -> bytes:
        self._at += length
        assert self._at <= len(self._sent)
        return bytes(self._sent[self._at - length : self._at])

    @property
    def is_over(self) -> bool:
        return self._at == len(self._sent)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("mode", MODES)
def test_any_requests_in_any_slices(mode: str, seed: int) -> None:
    chance = random.Random(f"{mode} {seed}")
    disk = MemoryDisk(SIZE, read_only=seed % 4 == 3)
    disk.bytes[:] = chance.randbytes(SIZE // 2) + bytes(SIZE - SIZE // 2)
    twin = bytearray(disk.bytes)
    export = Export("disk", disk)
    asked = requests(chance, 120)
    slices = SLICES if seed % 2 else (max(SLICES),)
    goodbye = Asked(DISCONNECT, 0, 0, 0, 0, b"")
    coming = b"".join(each.packed(extended=mode == "extended") for each in [*asked, goodbye, *asked])
    transport = Scripted(coming, slices, chance)
    Serving(transport, Answers(export, agreement_of(export, mode), lambda error: None), 60).run()
    answered = Answered(transport.sent, mode)
    for each in asked:
        assert answered.next(each) == naive(each, twin, read_only=disk.read_only)
    assert answered.is_over
    assert disk.bytes == twin


def test_one_thread_stays_quick_on_a_slow_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is nobody to hand reads over to."""
    monkeypatch.setattr("vhdx.nbd.watch.DiskWatch.has_waited", lambda watch: True)
    general: list[object] = []
    monkeypatch.setattr(Answers, "answer", lambda answers, request, *_: general.append(request))
    export = Export("disk", MemoryDisk(4096))
    coming = Asked(READ, 0, 512, 0, 1, b"").packed(extended=False) * 40
    transport = Scripted(coming, (2 * 28,), random.Random(1))
    Serving(transport, Answers(export, agreement_of(export, "simple"), lambda error: None), 60).run()
    assert len(transport.sent) == 40 * (16 + 512)
    assert not general
