"""What stands before Azurite: it holds requests to Azure's stricter limits, and lets them fail."""

import base64
import hashlib
import http.client
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal, NamedTuple
from urllib.parse import parse_qs, urlsplit

PAGE = 512
MOST = 4 * 1024 * 1024
FOOTER = b"conectix"
Kind = Literal[
    "look",
    "create",
    "resize",
    "write",
    "clear",
    "ranges",
    "read",
    "block",
    "list",
    "blocks",
    "delete",
    "take",
    "other",
]
Fault = Literal[
    "unheard", "unanswered", "busy", "broken", "unavailable", "slow", "short", "long", "spoilt", "refused"
]


class Asked(NamedTuple):
    """A request that came."""

    kind: Kind
    start: int
    length: int
    status: int


Judge = Callable[[int, Kind], Fault | None]
STATUS: dict[str, int] = {"busy": 429, "broken": 500, "unavailable": 503, "refused": 403}


class Proxy(ThreadingHTTPServer):
    """Where it stands, what came, which limits were broken, and what is to go wrong."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.behind = port
        self.asked: list[Asked] = []
        self.broken: list[str] = []
        self.judge: Judge = lambda _number, _kind: None
        self.lock = threading.Lock()
        self.count = 0
        self.footers: set[str] = set()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that was killed hangs up."""

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.server_address[1])

    def begin(self, judge: Judge | None = None) -> None:
        """Count anew."""
        self.asked, self.broken, self.count = [], [], 0
        self.footers = set()
        self.judge = judge or (lambda _number, _kind: None)

    def of(self, kind: Kind) -> list[Asked]:
        """What came of a kind, and was done."""
        return [each for each in self.asked if each.kind == kind and each.status < 300]

    @property
    def written(self) -> int:
        """Bytes that came as pages, and arrived."""
        return sum(each.length for each in self.of("write"))


class Handler(BaseHTTPRequestHandler):
    """One request after another of one connection."""

    server: Proxy
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class's name
        """Nobody reads it."""

    def do_HEAD(self) -> None:
        self.pass_on()

    def do_GET(self) -> None:
        self.pass_on()

    def do_PUT(self) -> None:
        self.pass_on()

    def do_DELETE(self) -> None:
        self.pass_on()

    def pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        kind = self.kind()
        with self.server.lock:
            number = self.server.count
            self.server.count += 1
            fault = self.server.judge(number, kind)
        if fault == "unheard":
            self.hang_up()
            return
        if fault in STATUS:
            self.answer(STATUS[fault], {"Retry-After": "0", "x-ms-error-code": "ServerBusy"}, b"")
            return
        self.hold_to_limits(kind, body)
        status, headers, data = self.ask(body)
        with self.server.lock:
            self.server.asked.append(Asked(kind, *self.range(len(body)), status))
        if fault == "unanswered":
            self.hang_up()
            return
        if fault == "slow":
            threading.Event().wait(0.05)
        self.answer(status, headers, data, fault)

    def kind(self) -> Kind:
        query = parse_qs(urlsplit(self.path).query)
        comp = query.get("comp", [""])[0]
        if self.command == "PUT" and comp == "page":
            return "clear" if self.headers.get("x-ms-page-write") == "clear" else "write"
        if self.command == "PUT":
            if self.headers.get("x-ms-sequence-number-action"):
                return "take"
            kinds = {"": "create", "properties": "resize", "block": "block", "blocklist": "list"}
            return kinds.get(comp, "other")  # type: ignore[return-value]
        if self.command in ("HEAD", "DELETE"):
            return "look" if self.command == "HEAD" else "delete"
        if comp == "blocklist":
            return "blocks"
        return "ranges" if comp == "pagelist" else "read"

    def range(self, length: int) -> tuple[int, int]:
        told = self.headers.get("x-ms-range") or self.headers.get("Range") or ""
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", told)
        return (int(found[1]), int(found[2]) + 1 - int(found[1])) if found else (0, length)

    def hold_to_limits(self, kind: Kind, body: bytes) -> None:
        start, length = self.range(len(body))
        name = urlsplit(self.path).path
        with self.server.lock:
            if kind in ("write", "clear"):
                self.need(
                    start % PAGE == 0 and length % PAGE == 0 and length > 0, f"{start}, {length}: pages"
                )
            if kind in ("clear", "create"):
                self.server.footers.discard(name)
            if kind in ("write", "block"):
                md5 = base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
                self.need(self.headers.get("Content-MD5") == md5, f"{start}: MD5")
            if kind == "write":
                self.need(length == len(body) <= MOST, f"{len(body)} bytes for {length}: at most 4 MiB")
                self.need(any(body), f"{start}: zeros are not sent")
                is_footer = body.startswith(FOOTER)
                self.need(is_footer or name not in self.server.footers, f"{start}: behind the footer")
                if is_footer:
                    self.server.footers.add(name)
            if kind in ("read", "ranges"):
                self.need(self.headers.get("If-Match") is not None or kind == "ranges", f"{kind}: If-Match")
                wants_md5 = self.headers.get("x-ms-range-get-content-md5") is not None
                self.need(not wants_md5 or length <= MOST, f"{length}: too much for an MD5")

    def need(self, holds: bool, what: str) -> None:
        if not holds:
            self.server.broken.append(what)

    def ask(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        behind = http.client.HTTPConnection("127.0.0.1", self.server.behind)
        try:
            headers = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
            behind.request(self.command, self.path, body or None, headers)
            response = behind.getresponse()
            data = response.read()
            return response.status, dict(response.getheaders()), data
        finally:
            behind.close()

    def answer(self, status: int, headers: dict[str, str], data: bytes, fault: Fault | None = None) -> None:
        if fault == "spoilt" and data:
            data = bytes([data[0] ^ 1]) + data[1:]
        sent = data[:-1] if fault in ("short", "long") else data
        length = len(sent) if fault == "long" else len(data)
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in ("connection", "transfer-encoding", "content-length", "date", "server"):
                self.send_header(name, value)
        told = headers.get("content-length", headers.get("Content-Length"))
        self.send_header("Content-Length", told if self.command == "HEAD" and told else str(length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(sent)
        if fault == "short":
            self.hang_up()

    def hang_up(self) -> None:
        self.close_connection = True
        self.wfile.flush()
        self.connection.close()


@contextmanager
def standing(port: int) -> Iterator[Proxy]:
    """The proxy in front of what listens at a port."""
    with Proxy(port) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield proxy
        finally:
            proxy.shutdown()
            thread.join()
