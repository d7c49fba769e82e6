"""A host that is full when a commit wants its space: nothing has begun, and later it goes on."""

import contextlib
import errno
import re
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

import vhdx
from tests.cli.running import COMMAND, run
from tests.support.faults import failing_host, fails_after_half
from tests.support.layout import MIB
from tests.support.patterns import pattern
from tests.write.checking import allocated, copied, is_clean, structure_of
from vhdx.disk.open import open_disk

from .scenarios import SCENARIOS, Session

FULL = OSError(errno.ENOSPC, "full")


def test_a_flush_without_space_for_the_log_can_be_repeated(tmp_path: Path) -> None:
    path = tmp_path / "disk.vhdx"
    vhdx.create(path, 8 * MIB, block_size=MIB)
    full: Any = mock.patch("vhdx.storage.host.reserve", side_effect=FULL)
    with open_disk(path, "r+") as disk:
        disk.pwrite(pattern(1, MIB), MIB)
        with full, pytest.raises(OSError, match="full") as caught:
            disk.flush()
        assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(path))
        assert disk.pread(MIB, MIB) == pattern(1, MIB)
        disk.pwrite(pattern(2, 512), 5 * MIB)
        disk.flush()
    assert is_clean(path)
    with open_disk(path) as disk:
        assert disk.pread(MIB, MIB) == pattern(1, MIB)
        assert disk.pread(512, 5 * MIB) == pattern(2, 512)


def test_the_log_and_the_table_have_their_space_when_a_commit_begins(tmp_path: Path) -> None:
    path = tmp_path / "disk.vhdx"
    vhdx.create(path, 8 * MIB, block_size=MIB)
    claimed: list[tuple[int, int]] = []

    def reserve(descriptor: int, file_offset: int, length: int) -> bool:
        claimed.append((file_offset, length))
        return True

    with open_disk(path, "r+") as disk, mock.patch("vhdx.storage.host.reserve", reserve):
        disk.pwrite(b"x", 0)
        disk.flush()
        table = disk.layers[0].regions.bat.file_offset
        log = disk.layers[0].header.log_offset
    # The empty entry, then the commit, each with room for the empty entry of a close that cuts the file.
    assert claimed == [(log, 2 * 4096), (log + 4096, 3 * 4096), (table, 4096)]


def test_what_a_failed_commit_took_is_given_back_on_closing(tmp_path: Path) -> None:
    path = tmp_path / "disk.vhdx"
    vhdx.create(path, 64 * MIB, block_size=MIB)
    with open_disk(path, "r+") as disk:
        disk.pwrite(pattern(1, 4 * MIB), 0)
        disk.flush()
        disk.trim(length=MIB, offset=MIB)
        disk.flush()
    length, taken = path.stat().st_size, allocated(path)
    disk = open_disk(path, "r+")
    disk.pwrite(pattern(2, 8 * MIB), 32 * MIB)
    disk.flush()
    disk.pwrite(pattern(2, 8 * MIB), 40 * MIB)
    disk.pwrite(b"in place", 0)
    with (
        mock.patch("vhdx.storage.host.reserve", side_effect=FULL),
        pytest.raises(
            OSError,
            match=r"were wanted where .* are free, the file takes .*\(\d+ MiB more than when it was opened\)",
        ),
    ):
        disk.close()
    disk.close()
    assert path.stat().st_size == length + 7 * MIB  # the first block went into the gap
    assert allocated(path) <= taken + 9 * MIB
    assert is_clean(path)
    with open_disk(path) as disk:
        assert disk.pread(8 * MIB, 32 * MIB) == pattern(2, 8 * MIB)
        assert not any(disk.pread(8 * MIB, 40 * MIB))


