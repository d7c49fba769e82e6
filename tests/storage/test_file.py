"""Files of the host and file objects: exact reads, whatever the host does to them."""

import errno
import io
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.calls import files_held, pwrite
from tests.support.reading import around
from vhdx.storage.base import ReadableStorage, fill_zeros
from vhdx.storage.file import FileStorage, open_for_reading
from vhdx.storage.stream import StreamStorage

DATA = bytes(n % 251 for n in range(100_000))


@pytest.fixture(name="path")
def _path(tmp_path: Path) -> Path:
    (tmp_path / "file").write_bytes(DATA)
    return tmp_path / "file"


def plainly(path: Path, _: pytest.MonkeyPatch) -> ReadableStorage:
    return open_for_reading(str(path))


def in_short_reads(path: Path, monkeypatch: pytest.MonkeyPatch) -> ReadableStorage:
    """As of a file system over a network: no call gives more than 1000 bytes."""
    really_pread, really_preadv = os.pread, os.preadv
    monkeypatch.setattr(os, "pread", lambda fd, length, at: really_pread(fd, min(length, 1000), at))
    monkeypatch.setattr(
        os, "preadv", lambda fd, buffers, at: really_preadv(fd, [memoryview(buffers[0])[:1000]], at)
    )
    return open_for_reading(str(path))


def as_a_file_object(path: Path, _: pytest.MonkeyPatch) -> ReadableStorage:
    return StreamStorage(io.BytesIO(path.read_bytes()), str(path))


WAYS = [plainly, in_short_reads, as_a_file_object]
Way = Callable[[Path, pytest.MonkeyPatch], ReadableStorage]


@pytest.mark.parametrize("way", WAYS)
def test_promise_22_a_read_is_exact_in_every_way(
    way: Way, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = way(path, monkeypatch)
    assert storage.size() == len(DATA)
    assert storage.name == str(path)
    for length, start in (*around((0, 1000, 5000, len(DATA)), len(DATA)), (len(DATA), 0), (0, 7)):
        assert storage.read(length, start) == DATA[start : start + length]
        buffer = memoryview(bytearray(b"\xff" * (length + 2)))
        storage.read_into(buffer[1:-1], start)
        assert bytes(buffer) == b"\xff" + DATA[start : start + length] + b"\xff"
    storage.close()
    assert files_held(path.parent) == []


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("length", "start"), [(1, len(DATA)), (2, len(DATA) - 1), (len(DATA) + 1, 0), (10, 2**40)]
)
def test_a_read_past_the_end_is_an_error_in_every_way(
    way: Way, length: int, start: int, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = way(path, monkeypatch)
    for read in (
        lambda: storage.read(length, start),
        lambda: storage.read_into(memoryview(bytearray(length)), start),
    ):
        with pytest.raises(OSError, match=f"ends inside {length} bytes at offset {start}") as caught:
            read()
        assert (caught.value.errno, caught.value.filename) == (errno.EIO, str(path))
    storage.close()


def test_a_file_that_is_cut_while_it_is_read_is_an_error(path: Path) -> None:
    storage = open_for_reading(str(path))
    os.truncate(path, 50_000)
    assert storage.read(100, 49_900) == DATA[49_900:50_000]
    with pytest.raises(OSError, match="ends inside"):
        storage.read(101, 49_900)
    storage.close()


def test_a_failing_read_is_the_hosts_own_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: Any) -> bytes:
        raise OSError(errno.EIO, "the disk is on fire")

    storage = open_for_reading(str(path))
    monkeypatch.setattr(os, "pread", failing)
    with pytest.raises(OSError, match="on fire"):
        storage.read(1, 0)
    storage.close()


