"""Linux programs judge a process of Windows: they read and write what it serves, and it is killed meanwhile.

`.ci/windows`, which sets Wine up, runs these; elsewhere they are skipped.
"""

import contextlib
import os
import pty
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import vhdx
from tests.support.damage import flip
from tests.support.tools import needs

ROOT = Path(__file__).parents[2]
WINE = os.environ.get("VHDX_WINDOWS")
pytestmark = pytest.mark.skipif(not WINE, reason="`make windows` runs it: it needs a Python under Wine")
SECONDS = 300
MIB = 1 << 20


@pytest.fixture(name="image")
def _image(tmp_path: Path) -> Path:
    vhdx.create(tmp_path / "disk.vhdx", "2G", block_size="1M")
    return tmp_path / "disk.vhdx"


def on_windows(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """What a verb did in Windows' Python; asked once more if it ended without a word.

    Wine itself dies now and then before Python has begun; every failure of the command says something.
    """
    command = ["sh", str(ROOT / ".ci" / "windows"), "-m", "vhdx", *map(str, arguments)]
    for _ in range(2):
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)
        if done.returncode == 0 or done.stdout or done.stderr:
            break
    return done


class Served:
    """A `vhdx serve` of Windows: its URI, and how it is killed."""

    def __init__(self, process: subprocess.Popen[str], uri: str, token: str) -> None:
        self.process, self.uri, self._token = process, uri, token

    def kill(self) -> None:
        """End the Windows process as a power failure of its machine would, but for what the system holds."""
        found = subprocess.run(["pgrep", "-f", self._token], capture_output=True, text=True, check=False)
        for line in found.stdout.split():
            name = Path(f"/proc/{line}/cmdline").read_bytes().split(b"\0")[0]
            if name.endswith(b"python.exe"):
                os.kill(int(line), signal.SIGKILL)
        self.process.wait(SECONDS)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def served(image: Path, *options: str) -> Iterator[Served]:
    port = free_port()
    command = [
        "sh",
        str(ROOT / ".ci" / "windows"),
        "-m",
        "vhdx",
        "serve",
        "--port",
        str(port),
        *options,
        str(image),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        uri = process.stdout.readline().strip()
        assert uri.startswith("nbd://127.0.0.1"), uri
        one = Served(process, uri, f"vhdx serve --port {port}")
        try:
            yield one
        finally:
            one.kill()


def qemu_io(uri: str, *commands: str) -> str:
    words = [word for command in commands for word in ("-c", command)]
    done = subprocess.run(
        ["qemu-io", "-f", "raw", *words, uri], capture_output=True, text=True, check=False, timeout=SECONDS
    )
    assert done.returncode == 0, done.stderr
    assert "failed" not in done.stdout, done.stdout
    return done.stdout


def check(image: Path) -> None:
    """QEMU replays the log if there is one, and finds nothing afterwards."""
    command = ["qemu-img", "check", "-f", "vhdx", str(image)]
    subprocess.run([*command[:2], "-r", "all", *command[2:]], capture_output=True, check=False)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, "No errors were found" in done.stdout) == (0, True), done.stdout + done.stderr


@needs("nbdinfo", "nbdcopy", "qemu-io", "qemu-img")
def test_clients_of_linux_read_and_write(image: Path, tmp_path: Path) -> None:
    with served(image, "--write") as server:
        told = subprocess.run(["nbdinfo", server.uri], capture_output=True, text=True, check=True).stdout
        assert "export-size: 2147483648" in told
        assert "is_read_only: false" in told
        qemu_io(server.uri, "write -P 7 1M 3M", "write -P 9 1000M 64k", "write -z 2M 1M", "flush")
        qemu_io(server.uri, "read -P 7 1M 1M", "read -P 0 2M 1M", "read -P 7 3M 1M", "read -P 9 1000M 64k")
        subprocess.run(
            ["nbdcopy", server.uri, tmp_path / "copy.raw"], check=True, timeout=SECONDS, capture_output=True
        )
    with vhdx.open(image) as disk, (tmp_path / "copy.raw").open("rb") as copy:
        for offset in (0, MIB, 2 * MIB, 3 * MIB, 4 * MIB, 1000 * MIB):
            copy.seek(offset)
            assert copy.read(MIB) == disk.pread(MIB, offset)
    check(image)


