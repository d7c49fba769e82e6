"""``vhdx info`` as text and as JSON, and what must never reach a terminal."""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from tests.partitions.tables import gpt_disk
from tests.support.build import ImageBuilder
from tests.support.layout import MIB, PARTIALLY_PRESENT, ZERO
from tests.support.logs import Data, LogBuilder
from tests.support.parts import Block
from tests.support.patterns import pattern
from tests.support.presets import disk2vhd_like, qemu_like
from vhdx.ops.info import info as image_info
from vhdx.units import size_text

from .running import info, rows, run, succeed


def _family(folder: Path) -> Path:
    parent = ImageBuilder(4 * MIB, MIB, seed=1, blocks={0: Block(b"x")})
    parent.write(folder / "parent.vhdx")
    child = parent.child()
    child.blocks = {1: Block(pattern(1, MIB), PARTIALLY_PRESENT, present={3})}
    return child.write(folder / "child.vhdx")


def test_text(tmp_path: Path) -> None:
    image = ImageBuilder(4 * MIB, MIB, blocks={0: Block(b"x"), 1: Block(b"y"), 2: Block(state=ZERO)})
    path = image.write(tmp_path / "a.vhdx")
    assert rows(succeed("info", "-v", path)) == {
        "image": str(path),
        "type": "dynamic VHDX",
        "virtual size": "4 MiB (4194304 bytes)",
        "file size": f"6 MiB (6291456 bytes), on the host {size_text(path.stat().st_blocks * 512)}",
        "sectors": "512 logical, 4096 physical",
        "disk id": str(image.guid("disk id")),
        "creator": "Microsoft Windows 10.0.19041.0",
        "file write GUID": str(image.guid("file write")),
        "data write GUID": str(image.guid("data write")),
        "log GUID": "00000000-0000-0000-0000-000000000000",
        "log": "clean, 1 MiB (1048576 bytes)",
        "blocks": "4: 1 not present, 1 zero, 2 fully present; 1 MiB (1048576 bytes) each",
        "fragmentation": "none",
    }


def test_plain_text_has_no_identities(tmp_path: Path) -> None:
    """What it is, what is in it, in which state it is: in this order."""
    disk = gpt_disk(16 * MIB, [(2048, 8191)])
    (tmp_path / "disk.raw").write_bytes(disk)
    succeed("convert", tmp_path / "disk.raw", tmp_path / "a.vhdx", "--block-size", "1M")
    said = succeed("info", tmp_path / "a.vhdx")
    labels = [line.split(":")[0].split(" (")[0] for line in said.splitlines() if not line.startswith(" ")]
    assert labels == [
        *("image", "type", "virtual size", "file size", "partitions"),
        *("log", "blocks", "sectors", "creator"),
    ]
    assert not re.search("[0-9a-f]{8}-[0-9a-f]{4}-", said)
    assert "bytes" not in said


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        (1, "dirty, 1 entry to replay (sequence numbers 7 to 7), 1 MiB (1048576 bytes)"),
        (3, "dirty, 3 entries to replay (sequence numbers 7 to 9), 1 MiB (1048576 bytes)"),
    ],
)
def test_text_of_a_dirty_log(tmp_path: Path, entries: int, words: str) -> None:
    log = LogBuilder(sequence_number=7)
    for _ in range(entries):
        log.add(Data(3 * MIB, bytes(4096)), tail=0)
    path = ImageBuilder(4 * MIB, log=log).write(tmp_path / "a.vhdx")
    found = rows(succeed("info", "-v", path))
    assert found["log"] == words
    assert found["log GUID"] == str(log.guid)


def test_text_of_a_chain(tmp_path: Path) -> None:
    child = _family(tmp_path)
    with open(child, "r+b") as file:
        os.fsync(file.fileno())  # else what it takes on the host may change between the two
    alone, chain = succeed("info", "-v", child), succeed("info", "-v", child, "--chain")
    assert chain.startswith(alone)
    assert f"\nparent:           {tmp_path / 'parent.vhdx'}, which is there\n" in alone
    assert "\nparent locator:\n  parent_linkage:      {" in alone
    assert "\n  relative_path:       .\\parent.vhdx\n" in alone
    assert chain[len(alone) :] == (
        "chain, from the image to its base:\n"
        f"  1. {child}: differencing, 4 MiB (4194304 bytes), 0.0% of the data, log clean\n"
        f"  2. {tmp_path / 'parent.vhdx'}: dynamic, 4 MiB (4194304 bytes), 100.0% of the data, log clean\n"
    )
    assert "4: 3 not present, 1 partially present; 1 sector bitmap;" in alone


