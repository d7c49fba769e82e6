"""Uploading to Azure's blob service, which Azurite stands for: whole processes, against Azure's own library.

That looks for zeros byte by byte, for minutes in 4 GiB: the large disk goes once by each, a smaller one with
the same share of data as often as rounds are.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from tests.blobs.azurite import CONTAINER, KEY, environment, is_installed, running

import vhdx
from bench.conversion import MIB, fill
from bench.harness import OURS, Aim, Row, command, limit_row, our_command, rows_of, take_turns

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.blobs.azurite import Service


USED = 0.01
SIZE, SMALLER = 4096 * MIB, 256 * MIB
_THEIRS = """
import sys
from azure.storage.blob import BlobClient
url, container, name, key, path = sys.argv[1:]
with BlobClient(url, container, name, credential=key) as blob, open(path, "rb") as file:
    blob.upload_blob(file, blob_type="PageBlob", overwrite=True, max_concurrency=8)
"""
_MEASURED = """
import sys, time, vhdx
begin = time.perf_counter()
done = vhdx.upload(sys.argv[1], sys.argv[2])
taken = time.perf_counter() - begin
(line,) = (line for line in open("/proc/self/status") if line.startswith("VmHWM:"))
print(done.sent_size, int(line.split()[1]) / 1024, taken)
"""
AIM = Aim("at least as fast as Azure's own library", lambda ours, theirs: ours <= theirs)


def measure(folder: Path) -> Iterator[Row]:
    """A VHDX with 1 % data."""
    if not is_installed():
        return
    with running(folder) as service:
        small = _image(folder, SMALLER)
        full = folder / "full.vhd"
        vhdx.convert(small, full)
        told = environment(service.port)
        ours = (
            "env",
            *(f"{name}={value}" for name, value in told.items()),
            *our_command(),
            "upload",
            "--force",
        )
        theirs = (sys.executable, "-c", _THEIRS, service.url, CONTAINER, "theirs.vhd", KEY)
        contestants = {
            OURS: command(*ours, small, _target("ours")),
            "azure-storage-blob": command(*theirs, full),
        }
        found = take_turns(contestants)
        yield from rows_of("upload of 256 MiB, 1 % data", found, {"azure-storage-blob": AIM})
        yield from _large(folder, service, theirs)


def _image(folder: Path, size: int) -> Path:
    raw, image = folder / "disk.raw", folder / f"{size}.vhdx"
    fill(raw, size, USED)
    vhdx.convert(raw, image)
    raw.unlink()
    return image


def _target(name: str) -> str:
    return f"az://{CONTAINER}/{name}.vhd"


def _large(folder: Path, service: Service, theirs: tuple[str, ...]) -> Iterator[Row]:
    """The disk of 4 GiB, once: what it takes us, and Azure's own library."""
    image, full = _image(folder, SIZE), folder / "full.vhd"
    vhdx.convert(image, full, overwrite=True)
    words = [sys.executable, "-c", _MEASURED, str(image), _target("large")]
    told = {**os.environ, **environment(service.port)}
    done = subprocess.run(words, check=True, capture_output=True, text=True, env=told)
    sent, resident, taken = map(float, done.stdout.split())
    data = round(SIZE // MIB * USED)
    what = "upload of 4 GiB, 1 % data"
    begin = time.perf_counter()
    subprocess.run([*theirs, str(full)], check=True, capture_output=True)
    yield from rows_of(
        f"{what}, once",
        {OURS: taken, "azure-storage-blob": time.perf_counter() - begin},
        {"azure-storage-blob": AIM},
    )
    yield limit_row(f"{what}: sent", sent / MIB, data * 1.02, "MiB", "at most 1.02x of what is not zeros")
    yield limit_row(f"{what}: resident memory", resident, 128.0, "MiB", "within 128 MiB")
