"""Pages for people: small, whole, without anything from elsewhere, of whatever image."""

import json
import os
import re
import shutil
import struct
import subprocess
from collections.abc import Callable
from html import unescape
from html.parser import HTMLParser
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from uuid import UUID

import pytest

import vhdx
from tests.cli.running import run, succeed
from tests.docs.scenes import chain, damaged, dirty, guest, partitioned
from tests.support.build import ImageBuilder
from tests.support.layout import MIB
from tests.support.parts import Block
from tests.support.patterns import pattern
from tests.support.tools import needs
from tests.support.vhd import DYNAMIC, FIXED, VhdBuilder
from vhdx.report.bytes_of_file import bytes_of_file
from vhdx.report.hilbert import place, side_of
from vhdx.report.shapes import file_bar

from .estate import make

LIMIT = 300 << 10
"""Bytes of a page at most."""
SECTIONS = ("card", "findings", "volumes", "map", "file", "chain", "log", "compaction")


class Page(HTMLParser):
    """The identifiers, the addresses and the tooltips of a page, and what was not closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.titles = 0
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.titles += tag == "title"
        if tag not in ("meta", "link", "br"):
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("src", "href", "xlink:href", "action"):
                self.addresses.append(value or "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def _page(image: str, folder: Path, *options: str) -> Page:
    succeed("report", image, "-o", "page.html", "--force", *options, cwd=folder)
    text = (folder / "page.html").read_text()
    assert len(text.encode()) < LIMIT
    page = Page(text)
    assert page.open == []
    assert page.addresses == ["data:,"]
    assert "url(" not in text
    assert "@import" not in text
    return page


@pytest.mark.parametrize(
    ("scene", "image"),
    [
        (chain, "tuesday.avhdx"),
        (dirty, "vm.vhdx"),
        (partitioned, "vm.vhdx"),
        (damaged, "worse.vhdx"),
        (damaged, "begin.vhdx"),
        (damaged, "cut.vhdx"),
    ],
)
def test_every_part_is_there(scene: Callable[[Path], None], image: str, tmp_path: Path) -> None:
    scene(tmp_path)
    before = (tmp_path / image).read_bytes()
    page = _page(image, tmp_path)
    assert [each for each in page.ids if each in SECTIONS] == list(SECTIONS)
    assert (tmp_path / image).read_bytes() == before


@needs("mkfs.ext4")
def test_what_it_says(tmp_path: Path) -> None:
    guest(tmp_path)
    _page("ext4.vhdx", tmp_path)
    text = re.sub(r"<[^>]+>", " ", (tmp_path / "page.html").read_text())
    (found,) = vhdx.file_systems(tmp_path / "ext4.vhdx")
    assert found.used is not None
    with vhdx.open(tmp_path / "ext4.vhdx") as disk:
        assert str(disk.disk_id) in text
    assert "ext4 “root”" in text
    assert "Nothing breaks a rule" in text


def test_names_that_are_html(tmp_path: Path) -> None:
    name = "<script>alert(1)<\\script>&.vhdx"
    vhdx.create(tmp_path / name, "1M")
    _page(name, tmp_path)
    assert "<script>" not in (tmp_path / "page.html").read_text()


def test_a_huge_and_scattered_disk_has_a_small_page(tmp_path: Path) -> None:
    blocks = {number: Block(pattern(number, 16)) for number in range(0, 3000, 2)}
    ImageBuilder(64 << 40, block_size=256 * MIB, blocks={5: Block(b"x"), 200_000: Block(b"y")}).write(
        tmp_path / "huge.vhdx"
    )
    ImageBuilder(3000 * MIB, blocks=dict(reversed(blocks.items()))).write(tmp_path / "scattered.vhdx")
    for name in ("huge.vhdx", "scattered.vhdx"):
        assert _page(name, tmp_path).titles > 500


def test_a_vhd_and_a_raw_disk(tmp_path: Path) -> None:
    (tmp_path / "a.raw").write_bytes(bytes(MIB))
    succeed("convert", "a.raw", "a.vhd", cwd=tmp_path)
    for name in ("a.raw", "a.vhd"):
        assert "map" in _page(name, tmp_path).ids
    done = run("report", "gone.vhdx", "-o", "gone.html", cwd=tmp_path)
    assert done.code == 1
    assert "gone.vhdx" in done.sentence
    assert not (tmp_path / "gone.html").exists()


def test_a_picture(tmp_path: Path) -> None:
    chain(tmp_path)
    succeed("report", "tuesday.avhdx", "--png", "-o", "map.png", cwd=tmp_path)
    data = (tmp_path / "map.png").read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", data[16:24]) == (1024, 1280)


def test_neighbours_of_the_curve_are_neighbours_and_every_cell_comes_once() -> None:
    for count in (1, 2, 5, 16, 64, 1024):
        side = side_of(count)
        places = [place(distance, side) for distance in range(side * side)]
        assert len(set(places)) == side * side >= count
        assert all(abs(a - c) + abs(b - d) == 1 for (a, b), (c, d) in pairwise(places))
        assert {x for x, _ in places} == {y for _, y in places} == set(range(side))


def test_every_byte_of_the_file_is_told(tmp_path: Path) -> None:
    """Against counting bytes one MiB at a time."""
    image = ImageBuilder(40 * MIB, gap=3 * MIB, blocks={n: Block(pattern(n, 16)) for n in (3, 9, 1, 30)})
    image.write(tmp_path / "a.vhdx")
    plan = image.plan()
    found = bytes_of_file(str(tmp_path / "a.vhdx"))
    assert found.data_size == sum(found.data_parts) == 4 * MIB
    assert sum(found.structure_parts) == sum(each.length for each in found.structures)
    for at in plan.blocks.values():
        parts = range(at // found.part_length, -(-(at + MIB) // found.part_length))
        assert all(found.data_parts[part] for part in parts)
    assert found.size == os.path.getsize(tmp_path / "a.vhdx")
    assert found.leaked_size == sum(found.leaked_parts) == 0
    assert found.free_size == found.size - 4 * MIB - sum(found.structure_parts)


def test_what_is_leaked_is_drawn_where_it_is(tmp_path: Path) -> None:
    """In a gap, behind the last block, and in the last MiB, which is not whole: that is passed over."""
    image = ImageBuilder(40 * MIB, gap=4 * MIB, blocks={0: Block(b"x"), 1: Block(b"y")})
    image.write(tmp_path / "a.vhdx")
    plan = image.plan()
    gap = min(plan.blocks.values()) - 3 * MIB
    behind = os.path.getsize(tmp_path / "a.vhdx")
    with (tmp_path / "a.vhdx").open("r+b") as file:
        for place, content in (
            (gap + 5, b"lost"),
            (behind + MIB, bytes(MIB - 1) + b"l"),
            (behind + 2 * MIB, b"x"),
        ):
            file.seek(place)
            file.write(content)
    found = bytes_of_file(str(tmp_path / "a.vhdx"))
    assert found.leaked_size == sum(found.leaked_parts) == 2 * MIB
    for place in (gap, behind + MIB):
        first, last = place // found.part_length, (place + MIB - 1) // found.part_length
        assert sum(found.leaked_parts[first : last + 1]) == MIB
    kinds = {stretch.kind for stretch in file_bar(found)}
    assert kinds == {"structure", "data", "free", "leaked"}


def test_the_bytes_of_a_vhd_and_of_a_raw_disk(tmp_path: Path) -> None:
    sectors = {3: pattern(1, 512), 9000: pattern(2, 512)}
    VhdBuilder(8 * MIB, DYNAMIC, sectors=sectors, unique_id=UUID(int=1)).write(tmp_path / "a.vhd")
    found = bytes_of_file(str(tmp_path / "a.vhd"))
    assert [each.name for each in found.structures] == ["footer copy", "dynamic disk header", "BAT", "footer"]
    assert (found.data_size, found.leaked_size) == (2 * 2 * MIB, 0)
    assert found.bitmap_size == 2 * 512
    whole = (tmp_path / "a.vhd").read_bytes()
    (tmp_path / "a.vhd").write_bytes(whole[:-512] + bytes(MIB) + b"lost" + bytes(508) + whole[-512:])
    found = bytes_of_file(str(tmp_path / "a.vhd"))
    assert (found.leaked_size, sum(found.leaked_parts)) == (512, 512)
    VhdBuilder(MIB, FIXED, sectors={3: pattern(1, 512)}, unique_id=UUID(int=1)).write(tmp_path / "b.vhd")
    found = bytes_of_file(str(tmp_path / "b.vhd"))
    assert (found.size, found.data_size, found.free_size) == (MIB + 512, MIB, 0)
    with (tmp_path / "c.raw").open("wb") as file:
        file.truncate(64 * MIB)
        file.seek(32 * MIB)
        file.write(pattern(3, MIB))
    found = bytes_of_file(str(tmp_path / "c.raw"))
    assert (found.data_size, found.free_size, found.structures) == (MIB, 63 * MIB, [])


def test_a_page_of_many(tmp_path: Path) -> None:
    estate = make(tmp_path / "estate", plain=28, broken_ones=8, chains=2, in_use=0)
    run("fleet", "check", estate.folder, "-o", "page.html", cwd=tmp_path)
    text = (tmp_path / "page.html").read_text()
    page = Page(text)
    assert page.open == []
    assert page.addresses == ["data:,"]
    assert {"sizes", "codes", "orphans", "images"} <= set(page.ids)
    assert text.count("<tr><td>" + str(estate.folder)) == estate.rows + estate.orphans
    assert len(text) < LIMIT


def _in_a_browser(folder: Path, page: str, *words: str) -> tuple[str, list[str]]:
    """What becomes of a page in Chromium, and the lines of its console."""
    browser = shutil.which("chromium")
    assert browser is not None
    (folder / "shown.html").write_text(page)
    how = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}/profile"]
    how += ["--enable-logging=stderr", "--v=0", "--virtual-time-budget=60000", "--dump-dom", *words]
    done = subprocess.run(
        [browser, *how, f"file://{folder}/shown.html"],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert "</html>" in done.stdout
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def _judged(folder: Path, page: str, *words: str) -> tuple[int, list[str], list[str]]:
    """How many of axe-core's rules a page keeps, which it breaks, and what its console says."""
    rules = (files("axe_core_python") / "axe.min.js").read_text()
    asked = """axe.run().then(found => {
        document.body.textContent = "";
        const told = document.body.appendChild(document.createElement("pre"));
        told.textContent = JSON.stringify([found.passes.length, found.violations.map(
            each => `${each.id} (${each.impact}): ${each.nodes[0].html}`)]);
    });"""
    text = page.replace("</body>", f"<script>{rules}</script><script>{asked}</script></body>")
    shown, console = _in_a_browser(folder, text, *words)
    answer = re.search("<pre>(.*?)</pre>", shown, re.DOTALL)
    assert answer is not None
    kept, broken = json.loads(unescape(answer[1]))
    return kept, broken, console


