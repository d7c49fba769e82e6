"""Backup programs take disks as the how-to page says, and find again what did not change."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import vhdx
from tests.docs.scenes import chain
from tests.support.layout import MIB
from tests.support.tools import needs
from vhdx.text import shell_word

PAGE = (Path(__file__).parents[2] / "docs" / "howto" / "backup.md").read_text()


def lines_of(program: str) -> list[str]:
    """The lines of the page that a program is in, and those between them."""
    blocks = re.findall(r"(?:^    .+\n)+", PAGE, re.MULTILINE)
    return [line.strip() for block in blocks if program in block for line in block.splitlines()]


class Shell:
    """Runs lines in a folder of its own, with this library's command and homes that nobody else has."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "bin").mkdir()
        tool = folder / "bin" / "vhdx"
        tool.write_text(f'#!/bin/sh\nexec {shell_word(sys.executable)} -m vhdx "$@"\n')
        tool.chmod(0o755)
        self._environment = {
            **os.environ,
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
            "BORG_BASE_DIR": str(folder / "home"),
            "RESTIC_REPOSITORY": str(folder / "restic"),
            "RESTIC_PASSWORD": "none",
            "KOPIA_PASSWORD": "none",
            "KOPIA_CONFIG_PATH": str(folder / "home" / "kopia.config"),
            "KOPIA_CACHE_DIRECTORY": str(folder / "home"),
            "KOPIA_LOG_DIR": str(folder / "home"),
            "KOPIA_CHECK_FOR_UPDATES": "false",
            "RESTIC_CACHE_DIR": str(folder / "home"),
        }

    def __call__(self, line: str) -> str:
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", line],
            cwd=self.folder,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"
        return done.stdout


@pytest.fixture(name="shell")
def _shell(tmp_path: Path) -> Shell:
    chain(tmp_path)
    return Shell(tmp_path)


@needs("borg", "nbdcopy", "fusermount3")
def test_borg(shell: Shell) -> None:
    (shell.folder / "point").mkdir()
    for line in lines_of("borg"):
        shell(line)
    assert vhdx.compare(shell.folder / "restored.vhdx", shell.folder / "tuesday.avhdx").identical
    assert original_bytes(shell, "mounted") >= 64 * MIB
    shutil.move(shell.folder / "restored.vhdx", shell.folder / "other.vhdx")
    vhdx.convert(
        shell.folder / "other.vhdx", shell.folder / "moved.vhdx", options=vhdx.ImageOptions(block_size=MIB)
    )
    with vhdx.open(shell.folder / "moved.vhdx", "r+") as disk:
        disk.pwrite(b"changed", 7 * MIB)
    (create,) = (line for line in lines_of("borg") if "--stdin-name" in line)
    shell(create.replace("tuesday.avhdx", "moved.vhdx").replace("::tuesday", "::moved"))
    assert 0 < new_bytes(shell, "moved") < 64 * 1024  # one piece of four that hold something
    assert original_bytes(shell, "moved") == 64 * MIB


def _stats(shell: Shell, archive: str) -> dict[str, int]:
    found = json.loads(shell(f"borg info --json repo::{archive}"))["archives"][0]["stats"]
    assert isinstance(found, dict)
    return found


def new_bytes(shell: Shell, archive: str) -> int:
    """What only this archive has; borg's own words on each archive are some KiB of it."""
    return _stats(shell, archive)["deduplicated_size"]


def original_bytes(shell: Shell, archive: str) -> int:
    """What it was made of."""
    return _stats(shell, archive)["original_size"]


@pytest.mark.skipif(shutil.which("kopia") is None, reason="not installed, and not in Debian: kopia")
@needs("nbdcopy")
def test_kopia(shell: Shell) -> None:
    for line in lines_of("kopia"):
        shell(line)
    assert vhdx.compare(shell.folder / "back.vhdx", shell.folder / "tuesday.avhdx").identical


@pytest.mark.slow  # borg does the same in each run
@needs("restic", "nbdcopy")
def test_restic(shell: Shell) -> None:
    for line in lines_of("restic"):
        shell(line)
    assert vhdx.compare(shell.folder / "again.vhdx", shell.folder / "tuesday.avhdx").identical
