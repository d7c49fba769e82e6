"""User items: added, replaced, deleted, up to the limits of the format."""

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from uuid import UUID, uuid4

import pytest

import vhdx
from tests.chains.files import digest
from tests.support.build import ImageBuilder
from tests.support.layout import IS_REQUIRED, IS_USER, IS_VIRTUAL_DISK, KIB, MIB
from tests.support.parts import Block, Item
from tests.support.patterns import pattern
from tests.support.tools import needs
from tests.write.checking import assert_sound, guids_of, model_of, qemu_check
from vhdx.format import metadata
from vhdx.journal.writer import LogWriter
from vhdx.write import region_move

IDS = [UUID(int=number + 1) for number in range(1100)]


def made(path: Path, **changes: object) -> Path:
    return ImageBuilder(8 * MIB, **changes).write(path)  # type: ignore[arg-type]


def test_items_come_and_go(tmp_path: Path) -> None:
    path = made(tmp_path / "a.vhdx")
    assert vhdx.user_items(path) == ()
    assert vhdx.set_user_item(path, IDS[0], b"first")
    assert vhdx.set_user_item(path, str(IDS[1]), b"", virtual_disk=True)
    assert [tuple(item) for item in vhdx.user_items(path)] == [
        (IDS[0], 5, False, False),
        (IDS[1], 0, True, False),
    ]
    assert vhdx.set_user_item(path, IDS[1], pattern(1, 70_000))
    assert vhdx.get_user_item(path, IDS[1]) == pattern(1, 70_000)
    assert vhdx.user_items(path)[1].virtual_disk
    vhdx.delete_user_item(path, IDS[0])
    assert [item.item_id for item in vhdx.user_items(path)] == [IDS[1]]
    assert vhdx.get_user_item(path, IDS[1]) == pattern(1, 70_000)
    vhdx.delete_user_item(path, IDS[1])
    assert vhdx.user_items(path) == ()
    with vhdx.open(path) as disk:
        assert disk.size == 8 * MIB


@needs("qemu-img")
@pytest.mark.parametrize("length", [1, 4096, 400 * KIB, 520 * KIB, 900 * KIB])
def test_any_length_that_the_region_has_room_for(length: int, tmp_path: Path) -> None:
    path = made(tmp_path / "a.vhdx")
    vhdx.set_user_item(path, IDS[0], pattern(1, length))
    vhdx.set_user_item(path, IDS[1], b"beside it")
    assert vhdx.get_user_item(path, IDS[0]) == pattern(1, length)
    assert vhdx.get_user_item(path, IDS[1]) == b"beside it"
    qemu_check(path)


def test_each_change_is_one_of_contents_and_saying_the_same_again_is_none(tmp_path: Path) -> None:
    path = made(tmp_path / "a.vhdx")
    seen = [guids_of(path)[1]]
    vhdx.set_user_item(path, IDS[0], b"first")
    seen.append(guids_of(path)[1])
    before = digest(path)
    assert not vhdx.set_user_item(path, IDS[0], b"first")
    assert not vhdx.set_user_item(path, IDS[0], b"first", virtual_disk=False)
    assert digest(path) == before
    assert vhdx.set_user_item(path, IDS[0], b"first", virtual_disk=True)
    seen.append(guids_of(path)[1])
    vhdx.delete_user_item(path, IDS[0])
    seen.append(guids_of(path)[1])
    assert len(set(seen)) == 4


def test_1024_user_items_and_no_more(tmp_path: Path) -> None:
    items = {f"item {n}": Item(b"%d" % n, IS_USER, item_id=IDS[n]) for n in range(1023)}
    path = made(tmp_path / "a.vhdx", items=items)
    vhdx.set_user_item(path, IDS[1023], b"the last one")
    before = digest(path)
    with pytest.raises(vhdx.UnsupportedImageError, match="1024 user items"):
        vhdx.set_user_item(path, IDS[1024], b"too many")
    assert digest(path) == before
    assert vhdx.get_user_item(path, IDS[1023]) == b"the last one"
    assert vhdx.get_user_item(path, IDS[500]) == b"500"
    vhdx.delete_user_item(path, IDS[3])
    vhdx.set_user_item(path, IDS[1024], b"now there is room")
    assert len(vhdx.user_items(path)) == 1024


@needs("qemu-img")
@pytest.mark.parametrize("gap", [0, 5 * MIB])
def test_a_region_that_is_full_moves(gap: int, tmp_path: Path) -> None:
    """As many items of 1 MiB as one likes, into a gap or behind the end of the file."""
    path = made(tmp_path / "a.vhdx", gap=gap, blocks={0: Block(pattern(0, MIB)), 5: Block(b"five")})
    model = model_of(path)
    for number in range(5):
        vhdx.set_user_item(path, IDS[number], pattern(number, MIB))
    for number in range(5):
        assert vhdx.get_user_item(path, IDS[number]) == pattern(number, MIB)
    assert_sound(path, model)
    qemu_check(path)
    vhdx.compact(path)
    assert_sound(path, model)
    assert vhdx.get_user_item(path, IDS[4]) == pattern(4, MIB)
    with pytest.raises(ValueError, match="at most 1 MiB"):
        vhdx.set_user_item(path, IDS[0], bytes(MIB + 1))


