"""Whatever goes wrong with one request: the transfer ends whole, or says why and shows no secret."""

import itertools
import sys
import traceback
import types
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import pytest

import vhdx
from tests.support.layout import MIB
from tests.support.naive import naive_content
from tests.support.sweep import Sweep, swept
from vhdx.storage import blob as blob_requests

from .azurite import CONTAINER, KEY, Service, needs_service
from .proxy import Fault, Judge, Kind, Proxy
from .sources import nonzero, small

pytestmark = needs_service

SIZE = 16 * MIB
FAULTS: tuple[Fault, ...] = tuple(fault for fault in get_args(Fault) if fault != "refused")
READING: tuple[Fault, ...] = ("short", "long", "spoilt")
"""What only answers with contents can have."""
MANY = 1000


def pairs(points: int, faults: Sequence[Fault]) -> list[tuple[int, Fault]]:
    """Each fault of each request; the first ones are one of each, at different requests."""
    found = itertools.product(range(points), faults)
    return sorted(found, key=lambda pair: (pair[0] - faults.index(pair[1])) % points)


def at(point: int, fault: Fault, times: int = 1) -> Judge:
    """What lets requests from one on go wrong."""
    return lambda number, _kind: fault if point <= number < point + times else None


@swept(one_in=MANY)
def test_an_upload_survives_each_fault_of_each_request(  # noqa: PLR0917  fixtures
    sweep: Sweep, tmp_path: Path, target: str, name: str, service: Service, proxy: Proxy
) -> None:
    made = small(tmp_path)
    vhdx.upload(made.path, target)
    faults = [fault for fault in FAULTS if fault not in READING]
    for point, fault in sweep.of(pairs(proxy.count, faults), lambda pair: pair[1]):
        blob = service.blob(name)
        blob.delete_blob()
        blob.create_page_blob(MIB)  # of another size, and so made anew
        proxy.begin(at(point, fault))
        done = vhdx.upload(made.path, target, overwrite=True)
        assert service.content(name)[:-512] == made.content, (point, fault)
        assert done.sent_size == nonzero(made.content) + 512


@swept(one_in=MANY)
def test_a_download_survives_each_fault_of_each_request(
    sweep: Sweep, tmp_path: Path, target: str, proxy: Proxy
) -> None:
    made = small(tmp_path)
    vhdx.upload(made.path, target)
    proxy.begin()
    vhdx.download(target, tmp_path / "b.vhdx")
    for point, fault in sweep.of(pairs(proxy.count, FAULTS), lambda pair: pair[1]):
        proxy.begin(at(point, fault))
        vhdx.download(target, tmp_path / "b.vhdx", overwrite=True)
        assert naive_content(tmp_path / "b.vhdx", 0, SIZE) == made.content, (point, fault)


def test_the_blob_is_made_once_though_the_answer_was_lost(
    tmp_path: Path, target: str, name: str, service: Service, proxy: Proxy
) -> None:
    made = small(tmp_path)
    proxy.begin(lambda _number, kind: "unanswered" if kind == "create" and not proxy.of("create") else None)
    vhdx.upload(made.path, target)
    assert service.content(name)[:-512] == made.content


def test_who_comes_meanwhile_is_not_written_over(
    tmp_path: Path, target: str, name: str, service: Service, proxy: Proxy
) -> None:
    made = small(tmp_path)

    def judge(_number: int, kind: Kind) -> Fault | None:
        if kind == "create" and not service.blob(name).exists():
            service.blob(name).upload_blob(b"theirs")
        return None

    proxy.begin(judge)
    with pytest.raises(FileExistsError):
        vhdx.upload(made.path, target)
    assert service.content(name) == b"theirs"


@pytest.mark.parametrize("fault", ["unheard", "unanswered", "busy", "broken", "unavailable"])
def test_what_lasts_is_told_and_leaves_nothing_that_looks_whole(  # noqa: PLR0917  fixtures
    fault: Fault, tmp_path: Path, target: str, name: str, service: Service, proxy: Proxy
) -> None:
    made = small(tmp_path)
    proxy.begin(at(4, fault, MANY))
    with pytest.raises(OSError, match="; it was tried") as failed:
        vhdx.upload(made.path, target)
    assert_no_secret(failed)
    assert service.content(name)[-512:] == bytes(512)
    proxy.begin()
    vhdx.upload(made.path, target, overwrite=True)
    proxy.begin(at(3, fault, MANY))
    with pytest.raises(OSError, match="tried"):
        vhdx.download(target, tmp_path / "b.vhdx")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.vhdx"]


