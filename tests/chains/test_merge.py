"""`merge`: contents, what follows the child, who is told, and when it is refused before anything changes."""

import hashlib
import os
import shutil
import uuid
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import pytest

import vhdx
from tests.cli.running import run, succeed
from tests.real.test_real_images import IMAGES, LISTED, unpack
from tests.support.build import ImageBuilder
from tests.support.layout import MIB
from tests.support.patterns import pattern
from tests.write.checking import guids_of, is_clean

from .files import digest, others_agree
from .twin import assert_sound, twin_of

merge_module = import_module("vhdx.ops.merge")


class Chain(NamedTuple):
    """Files by age, the base first, and what each of them reads as."""

    files: list[Path]
    contents: list[bytes]


def chain(folder: Path, layers: int = 3, **changes: object) -> Chain:
    """A chain in which every layer wrote something, the upper ones with larger blocks."""
    files: list[Path] = []
    contents: list[bytes] = []
    for number in range(layers):
        path = folder / f"{number}.vhdx"
        if number:
            vhdx.create(path, parent=files[-1], block_size=number * 2 * MIB, **changes)  # type: ignore[arg-type]
        else:
            vhdx.create(path, 8 * MIB, block_size=MIB)
        with vhdx.open(path, "r+") as disk:
            for place in range(layers - number):
                disk.pwrite(pattern(number, 5000, seed=place), (number + 2 * place) * MIB + 300 * number)
            disk.zero(length=MIB, offset=(7 - number) * MIB)
            contents.append(disk.pread(disk.size, 0))
        files.append(path)
    return Chain(files, contents)


def content_of(path: Path) -> bytes:
    with vhdx.open(path) as disk:
        return disk.pread(disk.size, 0)


def test_a_child_goes_into_its_parent(tmp_path: Path) -> None:
    files, contents = chain(tmp_path)
    base, identity = digest(files[0]), guids_of(files[1])
    done = vhdx.merge(files[2])
    assert done[:3] == (str(files[1]), "vhdx", len(contents[2]))
    assert done[3:6] == ((str(files[2]),), (), False)
    assert 5000 <= done.copied_size < MIB
    assert content_of(files[1]) == content_of(files[2]) == contents[2]
    assert digest(files[0]) == base
    assert not set(guids_of(files[1])) & set(identity)
    for path in files:
        assert is_clean(path)
        assert_sound(path)
    assert twin_of(files[1], files[0]).read(8 * MIB, 0) == contents[2]
    assert "7-Zip" in others_agree([files[1], files[0]], contents[2])


def test_down_to_the_base_the_lowest_layers_first(tmp_path: Path) -> None:
    files, contents = chain(tmp_path, 4)
    order = []
    folding = merge_module._fold_and_relink

    def fold(child: str, target: str, *rest: Any, **options: Any) -> Any:
        order.append((Path(child).name, Path(target).name))
        return folding(child, target, *rest, **options)

    with mock.patch.object(merge_module, "_fold_and_relink", fold):
        vhdx.merge(files[3], into=files[0], delete_child=True)
    assert order == [("1.vhdx", "0.vhdx"), ("2.vhdx", "0.vhdx"), ("3.vhdx", "0.vhdx")]
    assert os.listdir(tmp_path) == ["0.vhdx"]
    assert content_of(files[0]) == contents[3]
    assert_sound(files[0])


def test_a_grandchild_is_relinked(tmp_path: Path) -> None:
    files, contents = chain(tmp_path)
    out = succeed("merge", files[1], "--child", files[2], "--delete-child")
    assert f"{files[2]}: its parent is {files[0]} now" in out
    assert f"{files[1]}: deleted" in out
    assert not files[1].exists()
    assert content_of(files[2]) == contents[2]
    with vhdx.open(files[2]) as disk:
        assert disk.chain == (str(files[2]), str(files[0]))


@pytest.mark.parametrize("delete", [False, True])
def test_siblings_refuse_it_unless_forced(tmp_path: Path, delete: bool) -> None:
    files, contents = chain(tmp_path)
    sibling = tmp_path / "sibling.vhdx"
    vhdx.create(sibling, parent=files[2] if delete else files[1])
    before = [digest(path) for path in files]
    options = ["--delete-child"] if delete else []
    failed = run("merge", files[2], *options)
    assert failed.code == 1
    assert f"would lose their parent:\n  {sibling}\n" in failed.err
    assert [digest(path) for path in files] == before
    succeed("merge", files[2], *options, "--force")
    assert content_of(files[1]) == contents[2]
    with pytest.raises(vhdx.ParentNotFoundError if delete else vhdx.ParentMismatchError):
        vhdx.open(sibling)


