"""The disks of WSL and Docker by name: of the registry of Windows, or of what its programs say inside WSL."""

import json
import os
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest

import vhdx
from tests.cli.running import run
from tests.support.tools import needs
from vhdx.ops import registry, wsl

MIB = 1 << 20
UBUNTU, OLD, DOCKER = (f"{{{number * 8}-0000-0000-0000-000000000000}}" for number in "123")


@pytest.fixture(name="home", autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user with a distribution that is the default one, one of WSL 1, and Docker."""
    for folder in ("ubuntu", "Docker/wsl/main", "Docker/wsl/disk"):
        (tmp_path / folder).mkdir(parents=True)
    for image in ("ubuntu/ext4.vhdx", "Docker/wsl/main/ext4.vhdx", "Docker/wsl/disk/docker_data.vhdx"):
        vhdx.create(tmp_path / image, "8M", block_size="1M")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "nothing"))
    monkeypatch.setenv("APPDATA", str(tmp_path / "Roaming"))
    monkeypatch.setenv("PROGRAMDATA", str(tmp_path / "nothing"))
    values: dict[str, dict[str, str | int]] = {
        "": {"DefaultDistribution": UBUNTU},
        UBUNTU: {"DistributionName": "Ubuntu", "BasePath": str(tmp_path / "ubuntu"), "Version": 2},
        OLD: {"DistributionName": "Old", "BasePath": str(tmp_path / "old"), "Version": 1},
        DOCKER: {
            "DistributionName": "docker-desktop",
            "BasePath": str(tmp_path / "Docker" / "wsl" / "main"),
            "Version": 2,
        },
    }
    if sys.platform == "win32":
        _write_registry(values, monkeypatch)
    else:
        _write_programs(tmp_path, values, monkeypatch)
    return tmp_path


def _write_programs(
    folder: Path, values: dict[str, dict[str, str | int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Inside WSL: programs that answer as those of Windows do; drive C is the root here."""
    lines = []
    for key, pairs in values.items():
        lines.append(f"\r\nHKEY_CURRENT_USER\\{registry.KEY}" + (f"\\{key}" if key else ""))
        for name, value in pairs.items():
            kind, shown = ("REG_DWORD", hex(value)) if isinstance(value, int) else ("REG_SZ", value)
            windows = shown.replace("/", "\\") if name == "BasePath" else shown
            lines.append(f"    {name}    {kind}    " + ("C:" + windows if name == "BasePath" else windows))
    (folder / "answer").write_text("\r\n".join(lines) + "\r\n", newline="")
    programs = {
        "reg.exe": f"""test "$1 $3" = "query /s" && exec cat {folder}/answer
            test "$1 $2 $3 $4" = "query HKCU\\Volatile Environment /v APPDATA" || exit 1
            printf '\\r\\nHKEY_CURRENT_USER\\\\Volatile Environment\\r\\n'
            printf '    APPDATA    REG_SZ    C:%s\\r\\n' "$(echo {folder}/Roaming | tr / '\\\\')" """,
        "wslpath": 'test "$1" = -u && printf "%s\\n" "$2" | sed "s/^C://" | tr "\\\\\\\\" /',
    }
    (folder / "bin").mkdir()
    for name, script in programs.items():
        (folder / "bin" / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}/bin:{os.environ['PATH']}")


def _write_registry(values: dict[str, dict[str, str | int]], monkeypatch: pytest.MonkeyPatch) -> None:
    """A real one, in a key of our own."""
    if sys.platform == "win32":
        import winreg  # noqa: PLC0415  this host has it

        key = f"Software\\vhdx-tests-{uuid4()}\\Lxss"
        monkeypatch.setattr(registry, "KEY", key)
        for below, pairs in values.items():
            with winreg.CreateKey(winreg.HKEY_CURRENT_USER, f"{key}\\{below}".rstrip("\\")) as made:
                for name, value in pairs.items():
                    kind = winreg.REG_DWORD if isinstance(value, int) else winreg.REG_SZ
                    winreg.SetValueEx(made, name, 0, kind, value)


def test_every_disk_is_listed_with_what_compaction_gives_back(home: Path) -> None:
    disks = wsl.linux_disks().disks
    assert [(disk.name, disk.is_default, disk.problem) for disk in disks] == [
        ("Ubuntu", True, None),
        ("docker-desktop", False, None),
        ("docker", False, None),
    ]
    for disk, place in zip(disks, ("ubuntu", "Docker/wsl/main", "Docker/wsl/disk"), strict=True):
        path = Path(disk.path)
        assert path.parent.samefile(home / place)
        assert disk.file_size == path.stat().st_size
        assert disk.compacted_size == vhdx.compact(path, dry_run=True).file_size_after


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("wsl:Ubuntu", "ubuntu/ext4.vhdx"),
        ("wsl:UBUNTU", "ubuntu/ext4.vhdx"),
        ("wsl:", "ubuntu/ext4.vhdx"),
        ("wsl:docker-desktop", "Docker/wsl/main/ext4.vhdx"),
        ("docker:", "Docker/wsl/disk/docker_data.vhdx"),
    ],
)
def test_a_name_stands_for_a_path(address: str, place: str, home: Path) -> None:
    assert wsl.is_address(address)
    assert Path(wsl.path_of(address)).samefile(home / place)


@pytest.mark.parametrize("address", ["wsl:Old", "wsl:Debian", "wsl:docker"])
def test_a_name_that_is_none_is_answered_with_those_that_are(address: str) -> None:
    with pytest.raises(FileNotFoundError, match="there are: Ubuntu, docker-desktop, docker"):
        wsl.path_of(address)


