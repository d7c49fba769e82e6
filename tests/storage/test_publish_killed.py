"""Promise 12 for who is killed: at every system call the name stands for nothing or for the whole file.

Where names can only be claimed by an empty file that one may stay; then the next run removes it.
"""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from vhdx.storage.publish import new_file

from .ways import WAYS, Interposed, Way, force

NEW = b"new" * 1000
NAME = "file"
MOST_CALLS = 100


def publish(path: Path, *, overwrite: bool) -> list[str]:
    """Make the file; what was said of files that were left."""
    said: list[str] = []
    with new_file(str(path), overwrite=overwrite, remark=said.append) as storage:
        storage.write_at(NEW, 0)
    return said


def killed(job: Callable[[], object], way: Way, at: int, *, behind: bool) -> bool:
    """Run the job in a process that is killed before or behind its call numbered ``at``; False if it ends."""
    process = os.fork()
    if process == 0:
        with pytest.MonkeyPatch.context() as patch:
            force(way, patch)
            calls = Interposed(patch)
            calls.arm(at, lambda: os.kill(os.getpid(), signal.SIGKILL), behind=behind)
            try:
                job()
            finally:
                os._exit(0)
    _, status = os.waitpid(process, 0)
    return os.WIFSIGNALED(status)


@pytest.mark.parametrize("behind", [pytest.param(False, marks=pytest.mark.slow), True])
@pytest.mark.parametrize("old", [None, b"old"])
@pytest.mark.parametrize("way", WAYS)
def test_promise_12_killed_at_every_call(
    tmp_path: Path, way: Way, old: bytes | None, *, behind: bool
) -> None:
    path = tmp_path / NAME
    claims = 0
    for at in range(MOST_CALLS):
        if old is not None:
            path.write_bytes(old)
        if not killed(lambda: publish(path, overwrite=old is not None), way, at, behind=behind):
            break
        found = path.read_bytes() if path.exists() else None
        if way == "claim" and old is None and found == b"":
            claims += 1
            path_is_free = True
        else:
            assert found in (old, NEW), f"killed at call {at}"
            path_is_free = found is None
        left = [name for name in os.listdir(tmp_path) if name != NAME]
        assert len(left) <= 1
        with pytest.MonkeyPatch.context() as patch:
            force(way, patch)
            said = publish(path, overwrite=not path_is_free)
        assert len(said) == len(left)
        assert path.read_bytes() == NEW
        assert os.listdir(tmp_path) == [NAME], f"killed at call {at}"
        path.unlink()
    assert at > 5
    assert (claims > 0) == (way == "claim" and old is None)
