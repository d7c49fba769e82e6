"""What the start of the command costs: which modules are imported, and which command lines need no parser."""

import os
import subprocess
import sys
from inspect import signature
from pathlib import Path
from typing import Any

import click
import pytest
from click.shell_completion import BashComplete
from hypothesis import given
from hypothesis import strategies as st

import vhdx
from tests.filesystems.making import MIB, need, raw_file
from tests.filesystems.making import run as ran
from vhdx.cli import quick, verbs
from vhdx.cli.options import volumes_of

from .running import USAGE, run, succeed

SLOW = {
    *("click", "rich", "numpy", "dataclasses", "inspect", "json", "datetime", "importlib.metadata", "typing"),
    *("unicodedata", "zlib"),
    *(("posixpath",) if os.name == "nt" else ("ntpath", "threading", "weakref")),
}
"""What people would notice, and what is of no use to whoever looks at a small image."""
USED = {"zlib", "threading", "weakref"}
"""What of it whoever reads contents needs: a checksum of partitions, reading ahead."""
OF_BOTH = {
    "cli": {"exit_codes", "interrupted", "main", "quick", "render", "start"},
    "disk": {"formats", "places"},
    "examine": {"host_holes"},
    "format": {
        "bat",
        "checksum",
        "fields",
        "foreign",
        "guids",
        "header",
        "identifier",
        "locator",
        "log",
        "metadata",
        "region",
    },
    "storage": {"base", "file", "host", "locks", "sparse", "stream"},
}
OF_INFO = {
    "cli": {"show_info"},
    "ops": {"info", "info_any", "tracking"},
    "write": {"space", "survey"},
}
OF_CHECK = {
    "cli": {"show_check"},
    "examine": {"check", "corrections", "table", "unreadable"},
    "ops": {"check"},
    "storage": {"runs", "skipping", "zeros"},
}
"""The modules that `info` and `check` of an empty disk import: one more takes everybody's time."""
COMPLETING = {"_VHDX_COMPLETE": "bash_complete", "COMP_WORDS": "vhdx {}", "COMP_CWORD": "1"}
LEFT_TO_CLICK = {
    "convert": {"free", "swap", "zero_blocks", "scan_zeros", "verify", "salvage", "ignore_bitmaps"}
}
"""Flags of what takes long anyway, or goes with others."""
IMAGE_MODULES = 11
"""How many of the rooms that know one VHDX file."""


@pytest.fixture(name="image")
def _image(tmp_path: Path) -> Path:
    vhdx.create(tmp_path / "vm.vhdx", "64M")
    return tmp_path / "vm.vhdx"


def imported(*arguments: str | Path) -> set[str]:
    """What is imported once a command line has run."""
    program = (
        "import sys\n"
        "from vhdx.cli import start\n"
        "try:\n"
        "    start.run()\n"
        "except SystemExit as end:\n"
        "    assert not end.code, end.code\n"
        "print(*sys.modules, file=sys.stderr)\n"
    )
    words = [sys.executable, "-c", program, *map(str, arguments)]
    return {*subprocess.run(words, capture_output=True, text=True, check=True).stderr.split()}


@pytest.mark.parametrize(("verb", "own"), [("info", OF_INFO), ("check", OF_CHECK)])
def test_the_modules_of_a_look(image: Path, verb: str, own: dict[str, set[str]]) -> None:
    found = imported(verb, image)
    assert not found & SLOW
    rooms: dict[str, set[str]] = {}
    for name in found:
        if name.startswith("vhdx.") and name.count(".") == 2:
            rooms.setdefault(name.split(".")[1], set()).add(name.split(".")[2])
    assert len(rooms.pop("image")) <= IMAGE_MODULES
    assert rooms == {room: OF_BOTH.get(room, set()) | own.get(room, set()) for room in {*OF_BOTH, *own}}


def test_the_version_needs_nothing() -> None:
    found = imported("--version")
    assert not found & {*SLOW, "uuid", "vhdx.disk", "vhdx.image"}


@pytest.mark.parametrize(("source", "target"), [("vm.vhdx", "out.raw"), ("disk.raw", "out.vhdx")])
def test_a_conversion_needs_no_parser_and_only_what_it_converts(
    image: Path, source: str, target: str
) -> None:
    image.with_name("disk.raw").write_bytes(bytes(MIB) + b"x" * MIB)
    found = imported("convert", "--no-sync", image.with_name(source), image.with_name(target))
    assert image.with_name(target).exists()
    assert not found & (SLOW - USED)
    assert not found & {"hashlib", "vhdx.disk.vhd", "vhdx.disk.parts", "vhdx.ops.make.cloning"}


@pytest.mark.parametrize("arguments", [("info",), ("check",)])
def test_a_chain_needs_no_parser(image: Path, arguments: tuple[str, ...]) -> None:
    vhdx.create(image.with_name("child.vhdx"), parent=image)
    found = imported(*arguments, "--chain", image.with_name("child.vhdx"))
    assert "click" not in found


