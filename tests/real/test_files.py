"""The files in real images: those that they are known to have, as two readers read them; files put in."""

from pathlib import Path

import pytest

import vhdx
from tests.files.second_reader import tsk_hashes
from tests.files.test_places import hashes
from tests.files.trees import our_hashes
from tests.filesystems.inserting import check
from tests.real.test_real_images import IMAGES, LISTED, unpack
from tests.support.fat_twin import Twin
from vhdx.disk.slice import SliceDisk
from vhdx.files.volume import volumes

pytestmark = pytest.mark.skipif(not LISTED, reason=f"there is no folder {IMAGES}")
WINDOWS = {"System Volume Information/WPSettings.dat", "System Volume Information/IndexerVolumeGuid"}
PAPERS = {"a_directory/a_file", "a_directory/another_file", "passwords.txt"}
NAMES = {
    "dfvfs__ext2.vhdx": PAPERS,
    "dfvfs__fat-parent.vhdx": {"System Volume Information/WPSettings.dat"},
    "dfvfs__fat-differential.vhdx": WINDOWS | PAPERS,
    "dfvfs__ntfs-dynamic.vhdx": PAPERS | {"System Volume Information/WPSettings.dat"},
    "dfvfs__ntfs-fixed.vhdx": PAPERS | {"System Volume Information/WPSettings.dat"},
    "ExFat__exFAT-v1.vhdx": WINDOWS
    | {"$RECYCLE.BIN/desktop.ini", "A text file with a long file name.txt", "TextFile.txt", "AFolder/1.txt"}
    | {"AFolder/SubFolder/2.txt"},
}


@pytest.mark.parametrize("name", NAMES)
def test_known_files(name: str, tmp_path: Path) -> None:
    with vhdx.open(unpack(name, tmp_path)) as disk:
        (volume,) = disk.volumes()
        found = hashes(disk)
        assert found.keys() == NAMES[name]
        second = tsk_hashes(disk, volume.summary.offset or 0)
        both = found.keys() & second.keys()
        assert {path: found[path] for path in both} == {path: second[path] for path in both}
        assert found.keys() - both <= {"$RECYCLE.BIN/desktop.ini"}  # which the second one takes for its own


def test_known_files_behind_a_dirty_log(tmp_path: Path) -> None:
    """An NTFS that Windows had at work: read as it stands, which is told."""
    with vhdx.open(unpack("goatrodeo__basic.vhdx", tmp_path)) as disk:
        (volume,) = volumes(disk)
        second = tsk_hashes(disk, volume.summary.offset or 0)
        found = our_hashes(volume)
        assert len(found) >= 5
        assert {path: found[path] for path in found.keys() & second.keys()} == {
            path: second[path] for path in found.keys() & second.keys()
        }
        assert len(found.keys() & second.keys()) >= 4
        (told,) = volume.told
        assert "what its log holds is not seen" in told


@pytest.mark.parametrize("name", ["coreos-hyperv__config2_base.vhdx", "ExFat__exFAT-v1.vhdx"])
def test_files_put_in(name: str, tmp_path: Path) -> None:
    """A config drive, and a disk of Windows: what was there is there, and a checker finds nothing."""
    from tests.cli.running import succeed  # noqa: PLC0415

    image = unpack(name, tmp_path)
    with vhdx.open(image) as disk:
        before = hashes(disk)
    tree = tmp_path / "openstack" / "latest"
    tree.mkdir(parents=True)
    (tree / "user_data").write_text("#cloud-config\n" * 3000)
    succeed("cp", "-R", tmp_path / "openstack", f"{image}:/")
    with vhdx.open(image) as disk:
        (volume,) = disk.volumes()
        found = hashes(disk)
        assert {path: found[path] for path in before} == before
        assert found.keys() - before.keys() == {"openstack/latest/user_data"}
        place = volume.summary
        twin = Twin(SliceDisk(disk, place.offset or 0, place.size).pread)
        assert {path for path, value in twin.hashes().items() if value} == found.keys()
    if disk.size < 1 << 30:
        raw = tmp_path / "part.raw"
        succeed("convert", "--partition", "1", image, raw)
        check(raw)
    succeed("check", image)
