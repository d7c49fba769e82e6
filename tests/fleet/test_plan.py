"""Which files are meant; and that a hundred thousand of them need no memory."""

import io
import os
import tracemalloc
from pathlib import Path

import pytest

import vhdx
import vhdx.fleet
from vhdx.fleet.identity import Identity
from vhdx.fleet.paths import files
from vhdx.fleet.plan import Plan


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    for name in ("a.vhdx", "sub/b.AVHDX", "sub/deep/c.vhd", "sub/d.raw", "notes.txt", "sub/[x].vhdx"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "sub" / "loop").symlink_to(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("words", "include", "expected"),
    [
        (["."], (), ["a.vhdx", "sub/[x].vhdx", "sub/b.AVHDX", "sub/deep/c.vhd"]),
        (["."], ("*.raw", "*.VHD"), ["sub/d.raw", "sub/deep/c.vhd"]),
        (["sub/*.vhdx"], (), ["sub/[x].vhdx"]),
        (["sub/**/*.vhd"], ("*.none",), ["sub/deep/c.vhd"]),
        (["s*"], (), ["sub/[x].vhdx", "sub/b.AVHDX", "sub/deep/c.vhd"]),
        (["sub/[x].vhdx"], (), ["sub/[x].vhdx"]),
        (["gone.vhdx", "no*"], (), ["gone.vhdx", "notes.txt"]),
        (["none*"], (), ["none*"]),
        (["https://example.com/a.vhdx?*"], (), ["https://example.com/a.vhdx?*"]),
    ],
)
def test_files(
    words: list[str],
    include: tuple[str, ...],
    expected: list[str],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(folder)
    found = {each if "://" in each else os.path.realpath(each) for each in files(words, include)}
    assert found == {each if "://" in each else os.path.realpath(each) for each in expected}


@pytest.mark.parametrize("listed", [b"a.vhdx\nsub\n", b"a.vhdx\0sub\0", b"a.vhdx\r\nsub"])
def test_a_list_on_standard_input(listed: bytes, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert len(list(files(["-"], (), io.BytesIO(listed)))) == 4


def test_one_file_under_two_names_is_one_image(tmp_path: Path) -> None:
    vhdx.create(tmp_path / "a.vhdx", "1M")
    (tmp_path / "b.vhdx").symlink_to(tmp_path / "a.vhdx")
    assert len(list(vhdx.fleet.run([tmp_path, tmp_path / "a.vhdx"], "info"))) == 1


def _planned(count: int) -> tuple[int, int]:
    """The most memory that planning so many images takes, in chains of four, and how many come out."""
    plan = Plan()
    tracemalloc.start()
    for number in range(count):
        child = number % 4
        plan.add(
            Identity(
                f"/images/{number}.vhdx",
                f"/images/{number}.vhdx",
                *(4096, number, "vhdx", "differencing" if child else "dynamic", 1 << 30, None),
                own=f"{number:032}",
                parent_state="missing" if child else None,
                named=f"{number - 1}.vhdx" if child else None,
                linkages=(f"{number - 1:032}",) if child else (),
            )
        )
    levels = plan.link()
    number = 0
    for level in range(levels):
        for image in plan.at(level):
            assert image.level == level
            plan.finished(image.number, "ok")
            number += 1
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    plan.close()
    assert levels == 4
    return peak, number


def test_planning_takes_the_same_memory_for_many() -> None:
    few, _ = _planned(1_000)
    peak, number = _planned(4_000)
    assert number == 4_000
    assert peak < few + (1 << 20)


@pytest.mark.slow
def test_a_hundred_thousand() -> None:
    peak, number = _planned(100_000)
    assert number == 100_000
    assert peak < 4 << 20
