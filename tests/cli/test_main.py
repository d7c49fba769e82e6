"""The entry point: verbs, help, exit codes, one sentence for each failure, and streams that are not there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import vhdx
from tests.docs.scenes import damaged
from tests.support.build import ImageBuilder
from tests.support.damage import flip
from tests.support.layout import MIB

from .running import COMMAND, USAGE, run, succeed

VERBS = ("convert", "create", "info")


@pytest.fixture(name="image")
def _image(tmp_path: Path) -> Path:
    return ImageBuilder(4 * MIB).write(tmp_path / "a.vhdx")


# help and versions -------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help(option: str) -> None:
    text = succeed(option)
    assert text.startswith("Usage: vhdx [OPTIONS] COMMAND")
    for verb in VERBS:
        assert f"\n  {verb} " in text
    assert "Exit codes: 0 success, 1 failure, 64 wrong usage, 130 interrupted." in text


@pytest.mark.parametrize("option", ["--help", "-h"])
@pytest.mark.parametrize(
    ("verb", "usage", "options"),
    [
        (
            "info",
            "info [OPTIONS] IMAGE...",
            ["--chain", "--blocks", "--parent-dir", "--any-parent", "--json"],
        ),
        (
            "create",
            "create [OPTIONS] IMAGE [SIZE]",
            [
                *("--type", "--block-size", "--log-size", "--logical-sector-size"),
                *("--physical-sector-size", "--disk-id", "--zero-blocks", "--force"),
            ],
        ),
        (
            "convert",
            "convert [OPTIONS] SOURCE TARGET",
            [
                *("-f", "-O", "--type", "--block-size", "--log-size", "--logical-sector-size"),
                *("--physical-sector-size", "--disk-id", "--zero-blocks", "--force"),
                *("--parent-dir", "--any-parent"),
            ],
        ),
    ],
)
def test_help_of_a_verb(option: str, verb: str, usage: str, options: list[str]) -> None:
    text = succeed(verb, option)
    assert text.startswith(f"Usage: vhdx {usage}\n")
    for name in options:
        assert f" {name}" in text
    assert max(map(len, text.splitlines())) <= 80


def test_no_option_goes_unexplained() -> None:
    for verb in VERBS:
        lines = succeed(verb, "--help").partition("Options:")[2].splitlines()
        for line, following in zip(lines, [*lines[1:], ""], strict=True):
            if line.startswith("  -"):
                explained = "  " in line.strip() or following.startswith("       ")
                assert explained, f"{verb}: {line}"


def test_version() -> None:
    assert succeed("--version") == f"vhdx {vhdx.__version__}\n"


def test_the_console_script_is_the_module(image: Path) -> None:
    script = Path(sys.executable).with_name("vhdx")
    done = subprocess.run([script, "info", image], capture_output=True, text=True, check=True)
    assert done.stdout == succeed("info", image)


# wrong usage -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "Usage: vhdx"),
        (("frobnicate",), "there is no verb 'frobnicate'; vhdx -h lists them"),
        (("inof",), "did you mean vhdx info?"),
        (("--frobnicate",), "No such option"),
        (("info",), "Missing argument 'IMAGE...'"),
        (("map", "a", "b"), "unexpected extra argument"),
        (("info", "--frobnicate", "a"), "No such option"),
        (("info", "a", "--parent-dir", "no such directory"), "no such directory"),
        (("create",), "Missing argument"),
        (("create", "a.vhdx"), "a disk without a parent needs a size"),
        (("create", "a.vhdx", "ten"), "'ten' is not a size"),
        (("create", "a.vhdx", "10GQ"), "not a size"),
        (("create", "a.vhdx", "0"), "more than 0 and at most 64 TiB"),
        (("create", "a.vhdx", "65T"), "more than 0 and at most 64 TiB"),
        (("create", "a.vhdx", "1M", "--block-size", "512M"), "at most 256 MiB"),
        (("create", "a.vhdx", "1M", "--log-size", "4G"), "at most 4 GiB - 1 MiB"),
        (("create", "a.vhdx", "1M", "--type", "differencing"), "a differencing image is a VHDX and made by"),
        (("create", "a.vhdx", "1M", "--logical-sector-size", "1024"), "1024 is neither 512 nor 4096"),
        (("create", "a.vhdx", "1M", "--physical-sector-size", "x"), "not a size"),
        (("create", "a.vhdx", "1M", "--disk-id", "7"), "'7' is not a UUID"),
        (("create", "a.vhdx", "1M", "--type", "fixed", "--zero-blocks"), "dynamic images only"),
        (("convert", "a.raw"), "Missing argument 'TARGET'"),
        (("convert", "a.raw", "b.raw", "-f", "qcow2"), "'qcow2' is not one of"),
        (("convert", "a.raw", "b.xyz"), "does not tell a format"),
    ],
)
def test_wrong_usage(tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    done = run(*arguments, cwd=tmp_path)
    assert (done.code, done.out) == (USAGE, "")
    assert words in done.err
    assert os.listdir(tmp_path) == []


# failures ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("info", "absent.vhdx"), "absent.vhdx: No such file or directory"),
        (("map", "."), ".: Is a directory"),
        (("compact", "text"), "text: file identifier at file offset 0: "),
        (("info", "empty"), "empty: it is empty"),
        (("info", "damaged.vhdx"), "damaged.vhdx: "),
        (("convert", "absent.raw", "new.vhdx"), "absent.raw: No such file or directory"),
        (("convert", "damaged.vhdx", "new.raw"), "damaged.vhdx: "),
        (("create", "a.vhdx", "1M"), "a.vhdx exists already; --force replaces it"),
        (("convert", "text", "a.vhdx"), "a.vhdx exists already; --force replaces it"),
        (("create", "absent/new.vhdx", "1M"), "absent/new.vhdx: No such file or directory"),
        (("create", "text/new.vhdx", "1M"), "text/new.vhdx: Not a directory"),
        (("convert", "text", "absent/new.vhdx"), "absent/new.vhdx: No such file or directory"),
    ],
)
def test_a_failure_is_one_sentence(image: Path, arguments: tuple[str, ...], words: str) -> None:
    folder = image.parent
    (folder / "text").write_text("this is text\n" * 100000)
    (folder / "empty").touch()
    damaged = ImageBuilder(4 * MIB).write(folder / "damaged.vhdx")
    for offset in (64 << 10, 128 << 10):
        flip(damaged, offset)
    before = sorted(os.listdir(folder))
    done = run(*arguments, cwd=folder)
    assert done.code == 1
    if os.name == "nt":  # which says such things in words, and the language, of its own
        words = words.removesuffix("No such file or directory").removesuffix("Not a directory")
    assert words in done.sentence
    assert sorted(os.listdir(folder)) == before


def test_an_image_that_is_in_use(image: Path) -> None:
    with vhdx.open(image):
        done = run("create", image, "1M", "--force")
    assert done.code == 1
    assert str(image) in done.sentence
    assert f"process {os.getpid()}" in done.sentence


# names that are no text --------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8", "ascii:strict", "latin-1:strict"])
@pytest.mark.parametrize(
    "name", [b"a\xff.vhdx", b"a\xe4\xf6.vhdx", "aäö漢.vhdx".encode(), b"a\x1b[31m\n.vhdx"]
)
def test_names_of_any_bytes(tmp_path: Path, name: bytes, encoding: str) -> None:
    """A name that cannot be printed is no reason to fail after the work is done."""
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    path = os.fsencode(tmp_path) + b"/" + name
    verbs: list[list[str | bytes]] = [
        ["create", path, "1M"],
        ["info", path],
        ["convert", path, path + b".raw"],
    ]
    for verb in verbs:
        command: list[str | bytes] = [*COMMAND, *verb]
        done = subprocess.run(command, capture_output=True, env=environment, check=False)
        assert (done.returncode, done.stderr) == (0, b"")
        assert b"\x1b" not in done.stdout
    absent = subprocess.run(
        [*COMMAND, "info", path + b".absent"], capture_output=True, env=environment, check=False
    )
    assert absent.returncode == 1
    assert b"Traceback" not in absent.stderr
    assert b"\x1b" not in absent.stderr


# standard streams --------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", ["info a.vhdx", "info a.vhdx --json", "--help", "info --help"])
def test_a_reader_that_has_seen_enough(image: Path, arguments: str) -> None:
    """``vhdx … | head -1``: no traceback, nothing of Python's own complaints."""
    reading, writing = os.pipe()
    os.close(reading)
    command = [*COMMAND, *arguments.split()]
    with os.fdopen(writing, "wb") as pipe:
        done = subprocess.run(
            command, stdout=pipe, stderr=subprocess.PIPE, cwd=image.parent, check=False, text=True
        )
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.parametrize("arguments", ["info a.vhdx", "create b.vhdx 1M", "--help", "--version"])
def test_standard_output_that_is_full(image: Path, arguments: str) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [*COMMAND, *arguments.split()],
            stdout=full,
            stderr=subprocess.PIPE,
            cwd=image.parent,
            check=False,
            text=True,
        )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines() == ["vhdx: No space left on device"]


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ("info a.vhdx", 0),
        ("check a.vhdx", 0),
        ("create b.vhdx 1M", 0),
        ("--help", 0),
        ("info absent", 1),
        ("frobnicate", USAGE),
    ],
)
def test_streams_that_are_closed(image: Path, arguments: str, code: int, closed: str) -> None:
    """As daemons start things. The descriptors that are free must not become the image's."""
    line = f"exec {' '.join(COMMAND)} {arguments} {closed}"
    done = subprocess.run(["sh", "-c", line], capture_output=True, cwd=image.parent, check=False, text=True)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("target", ["b.raw", "b.vhdx"])