def test_a_missing_parent_matters_only_with_chain(tmp_path: Path) -> None:
    child = _family(tmp_path)
    (tmp_path / "parent.vhdx").rename(tmp_path / "moved")
    parent = rows(succeed("info", child))["parent"]
    assert parent.startswith(".\\parent.vhdx: the parent with DataWriteGuid ")
    assert parent.endswith(" was not found; --parent-dir DIR looks for it elsewhere")
    assert rows(succeed("info", child, "--parent-dir", tmp_path))["parent"].endswith("moved, which is there")
    assert info(child)["parent"] is None
    assert info(child)["parent_problem"]
    assert run("info", child, "--chain").code == 1
    assert f"2. {tmp_path / 'moved'}: dynamic" in succeed("info", child, "--chain", "--parent-dir", tmp_path)


def test_text_of_a_large_table(tmp_path: Path) -> None:
    path = ImageBuilder(131073 * MIB, MIB).write(tmp_path / "a.vhdx")
    assert rows(succeed("info", path))["blocks"] == "not counted, the table is large: add --blocks"
    assert rows(succeed("info", path, "--blocks"))["blocks"] == "131073: 131073 not present; 1 MiB each"
    assert info(path)["blocks"] is None
    assert info(path, "--blocks")["blocks"]["total"] == 131073


@pytest.mark.parametrize(
    ("image", "notes"),
    [
        (qemu_like(), ["the Required flag is missing, as QEMU leaves it out"] * 2),
        (disk2vhd_like(), ["both headers are identical, sequence number included, as Disk2vhd writes them"]),
    ],
    ids=["QEMU", "Disk2vhd"],
)
def test_notes(tmp_path: Path, image: ImageBuilder, notes: list[str]) -> None:
    path = image.write(tmp_path / "a.vhdx")
    lines = [line for line in succeed("info", path).splitlines() if line.startswith("note: ")]
    assert [line.rpartition(": ")[2] for line in lines] == notes
    assert [note["text"] for note in info(path)["notes"]] == notes


KEYS = {
    *("path", "file_size", "allocated_size", "virtual_size", "disk_type", "block_size"),
    *("logical_sector_size", "physical_sector_size", "disk_id", "creator", "header_sequence_number"),
    *("file_write_guid", "data_write_guid", "log_guid", "log", "blocks", "parent_locator", "chain", "notes"),
}