def test_who_is_throttled_from_the_first_request_on_gets_as_many_attempts(
    tmp_path: Path, target: str, name: str, service: Service, proxy: Proxy
) -> None:
    made = small(tmp_path)
    proxy.begin(at(0, "unavailable", 5))
    vhdx.upload(made.path, target)
    assert service.content(name)[:-512] == made.content


def address_of(proxy: Proxy, name: str, words: str) -> str:
    """With a SAS."""
    return f"http://127.0.0.1:{proxy.port}/devstoreaccount1/{CONTAINER}/{name}?{words}"


def assert_no_secret(failed: pytest.ExceptionInfo[BaseException], *secrets: str) -> None:
    """Neither in the words nor in what a program would print of it."""
    shown = ""
    errors: list[BaseException | None] = [failed.value]
    while (error := errors.pop()) is not None:  # what Python prints, less the source of this test
        shown += "".join(traceback.format_exception_only(error)) + repr(error)
        errors.append(error.__cause__ or (None if error.__suppress_context__ else error.__context__))
    for secret in ("sig=", "sv=", KEY, *secrets):
        assert secret not in shown


def test_a_sas_that_is_refused_says_why(tmp_path: Path, name: str, service: Service, proxy: Proxy) -> None:
    service.blob(name).create_page_blob(SIZE + 512)
    image = small(tmp_path).path
    for job, permission, expired, why in (
        (vhdx.upload, "rcw", True, "the SAS ended at .*: get a new one"),
        (vhdx.download, "rcw", True, "the SAS ended at .*: get a new one"),
        (vhdx.upload, "rd", False, "see what it allows"),
        (vhdx.download, "w", False, "see what it allows"),
    ):
        words = service.sas(name, permission, expired=expired)
        address = address_of(proxy, name, words)
        proxy.begin()
        with pytest.raises(PermissionError, match=why) as failed:
            job(*((image, address) if job is vhdx.upload else (address, tmp_path / "b.vhdx")))
        assert_no_secret(failed, words)
        asked = [(each.kind, each.start) for each in proxy.asked]
        assert len(asked) == len(set(asked))  # what is refused is not asked again
        assert failed.value.filename == address.partition("?")[0]


def test_a_sas_that_ends_in_the_midst(
    tmp_path: Path, name: str, service: Service, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = small(tmp_path)
    service.blob(name).create_page_blob(SIZE + 512)
    words = service.sas(name, "rw")
    monkeypatch.setattr("tests.blobs.proxy.STATUS", {"busy": 403})
    proxy.begin(lambda number, _kind: "busy" if number > 4 else None)
    with pytest.raises(PermissionError) as failed:
        vhdx.upload(made.path, address_of(proxy, name, words), jobs=1, resume=tmp_path / "journal")
    assert_no_secret(failed, words)
    proxy.begin()
    again = service.sas(name, "rwd")  # a new one goes on where the old one ended
    done = vhdx.upload(made.path, address_of(proxy, name, again), jobs=1, resume=tmp_path / "journal")
    assert done.resumed_size > 0
    assert service.content(name)[:-512] == made.content


def test_nobody_listens(tmp_path: Path, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blob_requests, "_ATTEMPTS", 2)
    with pytest.raises(OSError, match="gives no answer") as failed:
        vhdx.upload(small(tmp_path).path, "http://127.0.0.1:1/account/disks/a.vhd?sv=1&sp=rcw&sig=hunter2")
    assert_no_secret(failed, "hunter2")


@pytest.mark.parametrize("key", ["hunter 2", "aHVudGVyMg=="])
def test_a_wrong_key(key: str, tmp_path: Path, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    words = f"AccountName=devstoreaccount1;AccountKey={key};BlobEndpoint=http://127.0.0.1:{proxy.port}/devstoreaccount1"
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", words)
    with pytest.raises((PermissionError, ValueError)) as failed:
        vhdx.upload(small(tmp_path).path, "az://disks/a.vhd")
    assert_no_secret(failed, key)


class _Nobody:
    """As `azure.identity` where nobody is logged in."""

    def get_token(self, *_scopes: str, **_options: object) -> None:
        from azure.core.exceptions import ClientAuthenticationError  # noqa: PLC0415  an extra

        raise ClientAuthenticationError("token=hunter2")


def test_nobody_is_logged_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Told at once, and before anything is sent."""
    monkeypatch.setitem(sys.modules, "azure.identity", types.SimpleNamespace(DefaultAzureCredential=_Nobody))
    with pytest.raises(PermissionError, match="nobody is logged in") as failed:
        vhdx.upload(small(tmp_path).path, "https://mine.blob.core.windows.net/disks/a.vhd")
    assert_no_secret(failed, "hunter2")
