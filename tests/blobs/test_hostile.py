"""Answers that no service gives, or seldom: nothing hangs, nothing grows, no wrong byte becomes a file."""

import base64
import hashlib
import re
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

import vhdx
from tests.support.layout import MIB
from tests.support.naive import naive_content
from tests.support.vhd import DIFFERENCING, FIXED, VhdBuilder
from vhdx.storage import blob as blob_requests

from .azurite import needs_library

pytestmark = needs_library

SIZE = 2 * MIB
DISK = bytes(4096) + b"a" * 512 + bytes(MIB - 4608) + b"b" * 1024 + bytes(MIB - 1024)
DATA = DISK + VhdBuilder(SIZE, disk_type=FIXED).footer()
PAGES = [(4096, 4607), (MIB, MIB + 1023), (SIZE, SIZE + 511)]
Lists = Callable[[str], tuple[list[tuple[int, int]], str]]


def whole(_marker: str) -> tuple[list[tuple[int, int]], str]:
    return PAGES, ""


class Service(ThreadingHTTPServer):
    """One blob, and how it is told of."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.lists: Lists = whole
        self.headers = {"x-ms-blob-type": "PageBlob", "ETag": '"1"', "Content-Length": str(len(DATA))}
        self.more = b""
        self.body: bytes | None = None
        self.md5: bool | str = True
        self.data = DATA

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that has heard enough hangs up."""

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/account/disks/a.vhd?sp=r&sig=hunter2"