def _types(value: Any) -> Any:
    """The shape of a JSON value."""
    if isinstance(value, dict):
        return {key: _types(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_types(inner) for inner in value[:1]]
    return type(value).__name__


def test_json_keys_are_stable(tmp_path: Path) -> None:
    """Programs rely on these: keys may be added, none may go or change its type."""
    found = info(_family(tmp_path), "--chain")
    assert set(found) >= KEYS
    assert _types(found) == {
        **dict.fromkeys(("path", "format", "disk_type", "disk_id", "creator"), "str"),
        **dict.fromkeys(("file_write_guid", "data_write_guid", "log_guid"), "str"),
        **dict.fromkeys(("file_size", "allocated_size", "virtual_size", "block_size"), "int"),
        **dict.fromkeys(("logical_sector_size", "physical_sector_size", "header_sequence_number"), "int"),
        "log": {
            **dict.fromkeys(("size", "version", "entries"), "int"),
            "state": "str",
            "first_sequence_number": "NoneType",
            "last_sequence_number": "NoneType",
        },
        "blocks": {
            "total": "int",
            "by_state": {"not_present": "int", "partially_present": "int"},
            "sector_bitmaps": "int",
            "fragmentation": "NoneType",
            "free_size": "int",
        },
        "parent": "str",
        "parent_problem": "NoneType",
        "tracking_files": [],
        "parent_locator": dict.fromkeys(
            ("parent_linkage", "absolute_win32_path", "relative_path", "volume_path", "parent_linkage2"),
            "str",
        ),
        "chain": [
            {
                **dict.fromkeys(("path", "disk_type", "data_write_guid", "log_state"), "str"),
                **dict.fromkeys(("virtual_size", "file_size", "block_size", "data_size"), "int"),
            }
        ],
        "partition_table": {
            "kind": "str",
            "sector_size": "int",
            "disk_id": "NoneType",
            "partitions": [],
            "findings": [],
        },
        "file_systems": [],
        "notes": [],
    }


def test_json_of_notes_and_logs(tmp_path: Path) -> None:
    log = LogBuilder()
    log.add(Data(4 * MIB, bytes(4096)))
    found = info(qemu_like(log=log).write(tmp_path / "a.vhdx"))
    assert _types(found["notes"]) == [
        {**dict.fromkeys(("code", "severity", "structure", "text"), "str"), "file_offset": "int"}
    ]
    assert _types(found["log"])["last_sequence_number"] == "int"


def test_json_has_exact_numbers(tmp_path: Path) -> None:
    path = ImageBuilder((1 << 46) - 512, 256 * MIB, sequence_numbers=((1 << 64) - 2, (1 << 64) - 1)).write(
        tmp_path / "a.vhdx"
    )
    found = info(path)
    assert (found["virtual_size"], found["header_sequence_number"]) == ((1 << 46) - 512, (1 << 64) - 1)


# what comes out of an image ----------------------------------------------------------------------

HOSTILE = [
    "\x1b]0;owned\x07",
    "\x1b[2J",
    "a\rb",
    "a\nnote: forged: line",
    "\x08\x08\x08",
    "\x7f",
    "\x9b31m",
    "\u202egnp.exe",
    "\u2028",
]


def harmless(text: str) -> bool:
    """Whether a terminal will do nothing but print it, and no line is one that the image made up."""
    made_up = any(line.startswith("note: forged") for line in text.splitlines())
    return all(c.isprintable() or c == "\n" for c in text) and not made_up


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
@pytest.mark.parametrize("json_too", [False, True])
def test_no_control_character_of_a_creator(tmp_path: Path, text: str, *, json_too: bool) -> None:
    path = ImageBuilder(4 * MIB, creator=text).write(tmp_path / "a.vhdx")
    out = succeed("info", path, *(["--json"] if json_too else []))
    assert harmless(out)
    if json_too:
        assert json.loads(out)["creator"] == text
    else:
        assert len(out.splitlines()) == len(succeed("info", ImageBuilder().write(path)).splitlines())


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
@pytest.mark.parametrize("where", ["value", "key"])
@pytest.mark.parametrize("arguments", [(), ("--json",), ("--chain",)])
def test_no_control_character_of_a_locator(
    tmp_path: Path, text: str, where: str, arguments: tuple[str, ...]
) -> None:
    """Neither where it is shown, nor in the sentence that says where the parent was looked for."""
    child = ImageBuilder(4 * MIB).child()
    extra = {"relative_path": f".\\{text}"} if where == "value" else {text: "x"}
    child.locator = {"parent_linkage": f"{{{child.parent_data_write_guid}}}", **extra}
    child.locator["parent_linkage"] = "{00112233-4455-6677-8899-aabbccddeeff}"
    done = run("info", child.write(tmp_path / "a.vhdx"), *arguments)
    assert done.code == (1 if "--chain" in arguments else 0)
    assert harmless(done.out)
    assert harmless(done.err)


@pytest.mark.parametrize("pairs", [[("a\x1b[2J", "1"), ("a\x1b[2J", "2")], [("\x1b[2J", "x\0y")]])
def test_no_control_character_in_a_failure(tmp_path: Path, pairs: list[tuple[str, str]]) -> None:
    child = ImageBuilder(4 * MIB).child()
    child.locator = pairs
    done = run("info", child.write(tmp_path / "a.vhdx"))
    assert done.code == 1
    assert harmless(done.sentence)


@pytest.mark.parametrize(
    "creator", [b"\x00\xd8a\x00", b"a\x00\x00\xdc", b"\xff\xff" * 256, b"\x00\xd8" * 256]
)
@pytest.mark.parametrize("arguments", [(), ("--json",)])
def test_a_creator_that_is_no_text(tmp_path: Path, creator: bytes, arguments: tuple[str, ...]) -> None:
    assert harmless(succeed("info", ImageBuilder(creator=creator).write(tmp_path / "a.vhdx"), *arguments))


def test_counting_tells_how_far_it_is(tmp_path: Path) -> None:
    path = ImageBuilder(8 * MIB, MIB, blocks={1: Block(b"x"), 5: Block(b"y")}).write(tmp_path / "a.vhdx")
    told: list[tuple[int, int | None]] = []
    image_info(path, chain=True, blocks=True, progress=lambda done, total: told.append((done, total)))
    assert {total for _, total in told} == {8 * MIB}
    assert (8 * MIB, 8 * MIB) in told, "extents"
    assert (5 * MIB, 8 * MIB) in told, "blocks"