@pytest.fixture(name="moved")
def _moved(home: Path) -> Path:
    """Docker with its disk in a folder that the user chose, and an older copy where no distribution is."""
    (home / "Docker/wsl/disk/docker_data.vhdx").unlink()
    (home / "Roaming" / "Docker").mkdir(parents=True)
    return home / "chosen"


def settings(home: Path, name: str, text: str) -> None:
    windows = text.replace("CHOSEN", json.dumps(r"C:" * (os.name != "nt") + str(home / "chosen")).strip('"'))
    (home / "Roaming" / "Docker" / name).write_text(windows, encoding="utf-8-sig")


@pytest.mark.parametrize(
    ("name", "text", "place"),
    [
        ("settings-store.json", '{"CustomWslDistroDir": "CHOSEN"}', "disk/docker_data.vhdx"),
        ("settings-store.json", '{"CustomWslDistroDir": "CHOSEN"}', "DockerDesktopWSL/disk/docker_data.vhdx"),
        ("settings.json", '{"customWslDistroDir": "CHOSEN"}', "DockerDesktopWSL/data/ext4.vhdx"),
        ("settings.json", '{"customWslDistroDir": "", "dataFolder": "CHOSEN"}', "DockerDesktop.vhdx"),
    ],
)
def test_dockers_disk_is_found_where_its_settings_say(
    name: str, text: str, place: str, moved: Path, home: Path
) -> None:
    (moved / place).parent.mkdir(parents=True)
    vhdx.create(moved / place, "8M", block_size="1M")
    settings(home, name, text)
    assert Path(wsl.path_of("docker:")).samefile(moved / place)


@pytest.mark.parametrize(
    "text", ["", "[]", "{", "[" * 100_000, '{"CustomWslDistroDir": 7}', '{"DataFolder": "\\u0000"}']
)
def test_settings_of_docker_may_be_anything(text: str, moved: Path, home: Path) -> None:
    settings(home, "settings-store.json", text)
    with pytest.raises(FileNotFoundError, match="there are: Ubuntu, docker-desktop"):
        wsl.path_of("docker:")


def test_where_dockers_distribution_is_its_disk_is_looked_for_first(home: Path, moved: Path) -> None:
    """A folder that Docker once had may still have an old copy."""
    for place in (home / "Docker/wsl/disk", moved / "disk"):
        place.mkdir(parents=True, exist_ok=True)
        vhdx.create(place / "docker_data.vhdx", "8M", block_size="1M")
    settings(home, "settings-store.json", '{"CustomWslDistroDir": "CHOSEN"}')
    assert Path(wsl.path_of("docker:")).samefile(home / "Docker/wsl/disk/docker_data.vhdx")


def test_a_disk_in_use_is_told_with_the_command_that_lets_go(home: Path) -> None:
    with vhdx.open(home / "ubuntu" / "ext4.vhdx", "r+"):
        (ubuntu, *_) = wsl.linux_disks().disks
    assert (ubuntu.problem, ubuntu.compacted_size) == ("in use; try: wsl --shutdown", None)
    assert ubuntu.file_size == (home / "ubuntu" / "ext4.vhdx").stat().st_size


def test_a_disk_that_is_gone_is_told(home: Path) -> None:
    (home / "ubuntu" / "ext4.vhdx").unlink()
    (ubuntu, *_) = wsl.linux_disks().disks
    assert (ubuntu.file_size, ubuntu.compacted_size) == (None, None)
    assert ubuntu.problem is not None


@pytest.mark.skipif(sys.platform == "win32", reason="runs the command with the programs of WSL")
def test_verbs_take_the_names(home: Path) -> None:
    assert "8 MiB" in run("info", "wsl:ubuntu").out
    assert run("read", "docker:", "0", "512").code == 0
    done = run("info", "wsl:nobody")
    assert (done.code, "there are: Ubuntu" in done.err) == (1, True)
    listed = run("wsl").out
    assert "Ubuntu (default)" in listed
    assert "compact gives back" in listed
    assert [disk["name"] for disk in json.loads(run("wsl", "--json").out)["disks"]] == [
        "Ubuntu",
        "docker-desktop",
        "docker",
    ]


@needs("mkfs.ext4")
def test_what_is_in_use_is_told_and_what_discarding_gives_back(home: Path) -> None:
    raw = home / "ext4.raw"
    with raw.open("wb") as file:
        file.write(b"deleted." * (4 * MIB))  # mkfs leaves it in free blocks
    subprocess.run(["mkfs.ext4", "-q", "-E", "nodiscard", raw], check=True)
    (home / "ubuntu" / "ext4.vhdx").unlink()
    vhdx.convert(raw, home / "ubuntu" / "ext4.vhdx", options=vhdx.ImageOptions(block_size=MIB))
    (ubuntu, *_) = wsl.linux_disks().disks
    assert (ubuntu.format, ubuntu.virtual_size, ubuntu.problem) == ("vhdx", raw.stat().st_size, None)
    assert ubuntu.used_size is not None
    assert 0 < ubuntu.used_size < 16 * MIB
    path = home / "ubuntu" / "ext4.vhdx"
    assert ubuntu.discarded_size == vhdx.compact(path, discard_free=True).file_size_after
    assert ubuntu.compacted_size is not None
    assert ubuntu.discarded_size < ubuntu.compacted_size


@pytest.mark.skipif(sys.platform == "win32", reason="Windows always has a registry")
def test_elsewhere_such_a_word_is_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert not wsl.is_address("wsl:Ubuntu")
    with pytest.raises(OSError, match="no registry"):
        wsl.linux_disks()


@pytest.mark.parametrize("text", ["", "nonsense", "    A    REG_SZ    b", "HKEY_X\n    A    REG_DWORD    0x"])
def test_what_reg_prints_may_be_anything(text: str) -> None:
    assert all(isinstance(key, str) for key in registry.parsed(text))
