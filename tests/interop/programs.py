"""Programs of others, each as a function from an image to the bytes of its disk."""

import contextlib
import importlib
import json
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support.tools import REQUIRED, needs


def run(*command: str | Path, code: int | None = 0) -> str:
    """The output of a program that ends with this exit code."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert code is None or done.returncode == code, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def _module(name: str, package: str) -> Any:
    """A package of Python; where it is missing the test is skipped, or fails where `CI` is set."""
    try:
        return importlib.import_module(name)
    except ImportError:
        if REQUIRED:
            raise
        pytest.skip(f"not installed: {package}")


def by_qemu(path: Path, ranges: Sequence[tuple[int, int]] | None = None) -> list[bytes]:
    """Ranges (offset, length) of the disk as ``qemu-img convert`` reads it; None means all of it."""
    raw = path.with_name(f"{path.name}.qemu.raw")
    run("qemu-img", "convert", "-f", "vhdx", "-O", "raw", path, raw)
    with open(raw, "rb") as file:
        found = []
        for offset, length in ranges or [(0, raw.stat().st_size)]:
            file.seek(offset)
            found.append(file.read(length))
    raw.unlink()
    return found


def by_seven_zip(path: Path) -> bytes:
    """The whole disk as 7-Zip unpacks it."""
    done = subprocess.run(["7zz", "x", "-tvhdx", "-so", path], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def by_pyvhdi(path: Path, *parents: Path) -> Any:
    """An opened `pyvhdi.file` with its parents, the nearest first, set."""
    pyvhdi = _module("pyvhdi", "libvhdi-python")
    file = pyvhdi.file()
    file.open(str(path))
    if parents:
        parent = by_pyvhdi(*parents)
        file.set_parent(parent)
    return file


def pyvhdi_bytes(path: Path, *parents: Path) -> bytes:
    """The whole disk as libvhdi reads it."""
    file = by_pyvhdi(path, *parents)
    data = file.read_buffer_at_offset(file.get_media_size(), 0)
    assert isinstance(data, bytes)
    return data


@contextlib.contextmanager
def by_dissect(path: Path) -> Iterator[Any]:
    """The disk opened by dissect.hypervisor, which finds parents by itself and closes nothing."""
    disk = _module("dissect.hypervisor.disk.vhdx", "dissect.hypervisor").VHDX(path)
    try:
        yield disk
    finally:
        layer = disk
        while layer is not None:
            layer.fh.close()
            layer = layer.parent


def dissect_bytes(path: Path) -> bytes:
    """The whole disk as dissect reads it."""
    with by_dissect(path) as disk:
        data = disk.read(disk.size)
    assert isinstance(data, bytes)
    return data


def qemu_info(path: Path) -> dict[str, Any]:
    """What ``qemu-img info`` says."""
    found = json.loads(run("qemu-img", "info", "--output=json", "-f", "vhdx", path))
    assert isinstance(found, dict)
    return found


def qemu_check(path: Path) -> dict[str, Any]:
    """What ``qemu-img check`` says of a sound image."""
    found = json.loads(run("qemu-img", "check", "--output=json", "-f", "vhdx", path))
    assert isinstance(found, dict)
    return found


QEMU = needs("qemu-img")
QEMU_IO = needs("qemu-img", "qemu-io")
SEVEN_ZIP = needs("7zz")
