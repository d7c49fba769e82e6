"""No byte of payload that was there is gone after any verb: not from damaged images, and not from sound ones.

Payload is what stands in blocks, and in space that nobody owns. What a page of it held before must stand
somewhere in the files afterwards. Exempt is what the verb was told to give up, and the block or two that a
crash leaves: `repair` and `compact`, whose purpose that is, give them back and say so.
"""

import contextlib
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import vhdx
from tests.examine.losing import BLOCKS, FILLS, KINDS, STORED, Subject, lose, subject
from tests.nbd.client import WRITE, Client
from tests.nbd.serving import served
from tests.support.build import ImageBuilder
from tests.support.layout import MIB, SECTOR
from tests.support.logs import Data, LogBuilder
from tests.support.parts import Block
from tests.support.patterns import pattern
from tests.support.sparse import PAGE, Content, content_of
from vhdx.ops.metadata import set_user_item

MANY = 8
"""So many blocks that nobody owns are no crash's."""
ELSEWHERE = 300 * 1024
"""Where in a block nothing stands that is compared."""
SPARE = STORED + 1
"""A block without contents."""


class Case(NamedTuple):
    """An image that lost something, or nothing, in a folder: its path and that of its parent."""

    path: Path
    parent: Path | None
    folder: Path


def parent_of(kind: Subject) -> ImageBuilder:
    """A parent with contents where the child has none."""
    parent = ImageBuilder(BLOCKS * MIB, logical_sector_size=kind.sector)
    for number in range(STORED + 2, BLOCKS):
        parent.blocks[number] = Block({PAGE: pattern(number, PAGE, seed=7)})
    return parent


def put(content: Content, path: Path) -> Path:
    """Write it as a sparse file."""
    with open(path, "wb") as file:
        for number, data in content.pages.items():
            os.pwrite(file.fileno(), data, number * PAGE)
        file.truncate(content.size)
    return path


