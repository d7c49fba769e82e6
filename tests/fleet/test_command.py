"""The command `vhdx fleet`: what people see, what is asked, what is changed and logged."""

import io
import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

import vhdx
from tests.cli.running import COMMAND, USAGE, run, succeed
from tests.remote.server import serving
from tests.support.layout import MIB
from tests.support.patterns import pattern
from vhdx import fleet
from vhdx.cli.render import progress_bar
from vhdx.fleet import FleetOptions

from .estate import make

KILL = getattr(signal, "SIGKILL", signal.SIGTERM)  # by which Windows ends a process, too


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    """Three images, two of which can be shorter; one is broken, one has no parent."""
    for name in ("a", "b", "c"):
        vhdx.create(tmp_path / f"{name}.vhdx", "64M", block_size=MIB)
        with vhdx.open(tmp_path / f"{name}.vhdx", "r+") as disk:
            disk.pwrite(pattern(1, 4 * MIB), 0)
    for name in ("a", "b"):
        with vhdx.open(tmp_path / f"{name}.vhdx", "r+") as disk:
            disk.trim(length=3 * MIB, offset=0)
    (tmp_path / "z.vhdx").write_bytes(b"vhdxfile")
    return tmp_path


def test_the_worst_comes_first(folder: Path) -> None:
    done = run("fleet", "check", ".", cwd=folder)
    lines = done.out.splitlines()
    assert lines[0].split() == ["result", "errors", "warnings", "notes", "leaked", "image"]
    assert lines[1].endswith("./z.vhdx")
    assert [line.split()[-1] for line in lines[2:5]] == ["./a.vhdx", "./b.vhdx", "./c.vhdx"]
    assert lines[5].startswith("4 images, ")
    assert done.code == 2


def test_rows_as_lines_of_json(folder: Path) -> None:
    done = run("fleet", "map", "a.vhdx", "b.vhdx", "--json", cwd=folder)
    rows = [json.loads(line) for line in done.out.splitlines()]
    assert {row["data_size"] for row in rows} == {MIB}


def test_images_elsewhere_are_rows(folder: Path) -> None:
    files = {name: (folder / f"{name}.vhdx").read_bytes() for name in ("a", "z")}
    with serving({f"/{name}.vhdx": data for name, data in files.items()}) as server:
        urls = [f"{server.url}/{name}.vhdx" for name in ("a", "z", "gone")]
        done = run("fleet", "check", *urls, "--json", cwd=folder)
        usage = run("fleet", "usage", urls[0], "--json", cwd=folder)
    rows = {row["path"]: row for row in map(json.loads, done.out.splitlines())}
    assert [rows[url]["result"] for url in urls] == ["ok", "errors", "failed"]
    assert rows[urls[2]]["error_code"] == "not-found"
    assert rows[urls[0]]["virtual_size"] == 64 * MIB
    assert "only a VHDX on this host" in json.loads(usage.out)["not_compacted"]


