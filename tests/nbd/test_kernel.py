"""A Linux kernel under software emulation that sees the served disk, reads it, writes to it, discards."""

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

import vhdx
from tests.support.layout import MIB
from tests.support.patterns import pattern
from tests.support.tools import needs
from tests.write.checking import is_clean

from .serving import serving

KERNEL = Path(__file__).parents[2] / ".venv" / "kernel"
MODULES = (
    "virtio_ring",
    "virtio",
    "virtio_pci_legacy_dev",
    "virtio_pci_modern_dev",
    "virtio_pci",
    "virtio_blk",
)
SIZE = 64 * MIB
SCRIPT = """#!/bin/busybox sh
/bin/busybox mkdir /proc /sys
/bin/busybox mount -t proc none /proc
/bin/busybox mount -t sysfs none /sys
/bin/busybox mount -t devtmpfs none /dev
for module in /modules/*.ko; do /bin/busybox insmod $module; done
echo "sectors $(/bin/busybox cat /sys/block/vda/size)"
echo "read $(/bin/busybox dd if=/dev/vda bs=1M skip=3 count=4 2>/dev/null | /bin/busybox sha256sum)"
/bin/busybox dd if=/pattern of=/dev/vda bs=4k seek=5000 conv=fsync 2>/dev/null && echo written
/bin/busybox blkdiscard -o 8388608 -l 8388608 /dev/vda && echo discarded
/bin/busybox sync
echo finished
/bin/busybox reboot -f
"""


def entry(name: str, data: bytes, mode: int) -> bytes:
    """A file in an archive of the kind that kernels unpack (cpio, newc)."""
    fields = (1, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
    head = b"070701" + b"".join(b"%08x" % field for field in fields) + name.encode() + b"\0"
    return head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4)


def initial_disk(written: bytes) -> bytes:
    """What the kernel starts with: a shell, the drivers of the disk, and what it has to do."""
    busybox = shutil.which("busybox")
    assert busybox is not None
    archive = entry("bin", b"", 0o040755) + entry("bin/busybox", Path(busybox).read_bytes(), 0o100755)
    archive += entry("init", SCRIPT.encode(), 0o100755) + entry("pattern", written, 0o100644)
    archive += entry("modules", b"", 0o040755)
    for number, name in enumerate(MODULES):
        (module,) = KERNEL.glob(f"lib/modules/*/kernel/drivers/**/{name}.ko")
        archive += entry(f"modules/{number}-{name}.ko", module.read_bytes(), 0o100644)
    return archive + entry("TRAILER!!!", b"", 0)


@needs("qemu-system-x86_64", "busybox")
@pytest.mark.skipif(not KERNEL.exists(), reason="run .ci/kernel to get a kernel")
def test_a_kernel_uses_the_served_disk(tmp_path: Path) -> None:
    path = tmp_path / "disk.vhdx"
    vhdx.create(path, SIZE, block_size=2 * MIB)
    expected = bytearray(SIZE)
    with vhdx.open(path, "r+") as disk:
        for offset in (0, 4 * MIB, 10 * MIB, 40 * MIB):
            disk.pwrite(pattern(1, 3 * MIB, offset), offset)
            expected[offset : offset + 3 * MIB] = pattern(1, 3 * MIB, offset)
    digest = hashlib.sha256(expected[3 * MIB : 7 * MIB]).hexdigest()
    written = pattern(2, MIB + 4096)
    expected[5000 * 4096 : 5000 * 4096 + len(written)] = written
    expected[8 * MIB : 16 * MIB] = bytes(8 * MIB)
    (tmp_path / "initial").write_bytes(initial_disk(written))
    with serving(path, "--write", "--socket", tmp_path / "s") as server:
        said = boot(tmp_path / "initial", server.uri)
        assert server.end() == (0, "")
    for line in (f"sectors {SIZE // 512}", f"read {digest}", "written", "discarded", "finished"):
        assert line in said, said
    assert is_clean(path)
    with vhdx.open(path) as disk:
        assert disk.pread(SIZE, 0) == expected
        discarded = [extent.kind for extent in disk.extents(offset=8 * MIB, length=8 * MIB)]
        assert vhdx.ExtentKind.DATA not in discarded


def boot(initial: Path, uri: str) -> str:
    """What the kernel's console shows until the machine reboots."""
    (kernel,) = KERNEL.glob("boot/vmlinuz-*")
    command = (
        *(
            "qemu-system-x86_64",
            "-accel",
            "tcg",
            "-m",
            "256",
            "-display",
            "none",
            "-no-reboot",
            "-nodefaults",
        ),
        *("-serial", "stdio", "-kernel", kernel, "-initrd", initial),
        *("-append", "console=ttyS0 quiet panic=-1"),
        *("-drive", f"file={uri},format=raw,if=virtio,discard=unmap"),
    )
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=True)
    return done.stdout