@pytest.mark.parametrize("kind", ["ext4", "ntfs"])
def test_listing_needs_neither_parser_nor_typing(tmp_path: Path, kind: str) -> None:
    need(f"mkfs.{kind}")
    pytest.importorskip("pyfsext", reason="needs the extra vhdx[files]")
    raw = raw_file(tmp_path / "guest.raw", 16 * MIB)
    ran(f"mkfs.{kind}", "-q", "-F", raw)
    assert not imported("ls", "-R", raw) & (SLOW - USED)


# The same as click ----------------------------------------------------------------------------


def by_click(verb: str, words: list[str]) -> dict[str, Any] | None:
    """The parameters as click reads them, volumes gathered; None where it complains."""
    command = verbs.main.get_command(click.Context(verbs.main), verb)
    assert command is not None
    try:
        read = command.make_context(verb, list(words)).params
    except (click.exceptions.ClickException, click.exceptions.Exit):
        return None
    if verb == "convert":
        read["volumes"] = volumes_of(**{name: read.pop(name) for name in signature(volumes_of).parameters})
    return read


WORDS = st.one_of(
    st.sampled_from(sorted({flag for flags in quick.FLAGS.values() for flag in flags})),
    st.sampled_from(["--", "-", "--js", "--parent-dir", "--help", "-h", "a.vhdx", "", "--json=1", "-x", "ü"]),
    st.text(max_size=4),
)


@given(st.sampled_from(sorted(quick.FLAGS)), st.lists(WORDS, max_size=4))
def test_what_is_read_without_click_reads_the_same(verb: str, words: list[str]) -> None:
    call = quick.call_of([verb, *words])
    if call is not None:
        assert call.args == (verb, by_click(verb, words))


@pytest.mark.parametrize("verb", sorted(quick.FLAGS))
def test_every_flag_is_known(verb: str) -> None:
    command = verbs.main.get_command(click.Context(verbs.main), verb)
    assert command is not None
    flags = {
        option: parameter.name
        for parameter in command.params
        if isinstance(parameter, click.Option) and parameter.is_flag
        for option in parameter.opts
    }
    assert {flag for flag, name in flags.items() if name not in LEFT_TO_CLICK.get(verb, ())} == {
        *quick.FLAGS[verb]
    }
    flags = quick.FLAGS[verb]
    names = quick.NAMES.get(verb, ("one", "two", "three"))
    for words in ([*names, *flags], [*flags, *names], [*names[:1], *flags, *names[1:]]):
        call = quick.call_of([verb, *words])
        assert call is not None
        assert call.args == (verb, by_click(verb, words))


@pytest.mark.parametrize(
    "words", [[], ["info"], ["info", "a", ""], ["info", "-"], ["infos", "a"], ["--version", "x"]]
)
def test_the_rest_is_for_click(words: list[str]) -> None:
    assert quick.call_of(words) is None


def test_mistakes_are_told_as_ever(image: Path) -> None:
    done = run("info", image, "--jsn")
    assert done.code == USAGE
    assert "--json" in done.err
    assert run("info", image, "--he").code == USAGE
    assert succeed("--version") == f"vhdx {vhdx.__version__}\n"


def test_text_is_utf_8_where_the_locale_knows_only_ascii(tmp_path: Path) -> None:
    """As click prints it."""
    path = tmp_path / "ü.vhdx"
    vhdx.create(path, "64M")
    environment = {"PYTHONIOENCODING": "ascii", "PYTHONPATH": os.pathsep.join(sys.path)}
    assert "ü.vhdx" in succeed("info", path, env=environment)


@pytest.mark.parametrize("word", ["", "in", "comp", "info", "zzz"])
def test_bash_is_told_the_verbs_as_by_click(
    word: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in COMPLETING.items():
        monkeypatch.setenv(name, value.format(word))
    call = quick.call_of([])
    assert call is not None
    call()
    by_bash = BashComplete(verbs.main, {}, "vhdx", "_VHDX_COMPLETE")
    expected = [by_bash.format_completion(item) for item in by_bash.get_completions([], word)]
    assert capsys.readouterr().out.splitlines() == expected


@pytest.mark.parametrize(
    "otherwise",
    [
        {"_VHDX_COMPLETE": "zsh_complete"},
        {"COMP_CWORD": "2"},
        {"COMP_WORDS": "vhdx --ver"},
        {"COMP_WORDS": "vhdx info x"},
        {"_VHDX_COMPLETE": "bash_source"},
    ],
)
def test_other_completion_is_clicks(otherwise: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**COMPLETING, **otherwise}.items():
        monkeypatch.setenv(name, value.format("in"))
    assert quick.call_of([]) is None
