"""Disks through pipes: what `convert` writes to standard output and reads from standard input."""

import json
import os
import subprocess
import time
from pathlib import Path

import pytest

import vhdx
from tests.ops.make.making import raw_bytes, write_raw
from tests.support.build import ImageBuilder
from tests.support.layout import MIB
from tests.support.naive import naive_content, naive_size
from tests.support.parts import Block
from tests.support.tools import needs

from .running import COMMAND, USAGE, run

SIZE = 24 * MIB - 512
PIECES = {0: b"first" * 700, 7 * MIB - 3: b"over a border of MiB", 20 * MIB: b"\1" * MIB, SIZE - 5: b"last."}
CONTENT = raw_bytes(SIZE, PIECES)
KINDS = {
    "raw": (["-O", "raw"], "raw"),
    "fixed vhd": (["-O", "vhd"], "vpc"),
    "dynamic vhd": (["-O", "vhd", "--type", "dynamic"], "vpc"),
    "vhdx": (["-O", "vhdx", "--block-size", "2M"], "vhdx"),
    "fixed vhdx": (["-O", "vhdx", "--type", "fixed"], "vhdx"),
    "zero blocks": (["-O", "vhdx", "--zero-blocks"], "vhdx"),
}


class Piped:
    """A run of the command with bytes on both sides."""

    def __init__(self, *arguments: str | Path, given: bytes = b"", code: int = 0) -> None:
        done = subprocess.run([*COMMAND, *map(str, arguments)], input=given, capture_output=True, check=False)
        self.out, self.err = done.stdout, done.stderr.decode()
        assert done.returncode == code, self.err


@pytest.fixture(name="folder", scope="module")
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pipes")
    write_raw(folder / "a.raw", SIZE, PIECES)
    vhdx.convert(folder / "a.raw", folder / "a.vhdx")
    return folder


def same(kind: str, made: Path, foreign: str) -> None:
    """QEMU finds the disk in what was made; behind its end there may be zeros."""
    options = f"driver={foreign},file.filename={made}"
    options += ",force_size_calc=current_size" if foreign == "vpc" else ""
    line = ["qemu-img", "convert", "--image-opts", "-O", "raw", options, f"{made}.back"]
    subprocess.run(line, check=True, capture_output=True)
    found = Path(f"{made}.back").read_bytes()
    assert (kind, found.rstrip(b"\0") == CONTENT, len(found) >= SIZE) == (kind, True, True)


@needs("qemu-img")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("source", ["a.vhdx", "-"])
def test_what_is_written_is_what_qemu_reads(folder: Path, tmp_path: Path, kind: str, source: str) -> None:
    """Also of a raw disk that came through a pipe itself."""
    options, foreign = KINDS[kind]
    given = CONTENT if source == "-" else b""
    name = "-" if source == "-" else folder / source
    piped = Piped("convert", *options, name, "-", given=given)
    made = tmp_path / f"made.{'raw' if foreign == 'raw' else options[1]}"
    made.write_bytes(piped.out)
    same(kind, made, foreign)
    assert "of which" in piped.err  # what is said goes there
    with vhdx.open(made) as disk:
        assert disk.pread(SIZE, 0) == CONTENT
    if options[1] == "vhdx":
        assert vhdx.check(made).findings == ()


def test_sectors_of_4096_bytes(folder: Path, tmp_path: Path) -> None:
    """QEMU refuses them: read by the naive reader."""
    made = tmp_path / "made.vhdx"
    made.write_bytes(
        Piped("convert", "-O", "vhdx", "--logical-sector-size", "4096", folder / "a.raw", "-").out
    )
    assert (naive_size(made), naive_content(made, 0, SIZE)) == (24 * MIB, CONTENT)
    assert vhdx.check(made).findings == ()


def test_a_vhdx_is_the_file_that_a_conversion_makes_but_for_blocks_of_zeros(
    folder: Path, tmp_path: Path
) -> None:
    """Its size is what `measure` says without reading."""
    piped = Piped("convert", "-O", "vhdx", folder / "a.vhdx", "-")
    assert len(piped.out) == vhdx.measure(folder / "a.vhdx").required_size
    made = tmp_path / "made.vhdx"
    made.write_bytes(piped.out)
    assert naive_size(made) == SIZE
    assert naive_content(made, 0, SIZE) == CONTENT


def test_json_goes_to_standard_error(folder: Path) -> None:
    piped = Piped("convert", "--json", "-O", "raw", folder / "a.vhdx", "-")
    assert piped.out == CONTENT
    assert json.loads(piped.err)["result"]["virtual_size"] == SIZE


