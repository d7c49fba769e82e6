"""Writing into any image that opens: what was there stays, what is written is read, nothing gets worse."""

from collections.abc import Iterator
from functools import partial
from random import Random
from typing import NamedTuple
from zlib import crc32

from tests.fuzz import oracle
from tests.fuzz.images import corpus, image_of, mutated
from tests.fuzz.memory import Written
from tests.fuzz.oracle import Refused, answer, opened, samples
from tests.support.layout import GIB, MIB
from tests.support.sparse import Content, ContentStorage
from vhdx.disk.chain import VhdxDisk
from vhdx.errors import ImageFailedError, VhdxError
from vhdx.examine.check import examine
from vhdx.image import image
from vhdx.write.write import Writer

__all__ = ["corpus", "mutated", "run"]

_LARGEST = GIB
"""Longer files cost a byte for each MiB when they are written to: too much for thousands of them a minute."""
_MOST_CHANGES = 4
_LONGEST = 4 * MIB


class _Window(NamedTuple):
    """A range of the disk that can be read, and what it must hold."""

    offset: int
    model: bytearray


def run(data: bytes) -> None:
    """Open the image to write to it, change a few ranges that the bytes choose, and look at it again."""
    content, seed = image_of(data)
    if content.size > _LARGEST:
        return
    before = opened(content, seed.parent)
    if isinstance(before, Refused):
        return
    with before.disk:
        windows = list(_windows(before.disk))
    storage = Written(content)
    has_parent = len(before.layers) > 1
    disk = answer(lambda: _writable(storage, seed.parent if has_parent else None), placed=False)
    if isinstance(disk, Refused):
        assert storage.content.digest == content.digest, "refused, and yet changed"
        return
    try:
        done = _change(disk, windows, Random(crc32(data)))
        if done:
            _compare(disk, windows)
    finally:
        answer(disk.close, placed=False)
    if done:
        _look_again(storage.content, seed.parent, windows)
    if done and oracle.sampled(data):
        _check_again(content, storage.content)


def _windows(disk: VhdxDisk) -> Iterator[_Window]:
    for offset, length in samples(disk):
        got = answer(lambda at=offset, count=length: disk.pread(count, at))  # type: ignore[misc]
        if not isinstance(got, Refused):
            yield _Window(offset, bytearray(got))


def _writable(storage: Written, parent: Content | None) -> VhdxDisk:
    leaf = image.load(storage)
    layers = [leaf] if parent is None else [leaf, image.load(ContentStorage(parent, "parent.vhdx"))]
    below = VhdxDisk(layers[1:]) if layers[1:] else None
    return VhdxDisk(layers, partial(Writer, storage, leaf, below=below))


def _change(disk: VhdxDisk, windows: list[_Window], chance: Random) -> bool:
    """A few changes; whether all of them were taken, so that the windows say what must be read."""
    for _ in range(chance.randint(1, _MOST_CHANGES)):
        offset, length = chance.choice(list(samples(disk)))
        length = chance.choice((length, min(length, 512), min(disk.size - offset, disk.block_size, _LONGEST)))
        verb = chance.choice(("write", "write", "zero", "flush"))
        data = bytes(length) if verb == "zero" else bytes((chance.randrange(1, 256),)) * length
        try:
            if verb == "write":
                disk.pwrite(data, offset)
            elif verb == "zero" and length:  # an empty range is refused
                disk.zero(length=length, offset=offset)
            else:
                disk.flush()
        except VhdxError as error:
            assert not isinstance(error, ImageFailedError), error  # noqa: PT017  it is judged
            return False
        if verb != "flush":
            for window in windows:
                _apply(window, offset, data)
    return not isinstance(answer(disk.flush, placed=False), Refused)


def _apply(window: _Window, offset: int, data: bytes) -> None:
    start, stop = max(window.offset, offset), min(window.offset + len(window.model), offset + len(data))
    if start < stop:
        window.model[start - window.offset : stop - window.offset] = data[start - offset : stop - offset]


def _compare(disk: VhdxDisk, windows: list[_Window]) -> None:
    for window in windows:
        got = disk.pread(len(window.model), window.offset)
        assert got == window.model, f"{len(got)} bytes at {window.offset} are wrong"


def _look_again(after: Content, parent: Content | None, windows: list[_Window]) -> None:
    """What was written is there for whoever opens the file next."""
    again = opened(after, parent)
    assert not isinstance(again, Refused), f"it was written to, and now {again.words}"
    with again.disk:
        _compare(again.disk, windows)


def _check_again(before: Content, after: Content) -> None:
    """Where the check found no errors it finds none afterwards."""
    if not examine(ContentStorage(before)).report.has_errors:
        report = examine(ContentStorage(after)).report
        assert not report.has_errors, [str(finding) for finding in report.findings]
