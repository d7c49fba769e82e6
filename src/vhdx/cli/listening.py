"""Where ``vhdx serve`` listens, as its options say, and who may connect there."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, NamedTuple

import click

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Iterator


class Place(NamedTuple):
    """Where clients connect to, as the options say."""

    path: str | None
    bind: str | None
    port: int | None


def place_of(path: str | None, bind: str | None, port: int | None, *, private: bool) -> Place:
    from vhdx.nbd.listen import HAS_UNIX_SOCKETS, is_loopback  # noqa: PLC0415
    from vhdx.wire import DEFAULT_PORT  # noqa: PLC0415

    if not HAS_UNIX_SOCKETS:
        if path is not None:
            raise click.UsageError("Python has no Unix sockets on Windows; --port N listens on TCP")
        port = DEFAULT_PORT if port is None else port
    if path is not None and (bind is not None or port is not None):
        raise click.UsageError("--socket is a Unix socket; --bind and --port are TCP")
    if bind is not None and not private and not is_loopback(bind):
        raise click.UsageError(
            f"{bind} can be reached from other machines: add --tls DIR, or --insecure to let everybody in"
        )
    return Place(path, bind, port)


def check_handed_over(listeners: list[socket.socket], place: Place, *, private: bool) -> None:
    """The same rules for the sockets of systemd."""
    from vhdx.nbd.listen import is_private  # noqa: PLC0415

    if any(word is not None for word in place):
        raise click.UsageError("sockets were handed over: --socket, --bind and --port go without them")
    if not private and not all(map(is_private, listeners)):
        raise click.UsageError(
            "a socket that was handed over can be reached from other machines: add --tls DIR or --insecure"
        )


def tls_context(directory: str | None) -> ssl.SSLContext | None:
    if directory is None:
        return None
    from vhdx.nbd.tls import server_context  # noqa: PLC0415  only who wants TLS waits for it

    return server_context(directory)


@contextlib.contextmanager
def listener_at(place: Place) -> Iterator[socket.socket]:
    from vhdx.nbd import listen  # noqa: PLC0415
    from vhdx.wire import DEFAULT_PORT  # noqa: PLC0415

    with contextlib.ExitStack() as held:
        if place.bind is not None or place.port is not None:
            port = DEFAULT_PORT if place.port is None else place.port
            yield held.enter_context(listen.tcp_socket(place.bind or "127.0.0.1", port))
        else:
            path = place.path or held.enter_context(listen.private_path("nbd.sock"))
            yield held.enter_context(listen.unix_socket(path))