def test_a_child_that_stays_keeps_its_children(tmp_path: Path) -> None:
    files, contents = chain(tmp_path)
    vhdx.merge(files[1])
    assert content_of(files[2]) == contents[2]


@pytest.mark.parametrize("mode", ["r", "r+"])
@pytest.mark.parametrize("which", [0, 1, 2])
def test_files_that_somebody_holds_refuse_it(tmp_path: Path, which: int, mode: str) -> None:
    files, _ = chain(tmp_path)
    before = [digest(path) for path in files]
    with vhdx.open(files[which], mode):  # type: ignore[arg-type]
        if (which, mode) == (0, "r"):
            vhdx.merge(files[2])  # a reader of the grandparent, which is only read, is in nobody's way
            return
        with pytest.raises(vhdx.ImageLockedError):
            vhdx.merge(files[2])
    assert [digest(path) for path in files] == before


def test_a_host_without_space_refuses_it(tmp_path: Path) -> None:
    files, _ = chain(tmp_path)
    with vhdx.open(files[2], "r+") as disk:
        disk.pwrite(pattern(9, 3 * MIB), 4 * MIB)
    before = [digest(path) for path in files]
    with (
        mock.patch("shutil.disk_usage", return_value=mock.Mock(free=2 * MIB)),
        pytest.raises(
            OSError,
            match=r"merging takes 3\.01 MiB more, .* has 2 MiB: nothing was merged; vhdx compact gives",
        ) as error,
    ):
        vhdx.merge(files[2])
    assert error.value.filename == str(files[1])
    assert [digest(path) for path in files] == before


def test_a_parent_changed_behind_the_childs_back(tmp_path: Path) -> None:
    files, _ = chain(tmp_path)
    with vhdx.open(files[1], "r+") as disk:
        disk.pwrite(b"x", 0)
    before = [digest(path) for path in files]
    with pytest.raises(vhdx.ParentMismatchError):
        vhdx.merge(files[2])
    assert [digest(path) for path in files] == before


def test_what_cannot_be(tmp_path: Path) -> None:
    files, _ = chain(tmp_path)
    with pytest.raises(vhdx.UnsupportedImageError, match="has no parent"):
        vhdx.merge(files[0])
    vhdx.create(tmp_path / "stranger.vhdx", MIB)
    with pytest.raises(ValueError, match=r"is no ancestor of .*2\.vhdx"):
        vhdx.merge(files[2], into=tmp_path / "stranger.vhdx")
    with pytest.raises(ValueError, match="is no child of"):
        vhdx.merge(files[1], children=[tmp_path / "stranger.vhdx"])