def test_no_region_of_more_than_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = made(tmp_path / "a.vhdx")
    monkeypatch.setattr(region_move, "_LONGEST_METADATA", 3 * MIB)
    for number in range(2):
        vhdx.set_user_item(path, IDS[number], b"x" * MIB)
    before = digest(path)
    with pytest.raises(vhdx.UnsupportedImageError, match="more than 128 MiB"):
        vhdx.set_user_item(path, IDS[2], b"y" * MIB)
    assert digest(path) == before


def test_system_items_are_none_of_a_users(tmp_path: Path) -> None:
    path = made(tmp_path / "a.vhdx")
    size = UUID("2fa54224-cd1b-4876-b211-5dbed83bf4b8")
    with pytest.raises(ValueError, match="has no user item"):
        vhdx.get_user_item(path, size)
    with pytest.raises(ValueError, match="has no user item"):
        vhdx.delete_user_item(path, size)
    with pytest.raises(ValueError, match="null GUID"):
        vhdx.set_user_item(path, UUID(int=0), b"x")


@pytest.mark.parametrize(
    ("guid", "name"),
    [
        ("caa16737-fa36-4d43-b3b6-33f0aa44e76b", "file parameters"),
        ("a8d35f2d-b30b-454d-abf7-d3d84834ab0c", "parent locator"),
        ("71cc85f0-1b69-4e28-9558-c3bf83ae75d3", "incomplete file"),
    ],
)
def test_guids_of_system_items_are_refused(guid: str, name: str, tmp_path: Path) -> None:
    """The format allows a user's item of the same GUID; QEMU does not look at the flag."""
    path = made(tmp_path / "a.vhdx")
    before = digest(path)
    with pytest.raises(ValueError, match=f"GUID of a system item .{name}.: QEMU"):
        vhdx.set_user_item(path, guid, b"x")
    assert digest(path) == before
    others = made(tmp_path / "b.vhdx", items={"one": Item(b"1", IS_USER, item_id=UUID(guid))})
    assert vhdx.get_user_item(others, guid) == b"1"
    vhdx.delete_user_item(others, guid)
    assert vhdx.user_items(others) == ()


def test_no_more_user_items_than_windows_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = made(tmp_path / "a.vhdx")
    monkeypatch.setattr(metadata, "USER_ITEMS_LIMIT", 100_000)
    vhdx.set_user_item(path, IDS[0], b"x" * 60_000)
    vhdx.set_user_item(path, IDS[1], b"x" * 40_000)
    before = digest(path)
    with pytest.raises(vhdx.UnsupportedImageError, match="have 100001 bytes; Windows takes at most 40 MiB"):
        vhdx.set_user_item(path, IDS[2], b"x")
    assert digest(path) == before
    vhdx.set_user_item(path, IDS[0], b"x" * 59_999)
    vhdx.set_user_item(path, IDS[2], b"x")
    assert len(vhdx.user_items(path)) == 3


def test_items_of_the_disk_follow_it(tmp_path: Path) -> None:
    path, child = made(tmp_path / "a.vhdx"), tmp_path / "child.vhdx"
    vhdx.set_user_item(path, IDS[0], b"of the disk", virtual_disk=True)
    vhdx.set_user_item(path, IDS[1], b"of the file")
    vhdx.create(child, parent=path)
    assert [item.item_id for item in vhdx.user_items(child)] == [IDS[0]]
    vhdx.set_user_item(child, uuid4(), b"x")
    assert len(vhdx.user_items(child)) == 2


def test_flags_that_others_gave_stay(tmp_path: Path) -> None:
    path = made(tmp_path / "a.vhdx", items={"one": Item(b"1", IS_USER | IS_VIRTUAL_DISK, item_id=IDS[0])})
    vhdx.set_user_item(path, IDS[0], b"2")
    assert [tuple(item) for item in vhdx.user_items(path)] == [(IDS[0], 1, True, False)]
    required = made(tmp_path / "b.vhdx", items={"one": Item(b"1", IS_USER | IS_REQUIRED, item_id=IDS[0])})
    with pytest.raises(vhdx.UnsupportedImageError):
        vhdx.user_items(required)


@pytest.mark.parametrize("entries", range(1, 4))
def test_a_value_is_replaced_whole_or_not_at_all(
    entries: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that is longer than an entry of the log, where the log has room for several of them."""
    path = tmp_path / "a.vhdx"
    vhdx.create(path, "1GiB", log_size="8MiB")
    old, new = pattern(1, 800_000), pattern(2, 800_000)
    vhdx.set_user_item(path, IDS[0], old)
    monkeypatch.setattr(LogWriter, "_append", _power_cut_at(entries))
    with contextlib.suppress(vhdx.ImageFailedError, InterruptedError):
        vhdx.set_user_item(path, IDS[0], new)
    monkeypatch.undo()
    assert vhdx.get_user_item(path, IDS[0]) in (old, new)
    assert not vhdx.check(path).errors


def _power_cut_at(number: int) -> Callable[..., None]:
    """Appending to the log, which ends before the entry of this number that has pages."""
    really, written = LogWriter._append, 0

    def append(writer: LogWriter, pages: Sequence[object], *rest: int) -> None:
        nonlocal written
        written += bool(pages)
        if written >= number:
            raise InterruptedError
        really(writer, pages, *rest)  # type: ignore[arg-type]

    return append