class Answer(BaseHTTPRequestHandler):
    server: Service
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class's name
        """Nobody reads it."""

    def do_HEAD(self) -> None:
        self.send_response(200)
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.end_headers()

    def do_GET(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        if query.get("comp") == ["pagelist"]:
            self.say(self.server.body or self.listed(query.get("marker", [""])[0]))
            return
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["x-ms-range"])
        assert found is not None
        data = self.server.data[int(found[1]) : int(found[2]) + 1] + self.server.more
        self.say(data, 206)

    def listed(self, marker: str) -> bytes:
        pages, following = self.server.lists(marker)
        told = "".join(f"<PageRange><Start>{a}</Start><End>{b}</End></PageRange>" for a, b in pages)
        return f"<PageList>{told}<NextMarker>{following}</NextMarker></PageList>".encode()

    def say(self, data: bytes, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("ETag", '"1"')
        self.send_header("Content-Type", "application/xml" if status == 200 else "application/octet-stream")
        if self.server.md5:
            digest = hashlib.md5(data, usedforsecurity=False).digest()
            right = base64.b64encode(digest).decode()
            self.send_header("Content-MD5", self.server.md5 if isinstance(self.server.md5, str) else right)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@contextmanager
def serving() -> Iterator[Service]:
    with Service() as service:
        thread = threading.Thread(target=service.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield service
        finally:
            service.shutdown()
            thread.join()


@pytest.fixture(name="service")
def _service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    monkeypatch.setattr(blob_requests, "_ATTEMPTS", 2)
    monkeypatch.setattr(blob_requests, "_FIRST_DELAY", 0.001)
    with serving() as service:
        yield service


@pytest.mark.parametrize("place", ["parent.vhd", "/etc/hostname"])
def test_no_file_of_this_host_is_a_parent(
    place: str, service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A differencing VHD that somebody put into a page blob, and what it would like to show."""
    parent = VhdBuilder(SIZE, unique_id=uuid.UUID(int=5), sectors={0: b"s" * 512})
    parent.write(tmp_path / "parent.vhd")
    monkeypatch.chdir(tmp_path)
    child = VhdBuilder(
        SIZE,
        disk_type=DIFFERENCING,
        parent_id=uuid.UUID(int=5),
        parent_timestamp=parent.timestamp,
        parent_name=place,
        locators=((b"W2ku", place.encode("utf-16-le")), (b"W2ru", place.encode("utf-16-le"))),
    )
    service.data = child.write(tmp_path / "child.vhd").read_bytes()
    (tmp_path / "child.vhd").unlink()
    service.headers["Content-Length"] = str(len(service.data))
    service.lists = lambda _: ([(0, len(service.data) - 1)], "")
    with pytest.raises(vhdx.VhdxError):
        vhdx.download(service.address, tmp_path / "a.vhdx")
    assert [path.name for path in tmp_path.iterdir()] == ["parent.vhd"]


def test_a_list_in_parts_is_put_together(service: Service, tmp_path: Path) -> None:
    """Also where a part is empty, and where the service says no MD5."""
    parts = {"": (PAGES[:1], "x"), "x": ([], "y"), "y": (PAGES[1:], "")}
    service.lists = parts.__getitem__
    service.md5 = False
    made = vhdx.download(service.address, tmp_path / "a.vhdx")
    assert naive_content(tmp_path / "a.vhdx", 0, SIZE) == DISK
    assert made.data_size == 1536


@pytest.mark.parametrize(
    ("lists", "why"),
    [
        (lambda _: ([PAGES[1], PAGES[0]], ""), "not told in order at 4096"),
        (lambda _: ([PAGES[0], PAGES[0]], ""), "not told in order"),
        (lambda _: ([(4608, 4096)], ""), "not told in order"),
        (lambda _: ([(-512, 511)], ""), "not told in order"),
        (lambda _: ([], "again"), "has no end"),
        (
            lambda marker: ([PAGES[len(marker)]], marker + "x") if len(marker) < 3 else ([], marker),
            "has no end",
        ),
    ],
)
def test_lists_that_no_service_gives(lists: Lists, why: str, service: Service, tmp_path: Path) -> None:
    service.lists = lists
    with pytest.raises(OSError, match=why):
        vhdx.download(service.address, tmp_path / "a.vhdx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "body", [b"not XML", b"<PageList><PageRange><Start>x</Start></PageRange></PageList>", b"<a"]
)
def test_lists_that_are_none(body: bytes, service: Service, tmp_path: Path) -> None:
    service.body = body
    with pytest.raises(OSError, match="the service gives no answer"):
        vhdx.download(service.address, tmp_path / "a.vhdx")
    assert list(tmp_path.iterdir()) == []


def test_pages_behind_the_end_are_not_read(service: Service, tmp_path: Path) -> None:
    service.lists = lambda _: ([*PAGES, (SIZE + 512, SIZE + 1 << 40)], "")
    vhdx.download(service.address, tmp_path / "a.vhdx")
    assert naive_content(tmp_path / "a.vhdx", 0, SIZE) == DISK


def test_a_checksum_that_is_none(service: Service, tmp_path: Path) -> None:
    service.md5 = "no base64"
    with pytest.raises(OSError, match="another MD5"):
        vhdx.download(service.address, tmp_path / "a.vhdx")


def test_more_than_was_asked_for(service: Service, tmp_path: Path) -> None:
    service.more = bytes(8 * MIB)
    with pytest.raises(OSError, match="other than 512 bytes came"):
        vhdx.download(service.address, tmp_path / "a.vhdx")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Length": "5"},
        {"x-ms-blob-type": "PageBlob"},
        {"x-ms-blob-type": "PageBlob", "ETag": '"1"'},
    ],
)
def test_what_is_no_blob_service(headers: dict[str, str], service: Service, tmp_path: Path) -> None:
    service.headers = headers
    vhdx.create(tmp_path / "a.vhdx", "1M")
    for job in (
        lambda: vhdx.download(service.address, tmp_path / "b.vhdx"),
        lambda: vhdx.upload(tmp_path / "a.vhdx", service.address),
    ):
        with pytest.raises((OSError, ValueError)) as failed:
            job()
        assert "hunter2" not in str(failed.value)
    assert [path.name for path in tmp_path.iterdir()] == ["a.vhdx"]


@pytest.mark.parametrize("size", [0, 1, 511, 512, 1 << 62])
def test_sizes_that_no_blob_has(size: int, service: Service, tmp_path: Path) -> None:
    service.headers["Content-Length"] = str(size)
    with pytest.raises((OSError, vhdx.VhdxError, ValueError)):
        vhdx.download(service.address, tmp_path / "a.vhdx")
    assert list(tmp_path.iterdir()) == []
