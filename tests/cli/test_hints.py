"""What the command says that one should do next, to somebody who never read the specification."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import vhdx
from tests.docs.scenes import chain, damaged, dirty
from tests.support.build import ImageBuilder
from tests.support.damage import flip
from tests.support.layout import MIB
from tests.support.patterns import pattern

from .running import USAGE, run, succeed

REGION_TABLES = (192 << 10, 256 << 10)
FREE = (
    "vm.vhdx: note: free space at file offset 5242880: 1 MiB are free in the file; vhdx compact gives back "
    "what it can ([MS-VHDX] 2.2, space.free)\nvm.vhdx: 0 errors, 0 warnings, 1 note\n"
)
HEADERS = (64 << 10, 128 << 10)


def _flipped(*places: int) -> Callable[[Path], None]:
    def scene(folder: Path) -> None:
        dirty(folder)
        for place in places:
            flip(folder / "vm.vhdx", place + 100)

    return scene


@pytest.mark.parametrize(
    ("scene", "image", "hints"),
    [
        (damaged, "vm.vhdx", ["to see what can be repaired: vhdx repair --dry-run vm.vhdx"]),
        (
            damaged,
            "worse.vhdx",
            [
                "to try to save what can be read: vhdx convert --salvage worse.vhdx SALVAGED.vhdx",
                "to see what can be repaired: vhdx repair --dry-run --accept-data-loss worse.vhdx",
            ],
        ),
        (
            _flipped(*REGION_TABLES),
            "vm.vhdx",
            [
                "to try to save what can be read: vhdx convert --salvage vm.vhdx SALVAGED.vhdx",
                "to see what can be repaired: vhdx repair --dry-run --rebuild vm.vhdx",
            ],
        ),
        (
            _flipped(*HEADERS),
            "vm.vhdx",
            [
                "to try to save what can be read: vhdx convert --salvage vm.vhdx SALVAGED.vhdx",
                "to see what can be repaired: vhdx repair --dry-run --rebuild vm.vhdx",
            ],
        ),
        (dirty, "vm.vhdx", []),
    ],
)
def test_after_a_check(scene: Callable[[Path], None], image: str, hints: list[str], tmp_path: Path) -> None:
    scene(tmp_path)
    lines = run("check", image, cwd=tmp_path).out.splitlines()
    assert [line for line in lines if ": to " in line] == [f"{image}: {hint}" for hint in hints]


def test_after_a_check_that_found_no_parent(tmp_path: Path) -> None:
    chain(tmp_path)
    (tmp_path / "sunday.vhdx").unlink()
    done = run("check", "--chain", "monday.avhdx", cwd=tmp_path)
    assert done.code == 2
    lines = done.out.splitlines()
    assert lines[1].startswith(f"  {tmp_path.anchor}"), "each place that was tried is a line"
    assert lines[-1].endswith(
        "look for the parent elsewhere: vhdx check --chain --parent-dir DIR monday.avhdx"
    )


@pytest.mark.parametrize(
    ("scene", "hint"),
    [
        (dirty, "the log was replayed in memory; to replay it in the file: vhdx repair vm.vhdx"),
        (damaged, "for all that is wrong: vhdx check vm.vhdx"),
    ],
)
def test_after_info(scene: Callable[[Path], None], hint: str, tmp_path: Path) -> None:
    scene(tmp_path)
    assert succeed("info", "vm.vhdx", cwd=tmp_path).splitlines()[-1] == hint


def test_an_image_that_does_not_open_names_the_check(tmp_path: Path) -> None:
    _flipped(*HEADERS)(tmp_path)
    done = run("convert", "vm.vhdx", "new.raw", cwd=tmp_path)
    assert done.sentence.endswith("; try: vhdx check vm.vhdx")


def test_what_is_no_image_needs_no_check(tmp_path: Path) -> None:
    (tmp_path / "text.vhdx").write_text("text" * 100_000)
    assert run("info", "text.vhdx", cwd=tmp_path).sentence.endswith("([MS-VHDX] 2.2.1)")


def test_a_difference_needs_a_parent(tmp_path: Path) -> None:
    chain(tmp_path)
    done = run("diff", "sunday.vhdx", cwd=tmp_path)
    assert done.sentence.startswith("sunday.vhdx is no differencing image: it has no parent")


def test_no_user_items_is_said(tmp_path: Path) -> None:
    chain(tmp_path)
    done = run("metadata", "list", "sunday.vhdx", cwd=tmp_path)
    assert (done.code, done.sentence) == (0, "sunday.vhdx has no user items")


CHANGING = ["write monday.avhdx 0", "zero monday.avhdx 0 1M"]


def test_a_copy_beside_orphans_nobody(tmp_path: Path) -> None:
    """The child finds the image that it names, whatever becomes of its copy."""
    chain(tmp_path)
    shutil.copy(tmp_path / "monday.avhdx", tmp_path / "copy.avhdx")
    assert run("write", "copy.avhdx", "0", cwd=tmp_path, input="any bytes").code == 0
    succeed("info", "tuesday.avhdx", cwd=tmp_path)
    shutil.move(tmp_path / "monday.avhdx", tmp_path / "elsewhere.avhdx")
    assert "would take their parent" in run("write", "elsewhere.avhdx", "0", cwd=tmp_path, input="x").sentence


@pytest.mark.parametrize("line", [*CHANGING, "trim monday.avhdx 0 1M", "serve --write monday.avhdx"])
def test_whoever_would_orphan_a_child_is_told(line: str, tmp_path: Path) -> None:
    chain(tmp_path)
    before = (tmp_path / "monday.avhdx").read_bytes()
    done = run(*line.split(), cwd=tmp_path, input="any bytes")
    assert done.code == 1
    assert "would take their parent from" in done.sentence
    assert "tuesday.avhdx; --force does it nevertheless" in done.sentence
    assert (tmp_path / "monday.avhdx").read_bytes() == before


@pytest.mark.parametrize("line", CHANGING)
def test_force_does_it_and_the_way_back_is_told(line: str, tmp_path: Path) -> None:
    """Nobody is sent in a circle: what is advised is what opens the child."""
    chain(tmp_path)
    succeed(*line.split(), "--force", cwd=tmp_path, input="any bytes")
    done = run("info", "--chain", "tuesday.avhdx", cwd=tmp_path)
    assert done.code == 1
    assert " --parent FILE --ignore-identity takes it as it is" in done.err
    succeed("rebase", "--parent", "monday.avhdx", "--ignore-identity", "tuesday.avhdx", cwd=tmp_path)
    succeed("info", "--chain", "tuesday.avhdx", cwd=tmp_path)


def test_a_parent_elsewhere_is_reached_as_is_told(tmp_path: Path) -> None:
    chain(tmp_path)
    below = tmp_path / "below"
    below.mkdir()
    (tmp_path / "tuesday.avhdx").rename(below / "tuesday.avhdx")
    succeed("rebase", "below/tuesday.avhdx", "--parent", "monday.avhdx", cwd=tmp_path)
    done = run("info", "--chain", "below/tuesday.avhdx", cwd=tmp_path)
    advice = "vhdx info below/tuesday.avhdx --chain --any-parent"
    assert done.err.endswith(f"try: {advice}\n")
    succeed(*advice.split()[1:], cwd=tmp_path)


@pytest.mark.parametrize("verb", ["compact", "set --disk-id new"])
def test_a_vhd_is_none(verb: str, tmp_path: Path) -> None:
    (tmp_path / "vm.vhdx").write_bytes(b"conectix".ljust(4096, b"\0"))
    done = run(*verb.split(), "vm.vhdx", cwd=tmp_path)
    assert done.code == 1
    assert "this is no VHDX file: it is a VHD, the older format" in done.sentence


@pytest.mark.parametrize("verb", ["check", "repair", "compact", "set --disk-id new"])
@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", "it is empty"),
        (b"QFI\xfb".ljust(4096, b"\0"), "it is a qcow2 image"),
        (b"\x1f\x8b\x08".ljust(4096, b"\0"), "it is a file that gzip compressed"),
        (b"anything".ljust(4096, b"\0"), "it does not begin with 'vhdxfile'"),
    ],
)
def test_a_file_that_is_none(verb: str, content: bytes, kind: str, tmp_path: Path) -> None:
    (tmp_path / "vm.vhdx").write_bytes(content)
    done = run(*verb.split(), "vm.vhdx", cwd=tmp_path)
    assert done.code == 1
    assert f"this is no VHDX file: {kind}" in done.sentence


@pytest.mark.parametrize("verb", ["check", "repair", "repair --dry-run"])
@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "neither its end nor its beginning is a footer"),
        (b"anything".ljust(4096, b"\0"), "neither its end nor its beginning is a footer"),
        (b"QFI\xfb".ljust(4096, b"\0"), "it is a qcow2 image"),
    ],
)
def test_a_file_that_is_no_vhd(verb: str, content: bytes, told: str, tmp_path: Path) -> None:
    """Its name says what it should be: a fixed one whose end is lost is a raw disk."""
    (tmp_path / "vm.vhd").write_bytes(content)
    done = run(*verb.split(), "vm.vhd", cwd=tmp_path)
    assert done.code == 1
    assert f"this is no VHD file: {told}" in done.sentence
    if content.startswith(b"anything"):
        assert done.err.endswith("try: vhdx info -f raw vm.vhd\n")
        assert "raw" in succeed("info", "-f", "raw", "vm.vhd", cwd=tmp_path)
    assert (tmp_path / "vm.vhd").read_bytes() == content


@pytest.mark.parametrize(("name", "kind"), [("n.vhd", "VHD"), ("n.raw", "raw disk"), ("n.img", "raw disk")])
def test_nothing_is_created_that_is_named_like_something_else(name: str, kind: str, tmp_path: Path) -> None:
    done = run("create", name, "10M", cwd=tmp_path)
    assert done.code == USAGE
    assert f"{name} is named like a {kind}" in done.err
    assert not (tmp_path / name).exists()


def test_a_repair_gives_back_space_of_nobody(tmp_path: Path) -> None:
    path = tmp_path / "vm.vhdx"
    vhdx.create(path, "64M", block_size="1M")
    with vhdx.open(path, "r+") as disk:
        disk.pwrite(pattern(1, 3 * MIB), 0)
        disk.trim(length=MIB, offset=MIB)
    assert run("check", "vm.vhdx", cwd=tmp_path) == (0, FREE, "")
    assert "free in the file: 1 MiB" in " ".join(succeed("info", "vm.vhdx", cwd=tmp_path).split())
    with path.open("r+b") as file:
        file.seek(5 * MIB)
        file.write(b"of nobody")
    flip(path, HEADERS[0] + 100)
    out = run("repair", "vm.vhdx", cwd=tmp_path).out
    assert "free space: repaired: 1 MiB in 1 run belong to nothing and are not zeros" in out
    assert b"of nobody" not in path.read_bytes()
    assert run("check", "vm.vhdx", cwd=tmp_path).code == 0


def test_a_stranger_of_the_same_name_is_not_advised(tmp_path: Path) -> None:
    """Whose contents under the child would be a mix of two disks."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    for line in ("b/parent.vhdx 10M", "--parent b/parent.vhdx a/child.vhdx", "a/parent.vhdx 10M"):
        succeed("create", *line.split(), cwd=tmp_path)
    done = run("info", "--chain", "a/child.vhdx", cwd=tmp_path)
    advice = "vhdx info a/child.vhdx --chain --any-parent"
    assert done.err.endswith(f"try: {advice}\n")
    succeed(*advice.split()[1:], cwd=tmp_path)


def test_many_findings_of_a_kind_are_one_line_below_what_is_worse(tmp_path: Path) -> None:
    """200 blocks whose entries have reserved bits, and one note and one error beside."""
    image = ImageBuilder(200 * MIB, tail=bytes(512))
    image.bat = dict.fromkeys(range(200), 2 | 1 << 4) | {77: 3 << 40 | 6}
    image.write(tmp_path / "many.vhdx")
    lines = run("check", "many.vhdx", cwd=tmp_path).out.splitlines()
    assert [line.split(": ")[1] for line in lines[:3]] == ["error", "199 warnings", "note"]
    told = "BAT entry 1 at 3145736, BAT entry 2 at 3145744 and 196 more ([MS-VHDX] 2.5.1, bat.reserved)"
    assert lines[1].endswith(f"reserved bits of the entry of block 0 are set; the same of {told}")
    assert lines[3].startswith("many.vhdx: the file ends early")
    assert lines[4] == "many.vhdx: 1 error, 199 warnings, 1 note"
    assert lines[5].startswith("many.vhdx: to try to save what can be read")