def pages_of(path: Path) -> set[bytes]:
    """What stands in the pages of a file that are not zeros."""
    found = set()
    with open(path, "rb") as file:
        at, end = 0, os.path.getsize(path)
        while at < end:
            try:
                at = os.lseek(file.fileno(), at, os.SEEK_DATA)
            except OSError:
                break
            hole = os.lseek(file.fileno(), at, os.SEEK_HOLE)
            for start in range(at // PAGE * PAGE, hole, PAGE):
                data = os.pread(file.fileno(), PAGE, start)
                if data.strip(b"\0"):
                    found.add(data)
            at = hole
    return found


def _write(case: Case) -> None:
    with vhdx.open(case.path, "r+", parents=case.folder) as disk:
        for block in (0, 30, SPARE, BLOCKS - 1):
            disk.pwrite(b"new", block * MIB + ELSEWHERE)


def _zero(case: Case) -> None:
    with vhdx.open(case.path, "r+", parents=case.folder) as disk:
        disk.zero(length=MIB, offset=SPARE * MIB)
        disk.zero(length=PAGE, offset=ELSEWHERE)


def _trim(case: Case) -> None:
    with vhdx.open(case.path, "r+", parents=case.folder) as disk:
        disk.trim(length=MIB, offset=SPARE * MIB)
        disk.trim(length=4 * PAGE, offset=3 * MIB + ELSEWHERE)


def _serve(case: Case) -> None:
    with (
        vhdx.open(case.path, "r+", parents=case.folder) as disk,
        served(case.folder, disk) as running,
        Client.opened(running.address) as client,
    ):
        for block in (2, SPARE, BLOCKS - 2):
            client.ask(WRITE, block * MIB + ELSEWHERE, 6, b"served")


def _merge(case: Case) -> None:
    vhdx.merge(case.path, delete_child=True, parents=case.folder)


VERBS: dict[str, Callable[[Case], object]] = {
    "check": lambda case: vhdx.check(case.path),
    "repair --dry-run": lambda case: vhdx.repair(case.path, dry_run=True),
    "repair": lambda case: vhdx.repair(case.path),
    "repair --rebuild": lambda case: vhdx.repair(case.path, rebuild=True),
    "repair --backup": lambda case: vhdx.repair(case.path, rebuild=True, backup=case.folder / "backup"),
    "compact --dry-run": lambda case: vhdx.compact(case.path, dry_run=True),
    "compact": lambda case: vhdx.compact(case.path),
    "compact --punch": lambda case: vhdx.compact(case.path, punch=True, scan_zeros=True, parents=case.folder),
    "write": _write,
    "zero": _zero,
    "trim": _trim,
    "serve --write": _serve,
    "grow": lambda case: vhdx.resize(case.path, (BLOCKS + 40) * MIB, parents=case.folder),
    "shrink": lambda case: vhdx.resize(case.path, (STORED + 1) * MIB, parents=case.folder),
    "merge": lambda case: vhdx.merge(case.path, parents=case.folder),
    "merge --delete-child": _merge,
    "set": lambda case: vhdx.set_properties(case.path, disk_id="new"),
    "set --type fixed": lambda case: vhdx.set_properties(case.path, disk_type="fixed"),
    "set --type dynamic": lambda case: vhdx.set_properties(case.path, disk_type="dynamic"),
    "metadata": lambda case: set_user_item(case.path, "b7a6d0c4-0000-4000-8000-000000000001", b"x" * 5000),
}
GIVES_BACK = ("repair", "compact", "merge --delete-child")


NO_CONTENTS = (b"\0",)
"""Lowest bytes of entries that name a place, but no contents: NOT_PRESENT, as nobody writes it."""


def losses(kind: Subject, chance: random.Random, count: int) -> tuple[Content, set[int]]:
    """The image with some parts of structures lost; some entries of the table are lost one by one, too.

    Beside it the blocks whose entries still name their places.
    """
    content = kind.content
    pieces = [piece for name in kind.places for piece in kind.pieces(name).values()]
    for piece in chance.sample(pieces, count):
        content = lose(content, [piece], chance.choice(list(FILLS)))
    start = kind.places["BAT"][0]
    named: set[int] = set()
    content = content.copy()
    for _ in range(chance.choice((0, 0, 1, 3, 12))):
        block = chance.randrange(STORED)
        state = chance.choice((bytes(8), chance.randbytes(8), *NO_CONTENTS, b"\2", b"\4"))
        content.write(state, start + 8 * block)
        (named.add if state in NO_CONTENTS else named.discard)(block)
    places = kind.image.plan().blocks
    return content, {
        block
        for block in named
        if int.from_bytes(content.read(8, start + 8 * block), "little") >> 20 == places[block] // MIB
    }


def try_verbs(seed: int, verbs: list[str], kind: Subject, folder: Path) -> None:
    """Lose something of an image, run some verbs, and look for everything that stood there."""
    for path in folder.iterdir():
        path.unlink()
    chance = random.Random(seed)
    content, named = losses(kind, chance, chance.choice((0, 1, 1, 2)))
    parent = put(content_of(parent_of(kind)), folder / "parent.vhdx")
    case = Case(put(content, folder / "image.vhdx"), parent, folder)
    given_up = {*kind.image.plan().bitmaps.values(), kind.image.plan().blocks.get(SPARE, 0)}
    expected = {
        data
        for at, data in kind.payload
        if content.read(PAGE, at) == data and at // MIB * MIB not in given_up
    }
    expected |= {pattern(number, PAGE, seed=7) for number in range(STORED + 2, BLOCKS)}
    for verb in verbs:
        with contextlib.suppress(vhdx.VhdxError, OSError, ValueError):  # what is refused is lost the least
            VERBS[verb](case)
        found = set().union(*(pages_of(path) for path in folder.iterdir() if path.is_file()))
        gone = expected - found
        if verb.startswith(GIVES_BACK) and len(gone) < 2 * MANY:
            assert not gone & {pattern(block, PAGE) for block in named}, (verb, "a block that is named")
            expected -= gone
        else:
            assert not gone, (verb, len(gone))


@pytest.fixture(name="folder")
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on a host that waits for no disk: what is durable is asked elsewhere."""
    monkeypatch.setattr(os, "fdatasync", lambda _: None)
    monkeypatch.setattr(os, "fsync", lambda _: None)
    return tmp_path


SEEDS = st.integers(0, 2**32)
SOME_VERBS = st.lists(st.sampled_from(list(VERBS)), min_size=1, max_size=3)
SUBJECTS = st.builds(subject, st.sampled_from(KINDS), st.sampled_from((512, 4096)), st.booleans())
ONE_FOLDER = settings(suppress_health_check=list(HealthCheck))


@settings(ONE_FOLDER, max_examples=40)
@given(seed=SEEDS, verbs=SOME_VERBS, kind=SUBJECTS)
def test_no_byte_is_gone_after_any_verb(seed: int, verbs: list[str], kind: Subject, folder: Path) -> None:
    try_verbs(seed, verbs, kind, folder)


@pytest.mark.slow
@settings(ONE_FOLDER, max_examples=4000)
@given(seed=SEEDS, verbs=SOME_VERBS, kind=SUBJECTS)
def test_no_byte_is_gone_after_any_verbs_at_length(
    seed: int, verbs: list[str], kind: Subject, folder: Path
) -> None:
    try_verbs(seed, verbs, kind, folder)


def _lone_child(folder: Path) -> Case:
    """A child that lost the entries of most of its blocks, over its parent."""
    kind = subject("differencing", 512, False)
    content = lose(kind.content, [kind.pieces("BAT")["sector 0"]], "zeros")
    parent = put(content_of(parent_of(kind)), folder / "parent.vhdx")
    return Case(put(content, folder / "image.vhdx"), parent, folder)


def test_a_child_with_lost_entries_is_not_deleted(folder: Path) -> None:
    case = _lone_child(folder)
    with pytest.raises(vhdx.CorruptImageError, match="may have lost entries"):
        vhdx.merge(case.path, delete_child=True, parents=folder)
    assert case.path.exists()
    assert not vhdx.merge(case.path, parents=folder).deleted


@pytest.mark.parametrize(("kind", "other"), [("fixed", "dynamic"), ("dynamic", "fixed")])
def test_evidence_does_not_go_with_the_type(
    kind: str, other: Literal["fixed", "dynamic"], folder: Path
) -> None:
    """A fixed image that lacks one entry, a dynamic one that lacks many: none becomes what may lack them."""
    image = subject(kind, 512, False)
    start = image.places["BAT"][0]
    content = lose(image.content, [(start + 8 * 5, 8 if kind == "fixed" else 8 * 40)], "zeros")
    path = put(content, folder / "image.vhdx")
    before = path.read_bytes()
    with pytest.raises(vhdx.CorruptImageError, match="may have lost entries"):
        vhdx.set_properties(path, disk_type=other)
    assert path.read_bytes() == before


def test_what_a_crash_left_is_no_evidence(folder: Path) -> None:
    """Blocks that were written when the power failed, and that no entry of the log names yet."""
    image = ImageBuilder(40 * MIB)
    image.blocks = {number: Block(pattern(number, PAGE)) for number in range(4)}
    plan = image.plan()
    image.log = log = LogBuilder(sequence_number=1, flushed_file_offset=plan.end, last_file_offset=plan.end)
    log.add(Data(plan.metadata_offset + MIB - SECTOR, pattern(9, SECTOR)))
    image.tail = pattern(5, 2 * MANY * MIB)
    path = image.write(folder / "image.vhdx")
    with vhdx.open(path, salvage=True) as disk:
        assert list(disk.doubts) == []
    assert vhdx.check(path).is_clean
    assert vhdx.compact(path).file_size_after == plan.end
