"""Disks that become block blobs of Azure: what others get is right, and it is there whole or not at all."""

# ruff: noqa: PLR0917  fixtures

import hashlib
import itertools
import json
import os
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

import vhdx
from tests.cli.running import COMMAND, Ran
from tests.remote.test_upload import CONTENT, SIZE, as_others_read
from tests.support.layout import MIB
from tests.support.patterns import pattern
from tests.support.sweep import Sweep, swept
from tests.support.tools import needs
from vhdx.cli.main import exit_code_of
from vhdx.storage import multipart
from vhdx.storage.blob_address import names_blob

from .azurite import CONTAINER, KEY, Service, environment, needs_service
from .proxy import Fault, Kind, Proxy
from .test_faults import MANY, address_of, assert_no_secret, at, pairs

pytestmark = needs_service

TARGETS: list[tuple[str, dict[str, Any]]] = [
    ("a.raw", {}),
    ("dynamic.vhd", {"disk_type": "dynamic"}),
    ("small.vhdx", {"block_size": MIB}),
    ("fixed.vhdx", {"disk_type": "fixed", "log_size": 3 * MIB}),
    ("4k.vhdx", {"block_size": MIB, "logical_sector_size": 4096}),
]
FAULTS: list[Fault] = ["unheard", "unanswered", "busy", "broken", "unavailable"]


