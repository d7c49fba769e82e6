"""Sockets that clients connect to: Unix, TCP, or those that were handed over; and their URIs."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
import stat
import tempfile
from typing import TYPE_CHECKING
from urllib.parse import quote

from vhdx.wire import DEFAULT_PORT

if TYPE_CHECKING:
    from collections.abc import Iterator

HAS_UNIX_SOCKETS = hasattr(socket, "AF_UNIX")
"""Windows has them, but its Python does not."""
_FIRST_DESCRIPTOR = 3
_BACKLOG = 128


def handed_over() -> list[socket.socket]:
    """The sockets of systemd's protocol, which listen already; none if this process was started otherwise."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return []
    said = os.environ.get("LISTEN_FDS", "0")
    if not said.isdecimal():
        raise ValueError(f"LISTEN_FDS says {said!r}, which is no number of sockets")
    count = int(said)
    for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):  # not for those whom we start
        os.environ.pop(name, None)
    sockets = []
    for descriptor in range(_FIRST_DESCRIPTOR, _FIRST_DESCRIPTOR + count):
        os.set_inheritable(descriptor, False)
        sockets.append(socket.socket(fileno=descriptor))
    return sockets


@contextlib.contextmanager
def private_path(name: str) -> Iterator[str]:
    """A path for a socket in a directory that only this user can enter; gone at the end."""
    where = os.environ.get("XDG_RUNTIME_DIR")
    with tempfile.TemporaryDirectory(
        prefix="vhdx-", dir=where if where and os.path.isdir(where) else None
    ) as folder:
        yield os.path.join(folder, name)


@contextlib.contextmanager
def unix_socket(path: str) -> Iterator[socket.socket]:
    """A Unix socket that only this user can connect to; its name is gone at the end.

    One that nobody listens to any more is replaced. Raises OSError, EADDRINUSE where any other file stands.
    """
    _remove_abandoned(path)
    listener = socket.socket(socket.AF_UNIX)
    with listener:
        before = os.umask(0o177)
        try:
            listener.bind(path)
        except OSError as error:
            raise OSError(error.errno, error.strerror or str(error), path) from None
        finally:
            os.umask(before)
        made = os.stat(path)
        try:
            listener.listen(_BACKLOG)
            yield listener
        finally:
            with contextlib.suppress(OSError):
                if os.path.samestat(os.stat(path), made):
                    os.unlink(path)


def _remove_abandoned(path: str) -> None:
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return  # binding will say what is wrong
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except BlockingIOError:
            return  # somebody listens, to many
        except ConnectionRefusedError:
            os.unlink(path)


def is_private(listener: socket.socket) -> bool:
    """Whether only this machine can connect to a socket that listens."""
    if listener.family not in (socket.AF_INET, socket.AF_INET6):
        return True
    return is_loopback(str(listener.getsockname()[0]))


def is_loopback(host: str) -> bool:
    """Whether only this machine can connect to an address, or to every address of a name."""
    try:
        found = {str(entry[4][0]) for entry in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except socket.gaierror:
        return False
    return all(ipaddress.ip_address(address.partition("%")[0]).is_loopback for address in found)


@contextlib.contextmanager
def tcp_socket(host: str, port: int) -> Iterator[socket.socket]:
    """A TCP socket; port 0 lets the host choose. Raises OSError."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as error:
        raise OSError(error.errno, error.strerror, host) from None
    with socket.socket(family, kind, protocol) as listener:
        # Windows' SO_REUSEADDR would let another program take the address from us.
        alone = getattr(socket, "SO_EXCLUSIVEADDRUSE", socket.SO_REUSEADDR)
        listener.setsockopt(socket.SOL_SOCKET, alone, 1)
        try:
            listener.bind(address)
        except OSError as error:
            raise OSError(error.errno, error.strerror, f"{host} port {port}") from None
        listener.listen(_BACKLOG)
        yield listener


def uri(listener: socket.socket, export: str, *, tls: bool) -> str:
    """What clients are given to connect to an export."""
    scheme = "nbds" if tls else "nbd"
    if listener.family == getattr(socket, "AF_UNIX", None):
        path = os.fsencode(os.path.abspath(listener.getsockname()))  # which need not be text
        return f"{scheme}+unix:///{quote(export)}?socket={quote(path)}"
    host, port = listener.getsockname()[:2]
    host = f"[{host}]" if ":" in host else host
    where = host if port == DEFAULT_PORT else f"{host}:{port}"
    return f"{scheme}://{where}/{quote(export)}"
