"""The same rows whoever does the work; every image once, parents before children, failures as rows."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import vhdx
import vhdx.fleet
from tests.support.build import ImageBuilder
from vhdx.fleet import executors
from vhdx.fleet.columns import VERBS, Row, columns_of
from vhdx.fleet.engine import Pool, Window, WorkerDiedError
from vhdx.fleet.paths import files
from vhdx.fleet.run import run_on

from .estate import Estate, in_use, make
from .rows import differences

KILL = getattr(signal, "SIGKILL", signal.SIGTERM)  # by which Windows ends a process, too
LOOKING = [verb for verb in VERBS if verb not in ("compact", "convert")]


@pytest.fixture(name="estate", scope="module")
def _estate(tmp_path_factory: pytest.TempPathFactory) -> Estate:
    return make(tmp_path_factory.mktemp("fleet") / "estate", plain=84, broken_ones=16, chains=5, in_use=3)


def _check(estate: Estate, pool: Pool) -> list[Row]:
    with in_use(estate):
        return list(run_on(pool, files([estate.folder]), "check"))


@pytest.fixture(name="expected", scope="module")
def _expected(estate: Estate) -> list[Row]:
    return _check(estate, executors.threads(1))


def test_every_image_is_one_row(estate: Estate, expected: list[Row]) -> None:
    assert len(expected) == estate.rows == len({row["path"] for row in expected})
    assert [list(row) for row in expected] == [[c.name for c in columns_of("check")]] * estate.rows
    by_folder = Counter((Path(row["path"]).parent.name, row["result"]) for row in expected)
    assert by_folder["used", "failed"] == 3
    assert (
        by_folder["broken", "errors"] + by_folder["broken", "failed"] + by_folder["broken", "warnings"] == 16
    )
    assert by_folder["chains", "ok"] == 4 * estate.chains + estate.orphans


def test_rows_say_what_the_library_says(estate: Estate, expected: list[Row]) -> None:
    for row in [row for row in expected if Path(row["path"]).parent.name != "used"][:: len(expected) // 20]:
        try:
            found = vhdx.check(row["path"])
        except vhdx.VhdxError:
            assert row["result"] == "failed"
            continue
        assert (row["errors"], row["warnings"], row["leaked_size"]) == (
            found.errors,
            found.warnings,
            found.leaked_size,
        )
        assert row["file_size"] == Path(row["path"]).stat().st_size


def test_parents_come_first_and_orphans_are_told(estate: Estate, expected: list[Row]) -> None:
    order = {row["path"]: number for number, row in enumerate(expected)}
    children = [row for row in expected if row["parent_state"] == "found"]
    assert len(children) == 3 * estate.chains
    assert all(order[row["parent"]] < order[row["path"]] for row in children)
    assert {row["above"] for row in children} == {"ok"}
    assert Counter(row["level"] for row in children) == {1: 2 * estate.chains, 2: estate.chains}
    assert [Path(row["path"]).name for row in expected if row["parent_state"] == "missing"] == [
        "orphan.avhdx"
    ]


def test_an_image_in_use_is_a_row_that_says_by_whom(expected: list[Row]) -> None:
    locked = [row for row in expected if row["error_code"] == "locked"]
    assert len(locked) == 3
    assert all(f"process {os.getpid()} " in row["error"] for row in locked)


def test_threads_and_processes_say_the_same(estate: Estate, expected: list[Row]) -> None:
    assert differences(expected, _check(estate, executors.threads(4))) == []
    assert differences(expected, _check(estate, executors.processes(2))) == []


@pytest.mark.parametrize("kind", [ThreadPoolExecutor, ProcessPoolExecutor])
def test_any_executor(kind: Any, estate: Estate) -> None:
    with kind(2) as executor:
        rows = list(vhdx.fleet.run([estate.folder / "chains"], "map", executor=executor))
        assert len(rows) == 4 * estate.chains + 1
        assert executor.submit(len, "it is not shut down").result()


def test_dask_says_the_same(estate: Estate, expected: list[Row]) -> None:
    with contextlib.ExitStack() as held:
        pool = executors.dask("local", held, 2)
        assert differences(expected, _check(estate, pool)) == []
        assert pool.window == 4


@pytest.mark.parametrize("verb", [verb for verb in LOOKING if verb != "hash"])
def test_every_verb_fills_its_columns(verb: str, estate: Estate) -> None:
    rows = list(vhdx.fleet.run([estate.folder / "d0", estate.folder / "broken"], verb))
    assert len(rows) == 66
    assert {row["error_code"] for row in rows} <= {None, "corrupt"}
    for column in columns_of(verb):
        values = [row[column.name] for row in rows if row[column.name] is not None]
        kind = {"int64": int, "float64": float, "string": str, "bool": bool}[column.kind]
        assert {type(value) for value in values} <= {kind}, column


def _deadly(number: int) -> int:
    if number == 7:
        os.kill(os.getpid(), KILL)
    return -number


def _asked_all(pool: Pool) -> dict[int, tuple[object, int]]:
    with contextlib.closing(pool):
        window = Window[int, int](pool, _deadly, str)
        return {asked: (told, attempts) for asked, told, attempts in window.results(iter(range(30)))}


def test_a_dead_process_costs_one_retry_and_only_what_kills_fails() -> None:
    answers = _asked_all(executors.processes(2))
    told, attempts = answers.pop(7)
    assert isinstance(told, WorkerDiedError)
    assert attempts == 2
    assert {asked: told for asked, (told, _) in answers.items()} == {n: -n for n in range(30) if n != 7}
    assert {attempts for _, attempts in answers.values()} <= {1, 2}


@pytest.mark.slow
def test_a_dead_worker_of_dask_costs_one_retry() -> None:
    with contextlib.ExitStack() as held:
        answers = _asked_all(executors.dask("local", held, 2))
    assert isinstance(answers.pop(7)[0], WorkerDiedError)
    assert {asked: told for asked, (told, _) in answers.items()} == {n: -n for n in range(30) if n != 7}


def test_a_worker_that_is_killed_in_the_middle_changes_no_row(estate: Estate, expected: list[Row]) -> None:
    pool = executors.processes(2)

    def killing(rows: Iterator[Row]) -> Iterator[Row]:
        for number, row in enumerate(rows):
            if number == 20:
                os.kill(next(iter(pool._executor._processes)), KILL)  # type: ignore[attr-defined]
            yield row

    with in_use(estate):
        rows = list(killing(run_on(pool, files([estate.folder]), "check")))
    assert differences(expected, rows) == []


def test_what_an_earlier_run_has_is_left_out(estate: Estate, expected: list[Row]) -> None:
    done = [row for row in expected if Path(row["path"]).parent.name != "d0"]
    rows = list(vhdx.fleet.run([estate.folder], "check", done=done))
    assert {Path(row["path"]).parent.name for row in rows} == {"d0"}


def test_a_file_that_changed_is_examined_again(tmp_path: Path) -> None:
    for name in ("a.vhdx", "b.vhdx"):
        vhdx.create(tmp_path / name, "1M")
    done = list(vhdx.fleet.run([tmp_path], "info"))
    os.utime(tmp_path / "b.vhdx", ns=(1, 1))
    assert [Path(row["path"]).name for row in vhdx.fleet.run([tmp_path], "info", done=done)] == ["b.vhdx"]


def test_a_worse_parent_is_told_of_its_children(tmp_path: Path) -> None:
    vhdx.create(tmp_path / "base.vhdx", "4M")
    vhdx.create(tmp_path / "child.avhdx", parent=tmp_path / "base.vhdx")
    vhdx.create(tmp_path / "grandchild.avhdx", parent=tmp_path / "child.avhdx")
    with (tmp_path / "base.vhdx").open("r+b") as file:
        file.seek(64 * 1024)
        file.write(b"x")  # one of two headers: a warning
    rows = {Path(row["path"]).stem: row for row in vhdx.fleet.run([tmp_path], "check")}
    assert rows["base"]["result"] == "warnings"
    assert (rows["child"]["result"], rows["child"]["above"]) == ("ok", "warnings")
    assert rows["grandchild"]["above"] == "warnings"


def test_orphans_by_their_state(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    vhdx.create(tmp_path / "base.vhdx", "4M")
    vhdx.create(tmp_path / "child.avhdx", parent=tmp_path / "base.vhdx")
    (tmp_path / "base.vhdx").rename(tmp_path / "other" / "renamed.vhdx")
    rows = {Path(row["path"]).stem: row for row in vhdx.fleet.run([tmp_path], "info")}
    assert rows["child"]["parent_state"] == "moved"
    assert rows["child"]["parent"] == str(tmp_path / "other" / "renamed.vhdx")
    assert rows["child"]["level"] == 1


def test_a_loop_ends(tmp_path: Path) -> None:
    images = [ImageBuilder(1 << 20, seed=seed) for seed in (1, 2)]
    for number, (image, other) in enumerate(zip(images, reversed(images), strict=True)):
        child = other.child(f"{1 - number}.vhdx")
        child.data_write_guid = image.guid("data write")
        child.write(tmp_path / f"{number}.vhdx")
    rows = list(vhdx.fleet.run([tmp_path], "check"))
    assert len(rows) == 2
    assert {row["parent_state"] for row in rows} == {"loop"}


def test_verbs_and_options_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="there is no verb 'burn'"):
        vhdx.fleet.run(["."], "burn")
    with pytest.raises(ValueError, match="target_dir"):
        vhdx.fleet.run(["."], "convert")


def _dask(*words: str) -> subprocess.Popen[bytes]:
    program = [sys.executable, "-m", "dask", *words]
    return subprocess.Popen(program, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@contextlib.contextmanager
def _scheduler_and_workers(folder: Path) -> Iterator[tuple[str, list[int]]]:
    """A scheduler of Dask with two workers, each a program of its own, as on machines of others."""
    where = folder / "scheduler.json"
    words = ["--scheduler-file", str(where), "--no-dashboard"]
    started = [_dask("scheduler", "--host", "127.0.0.1", "--port", "0", *words)]
    try:
        for _ in range(2):
            alone = ["--nthreads", "1", "--no-nanny", "--local-directory", str(folder)]
            started.append(_dask("worker", *words, *alone))
        while not where.exists():
            time.sleep(0.01)
        yield json.loads(where.read_text())["address"], [each.pid for each in started[1:]]
    finally:
        for each in started:
            each.kill()
            each.wait()


@pytest.mark.slow
def test_workers_of_others_one_of_which_dies(tmp_path: Path, estate: Estate, expected: list[Row]) -> None:
    with _scheduler_and_workers(tmp_path) as (address, workers), contextlib.ExitStack() as held:
        pool = executors.dask(address, held)
        rows = []
        with in_use(estate):
            for number, row in enumerate(run_on(pool, files([estate.folder]), "check")):
                if number == 20:
                    os.kill(workers[0], KILL)
                rows.append(row)
    assert differences(expected, rows) == []


@pytest.mark.slow
def test_two_thousand(tmp_path: Path) -> None:
    """The small estate's test for as many images as people have."""
    estate = make(tmp_path / "estate", plain=1936, broken_ones=40, chains=5, in_use=3)
    assert estate.rows == 2000
    expected = _check(estate, executors.threads())
    assert len(expected) == 2000
    assert differences(expected, _check(estate, executors.processes(2))) == []
    with contextlib.ExitStack() as held:
        assert differences(expected, _check(estate, executors.dask("local", held, 2))) == []