def test_a_format_must_be_said(folder: Path) -> None:
    assert "say -O raw, -O vhdx or -O vhd" in run("convert", folder / "a.vhdx", "-").sentence


def test_space_cannot_be_shared_with_a_pipe(folder: Path) -> None:
    piped = Piped("convert", "-O", "vhdx", "--clone", "always", folder / "a.vhdx", "-", code=USAGE)
    assert piped.out == b""


def test_nothing_is_written_into_a_file_of_the_source(folder: Path, tmp_path: Path) -> None:
    source = tmp_path / "a.vhdx"
    before = (folder / "a.vhdx").read_bytes()
    source.write_bytes(before)
    with open(source, "ab") as output:
        line = [*COMMAND, "convert", "-O", "raw", str(source), "-"]
        done = subprocess.run(line, stdout=output, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, b"is the source" in done.stderr) == (USAGE, True)
    assert source.read_bytes() == before


def test_whoever_reads_no_more_ends_it(folder: Path) -> None:
    line = [*COMMAND, "convert", "-O", "raw", str(folder / "a.vhdx"), "-"]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(5)
        process.stdout.close()
        assert (process.wait(), process.stderr.read()) == (1, b"")


@pytest.mark.parametrize("options", [["-O", "vhdx"], ["-O", "vhd"], ["-O", "vhd", "--type", "dynamic"]])
def test_what_was_broken_off_is_no_whole_image(folder: Path, tmp_path: Path, options: list[str]) -> None:
    """However much of it arrived."""
    whole = Piped("convert", *options, folder / "a.vhdx", "-").out
    for length in (1, 70_000, 5 * MIB, len(whole) - MIB):
        part = tmp_path / f"{length}.{options[1]}"
        part.write_bytes(whole[:length])
        with pytest.raises((vhdx.VhdxError, OSError)):
            vhdx.convert(part, tmp_path / "x.raw", source_format="vhd" if options[1] == "vhd" else "vhdx")
        assert not (tmp_path / "x.raw").exists()


# What comes in -----------------------------------------------------------------------------------


def made_by(folder: Path, tmp_path: Path, kind: str) -> bytes:
    """A source of a kind, as a file of another name."""
    made = tmp_path / f"source.{KINDS[kind][0][1]}"
    options = dict(zip(KINDS[kind][0][2::2], KINDS[kind][0][3::2], strict=False))
    assert (
        run("convert", folder / "a.raw", made, *[word for pair in options.items() for word in pair]).code == 0
    )
    return made.read_bytes()


@pytest.mark.parametrize(
    ("kind", "kept"), [("vhdx", False), ("fixed vhdx", False), ("fixed vhd", True), ("dynamic vhd", True)]
)
def test_images_come_through_a_pipe(folder: Path, tmp_path: Path, kind: str, kept: bool) -> None:
    """A VHDX whose blocks stand in order is read front to back, all else once it was kept whole."""
    given = made_by(folder, tmp_path, kind)
    options = ["-f", "vhd"] if kind == "fixed vhd" else []
    piped = Piped("convert", *options, "-", tmp_path / "b.raw", given=given)
    assert (tmp_path / "b.raw").read_bytes().rstrip(b"\0") == CONTENT
    assert ("a temporary file without a name" in piped.err) == kept


@pytest.mark.parametrize("blocks", [{0: 1, 1: 0}, {0: 2, 1: 0, 2: 1}, {0: 0, 1: 1, 2: 2}])
def test_blocks_that_stand_otherwise_are_kept(tmp_path: Path, blocks: dict[int, int]) -> None:
    contents = {block: bytes([65 + block]) * MIB for block in blocks}
    first = ImageBuilder(disk_size=4 * MIB, block_size=MIB).plan().end
    described = {
        block: Block(data=contents[block], file_offset=first + place * MIB) for block, place in blocks.items()
    }
    path = ImageBuilder(disk_size=4 * MIB, block_size=MIB, blocks=described).write(tmp_path / "a.vhdx")
    piped = Piped("convert", "-", tmp_path / "b.raw", given=path.read_bytes())
    expected = b"".join(contents.get(block, bytes(MIB)) for block in range(4))
    assert (tmp_path / "b.raw").read_bytes() == expected
    in_order = list(blocks.values()) == sorted(blocks.values())
    assert ("a temporary file without a name" in piped.err) != in_order