@needs("qemu-io", "qemu-img")
@pytest.mark.parametrize("after", [1, 7, 23, 40])
def test_promise_7_a_kill_in_the_middle_of_writes_leaves_a_sound_image(after: int, image: Path) -> None:
    """What was flushed is there; each sector of the rest is old or new."""
    commands = []
    for number in range(60):
        commands += ["-c", f"write -P {number % 250 + 1} {number * 7}M 64k"]
        commands += ["-c", "flush"] if number % 5 == 4 else []
    with served(image, "--write") as server:
        command = ["qemu-io", "-f", "raw", *commands, server.uri]
        wrote = 0
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as client:
            assert client.stdout is not None
            for line in client.stdout:
                wrote += line.startswith("wrote")
                if wrote == after:
                    server.kill()
                    break
            client.kill()
    flushed = after - 1 - (after - 1) % 5 if after > 5 else 0
    with vhdx.open(image) as disk:
        for number in range(60):
            data = disk.pread(65536, number * 7 * MIB)
            new = bytes([number % 250 + 1])
            sectors = {data[at : at + 512] for at in range(0, len(data), 512)}
            assert sectors <= {new * 512, bytes(512)}, number
            if number < flushed:
                assert data == new * 65536, number
    check(image)


@needs("fio", "qemu-img")
def test_fio_verifies_what_it_writes(image: Path, tmp_path: Path) -> None:
    """Random writes of several sizes, 16 at a time, each read back and compared by fio."""
    with served(image, "--write") as server:
        command = ["fio", "--name=job", "--ioengine=nbd", f"--uri={server.uri}", "--rw=randwrite"]
        command += ["--bsrange=512-128k", "--size=48M", "--io_size=8M", "--iodepth=16", "--randseed=16"]
        command += ["--verify=crc32c", "--verify_fatal=1", "--fsync=64", "--verify_state_save=0"]
        done = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=SECONDS
        )
        assert done.returncode == 0, done.stdout + done.stderr
    check(image)


def in_a_console(folder: Path, *arguments: str, **environment: str) -> tuple[int, int]:
    """A verb of Windows in a terminal of Unix, which is a console to Wine: its process, the terminal."""
    pid, terminal = pty.fork()
    if not pid:
        os.environ.pop("NO_COLOR", None)
        os.environ.update(environment, VHDX_WINDOWS_CONSOLE="1")
        os.chdir(folder)
        os.execvp("sh", ["sh", str(ROOT / ".ci" / "windows"), "-m", "vhdx", *arguments])
    return pid, terminal


def rest_of(terminal: int) -> bytes:
    """What is shown until nobody has the other end any more, which Linux calls an error."""
    shown = b""
    with contextlib.suppress(OSError):
        while piece := os.read(terminal, 4096):
            shown += piece
    os.close(terminal)
    return shown


