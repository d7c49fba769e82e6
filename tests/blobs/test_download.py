"""Download: what Azure's own library put into a page blob comes back, and only its pages are read."""

import random
from pathlib import Path

import pytest

import vhdx
from tests.support.layout import MIB
from tests.support.naive import naive_content
from tests.support.reading import whole
from tests.support.vhd import FIXED, VhdBuilder
from vhdx import ImageOptions
from vhdx.storage import blob_storage

from .azurite import CONTAINER, Service, needs_service
from .proxy import Fault, Kind, Proxy

pytestmark = needs_service

SIZE = 48 * MIB
RUNS = {0: 512, 5 * MIB + 512: 5 * MIB, 20 * MIB: 4096, 47 * MIB: MIB}


@pytest.fixture(name="content")
def _content(name: str, service: Service) -> bytes:
    """A fixed VHD of another program in a blob; the disk that it holds."""
    blob = service.blob(name)
    blob.create_page_blob(SIZE + 512)
    chance, disk = random.Random(5), bytearray(SIZE)
    for start, length in RUNS.items():
        disk[start : start + length] = chance.randbytes(length)
        for at in range(start, start + length, 4 * MIB):
            piece = bytes(disk[at : min(at + 4 * MIB, start + length)])
            blob.upload_page(piece, at, len(piece))
    blob.upload_page(VhdBuilder(SIZE, disk_type=FIXED).footer(), SIZE, 512)
    return bytes(disk)


def test_it_becomes_a_small_image(
    tmp_path: Path, target: str, name: str, content: bytes, proxy: Proxy
) -> None:
    made = vhdx.download(target, tmp_path / "a.vhdx", options=ImageOptions(block_size=MIB))
    assert naive_content(tmp_path / "a.vhdx", 0, SIZE) == content
    assert (made.format, made.virtual_size) == ("vhdx", SIZE)
    assert made.file_size == (tmp_path / "a.vhdx").stat().st_size < 15 * MIB
    again = 16 * 1024  # the footer and the first sector are looked at more than once
    assert made.fetched_size == sum(each.length for each in proxy.of("read")) <= sum(RUNS.values()) + again
    pages = [*RUNS.items(), (SIZE, 512)]
    for each in proxy.of("read"):
        assert any(
            start <= each.start < each.start + each.length <= start + length for start, length in pages
        )


def test_pages_that_are_too_many_to_be_kept(
    tmp_path: Path, target: str, content: bytes, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blob_storage, "_MOST_KEPT", 1)
    vhdx.download(target, tmp_path / "a.vhdx")
    assert naive_content(tmp_path / "a.vhdx", 0, SIZE) == content
    assert max(each.length for each in proxy.of("read")) == 2 * MIB


@pytest.mark.parametrize("suffix", ["vhd", "raw"])
def test_other_targets(suffix: str, tmp_path: Path, target: str, content: bytes, proxy: Proxy) -> None:
    made = vhdx.download(target, tmp_path / f"a.{suffix}", jobs=1)
    with vhdx.open(tmp_path / f"a.{suffix}", image_format=made.format) as disk:  # type: ignore[arg-type]
        assert whole(disk) == content


def test_a_sas_that_only_reads(
    tmp_path: Path, name: str, content: bytes, service: Service, proxy: Proxy
) -> None:
    address = f"http://127.0.0.1:{proxy.port}/devstoreaccount1/{CONTAINER}/{name}?{service.sas(name, 'r')}"
    made = vhdx.download(address, tmp_path / "a.vhdx")
    assert naive_content(tmp_path / "a.vhdx", 0, SIZE) == content
    assert made.source == address.partition("?")[0]
    assert "sig=" not in repr(made)


def test_what_changes_meanwhile_gives_no_file(  # noqa: PLR0917  fixtures
    tmp_path: Path, target: str, name: str, content: bytes, service: Service, proxy: Proxy
) -> None:
    blob = service.blob(name)

    def judge(number: int, _kind: Kind) -> Fault | None:
        if number == 5:
            blob.upload_page(b"n" * 512, 0, 512)
        return None

    proxy.begin(judge)
    with pytest.raises(OSError, match="changed meanwhile"):
        vhdx.download(target, tmp_path / "a.vhdx")
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_vhd_is_told(
    tmp_path: Path, target: str, name: str, service: Service, proxy: Proxy
) -> None:
    with pytest.raises(FileNotFoundError, match="no such blob"):
        vhdx.download(target, tmp_path / "a.vhdx")
    service.blob(name).create_page_blob(2 * MIB)
    service.blob(name).upload_page(b"r" * 512, 1024, 512)
    with pytest.raises(vhdx.CorruptImageError, match="say -f raw"):
        vhdx.download(target, tmp_path / "a.vhdx")
    vhdx.download(target, tmp_path / "a.vhdx", source_format="raw")
    assert naive_content(tmp_path / "a.vhdx", 1024, 512) == b"r" * 512
    service.blob(f"{name}.block").upload_blob(bytes(512))
    with pytest.raises(ValueError, match="BlockBlob"):
        vhdx.download(f"{target}.block", tmp_path / "b.vhdx")


def test_a_guest_that_writes_the_signature_of_an_image_makes_none_of_its_disk(  # noqa: PLR0917  fixtures
    tmp_path: Path, target: str, name: str, content: bytes, service: Service, proxy: Proxy
) -> None:
    sector = b"vhdxfile" + bytes(504)
    service.blob(name).upload_page(sector, 0, 512)
    assert vhdx.download(target, tmp_path / "a.vhdx").source_format == "vhd"
    assert naive_content(tmp_path / "a.vhdx", 0, SIZE) == sector + content[512:]


def test_a_file_that_is_there_stays(tmp_path: Path, target: str, content: bytes, proxy: Proxy) -> None:
    (tmp_path / "a.vhdx").write_bytes(b"mine")
    with pytest.raises(FileExistsError):
        vhdx.download(target, tmp_path / "a.vhdx")
    assert (tmp_path / "a.vhdx").read_bytes() == b"mine"
    with pytest.raises(ValueError, match="new file"):
        vhdx.download(target, "-")
