"""A child's way to its parent: whatever the locator says, nothing outside its directory is opened.

The child is in memory and says to lie in a directory that is real: with its parent under several names, links
that lead out, a FIFO, and outside of it the same parent, which must not be found.
"""

import atexit
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from random import Random
from typing import NamedTuple

from tests.fuzz.oracle import Refused, answer, assert_reads, twin_of
from tests.fuzz.seeds import child, clean
from tests.support.calls import files_held
from tests.support.layout import pack_locator
from tests.support.naive import NaiveDisk
from tests.support.parts import Item
from tests.support.sparse import Content, ContentStorage, content_of
from vhdx.disk.chain import VhdxDisk
from vhdx.disk.parents import open_chain
from vhdx.disk.places import ParentPolicy
from vhdx.image import image

__all__ = ["corpus", "mutated", "run"]

_KEYS = ("relative_path", "volume_path", "absolute_win32_path", "parent_linkage", "parent_linkage2", "other")
_WORDS = (
    "parent.vhdx",
    "PARENT.VHDX",
    "other.vhdx",
    "middle.vhdx",
    "child.vhdx",
    "fifo",
    "sub",
    "link in",
    "link out",
    "link to itself",
    "outside",
    "secret.vhdx",
    "..",
    ".",
    "\\",
    "/",
    "\\\\?\\",
    "C:",
    "/etc/hostname",
    "/proc/self/fd/0",
    "file://",
    "ﬁfo",
    "\U0001f4be",
    "x" * 300,
    "{00000000-0000-0000-0000-000000000000}",
    f"{{{clean().guid('data write')}}}",
)
_LARGEST_TEXT = 40_000
_WATCHED = ("open", "os.listdir", "os.scandir")


class _Place(NamedTuple):
    """The directory of the child, and the one beside it that nobody names."""

    home: str
    outside: str


@cache
def _place() -> _Place:
    top = Path(os.path.realpath(tempfile.mkdtemp(prefix="vhdx-fuzz-")))
    atexit.register(shutil.rmtree, top, ignore_errors=True)
    home, outside = top / "home", top / "outside"
    for folder in (home / "sub", outside):
        folder.mkdir(parents=True)
    parent = clean()
    for path in (
        home / "Parent.vhdx",
        home / "sub" / "other.vhdx",
        outside / "secret.vhdx",
        outside / "parent.vhdx",
    ):
        parent.write(path)
    os.truncate(parent.write(home / "cut.vhdx"), 100_000)
    middle = child(clean())
    middle.parent_name = "Parent.vhdx"
    middle.write(home / "middle.vhdx")
    (home / "link out").symlink_to(outside)
    (home / "link in").symlink_to(home / "sub")
    (home / "link to itself").symlink_to(home / "link to itself")
    (home / "secret.vhdx").symlink_to(outside / "secret.vhdx")
    os.mkfifo(home / "fifo")
    sys.addaudithook(_watch)
    return _Place(str(home), str(outside))


_opened: list[str] | None = None
"""What was opened or listed while somebody listens."""


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    if _opened is not None and event in _WATCHED and isinstance(arguments[0], str):
        _opened.append(arguments[0])


class _Child(ContentStorage):
    """The child: in memory, and yet at a place of the host."""

    def identity(self) -> tuple[int, int]:  # type: ignore[override]
        """A file that is no other."""
        return 0, 0


def corpus() -> Iterator[bytes]:
    """The parent by each key, and ways out."""
    yield _packed("\0", ".\\parent.vhdx")
    yield _packed("\0", "sub\\other.vhdx", "\2", "C:\\x\\parent.vhdx")
    yield _packed("\0", "..\\outside\\parent.vhdx", "\1", "\\\\?\\Volume{1}\\link in\\other.vhdx")
    yield _packed("\0", "link out\\parent.vhdx", "\0", "secret.vhdx", "\2", "/etc/hostname")
    yield _packed("\0", "fifo", "\1", "middle.vhdx")
    yield _packed("\0", "..\\" * 300 + "etc\\hostname")


