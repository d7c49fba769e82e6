"""QEMU and this library in turn on one image, each after the other's clean close or after its death."""

import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import vhdx
from tests.support.layout import GIB, MIB
from tests.support.naive import NaiveError
from tests.support.tools import needs
from vhdx.disk.open import open_disk
from vhdx.ops.repair import repair

from .checking import (
    assert_sound,
    copied,
    is_clean,
    left_by_a_crash,
    model_of,
    qemu_check,
    qemu_content,
    structure_of,
)
from .images import of_qemu
from .model import Model

pytestmark = needs("qemu-img", "qemu-io")
ROUNDS = 5


def qemu_io(path: Path, *commands: str) -> None:
    """Run commands of `qemu-io` on an image."""
    words = [part for command in commands for part in ("-c", command)]
    done = subprocess.run(
        ["qemu-io", "-f", "vhdx", *words, str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    assert "failed" not in done.stdout + done.stderr, f"{done.stdout}{done.stderr}"


def by_qemu(path: Path, model: Model, chance: random.Random, size: int) -> None:
    """Some writes by QEMU, whole sectors of one byte each."""
    commands = []
    for _ in range(chance.randint(1, 5)):
        offset = chance.randrange(size // 512) * 512
        length = min(chance.choice([512, 4096, 65536, MIB + 512]), size - offset)
        byte = chance.randrange(1, 256)
        commands.append(f"write -P {byte} {offset} {length}")
        model.write(bytes([byte]) * length, offset)
    qemu_io(path, *commands, "flush")


def by_us(path: Path, model: Model, chance: random.Random, size: int) -> None:
    """Some writes, zeros and trims by this library."""
    with open_disk(path, "r+") as disk:
        for _ in range(chance.randint(1, 6)):
            offset = chance.randrange(size)
            length = min(chance.choice([1, 512, 5000, MIB, 3 * MIB]), size - offset)
            if chance.random() < 0.6:
                data = chance.randbytes(length)
                disk.pwrite(data, offset)
                model.write(data, offset)
            elif chance.random() < 0.5:
                disk.zero(length=length, offset=offset)
                model.zero(length, offset)
            else:
                start = offset // disk.block_size * disk.block_size
                length = min(disk.block_size, size - start)
                disk.trim(length=length, offset=start)
                if disk.disk_type != "fixed":
                    model.zero(length, start)
            if chance.random() < 0.3:
                disk.flush()


IMAGES: dict[str, Callable[[Path], object]] = {
    "QEMU, 1 MiB": of_qemu("9M", "block_size=1M"),
    "QEMU, 2 MiB": of_qemu("9M", "block_size=2M"),
    "QEMU, default": of_qemu("19M"),
    "QEMU, fixed": of_qemu("9M", "block_size=2M", "subformat=fixed"),
    "ours, 1 MiB": lambda path: vhdx.create(path, 9 * MIB + 512, block_size=MIB),
    "ours, 32 MiB": lambda path: vhdx.create(path, 40 * MIB, block_size=32 * MIB),
    "ours, fixed": lambda path: vhdx.create(path, 9 * MIB, block_size=MIB, disk_type="fixed"),
}


@pytest.mark.parametrize("name", IMAGES)
def test_in_turn(name: str, tmp_path: Path) -> None:
    path = tmp_path / "a.vhdx"
    IMAGES[name](path)
    model = model_of(path)
    with open_disk(path) as disk:
        size = disk.size
    chance = random.Random(name)
    for _ in range(ROUNDS):
        by_qemu(path, model, chance, size)
        assert_sound(path, model)
        by_us(path, model, chance, size)
        assert_sound(path, model)
        qemu_check(path)
    content = qemu_content(path)
    assert model.seen_in(lambda length, offset: content[offset : offset + length]) == model.content()


def kill_qemu(path: Path, chance: random.Random) -> None:
    """QEMU allocates blocks, one after the other, and is killed in the middle."""
    with open_disk(path) as disk:
        blocks = disk.size // disk.block_size
        step = disk.block_size
    order = chance.sample(range(blocks), blocks)
    with subprocess.Popen(
        ["qemu-io", "-f", "vhdx", str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write("".join(f"write -P {1 + block % 255} {block * step} 4096\n" for block in order))
        child.stdin.flush()
        child.stdout.read(chance.randrange(1, 3000))
        time.sleep(chance.random() / 200)
        child.kill()
        child.stdout.read()
        child.stdin.close()
        assert child.wait() == -signal.SIGKILL


def has_a_sequence(path: Path) -> bool:
    """QEMU names a new log in the headers before it writes an entry: killed between, nobody can open it."""
    try:
        structure_of(path)
    except NaiveError as error:
        assert "no active sequence" in str(error)  # noqa: PT017  other errors are to be seen
        with pytest.raises(vhdx.CorruptImageError, match="no complete sequence"):
            open_disk(path, "r+")
        return False
    return True


def test_a_log_that_qemu_left_dirty(tmp_path: Path) -> None:
    """Replayed in memory by a reader, in its place by a writer and by QEMU itself: all see the same."""
    dirty = 0
    for seed in range(200):
        path = tmp_path / "a.vhdx"
        path.unlink(missing_ok=True)
        of_qemu("200M", "block_size=1M")(path)
        kill_qemu(path, random.Random(seed))
        if is_clean(path):
            continue
        if not has_a_sequence(path):
            continue
        dirty += 1
        model = model_of(path)
        left_by_a_crash(path, model)
        theirs = copied(path, tmp_path / "theirs.vhdx")
        qemu_check(theirs, "-r", "all")
        assert_sound(theirs, model)
        repaired = copied(path, tmp_path / "repaired.vhdx")
        assert repair(repaired).done
        assert_sound(repaired, model)
        assert is_clean(repaired)
        with open_disk(path, "r+") as disk:
            model.assert_equal(disk.pread)
            disk.pwrite(b"ours", 3 * MIB + 5)
            model.write(b"ours", 3 * MIB + 5)
            model.assert_equal(disk.pread)
        assert_sound(path, model)
        assert is_clean(path)
        qemu_check(path)
        if dirty == 4:
            return
    pytest.fail("QEMU was never killed at the right moment")


def test_qemu_takes_over_a_commit_of_many_pages(tmp_path: Path) -> None:
    """QEMU 7.2 refuses log entries of more than one descriptor sector: 126 pages."""
    path = tmp_path / "a.vhdx"
    pages = 300
    vhdx.create(path, pages * 512 * MIB, block_size=MIB, log_size=4 * MIB)
    with open_disk(path, "r+") as disk:
        disk.zero(length=disk.size, offset=0)
        disk.pwrite(b"x" * 4096, 150 * GIB // 2)
        disk.flush()
        killed = copied(path, tmp_path / "killed.vhdx")
    assert not is_clean(killed)
    ours = copied(killed, tmp_path / "ours.vhdx")
    qemu_check(killed, "-r", "all")
    repair(ours)
    for heir in (killed, ours, path):
        assert is_clean(heir)
        found = structure_of(heir)
        assert list(found.present) == [75 * 1024]
        assert found.states.count(2) == pages * 512 - 1


def test_qemu_uses_an_image_with_a_log_that_we_left_dirty(tmp_path: Path) -> None:
    """QEMU replays our log when it opens the image to write, and we find its writes beside ours."""
    path = tmp_path / "a.vhdx"
    vhdx.create(path, 9 * MIB, block_size=MIB)
    model = model_of(path)
    with open_disk(path, "r+") as disk:
        for block in (5, 1, 7):
            disk.pwrite(bytes([block]) * 5000, block * MIB + 700)
            model.write(bytes([block]) * 5000, block * MIB + 700)
            disk.flush()
        killed = copied(path, tmp_path / "killed.vhdx")
    assert not is_clean(killed)
    qemu_io(killed, f"write -P 9 {2 * MIB} 4096", f"write -P 8 {5 * MIB} 512")
    model.write(b"\x09" * 4096, 2 * MIB)
    model.write(b"\x08" * 512, 5 * MIB)
    assert_sound(killed, model)
    with open_disk(killed, "r+") as disk:
        disk.trim(length=MIB, offset=MIB)
        model.zero(MIB, MIB)
    assert_sound(killed, model)
    qemu_check(killed)
