"""Reports: written row by row, whole after a kill, gone on with, read by programs of others."""

import csv
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import vhdx
import vhdx.fleet
from tests.cli.running import COMMAND, run
from vhdx.fleet import parquet
from vhdx.fleet.columns import SCHEMA, VERBS, Row, columns_of
from vhdx.fleet.targets import open_report, read_report

from .estate import Estate, make
from .rows import comparable, differences

if sys.platform != "win32":
    import duckdb
    import polars as pl

DATA = ["r.jsonl", "r.csv", "r.parquet", "parts/"]


@pytest.fixture(name="estate", scope="module")
def _estate(tmp_path_factory: pytest.TempPathFactory) -> Estate:
    return make(tmp_path_factory.mktemp("reports") / "estate", plain=50, broken_ones=8, chains=2, in_use=0)


@pytest.fixture(name="rows", scope="module")
def _rows(estate: Estate) -> list[Row]:
    return list(vhdx.fleet.run([estate.folder], "check"))


@pytest.mark.parametrize("name", DATA)
def test_rows_come_back_as_they_were(name: str, rows: list[Row], tmp_path: Path) -> None:
    report = open_report(str(tmp_path / name) + ("/" if name.endswith("/") else ""), "check")
    for row in rows:
        report.write(row)
    report.close()
    assert list(read_report(f"{tmp_path}/{name}", "check")) == rows
    assert not [path for path in tmp_path.rglob("*") if path.name.endswith(".rows.jsonl")]