def test_an_interrupted_merge_is_run_again(tmp_path: Path) -> None:
    files, contents = chain(tmp_path)

    def interrupt(done: int, total: int | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        vhdx.merge(files[2], progress=interrupt)
    assert content_of(files[2]) == contents[2]
    vhdx.merge(files[2], delete_child=True)
    assert content_of(files[1]) == contents[2]


def test_a_smaller_child_of_a_larger_parent(tmp_path: Path) -> None:
    parent = ImageBuilder(9 * MIB, MIB, seed=1)
    child = parent.child("0.vhdx")
    child.disk_size = 2 * MIB + 512
    files = [child.write(tmp_path / "1.vhdx"), parent.write(tmp_path / "0.vhdx")]
    content = content_of(files[0])
    vhdx.merge(files[0])
    assert content_of(files[1]) == content
    assert_sound(files[1])


def tapering(folder: Path, *ends: int) -> list[Path]:
    """A chain of disks of these sizes in MiB, base first, with a word at the end of each."""
    files = []
    for number, end in enumerate(ends):
        files.append(folder / f"{number}.vhdx")
        vhdx.create(files[-1], f"{end}MiB", block_size=MIB)
        if number:
            files[-1].unlink()
            small = folder / "small.vhdx"
            vhdx.create(small, f"{end}MiB", block_size=MIB, overwrite=True)
            vhdx.create(files[-1], parent=small, block_size=MIB)
            vhdx.rebase(files[-1], files[-2], ignore_identity=True)
        with vhdx.open(files[-1], "r+") as disk:
            disk.pwrite(f"end of {number}".encode(), (end << 20) - 512)
    for child, parent in zip(files[1:], files, strict=False):
        vhdx.rebase(child, parent, ignore_identity=True)
    return files


@pytest.mark.parametrize("ends", [(16, 8), (16, 16, 8), (8, 16, 8), (16, 8, 12)])
def test_nothing_but_zeros_is_cut_unasked(tmp_path: Path, ends: tuple[int, ...]) -> None:
    files = tapering(tmp_path, *ends)
    before = {path: digest(path) for path in files}
    with pytest.raises(vhdx.UnsupportedImageError, match=r"there is data at .*--shrink"):
        vhdx.merge(files[-1], into=files[0])
    assert {path: digest(path) for path in files} == before
    done = vhdx.merge(files[-1], into=files[0], shrink=True)
    assert done.cut_size == max(0, ends[0] - ends[-1]) << 20
    with vhdx.open(files[0]) as disk:
        assert disk.size == ends[-1] << 20
    assert is_clean(files[0])


def test_zeros_behind_the_childs_end_are_cut(tmp_path: Path) -> None:
    base, child = tapering(tmp_path, 16, 8)
    with vhdx.open(base, "r+") as disk:
        disk.zero(length=MIB, offset=15 * MIB)
    vhdx.rebase(child, base, ignore_identity=True)
    done = run("merge", str(child))
    assert done.code == 0
    assert "8 MiB smaller" in done.out


def test_rebase_says_that_the_parent_is_larger(tmp_path: Path) -> None:
    base, child = tapering(tmp_path, 16, 8)
    assert vhdx.rebase(child, base).hidden_size == 8 * MIB
    assert "8 MiB larger" in run("rebase", str(child), "--parent", str(base)).err


@pytest.mark.skipif(not LISTED, reason=f"there is no folder {IMAGES}")
def test_the_chain_that_windows_made(tmp_path: Path) -> None:
    name = "dfvfs__fat-differential.vhdx"
    child, parent = unpack(name, tmp_path), tmp_path / "fat-parent.vhdx"
    vhdx.merge(child, delete_child=True)
    assert hashlib.sha256(content_of(parent)).hexdigest() == LISTED[name]["content_sha256"]
    assert_sound(parent)


def user_item(number: int, flags: int) -> tuple[uuid.UUID, bytes, bool]:
    return uuid.UUID(int=number), pattern(number, 3000 * number), bool(flags & 2)


def test_items_of_the_virtual_disk_follow_the_child(tmp_path: Path) -> None:
    files, contents = chain(tmp_path, 2)
    stays, goes, shared = user_item(1, 0), user_item(2, 2), user_item(3, 2)
    for path, items in ((files[0], (stays, goes)), (files[1], (shared, user_item(4, 0)))):
        identity = guids_of(files[0])[1]
        for item_id, value, of_disk in items:
            vhdx.set_user_item(path, item_id, value, virtual_disk=of_disk, force=True)
        if path == files[0]:
            assert guids_of(files[0])[1] != identity
            vhdx.rebase(files[1], files[0], ignore_identity=True)
    vhdx.set_properties(files[1], physical_sector_size=512, disk_id=uuid.UUID(int=99))
    vhdx.merge(files[1])
    found = {item.item_id: item for item in vhdx.user_items(files[0])}
    assert set(found) == {stays[0], shared[0]}
    assert vhdx.get_user_item(files[0], shared[0]) == shared[1]
    assert vhdx.get_user_item(files[0], stays[0]) == stays[1]
    with vhdx.open(files[0]) as disk:
        assert (disk.physical_sector_size, disk.disk_id) == (512, uuid.UUID(int=99))
    assert content_of(files[0]) == contents[1]
    assert_sound(files[0])


def test_large_items_move_the_metadata_region_of_the_parent(tmp_path: Path) -> None:
    files, contents = chain(tmp_path, 2)
    values = {uuid.UUID(int=n): pattern(n, MIB - 5) for n in range(1, 4)}
    for item_id, value in values.items():
        vhdx.set_user_item(files[1], item_id, value, virtual_disk=True)
    vhdx.merge(files[1])
    assert {item_id: vhdx.get_user_item(files[0], item_id) for item_id in values} == values
    assert content_of(files[0]) == contents[1]
    assert_sound(files[0])


def test_a_parent_cannot_be_written_to_between_the_phases(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, contents = chain(tmp_path)
    fold = import_module("vhdx.ops.fold")
    tried = []

    def intruding(name: str) -> Any:
        real = getattr(fold, name)

        def intrude(*arguments: Any, **options: Any) -> Any:
            for path in files[1:]:
                with pytest.raises(vhdx.ImageLockedError):
                    vhdx.open(path, "r+")
            tried.append(name)
            return real(*arguments, **options)

        return intrude

    for name in ("resize_storage", "writable_disk", "_copy", "_replace_items", "_link"):
        monkeypatch.setattr(fold, name, intruding(name))
    vhdx.merge(files[2])
    assert len(tried) == 7
    assert content_of(files[1]) == contents[2]


def test_what_was_written_to_the_target_after_the_fold_refuses_the_relink(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, _ = chain(tmp_path)
    relink = merge_module.relink

    def late(*arguments: Any, **options: Any) -> Any:
        with vhdx.open(files[0], "r+") as disk:
            disk.pwrite(b"x", 0)
        return relink(*arguments, **options)

    monkeypatch.setattr(merge_module, "relink", late)
    with pytest.raises(vhdx.ParentMismatchError, match="somebody wrote to it since it was merged into"):
        vhdx.merge(files[1], children=[files[2]], delete_child=True)
    assert files[1].exists()


def test_a_merge_interrupted_between_two_children_is_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, contents = chain(tmp_path)
    other = tmp_path / "other.vhdx"
    vhdx.create(other, parent=files[1])
    relink, calls = merge_module.relink, []

    def second_fails(*arguments: Any, **options: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return relink(*arguments, **options)

    monkeypatch.setattr(merge_module, "relink", second_fails)
    with pytest.raises(KeyboardInterrupt):
        vhdx.merge(files[1], children=[files[2], other], delete_child=True)
    vhdx.merge(files[1], children=[files[2], other], delete_child=True)
    assert content_of(files[2]) == contents[2]
    assert content_of(other) == contents[1]


def test_what_a_merge_left_over_is_no_orphan(tmp_path: Path) -> None:
    """Folded before, and not written to since: nobody needs it, and it does not stand in the way."""
    files, contents = chain(tmp_path)
    vhdx.merge(files[1], children=[files[2]])
    vhdx.merge(files[2])
    assert content_of(files[0]) == contents[2]


def test_a_left_over_that_somebody_wrote_to_is_an_orphan(tmp_path: Path) -> None:
    files, _ = chain(tmp_path)
    vhdx.merge(files[1], children=[files[2]])
    with vhdx.open(files[1], "r+") as disk:
        disk.pwrite(b"new", 0)
    with pytest.raises(vhdx.UnsupportedImageError, match="would lose their parent"):
        vhdx.merge(files[2])


def test_the_command_says_who_still_needs_a_child(tmp_path: Path) -> None:
    files, _ = chain(tmp_path)
    out = succeed("merge", files[1])
    assert f"{files[1]}: needed by {files[2]}" in out


def test_a_child_named_by_a_link_is_deleted_itself(tmp_path: Path) -> None:
    files, _ = chain(tmp_path, 2)
    (tmp_path / "link.vhdx").symlink_to(files[1])
    vhdx.merge(tmp_path / "link.vhdx", delete_child=True)
    assert not files[1].exists()


def test_what_is_deleted_is_not_told_to_lack_its_parent(tmp_path: Path) -> None:
    """The layer between gets a parent outside its directory, and is deleted a moment later."""
    files, _ = chain(tmp_path)
    below = tmp_path / "below"
    below.mkdir()
    for file in files[1:]:
        file.rename(below / file.name)
    moved = [files[0], *(below / file.name for file in files[1:])]
    parents = vhdx.ParentPolicy(any_parent=True, directories=(str(tmp_path),))
    done = vhdx.merge(moved[2], into=moved[0], delete_child=True, parents=parents)
    assert done.deleted
    assert done.not_found_by_default == ()


def test_the_space_that_counts_is_where_the_parent_is_and_not_a_link_to_it(tmp_path: Path) -> None:
    (tmp_path / "big").mkdir()
    files, _ = chain(tmp_path / "big")
    (tmp_path / "tiny").mkdir()
    asked: list[str] = []
    really = shutil.disk_usage

    def disk_usage(path: str) -> object:
        asked.append(path)
        return really(path)

    link = tmp_path / "tiny" / "parent.vhdx"
    files[1].rename(tmp_path / "big" / "parent.vhdx")
    link.symlink_to("../big/parent.vhdx")
    vhdx.rebase(files[2], link)
    with mock.patch("shutil.disk_usage", disk_usage):
        vhdx.merge(files[2], parents=vhdx.ParentPolicy(any_parent=True))
    assert asked == [str(tmp_path / "big" / "parent.vhdx")]