@pytest.mark.parametrize("environment", [{}, {"NO_COLOR": "1"}])
def test_colours_are_shown_in_a_console(image: Path, environment: dict[str, str]) -> None:
    flip(image, (64 << 10) + 100)
    pid, terminal = in_a_console(image.parent, "check", image.name, **environment)
    shown = rest_of(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3, shown
    assert (b"\x1b[33mwarning" in shown, b"warning" in shown) == (not environment, True), shown


def test_ctrl_c_in_a_console_ends_a_server_cleanly(image: Path) -> None:
    """What is written is durable and the log is clean."""
    pid, terminal = in_a_console(image.parent, "serve", "--write", "--port", str(free_port()), image.name)
    shown = b""
    while (uri := re.search(rb"nbd://[^\s\x1b]+(?=\r)", shown)) is None:
        shown += os.read(terminal, 4096)
    qemu_io(uri[0].decode(), "write -P 7 1M 64k")
    os.write(terminal, b"\x03")
    shown += rest_of(terminal)
    assert os.waitpid(pid, 0)[1] == 0, shown
    assert b"Traceback" not in shown
    with vhdx.open(image) as disk:
        assert disk.pread(65536, MIB) == b"\x07" * 65536
    found = vhdx.info(image)
    assert isinstance(found, vhdx.ImageInfo)
    assert found.log.state == "clean"


@needs("qemu-io")
def test_a_snapshot_leaves_the_image_and_no_file(image: Path) -> None:
    before = image.read_bytes()
    with served(image, "--snapshot", "--once") as server:
        qemu_io(server.uri, "write -P 7 1M 1M", "read -P 7 1M 1M")
        assert server.process.wait(SECONDS) == 0
    assert image.read_bytes() == before
    assert os.listdir(image.parent) == [image.name]


def test_verbs_of_windows_agree_with_those_of_linux(image: Path, tmp_path: Path) -> None:
    with vhdx.open(image, "r+") as disk:
        disk.pwrite(b"w" * MIB, 100 * MIB)
        disk.pwrite(b"x" * MIB, 5 * MIB)
        disk.trim(offset=100 * MIB, length=MIB)
    copy = tmp_path / "copy.vhdx"
    assert on_windows("convert", image, copy).returncode == 0
    assert vhdx.compare(image, copy).identical
    assert on_windows("compact", image).returncode == 0
    assert vhdx.compare(image, copy).identical
    assert on_windows("check", image).returncode == 0
    assert on_windows("resize", image, "3G").returncode == 0
    assert on_windows("mount", image, tmp_path).returncode == 1
    said = on_windows("mount", image, tmp_path).stdout
    assert re.search("no FUSE.*vhdx serve", said), said


@needs("mkfs.ext4")
def test_files_of_a_guest_are_copied_to_windows(tmp_path: Path) -> None:
    """Names that Linux has and Windows lacks, too; whatever the guest keeps there is in the target."""
    tree, target, image = tmp_path / "tree", tmp_path / "target", tmp_path / "disk.raw"
    (tree / "d").mkdir(parents=True)
    target.mkdir()
    contents = {
        "plain": os.urandom(300_000),
        "a:b": b"1",
        "nul": b"2",
        "end.": b"3",
        "d/x\\y": b"\r\n\x1a",
        "ä漢": b"",
    }
    for name, content in contents.items():
        (tree / name).write_bytes(content)
    (tree / "d" / "hard").hardlink_to(tree / "plain")
    (tree / "README").write_bytes(b"first")
    (tree / "readme").write_bytes(b"second")
    (tree / "plain").chmod(0o444)
    os.utime(tree / "d", (10**9, 10**9))
    with open(image, "wb") as file:
        file.truncate(64 * MIB)
    subprocess.run(["mkfs.ext4", "-q", "-d", tree, image], check=True)
    done = on_windows("cp", "-R", f"{image}:/", target)
    assert done.returncode == 1, done.stdout
    assert "/d" not in done.stdout.replace("d/x\\y: written as x%5Cy", "")
    assert "readme exists already, or differs only in case" in done.stdout
    written = {"a:b": "a%3Ab", "nul": "%6Eul", "end.": "end%2E", "d/x\\y": "d/x%5Cy"}
    for name, content in contents.items():
        assert (target / written.get(name, name)).read_bytes() == content
    assert (target / "README").read_bytes() == b"first"
    assert (target / "plain").samefile(target / "d" / "hard")
    assert (target / "d").stat().st_mtime == 10**9
    assert not (target / "plain").stat().st_mode & 0o222
    assert {path.name for path in tmp_path.iterdir()} == {"tree", "target", "disk.raw"}
    assert on_windows("cp", f"{image}:/plain", target).stdout.count("--force replaces files") == 1
    assert on_windows("cp", "--force", f"{image}:/plain", target).returncode == 0
    assert on_windows("cp", f"{image}:/plain", target / "con").returncode != 0
    assert len(list(target.iterdir())) == len({*os.listdir(tree), "lost+found"} - {"readme"})


def test_the_address_of_a_server_is_its_own(image: Path) -> None:
    with served(image) as server:
        port = int(server.uri.split(":")[2].split("/")[0])
        refused = on_windows("serve", "--port", str(port), image)
        assert refused.returncode == 1
        assert f"port {port}" in refused.stdout


def test_random_reads_of_several_threads_run_beside_each_other(image: Path) -> None:
    """Only told, not judged: what a positional read costs beside `os.read` with a lock."""
    with vhdx.open(image, "r+") as disk:
        disk.pwrite(os.urandom(8 * MIB), 0)
    program = ROOT / "tests" / "windows" / "rows.py"
    command = ["sh", str(ROOT / ".ci" / "windows"), str(program), str(image)]
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=SECONDS).stdout
    assert len(re.findall(r"^\S.*: +\d+ µs$", told, re.MULTILINE)) == 4, told
    sys.stdout.write(told)