@pytest.mark.parametrize("name", DATA)
def test_rows_of_a_run_that_was_killed_are_there(
    name: str, rows: list[Row], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was written is read again, also where the last line is torn; going on adds the others."""
    monkeypatch.setattr(parquet, "PART", 20)
    path = f"{tmp_path}/{name}"
    report = open_report(path, "check")
    for row in rows[:30]:
        report.write(row)
    vars(report).get("_lines", report)._file.close()  # as a kill does
    torn = [each for each in tmp_path.rglob("*") if each.suffix in (".jsonl", ".csv")]
    assert len(torn) == 1
    with torn[0].open("ab") as file:
        file.write(b'{"schema": 1, "verb": "check", "pa')
    assert list(read_report(path, "check")) == rows[:30]
    again = open_report(path, "check", go_on=True)
    for row in rows[30:]:
        again.write(row)
    again.close()
    assert list(read_report(path, "check")) == rows


def test_a_part_is_whole_or_not_there(
    rows: list[Row], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "PART", 20)
    report = open_report(f"{tmp_path}/parts/", "check")
    for row in rows[:50]:
        report.write(row)
    parts = sorted(path.name for path in (tmp_path / "parts").glob("*.parquet"))
    assert parts == ["part-000001.parquet", "part-000002.parquet"]
    report.close()
    assert [_ask(f"SELECT count(*) FROM '{tmp_path}/parts/{part}'")[0] for part in parts] == [(20,)] * 2


def test_a_report_of_something_else_is_not_gone_on_with(rows: list[Row], tmp_path: Path) -> None:
    path = str(tmp_path / "r.jsonl")
    report = open_report(path, "check")
    report.write(rows[0])
    report.close()
    with pytest.raises(ValueError, match="is a report of check"):
        list(read_report(path, "info"))
    with pytest.raises(FileExistsError):
        open_report(path, "check")
    with pytest.raises(ValueError, match="the name of a report ends in"):
        open_report(str(tmp_path / "r.xlsx"), "check")
    (tmp_path / "bad.jsonl").write_text("not JSON\n")
    with pytest.raises(ValueError, match="is no report"):
        list(read_report(str(tmp_path / "bad.jsonl"), "check"))
    (tmp_path / "bad.parquet").write_text("no Parquet")
    with pytest.raises(ValueError, match="is no Parquet"):
        list(read_report(str(tmp_path / "bad.parquet"), "check"))


@pytest.mark.parametrize("verb", VERBS)
def test_the_schema_is_what_is_told(verb: str, tmp_path: Path) -> None:
    path = str(tmp_path / "r.parquet")
    open_report(path, verb).close()
    kinds = {
        "int64": pl.Int64,
        "float64": pl.Float64,
        "string": pl.String,
        "bool": pl.Boolean,
    }
    assert pl.read_parquet_schema(path) == {c.name: kinds[c.kind] for c in columns_of(verb)}
    described = _ask(f"DESCRIBE SELECT * FROM '{path}'")
    names = {"int64": "BIGINT", "float64": "DOUBLE", "string": "VARCHAR", "bool": "BOOLEAN"}
    assert [(each[0], each[1]) for each in described] == [(c.name, names[c.kind]) for c in columns_of(verb)]
    (metadata,) = _ask(
        f"SELECT decode(value) FROM parquet_kv_metadata('{path}') WHERE decode(key) = 'vhdx.fleet.schema'"
    )
    assert metadata == (str(SCHEMA),)


def test_programs_of_others_read_every_kind(rows: list[Row], tmp_path: Path) -> None:
    for name in DATA:
        report = open_report(f"{tmp_path}/{name}", "check")
        for row in rows:
            report.write(row)
        report.close()
    sums = "count(*), sum(errors), sum(file_size), count(error)"
    sources = ["r.parquet", "parts/*.parquet", "r.jsonl", "r.csv"]
    found = [_ask(f"SELECT {sums} FROM '{tmp_path}/{source}'")[0] for source in sources]
    assert len({*found}) == 1
    assert found[0][0] == len(rows)
    frame = pl.read_parquet(tmp_path / "r.parquet")
    assert frame["errors"].sum() == found[0][1]
    with (tmp_path / "r.csv").open(newline="") as file:
        assert len(list(csv.reader(file))) == len(rows) + 1


def test_names_that_are_no_text(tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/\xff\n.vhdx"
    vhdx.create(os.fsdecode(name), "1M")
    done = run(
        "fleet",
        "info",
        tmp_path,
        "-o",
        "r.csv",
        "-o",
        "r.jsonl",
        "-o",
        "r.parquet",
        "-o",
        "r.html",
        cwd=tmp_path,
    )
    assert done.code == 0, done.err
    (row,) = read_report(str(tmp_path / "r.parquet"), "info")
    assert row["path"].endswith("/\\xff\\n.vhdx")
    assert list(read_report(str(tmp_path / "r.csv"), "info")) == [row]


def _ask(question: str) -> list[tuple[Any, ...]]:
    found = duckdb.sql(question)
    assert found is not None
    return found.fetchall()


def _lines(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]


def _killed(command: list[str], cwd: Path, report: Path, after: int) -> None:
    """Kill a run once it has written so many rows; whatever it has started ends by itself."""
    with subprocess.Popen(command, cwd=cwd, stdout=subprocess.DEVNULL) as process:
        while not report.exists() or len(_lines(report)) < after:
            assert process.poll() is None, "it was done before it was killed"
            time.sleep(0.001)
        process.kill()


@pytest.mark.parametrize("workers", [["--threads", "1"], ["--processes", "2"]])
def test_a_run_that_was_killed_and_gone_on_with_has_the_same_rows(
    workers: list[str], estate: Estate, rows: list[Row], tmp_path: Path
) -> None:
    command = [*COMMAND, "fleet", "check", str(estate.folder), "-o", "r.jsonl", "--resume", *workers]
    _killed(command, tmp_path, tmp_path / "r.jsonl", after=10)
    before = _lines(tmp_path / "r.jsonl")
    assert 10 <= len(before) < len(rows)
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False, text=True)
    assert "Traceback" not in done.stderr
    after = _lines(tmp_path / "r.jsonl")
    assert after[: len(before)] == before
    assert len({row["path"] for row in after}) == len(after), "no image was examined twice"
    assert differences(rows, after) == []


def test_nothing_is_done_twice(estate: Estate, tmp_path: Path) -> None:
    for _ in range(2):
        run(
            "fleet",
            "info",
            estate.folder,
            "-o",
            "r.parquet",
            "-o",
            "p.html",
            "--resume",
            "--force",
            cwd=tmp_path,
        )
    first = list(read_report(str(tmp_path / "r.parquet"), "info"))
    assert len(first) == estate.rows
    assert f"info: {estate.rows} images" in (tmp_path / "p.html").read_text()
    assert comparable(first) == comparable(first)


def test_without_its_packages(tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['pyarrow'] = sys.modules['distributed'] = sys.modules['jinja2'] = None\n"
    )
    program += "from vhdx.cli import start; start.run()"
    for option in (["-o", "r.parquet"], ["--dask", "local"], ["-o", "r.html"]):
        words = [sys.executable, "-c", program, "fleet", "info", ".", *option]
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert 'pip install "vhdx[' in done.stderr
        assert "Traceback" not in done.stderr
