"""Promise 19: which files may be tried as a parent, and which of them is it."""

import contextlib
import io
import ntpath
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

import vhdx
from tests.support import layout
from tests.support.build import ImageBuilder
from tests.support.calls import files_held
from tests.support.layout import MIB
from tests.support.logs import LogBuilder, difference
from tests.support.parts import Block, Header, Item, Region
from tests.support.patterns import pattern
from tests.support.reading import whole
from vhdx.disk import places
from vhdx.storage.file import open_for_writing

PARENT = ImageBuilder(2 * MIB, blocks={0: Block(pattern(0, MIB))}, seed=40)
STRANGER = ImageBuilder(2 * MIB, blocks={0: Block(b"not the parent's" * 1000)}, seed=50)
IDENTITY = PARENT.guid("data write")
ELSEWHERE = "C:\\no such folder\\parent.vhdx"


class Family:
    """A home with a child in it, a place outside that home, and a parent that a test puts somewhere."""

    def __init__(self, root: Path) -> None:
        self.home, self.outside = root / "home", root / "outside"
        self.child_path = self.home / "child.vhdx"
        self.home.mkdir()
        self.outside.mkdir()

    def child(self, **locator: str) -> Path:
        """Write the child with these keys beside the linkage, `absolute` and `volume` for short."""
        child = PARENT.child()
        names = {"relative": "relative_path", "absolute": "absolute_win32_path", "volume": "volume_path"}
        keys = {names.get(name, name): value for name, value in locator.items()}
        child.locator = {"parent_linkage": f"{{{IDENTITY}}}", **keys}
        return child.write(self.child_path)

    def parent(self, where: Path, image: ImageBuilder = PARENT) -> Path:
        """Put the parent (or another image) at a path of the host."""
        where.parent.mkdir(parents=True, exist_ok=True)
        return image.write(where)

    def found(self, **options: Any) -> str:
        """The parent that is found, its contents verified."""
        with vhdx.open(self.child_path, **options) as disk:
            assert whole(disk) == PARENT.content()
            return disk.chain[1]

    def refusal(self, kind: type[vhdx.VhdxError] = vhdx.ParentNotFoundError, **options: Any) -> str:
        """The words of the refusal; nothing is left open by it."""
        before = files_held(self.home.parent)
        with pytest.raises(kind) as caught:
            vhdx.open(self.child_path, **options)
        assert type(caught.value) is kind
        assert files_held(self.home.parent) == before
        return str(caught.value)


@pytest.fixture(name="family")
def _family(tmp_path: Path) -> Family:
    return Family(tmp_path)


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (".\\parent.vhdx", "parent.vhdx"),
        ("parent.vhdx", "parent.vhdx"),
        ("./parent.vhdx", "parent.vhdx"),
        (".\\sub\\deep\\parent.vhdx", "sub/deep/parent.vhdx"),
        ("..\\home\\parent.vhdx", "parent.vhdx"),
        (".\\Sub\\PARENT.vhdx", "sub/Parent.VHDX"),
        (".\\STRASSE.vhdx", "straße.vhdx"),
        (".\\with space & ünïcode.avhdx", "with space & ünïcode.avhdx"),
    ],
)
def test_promise_19_a_relative_path_at_or_below_the_childs_directory_is_followed(
    family: Family, value: str, name: str
) -> None:
    family.child(relative=value)
    parent = family.parent(family.home / name)
    assert os.path.samefile(family.found(), parent)


@pytest.mark.parametrize("key", ["absolute", "volume"])
@pytest.mark.parametrize(
    "value", [ELSEWHERE, "\\\\?\\" + ELSEWHERE, "\\\\?\\UNC\\server\\share\\PARENT.VHDX"]
)
def test_promise_19_of_an_absolute_path_only_the_name_is_tried(family: Family, key: str, value: str) -> None:
    family.child(**{key: value})
    parent = family.parent(family.home / "parent.vhdx")
    assert os.path.samefile(family.found(), parent)


def test_the_exact_name_goes_before_one_in_another_case(family: Family) -> None:
    family.child(relative=".\\parent.vhdx")
    family.parent(family.home / "PARENT.VHDX", STRANGER)
    parent = family.parent(family.home / "parent.vhdx")
    assert os.path.samefile(family.found(), parent)


def outside(family: Family) -> None:
    family.child(relative="..\\outside\\parent.vhdx")


