"""Disks that are written to Google Cloud Storage: its requests are those of S3, which moto answers here.

What differs is asserted of the requests themselves: a token of Google, and no condition, of which Google's
store has none for what is made of parts.
"""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

import vhdx
from tests.support.layout import MIB
from vhdx.storage import google_uploads, multipart

from .store import Asked, Fault, Store
from .test_upload import CONTENT, SIZE, nothing_is_left, sent

TOKEN = "ya29.hunter2"


@pytest.fixture(name="small_parts", autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multipart, "SMALLEST_PART", MIB)


@pytest.fixture(name="raw")
def _raw(tmp_path: Path) -> Path:
    path = tmp_path / "source.raw"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture(name="url")
def _url(store: Store, monkeypatch: pytest.MonkeyPatch) -> str:
    """An object of a store of tests; what is set for S3 does not matter."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", store.proxy.url.partition("://")[2])
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    return f"gs://{store.bucket}/a.vhdx"


@pytest.mark.parametrize("options", [{}, {"block_size": MIB, "logical_sector_size": 4096}])
def test_an_object_of_parts(
    store: Store, raw: Path, url: str, tmp_path: Path, options: dict[str, Any]
) -> None:
    made = vhdx.convert(raw, url, options=vhdx.ImageOptions(**options))
    (tmp_path / "a.vhdx").write_bytes(store.get("a.vhdx"))
    assert (made.path, made.file_size) == (url, (tmp_path / "a.vhdx").stat().st_size)
    with vhdx.open(tmp_path / "a.vhdx") as disk:
        assert disk.pread(SIZE, 0) == CONTENT
    assert sent(store)[-1] == 1
    assert sorted(sent(store)) == list(range(1, -(-made.file_size // MIB) + 1))
    with pytest.raises(FileExistsError):
        vhdx.convert(raw, url)
    vhdx.convert(raw, url, overwrite=True)
    assert store.uploads() == []


def test_an_object_that_comes_meanwhile_stays(store: Store, raw: Path, url: str) -> None:
    def put(asked: Asked) -> None:
        if asked.part == 1:
            words = {"Bucket": store.bucket, "Key": "a.vhdx", "ACL": "public-read-write"}
            store.client.put_object(
                Body=b"somebody's", **words
            )  # readable for whoever has no signature of S3

    store.proxy.fault = put
    with pytest.raises(FileExistsError):
        vhdx.convert(raw, url)
    assert (store.get("a.vhdx"), store.uploads()) == (b"somebody's", [])


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(Fault(0), id="cut", marks=pytest.mark.slow),
        pytest.param(Fault(0, passed=True), id="cut behind"),
        pytest.param(Fault(503), id="503", marks=pytest.mark.slow),
    ],
)
def test_each_request_that_fails_once_is_sent_again(
    store: Store, raw: Path, url: str, tmp_path: Path, fault: Fault
) -> None:
    failed: set[tuple[str, str]] = set()
    lock = threading.Lock()

    def once(asked: Asked) -> Fault | None:
        request = (asked.method, asked.path)
        with lock:
            is_first = request not in failed
            failed.add(request)
        return fault if is_first else None

    store.proxy.fault = once
    vhdx.convert(raw, url)
    (tmp_path / "a.vhdx").write_bytes(store.get("a.vhdx"))
    with vhdx.open(tmp_path / "a.vhdx") as disk:
        assert disk.pread(SIZE, 0) == CONTENT


@pytest.mark.parametrize("first", [2, 6, pytest.param(12, marks=pytest.mark.slow)])
def test_what_fails_for_good_leaves_nothing(store: Store, raw: Path, url: str, first: int) -> None:
    store.proxy.fault = lambda asked: (
        Fault(503) if asked.number >= first and asked.method != "DELETE" else None
    )
    # Who is refused while sending may find the connection closed before the answer.
    with pytest.raises(OSError, match=r"the store (failed|did not answer)"):
        vhdx.convert(raw, url)
    assert nothing_is_left(store)


def test_an_upload_that_is_lost_at_its_end_is_not_taken_for_what_it_was_to_replace(
    store: Store, raw: Path, url: str
) -> None:
    """The object that is there has the same length."""
    vhdx.convert(raw, url)
    before = store.get("a.vhdx")

    def lose(asked: Asked) -> None:
        if asked.method == "POST" and "uploadId" in asked.path:
            upload = parse_qs(asked.path.partition("?")[2])["uploadId"][0]
            store.client.abort_multipart_upload(Bucket=store.bucket, Key="a.vhdx", UploadId=upload)

    store.proxy.fault = lose
    raw.write_bytes(CONTENT[::-1])
    with pytest.raises(OSError, match="store did not answer"):  # where Google's says 404
        vhdx.convert(raw, url, overwrite=True)
    assert store.get("a.vhdx") == before


def test_an_upload_goes_on_where_it_was_broken_off(store: Store, raw: Path, url: str, tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    store.proxy.fault = lambda asked: Fault(403) if asked.part == 5 else None
    with pytest.raises(PermissionError, match=r"gcloud auth.*the same command goes on from"):
        vhdx.convert(raw, url, resume=journal)
    noted = {json.loads(line)[0] for line in journal.read_bytes().splitlines()[1:]}
    store.proxy.fault = lambda _asked: None
    store.proxy.asked.clear()
    vhdx.convert(raw, url, resume=journal)
    assert noted & set(sent(store)) <= {3}  # of which metadata are new
    assert (store.uploads(), journal.exists()) == ([], False)


class _Google(ThreadingHTTPServer):
    """Gives tokens for signed requests, and keeps what was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.status = 200
        self.asked: list[dict[str, list[str]]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/token"


class _Answer(BaseHTTPRequestHandler):
    server: _Google

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class's name
        """Nobody reads it."""

    def do_POST(self) -> None:
        self.server.asked.append(parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode()))
        self.send_response(self.server.status)
        told = {"access_token": TOKEN, "expires_in": 3600} if self.server.status == 200 else {"error": "no"}
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(told).encode())