def test_a_vhdx_that_ends_early_makes_nothing(folder: Path, tmp_path: Path) -> None:
    given = (folder / "a.vhdx").read_bytes()
    for length in (9, 100_000, 3 * MIB, len(given) - 513):
        Piped("convert", "-", tmp_path / "b.raw", given=given[:length], code=1)
        assert os.listdir(tmp_path) == []


def test_what_stands_behind_the_blocks_is_read_to_its_end(folder: Path, tmp_path: Path) -> None:
    """Else whoever writes the pipe would be killed by it, and a shell with pipefail call that a failure."""
    sent = f"(cat {folder}/a.vhdx; head -c 9000000 /dev/zero)"
    line = f"set -o pipefail; {sent} | {' '.join(COMMAND)} convert - b.raw"
    subprocess.run(["bash", "-c", line], check=True, capture_output=True, cwd=tmp_path)
    assert (tmp_path / "b.raw").read_bytes() == CONTENT


@needs("qemu-img")
def test_what_qemu_makes_comes_through_a_pipe(folder: Path, tmp_path: Path) -> None:
    made = tmp_path / "q.vhdx"
    subprocess.run(["qemu-img", "convert", "-O", "vhdx", str(folder / "a.raw"), str(made)], check=True)
    Piped("convert", "-", tmp_path / "b.raw", given=made.read_bytes())
    assert (tmp_path / "b.raw").read_bytes().rstrip(b"\0") == CONTENT


def test_from_pipe_to_pipe_to_pipe(folder: Path) -> None:
    """As through ssh, twice."""
    convert = f"{' '.join(COMMAND)} convert"
    line = f"{convert} -O vhdx {folder}/a.vhdx - | cat | {convert} -O vhdx - - | {convert} -O raw - -"
    done = subprocess.run(["bash", "-c", f"set -o pipefail; {line}"], check=True, capture_output=True)
    assert done.stdout == CONTENT


def test_a_child_comes_through_a_pipe_with_parents_that_are_named(folder: Path, tmp_path: Path) -> None:
    child = tmp_path / "c.avhdx"
    vhdx.create(child, parent=folder / "a.vhdx")
    with vhdx.open(child, "r+", parents=[folder]) as disk:
        disk.pwrite(b"new", 9 * MIB)
    expected = CONTENT[: 9 * MIB] + b"new" + CONTENT[9 * MIB + 3 :]
    assert (
        Piped("convert", "-O", "raw", "-", "-", "--parent-dir", folder, given=child.read_bytes()).out
        == expected
    )
    refused = Piped("convert", "-O", "raw", "-", "-", given=child.read_bytes(), code=1)
    assert (refused.out, "was not found" in refused.err) == (b"", True)


def test_an_image_is_on_standard_input_as_a_file(folder: Path) -> None:
    with open(folder / "a.vhdx", "rb") as source:
        line = [*COMMAND, "convert", "-O", "raw", "-", "-"]
        done = subprocess.run(line, stdin=source, capture_output=True, check=True)
    assert (done.stdout == CONTENT, b"temporary" in done.stderr) == (True, False)


@pytest.mark.parametrize(("place", "words"), [("nbds://h/x", "nbdcopy"), ("gcs://b/x.vhdx", "only read")])
def test_places_that_are_not_written_say_so(folder: Path, place: str, words: str) -> None:
    done = run("convert", folder / "a.vhdx", place)
    assert (done.code, words in done.sentence) == (USAGE, True)
    assert run("convert", folder / "a.vhdx", "https://h/x.vhdx").code == USAGE
    for verb in ("dump", "log", "tree"):
        assert "reads files of this host only" in run(verb, place).sentence
    for line in (["create", place, "1M"], ["merge", place]):
        refused = run(*line)
        assert (refused.code, "only files of this host" in refused.err) == (USAGE, True)


@needs("socat", "qemu-img")
def test_a_disk_goes_through_a_socket_to_a_command_elsewhere(folder: Path, tmp_path: Path) -> None:
    """As over ssh: the other end runs the command and is fed by a stream that is no pipe of ours."""
    convert, socket = " ".join([*COMMAND, "convert"]), tmp_path / "s"
    there = ["socat", f"UNIX-LISTEN:{socket}", f"SYSTEM:{convert} -O vhdx - {tmp_path}/there.vhdx"]
    with subprocess.Popen(there, stderr=subprocess.DEVNULL) as listening:
        while not socket.exists():
            assert listening.poll() is None
            time.sleep(0.01)
        here = f"{convert} -O vhdx {folder}/a.vhdx - | socat -t 30 - UNIX-CONNECT:{socket}"
        subprocess.run(["bash", "-o", "pipefail", "-c", here], check=True)
        assert listening.wait(60) == 0
    same("vhdx", tmp_path / "there.vhdx", "vhdx")


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_where_there_is_no_room_for_more(folder: Path, unbuffered: str) -> None:
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    with open("/dev/full", "wb") as full:
        line = [*COMMAND, "convert", "-O", "raw", str(folder / "a.vhdx"), "-"]
        done = subprocess.run(line, stdout=full, stderr=subprocess.PIPE, check=False, env=environment)
    assert (done.returncode, b"no data had been written" in done.stderr) == (1, True)


