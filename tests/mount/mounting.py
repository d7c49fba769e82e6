"""Mounting as people do, with the command; and cleaning up whatever a test left behind."""

import contextlib
import os
import re
import subprocess
import time
from collections.abc import Iterator
from ctypes.util import find_library
from pathlib import Path

import pytest

from tests.cli.running import run
from tests.support.tools import IS_ROOT, needs

PATIENCE = 30.0


def _reason() -> str | None:
    """Why nothing can be mounted on this machine."""
    try:
        os.close(os.open("/dev/fuse", os.O_RDWR))
    except OSError as error:
        return f"no FUSE here: {error}"
    if find_library("fuse3") is None and find_library("fuse") is None:
        return "not installed: libfuse"
    return None


NO_FUSE = _reason()
FUSE = [pytest.mark.skipif(NO_FUSE is not None, reason=str(NO_FUSE)), needs("fusermount3")]
"""The marks of a test that mounts; the device is the machine's to give, so CI skips without it, too."""
LOOP = pytest.mark.skipif(
    not IS_ROOT or not os.path.exists("/dev/loop-control"), reason="no right to loop devices here"
)


def lines_of_mounts() -> list[str]:
    """What the kernel says is mounted by us."""
    return [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if "fuse.vhdx" in line]


def is_mounted(folder: Path) -> bool:
    """Whether a disk is mounted there, served by somebody or not."""
    escaped = re.sub(r"[ \\]", lambda match: f"\\{ord(match[0]):03o}", str(folder))
    return any(f" {escaped} " in line for line in lines_of_mounts())


def process_of(folder: Path) -> int:
    """The process that serves a mount."""
    (line,) = (line for line in lines_of_mounts() if f" {folder} " in line)
    found = re.search(r"vhdx:(\d+):", line)
    assert found is not None
    return int(found[1])


@contextlib.contextmanager
def opened_to_write(file: Path) -> Iterator[int]:
    """A descriptor whose closing may fail, as it does when nobody serves the file any more."""
    descriptor = os.open(file, os.O_RDWR)
    try:
        yield descriptor
    finally:
        with contextlib.suppress(OSError):
            os.close(descriptor)


def ended(process: int) -> bool:
    """Whether the process is gone; a zombie waits only for its parent."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state == "Z"


def wait_for_end(process: int) -> None:
    """Return when a process of somebody else's is gone."""
    until = time.monotonic() + PATIENCE
    while not ended(process):
        assert time.monotonic() < until
        time.sleep(0.01)


@contextlib.contextmanager
def mounted(image: Path, *options: str | Path) -> Iterator[Path]:
    """What the image is mounted as. Unmounted by the command, unless the test has done it."""
    folder = image.with_name(f"{image.name}.mounted")
    folder.mkdir(exist_ok=True)
    done = run("mount", image, folder, *options)
    assert done.code == 0, done.err
    shown = folder if "--files" in options else folder / "disk.raw"
    assert done.out == f"{image}: mounted as {shown}\n"
    try:
        yield shown
        if is_mounted(folder):
            ended_by = run("unmount", folder)
            assert ended_by.code == 0, ended_by.err
    finally:
        if is_mounted(folder):
            subprocess.run(["fusermount3", "-u", "-z", folder], check=True)
