"""The host's list of mounts, whatever others put into it."""

import errno
import os
from pathlib import Path

import pytest

from vhdx.mount.unmount import Mounted, _disks_in, _watched

OURS = "36 35 0:50 / /mnt/a\\040b ro,nosuid - fuse.vhdx vhdx:123:/x:y ro,user_id=0\n"


@pytest.mark.parametrize(
    "other",
    [
        "37 35 0:51 / /mnt/b\x0cc rw - ext4 /dev/sda1 rw\n",
        "37 35 0:51 / /mnt/b\u2028c rw - ext4 /dev/sda1 rw\n",
        "37 35 0:51 / /mnt/b rw - tmpfs  rw\n",
        "37 35 0:51 / /mnt/b rw - fuse.vhdx nobody rw\n",
        "37 35 0:51 / /mnt/b rw - fuse.vhdx vhdx:one:/x rw\n",
        "37 35 0:51 / /mnt/b rw - fuse.vhdx vhdx:1: rw\n",
        "",
    ],
)
def test_mounts_of_others_are_passed_over(other: str) -> None:
    assert list(_disks_in(other + OURS)) == [Mounted("/mnt/a b", 123, "/x:y", read_only=True)]


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="this host opens no processes")
@pytest.mark.parametrize("process", [2**22 + 1, 99999999999999])
@pytest.mark.parametrize("may_look", [True, False])
def test_a_process_that_is_gone_is_not_waited_for(
    process: int, may_look: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may not look into another user's mount; no number is so large on Linux."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as patch:
        if not may_look:
            patch.setattr(os, "stat", refuse)
        with _watched(Mounted(str(tmp_path), process, "/x", read_only=True)) as watched:
            assert watched is None
