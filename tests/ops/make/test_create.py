"""What `create` makes: sizes and their rounding, and every byte of the file."""

import os
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

import vhdx
from tests.support.layout import GIB, KIB, MIB, TIB, ZERO, ZERO_GUID
from tests.support.naive import naive_content, naive_size
from tests.support.structures import HEADER, REGION_TABLE, item, locate, region_entry, value_of

from .making import assert_is, disk_of, guid_of, item_of, should_be, space_taken, states, umask

SECTOR_ABOVE = 512


@pytest.mark.parametrize(
    ("disk_size", "block_size"),
    [
        (512, 8 * MIB),
        (GIB, 8 * MIB),
        (GIB + SECTOR_ABOVE, 16 * MIB),
        (100 * GIB, 16 * MIB),
        (100 * GIB + SECTOR_ABOVE, 32 * MIB),
        (32 * TIB, 32 * MIB),
        (32 * TIB + SECTOR_ABOVE, 64 * MIB),
        (64 * TIB, 64 * MIB),
    ],
)
@pytest.mark.parametrize("asked", [None, 0, "0"])
def test_default_block_size(tmp_path: Path, disk_size: int, block_size: int, asked: int | str | None) -> None:
    path = tmp_path / "a.vhdx"
    made = vhdx.create(path, disk_size, block_size=asked)
    assert (made.virtual_size, made.block_size, made.remarks) == (disk_size, block_size, ())
    assert (naive_size(path), item_of(path, "file_parameters")) == (disk_size, block_size)


@pytest.mark.parametrize(
    ("size", "options", "becomes", "words"),
    [
        (1, {}, ("virtual_size", 512), "virtual size rounded from 1 bytes to 512"),
        (513, {}, ("virtual_size", 1024), "virtual size rounded from 513 bytes to 1024"),
        (512, {"logical_sector_size": 4096}, ("virtual_size", 4096), "virtual size rounded from 512 bytes"),
        (64 * TIB - 1, {}, ("virtual_size", 64 * TIB), f"virtual size rounded from {64 * TIB - 1} bytes"),
        (MIB, {"block_size": 1}, ("block_size", MIB), "block size rounded from 1 bytes to 1048576 (1 MiB)"),
        (MIB, {"block_size": MIB + 1}, ("block_size", 2 * MIB), "block size rounded from 1048577 bytes"),
        (MIB, {"block_size": "3M"}, ("block_size", 4 * MIB), "block size rounded from 3145728 bytes"),
        (MIB, {"block_size": "129M"}, ("block_size", 256 * MIB), "to 268435456 (256 MiB)"),
        (MIB, {"log_size": 0}, ("log_size", MIB), "log size rounded from 0 bytes to 1048576"),
        (MIB, {"log_size": 1}, ("log_size", MIB), "log size rounded from 1 bytes to 1048576"),
        (MIB, {"log_size": MIB + 1}, ("log_size", 2 * MIB), "log size rounded from 1048577 bytes"),
        (MIB, {"log_size": GIB - 1}, ("log_size", GIB), "log size rounded from"),
    ],
)
def test_rounds_up_and_says_so(
    tmp_path: Path, size: int, options: dict[str, Any], becomes: tuple[str, int], words: str
) -> None:
    made = vhdx.create(tmp_path / "a.vhdx", size, **options)
    assert getattr(made, becomes[0]) == becomes[1]
    assert [words in remark for remark in made.remarks] == [True]
    with vhdx.open(tmp_path / "a.vhdx") as disk:
        assert disk.size == made.virtual_size
        assert disk.block_size == made.block_size


@pytest.mark.parametrize(
    ("size", "options"),
    [
        (512, {}),
        ("1.5M", {"block_size": MIB}),
        (4096, {"logical_sector_size": 4096, "block_size": "256MiB", "log_size": "2MiB"}),
        (64 * TIB, {"block_size": "256M", "log_size": GIB}),
    ],
)
def test_says_nothing_when_nothing_is_rounded(
    tmp_path: Path, size: int | str, options: dict[str, Any]
) -> None:
    assert vhdx.create(tmp_path / "a.vhdx", size, **options).remarks == ()


