"""URIs of NBD exports, as libnbd and QEMU write them: ``nbd://host:port/export`` and by Unix sockets."""

from __future__ import annotations

import os
from typing import NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from vhdx.wire import DEFAULT_PORT, MAXIMUM_STRING


class ExportAddress(NamedTuple):
    """Where an export is: a Unix socket, or a host and a port; ``name`` is what messages call it."""

    socket: str
    host: str
    port: int
    export: str
    name: str

    @property
    def place(self) -> tuple[str, str, int, str]:
        """The same for all ways to write it."""
        return self.socket and os.path.realpath(self.socket), self.host, self.port, self.export


def parsed(url: str) -> ExportAddress:
    """What a URI says. Raises ValueError for one that says too little."""
    parts = urlsplit(url)
    user = parts.netloc.rpartition("@")[0]
    name = url.replace(f"{user}@", "", 1) if user else url
    if parts.scheme not in ("nbd", "nbd+unix"):
        raise ValueError(f"{name}: TLS is not spoken to NBD servers, nbdcopy does")
    export = unquote(parts.path.removeprefix("/"))
    if len(export.encode()) > MAXIMUM_STRING or "\0" in export:
        raise ValueError(
            f"{name}: the name of an export has at most {MAXIMUM_STRING} bytes, none of them zero"
        )
    if parts.scheme == "nbd+unix":
        path = parse_qs(parts.query).get("socket", [""])[0]
        if not path or "\0" in path:
            raise ValueError(f"{name} names no socket: nbd+unix:///EXPORT?socket=PATH")
        return ExportAddress(path, "", 0, export, name)
    try:
        port = parts.port or DEFAULT_PORT
    except ValueError:
        raise ValueError(f"{name}: the port must be a number up to 65535") from None
    if not parts.hostname:
        raise ValueError(f"{name} names no host: nbd://HOST:PORT/EXPORT")
    return ExportAddress("", parts.hostname, port, export, name)