@pytest.fixture(name="small_parts", autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blobs of some MiB have several parts."""
    monkeypatch.setattr(multipart, "SMALLEST_PART", MIB)


@pytest.fixture(name="raw")
def _raw(tmp_path: Path) -> Path:
    path = tmp_path / "source.raw"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture(name="key")
def _key(name: str) -> str:
    """The name of a blob that is not there yet and tells no format of pages."""
    return name.replace(".vhd", ".raw")


@pytest.fixture(name="url")
def _url(key: str) -> str:
    return f"az://{CONTAINER}/{key}"


def unfinished(service: Service, key: str) -> list[str]:
    """The blocks that are with the service, and belong to no blob."""
    blob = service.blob(key)
    container = service.client.get_container_client(CONTAINER)
    named = [each.name for each in container.list_blobs(include="uncommittedblobs")]
    return [block.id for block in blob.get_block_list("uncommitted")[1]] if key in named else []


def nothing_is_left(service: Service, key: str) -> bool:
    return not service.blob(key).exists() and not unfinished(service, key)


def run(capfd: pytest.CaptureFixture[str], *words: str | Path) -> Ran:
    capfd.readouterr()
    return Ran(exit_code_of([str(word) for word in words]), *capfd.readouterr())


@needs("qemu-img")
@pytest.mark.parametrize(("name_of", "options"), TARGETS, ids=[name for name, _ in TARGETS])
def test_what_others_get_is_the_disk(
    service: Service, proxy: Proxy, raw: Path, tmp_path: Path, name_of: str, options: dict[str, Any]
) -> None:
    key = f"{tmp_path.name}/{name_of}"
    made = vhdx.convert(raw, f"az://{CONTAINER}/{key}", options=vhdx.ImageOptions(**options))
    data = service.content(key)
    (tmp_path / name_of).write_bytes(data)
    assert (made.file_size, service.blob(key).get_blob_properties().blob_type) == (len(data), "BlockBlob")
    found = as_others_read(tmp_path / name_of, made.target_format)
    assert found.startswith(CONTENT)
    assert not found[SIZE:].strip(b"\0")
    assert name_of == "a.raw" or vhdx.check(tmp_path / name_of).is_clean
    with vhdx.open(f"az://{CONTAINER}/{key}", parents=()) as disk:
        assert disk.pread(SIZE, 0) == CONTENT
    assert len(proxy.of("block")) == -(-len(data) // MIB)
    assert [each.kind for each in proxy.asked if each.kind in ("block", "list")][-1] == "list"


def test_a_fixed_vhd_becomes_a_page_blob(
    service: Service, proxy: Proxy, raw: Path, target: str, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    done = run(capfd, "convert", raw, target)
    assert (done.code, service.blob(name).get_blob_properties().blob_type) == (0, "PageBlob")
    assert service.content(name)[:SIZE] == CONTENT
    assert "next: az disk create" in done.err
    assert "exists already; --force replaces it" in run(capfd, "convert", raw, target).err
    done = run(capfd, "convert", raw, target, "--force", "--json")
    told = json.loads(done.out)["result"]
    assert (told["path"].endswith(f"/{CONTAINER}/{name}"), told["target_format"]) == (True, "vhd")
    assert told["data_size"] < SIZE
    for words, why in (
        (["--salvage"], "vhdx upload"),
        (["--verify"], "vhdx upload"),
        (["--clone", "always"], "vhdx upload"),
        (["--block-size", "1M"], "no block size"),
    ):
        assert why in run(capfd, "convert", raw, target, "--force", *words).err
    done = run(capfd, "convert", raw, target, "-O", "vhdx", "--force")  # pages are no blocks
    assert "is a PageBlob, and this becomes a BlockBlob" in done.err


def test_what_is_there_stays_or_is_replaced(
    service: Service, proxy: Proxy, raw: Path, url: str, key: str, capfd: pytest.CaptureFixture[str]
) -> None:
    service.blob(key).upload_blob(b"old")
    done = run(capfd, "convert", raw, url)
    assert (done.code, "exists already; --force replaces it" in done.err) == (1, True)
    assert service.content(key) == b"old"
    assert proxy.of("block") == []
    assert run(capfd, "convert", raw, url, "--force").code == 0
    assert service.content(key) == CONTENT
    with pytest.raises(ValueError, match="is the source or one of its parents"):
        vhdx.convert(url, url, overwrite=True)


def test_a_blob_that_comes_meanwhile_stays(
    service: Service, proxy: Proxy, raw: Path, url: str, key: str
) -> None:
    def judge(_number: int, kind: Kind) -> Fault | None:
        if kind == "list" and not service.blob(key).exists():
            service.blob(key).upload_blob(b"theirs", overwrite=True)
        return None

    proxy.begin(judge)
    with pytest.raises(FileExistsError):
        vhdx.convert(raw, url)
    assert service.content(key) == b"theirs"


def test_two_uploads_to_one_blob_are_never_mixed(
    service: Service, proxy: Proxy, raw: Path, key: str, tmp_path: Path
) -> None:
    """The second one that ends finds its blocks gone, and says so."""
    other = tmp_path / "other.raw"
    other.write_bytes(b"o" * SIZE)
    words = service.sas(key, "rcw")

    def judge(_number: int, kind: Kind) -> Fault | None:
        if kind == "list" and not service.blob(key).exists():
            vhdx.convert(other, f"{service.url}/{CONTAINER}/{key}?{words}")  # beside the proxy
        return None

    proxy.begin(judge)
    with pytest.raises(OSError, match=r"another one to it ended meanwhile.*InvalidBlockList|exists"):
        vhdx.convert(raw, address_of(proxy, key, words), overwrite=True)
    assert service.content(key) == other.read_bytes()


def test_by_a_sas(
    service: Service, proxy: Proxy, raw: Path, key: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """One that may not look, nor remove: its blocks stay until the service drops them."""
    words = service.sas(key, "cw")
    done = run(capfd, "convert", raw, address_of(proxy, key, words))
    assert (done.code, service.content(key)) == (0, CONTENT)
    words = service.sas(f"b{key}", "cwr")
    proxy.begin(lambda _number, kind: "unheard" if kind == "list" else None)
    done = run(capfd, "convert", raw, address_of(proxy, f"b{key}", words))
    assert done.code == 1
    assert "sig=" not in done.out + done.err
    assert not service.blob(f"b{key}").exists()
    assert unfinished(service, f"b{key}")


# What goes wrong ---------------------------------------------------------------------------------


@swept(one_in=MANY)
def test_an_upload_survives_each_fault_of_each_request(
    sweep: Sweep, raw: Path, url: str, key: str, service: Service, proxy: Proxy
) -> None:
    vhdx.convert(raw, url)
    for point, fault in sweep.of(pairs(proxy.count, FAULTS), lambda pair: pair[1]):
        service.blob(key).delete_blob()
        proxy.begin(at(point, fault))
        vhdx.convert(raw, url)
        assert service.content(key) == CONTENT, (point, fault)
        assert not unfinished(service, key)


ATTEMPTS = 7


@pytest.mark.parametrize("fault", ["unheard", pytest.param("busy", marks=pytest.mark.slow)])
@pytest.mark.parametrize("first", ["look", "block", "list"])
def test_what_lasts_is_told_and_leaves_nothing(
    raw: Path, url: str, key: str, service: Service, proxy: Proxy, fault: Fault, first: Kind
) -> None:
    """At each kind of request, until it is given up: by the list, an empty one, all is taken back, too."""
    times = itertools.count()
    proxy.begin(
        lambda _number, kind: fault if kind == first and (first != "list" or next(times) < ATTEMPTS) else None
    )
    with pytest.raises(OSError, match="; it was tried") as failed:
        vhdx.convert(raw, url)
    assert_no_secret(failed)
    assert nothing_is_left(service, key)


def test_the_list_is_put_once_though_the_answer_was_lost(
    raw: Path, url: str, key: str, service: Service, proxy: Proxy
) -> None:
    proxy.begin(lambda _number, kind: "unanswered" if kind == "list" and not proxy.of("list") else None)
    vhdx.convert(raw, url)
    assert service.content(key) == CONTENT


@pytest.mark.parametrize("kind", ["list", "delete"])
def test_what_is_taken_back_is_so_though_an_answer_was_lost(
    raw: Path, url: str, key: str, service: Service, proxy: Proxy, kind: Kind
) -> None:
    def judge(_number: int, asked: Kind) -> Fault | None:
        if asked == "block" and len(proxy.of("block")) > 2:
            return "refused"
        return "unanswered" if asked == kind and not proxy.of(kind) else None

    proxy.begin(judge)
    with pytest.raises(PermissionError):
        vhdx.convert(raw, url)
    assert nothing_is_left(service, key)


def test_what_is_taken_back_is_nothing_of_another_upload(
    raw: Path, url: str, key: str, service: Service, proxy: Proxy, tmp_path: Path
) -> None:
    """One that waits to be gone on with, or runs at the same time, keeps what it has sent."""
    journal = tmp_path / "journal"

    def judge(_number: int, kind: Kind) -> Fault | None:
        return "refused" if kind == "block" and len(proxy.of("block")) > 3 else None

    proxy.begin(judge)
    with pytest.raises(PermissionError):
        vhdx.convert(raw, url, resume=journal)
    sent = journal.read_bytes().count(b"\n") - 1
    proxy.begin(judge)
    with pytest.raises(PermissionError):
        vhdx.convert(raw, url)
    proxy.begin()
    vhdx.convert(raw, url, resume=journal)
    assert len(proxy.of("block")) == -(-SIZE // MIB) - sent
    assert service.content(key) == CONTENT


def test_blocks_of_another_program_are_told_of(
    raw: Path, url: str, key: str, service: Service, proxy: Proxy
) -> None:
    service.blob(key).stage_block("theirs", b"theirs")
    with pytest.raises(OSError, match=r"blocks of another program.*InvalidBlobOrBlock") as failed:
        vhdx.convert(raw, url)
    assert_no_secret(failed)
    assert unfinished(service, key) == ["theirs"]


def test_an_upload_goes_on_where_it_was_broken_off(
    raw: Path, url: str, key: str, service: Service, proxy: Proxy, tmp_path: Path
) -> None:
    journal = tmp_path / "journal"
    proxy.begin(lambda _number, kind: "refused" if kind == "block" and len(proxy.of("block")) > 3 else None)
    with pytest.raises(PermissionError, match=r"the same command goes on from .*journal"):
        vhdx.convert(raw, url, resume=journal)
    assert KEY not in journal.read_text()
    noted = {json.loads(line)[0] for line in journal.read_bytes().splitlines()[1:]}
    assert (len(unfinished(service, key)) >= len(noted) > 2, service.blob(key).exists()) == (True, False)
    proxy.begin()
    made = vhdx.convert(raw, url, resume=journal)
    assert len(proxy.of("block")) == -(-SIZE // MIB) - len(noted)
    assert any("parts already" in remark for remark in made.remarks)
    assert (service.content(key), journal.exists()) == (CONTENT, False)


def test_blocks_that_the_service_dropped_go_again(
    raw: Path, url: str, key: str, service: Service, proxy: Proxy, tmp_path: Path
) -> None:
    journal = tmp_path / "journal"
    proxy.begin(lambda _number, kind: "refused" if kind == "block" and len(proxy.of("block")) > 3 else None)
    with pytest.raises(PermissionError):
        vhdx.convert(raw, url, resume=journal)
    service.blob(key).upload_blob(b"", overwrite=True)
    service.blob(key).delete_blob()
    proxy.begin()
    vhdx.convert(raw, url, resume=journal)
    assert len(proxy.of("block")) == -(-SIZE // MIB)
    assert service.content(key) == CONTENT


def test_a_killed_upload_is_no_blob(
    url: str,
    key: str,
    service: Service,
    proxy: Proxy,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    part = 8 * MIB
    monkeypatch.setattr(multipart, "SMALLEST_PART", part)  # as it is in the process that is killed
    raw, journal = tmp_path / "large.raw", tmp_path / "journal"
    raw.write_bytes(b"".join(pattern(number, 4096).ljust(part, b"\0") for number in range(4)))
    held, arrived = threading.Event(), threading.Event()

    def hold(_number: int, kind: Kind) -> None:
        if kind == "block" and len(proxy.of("block")) >= 2:
            arrived.set()
            held.wait(60)

    proxy.begin(hold)
    line = ["convert", str(raw), url, "--resume", str(journal)]
    with subprocess.Popen([*COMMAND, *line], env={**os.environ, **environment(proxy.port)}) as process:
        assert arrived.wait(60)
        while journal.read_bytes().count(b"\n") < 3:
            assert process.poll() is None
        process.kill()
    assert not service.blob(key).exists()
    held.set()
    proxy.begin()
    done = run(capfd, *line)
    assert (done.code, hashlib.md5(service.content(key), usedforsecurity=False).digest()) == (
        0,
        hashlib.md5(raw.read_bytes(), usedforsecurity=False).digest(),
    )
    assert len(proxy.of("block")) <= 2
    assert "the store had" in done.err


@pytest.mark.parametrize(
    ("place", "is_blob"),
    [
        ("https://mine.blob.core.windows.net/disks/a.vhdx", True),
        ("https://md-1.blob.storage.azure.net/disks/a.vhd?sv=1&sig=2", True),
        ("https://example.org/disks/a.vhdx?sig=2", False),
        ("https://blob.core.windows.net.example.org/a/b.vhdx", False),
        ("http://127.0.0.1:1/a/b/c.vhdx?sv=1&sig=2", True),
        ("http://127.0.0.1:1/a/b/c.vhdx", False),
        ("AZ://disks/a.vhdx", True),
        ("http://[::1/a", False),
        ("s3://disks/a.vhdx", False),
    ],
)
def test_which_urls_are_blobs(place: str, is_blob: bool) -> None:
    assert names_blob(place) == is_blob


def test_a_block_that_was_sent_anew_is_not_taken_for_the_old_one(
    raw: Path, url: str, key: str, service: Service, proxy: Proxy, tmp_path: Path
) -> None:
    """The source was another one for a while, unseen, and the upload killed before the journal said so."""
    journal, times = tmp_path / "journal", raw.stat()
    proxy.begin(lambda _number, kind: "refused" if kind == "list" else None)
    with pytest.raises(PermissionError):
        vhdx.convert(raw, url, resume=journal)
    told = journal.read_bytes()
    for content in (CONTENT[:MIB] + b"other" + CONTENT[MIB + 5 :], CONTENT):
        raw.write_bytes(content)
        os.utime(raw, ns=(times.st_atime_ns, times.st_mtime_ns))
        if content is CONTENT:
            proxy.begin()
            vhdx.convert(raw, url, resume=journal)
        else:
            with pytest.raises(PermissionError):
                vhdx.convert(raw, url, resume=journal)
            journal.write_bytes(told)
    assert service.content(key) == CONTENT
