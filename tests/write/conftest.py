"""What holds for all tests of writing: no power is lost here, so nobody waits for disks."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _no_waiting_for_disks(monkeypatch: pytest.MonkeyPatch) -> None:
    def done(descriptor: int) -> None:
        os.fstat(descriptor)  # it is open, at least

    if hasattr(os, "fdatasync"):
        monkeypatch.setattr(os, "fdatasync", done)
    monkeypatch.setattr(os, "fsync", done)


@pytest.fixture
def in_memory() -> Iterator[Path]:
    """A folder whose files cost no time; its file system has holes, but no cheap zeros."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="vhdx-", dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)
