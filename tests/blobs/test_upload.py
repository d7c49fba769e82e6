"""Upload: Azure's own library and QEMU find the disk in the blob, and little more than its data was sent."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import vhdx
from tests.support.layout import MIB
from tests.support.tools import needs
from tests.support.vhd import FIXED, VhdBuilder

from .azurite import CONTAINER, Service, environment, needs_service
from .proxy import FOOTER, Proxy
from .sources import KINDS, Made, dynamic, nonzero, small

pytestmark = needs_service


def disk_of(data: bytes) -> bytes:
    """The disk in a fixed VHD."""
    assert data[-512:].startswith(FOOTER)
    assert len(data) % MIB == 512
    return data[:-512]


@pytest.mark.parametrize("kind", KINDS)
def test_every_source(  # noqa: PLR0917  fixtures
    kind: Callable[[Path], Made], tmp_path: Path, target: str, name: str, service: Service, proxy: Proxy
) -> None:
    made = kind(tmp_path)
    done = vhdx.upload(made.path, target, source_format="raw" if made.path.suffix == ".raw" else None)
    size = -(-len(made.content) // MIB) * MIB
    assert disk_of(service.content(name)) == made.content.ljust(size, b"\0")
    assert (done.format, done.virtual_size, done.file_size) == ("vhd", size, size + 512)
    assert done.sent_size == proxy.written
    assert done.sent_size + done.skipped_size == done.file_size
    assert done.sent_size - 512 <= 1.02 * nonzero(made.content)
    assert service.stored(name) == done.sent_size
    assert any("rounded" in remark for remark in done.remarks) == (size != len(made.content))


@needs("qemu-img")
def test_qemu_finds_the_disk_in_what_azure_has(
    tmp_path: Path, target: str, name: str, service: Service, proxy: Proxy
) -> None:
    made = dynamic(tmp_path)
    vhdx.upload(made.path, target)
    (tmp_path / "blob.vhd").write_bytes(service.content(name))
    compare = ["qemu-img", "compare", "-f", "vhdx", "-F", "vpc", str(made.path), str(tmp_path / "blob.vhd")]
    subprocess.run(compare, check=True, stdout=subprocess.DEVNULL)


def test_long_runs_are_cut_and_neighbours_go_together(tmp_path: Path, target: str, proxy: Proxy) -> None:
    made = dynamic(tmp_path)
    vhdx.upload(made.path, target, jobs=2)
    assert sorted(each.length for each in proxy.of("write")) == [512, 4096, 4096, MIB, MIB, 4 * MIB]
    proxy.begin()
    vhdx.upload(made.path, target, jobs=32, overwrite=True)
    assert max(each.length for each in proxy.of("write")) == MIB // 2
    assert proxy.written == 6 * MIB + 8192 + 512


def test_the_footer_goes_last_and_says_what_azure_wants(
    tmp_path: Path, target: str, name: str, service: Service, proxy: Proxy
) -> None:
    made = small(tmp_path)
    vhdx.upload(made.path, target)
    assert proxy.of("write")[-1][1:3] == (16 * MIB, 512)
    footer = service.content(name)[-512:]
    own = VhdBuilder(16 * MIB, disk_type=FIXED).footer()
    assert footer[40:56] == own[40:56]  # both sizes
    assert footer[60:64] == own[60:64]  # the type


def test_a_blob_that_holds_something_is_cleared_only_if_that_is_said(
    tmp_path: Path, target: str, name: str, service: Service, proxy: Proxy
) -> None:
    made = small(tmp_path)
    blob = service.blob(name)
    blob.create_page_blob(16 * MIB + 512)
    blob.upload_page(b"o" * 4096, 10 * MIB, 4096)
    with pytest.raises(FileExistsError):
        vhdx.upload(made.path, target)
    assert service.stored(name) == 4096
    vhdx.upload(made.path, target, overwrite=True)
    assert disk_of(service.content(name)) == made.content
    assert not proxy.of("create")


def test_a_blob_of_another_size_is_made_anew_only_if_that_is_said(
    tmp_path: Path, target: str, name: str, service: Service, proxy: Proxy
) -> None:
    made = small(tmp_path)
    service.blob(name).create_page_blob(MIB)
    with pytest.raises(FileExistsError):
        vhdx.upload(made.path, target)
    vhdx.upload(made.path, target, overwrite=True)
    assert disk_of(service.content(name)) == made.content


def test_other_kinds_of_blobs_stay(
    tmp_path: Path, target: str, name: str, service: Service, proxy: Proxy
) -> None:
    made = small(tmp_path)
    service.blob(name).upload_blob(b"not a disk")
    with pytest.raises(ValueError, match="BlockBlob"):
        vhdx.upload(made.path, target, overwrite=True)
    assert service.content(name) == b"not a disk"


def test_a_sas_that_makes_nothing_fills_what_is_there(
    tmp_path: Path, name: str, service: Service, proxy: Proxy
) -> None:
    """As that of a managed disk: the blob is there, empty, and as large as it is to be."""
    made = small(tmp_path)
    address = f"http://127.0.0.1:{proxy.port}/devstoreaccount1/{CONTAINER}/{name}?{service.sas(name, 'rw')}"
    with pytest.raises(FileNotFoundError, match="does not allow to make one"):
        vhdx.upload(made.path, address)
    service.blob(name).create_page_blob(17 * MIB + 512)
    with pytest.raises(ValueError, match="16777728 bytes"):
        vhdx.upload(made.path, address, overwrite=True)
    service.blob(name).create_page_blob(16 * MIB + 512)
    done = vhdx.upload(made.path, address)
    assert disk_of(service.content(name)) == made.content
    assert not [each for each in proxy.asked if each.kind in ("create", "resize")]
    assert "sig=" not in repr(done)


def test_a_sas_that_only_writes(tmp_path: Path, name: str, service: Service, proxy: Proxy) -> None:
    """Nothing is seen by it, nor made: the size is told all the same, and nothing is written for that."""
    made = small(tmp_path)
    address = f"http://127.0.0.1:{proxy.port}/devstoreaccount1/{CONTAINER}/{name}?{service.sas(name, 'w')}"
    with pytest.raises(FileNotFoundError):
        vhdx.upload(made.path, address)
    for size in (16 * MIB, 16 * MIB + 1024, 17 * MIB + 512, 512):
        service.blob(name).create_page_blob(size)
        service.blob(name).upload_page(b"t" * 512, size - 512, 512)
        with pytest.raises(ValueError, match="does not have the 16777728 bytes"):
            vhdx.upload(made.path, address, overwrite=True)
        assert service.stored(name) == 512
    service.blob(name).create_page_blob(16 * MIB + 512)
    with pytest.raises(FileExistsError):
        vhdx.upload(made.path, address)
    vhdx.upload(made.path, address, overwrite=True, resume=tmp_path / "journal")
    assert disk_of(service.content(name)) == made.content
    assert {each.kind for each in proxy.asked} == {"clear", "take", "write"}


def test_a_sas_that_allows_it_makes_the_blob(
    tmp_path: Path, name: str, service: Service, proxy: Proxy
) -> None:
    made = small(tmp_path)
    address = f"http://127.0.0.1:{proxy.port}/devstoreaccount1/{CONTAINER}/{name}?{service.sas(name, 'rcw')}"
    done = vhdx.upload(made.path, address)
    assert disk_of(service.content(name)) == made.content
    assert done.path == address.partition("?")[0]


def test_one_partition_and_no_free_space(tmp_path: Path, target: str, proxy: Proxy) -> None:
    made = small(tmp_path)
    with pytest.raises(ValueError, match="partition"):
        vhdx.upload(made.path, target, partition=3)
    assert proxy.asked == []


@pytest.mark.parametrize("jobs", [0, 33])
def test_the_number_of_jobs_is_bounded(jobs: int, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="1 to 32"):
        vhdx.upload(small(tmp_path).path, "az://c/b.vhd", jobs=jobs)


_MEASURE = """
import re, sys, vhdx
image, target, copy = sys.argv[1:]
vhdx.upload(image, target, jobs=32)
vhdx.download(target, copy, jobs=32)
print(re.search(r"VmHWM:\\s*(\\d+) kB", open("/proc/self/status").read())[1])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells what a process had at most")
def test_memory_stays_below_128_mib(tmp_path: Path, target: str, service: Service) -> None:
    image = tmp_path / "a.vhdx"
    vhdx.create(image, "2040G")
    with vhdx.open(image, "r+") as disk:
        for number in range(5):
            disk.pwrite(os.urandom(1 << 20) * 4, number << 37)
    told = {**os.environ, **environment(service.port)}
    words = [sys.executable, "-c", _MEASURE, str(image), target, str(tmp_path / "b.vhdx")]
    said = subprocess.run(words, check=True, capture_output=True, text=True, env=told).stdout
    assert int(said) <= 128 * 1024
    assert vhdx.compare(image, tmp_path / "b.vhdx").identical
    assert list(tmp_path.glob("*.vhd")) == []