def test_promise_21_a_read_that_runs_while_its_file_is_closed_never_gives_other_bytes(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    ours.write_bytes(b"o" * 65536)
    theirs.write_bytes(b"t" * 65536)
    wrong: list[bytes] = []

    def keep_reading(storage: ReadableStorage, started: threading.Event) -> None:
        started.set()
        try:
            while True:
                data = storage.read(4096, 4096)
                if data != b"o" * 4096:
                    wrong.append(data)
        except OSError:
            return

    for _ in range(30):
        storage, started = open_for_reading(str(ours)), threading.Event()
        threads = [threading.Thread(target=keep_reading, args=(storage, started)) for _ in range(2)]
        for thread in threads:
            thread.start()
        started.wait()
        storage.close()
        others = [open_for_reading(str(theirs)) for _ in range(4)]
        for thread in threads:
            thread.join()
        for other in others:
            other.close()
    assert wrong == []


def test_the_number_of_a_closed_descriptor_is_not_given_to_others_while_it_may_be_used(
    tmp_path: Path,
) -> None:
    (tmp_path / "ours").write_bytes(b"ours")
    (tmp_path / "theirs").write_bytes(b"theirs")
    storage = open_for_reading(str(tmp_path / "ours"))
    assert isinstance(storage, FileStorage)
    number = storage._descriptor
    storage.close()
    assert files_held(tmp_path) == []
    others = [os.open(tmp_path / "theirs", os.O_RDONLY) for _ in range(20)]
    assert number not in others
    with pytest.raises(OSError, match="ends inside"):
        storage.read(4, 0)
    for other in others:
        os.close(other)
    del storage
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(number)


def test_closing_twice_does_no_harm(path: Path) -> None:
    storage = open_for_reading(str(path))
    storage.close()
    storage.close()


def test_promise_21_a_storage_that_is_forgotten_lets_go_of_its_file(path: Path) -> None:
    storage = open_for_reading(str(path))
    assert files_held(path.parent) == [str(path)]
    del storage
    assert files_held(path.parent) == []


def test_descriptors_are_not_inherited(path: Path) -> None:
    storage = open_for_reading(str(path))
    assert isinstance(storage, FileStorage)
    assert not os.get_inheritable(storage._descriptor)
    storage.close()
    assert not os.get_inheritable(storage._descriptor)


def test_no_image_has_the_number_of_a_standard_stream(path: Path) -> None:
    """What this process prints would go into the image."""
    program = (
        "import os, sys\n"
        "from vhdx.storage import file, publish\n"
        "os.closerange(0, 3)\n"
        "reading = file.open_for_reading(sys.argv[1])\n"
        "lent = reading.lent()\n"
        "reading.close()\n"
        "writing = file.open_for_writing(sys.argv[1], lock=False)\n"
        "temporary = file.temporary_file()\n"
        "with publish.new_file(sys.argv[1] + '.new', overwrite=False) as new:\n"
        "    numbers = [opened._descriptor for opened in (reading, lent, writing, temporary, new)]\n"
        "    wrong = [number for number in numbers if number < 3 or os.get_inheritable(number)]\n"
        "assert os.open(os.devnull, os.O_RDONLY) == 0\n"
        "os._exit(len(wrong))\n"
    )
    assert subprocess.run([sys.executable, "-c", program, path], check=False).returncode == 0


def test_two_names_of_one_file_have_one_identity(path: Path) -> None:
    os.link(path, path.with_name("link"))
    path.with_name("symlink").symlink_to(path)
    path.with_name("copy").write_bytes(DATA)
    found = []
    for name in ("file", "link", "symlink", "copy"):
        storage = open_for_reading(str(path.with_name(name)))
        assert isinstance(storage, FileStorage)
        found.append(storage.identity())
        storage.close()
    assert found[0] == found[1] == found[2] != found[3]


def test_a_file_object_is_closed_only_by_who_opened_it() -> None:
    for owned in (True, False):
        file = io.BytesIO(b"data")
        StreamStorage(file, owned=owned).close()
        assert file.closed is owned


@pytest.mark.parametrize(
    ("name", "expected"), [("a name", "a name"), (b"bytes", "bytes"), (7, "<Named>"), (None, "<Named>")]
)
def test_what_a_file_object_is_called(name: Any, expected: str) -> None:
    class Named(io.BytesIO):
        pass

    file = Named()
    file.name = name
    assert StreamStorage(file).name == expected


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        for at in (0, 3 << 20):
            pwrite(file.fileno(), b"x" * 65536, at)
        file.truncate(8 << 20)


@pytest.mark.parametrize(
    ("start", "length", "expected"),
    [
        (0, 8 << 20, [(0, 65536), (3 << 20, 65536)]),
        (100, 200, [(100, 200)]),
        (65536, 1 << 20, []),
        (3 << 20, 10, [(3 << 20, 10)]),
        (4 << 20, 4 << 20, []),
        (0, 0, []),
        (65535, 3 << 20, [(65535, 1), (3 << 20, 65535)]),
    ],
)
def test_promise_22_holes_are_told_by_the_host(
    start: int, length: int, expected: list[tuple[int, int]], tmp_path: Path
) -> None:
    sparse(tmp_path / "sparse")
    storage = open_for_reading(str(tmp_path / "sparse"))
    assert list(storage.data_ranges(start, length)) == expected
    storage.close()


def test_promise_22_where_the_host_tells_no_holes_all_may_be_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sparse(tmp_path / "sparse")
    storage = open_for_reading(str(tmp_path / "sparse"))

    def refusing(*_: int) -> int:
        raise OSError(errno.EINVAL, "no holes here")

    with monkeypatch.context() as patch:
        patch.setattr(os, "lseek", refusing)
        assert list(storage.data_ranges(5, 100_000)) == [(5, 100_000)]
    monkeypatch.delattr(os, "SEEK_DATA")
    assert list(storage.data_ranges(5, 100_000)) == [(5, 100_000)]
    assert list(storage.data_ranges(5, 0)) == []
    storage.close()


@pytest.mark.parametrize("length", [0, 1, 4096, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 3_000_000])
def test_buffers_are_filled_with_zeros_exactly(length: int) -> None:
    buffer = bytearray(b"\xff" * (length + 2))
    fill_zeros(memoryview(buffer)[1:-1])
    assert buffer == b"\xff" + bytes(length) + b"\xff"
