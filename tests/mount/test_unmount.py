"""The host's list of mounts, whatever others put into it."""

import pytest

from vhdx.mount.unmount import Mounted, _disks_in

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