def test_standard_input_that_is_closed(tmp_path: Path, target: str) -> None:
    line = f"exec {' '.join(COMMAND)} convert - {target} <&-"
    done = subprocess.run(["sh", "-c", line], capture_output=True, cwd=tmp_path, check=False, text=True)
    assert done.returncode in (1, USAGE)
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert os.listdir(tmp_path) == []


def test_an_item_from_standard_input_that_is_closed(image: Path) -> None:
    line = f"exec {' '.join(COMMAND)} metadata set {image} 11111111-2222-3333-4444-555555555555 <&-"
    done = subprocess.run(["sh", "-c", line], capture_output=True, check=False, text=True)
    assert done.returncode == USAGE
    assert done.stderr == "vhdx: standard input or output is closed\n"


def test_a_comparison_whose_reader_has_gone_says_nothing_about_the_disks(image: Path) -> None:
    """Exit code 1 would say that they differ."""
    reader, writer = os.pipe()
    os.close(reader)
    with subprocess.Popen([*COMMAND, "compare", image, image], stdout=writer, stderr=subprocess.PIPE) as done:
        os.close(writer)
        assert done.wait() == 2


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("create there 1M", True),
        ("convert a.vhdx there -O raw", True),
        ("repair --backup there a.vhdx", False),
    ],
)
def test_force_is_named_where_there_is_one(line: str, hint: bool, tmp_path: Path) -> None:
    damaged(tmp_path)
    (tmp_path / "vm.vhdx").rename(tmp_path / "a.vhdx")
    (tmp_path / "there").touch()
    done = run(*line.split(), cwd=tmp_path)
    assert done.code == 1
    assert "there exists already" in done.err
    assert ("--force" in done.err) is hint
