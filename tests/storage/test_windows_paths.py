"""What paths mean on Windows: pure, so that every host runs it."""

import ntpath
from pathlib import PureWindowsPath

import pytest

from vhdx.storage.windows_paths import (
    is_device,
    is_reserved,
    literal,
    opened_as,
    plain,
    refuse_as_named,
    refuse_as_new,
)

RESERVED = ["CON", "con.vhdx", "nul", "NUL .txt", "aux:stream", "COM1", "lpt9.vhdx", "COM¹", "CONIN$", "PrN"]
ORDINARY = ["CONE", "a.con", "COM0", "COM10", "nullify.vhdx", "lpt", ".con", "con-.vhdx"]
DROPPED = ["a.vhdx.", "a.vhdx ", "a. .", "...", ".. ", " "]
LONG = "a" * 60


@pytest.mark.parametrize("name", RESERVED)
def test_names_of_devices(name: str) -> None:
    assert is_reserved(name)
    with pytest.raises(ValueError, match="names a device of Windows"):
        refuse_as_new(f"C:\\disks\\{name}")
    with pytest.raises(ValueError, match="names a device of Windows"):
        refuse_as_named(["disks", name, "a.vhdx"])


@pytest.mark.parametrize("name", ORDINARY)
def test_names_of_files(name: str) -> None:
    assert not is_reserved(name)
    refuse_as_new(f"C:\\CON\\{name}")  # who opens it says what is wrong with the directory
    refuse_as_named(["..", ".", "C:", name])


@pytest.mark.filterwarnings("ignore:pathlib.PurePath.is_reserved:DeprecationWarning")  # from Python 3.13 on
def test_python_has_the_same_names_for_devices() -> None:
    for name in ["CON", "nul", "COM1", "lpt9.vhdx", "COM¹", "CONE", "COM0", "a.con", "lpt"]:
        assert is_reserved(name) == PureWindowsPath(name).is_reserved()


@pytest.mark.parametrize("name", DROPPED)
def test_ends_that_windows_drops(name: str) -> None:
    with pytest.raises(ValueError, match="which Windows drops"):
        refuse_as_new(f"C:\\disks\\{name}")
    with pytest.raises(ValueError, match="which Windows drops"):
        refuse_as_named([name, "a.vhdx"])
    refuse_as_new(f"\\\\?\\C:\\disks\\{name}")  # taken as it stands


@pytest.mark.parametrize("path", ["\\\\.\\PhysicalDrive0", "//./PhysicalDrive0", "\\\\.\\C:"])
def test_devices(path: str) -> None:
    assert is_device(path)
    assert opened_as(path) == path


@pytest.mark.parametrize(
    ("path", "opened"),
    [
        ("C:\\a.vhdx", "C:\\a.vhdx"),
        ("a.vhdx", "a.vhdx"),
        ("C:a.vhdx", "C:a.vhdx"),
        ("\\\\server\\share\\a.vhdx", "\\\\server\\share\\a.vhdx"),
        ("\\\\?\\Volume{586d1599-dea0-586f-8b35-a3d49c2f98ec}\\a.vhdx",) * 2,
        (
            f"C:\\{LONG}\\..\\" + f"{LONG}\\" * 5 + "a.vhdx",
            f"\\\\?\\C:\\{LONG}" + f"\\{LONG}" * 4 + "\\a.vhdx",
        ),
        (f"C:/{LONG}" + f"/{LONG}" * 4, f"\\\\?\\C:\\{LONG}" + f"\\{LONG}" * 4),
        (
            f"\\\\server\\share\\{LONG}" + f"\\{LONG}" * 4,
            f"\\\\?\\UNC\\server\\share\\{LONG}" + f"\\{LONG}" * 4,
        ),
    ],
)
def test_what_is_opened(path: str, opened: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ntpath, "abspath", ntpath.normpath)  # that of Windows needs Windows
    assert opened_as(path) == opened


@pytest.mark.parametrize(
    ("whole", "with_prefix"),
    [
        ("C:\\a.vhdx", "\\\\?\\C:\\a.vhdx"),
        ("\\\\server\\share\\a.vhdx", "\\\\?\\UNC\\server\\share\\a.vhdx"),
    ],
)
def test_the_prefix_comes_and_goes(whole: str, with_prefix: str) -> None:
    assert literal(whole) == literal(with_prefix) == with_prefix
    assert plain(whole) == plain(with_prefix) == whole


def test_a_volume_without_a_letter_keeps_its_prefix() -> None:
    volume = "\\\\?\\Volume{586d1599-dea0-586f-8b35-a3d49c2f98ec}\\a.vhdx"
    assert plain(volume) == literal(volume) == volume