def linked_file(family: Family) -> None:
    family.child(relative=".\\parent.vhdx")
    (family.home / "parent.vhdx").symlink_to(family.outside / "parent.vhdx")


def linked_directory(family: Family) -> None:
    family.child(relative=".\\sub\\parent.vhdx")
    (family.home / "sub").symlink_to(family.outside)


def linked_in_two_steps(family: Family) -> None:
    family.child(relative=".\\sub\\parent.vhdx")
    (family.home / "sub").mkdir()
    (family.home / "sub" / "parent.vhdx").symlink_to("../hop")
    (family.home / "hop").symlink_to("../outside/parent.vhdx")


def absolute(family: Family) -> None:
    family.child(absolute=str(family.outside / "parent.vhdx"))


def absolute_with_prefix(family: Family) -> None:
    family.child(volume="\\\\?\\" + str(family.outside / "parent.vhdx"))


LEADING_OUT = [outside, linked_file, linked_directory, linked_in_two_steps, absolute, absolute_with_prefix]


@pytest.mark.parametrize("leads_out", LEADING_OUT)
def test_promise_19_what_leads_out_is_refused_unless_the_caller_allows_it(
    family: Family, leads_out: Callable[[Family], None]
) -> None:
    leads_out(family)
    parent = family.parent(family.outside / "parent.vhdx")
    assert "--any-parent" in family.refusal()
    for allowance in (
        vhdx.ParentPolicy(any_parent=True),
        vhdx.ParentPolicy(files=(str(parent),)),
        vhdx.ParentPolicy(directories=(str(family.outside),)),
        parent,
        family.outside,
    ):
        assert os.path.samefile(family.found(parents=allowance), parent)


def test_promise_19_a_directory_whose_name_begins_alike_is_outside(family: Family) -> None:
    family.child(relative="..\\home2\\parent.vhdx")
    family.parent(family.home.with_name("home2") / "parent.vhdx")
    assert "leads out of" in family.refusal()


def recorded(monkeypatch: pytest.MonkeyPatch, *names: str) -> list[str]:
    """The paths that these functions of `os` are called with from now on."""
    paths: list[str] = []

    def record(name: str, really: Callable[[str], Any]) -> None:
        def call(path: str) -> Any:
            paths.append(path)
            return really(path)

        monkeypatch.setattr(os, name, call)

    for name in names:
        record(name, getattr(os, name))
    return paths


