"""`vhdx.create(parent=…)`: what a child takes from its parent, what is refused, and who reads it."""

import os
from pathlib import Path
from uuid import UUID

import pytest

import vhdx
from tests.cli.running import USAGE, run
from tests.interop.programs import by_seven_zip, pyvhdi_bytes
from tests.support.build import ImageBuilder
from tests.support.layout import IS_USER, IS_VIRTUAL_DISK, MIB, TIB
from tests.support.logs import Data, LogBuilder
from tests.support.parts import Block, Item
from tests.support.patterns import pattern
from vhdx.disk.formats import open_image
from vhdx.ops.info import info

from .files import digest
from .twin import assert_sound

GUEST, HOST = UUID(int=0x1111), UUID(int=0x2222)


def parent(folder: Path, **changes: object) -> Path:
    image = ImageBuilder(6 * MIB, seed=3, blocks={n: Block(pattern(n, MIB)) for n in range(6)})
    for name, value in changes.items():
        setattr(image, name, value)
    return image.write(folder / "parent.vhdx")


@pytest.mark.parametrize("sectors", [(512, 512), (512, 4096), (4096, 4096)])
def test_items_of_the_virtual_disk_are_copied(tmp_path: Path, sectors: tuple[int, int]) -> None:
    items = {
        "guest": Item(b"of the disk", IS_USER | IS_VIRTUAL_DISK, GUEST),
        "host": Item(b"of the file", IS_USER, HOST),
    }
    logical, physical = sectors
    path = parent(tmp_path, items=items, logical_sector_size=logical, physical_sector_size=physical)
    before = digest(path)
    made = vhdx.create(tmp_path / "child.vhdx", parent=path)
    assert digest(path) == before
    assert made.remarks == ()
    assert (made.disk_type, made.block_size, made.virtual_size) == ("differencing", 2 * MIB, 6 * MIB)
    with vhdx.open(path) as old, vhdx.open(tmp_path / "child.vhdx") as new:
        for name in ("size", "disk_id", "logical_sector_size", "physical_sector_size"):
            assert getattr(old, name) == getattr(new, name)
        assert new.disk_type == "differencing"
    image = open_image(tmp_path / "child.vhdx")
    user = {e.item_id: image.metadata.item(image.storage, e) for e in image.metadata.entries if e.is_user}
    image.storage.close()
    assert user == {GUEST: b"of the disk"}
    assert_sound(tmp_path / "child.vhdx")


def test_the_locator_says_where_the_parent_is_and_nothing_else(tmp_path: Path) -> None:
    path = parent(tmp_path)
    (tmp_path / "sub").mkdir()
    vhdx.create(tmp_path / "child.vhdx", parent=path)
    made = vhdx.create(tmp_path / "sub" / "child.vhdx", parent=path)
    linkage = f"{{{info(path).data_write_guid}}}"
    zero = "{00000000-0000-0000-0000-000000000000}"
    for child, relative in (("child.vhdx", ".\\parent.vhdx"), ("sub/child.vhdx", "..\\parent.vhdx")):
        found = info(tmp_path / child).parent_locator
        assert found is not None
        told = dict(found)
        if os.name == "nt":
            assert told.pop("absolute_win32_path") == f"\\\\?\\{os.path.realpath(path)}"
        assert told == {
            "parent_linkage": linkage,
            "relative_path": relative,
            "parent_linkage2": zero,
        }
    assert len(made.remarks) == 1
    assert "--parent-dir or --any-parent" in made.remarks[0]
    with pytest.raises(vhdx.ParentNotFoundError):
        vhdx.open(tmp_path / "sub" / "child.vhdx")
    vhdx.open(tmp_path / "sub" / "child.vhdx", parents=tmp_path).close()