def test_the_bar_counts_images(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal, of what lasts: the patience of a second is spent before the first image here."""
    monkeypatch.setattr("vhdx.cli.render._PATIENCE", 0)
    monkeypatch.setattr("vhdx.cli.render._INTERVAL", 0)
    shown = io.StringIO()
    monkeypatch.setattr(shown, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stderr", shown)
    with progress_bar("check", "images") as progress:
        assert progress is not None
        progress(2, 3)
    assert "2 of 3 images" in shown.getvalue()


def test_a_list_on_standard_input(folder: Path) -> None:
    assert "2 images" in succeed("fleet", "info", "-", cwd=folder, input="a.vhdx\nb.vhdx\n")


def test_the_hash_is_that_of_the_contents(folder: Path) -> None:
    rows = [
        json.loads(line)
        for line in succeed("fleet", "hash", "a.vhdx", "b.vhdx", "--json", cwd=folder).splitlines()
    ]
    succeed("convert", "a.vhdx", "a.raw", cwd=folder)
    expected = subprocess.run(["sha256sum", "a.raw"], cwd=folder, capture_output=True, text=True, check=True)
    assert {row["hash"] for row in rows} == {expected.stdout.split()[0]}


@pytest.mark.parametrize(
    "words",
    [
        ["compact", "."],
        ["convert", "."],
        ["check", ".", "--discard-free"],
        ["info", ".", "--punch"],
        ["info", ".", "--resume"],
        ["info", ".", "--resume", "-o", "r.html"],
        ["info", ".", "--threads", "2", "--processes", "2"],
        ["info", ".", "-o", "r.xlsx"],
        ["compact", ".", "--yes", "--force-share"],
        ["info", ".", "--sparse", "never"],
        ["burn", "."],
        ["info"],
    ],
)
def test_what_cannot_be(words: list[str], folder: Path) -> None:
    done = run("fleet", *words, cwd=folder, input="")
    assert done.code == USAGE
    assert not [path for path in folder.iterdir() if path.suffix in (".log", ".html")]


def test_holes_are_made_or_not_by_the_workers(folder: Path) -> None:
    for name, wanted in (("with", "always"), ("without", "never")):
        (folder / name).mkdir()
        words = ("--to", name, "-O", "raw", "--yes", "--sparse", wanted, "--log", f"{name}.log")
        succeed("fleet", "convert", "a.vhdx", *words, cwd=folder)
    held = {name: (folder / name / "a.raw").stat().st_blocks * 512 for name in ("with", "without")}
    assert held["with"] < 64 * MIB <= held["without"]


def test_what_is_changed_is_locked(folder: Path) -> None:
    """Also for a caller who reads what others write to; Windows' change tracking is told of."""
    (folder / "a.vhdx.rct").touch()
    sizes = {path.name: path.stat().st_size for path in folder.glob("*.vhdx")}
    with vhdx.open(folder / "b.vhdx", "r+"):
        found = fleet.run([folder], "compact", options=FleetOptions(lock=False))
        rows = {Path(row["path"]).name: row for row in found}
    assert rows["b.vhdx"]["error_code"] == "locked"
    assert (folder / "b.vhdx").stat().st_size == sizes["b.vhdx"]
    assert "a.vhdx.rct is beside it" in rows["a.vhdx"]["remarks"]
    assert rows["c.vhdx"]["remarks"] is None


def test_compact_and_its_log(folder: Path) -> None:
    before = {path.name: path.stat().st_size for path in folder.glob("*.vhdx")}
    contents = {name: (folder / f"{name}.vhdx", _contents(folder / f"{name}.vhdx")) for name in "abc"}
    with vhdx.open(folder / "b.vhdx", "r+"):
        done = run("fleet", "compact", ".", "--yes", "-o", "r.jsonl", cwd=folder)
    rows = {row["path"]: row for row in map(json.loads, (folder / "r.jsonl").read_text().splitlines())}
    assert done.code == 1
    assert rows["./a.vhdx"]["file_size_after"] < before["a.vhdx"]
    assert rows["./a.vhdx"]["file_size"] == (folder / "a.vhdx").stat().st_size
    assert rows["./b.vhdx"]["error"].startswith("in use: process ")
    assert (folder / "b.vhdx").stat().st_size == before["b.vhdx"]
    assert all(_contents(path) == data for path, data in contents.values())
    events = [json.loads(line) for line in (folder / "vhdx-fleet-compact.log").read_text().splitlines()]
    assert sorted((event["event"], event["path"]) for event in events) == sorted(
        (event, f"./{name}.vhdx") for event in ("begun", "done") for name in "abcz"
    )
    again = run("fleet", "compact", ".", "--yes", "-o", "r.jsonl", "--resume", cwd=folder)
    assert again.out.startswith("4 images")
    assert len((folder / "r.jsonl").read_text().splitlines()) == 4, "what was compacted is as the report says"


def test_a_dry_run_asks_and_changes_nothing(folder: Path) -> None:
    before = {path: path.read_bytes() for path in folder.glob("*.vhdx")}
    assert "given back, or to be: 6 MiB" in run("fleet", "compact", ".", "--dry-run", cwd=folder).out
    assert {path: path.read_bytes() for path in folder.glob("*.vhdx")} == before
    assert not (folder / "vhdx-fleet-compact.log").exists()


def test_convert(folder: Path) -> None:
    (folder / "new").mkdir()
    done = run("fleet", "convert", "a.vhdx", "c.vhdx", "--to", "new", "-O", "raw", "--yes", cwd=folder)
    assert done.code == 0, done.err
    for name in "ac":
        assert (folder / "new" / f"{name}.raw").read_bytes() == _contents(folder / f"{name}.vhdx")
    again = run("fleet", "convert", "a.vhdx", "--to", "new", "-O", "raw", "--yes", "--json", cwd=folder)
    assert json.loads(again.out)["error_code"] == "exists"


def _contents(path: Path) -> bytes:
    with vhdx.open(path) as disk:
        return disk.pread(disk.size, 0)


@pytest.mark.parametrize("answer", [b"y\n", b"n\n"])
def test_on_a_terminal_it_asks(answer: bytes, folder: Path) -> None:
    before = (folder / "a.vhdx").stat().st_size
    own, theirs = os.openpty()
    with subprocess.Popen(
        [*COMMAND, "fleet", "compact", "a.vhdx"], cwd=folder, stdin=theirs, stdout=subprocess.PIPE, text=True
    ) as process:
        os.write(own, answer)
        out, _ = process.communicate(timeout=60)
    os.close(own)
    os.close(theirs)
    assert "compact 1 image? [y/N]" in out
    assert ((folder / "a.vhdx").stat().st_size < before) == (answer == b"y\n")


@pytest.mark.parametrize("number", [KILL, signal.SIGINT])
def test_a_compaction_of_many_that_ends_early_leaves_every_image_whole(number: int, tmp_path: Path) -> None:
    estate = make(tmp_path / "estate", plain=60, broken_ones=0, chains=2, in_use=0)
    log = tmp_path / "vhdx-fleet-compact.log"
    command = [
        *COMMAND,
        "fleet",
        "compact",
        "estate",
        "--yes",
        "--scan-zeros",
        "--processes",
        "2",
        "-o",
        "r.jsonl",
    ]
    with subprocess.Popen(
        command, cwd=tmp_path, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        while not log.exists() or log.read_bytes().count(b'"done"') < 5:
            assert process.poll() is None
            time.sleep(0.001)
        if number == KILL:
            process.kill()  # what it has started ends by itself, or the errors had no end
        else:
            os.killpg(process.pid, number)
        _, err = process.communicate(timeout=60)
    assert b"Traceback" not in err
    rows = vhdx_check(estate.folder)
    assert {row["result"] for row in rows} <= {"ok", "warnings"}
    assert not any(row["errors"] for row in rows)


def vhdx_check(folder: Path) -> list[dict[str, int | str]]:
    done = run("fleet", "check", folder, "--json")
    return [json.loads(line) for line in done.out.splitlines()]