@pytest.mark.parametrize("value", ["..\\outside\\Parent.vhdx", "..\\outside\\sub\\x"])
def test_promise_19_what_leads_out_is_not_even_looked_at(
    family: Family, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    family.child(relative=value)
    family.parent(family.outside / "parent.vhdx")
    looked_at = recorded(monkeypatch, "listdir", "lstat")
    assert "leads out of" in family.refusal()
    assert looked_at
    assert not [path for path in looked_at if os.path.normpath(path).startswith(str(family.outside) + "/")]


def test_promise_19_directories_are_not_listed_through_links(
    family: Family, monkeypatch: pytest.MonkeyPatch
) -> None:
    family.child(relative="link\\Parent.vhdx")
    (family.home / "link").symlink_to(family.outside)
    listed = recorded(monkeypatch, "listdir")
    family.refusal()
    assert str(family.outside) not in map(os.path.realpath, listed)


def test_promise_19_a_path_longer_than_any_of_this_host_is_refused(family: Family) -> None:
    family.child(relative="sub\\..\\" * 600 + "parent.vhdx")
    family.parent(family.home / "parent.vhdx")
    (family.home / "sub").mkdir()
    assert "longer than 4096 characters" in family.refusal()


def test_names_that_the_host_cannot_have_are_no_parents(family: Family) -> None:
    family.child(relative="日本.vhdx")
    opening = f"vhdx.open({str(family.child_path)!r})"
    code = f"import vhdx\ntry: {opening}\nexcept vhdx.ParentNotFoundError: print('ok')"
    plain = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    ran = subprocess.run([sys.executable, "-c", code], env=plain, capture_output=True, text=True, check=True)
    assert ran.stdout == "ok\n"


def test_promise_19_a_link_to_the_child_starts_from_where_the_child_is(family: Family) -> None:
    family.child(relative=".\\parent.vhdx")
    family.parent(family.outside / "parent.vhdx", STRANGER)
    parent = family.parent(family.home / "parent.vhdx")
    family.child_path = family.outside / "link.vhdx"
    family.child_path.symlink_to(family.home / "child.vhdx")
    assert os.path.samefile(family.found(), parent)


def test_promise_19_a_link_that_stays_below_is_followed(family: Family) -> None:
    family.child(relative=".\\parent.vhdx")
    parent = family.parent(family.home / "store" / "x.vhdx")
    (family.home / "parent.vhdx").symlink_to(parent)
    assert os.path.samefile(family.found(), parent)


def several(path: Path) -> list[Any]:
    return [str(path), path, [path], (str(path),), iter([path]), ["/no/such/directory", path]]


@pytest.mark.parametrize("index", range(6))
@pytest.mark.parametrize("as_directory", [False, True])
def test_parents_are_told_as_paths_lists_directories_or_a_policy(
    family: Family, index: int, as_directory: bool
) -> None:
    family.child(relative=".\\gone.vhdx")
    parent = family.parent(family.outside / "any name at all.bin")
    told = several(family.outside if as_directory else parent)[index]
    assert os.path.samefile(family.found(parents=told), parent)


def test_promise_19_in_a_given_directory_the_identity_decides_whatever_lies_there(family: Family) -> None:
    family.child(relative=".\\parent.vhdx")
    family.parent(family.outside / "parent.vhdx", STRANGER)
    (family.outside / "a.vhdx").write_bytes(b"vhdxfile")
    (family.outside / "b.vhdx").write_bytes(b"")
    (family.outside / "c.vhdx").mkdir()
    (family.outside / "d.vhdx").symlink_to("nowhere")
    os.mkfifo(family.outside / "e.vhdx")
    parent = family.parent(family.outside / "z.old")
    assert os.path.samefile(family.found(parents=family.outside), parent)


def test_promise_19_a_given_directory_is_not_searched_below(family: Family) -> None:
    family.child(relative=".\\parent.vhdx")
    family.parent(family.outside / "sub" / "parent.vhdx")
    assert "none of its" in family.refusal(parents=family.outside)


def test_promise_19_the_policy_holds_for_every_link_of_a_chain(family: Family) -> None:
    middle = PARENT.child("../outside/parent.vhdx")
    family.parent(family.home / "middle.vhdx", middle)
    family.parent(family.child_path, middle.child("middle.vhdx"))
    parent = family.parent(family.outside / "parent.vhdx")
    assert "leads out of" in family.refusal()
    with vhdx.open(family.child_path, parents=family.outside) as disk:
        assert os.path.samefile(disk.chain[2], parent)


def fifo(path: Path) -> None:
    os.mkfifo(path)


def directory(path: Path) -> None:
    path.mkdir()


def empty_file(path: Path) -> None:
    path.write_bytes(b"")


def text_file(path: Path) -> None:
    path.write_text("this is no image\n")


def link_to_itself(path: Path) -> None:
    path.symlink_to(path)


def dangling_link(path: Path) -> None:
    path.symlink_to("nowhere.vhdx")


def damaged_image(path: Path) -> None:
    image = bytearray(PARENT.build())
    image[64 * 1024 : 192 * 1024] = bytes(128 * 1024)
    path.write_bytes(image)


REASONS = [
    (fifo, "is not a regular file"),
    (directory, "is not a regular file"),
    (empty_file, "this is no VHDX file"),
    (text_file, "this is no VHDX file"),
    (link_to_itself, "symbolic links"),
    (dangling_link, "No such file"),
    (damaged_image, "neither header is valid"),
]


@pytest.mark.parametrize(("thing", "reason"), REASONS)
@pytest.mark.parametrize("named", [False, True])
def test_promise_19_only_a_regular_vhdx_file_is_a_parent(
    family: Family, thing: Callable[[Path], None], reason: str, named: bool
) -> None:
    family.child(relative=".\\parent.vhdx")
    thing(family.home / "parent.vhdx")
    options: dict[str, Any] = (
        {"parents": vhdx.ParentPolicy(files=(str(family.home / "parent.vhdx"),))} if named else {}
    )
    assert reason in family.refusal(**options)


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null", "/dev/tty", "/proc/self/mem"])
def test_promise_19_a_device_is_no_parent(family: Family, device: str) -> None:
    family.child(relative=".\\parent.vhdx", absolute=device)
    (family.home / "parent.vhdx").symlink_to(device)
    assert "leads out of" in family.refusal()
    family.refusal(parents=device)
    family.refusal(parents=vhdx.ParentPolicy(any_parent=True))


def test_promise_19_a_file_with_another_identity_is_a_mismatch(family: Family) -> None:
    family.child(relative=".\\parent.vhdx")
    family.parent(family.home / "parent.vhdx", STRANGER)
    words = family.refusal(vhdx.ParentMismatchError)
    assert str(IDENTITY) in words
    assert str(STRANGER.guid("data write")) in words
    family.refusal(vhdx.ParentMismatchError, parents=family.home / "parent.vhdx")


def test_promise_19_behind_a_mismatch_the_next_path_is_tried(family: Family) -> None:
    family.child(relative=".\\sub\\x.vhdx", absolute=ELSEWHERE)
    family.parent(family.home / "sub" / "x.vhdx", STRANGER)
    parent = family.parent(family.home / "parent.vhdx")
    assert os.path.samefile(family.found(), parent)


def test_promise_19_only_the_current_header_tells_the_identity(family: Family) -> None:
    family.child(relative=".\\parent.vhdx")
    image = ImageBuilder(2 * MIB, seed=40, headers={2: Header(data_write_guid=UUID(int=7))})
    family.parent(family.home / "parent.vhdx", image)
    family.refusal(vhdx.ParentMismatchError)
    image.sequence_numbers = (9, 8)
    family.parent(family.home / "parent.vhdx", image)
    with vhdx.open(family.child_path) as disk:
        assert len(disk.chain) == 2


NIL = str(layout.ZERO_GUID)
LINKAGES = [
    {"parent_linkage": f"{{{IDENTITY}}}"},
    {"parent_linkage": f"{{{IDENTITY}}}".upper()},
    {"parent_linkage": str(IDENTITY)},
    {"parent_linkage": f"{{{UUID(int=5)}}}", "parent_linkage2": f"{{{IDENTITY}}}"},
    {"parent_linkage": f"{{{IDENTITY}}}", "parent_linkage2": f"{{{NIL}}}"},
]


@pytest.mark.parametrize("linkage", LINKAGES)
def test_either_linkage_recognises_the_parent(family: Family, linkage: dict[str, str]) -> None:
    family.child(relative=".\\parent.vhdx", **linkage)
    parent = family.parent(family.home / "parent.vhdx")
    assert os.path.samefile(family.found(), parent)


def test_promise_19_a_linkage_of_zeros_matches_no_file(family: Family) -> None:
    family.child(relative=".\\parent.vhdx", parent_linkage2=f"{{{NIL}}}")
    nobody = ImageBuilder(2 * MIB, data_write_guid=layout.ZERO_GUID)
    nobody.headers = {n: Header(data_write_guid=layout.ZERO_GUID) for n in (1, 2)}
    family.parent(family.home / "parent.vhdx", nobody)
    family.refusal(vhdx.ParentMismatchError)


@pytest.mark.parametrize("linkage", ["", "{}", "no guid", f"{{{NIL}}}", "{" + "0" * 31 + "}", "ü" * 36])
def test_a_locator_without_a_usable_linkage_is_corrupt(family: Family, linkage: str) -> None:
    family.parent(family.home / "parent.vhdx")
    pairs = {"relative_path": ".\\parent.vhdx"} | ({"parent_linkage": linkage} if linkage else {})
    child = PARENT.child()
    child.locator = pairs
    child.write(family.child_path)
    assert "parent_linkage" in family.refusal(vhdx.CorruptImageError)


def test_promise_19_another_sector_size_is_a_mismatch(family: Family) -> None:
    family.child(relative=".\\parent.vhdx")
    family.parent(family.home / "parent.vhdx", ImageBuilder(2 * MIB, logical_sector_size=4096, seed=40))
    assert "4096" in family.refusal(vhdx.ParentMismatchError)


def test_promise_3_a_dirty_parent_is_replayed_in_memory(family: Family) -> None:
    family.child(relative=".\\parent.vhdx")
    stale = ImageBuilder(2 * MIB, blocks=PARENT.blocks, bat={0: 0}, seed=40)
    log = LogBuilder()
    log.add(*difference(stale.build(), PARENT.build(), 2 * MIB))
    stale.log = log
    path = family.parent(family.home / "parent.vhdx", stale)
    before = path.read_bytes()
    family.found()
    assert path.read_bytes() == before


def test_promise_19_an_image_is_not_its_own_parent(family: Family) -> None:
    own = ImageBuilder(2 * MIB, disk_type="differencing", seed=3, parent_name="child.vhdx")
    own.parent_data_write_guid = own.guid("data write")
    own.write(family.child_path)
    os.link(family.child_path, family.home / "other name.vhdx")
    assert "is in the chain already" in family.refusal()
    assert "is in the chain already" in family.refusal(parents=family.child_path)
    assert "none of its" in family.refusal(parents=family.home)


def test_promise_19_a_loop_of_three_is_refused(family: Family) -> None:
    images = [
        ImageBuilder(2 * MIB, disk_type="differencing", seed=n, parent_name=f"{(n + 1) % 3}.vhdx")
        for n in range(3)
    ]
    for n, image in enumerate(images):
        image.parent_data_write_guid = images[(n + 1) % 3].guid("data write")
        image.write(family.home / f"{n}.vhdx")
    family.child_path = family.home / "0.vhdx"
    assert "is in the chain already" in family.refusal()


def chain_of(length: int, folder: Path) -> Path:
    """A chain of images without data; only the base differs from the others in type."""
    image = ImageBuilder(512)
    image.write(folder / "0.vhdx")
    for depth in range(1, length):
        image = image.child(f"{depth - 1}.vhdx")
        image.write(folder / f"{depth}.vhdx")
    return folder / f"{length - 1}.vhdx"


def test_promise_19_a_chain_of_256_is_opened_and_one_of_257_refused(tmp_path: Path) -> None:
    leaf = chain_of(257, tmp_path)
    with vhdx.open(tmp_path / "255.vhdx") as disk:
        assert len(disk.chain) == 256
        assert disk.pread(512, 0) == bytes(512)
        assert len(list(disk.extents())) == 1
    with pytest.raises(vhdx.UnsupportedImageError, match="more than 256"):
        vhdx.open(leaf)
    assert files_held(tmp_path) == []


def test_promise_19_a_nul_in_a_name_is_refused(family: Family) -> None:
    family.parent(family.home / "parent.vhdx")
    family.child(relative=".\\parent.vhdx\0.txt")
    assert "NUL" in family.refusal(vhdx.CorruptImageError)


LONG = {
    "one long name": "x" * 32_000,
    "many parts": "a\\" * 15_000 + "parent.vhdx",
    "many steps up": "..\\" * 10_000 + "parent.vhdx",
    "in and out": "sub\\..\\" * 4_000 + "PARENT.vhdx",
    "separators only": "\\" * 30_000,
    "dots only": ".\\" * 15_000,
}


@pytest.mark.parametrize("name", LONG)
@pytest.mark.parametrize("key", ["relative", "absolute", "volume"])
@pytest.mark.parametrize("any_parent", [False, True])
def test_promise_17_long_and_crooked_paths_are_only_paths(
    family: Family, name: str, key: str, any_parent: bool
) -> None:
    (family.home / "sub").mkdir()
    family.child(**{key: LONG[name]})
    family.refusal(parents=vhdx.ParentPolicy(any_parent=any_parent))


def test_promise_17_a_locator_of_one_mebibyte(family: Family) -> None:
    child = PARENT.child()
    pairs = {f"key {n:05}": "v" * 25 for n in range(10_000)}
    pairs |= {"parent_linkage": f"{{{IDENTITY}}}", "relative_path": ".\\parent.vhdx"}
    value = layout.pack_locator(pairs)
    assert len(value) < MIB
    child.items["parent_locator"] = Item(value=value.ljust(MIB, b"\0"))
    child.regions["metadata"] = Region(size=3 * MIB)
    child.write(family.child_path)
    parent = family.parent(family.home / "parent.vhdx")
    assert os.path.samefile(family.found(), parent)
    child.items["parent_locator"] = Item(value=value.ljust(MIB + 1, b"\0"))
    child.write(family.child_path)
    assert "more than 1 MiB" in family.refusal(vhdx.CorruptImageError)


def test_promise_20_a_parent_that_somebody_writes_to_is_refused(family: Family) -> None:
    family.child(relative=".\\parent.vhdx")
    parent = family.parent(family.home / "parent.vhdx")
    with contextlib.closing(open_for_writing(str(parent))):
        assert "parent.vhdx" in family.refusal(vhdx.ImageLockedError)
        assert os.path.samefile(family.found(lock=False), parent)


def test_promise_20_a_chain_holds_a_readers_lock_on_every_file(family: Family) -> None:
    family.child(relative=".\\parent.vhdx")
    parent = family.parent(family.home / "parent.vhdx")
    with vhdx.open(family.child_path):
        for path in (parent, family.child_path):
            with pytest.raises(vhdx.ImageLockedError):
                open_for_writing(str(path))


def test_a_child_in_a_file_object_has_only_the_parents_that_the_caller_names(family: Family) -> None:
    child = family.child(relative=".\\parent.vhdx").read_bytes()
    parent = family.parent(family.home / "parent.vhdx")
    with pytest.raises(vhdx.ParentNotFoundError, match="file object"):
        vhdx.open(io.BytesIO(child))
    for parents in (parent, family.home, [family.outside, family.home]):
        with vhdx.open(io.BytesIO(child), parents=parents) as disk:
            assert whole(disk) == PARENT.content()
            assert os.path.samefile(disk.chain[1], parent)


def test_nothing_stays_open_when_a_parent_is_missing_far_down(tmp_path: Path) -> None:
    leaf = chain_of(5, tmp_path)
    shutil.move(tmp_path / "0.vhdx", tmp_path / "away")
    with pytest.raises(vhdx.ParentNotFoundError, match="parent with DataWriteGuid") as caught:
        vhdx.open(leaf)
    assert files_held(tmp_path) == []
    assert caught.value.image == str(tmp_path / "1.vhdx")
    assert caught.value.next_command is not None


UNREADABLE: Sequence[tuple[str, bytes]] = [
    ("odd length", b"\0" * 3),
    ("lone surrogate", b"\x00\xd8"),
]


@pytest.mark.parametrize("value", [raw for _, raw in UNREADABLE], ids=[name for name, _ in UNREADABLE])
def test_promise_17_a_path_that_is_no_text_is_refused(family: Family, value: bytes) -> None:
    child = PARENT.child()
    pairs = {"parent_linkage": f"{{{IDENTITY}}}", "relative_path": "x" * 8}
    item = layout.pack_locator(pairs, entries=[{}, {"value_length": len(value)}])
    at = len(item) - 16
    child.items["parent_locator"] = Item(value=item[:at] + value.ljust(16, b"x"))
    child.write(family.child_path)
    assert "relative_path" in family.refusal(vhdx.CorruptImageError)


CROOKED = {
    "control characters": "sub\\\x1b]0;title\x07\\parent.vhdx",
    "a line that looks like ours": "x\nerror: all is well, run: rm",
    "32 thousand characters": "x" * 32_000,
}


@pytest.mark.parametrize("name", CROOKED)
@pytest.mark.parametrize("key", ["relative", "absolute", "volume"])
def test_promise_17_what_an_image_says_is_quoted_harmlessly_and_shortly(
    family: Family, name: str, key: str
) -> None:
    family.child(**{key: CROOKED[name]})
    words = family.refusal()
    assert len(words) < 8_000
    assert "\x1b" not in words
    assert "\nerror:" not in words


def test_promise_17_a_long_key_is_quoted_shortly(family: Family) -> None:
    child = PARENT.child()
    child.locator = [("k" * 30_000, "v"), ("k" * 30_000, "v")]
    child.write(family.child_path)
    assert len(family.refusal(vhdx.CorruptImageError)) < 8_000


@pytest.mark.parametrize(
    ("path", "below"),
    [
        ("C:\\images\\parent.vhdx", True),
        ("C:\\images\\old\\parent.vhdx", True),
        ("C:\\images of others\\parent.vhdx", False),
        ("D:\\images\\parent.vhdx", False),
        ("\\\\server\\share\\parent.vhdx", False),
    ],
)
def test_a_path_on_another_drive_or_share_leads_out(
    path: str, below: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the path rules of Windows, without a Windows: links are not followed."""
    monkeypatch.setattr(ntpath, "realpath", ntpath.normpath)
    monkeypatch.setattr(places, "os", SimpleNamespace(path=ntpath))
    assert places.is_below(path, "C:\\images") is below
