"""Files of Windows: locks between programs, reads beside each other, names, and what is told of space.

Only a Python for Windows runs these (`make windows`).
"""

import ctypes
import errno
import os
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

assert sys.platform == "win32"

import vhdx
from vhdx.storage import windows, windows_locks
from vhdx.storage import windows_api as api
from vhdx.storage import windows_calls as calls
from vhdx.storage import windows_holders as holders
from vhdx.storage import windows_names as names
from vhdx.storage import windows_space as space
from vhdx.storage.file import FileStorage, identity_of, open_for_reading, open_for_writing, temporary_file
from vhdx.storage.publish import new_file, remove_file

GIB = 1 << 30
Open = Callable[[str], FileStorage]
PAIRS: list[tuple[Open, Open, bool]] = [
    (open_for_reading, open_for_reading, True),
    (open_for_reading, open_for_writing, False),
    (open_for_writing, open_for_reading, False),
    (open_for_writing, open_for_writing, False),
]
HOLD = """
import sys
from vhdx.storage import file
storage = getattr(file, sys.argv[2])(sys.argv[1])
print("held", flush=True)
sys.stdin.read()
"""


class Replaced:
    """A library of Windows with some functions that are not its own."""

    def __init__(self, library: Any, **functions: Callable[..., Any]) -> None:
        self._library, self._functions = library, functions

    def __getattr__(self, name: str) -> Any:
        return self._functions.get(name) or getattr(self._library, name)


@pytest.fixture(name="path")
def _path(tmp_path: Path) -> Path:
    (tmp_path / "file").write_bytes(b"x" * 65536)
    return tmp_path / "file"


@contextmanager
def held_elsewhere(path: Path, opener: Open) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-c", HOLD, str(path), opener.__name__]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline().strip() == b"held"
        try:
            yield process
        finally:
            process.stdin.close()
            process.wait()


@contextmanager
def held_by_a_stranger(path: Path, access: int, share: int) -> Iterator[int]:
    handle = api.kernel32.CreateFileW(str(path), access, share, None, api.OPEN_EXISTING, 0, None)
    assert handle != api.NO_HANDLE
    try:
        yield handle
    finally:
        api.kernel32.CloseHandle(handle)


@pytest.mark.parametrize(("first", "second", "together"), PAIRS)
def test_promise_20_who_may_hold_a_file_together(
    first: Open, second: Open, together: bool, path: Path
) -> None:
    held = first(str(path))
    if together:
        second(str(path)).close()
    else:
        with pytest.raises(vhdx.ImageLockedError) as caught:
            second(str(path))
        assert caught.value.image == str(path)
    held.close()
    second(str(path)).close()


@pytest.mark.parametrize(("first", "second", "together"), [PAIRS[1], PAIRS[2]])
def test_promise_20_who_may_hold_a_file_together_in_two_processes_one_of_them_killed(
    first: Open, second: Open, together: bool, path: Path
) -> None:
    with held_elsewhere(path, first) as process:
        with pytest.raises(vhdx.ImageLockedError):
            second(str(path))
        process.kill()
        process.wait()
        second(str(path)).close()


def test_promise_20_a_program_that_writes_is_seen_by_how_it_opened_the_file(path: Path) -> None:
    with (
        held_by_a_stranger(path, api.GENERIC_WRITE, api.SHARE_READ | api.SHARE_WRITE),
        pytest.raises(vhdx.ImageLockedError),
    ):
        open_for_reading(str(path))
    with held_by_a_stranger(path, api.GENERIC_READ, 0), pytest.raises(vhdx.ImageLockedError):
        open_for_reading(str(path), lock=False)


def test_promise_20_no_other_program_writes_while_we_hold_the_file(path: Path) -> None:
    for opener in (open_for_reading, open_for_writing):
        storage = opener(str(path))
        with pytest.raises(PermissionError):
            path.open("r+b")
        assert path.read_bytes() == b"x" * 65536
        storage.close()