@pytest.mark.parametrize("size", ["8M", "7M"])
def test_a_full_host_is_told_at_the_end_of_the_zeros_of_an_empty_disk_too(tmp_path: Path, size: str) -> None:
    vhdx.create(tmp_path / "empty.vhdx", size)
    with open("/dev/full", "wb") as full:
        line = [*COMMAND, "convert", "-O", "raw", str(tmp_path / "empty.vhdx"), "-"]
        done = subprocess.run(line, stdout=full, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, b"no data had been written" in done.stderr) == (1, True)


def test_a_pipe_that_does_not_wait_is_read_to_its_end(tmp_path: Path) -> None:
    """Whoever shares it may have said so."""
    vhdx.create(tmp_path / "written.vhdx", SIZE)
    for verb in (["convert", "-f", "raw", "-", "made.vhdx"], ["write", "written.vhdx", "0"]):
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        with subprocess.Popen(
            [*COMMAND, *verb], stdin=reader, cwd=tmp_path, stdout=subprocess.DEVNULL
        ) as process:
            os.close(reader)
            with open(writer, "wb", buffering=0) as stream:
                stream.writelines(CONTENT[start : start + 5 * MIB] for start in range(0, SIZE, 5 * MIB))
        assert process.returncode == 0
    for name in ("made.vhdx", "written.vhdx"):
        with vhdx.open(tmp_path / name) as disk:
            assert disk.pread(SIZE, 0) == CONTENT
            assert disk.size == SIZE


def test_a_fixed_vhd_that_is_taken_for_a_raw_disk_is_told_of(folder: Path, tmp_path: Path) -> None:
    vhdx.convert(folder / "a.raw", tmp_path / "a.vhd")
    given = (tmp_path / "a.vhd").read_bytes()
    guessed = Piped("convert", "-", tmp_path / "guessed.raw", given=given)
    assert "say -f vhd" in guessed.err
    assert "footer" not in Piped("convert", "-f", "vhd", "-", tmp_path / "vhd.raw", given=given).err
    assert "footer" not in Piped("convert", "-f", "raw", "-", tmp_path / "raw.raw", given=given).err
    assert "footer" not in Piped("convert", "-", tmp_path / "disk.raw", given=given[:-1]).err
    assert (tmp_path / "vhd.raw").read_bytes().rstrip(b"\0") == CONTENT


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("verb", [("convert", "-O", "raw", "a.vhdx", "-"), ("read", "a.vhdx", "0")])
def test_an_output_that_does_not_wait_gets_everything(
    folder: Path, verb: tuple[str, ...], unbuffered: str
) -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    line = [*COMMAND, *verb]
    with subprocess.Popen(
        line, stdout=writer, stderr=subprocess.DEVNULL, cwd=folder, env=environment
    ) as process:
        os.close(writer)
        with open(reader, "rb") as stream:
            assert stream.read() == CONTENT
    assert process.returncode == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a disk that is always full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("verb", [("read", "a.vhdx", "0", "1500"), ("info", "a.vhdx")])
def test_an_output_without_room_is_told_once(folder: Path, verb: tuple[str, ...], unbuffered: str) -> None:
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    with open("/dev/full", "wb") as full:
        line = [*COMMAND, *verb]
        done = subprocess.run(
            line, stdout=full, stderr=subprocess.PIPE, cwd=folder, env=environment, check=False
        )
    assert (done.returncode, done.stderr.count(b"\n")) == (1, 1)


def test_a_write_that_takes_a_part_is_gone_on_with(folder: Path, tmp_path: Path) -> None:
    """The last of it finds no room: without a buffer Python does not say so."""
    resource = pytest.importorskip("resource", reason="not on Windows")
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with open(tmp_path / "short", "wb") as short:
        done = subprocess.run(
            [*COMMAND, "read", "a.vhdx", "0", "1500"],
            stdout=short,
            stderr=subprocess.PIPE,
            cwd=folder,
            env=environment,
            check=False,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)),
        )
    assert done.returncode == 1
    assert b"too large" in done.stderr
