"""Swap areas: free behind their first page, unless a machine sleeps in them."""

from pathlib import Path

import pytest

from tests.filesystems.noise import MIB, empty, looked_at, only, patch, piece, reader_of, run, spoil
from tests.support.tools import needs
from vhdx.filesystems import swap

pytestmark = needs("mkswap", "swaplabel")


def made(path: Path, *options: str, size: int = 8 * MIB) -> Path:
    path = empty(path, size)
    path.chmod(0o600)
    run("mkswap", "--label", "swap", *options, path)
    return path


@pytest.mark.parametrize("page", [4096, 8192, 16384, 65536])
def test_all_but_the_first_page_may_go(page: int, tmp_path: Path) -> None:
    image = made(tmp_path / "disk.raw", "--pagesize", str(page))
    first = piece(image, 0, page)
    with looked_at(image) as (volume,):
        assert list(volume.free_ranges()) == [(page, 8 * MIB - page)]
        found = volume.file_system
    assert (found.kind, found.label, found.state, found.block_size) == ("swap", "swap", "clean", page)
    spoil(image)
    assert piece(image, 0, page) == first
    said = run("swaplabel", image)
    assert f"UUID:  {found.uuid}" in said
    assert "LABEL: swap" in said


def test_a_part_of_a_page_at_the_end_is_kept(tmp_path: Path) -> None:
    image = made(tmp_path / "disk.raw", size=MIB + 512)
    with looked_at(image) as (volume,):
        assert list(volume.free_ranges()) == [(4096, MIB - 4096)]


@pytest.mark.parametrize("magic", [b"S1SUSPEND\0", b"S2SUSPEND\0", b"ULSUSPEND\0", b"LINHIB0001"])
def test_the_memory_of_a_machine_that_sleeps_is_kept(magic: bytes, tmp_path: Path) -> None:
    image = made(tmp_path / "disk.raw")
    patch(image, 4086, magic)
    found = only(image)
    assert (found.free, found.state) == (None, "unclean")
    assert found.reasons == ("it holds the memory of a machine that sleeps",)


@pytest.mark.parametrize(
    ("place", "value", "reason"),
    [
        (1024, 2, "its version is 2"),
        (1032, 1, "it lists bad pages"),
        (1028, 0xFFFFFFFF, "the space that it stands in only"),
        (1028, 2048, "the space that it stands in only"),
    ],
)
def test_what_is_not_understood_is_kept(place: int, value: int, reason: str, tmp_path: Path) -> None:
    image = made(tmp_path / "disk.raw")
    patch(image, place, value.to_bytes(4, "little"))
    found = only(image)
    assert found.free is None
    assert reason in found.reasons[0]


def test_one_without_pages_is_none() -> None:
    page = bytearray(4096)
    page[4086:] = b"SWAPSPACE2"
    assert swap.recognise(reader_of(page), 4096) is None
