"""A web server for files in memory: parts of them, as HTTP and as S3 have it, and a count of what it sent."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote


class Server(ThreadingHTTPServer):
    """What is served, how badly, and what was asked for."""

    daemon_threads = True

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = files
        self.parts = True
        """Whether requests for parts are heeded."""
        self.cut = 0
        """Bytes that are left out at the end of a part."""
        self.failing = False
        self.tag = '"1"'
        self.sent = 0
        self.asked: list[str] = []

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that has read enough hangs up."""

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    """GET and HEAD; ``/bucket/key`` of a path is also how S3 names things."""

    server: Server
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class's name
        """Nobody reads it."""

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, *, body: bool) -> None:
        name = unquote(self.path.partition("?")[0])
        self.server.asked.append(f"{self.command} {name}")
        data = self.server.files.get(name)
        if data is None or (self.server.failing and body):
            self.send_response(404 if data is None else 503)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if wanted and self.server.parts:
            start, end = int(wanted[1]), min(int(wanted[2]) + 1, len(data))
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(data)}")
            data = data[start : end - self.server.cut]
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("ETag", self.server.tag)
        self.send_header("Last-Modified", "Fri, 01 Jan 2021 00:00:00 GMT")
        self.end_headers()
        if body:
            self.server.sent += len(data)
            self.wfile.write(data)


@contextmanager
def serving(files: dict[str, bytes]) -> Iterator[Server]:
    """The server, listening on the loopback."""
    with Server(files) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