def test_who_shares_everything_is_kept_out_by_the_byte(path: Path) -> None:
    """As where a file system over a network does not know how a file was opened elsewhere."""
    share = api.SHARE_READ | api.SHARE_WRITE
    access = api.GENERIC_READ | api.GENERIC_WRITE
    with held_by_a_stranger(path, access, share) as one, held_by_a_stranger(path, access, share) as other:
        windows_locks.acquire(one, str(path), exclusive=False)
        windows_locks.acquire(other, str(path), exclusive=False)
        windows_locks.release(one)
        with pytest.raises(vhdx.ImageLockedError):
            windows_locks.acquire(one, str(path), exclusive=True)
        windows_locks.release(other)
        windows_locks.acquire(one, str(path), exclusive=True)


@pytest.mark.parametrize("name", ["ext4.vhdx", "docker_data.vhdx", "other.vhdx"])
def test_the_disks_of_wsl_are_told_by_name(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"")
    storage = open_for_writing(str(tmp_path / name))
    with pytest.raises(vhdx.ImageLockedError) as caught:
        open_for_writing(str(tmp_path / name))
    storage.close()
    detach = f"Dismount-DiskImage '{tmp_path / name}'"
    assert caught.value.next_command == (detach if name == "other.vhdx" else "wsl --shutdown")