@pytest.fixture(name="google")
def _google(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[_Google]:
    """Google's host is the store's proxy; who asks is an account of a file, as google-auth finds it."""
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415  moto has it
    from cryptography.hazmat.primitives.asymmetric import rsa  # noqa: PLC0415  moto has it

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with _Google() as server:
        account = {
            "type": "service_account",
            "client_email": "a@example.org",
            "token_uri": server.url,
            "private_key": key.decode(),
        }
        (tmp_path / "account.json").write_text(json.dumps(account))
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "account.json"))
        monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
        monkeypatch.setattr(google_uploads, "ENDPOINT", store.proxy.url)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_each_request_has_a_token_of_whoever_google_knows(store: Store, raw: Path, google: _Google) -> None:
    vhdx.convert(raw, f"gs://{store.bucket}/a.raw")
    assert store.get("a.raw") == CONTENT
    assert len(google.asked) == 1
    assert {asked.headers["Authorization"] for asked in store.proxy.asked} == {f"Bearer {TOKEN}"}
    for asked in store.proxy.asked:
        assert "If-None-Match" not in asked.headers
        assert not asked.part or asked.headers["Content-MD5"]


def test_whom_google_does_not_know_any_more(store: Store, raw: Path, google: _Google) -> None:
    google.status = 401
    with pytest.raises(PermissionError, match="does not know who asks any more; try: gcloud") as failed:
        vhdx.convert(raw, f"gs://{store.bucket}/a.raw")
    assert "PRIVATE" not in str(failed.value)
    assert store.proxy.asked == []


def test_an_old_object_is_not_taken_for_the_new_one(store: Store, raw: Path, url: str) -> None:
    """It has the same length, and the store forgot the upload before its end."""
    words = {"Bucket": store.bucket, "Key": "a.raw", "ACL": "public-read-write"}
    store.client.put_object(Body=bytes(SIZE), **words)

    def forget(asked: Asked) -> Fault | None:
        if asked.method != "POST" or "uploadId" not in asked.path:
            return None
        (upload,) = store.uploads()
        store.client.abort_multipart_upload(Bucket=store.bucket, Key="a.raw", UploadId=upload)
        return Fault(404, code="NoSuchUpload")

    store.proxy.fault = forget
    with pytest.raises(FileNotFoundError, match="does not know the upload"):
        vhdx.convert(raw, url.replace(".vhdx", ".raw"), overwrite=True)
    assert store.get("a.raw") == bytes(SIZE)


def test_a_lost_answer_to_the_end_of_an_upload_over_an_old_object(store: Store, raw: Path, url: str) -> None:
    store.client.put_object(Body=bytes(SIZE), Bucket=store.bucket, Key="a.raw", ACL="public-read-write")
    failed = iter([Fault(0, passed=True)])

    def lose(asked: Asked) -> Fault | None:
        return next(failed, None) if asked.method == "POST" and "uploadId" in asked.path else None

    store.proxy.fault = lose
    vhdx.convert(raw, url.replace(".vhdx", ".raw"), overwrite=True)
    assert store.get("a.raw") == CONTENT
