"""File systems that Windows made, in images of the shared folder."""

from pathlib import Path
from types import ModuleType

import pytest

import vhdx
from tests.real.test_real_images import IMAGES, LISTED, unpack
from vhdx.filesystems import exfat, fat, ntfs
from vhdx.filesystems.base import examine

pytestmark = pytest.mark.skipif(not LISTED, reason=f"there is no folder {IMAGES}")

# clusters that are free by ntfsinfo, fsck.fat and dump.exfat
KNOWN = [
    ("dfvfs__ntfs-dynamic.vhdx", ntfs, "NTFS", "TestVolume", 53 * 4096, ""),
    ("dfvfs__ntfs-fixed.vhdx", ntfs, "NTFS", "TestVolume", 53 * 4096, ""),
    ("goatrodeo__basic.vhdx", ntfs, "NTFS", "New Volume", None, "not unmounted cleanly"),
    ("dfvfs__fat-parent.vhdx", fat, "FAT12", None, 2978 * 1024, ""),
    ("coreos-hyperv__config2_base.vhdx", fat, "FAT32", "config-2", 199599 * 512, ""),
    ("ExFat__exFAT-v1.vhdx", exfat, "exFAT", "MyExFatDisk", 1039290 * 131072, ""),
]


@pytest.mark.parametrize("known", KNOWN, ids=lambda known: str(known[0]))
def test_what_is_free(
    tmp_path: Path, known: tuple[str, ModuleType, str, str | None, int | None, str]
) -> None:
    name, room, kind, label, free, told = known
    with vhdx.open(unpack(name, tmp_path)) as disk:
        part = disk.partitions()[-1]
        found = room.recognise(lambda length, offset: disk.pread(length, part.offset + offset), part.length)
        result = examine(found, part.length).file_system
    assert (result.kind, result.label, result.free) == (kind, label, free)
    assert told in "".join(result.reasons)
    assert bool(told) == bool(result.reasons)