def test_who_holds_a_file_is_named_where_windows_knows(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The restart manager of Wine names nobody."""
    monkeypatch.setattr(
        holders, "users_of", lambda _: [(4711, "Docker Desktop Backend"), (12, "notepad.exe")]
    )
    error = holders.locked(str(path))
    assert error.message == "process 4711 (Docker Desktop Backend) and process 12 (notepad.exe) holds it"
    assert error.next_command == "wsl --shutdown"


@pytest.mark.parametrize(
    ("name", "users", "command"),
    [
        ("it's.vhdx", [], "Dismount-DiskImage 'C:\\it''s.vhdx'"),
        ("a.avhdx", [(4, "System")], "Dismount-DiskImage 'C:\\a.avhdx'"),
        ("a.vhdx", [(4711, "QEMU")], None),
        ("a.raw", [], None),
        ("a.raw", [(4711, "vmmemWSL")], "wsl --shutdown"),
    ],
)
def test_what_lets_go_of_a_file(
    name: str, users: list[tuple[int, str]], command: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holders, "users_of", lambda _: users)
    assert holders.locked(f"C:\\{name}").next_command == command


@pytest.mark.parametrize("number", [0, 16, 17, 300])
def test_the_restart_manager_names_however_many(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    class Manager:
        """The four calls, and as many users of any file."""

        RmStartSession = RmRegisterResources = RmEndSession = staticmethod(lambda *_: 0)

        @staticmethod
        def RmGetList(_: object, needed: Any, count: Any, found: Any, reasons: object) -> int:  # noqa: N802
            needed._obj.value = number
            if count._obj.value < number:
                return api.ERROR_MORE_DATA
            for place in range(number):
                found[place].process, found[place].application = place + 5, "one"
            count._obj.value = number
            return 0

    monkeypatch.setattr(ctypes, "WinDLL", lambda _: Manager)
    assert holders.users_of("C:\\a") == [(place + 5, "one") for place in range(number)]


def test_threads_read_and_write_their_own_places_past_four_gib(tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(b"")
    storage = open_for_writing(str(path))
    storage.resize(5 * GIB)
    places = [4 * GIB - 2048 + number * 4096 for number in range(8)]

    def work(number: int) -> None:
        data = bytes([number + 1]) * 4096
        for _ in range(50):
            storage.write_at(data, places[number])
            assert storage.read(4096, places[number]) == data

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert [storage.read(1, place)[0] for place in places] == list(range(1, 9))
    storage.flush()
    storage.close()


@pytest.mark.parametrize("data", [b"bytes", bytearray(b"array"), memoryview(b"-view-")[1:-1]])
def test_every_kind_of_memory_is_written(data: bytes | bytearray | memoryview, path: Path) -> None:
    storage = open_for_writing(str(path))
    storage.write_at(data, 70000)
    assert storage.size() == 70000 + len(data)
    assert storage.read(len(data), 70000) == bytes(data)
    storage.write_at(b"", 5)
    assert storage.read(0, 5) == b""
    storage.close()


def test_promise_21_closing_lets_calls_end_and_takes_no_more(path: Path) -> None:
    descriptor = windows.open_to_read(str(path), lock=True)
    with descriptor as handle:
        descriptor.close()
        size = ctypes.c_int64()
        assert api.kernel32.GetFileSizeEx(handle, ctypes.byref(size))  # the number still is this file
        with pytest.raises(OSError) as caught:
            windows.pread(descriptor, 1, 0)
        assert caught.value.errno == errno.EBADF
    assert not api.kernel32.GetFileSizeEx(handle, ctypes.byref(size))
    path.rename(path.with_name("other"))


def test_an_interrupt_in_the_middle_of_a_call_leaves_nothing_that_moves(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    descriptor = windows.open_to_read(str(path), lock=False)
    ended: list[int] = []
    really = calls._end_of

    def interrupted(handle: int, request: Any) -> int:
        if not ended:
            ended.append(0)
            raise KeyboardInterrupt
        ended.append(really(handle, request))
        return ended[-1]

    monkeypatch.setattr(calls, "_end_of", interrupted)
    buffer = bytearray(4096)
    with pytest.raises(KeyboardInterrupt):
        windows.preadv(descriptor, (memoryview(buffer),), 0)
    assert len(ended) == 2  # waited for after all
    monkeypatch.undo()
    assert windows.pread(descriptor, 4, 0) == b"xxxx"
    descriptor.close()


def test_a_file_that_is_lent_outlives_its_owner(path: Path) -> None:
    storage = open_for_writing(str(path))
    lent = storage.lent()
    lent.close()
    with pytest.raises(vhdx.ImageLockedError):
        open_for_reading(str(path))
    lent = storage.lent()
    storage.close()
    assert lent.read(1, 0) == b"x"
    lent.close()
    open_for_writing(str(path)).close()


def test_a_temporary_file_is_gone_when_it_is_closed() -> None:
    folder = Path(os.environ["TEMP"])
    before = set(folder.glob("vhdx-*.tmp"))
    storage = temporary_file()
    (path,) = set(folder.glob("vhdx-*.tmp")) - before
    storage.write_at(b"data", 0)
    assert storage.read(4, 0) == b"data"
    storage.close()
    assert not path.exists()


def test_no_file_becomes_sparse_and_its_space_is_told(path: Path) -> None:
    storage = open_for_writing(str(path))
    assert not storage.punch(0, 65536)
    storage.zero(0, 4096)
    assert storage.read(8192, 0) == bytes(4096) + b"x" * 4096
    assert list(storage.data_ranges(100, 1000)) == [(100, 1000)]
    assert list(storage.data_ranges(100, 0)) == []
    assert storage.reserve(0, 65536)
    assert not storage.reserve(0, 1 << 40)
    storage.close()
    handle = windows.open_to_read(str(path), lock=False)
    assert not space.has_attributes(handle, api.ATTRIBUTE_SPARSE)
    handle.close()


def test_a_sparse_file_has_its_holes_told_and_made(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wine has no holes: the answers are those that Windows is documented to give."""
    asked: list[tuple[int, tuple[int, ...]]] = []

    def control(descriptor: Any, code: int, question: ctypes.Array[ctypes.c_int64], answer: object) -> int:
        asked.append((code, tuple(question)))
        if code == api.FSCTL_QUERY_ALLOCATED_RANGES:
            assert isinstance(answer, ctypes.Array)
            answer[0], answer[1], answer[2], answer[3] = 0, 65536, 1 << 20, 4096
            return 32
        return 0

    monkeypatch.setattr(space, "has_attributes", lambda *_: True)
    monkeypatch.setattr(calls, "control", control)
    storage = open_for_writing(str(path))
    assert storage.punch(4096, 8192)
    assert list(storage.data_ranges(0, 2 << 20)) == [(0, 65536), (1 << 20, 4096)]
    assert not storage.reserve(0, 1)
    storage.close()
    assert asked == [
        (api.FSCTL_SET_ZERO_DATA, (4096, 12288)),
        (api.FSCTL_QUERY_ALLOCATED_RANGES, (0, 2 << 20)),
    ]


def test_where_the_file_system_knows_no_holes_all_is_data(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As under Wine, whose files are never sparse and whose file systems refuse to be asked."""
    monkeypatch.setattr(space, "has_attributes", lambda *_: True)
    storage = open_for_writing(str(path))
    assert not storage.punch(0, 4096)
    assert list(storage.data_ranges(0, 65536)) == [(0, 65536)]
    storage.close()


def test_reads_of_a_device_begin_and_end_at_its_sectors(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_bytes(bytes(range(256)) * 64)
    descriptor = windows.open_to_read(str(path), lock=False)
    descriptor.sector = 4096
    seen: list[tuple[int, int]] = []
    really = calls._read

    def look(descriptor: Any, view: memoryview, offset: int) -> int:
        seen.append((offset, len(view)))
        return really(descriptor, view, offset)

    monkeypatch.setattr(calls, "_read", look)
    content = path.read_bytes()
    for length, offset in ((1, 0), (4096, 4096), (10, 4090), (100, 16384 - 100), (100, 16384 - 50)):
        assert windows.pread(descriptor, length, offset) == content[offset : offset + length]
    assert all(offset % 4096 == 0 and length % 4096 == 0 for offset, length in seen)
    descriptor.close()


def test_devices_are_asked_for_their_size_and_sectors(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file stands for the drive, with answers as Windows gives them; then the drive refuses to answer."""
    really, drive = names.handle_of, "\\\\.\\PhysicalDrive7"
    path.write_bytes(bytes(range(256)) * 64)
    numbers = {
        api.IOCTL_DISK_GET_LENGTH_INFO: [16384],
        api.IOCTL_DISK_GET_DRIVE_GEOMETRY: [2, 255 << 32 | 12, 4096 << 32 | 63],
    }

    def control(_: object, code: int, asked: object, answer: Any) -> int:
        assert asked is None
        data = struct.pack(f"<{len(numbers[code])}q", *numbers[code])
        assert ctypes.sizeof(answer) == len(data)
        ctypes.memmove(ctypes.byref(answer), data, len(data))
        return len(data)

    monkeypatch.setattr(names, "handle_of", lambda _, *rest: really(str(path), *rest))
    monkeypatch.setattr(calls, "control", control)
    with closing(open_for_reading(drive)) as storage:
        assert storage.size() == 16384
        assert storage.read(10, 4090) == path.read_bytes()[4090:4100]
        assert storage.read(4, 16380) == path.read_bytes()[16380:]

    def refuse(*_: object) -> int:
        raise api.error_of(api.ERROR_NOT_SUPPORTED)

    monkeypatch.setattr(calls, "control", refuse)
    with pytest.raises(OSError, match="PhysicalDrive7"):
        open_for_reading(drive)
    path.unlink()  # nobody has it open any more


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        open_for_reading(str(tmp_path))
    with pytest.raises(ValueError, match="neither a regular file nor a block device"):
        open_for_reading("NUL")
    with pytest.raises(ValueError, match="is a block device"):
        open_for_writing("\\\\.\\PhysicalDrive0")
    with pytest.raises(FileNotFoundError):
        open_for_reading(str(tmp_path / "none"))


@pytest.mark.parametrize("name", ["NUL", "con.vhdx", "com1.vhdx", "a.vhdx.", "a.vhdx "])
def test_names_that_windows_takes_for_others_are_not_made(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"device|dot or a blank|no regular file"):
        vhdx.create(tmp_path / name, "1M")
    assert list(tmp_path.iterdir()) == []


def test_a_path_may_be_long(tmp_path: Path) -> None:
    folder = tmp_path
    while len(str(folder)) < 300:
        folder /= "d" * 40
    os.makedirs("\\\\?\\" + str(folder))
    path = str(folder / "a.vhdx")
    vhdx.create(path, "1M")
    with vhdx.open(path, "r+") as disk:
        disk.pwrite(b"far down", 512)
    with vhdx.open("\\\\?\\" + path) as disk:
        assert disk.pread(8, 512) == b"far down"


def test_other_names_of_a_path_are_the_same_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    whole = str(path)
    drive, rest = os.path.splitdrive(whole)
    storage = open_for_reading(whole)
    for name in (whole.upper(), rest, f"{drive}file", f"\\\\?\\{whole}", whole.replace("\\", "/"), "FILE"):
        assert identity_of(name) == storage.identity(), name
    storage.close()


def test_publishing_replaces_what_nobody_has_open(path: Path) -> None:
    with new_file(str(path), overwrite=True) as storage:
        storage.write_at(b"new", 0)
        with pytest.raises(vhdx.ImageLockedError):
            open_for_reading(str(path))
    assert path.read_bytes() == b"new"
    with pytest.raises(FileExistsError), new_file(str(path), overwrite=False):
        pass
    with pytest.raises(OSError, match="in the middle"):
        _publish(path, raising=True)
    assert path.read_bytes() == b"new"
    assert [entry.name for entry in path.parent.iterdir()] == ["file"]


@pytest.mark.parametrize("code", [api.ERROR_ACCESS_DENIED, api.ERROR_SHARING_VIOLATION])
@pytest.mark.parametrize("times", [3, 99])
def test_who_looks_at_a_new_file_for_a_moment_is_waited_for(
    code: int, times: int, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Programs that look for viruses open what was just written."""
    really, asked, pauses = api.kernel32.MoveFileExW, list[str](), list[float]()

    def refusing(source: str, target: str, flags: int) -> int:
        asked.append(target)
        if len(asked) > times:
            return int(really(source, target, flags))
        ctypes.set_last_error(code)
        return 0

    monkeypatch.setattr(api, "kernel32", Replaced(api.kernel32, MoveFileExW=refusing))
    monkeypatch.setattr(names.time, "sleep", pauses.append)
    if times == 3:
        _publish(path)
        assert path.read_bytes() == b"newer"
        assert len(pauses) == 3
    else:
        with pytest.raises((OSError, vhdx.ImageLockedError)):
            _publish(path)
        assert 0 < sum(pauses) < 2
        assert path.read_bytes() == b"x" * 65536
    assert [entry.name for entry in path.parent.iterdir()] == ["file"]


def _publish(path: Path, *, raising: bool = False) -> None:
    with new_file(str(path), overwrite=True) as storage:
        storage.write_at(b"newer", 0)
        if raising:
            raise OSError(errno.EIO, "in the middle")


def test_nobody_replaces_a_file_that_came_meanwhile(path: Path) -> None:
    other = path.with_name("other")
    making = new_file(str(other), overwrite=False)
    making.__enter__().write_at(b"ours", 0)
    other.write_bytes(b"theirs")
    with pytest.raises(FileExistsError):
        making.__exit__(None, None, None)
    assert other.read_bytes() == b"theirs"
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["file", "other"]


def test_what_is_pinned_keeps_nobody_out(path: Path) -> None:
    """The backup of a repair is opened anew while its identity must stay taken."""
    made = path.with_name("made")
    with new_file(str(made), overwrite=False) as storage:
        pinned = storage.pinned()
    with closing(pinned), closing(open_for_writing(str(made))) as again:
        assert again.identity() == pinned.identity()


def test_a_file_that_is_held_is_removed(path: Path) -> None:
    """As `merge --delete` removes what it folded, which it holds until then."""
    with closing(open_for_writing(str(path))) as storage:
        remove_file(str(path), storage)
        assert not path.exists()


def short_name(path: Path) -> str:
    buffer = ctypes.create_unicode_buffer(1024)
    assert ctypes.WinDLL("kernel32").GetShortPathNameW(str(path), buffer, len(buffer))
    return buffer.value


def test_short_names_lead_to_the_same_files(tmp_path: Path) -> None:
    """A child that is opened by one finds its parent, which is below the directory that it means."""
    folder = tmp_path / "a directory with a long name"
    folder.mkdir()
    vhdx.create(folder / "the parent of all.vhdx", "4M")
    vhdx.create(folder / "the child.vhdx", parent=folder / "the parent of all.vhdx")
    short = short_name(folder / "the child.vhdx")
    assert short.lower() != str(folder / "the child.vhdx").lower()
    for path in (short, f"\\\\?\\{short}", short.replace("\\", "/")):
        with vhdx.open(path) as disk:
            assert len(disk.chain) == 2
    with pytest.raises(vhdx.UnsupportedImageError, match="the child"):
        vhdx.resize(short_name(folder / "the parent of all.vhdx"), "8M")
