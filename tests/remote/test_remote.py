"""Images on a web server and in an object store: what is read is right, and little is fetched."""

import errno
import hashlib
import os
import subprocess
import sys
import traceback
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import vhdx
import vhdx.remote
from tests.cli.running import USAGE, rows, run, succeed
from tests.journal.test_replay import dirty, images, logged
from tests.mount.mounting import NO_FUSE, lines_of_mounts
from tests.support.build import ImageBuilder
from tests.support.layout import MIB
from tests.support.parts import Block
from tests.support.patterns import pattern
from tests.support.reading import whole
from tests.support.tools import needs
from vhdx.storage import elsewhere
from vhdx.storage.kept_blocks import BLOCK_SIZE as BLOCK

from .server import Server, serving

SIZE = 64 * MIB
BIG = ImageBuilder(SIZE, blocks={number: Block(pattern(number, MIB)) for number in range(0, 64, 2)})
PARENT = ImageBuilder(2 * MIB, blocks={0: Block(pattern(0, MIB))}, seed=40)
CHILD = PARENT.child()
SECRET = "https://user:hunter2@host/a?signature=hunter2"
PRIVATE = {"anon": True, "skip_instance_cache": True}


@pytest.fixture(name="server")
def _server() -> Iterator[Server]:
    files = {"/b/big.vhdx": BIG.build(), "/b/parent.vhdx": PARENT.build(), "/b/child.vhdx": CHILD.build()}
    with serving(files) as server:
        yield server


def options_of(protocol: str, server: Server) -> tuple[str, dict[str, Any]]:
    """The place of a bucket, and how it is reached."""
    if protocol == "http":
        return f"{server.url}/b", {}
    return "s3://b", {**PRIVATE, "endpoint_url": server.url}


@pytest.mark.parametrize("protocol", ["http", "s3"])
def test_little_is_fetched_and_all_of_it_is_right(server: Server, protocol: str) -> None:
    place, options = options_of(protocol, server)
    content = BIG.content()
    with vhdx.remote.open(f"{place}/big.vhdx", **options) as disk:
        assert disk.read_only
        assert disk.pread(4096, 40 * MIB + 1000) == content[40 * MIB + 1000 :][:4096]
        assert server.sent <= MIB
        before = server.sent
        assert disk.pread(512, 40 * MIB + 1000) == content[40 * MIB + 1000 :][:512]
        assert server.sent == before
        assert whole(disk) == content
    assert server.sent <= 33 * MIB + MIB
    assert {line for line in server.asked if "big" not in line} == set()


@pytest.mark.parametrize("protocol", ["http", "s3"])
def test_a_parent_is_fetched_only_if_it_is_named(server: Server, protocol: str, tmp_path: Path) -> None:
    place, options = options_of(protocol, server)
    with pytest.raises(vhdx.ParentNotFoundError):
        vhdx.remote.open(f"{place}/child.vhdx", **options)
    assert not [line for line in server.asked if "parent" in line]
    for parent in (f"{place}/parent.vhdx", str(PARENT.write(tmp_path / "local.vhdx"))):
        with vhdx.remote.open(f"{place}/child.vhdx", parents=[parent], **options) as disk:
            assert whole(disk) == PARENT.content()
    with pytest.raises(vhdx.ParentMismatchError):
        vhdx.remote.open(f"{place}/child.vhdx", parents=f"{place}/big.vhdx", **options)


def test_a_dirty_log_is_replayed(server: Server) -> None:
    before, log, after = dirty()
    logged(log, images()[0], after)
    server.files["/b/dirty.vhdx"] = before.build()
    with vhdx.remote.open(f"{server.url}/b/dirty.vhdx") as disk:
        assert whole(disk) == after.content()
    assert server.files["/b/dirty.vhdx"] == before.build()


def test_servers_without_parts_are_refused(server: Server) -> None:
    server.parts = False
    with pytest.raises(OSError, match="does not deliver parts of files"):
        vhdx.remote.open(f"{server.url}/b/big.vhdx")


