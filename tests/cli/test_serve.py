"""``vhdx serve`` as a command: what it prints, snapshots, partitions, how it ends."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlparse

import pytest

import vhdx
from tests.docs.schema import SCHEMA, complaints
from tests.nbd.client import EIO, FLUSH, LIST, READ, Client
from tests.nbd.serving import serving
from tests.partitions.tables import gpt_disk
from tests.support.build import ImageBuilder
from tests.support.layout import FULLY_PRESENT, MIB
from tests.support.parts import Block
from tests.support.patterns import pattern
from tests.support.tools import needs
from tests.support.vhd import VhdBuilder
from vhdx.disk.open import open_disk

from .running import COMMAND, USAGE, run

SIZE = 8 * MIB
CAN_MULTI_CONN = 1 << 8


@pytest.fixture(name="image")
def _image(tmp_path: Path) -> Path:
    path = tmp_path / "a disk.vhdx"
    vhdx.create(path, SIZE, block_size=MIB)
    with open_disk(path, "r+") as disk:
        disk.pwrite(pattern(1, 2 * MIB), MIB)
    return path


def socket_of(uri: str) -> str:
    return parse_qs(urlparse(uri).query)["socket"][0]


def test_a_private_socket_by_default(image: Path) -> None:
    with serving(image) as process:
        path = Path(socket_of(process.uri))
        assert unquote(urlparse(process.uri).path) == "/a disk.vhdx"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        with Client.opened(str(path), "a disk.vhdx") as client:
            assert client.read(MIB, 2 * MIB) == pattern(1, 2 * MIB)
            assert client.flags & 2
        assert process.end() == (0, "")
        assert not path.parent.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_end_it_cleanly_with_clients_connected(number: int, image: Path, tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with serving(image, "--write", "--socket", path) as process, Client.opened(path) as client:
        client.write(0, b"not flushed")
        process.process.send_signal(number)  # whoever is impatient breaks nothing off
        assert process.end(number) == (0, "")
        assert client.is_closed()
    assert not os.path.exists(path)
    with open_disk(image) as disk:
        assert disk.layers[0].sequence is None
        assert disk.pread(11, 0) == b"not flushed"


def test_what_nohup_ignores_ends_nothing(image: Path, tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with serving(image, "--socket", path) as process:
            process.process.send_signal(signal.SIGHUP)
            with Client.opened(path) as client:
                assert client.size == SIZE
            assert process.end() == (0, "")
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_log_that_nobody_reads_changes_no_answer(tmp_path: Path) -> None:
    raw, path = tmp_path / "disk.img", str(tmp_path / "s")
    raw.write_bytes(bytes(MIB))
    command = [*COMMAND, "serve", str(raw), "--socket", path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        assert process.stderr is not None
        process.stderr.close()
        os.truncate(raw, 0)  # from now on there is something to be logged
        try:
            with Client.opened(path) as client:
                assert client.ask(READ, 0, 512).error == EIO
                assert client.ask(READ, 0, 512).error == EIO
        finally:
            process.terminate()
    assert process.returncode == 0


def test_tcp_and_names(image: Path) -> None:
    with serving(image, "--port", "0", "--name", "ä/b") as process:
        found = urlparse(process.uri)
        assert (found.scheme, found.hostname, found.path) == ("nbd", "127.0.0.1", "/%C3%A4/b")
        assert found.port is not None
        with Client.opened(("127.0.0.1", found.port), "ä/b", "simple") as client:
            assert client.size == SIZE


def test_once(image: Path, tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with serving(image, "--once", "--socket", path) as process:
        Client.opened(path).close()
        assert process.process.wait(10) == 0


@pytest.mark.parametrize("words", [("-f", "raw"), ()])
def test_a_server_that_lost_writes_is_no_success(words: tuple[str, ...], image: Path, tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    program = (
        "import errno, os, sys, vhdx.cli.main, vhdx.storage.host\n"
        "real, sign = vhdx.storage.host.synchronize, sys.argv.pop()\n"
        "def synchronize(descriptor):\n"
        "    if os.path.exists(sign):\n"
        "        os.unlink(sign)\n"  # once: the host forgets what it could not write
        "        raise OSError(errno.EIO, 'the disk is gone')\n"
        "    real(descriptor)\n"
        "vhdx.storage.host.synchronize = synchronize\n"
        "sys.exit(vhdx.cli.main.exit_code_of(sys.argv[1:]))\n"
    )
    command = ["serve", str(image), "--write", "--once", "--socket", path, *words, path + "f"]
    process = subprocess.Popen(
        [sys.executable, "-c", program, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline()
        with Client.opened(path, mode="simple") as client:
            client.write(MIB, b"written")
            Path(path + "f").touch()
            assert client.ask(FLUSH).error == EIO
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "may be lost" in errors


@pytest.mark.parametrize(("places", "several"), [(1, False), (3, False), (4, True), (100, True)])
def test_several_connections_are_offered_where_there_are_places_for_them(
    places: int, several: bool, image: Path, tmp_path: Path
) -> None:
    path = str(tmp_path / "s")
    with serving(image, "--max-connections", str(places), "--socket", path), Client.opened(path) as client:
        assert bool(client.flags & CAN_MULTI_CONN) is several


def test_a_socket_that_nobody_listens_on_is_replaced(image: Path, tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as abandoned:
        abandoned.bind(str(path))
    with serving(image, "--socket", path) as process:
        other = run("serve", image, "--socket", path)
        assert (other.code, "in use" in other.err) == (1, True)
        Client.opened(str(path)).close()
        assert process.end() == (0, "")
    path.write_text("a file")
    assert run("serve", image, "--socket", path).code == 1
    assert path.read_text() == "a file"


def handed_over_command(address: tuple[str, int], *words: str) -> list[str]:
    """The command as systemd starts it, with a TCP socket that listens at an address."""
    code = (
        "import os, socket, sys; s = socket.socket(); s.bind((sys.argv[1], int(sys.argv[2]))); s.listen(); "
        "os.dup2(s.fileno(), 3); os.set_inheritable(3, True); "
        "os.environ |= {'LISTEN_FDS': '1', 'LISTEN_PID': str(os.getpid())}; "
        "os.execv(sys.executable, [sys.executable, '-m', 'vhdx', 'serve', *sys.argv[3:]])"
    )
    return [sys.executable, "-c", code, address[0], str(address[1]), *words]


@pytest.mark.parametrize(
    ("host", "words", "sentence"),
    [
        ("0.0.0.0", (), "can be reached from other machines"),
        ("127.0.0.1", ("--port", "1234"), "go without them"),
    ],
)
def test_rules_hold_for_sockets_that_are_handed_over(
    host: str, words: tuple[str, ...], sentence: str, image: Path
) -> None:
    command = handed_over_command((host, 0), str(image), *words)
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == USAGE
    assert sentence in done.stderr


def test_a_socket_whose_name_is_no_text(image: Path, tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"\xff")
    with serving(image, "--socket", path) as process:
        assert urlparse(process.uri).query.endswith("/%FF")
        assert process.end() == (0, "")


def test_sockets_that_are_handed_over(image: Path, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        program = (
            f"import os, sys; os.dup2({listener.fileno()}, 3); "
            "os.environ |= {'LISTEN_FDS': '1', 'LISTEN_PID': str(os.getpid())}; "
            "os.execv(sys.argv[1], sys.argv[1:])"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", program, *COMMAND, "serve", image, "--write"],
            pass_fds=[listener.fileno()],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    with process, Client.opened(str(tmp_path / "s")) as client:
        client.write(0, b"hello")
        process.terminate()
        assert process.communicate(timeout=10) == ("", "")
    assert process.returncode == 0
    with open_disk(image) as disk:
        assert disk.pread(5, 0) == b"hello"


def test_what_clients_are_told_of_an_image(image: Path, tmp_path: Path) -> None:
    raw, old, path = tmp_path / "disk.img", tmp_path / "old.vhd", str(tmp_path / "s")
    raw.write_bytes(bytes(MIB))
    VhdBuilder(MIB).write(old)
    with serving(image, raw, old, "--socket", path, count=3), Client(path) as client:
        client.greet()
        told = [data[4 + int.from_bytes(data[:4], "big") :].decode() for _, data in client.option(LIST)[:-1]]
    assert told == ["8 MiB, dynamic", "1 MiB, raw", "1 MiB, dynamic VHD"]


# snapshots ---------------------------------------------------------------------------------------


def write_over(path: str, twin: bytearray) -> None:
    with Client.opened(path) as client:
        assert not client.flags & 2
        for offset, length in ((0, 5), (MIB - 700, 1400), (3 * MIB, 2 * MIB), (len(twin) - 1, 1)):
            twin[offset : offset + length] = data = pattern(9, length)
            client.write(offset, data)
        assert not client.ask(FLUSH).error
        assert client.read(0, len(twin)) == twin


def test_a_snapshot_is_thrown_away(image: Path, tmp_path: Path) -> None:
    before, path = image.read_bytes(), str(tmp_path / "s")
    with open_disk(image) as disk:
        twin = bytearray(disk.pread(SIZE, 0))
    with serving(image, "--snapshot", "--socket", path) as process:
        write_over(path, twin)
        assert process.end() == (0, "")
    assert image.read_bytes() == before


def test_a_snapshot_of_a_dirty_image_that_may_not_be_written(tmp_path: Path) -> None:
    builder = ImageBuilder(SIZE, MIB)
    builder.blocks = {1: Block(pattern(2, MIB), FULLY_PRESENT)}
    image, path = builder.write(tmp_path / "dirty.vhdx"), str(tmp_path / "s")
    dirty(image)
    os.chmod(image, 0o400)
    os.chmod(tmp_path, 0o700)
    before = image.read_bytes()
    with open_disk(image) as disk:
        assert disk.layers[0].sequence is not None
        twin = bytearray(disk.pread(SIZE, 0))
    with serving(image, "--snapshot", "--socket", path) as process:
        write_over(path, twin)
        assert process.end() == (0, "")
    assert image.read_bytes() == before


def dirty(image: Path) -> None:
    """Let a writer die with a log that is to be replayed."""
    program = (
        "import os, sys, vhdx\n"
        "disk = vhdx.open(sys.argv[1], 'r+')\n"
        "disk.pwrite(b'in the log only', 5 << 20)\n"
        "disk.flush()\n"
        "os._exit(0)\n"
    )
    subprocess.run([sys.executable, "-c", program, image], check=True)


def test_a_snapshot_of_a_chain(image: Path, tmp_path: Path) -> None:
    child, path = tmp_path / "child.vhdx", str(tmp_path / "s")
    vhdx.create(child, parent=image)
    with open_disk(child, "r+") as disk:
        disk.pwrite(pattern(4, 3000), MIB + 5)
        twin = bytearray(disk.pread(SIZE, 0))
    before = child.read_bytes(), image.read_bytes()
    with serving(child, "--snapshot", "--socket", path) as process:
        write_over(path, twin)
        assert process.end() == (0, "")
    assert (child.read_bytes(), image.read_bytes()) == before


def test_a_partition(tmp_path: Path) -> None:
    raw, path = tmp_path / "disk.img", str(tmp_path / "s")
    entry = bytes([0, 0, 0, 0, 0x83, 0, 0, 0]) + (2048).to_bytes(4, "little") + (4096).to_bytes(4, "little")
    raw.write_bytes(bytes(446) + entry + bytes(48) + b"\x55\xaa" + pattern(5, SIZE - 512))
    before = raw.read_bytes()
    with serving(raw, "-f", "raw", "--write", "--partition", "1", "--socket", path) as process:
        with Client.opened(path) as client:
            assert client.size == 4096 * 512
            assert client.read(0, 1000) == before[MIB : MIB + 1000]
            client.write(client.size - 3, b"end")
        assert process.end() == (0, "")
    assert raw.read_bytes() == before[: 3 * MIB - 3] + b"end" + before[3 * MIB :]


# A command beside it -----------------------------------------------------------------------------


def test_run_serves_as_long_as_a_command_runs(image: Path, tmp_path: Path) -> None:
    line = 'test -S "$unixsocket" && echo "$uri" "$nbd" "[$port]"'
    done = run("serve", image, "--run", line)
    assert done.code == 0
    uri, nbd, port = done.out.split()
    path = socket_of(uri)
    assert (nbd, port) == (f"nbd:unix:{path}", "[]")
    assert not os.path.exists(path)
    line = 'echo "$uri" "$nbd" "[$unixsocket]" $port'
    uri, nbd, path, port = run("serve", image, "--port", "0", "--run", line).out.split()
    assert (urlparse(uri).port, nbd, path) == (int(port), f"nbd:127.0.0.1:{port}", "[]")


@needs("nbdkit")
def test_run_means_what_it_means_to_nbdkit(image: Path, tmp_path: Path) -> None:
    """The same lines end with the same codes and find the same words set."""
    for line in ("exit 7", "true", "kill -9 $$", "kill -15 $$", 'test -n "$uri$nbd" -a -z "$port"'):
        theirs = subprocess.run(["nbdkit", "-U", "-", "memory", "1M", "--run", line], check=False).returncode
        assert run("serve", image, "--run", line).code == theirs, line


@needs("qemu-img")
def test_run_writes_what_qemu_writes_into_a_served_disk(image: Path) -> None:
    line = """qemu-io -f raw -c 'write -P 0x61 3M 64k' "$uri" """
    assert run("serve", image, "--write", "--run", line).code == 0
    with open_disk(image) as disk:
        assert disk.layers[0].sequence is None
        assert disk.pread(64 << 10, 3 * MIB) == b"a" * (64 << 10)


def test_a_signal_ends_the_command_beside_it(image: Path, tmp_path: Path) -> None:
    sign = tmp_path / "runs"
    command = [*COMMAND, "serve", str(image), "--run", f"touch '{sign}'; exec sleep 60"]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        while not sign.exists():
            assert process.poll() is None
            time.sleep(0.01)
        process.terminate()
        assert process.wait(20) == 128 + signal.SIGTERM


def test_nobody_comes_in_time(image: Path, tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with serving(image, "--once", "--timeout", "0.2", "--socket", path) as process:
        _, errors = process.process.communicate(timeout=20)
        assert (process.process.returncode, errors) == (1, "vhdx: no client came in time\n")
    assert not os.path.exists(path)


def test_json_is_a_line_when_it_listens(image: Path, tmp_path: Path) -> None:
    """A program waits for it; what fails later stands behind it."""
    raw, path = tmp_path / "b.raw", str(tmp_path / "s")
    raw.write_bytes(gpt_disk(8 * MIB, [(2048, 4095)]))
    words = ("--partition", "1", "--once", "--timeout", "0.2", "--json", "--port", "0")
    with serving(raw, *words) as process:
        printed = json.loads(process.uris[0])
        out, errors = process.process.communicate(timeout=20)
    assert complaints(printed, SCHEMA.prints["serve"], SCHEMA) == []
    (export,) = printed["exports"]
    assert export.pop("uri").startswith("nbd://127.0.0.1:")
    assert export == {
        "name": "b.raw",
        "path": str(raw),
        "format": "raw",
        "virtual_size": 8 * MIB,
        "partition": 1,
        "size": MIB,
        "read_only": True,
    }
    failure = json.loads(out)
    assert complaints(failure, "failure", SCHEMA) == []
    assert (failure["error"], errors) == ("no client came in time", "vhdx: no client came in time\n")
    with serving(image, raw, "--write", "-f", "raw", "--json", "--socket", path) as process:
        exports = json.loads(process.uris[0])["exports"]
        assert [export["read_only"] for export in exports] == [False, False]
        with Client.opened(socket_of(exports[1]["uri"]), exports[1]["name"]) as client:
            assert client.size == exports[1]["size"]
        assert process.end() == (0, "")


def test_json_of_a_snapshot_names_the_image(image: Path) -> None:
    with serving(image, "--snapshot", "--json") as process:
        (export,) = json.loads(process.uris[0])["exports"]
        assert (export["path"], export["read_only"]) == (str(image), False)


def test_who_comes_in_time_may_stay(image: Path, tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with serving(image, "--once", "--timeout", "2", "--socket", path) as process:
        with Client.opened(path) as client:
            time.sleep(3)
            assert client.read(MIB, 2 * MIB) == pattern(1, 2 * MIB)
        assert process.process.wait(10) == 0
