"""Changing an image in place: identity, physical sectors, fixed and dynamic."""

import errno
from pathlib import Path
from uuid import UUID

import pytest

import vhdx
from tests.chains.files import digest
from tests.ops.make.making import item_of
from tests.support.build import ImageBuilder
from tests.support.layout import FULLY_PRESENT, MIB, ZERO
from tests.support.parts import Block
from tests.support.patterns import pattern
from tests.support.tools import needs
from tests.write.checking import allocated, assert_sound, guids_of, model_of, qemu_check, structure_of
from tests.write.images import strange

from .conftest import SMALL

ID = UUID("12345678-9abc-def0-1234-56789abcdef0")


def test_what_a_guest_knows_the_disk_by(tmp_path: Path) -> None:
    path = strange().write(tmp_path / "a.vhdx")
    model, identity = model_of(path), guids_of(path)[1]
    done = vhdx.set_properties(path, disk_id=str(ID), physical_sector_size=512)
    assert done.changed == ("disk_id", "physical_sector_size")
    assert done.new_identity
    assert guids_of(path)[1] != identity
    assert item_of(path, "virtual_disk_id") == ID
    assert item_of(path, "physical_sector_size") == 512
    assert_sound(path, model)
    with vhdx.open(path) as disk:
        assert (disk.disk_id, disk.physical_sector_size) == (ID, 512)


def test_new_is_a_random_id(tmp_path: Path) -> None:
    path = strange().write(tmp_path / "a.vhdx")
    found = {vhdx.set_properties(path, disk_id="new").disk_id for _ in range(2)}
    assert len(found) == 2
    assert item_of(path, "virtual_disk_id") in found


def test_where_nothing_changes_nothing_is_written(tmp_path: Path) -> None:
    path = strange().write(tmp_path / "a.vhdx")
    with vhdx.open(path) as disk:
        disk_id, size = disk.disk_id, disk.physical_sector_size
    before = digest(path)
    done = vhdx.set_properties(path, disk_id=disk_id, physical_sector_size=size, disk_type="dynamic")
    assert done.changed == ()
    assert vhdx.set_properties(path).changed == ()
    assert digest(path) == before


def test_a_child_has_to_be_told_of_another_identity(tmp_path: Path) -> None:
    parent, child = tmp_path / "p.vhdx", tmp_path / "c.vhdx"
    vhdx.create(parent, "8MiB")
    vhdx.create(child, parent=parent)
    vhdx.set_properties(parent, disk_type="fixed")
    with vhdx.open(child) as disk:
        assert disk.chain[1] == str(parent)
    before = digest(parent)
    with pytest.raises(vhdx.UnsupportedImageError, match=r"take their parent from .*c\.vhdx"):
        vhdx.set_properties(parent, physical_sector_size=512)
    with pytest.raises(vhdx.UnsupportedImageError, match="--force"):
        vhdx.set_user_item(parent, ID, b"x")
    assert digest(parent) == before
    vhdx.set_properties(parent, physical_sector_size=512, force=True)
    with pytest.raises(vhdx.ParentMismatchError):
        vhdx.open(child)
    vhdx.rebase(child, parent, ignore_identity=True)
    with vhdx.open(child):
        pass


@needs("qemu-img")
def test_fixed_and_back(tmp_path: Path) -> None:
    path = strange().write(tmp_path / "a.vhdx")
    model, identity, states = model_of(path), guids_of(path)[1], structure_of(path).states
    done = vhdx.set_properties(path, disk_type="fixed")
    assert done.changed == ("disk_type",)
    assert not done.new_identity
    found = assert_sound(path, model)
    assert found.states == [FULLY_PRESENT] * len(states)
    assert guids_of(path)[1] == identity
    assert allocated(path) >= len(states) * MIB
    assert not done.remarks
    qemu_check(path)
    done = vhdx.set_properties(path, disk_type="dynamic")
    found = assert_sound(path, model)
    assert found.states == [FULLY_PRESENT if state == FULLY_PRESENT else ZERO for state in states]
    assert found.length == max(claim.end for claim in found.claims) == done.file_size_after
    assert guids_of(path)[1] == identity
    qemu_check(path)


def test_gaps_are_used_before_the_file_grows(tmp_path: Path) -> None:
    made = ImageBuilder(6 * MIB, gap=4 * MIB, blocks={5: Block(pattern(5, MIB))})
    path = made.write(tmp_path / "a.vhdx")
    done = vhdx.set_properties(path, disk_type="fixed")
    assert done.file_size_after == done.file_size_before + MIB


def test_a_full_disk_changes_nothing_that_is_read(small_disk: Path) -> None:
    path = small_disk / "a.vhdx"
    vhdx.create(path, 2 * SMALL, block_size="1MiB")
    with vhdx.open(path, "r+") as disk:
        disk.pwrite(b"here", 5 * MIB)
    length, before = path.stat().st_size, structure_of(path).states
    with pytest.raises(OSError) as caught:
        vhdx.set_properties(path, disk_type="fixed")
    assert caught.value.errno == errno.ENOSPC
    assert path.stat().st_size == length
    assert structure_of(path).states == before
    with vhdx.open(path) as disk:
        assert disk.disk_type == "dynamic"
        assert disk.pread(4, 5 * MIB) == b"here"


def test_what_is_refused(tmp_path: Path) -> None:
    parent = ImageBuilder(8 * MIB)
    path = parent.child().write(tmp_path / "c.vhdx")
    before = digest(path)
    with pytest.raises(vhdx.UnsupportedImageError, match="differencing"):
        vhdx.set_properties(path, disk_type="fixed")
    with pytest.raises(ValueError, match="512 or 4096"):
        vhdx.set_properties(path, physical_sector_size=1024)
    with pytest.raises(ValueError, match="badly formed"):
        vhdx.set_properties(path, disk_id="no id")
    assert digest(path) == before