@pytest.mark.parametrize("name", ["many blocks", "junk in free space", "reuse", "zero", "short last block"])
def test_whatever_call_finds_no_space_nothing_is_kept_for_nobody(name: str, in_memory: Path) -> None:
    """Each call of a step fails in its middle, the disk is closed; the file ends with what it holds."""
    scenario, original = SCENARIOS[name], in_memory / "original.vhdx"
    scenario.make(original)
    at = calls = 0
    while at <= calls:
        session = Session(copied(original, in_memory / "copy.vhdx"))
        scenario.before(session)
        with failing_host(in_memory / "copy.vhdx") as host:
            host.at, host.fault = at, fails_after_half
            with contextlib.suppress(OSError):
                scenario.step(session)
            calls, struck = len(host.calls), host.struck
        poisoned = False
        try:
            session.close()
        except vhdx.ImageFailedError:
            poisoned = True
        if not poisoned:
            found = structure_of(in_memory / "copy.vhdx")
            end = max(claim.end for claim in found.claims)
            before = original.stat().st_size  # what nothing explains at its end stays, whole MiB of it
            assert found.length in (end, before, -(-before // MIB) * MIB), struck
        at += 1


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 40 MiB."""
    file, folder = tmp_path / "fs.img", tmp_path / "mounted"
    with file.open("wb") as made:
        made.truncate(40 * MIB)
    folder.mkdir()
    if shutil.which("mkfs.ext4") is None:
        pytest.skip("there is no mkfs.ext4")
    subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", file], check=True)
    if subprocess.run(["mount", "-o", "loop", file, folder], check=False, capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    yield folder
    subprocess.run(["umount", folder], check=True)


def free(folder: Path) -> int:
    return shutil.disk_usage(folder).free


def test_a_real_host_that_is_full_has_its_space_back(small: Path) -> None:
    path = small / "disk.vhdx"
    vhdx.create(path, 100 * MIB)
    before = free(small)
    with pytest.raises(OSError, match="were wanted where"), open_disk(path, "r+") as disk:
        disk.pwrite(pattern(1, 60 * MIB), 0)
    kept = path.stat().st_size - 4 * MIB
    assert free(small) >= before - kept - MIB
    assert is_clean(path)
    with open_disk(path) as disk:
        kept = sum(extent.length for extent in disk.extents() if extent.kind is vhdx.ExtentKind.DATA)
    before = free(small)
    with pytest.raises(OSError, match="were wanted where"):
        vhdx.set_properties(path, disk_type="fixed")
    assert free(small) >= before - MIB
    assert is_clean(path)
    (small / "filler").write_bytes(bytes(free(small) - MIB // 2))
    before = free(small)
    with pytest.raises(OSError, match="were wanted where"):
        vhdx.set_user_item(path, uuid.uuid4(), pattern(1, MIB))
    assert free(small) >= before - 64 * 1024
    assert is_clean(path)


def test_verbs_say_how_far_they_came(small: Path, tmp_path: Path) -> None:
    """What `write` says is written is there; what `convert` had written is gone."""
    path, content = small / "disk.vhdx", pattern(1, 60 * MIB)
    vhdx.create(path, 100 * MIB, block_size=MIB)
    done = subprocess.run(
        [*COMMAND, "write", str(path), "0"], input=content, capture_output=True, check=False
    )
    found = re.search(rb"; (\d+) MiB had been written, and stay\n", done.stderr)
    assert found is not None, done.stderr
    kept = int(found[1]) * MIB
    with vhdx.open(path) as disk:
        assert disk.pread(kept, 0) == content[:kept]
        assert not any(disk.pread(MIB, kept))
    again = subprocess.run(
        [*COMMAND, "write", str(path), "90M"], input=content, capture_output=True, check=False
    )
    assert again.stderr.endswith(b"; nothing had been written\n")
    path.unlink()
    (tmp_path / "disk.raw").write_bytes(content)
    sentence = run("convert", tmp_path / "disk.raw", path).sentence
    assert re.search(r"; \d+ MiB of data had been written, and went with the new file$", sentence)
    assert [each.name for each in small.iterdir() if each.name != "lost+found"] == []
