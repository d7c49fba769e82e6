"""Where parents may be looked for by the rules of Windows; no parent is opened, so every host runs it."""

import ntpath
import os
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest

import vhdx
from vhdx.disk import places
from vhdx.disk.places import ParentPolicy, Places
from vhdx.ops.info import ImageInfo
from vhdx.storage.file import open_for_reading

HOME = "C:\\Disks\\child"


@pytest.mark.parametrize(
    ("path", "below"),
    [
        ("C:\\Disks\\child\\parent.vhdx", True),
        ("c:\\disks\\CHILD\\parent.vhdx", True),
        ("C:/Disks/child/sub/parent.vhdx", True),
        ("C:\\Disks\\children\\parent.vhdx", False),
        ("C:\\Disks\\parent.vhdx", False),
        ("D:\\Disks\\child\\parent.vhdx", False),
        ("D:parent.vhdx", False),
        ("\\\\server\\Disks\\child\\parent.vhdx", False),
        ("\\\\?\\C:\\Disks\\child\\parent.vhdx", False),  # realpath leaves such a prefix where nothing is
        ("\\\\?\\Volume{586d1599-dea0-586f-8b35-a3d49c2f98ec}\\Disks\\child\\parent.vhdx", False),
        ("\\\\.\\PhysicalDrive0", False),
    ],
)
def test_what_is_below_a_directory(path: str, below: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "os", SimpleNamespace(path=ntpath))
    assert places._is_part(ntpath.normpath(path), HOME) == below


@pytest.mark.parametrize("resolved", ["D:\\elsewhere\\parent.vhdx", "\\\\server\\share\\parent.vhdx"])
def test_where_a_junction_leads_counts(resolved: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Junctions, links and short names alike: what counts is the path that Windows makes of it."""
    seen = SimpleNamespace(**{name: getattr(ntpath, name) for name in ("normpath", "normcase", "commonpath")})
    seen.realpath = {
        "C:\\Disks\\child\\JUNCTI~1\\parent.vhdx": resolved,
        "C:\\Disks\\child\\LONGNA~1\\parent.vhdx": "C:\\Disks\\child\\long name\\parent.vhdx",
    }.__getitem__
    monkeypatch.setattr(places, "os", SimpleNamespace(path=seen))
    assert not places.is_below("C:\\Disks\\child\\JUNCTI~1\\parent.vhdx", HOME)
    assert places.is_below("C:\\Disks\\child\\LONGNA~1\\parent.vhdx", HOME)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("NUL", "names a device"),
        ("..\\con\\parent.vhdx", "names a device"),
        (".\\COM1.vhdx", "names a device"),
        ("parent.vhdx.", "which Windows drops"),
        (".. \\outside\\parent.vhdx", "which Windows drops"),
        (".\\sub . \\parent.vhdx", "which Windows drops"),
    ],
)
@pytest.mark.parametrize("any_parent", [False, True])
def test_promise_19_names_that_windows_takes_for_others_are_not_touched(
    value: str, reason: str, any_parent: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "child.vhdx").write_bytes(b"")
    monkeypatch.setattr(places, "_ON_WINDOWS", True)
    monkeypatch.setattr(places, "same_names", lambda *_: pytest.fail("looked at"))
    child = open_for_reading(str(tmp_path / "child.vhdx"))
    found = Places(child, ParentPolicy(any_parent=any_parent))
    assert list(found.candidates([(value, True)])) == []
    assert reason in found.refused[value]
    child.close()


@pytest.mark.skipif(sys.platform != "win32", reason="drives of Windows")
def test_a_parent_on_another_drive_is_told_by_its_absolute_path_alone(tmp_path: Path) -> None:
    """Wine has the root of its host as drive Z, the temporary directory on C."""
    if os.path.splitdrive(tmp_path)[0].upper() == "Z:" or not os.path.isdir("Z:\\tmp"):
        pytest.skip("this Windows has no second drive to write to")
    with tempfile.TemporaryDirectory(dir="Z:\\tmp") as other:
        parent = Path(other) / "parent.vhdx"
        vhdx.create(parent, 8 << 20)
        with vhdx.open(parent, "r+") as disk:
            disk.pwrite(b"over there", 0)
        vhdx.create(tmp_path / "child.avhdx", parent=parent)
        told = vhdx.info(tmp_path / "child.avhdx", parents=parent)
        assert isinstance(told, ImageInfo)
        locator = dict(told.parent_locator or {})
        assert "relative_path" not in locator
        assert locator["absolute_win32_path"] == f"\\\\?\\{parent}"
        with vhdx.open(tmp_path / "child.avhdx", parents=vhdx.ParentPolicy(any_parent=True)) as disk:
            assert disk.pread(10, 0) == b"over there"
            assert disk.chain[1] == str(parent)
        merged = vhdx.merge(tmp_path / "child.avhdx", parents=vhdx.ParentPolicy(any_parent=True))
        assert merged.path == str(parent)
