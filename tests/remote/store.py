"""An S3 of the tests: moto behind a proxy that cuts, refuses and falsifies, and that keeps what was asked."""

import http.client
import logging
import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import pytest

from tests.cli.running import Ran

SECRET = "hunter2hunter2hunter2hunter2"
KEY_ID = "AKIAHUNTER2HUNTER2"
NAMES = count(1)


class RunHere(Protocol):
    """A fixture: runs the command, as `tests.cli.running.run` does in another process."""

    def __call__(self, *words: str | Path) -> Ran: ...


class Asked(NamedTuple):
    """A request, as a fault is asked about it: its number, its method, its path with the query."""

    number: int
    method: str
    path: str
    length: int
    """Of the range of bytes that is asked for; 0 for no range."""
    headers: Mapping[str, str]

    @property
    def part(self) -> int:
        """The number of the part that is sent; 0 for no part."""
        found = re.search(r"partNumber=(\d+)", self.path)
        return int(found[1]) if found and self.method == "PUT" else 0


class Fault(NamedTuple):
    """What becomes of a request: ``passed`` on to the store or not, then answered otherwise."""

    status: int = 0
    """The answer; 0 for none, the connection is cut."""
    passed: bool = False
    code: str = "SlowDown"
    missing: int = 0
    """Bytes that the body has less than there are, in an answer that is whole by its own words."""


def no_fault(_asked: Asked) -> Fault | None:
    return None


class Proxy(ThreadingHTTPServer):
    """Between a client and the store."""

    daemon_threads = True

    def __init__(self, store: tuple[str, int]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.store = store
        self.fault: Callable[[Asked], Fault | None] = no_fault
        self.asked: list[Asked] = []
        self.numbers = count(1)
        self.sent = self.received = 0
        """Bytes of bodies, to clients and from them."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that was broken off hangs up."""

    def told(self, method: str = "") -> list[str]:
        """The paths of the requests of a method."""
        return [each.path for each in self.asked if each.method == method or not method]


class _Handler(BaseHTTPRequestHandler):
    server: Proxy
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class's name
        """Nobody reads it."""

    def _pass(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        length = int(wanted[2]) + 1 - int(wanted[1]) if wanted else 0
        asked = Asked(next(self.server.numbers), self.command, self.path, length, dict(self.headers))
        self.server.asked.append(asked)
        self.server.received += len(body)
        fault = self.server.fault(asked)
        if fault is None or fault.passed or fault.missing:
            answer = self._answer(body)
            if fault is None or fault.missing:
                self._reply(*answer, missing=fault.missing if fault else 0)
                return
        if fault.status:
            told = f"<Error><Code>{fault.code}</Code><Message>{SECRET}</Message></Error>".encode()
            self._reply(fault.status, [], told)
        self.close_connection = True

    def _answer(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection(*self.server.store)
        try:
            connection.request(self.command, self.path, body, dict(self.headers.items()))
            found = connection.getresponse()
            return found.status, found.getheaders(), found.read()
        finally:
            connection.close()

    def _reply(self, status: int, headers: list[tuple[str, str]], body: bytes, missing: int = 0) -> None:
        self.send_response_only(status)
        length = len(body) - missing
        for name, value in headers:
            if name.lower() not in ("content-length", "connection", "transfer-encoding"):
                self.send_header(name, value)
            elif name.lower() == "content-length" and self.command == "HEAD":
                length = int(value)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        if self.command != "HEAD":
            self.server.sent += length
            self.wfile.write(body[:length])

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _pass  # noqa: N815  the base class's names


class Moto(NamedTuple):
    """Where it listens, and a client of others that asks it without a proxy."""

    address: tuple[str, int]
    client: Any


class Store(NamedTuple):
    """A bucket of one test, as it is asked behind the proxy by a client of others."""

    proxy: Proxy
    client: Any
    bucket: str

    def url(self, key: str) -> str:
        return f"s3://{self.bucket}/{key}"

    def put(self, key: str, data: bytes) -> str:
        """Put an object there; its address."""
        self.client.put_object(Bucket=self.bucket, Key=key, Body=data)
        return self.url(key)

    def get(self, key: str) -> bytes:
        data: bytes = self.client.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        return data

    def keys(self) -> list[str]:
        return [each["Key"] for each in self.client.list_objects_v2(Bucket=self.bucket).get("Contents", [])]

    def uploads(self) -> list[str]:
        """The uploads that are under way, or were left."""
        found = self.client.list_multipart_uploads(Bucket=self.bucket).get("Uploads", [])
        return [each["UploadId"] for each in found]


def environment(url: str) -> dict[str, str]:
    """What people set to reach a store."""
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": KEY_ID,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }


@contextmanager
def running() -> Iterator[Moto]:
    """moto, on a port that was free; stopped at the end."""
    os.environ.setdefault("S3_UPLOAD_PART_MIN_SIZE", "1024")  # read when moto is imported
    from botocore.session import get_session  # noqa: PLC0415  it takes a while
    from moto.server import ThreadedMotoServer  # noqa: PLC0415

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    address = server.get_host_and_port()
    session = get_session()
    session.set_credentials("test", "test")
    client = session.create_client("s3", "us-east-1", endpoint_url=f"http://{address[0]}:{address[1]}")
    try:
        yield Moto(address, client)
    finally:
        client.close()
        server.stop()


@contextmanager
def bucket_behind(moto: Moto, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """A bucket of its own, reached through a proxy of its own, and the environment for it."""
    with Proxy(moto.address) as proxy:
        for name, value in environment(proxy.url).items():
            monkeypatch.setenv(name, value)
        thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        bucket = f"bucket-{os.getpid()}-{next(NAMES)}"
        moto.client.create_bucket(Bucket=bucket)
        try:
            yield Store(proxy, moto.client, bucket)
        finally:
            proxy.shutdown()
            thread.join()