@pytest.mark.parametrize(
    ("size", "options", "words"),
    [
        (0, {}, "more than 0 and at most 64 TiB, not 0"),
        (-1, {}, "negative"),
        (64 * TIB + 1, {}, "at most 64 TiB"),
        (1 << 200, {}, "at most 64 TiB"),
        ("10GQ", {}, "not a size"),
        (MIB, {"block_size": 256 * MIB + 1}, "at most 256 MiB"),
        (MIB, {"block_size": -1}, "negative"),
        (MIB, {"log_size": 4 * GIB - MIB + 1}, "at most 4 GiB - 1 MiB"),
        (MIB, {"logical_sector_size": 1024}, "logical sector size must be 512 or 4096, not 1024"),
        (MIB, {"physical_sector_size": 0}, "physical sector size must be 512 or 4096, not 0"),
        (MIB, {"disk_type": "differencing"}, "must be 'dynamic' or 'fixed'"),
        (MIB, {"disk_type": "fixed", "zero_blocks": True}, "zero blocks go with dynamic"),
        (MIB, {"disk_id": "no uuid"}, "UUID"),
    ],
)
def test_refuses(tmp_path: Path, size: int | str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        vhdx.create(tmp_path / "a.vhdx", size, **options)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("size", [1.5, True, b"1M"])
def test_refuses_other_types_of_sizes(tmp_path: Path, size: Any) -> None:
    with pytest.raises(TypeError):
        vhdx.create(tmp_path / "a.vhdx", size)
    assert os.listdir(tmp_path) == []


BYTE_FOR_BYTE: list[tuple[str, int, dict[str, Any], dict[str, Any]]] = [
    ("one sector", 512, {}, {"block_size": 8 * MIB}),
    ("last block short", 10 * MIB + 512, {"block_size": MIB}, {}),
    ("blocks of 256 MiB", 600 * MIB, {"block_size": 256 * MIB}, {"block_size": 256 * MIB}),
    ("log of 3 MiB", 10 * MIB, {"block_size": MIB, "log_size": "3M"}, {"log_length": 3 * MIB}),
    (
        "both sectors 4096",
        10 * MIB,
        {"block_size": MIB, "logical_sector_size": 4096},
        {"logical_sector_size": 4096},
    ),
    (
        "both sectors 512",
        10 * MIB,
        {"block_size": MIB, "physical_sector_size": 512},
        {"physical_sector_size": 512},
    ),
    (
        "4096 over 512",
        10 * MIB,
        {"block_size": MIB, "physical_sector_size": 512, "logical_sector_size": 4096},
        {"physical_sector_size": 512, "logical_sector_size": 4096},
    ),
    ("zero blocks", 10 * MIB, {"block_size": MIB, "zero_blocks": True}, {"default_state": ZERO}),
    ("fixed", 10 * MIB + 512, {"block_size": MIB, "disk_type": "fixed"}, {"disk_type": "fixed"}),
    (
        "fixed with one block",
        512,
        {"block_size": "32M", "disk_type": "fixed"},
        {"block_size": 32 * MIB, "disk_type": "fixed"},
    ),
    # 4096 blocks to a chunk: the table of a disk of exactly one chunk has no bitmap slot, one more has
    ("one chunk", 4 * GIB, {"block_size": MIB}, {}),
    ("zeros, one chunk", 4 * GIB, {"block_size": MIB, "zero_blocks": True}, {"default_state": ZERO}),
    ("zeros, and a block", 4097 * MIB, {"block_size": MIB, "zero_blocks": True}, {"default_state": ZERO}),
    ("zeros, two chunks", 8 * GIB, {"block_size": MIB, "zero_blocks": True}, {"default_state": ZERO}),
    (
        "zeros, three chunks",
        8 * GIB + 512,
        {"block_size": MIB, "zero_blocks": True},
        {"default_state": ZERO},
    ),
    (
        "zeros, chunks of 32 GiB",
        64 * GIB + 4096,
        {"block_size": MIB, "logical_sector_size": 4096, "zero_blocks": True},
        {"logical_sector_size": 4096, "default_state": ZERO},
    ),
    (
        "zeros, 16 blocks to a chunk",
        18 * GIB,
        {"block_size": 256 * MIB, "zero_blocks": True},
        {"block_size": 256 * MIB, "default_state": ZERO},
    ),
    # a table of more than 1 MiB, the unit in which it is written
    (
        "zeros, 200000 blocks",
        200000 * MIB,
        {"block_size": MIB, "zero_blocks": True},
        {"default_state": ZERO},
    ),
    ("64 TiB", 64 * TIB, {}, {"block_size": 64 * MIB}),
    ("64 TiB in blocks of 1 MiB", 64 * TIB, {"block_size": MIB}, {}),
]


@pytest.mark.parametrize(
    ("size", "options", "described"),
    [row[1:] for row in BYTE_FOR_BYTE],
    ids=[row[0] for row in BYTE_FOR_BYTE],
)
def test_every_byte(tmp_path: Path, size: int, options: dict[str, Any], described: dict[str, Any]) -> None:
    path = tmp_path / "a.vhdx"
    made = vhdx.create(path, size, **options)
    assert made.file_size == path.stat().st_size
    assert_is(path, should_be(path, disk_size=size, **{"block_size": MIB, **described}))


@pytest.mark.parametrize("blocks", [4096, 4097, 8193])
def test_every_byte_of_fixed_tables_over_chunks(
    tmp_path: Path, blocks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "vhdx.storage.file.host.reserve", lambda *_: True
    )  # the host's disk need not have 8 GiB
    path = tmp_path / "a.vhdx"
    vhdx.create(path, blocks * MIB, block_size=MIB, disk_type="fixed")
    assert_is(path, should_be(path, disk_size=blocks * MIB, block_size=MIB, disk_type="fixed"))


def test_what_stands_where(tmp_path: Path) -> None:
    """The same in plain words, without the builder."""
    path = tmp_path / "a.vhdx"
    vhdx.create(path, "10M", block_size="1M")
    for copy in (1, 2):
        assert value_of(path, REGION_TABLE, "entry_count", copy) == 2
        assert value_of(path, region_entry(0), "file_offset", copy) == 3 * MIB
        assert value_of(path, region_entry(1), "file_offset", copy) == 2 * MIB
        assert [value_of(path, region_entry(n), "required", copy) for n in (0, 1)] == [1, 1]
    copies = [path.read_bytes()[at : at + 64 * KIB] for at in (192 * KIB, 256 * KIB)]
    assert copies[0] == copies[1]
    assert [value_of(path, HEADER, "sequence_number", copy) for copy in (1, 2)] == [0, 1]
    for field in ("file_write_guid", "data_write_guid", "log_guid", "log_offset", "log_length", "version"):
        assert value_of(path, HEADER, field, 1) == value_of(path, HEADER, field, 2), field
    assert guid_of(path, "log_guid") == ZERO_GUID
    assert len({ZERO_GUID, *(guid_of(path, f"{kind}_write_guid") for kind in ("file", "data"))}) == 3
    names = ("file_parameters", "virtual_disk_size", "logical_sector_size", "physical_sector_size")
    offsets = [locate(path, item(name)) - 2 * MIB for name in (*names, "virtual_disk_id")]
    assert offsets == [64 * KIB + at for at in (0, 8, 16, 20, 24)]
    assert states(path, 10) == [0] * 10
    assert disk_of(path) == bytes(10 * MIB)


def test_identities_are_new_each_time(tmp_path: Path) -> None:
    one, other = tmp_path / "a.vhdx", tmp_path / "b.vhdx"
    ids = {vhdx.create(path, MIB).disk_id for path in (one, other)}
    guids = {guid_of(path, f"{kind}_write_guid") for path in (one, other) for kind in ("file", "data")}
    assert len(ids) == 2
    assert len(guids) == 4
    assert all(guid.version == 4 for guid in (*ids, *guids))


@pytest.mark.parametrize("kind", [str, UUID])
def test_disk_id_can_be_chosen(tmp_path: Path, kind: type[str | UUID]) -> None:
    chosen = UUID("00112233-4455-6677-8899-aabbccddeeff")
    made = vhdx.create(tmp_path / "a.vhdx", MIB, disk_id=kind(str(chosen)))
    assert made.disk_id == chosen == item_of(tmp_path / "a.vhdx", "virtual_disk_id")


@pytest.mark.parametrize("options", [{}, {"block_size": MIB}])
def test_a_sparse_disk_of_64_tib_takes_no_space(tmp_path: Path, options: dict[str, Any]) -> None:
    path = tmp_path / "a.vhdx"
    vhdx.create(path, 64 * TIB, **options)
    assert space_taken(path) < 2 * MIB
    assert naive_content(path, 64 * TIB - MIB, MIB) == bytes(MIB)


def test_a_fixed_image_has_its_space_reserved(tmp_path: Path) -> None:
    path = tmp_path / "a.vhdx"
    made = vhdx.create(path, "20M", block_size="1M", disk_type="fixed")
    assert made.remarks == ()
    assert space_taken(path) >= 20 * MIB


def test_says_where_the_host_cannot_reserve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vhdx.storage.file.host.reserve", lambda *_: False)
    fixed = vhdx.create(tmp_path / "a.vhdx", "20M", disk_type="fixed")
    assert ["cannot reserve space" in remark for remark in fixed.remarks] == [True]
    assert vhdx.create(tmp_path / "b.vhdx", "20M").remarks == ()


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
@pytest.mark.parametrize("overwrite", [False, True])
def test_permissions_follow_the_umask(tmp_path: Path, mask: int, mode: int, *, overwrite: bool) -> None:
    path = tmp_path / "a.vhdx"
    if overwrite:
        path.touch(mode=0o640)
    with umask(mask):
        vhdx.create(path, MIB, overwrite=overwrite)
    assert path.stat().st_mode & 0o7777 == mode


def test_result_says_what_was_made(tmp_path: Path) -> None:
    path = tmp_path / "a.vhdx"
    made = vhdx.create(path, "1G", disk_type="dynamic", block_size="2M", log_size="2M")
    assert (made.path, made.disk_type) == (str(path), "dynamic")
    assert (made.virtual_size, made.block_size, made.log_size) == (GIB, 2 * MIB, 2 * MIB)
    assert (made.logical_sector_size, made.physical_sector_size) == (512, 4096)
    assert made.file_size == path.stat().st_size == 5 * MIB


@pytest.mark.parametrize(("log_size", "remarked"), [("1G", False), ("1025M", True), ("1024M", False)])
def test_who_refuses_large_logs_is_said(tmp_path: Path, log_size: str, *, remarked: bool) -> None:
    made = vhdx.create(tmp_path / "a.vhdx", "1M", log_size=log_size)
    assert any("log of more than 1 GiB" in remark for remark in made.remarks) == remarked
    (tmp_path / "a.raw").write_bytes(b"x" * 512)
    options = vhdx.ImageOptions(log_size=log_size)
    converted = vhdx.convert(tmp_path / "a.raw", tmp_path / "b.vhdx", options=options)
    assert any("log of more than 1 GiB" in remark for remark in converted.remarks) == remarked
    with vhdx.open(tmp_path / "b.vhdx") as disk:
        assert disk.pread(512, 0) == b"x" * 512