def test_what_is_not_there_is_told_without_secrets(server: Server) -> None:
    url = f"{server.url.replace('//', '//user:secret@')}/b/none.vhdx?signature=secret"
    with pytest.raises(FileNotFoundError, match="404") as caught:
        vhdx.remote.open(url)
    assert caught.value.filename == f"{server.url}/b/none.vhdx"
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("raised", "expected", "number"),
    [
        (OSError(f"Max retries exceeded with url: {SECRET}"), OSError, errno.EIO),
        (PermissionError(errno.EACCES, f"Forbidden: {SECRET}"), PermissionError, errno.EACCES),
        (ValueError(f"Port could not be cast: {SECRET}"), ValueError, None),
        (RuntimeError(f"no luck with {SECRET}"), OSError, errno.EIO),
    ],
)
def test_no_failure_tells_secrets(
    raised: Exception, expected: type[Exception], number: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is built on requests raises OSError for everything, with the whole URL in it."""

    def fail(*_: object, **__: object) -> None:
        raise raised

    monkeypatch.setattr("fsspec.core.url_to_fs", fail)
    with pytest.raises(expected, match="https://host/a") as caught:
        vhdx.remote.open(SECRET)
    assert getattr(caught.value, "errno", None) == number
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


def test_a_server_that_fails_later_is_an_error_and_nothing_else(server: Server) -> None:
    with vhdx.remote.open(f"{server.url}/b/big.vhdx") as disk:
        server.failing = True
        with pytest.raises(OSError, match="503"):
            disk.pread(512, 40 * MIB)
        server.failing = False
        server.cut = 1
        with pytest.raises(OSError, match="delivered 65535 of 65536 bytes"):
            disk.pread(512, 40 * MIB)
        server.cut = 0
        assert disk.pread(512, 40 * MIB) == pattern(40, 512)


def test_other_protocols_and_missing_packages_are_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nonsense"):
        vhdx.remote.open("nonsense://a/b.vhdx")
    (tmp_path / "fsspec.py").write_text("raise ImportError\n")
    program = "import vhdx.remote; vhdx.remote.open('https://a/b.vhdx')"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr.splitlines()[-1].endswith('try: pip install "vhdx[remote]"')


# The cache ---------------------------------------------------------------------------------------


class Counted:
    """A file that knows what was read of it."""

    def __init__(self, data: bytes) -> None:
        self.data, self.size, self.at = data, len(data), 0
        self.reads: list[tuple[int, int]] = []

    def seek(self, offset: int) -> None:
        self.at = offset

    def read(self, length: int) -> bytes:
        self.reads.append((self.at, length))
        return self.data[self.at : self.at + length]


DATA = pattern(3, 40 * BLOCK + 100)


@given(st.lists(st.tuples(st.integers(0, len(DATA) + 10), st.integers(0, 20 * BLOCK)), max_size=20))
def test_the_cache_reads_what_a_file_reads(ranges: list[tuple[int, int]]) -> None:
    source = Counted(DATA)
    file = elsewhere.CachedFile(source, "name")
    for offset, length in ranges:
        assert file.seek(offset) == offset
        assert file.read(length) == DATA[offset : offset + length]
    small = [start // BLOCK for start, length in source.reads if length <= 16 * BLOCK]
    assert all(start % BLOCK == 0 for start, length in source.reads if length <= BLOCK)
    assert len(small) <= 41 + len(ranges)


def test_neighbours_are_fetched_at_once_and_what_is_kept_is_bounded() -> None:
    data = bytes(300 * BLOCK)
    source = Counted(data)
    file = elsewhere.CachedFile(source, "name")
    for offset, length in ((BLOCK + 5, 10), (0, 4 * BLOCK), (0, 4 * BLOCK)):
        file.seek(offset)
        file.read(length)
    assert source.reads == [(BLOCK, BLOCK), (0, BLOCK), (2 * BLOCK, 2 * BLOCK)]
    for block in range(300):
        file.seek(block * BLOCK)
        file.read(1)
        assert len(file._kept._blocks) <= 128
    source.reads.clear()
    for start, end in pairwise((299, 172, 171)):
        file.seek(start * BLOCK)
        file.read(1)
        assert start > end
    assert source.reads == []


def test_what_opens_a_path_opens_a_url(server: Server, tmp_path: Path) -> None:
    """No more is fetched of a parent than before: it has to be named."""
    big, child = f"{server.url}/b/big.vhdx", f"{server.url}/b/child.vhdx"
    parent = f"{server.url}/b/parent.vhdx"
    with vhdx.open(big) as disk:
        assert whole(disk) == BIG.content()
    assert vhdx.info(big).virtual_size == SIZE
    assert vhdx.check(vhdx.remote.file(big)).is_clean
    with pytest.raises(vhdx.ParentNotFoundError):
        vhdx.open(child)
    assert not [line for line in server.asked if "parent" in line]
    found = vhdx.check(child, chain=True, parents=parent)
    assert [each.path for each in (found, *found.parents)] == [child, parent]
    made = vhdx.convert(child, tmp_path / "a.raw", parents=parent)
    assert (made.source_format, made.target_format) == ("vhdx", "raw")
    assert (tmp_path / "a.raw").read_bytes() == PARENT.content()
    assert vhdx.compare(child, tmp_path / "a.raw", parents=parent).identical
    assert vhdx.measure(big).compacted_size is None
    with pytest.raises(ValueError, match="only files of this host are written to"):
        vhdx.open(big, "r+")


def test_the_command_takes_a_url(server: Server) -> None:
    big = f"{server.url}/b/big.vhdx"
    assert rows(succeed("info", big))["image"] == big
    assert run("check", big).code == 0
    assert run("check", f"{big}.gone").code == 1


def test_a_child_names_no_parent_elsewhere(server: Server, tmp_path: Path) -> None:
    """What would stand in its locator is no place that anybody finds."""
    url, child = f"{server.url}/b/parent.vhdx", tmp_path / "child.avhdx"
    done = run("create", child, "--parent", url)
    assert done.code == USAGE
    assert f"{url} is elsewhere: a child names a file of this host" in done.err
    assert not child.exists()
    before = CHILD.write(child).read_bytes()
    done = run(
        "rebase", child, "--parent", url, "--safe", "--parent-dir", PARENT.write(tmp_path / "p.vhdx").parent
    )
    assert done.code == USAGE
    assert child.read_bytes() == before


@pytest.mark.skipif(NO_FUSE is not None, reason=str(NO_FUSE))
@needs("fusermount3")
def test_a_mount_of_what_is_elsewhere_names_it(server: Server, tmp_path: Path) -> None:
    """Everybody may see the list of mounts: what a URL says in confidence is not in it."""
    url, folder = f"{server.url}/b/big.vhdx", tmp_path / "mounted"
    folder.mkdir()
    succeed("mount", f"{url}?signature=hunter2", folder)
    assert "hunter2" not in "".join(lines_of_mounts())
    assert (folder / "disk.raw").stat().st_size == SIZE
    assert succeed("unmount", folder) == f"{folder}: unmounted; {url} is as it was\n"


def test_hash(server: Server) -> None:
    """`vhdx.content_hash` takes URLs, too."""
    name = next(iter(server.files))
    with vhdx.open(f"{server.url}{name}") as disk:
        expected = hashlib.sha256(disk.pread(disk.size, 0)).hexdigest()
    assert vhdx.content_hash(f"{server.url}{name}").digest == expected
