"""Power fails while files are put into a FAT or exFAT: what was is there, what is new is whole or not."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from tests.filesystems.inserting import check, hashes, host_hashes, made, put
from tests.filesystems.making import run
from tests.support.fat_twin import Twin
from tests.support.lying import Operation, Record, crashes
from tests.support.sparse import Content, ContentStorage
from vhdx.build.build import ImageBuilder
from vhdx.disk.open import open_any, readable_disk, writable_disk
from vhdx.disk.places import policy_from
from vhdx.disk.raw import RawDisk
from vhdx.disk.volumes import volumes as disk_volumes
from vhdx.ops.files.insert import InsertOptions, insert
from vhdx.ops.make.plan import ImageOptions, Rounding, plan_from

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from vhdx.disk.base import VirtualDisk

pytest.importorskip("pyfsfat", reason="needs the extra vhdx[files]")
FILE = "disk"


class Story:
    """A volume with files, what is put into it, and what each name may stand for at every instant."""

    def __init__(self, kind: str, folder: Path) -> None:
        chance = random.Random(5)
        self.image = made(kind, folder)
        old, self.new = folder / "old", folder / "new"
        (old / "folder").mkdir(parents=True)
        for number in range(4):
            (old / f"the file number {number}.txt").write_bytes(chance.randbytes(700))
            (old / "folder" / f"zone, number {number}").write_bytes(chance.randbytes(1300))
        (old / "fills the first sector of the table").write_bytes(chance.randbytes(200_000))
        put(
            self.image,
            [old / "folder", *sorted(old.glob("f*table")), *sorted(old.glob("*.txt"))],
            "/",
            recursive=True,
        )
        if kind == "exFAT-512":
            with open(self.image, "r+b") as file:
                file.seek(112)
                file.write(b"\xff")  # nobody counts how many per cent are in use
        (self.new / "tree" / "sub").mkdir(parents=True)
        (self.new / "folder").mkdir()
        for name in ("tree/a.txt", "tree/sub/a long name in a new directory", "the file number 1.txt"):
            (self.new / name).write_bytes(chance.randbytes(1100))
        for number in range(9):  # more than its one cluster holds
            (self.new / "folder" / f"{'new' * 12} {number}").write_bytes(chance.randbytes(40))
        (self.new / "folder" / "zone, number 2").write_bytes(chance.randbytes(2000))
        self.before, self.wanted = host_hashes(old), host_hashes(self.new)
        self.names = ["tree", "folder", "the file number 1.txt"]

    def put_into(self, disk: VirtualDisk) -> None:
        """All of it in one go."""
        sources = [str(self.new / name) for name in self.names]
        options = InsertOptions(recursive=True, force=True)
        insert(disk, sources, "/", tell=pytest.fail, options=options)

    def judge(self, found: dict[str, str]) -> bool:
        """Whether all of it is there. Raises AssertionError where something is lost, torn or strange."""
        for name, value in found.items():
            assert value in (self.before.get(name), self.wanted.get(name)), name
        assert self.before.keys() <= found.keys()
        assert set(found) <= self.before.keys() | self.wanted.keys()
        tree = {name for name in self.wanted if name.startswith("tree")}
        assert tree <= found.keys() or not tree & found.keys()
        return {**self.before, **self.wanted} == found


def states(record: Record, samples: int) -> Iterator[Content]:
    """The different contents that a power loss may leave."""
    seen = set()
    for item in crashes(record, random.Random(1), samples):
        if not isinstance(item, Operation) and item.files[FILE].digest not in seen:
            seen.add(item.files[FILE].digest)
            yield item.files[FILE]


def content_of_file(path: Path) -> Content:
    content = Content()
    content.write(path.read_bytes(), 0)
    return content


def free_bytes(disk: VirtualDisk) -> int | None:
    """What the volume calls free; None where it does not agree with itself."""
    (volume,) = disk_volumes(disk)
    return volume.file_system.free


@pytest.mark.parametrize("kind", ["FAT12", "FAT32", "exFAT", "exFAT-512"])
def test_at_every_instant(kind: str, tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    story = Story(kind, tmp_path)
    record = Record()
    storage = record.storage(FILE, content_of_file(story.image))
    story.put_into(RawDisk(storage, storage))
    count = clean = whole = 0
    frees = {free_bytes(RawDisk(ContentStorage(each))) for each in (record.before[FILE], storage.content)}
    assert None not in frees
    chance = random.Random(2)
    after = tmp_path / "after.raw"
    for content in states(record, 2):
        count += 1
        disk = RawDisk(ContentStorage(content))
        twin = Twin(disk.pread)
        is_whole = story.judge(twin.hashes())
        whole += is_whole
        assert not twin.twice or (
            twin.is_exfat and twin.is_dirty
        )  # the set of the old file, the set of the new one
        if not twin.is_dirty:
            clean += 1
            assert free_bytes(disk) in frees
            if chance.random() < 0.1:
                _written(content, after)
                check(after)
        elif chance.random() < 0.03:
            _written(content, after)
            _repaired(after)
            with open_any(str(after), image_format="raw") as repaired:
                story.judge({k: v for k, v in hashes(repaired).items() if not _is_found(k)})
    record_property("crash states", count)
    assert count > 100
    assert whole >= 1
    assert clean > 10


def _is_found(name: str) -> bool:
    """Where checkers put clusters to which nothing leads."""
    return name.startswith(("FSCK", "LOST"))


def _written(content: Content, path: Path) -> None:
    storage = ContentStorage(content)
    path.write_bytes(storage.read(content.size, 0))


def _repaired(image: Path) -> None:
    is_exfat = image.read_bytes()[3:11] == b"EXFAT   "
    program = ["fsck.exfat", "-y"] if is_exfat else ["fsck.fat", "-a"]
    run(*program, image, codes=(0, 1))
    check(image)


def test_through_an_image(tmp_path: Path) -> None:
    """The same, where the disk is that of a dynamic VHDX."""
    story = Story("FAT16", tmp_path)
    raw = story.image.read_bytes()
    record = Record()
    storage = record.storage(FILE, Content())
    plan = plan_from(ImageOptions("dynamic", "1MiB"), len(raw), Rounding())
    ImageBuilder(storage, plan, len(raw)).finish(len(raw))
    disk = writable_disk(storage)
    disk.pwrite(raw, 0)
    disk.close()
    record = Record()
    storage = record.storage(FILE, storage.content)
    disk = writable_disk(storage)
    story.put_into(disk)
    disk.close()
    found = [
        story.judge(Twin(readable_disk(ContentStorage(content), "vhdx", policy_from(None)).pread).hashes())
        for content in states(record, 1)
    ]
    assert len(found) > 50
    assert found[-1]
    assert not found[0]