def _packed(*parts: str) -> bytes:
    data = b""
    for key, text in zip(parts[::2], parts[1::2], strict=True):
        raw = text.encode()
        data += key.encode() + len(raw).to_bytes(2, "little") + raw
    return data


def _pairs(data: bytes) -> list[tuple[str, str]]:
    """Keys and values: the key's number, two bytes of length, the text."""
    pairs: list[tuple[str, str]] = []
    at = 0
    while at + 3 <= len(data) and len(pairs) < 12:
        length = int.from_bytes(data[at + 1 : at + 3], "little")
        text = data[at + 3 : at + 3 + length].decode("utf-8", "replace")
        # Times 64 where the key says so: values of tens of thousands of characters, out of few bytes.
        pairs.append((_KEYS[data[at] % 6], (text * (64 if data[at] & 64 else 1))[: _LARGEST_TEXT // 4]))
        at += 3 + length
    return pairs


def mutated(data: bytes, chance: Random) -> bytes:
    """Another value made of words that mean something, or one value less."""
    parts = [(key, value.encode()) for key, value in _pairs(data)]
    if parts and chance.random() < 0.4:
        del parts[chance.randrange(len(parts))]
    if parts and chance.random() < 0.3:
        at = chance.randrange(len(parts))
        parts[at] = (parts[at][0], parts[at][1] + chance.choice(_WORDS).encode())
    else:
        joint = chance.choice(("\\", "/", ""))
        text = joint.join(chance.choice(_WORDS) for _ in range(chance.randint(1, 5)))
        parts.insert(chance.randint(0, len(parts)), (chance.choice(_KEYS), text.encode()))
    packed = b""
    for key, raw in parts[-8:]:
        number = _KEYS.index(key) | (64 if chance.random() < 0.03 else 0)
        packed += bytes((number,)) + len(raw[:4000]).to_bytes(2, "little") + raw[:4000]
    return packed


def run(data: bytes) -> None:
    """Look for the parent that the locator describes, once by itself and once with a directory named."""
    pairs = _pairs(data)
    if not any(key == "parent_linkage" for key, _ in pairs):
        pairs.insert(0, ("parent_linkage", f"{{{clean().guid('data write')}}}"))
    described = child(clean())
    described.items["parent_locator"] = Item(value=pack_locator(pairs))
    described.stale_slot = False
    content = content_of(described)
    place = _place()
    _search(content, ParentPolicy(), (place.home,))
    if len(data) % 4 == 0:
        _search(content, ParentPolicy(directories=(place.outside,)), place)


def _search(content: Content, policy: ParentPolicy, allowed: tuple[str, ...]) -> None:
    global _opened  # noqa: PLW0603  an audit hook cannot be taken away again, nor told anything else
    storage = _Child(content, os.path.join(_place().home, "child.vhdx"))
    _opened = []
    try:
        found = answer(lambda: open_chain(image.load(storage), policy, lock=False))
    finally:
        touched, _opened = _opened, None
    for path in touched:
        real = os.path.realpath(path)
        inside = any(os.path.commonpath([real, folder]) == folder for folder in allowed)
        harmless = path.endswith((".py", ".pyc")) or path == os.devnull  # imports, and how files are closed
        assert inside or harmless, f"{path} was opened or listed"
    if isinstance(found, Refused):
        assert len(found.words) < 100_000
    else:
        with VhdxDisk(found) as disk:
            assert_reads(disk, _twin(content, [layer.name for layer in found[1:]]))
    held = files_held(Path(_place().home).parent)
    assert not held, f"{held} stayed open"


def _twin(content: Content, parents: list[str]) -> NaiveDisk:
    """The naive reader's disk over the files that were chosen, which are small."""
    below: NaiveDisk | None = None
    for name in reversed(parents):
        file = Content()
        file.write(Path(name).read_bytes(), 0)
        below = twin_of(file, below)
    return twin_of(content, below)