def test_the_command_warns_of_a_parent_that_is_not_found_by_default(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    done = run("create", tmp_path / "sub" / "child.vhdx", "--parent", parent(tmp_path))
    assert done.code == 0
    assert "--any-parent" in done.err


@pytest.mark.parametrize(
    ("size", "block_size"), [(6 * MIB, MIB), (TIB, 2 * MIB), (64 * TIB, MIB), (TIB, 256 * MIB)]
)
def test_the_table_has_whole_chunks(tmp_path: Path, size: int, block_size: int) -> None:
    vhdx.create(tmp_path / "child.vhdx", size, parent=parent(tmp_path), block_size=block_size)
    chunk = (1 << 23) * 512 // block_size
    blocks = -(-size // block_size)
    entries = -(-blocks // chunk) * (chunk + 1)
    image = open_image(tmp_path / "child.vhdx")
    image.storage.close()
    assert image.regions.bat.length == -(-entries * 8 // MIB) * MIB
    with vhdx.open(tmp_path / "child.vhdx", "r+") as disk:
        disk.pwrite(b"end", size - 3)
    with vhdx.open(tmp_path / "child.vhdx") as disk:
        assert disk.pread(3, size - 3) == b"end"
        assert disk.pread(6 * MIB - 3, 0) == b"".join(pattern(n, MIB) for n in range(6))[:-3]


@pytest.mark.parametrize(
    "options",
    [
        {"size": 6 * MIB - 512},
        {"disk_type": "fixed"},
        {"logical_sector_size": 4096},
        {"physical_sector_size": 512},
        {"disk_id": UUID(int=5)},
        {"zero_blocks": True},
        {"block_size": 512 * MIB},
    ],
    ids=str,
)
def test_options_that_contradict_the_parent_are_refused(tmp_path: Path, options: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        vhdx.create(tmp_path / "child.vhdx", parent=parent(tmp_path), **options)  # type: ignore[arg-type]
    assert not (tmp_path / "child.vhdx").exists()


def test_options_that_say_what_the_parent_says_are_taken(tmp_path: Path) -> None:
    path = parent(tmp_path)
    disk_id = str(info(path).disk_id)
    for identity in (disk_id, disk_id.upper(), UUID(disk_id)):
        vhdx.create(
            tmp_path / "child.vhdx",
            "6M",
            parent=path,
            disk_id=identity,
            logical_sector_size=512,
            overwrite=True,
        )


def test_a_dirty_parent_is_refused_with_the_next_command(tmp_path: Path) -> None:
    log = LogBuilder()
    log.add(Data(3 * MIB, bytes(4096)))
    with pytest.raises(vhdx.UnsupportedImageError, match="log is dirty") as caught:
        vhdx.create(tmp_path / "child.vhdx", parent=parent(tmp_path, log=log))
    assert caught.value.next_command == f"vhdx repair {tmp_path / 'parent.vhdx'}"
    assert not (tmp_path / "child.vhdx").exists()


def test_a_parent_that_somebody_writes_to_is_refused(tmp_path: Path) -> None:
    path = parent(tmp_path)
    with vhdx.open(path, "r+"), pytest.raises(vhdx.ImageLockedError):
        vhdx.create(tmp_path / "child.vhdx", parent=path)
    with vhdx.open(path):
        vhdx.create(tmp_path / "child.vhdx", parent=path)


def test_a_parent_whose_name_is_no_text_is_refused_in_words(tmp_path: Path) -> None:
    vhdx.create(tmp_path / "p\udcff.vhdx", MIB)
    done = run("create", tmp_path / "c.vhdx", "--parent", tmp_path / "p\udcff.vhdx")
    assert done.code == USAGE
    assert done.sentence.endswith("p\\udcff.vhdx' cannot be written into an image")
    assert not (tmp_path / "c.vhdx").exists()


def test_nobody_is_its_own_parent(tmp_path: Path) -> None:
    path = parent(tmp_path)
    before = digest(path)
    (tmp_path / "link.vhdx").hardlink_to(path)
    for name in ("parent.vhdx", "link.vhdx"):
        with pytest.raises(ValueError, match="is the parent"):
            vhdx.create(tmp_path / name, parent=path, overwrite=True)
    assert digest(path) == before


def test_nobody_takes_the_place_of_an_ancestor(tmp_path: Path) -> None:
    """With --force, too: the parent would be left without its own parent, its data gone."""
    base = parent(tmp_path)
    before = digest(base)
    vhdx.create(tmp_path / "middle.vhdx", parent=base)
    with pytest.raises(ValueError):
        vhdx.create(base, parent=tmp_path / "middle.vhdx", overwrite=True)
    assert digest(base) == before


def test_others_read_it_alike(tmp_path: Path) -> None:
    path = parent(tmp_path)
    child = tmp_path / "child.vhdx"
    vhdx.create(child, parent=path, block_size=MIB)
    content = bytearray(b"".join(pattern(n, MIB) for n in range(6)))
    assert by_seven_zip(child) == content
    with vhdx.open(child, "r+") as disk:
        for offset in (700, 3 * MIB - 100, 5 * MIB + 4096):
            disk.pwrite(b"x" * 3000, offset)
            content[offset : offset + 3000] = b"x" * 3000
    assert by_seven_zip(child) == content
    assert pyvhdi_bytes(child, path) == content
    with vhdx.open(child, "r+") as disk:
        disk.trim(length=MIB, offset=0)
        content[:MIB] = bytes(MIB)
    assert by_seven_zip(child) == content