@needs("chromium")
@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("scene", ["one", "many"])
def test_a_browser_and_axe_find_no_fault_and_nobody_is_asked(
    scene: str, colours: str, tmp_path: Path
) -> None:
    """Whatever a page would ask for is forbidden by itself, which a browser tells on its console."""
    if scene == "one":
        chain(tmp_path)
        succeed("report", "tuesday.avhdx", "-o", "page.html", cwd=tmp_path)
    else:
        make(tmp_path / "estate", plain=14, broken_ones=8, chains=1, in_use=0)
        run("fleet", "check", "estate", "-o", "page.html", cwd=tmp_path)
    scheme = {"dark": 0, "light": 1}[colours]
    kept, broken, console = _judged(
        tmp_path, (tmp_path / "page.html").read_text(), f"--blink-settings=preferredColorScheme={scheme}"
    )
    assert console == []
    assert broken == []
    assert kept > 15


@needs("chromium")
def test_the_judges_see_faults(tmp_path: Path) -> None:
    """Text that is too pale, a picture without words, and something from elsewhere."""
    page = """<!doctype html><html lang="en"><head><title>x</title><meta charset="utf-8">
        <meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src 'unsafe-inline';
        style-src 'unsafe-inline'; img-src data:"></head><body><main><h1>x</h1>
        <p style="color: #ccc; background: #fff">pale</p>
        <img src="data:,"><img alt="x" src="elsewhere.png"></main></body></html>"""
    _, broken, console = _judged(tmp_path, page)
    assert {each.split()[0] for each in broken} == {"color-contrast", "image-alt"}
    assert any("elsewhere.png" in line for line in console)
