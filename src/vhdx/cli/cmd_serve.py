"""``vhdx serve``."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
from typing import TYPE_CHECKING, NamedTuple

import click

from vhdx.cli.options import (
    FILE,
    FORMAT,
    RAW_IS_SAID,
    SECONDS,
    chain_options,
    chosen,
    commit_interval_option,
    json_option,
    orphans_option,
    parent_policy,
    partition_option,
    refuse_to_orphan,
    sparse_option,
    warn_if_tracked,
)
from vhdx.cli.render import EXIT_DOUBTS, print_doubt, print_json_line
from vhdx.text import printable
from vhdx.units import format_size

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Iterator

    from vhdx.disk.children import Families
    from vhdx.disk.formats import Format
    from vhdx.disk.open import Mode
    from vhdx.disk.opened import Disk
    from vhdx.disk.places import ParentPolicy
    from vhdx.nbd.export import Export
    from vhdx.nbd.server import Server


_CLIENT_OPENS = 4
"""Connections that nbdcopy opens before it begins, where the export says that several are safe."""

_NAME_LIMIT = 255
"""Bytes of an export's name, as of a file's; some clients end themselves over a thousand."""


class _Place(NamedTuple):
    """Where clients connect to, as the options say."""

    path: str | None
    bind: str | None
    port: int | None


class ServedDisk(NamedTuple):
    """One export: ``size`` bytes of the disk of an image, all of them or a partition."""

    name: str
    path: str
    format: str
    virtual_size: int
    partition: int | None
    size: int
    read_only: bool
    uri: str


class Serving(NamedTuple):
    """What clients can connect to now; the first one is the default export."""

    exports: tuple[ServedDisk, ...]


class _Opening(NamedTuple):
    """How images are opened."""

    source_format: Format | None
    write: bool
    snapshot: bool
    salvage: bool
    force: bool
    commit_interval: float
    partition: int | None
    parents: ParentPolicy
    families: Families


@click.command()
@click.argument("images", metavar="IMAGE…", nargs=-1, required=True, type=FILE)
@click.option("--write", is_flag=True, help="Let clients write; without it the exports are read-only.")
@commit_interval_option
@click.option("--snapshot", is_flag=True, help="Keep what clients write aside and throw it away at the end.")
@click.option(
    "--salvage", is_flag=True, help="Serve what can be read of damaged images; list what is doubtful."
)
@click.option("--socket", "path", type=FILE, help="A Unix socket of this name.")
@click.option(
    "--bind", metavar="ADDRESS", help="TCP; other addresses than loopback need --tls or --insecure."
)
@click.option(
    "--port", type=click.IntRange(0, 65535), metavar="N", help="TCP port, 10809 by default; 0: any."
)
@click.option("--name", help="The export's name, where there is one image; by default the file's.")
@click.option("-f", "--source-format", type=FORMAT, help="By default told by content.")
@partition_option
@click.option("--once", is_flag=True, help="End when the last client has left.")
@click.option(
    "--timeout", type=SECONDS, metavar="SECONDS", help="With --once: end if no client has come until then."
)
@click.option(
    "--run",
    "command",
    metavar="COMMAND",
    help="Serve as long as COMMAND runs, a line for the shell with $uri, $nbd, $port, $unixsocket.",
)
@click.option(
    "--max-connections",
    type=click.IntRange(min=1),
    default=100,
    show_default=True,
    metavar="N",
    help="Clients at a time; others wait.",
)
@click.option(
    "--tls",
    type=click.Path(exists=True, file_okay=False),
    metavar="DIR",
    help="Only TLS, only clients with a certificate; DIR has ca-cert.pem, server-cert.pem, server-key.pem.",
)
@click.option("--insecure", is_flag=True, help="Let everybody connect who can reach the address.")
@orphans_option
@chain_options
@sparse_option
@json_option
def serve(
    images: tuple[str, ...],
    *,
    write: bool,
    commit_interval: float,
    snapshot: bool,
    salvage: bool,
    path: str | None,
    bind: str | None,
    port: int | None,
    name: str | None,
    source_format: Format | None,
    partition: int | None,
    once: bool,
    timeout: float | None,
    command: str | None,
    max_connections: int,
    tls: str | None,
    insecure: bool,
    force: bool,
    parent_dirs: tuple[str, ...],
    any_parent: bool,
    as_json: bool,
) -> int:
    """Serve the disks in one or several IMAGEs over NBD.

    Runs until SIGTERM, SIGHUP or Ctrl-C. Each export has the name of its file; the first is the default
    export, too. Listens on a Unix socket in a new directory that nobody else can enter (on Windows on a
    TCP port of this machine), unless told otherwise, and prints the URI of each export once clients can
    connect. With --snapshot clients may write, and no file is changed. Sockets that systemd hands over
    (LISTEN_FDS) are used before all others. With --salvage each range that may be wrong is listed on
    standard error at the end, and the exit code is 3 if there is one.

    With --json one line is printed in place of the URIs. With --run none is, and the exit code is that of
    COMMAND:
    vhdx serve disk.vhdx --run 'qemu-img convert -O qcow2 "$uri" disk.qcow2'
    """
    from vhdx.disk.children import Families  # noqa: PLC0415  --help needs no library
    from vhdx.nbd import listen  # noqa: PLC0415
    from vhdx.nbd.connection import Limits, ServerState  # noqa: PLC0415
    from vhdx.nbd.server import Server  # noqa: PLC0415

    if write and snapshot:
        raise click.UsageError("--write changes the image, --snapshot does not: say one of them")
    if timeout is not None and not once:
        raise click.UsageError("--timeout goes with --once")
    if command is not None:
        _check_beside(once=once, as_json=as_json)
    if salvage and (write or snapshot):
        raise click.UsageError("--salvage only reads: it goes neither with --write nor with --snapshot")
    place = _place(path, bind, port, private=bool(tls) or insecure)
    context = _tls_context(tls)
    policy = parent_policy(parent_dirs, any_parent=any_parent)
    opening = _Opening(
        source_format, write, snapshot, salvage, force, commit_interval, partition, policy, Families()
    )
    with _stopping_on_signals() as signals, contextlib.ExitStack() as held:
        multi = max_connections >= _CLIENT_OPENS  # else clients wait for ever for places that they hold
        opened = [held.enter_context(_export(image, name, opening, images, multi=multi)) for image in images]
        exports = [export for export, _ in opened]
        listeners = listen.handed_over()
        handed_over = bool(listeners)
        if handed_over:
            _check_handed_over(listeners, place, private=bool(tls) or insecure)
        listeners = listeners or [held.enter_context(_listener(place))]
        by_name = {export.offer.name: export for export in exports}
        state = ServerState(by_name, exports[0].offer.name, context, Limits(), _log)
        server = Server(state, listeners, maximum_connections=max_connections, once=once, timeout=timeout)
        uris = [listen.uri(listeners[0], export_name, tls=context is not None) for export_name in by_name]
        # Whoever handed sockets over knows the address, and a command owns our output.
        if as_json or (not handed_over and command is None):
            _print_uris([about for _, about in opened], uris, as_json=as_json)
        signals.stop(server)
        code = _served(server, command, listeners[0], uris[0])
        if not snapshot:
            for export in exports:
                export.flush()  # costs nothing; raises where one failed before: then this was no success
        doubtful = salvage and _print_doubts(exports)
        return EXIT_DOUBTS if doubtful and code == 0 else code


def _check_beside(*, once: bool, as_json: bool) -> None:
    """Refuse what does not go with --run."""
    if once:
        raise click.UsageError("--run serves as long as its command runs: leave out --once")
    if as_json:
        raise click.UsageError("standard output is that of --run's command, which has $uri: leave out --json")


def _print_uris(exports: list[ServedDisk], uris: list[str], *, as_json: bool) -> None:
    if as_json:
        served = (about._replace(uri=uri) for about, uri in zip(exports, uris, strict=True))
        print_json_line(Serving(tuple(served)))
    else:
        click.echo("\n".join(uris))


def _served(server: Server, command: str | None, listener: socket.socket, uri: str) -> int:
    """Serve until the end; the exit code."""
    if command is None:
        server.serve()
        if server.nobody_came:
            raise OSError(errno.ETIMEDOUT, "no client came in time")
        return 0
    from vhdx.cli.beside import address_of, running  # noqa: PLC0415  others start no command

    with running(command, address_of(listener, uri), server.stop) as beside:
        server.serve()
    return beside.code


def _print_doubts(exports: list[Export]) -> bool:
    """Say what was doubtful about what was served; whether anything was."""
    count = 0
    for export in exports:
        for doubt in export.doubts:
            print_doubt(doubt)
            count += 1
    return count > 0


def _place(path: str | None, bind: str | None, port: int | None, *, private: bool) -> _Place:
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
    return _Place(path, bind, port)


def _check_handed_over(listeners: list[socket.socket], place: _Place, *, private: bool) -> None:
    """The same rules for the sockets of systemd."""
    from vhdx.nbd.listen import is_private  # noqa: PLC0415

    if any(word is not None for word in place):
        raise click.UsageError("sockets were handed over: --socket, --bind and --port go without them")
    if not private and not all(map(is_private, listeners)):
        raise click.UsageError(
            "a socket that was handed over can be reached from other machines: add --tls DIR or --insecure"
        )


def _tls_context(directory: str | None) -> ssl.SSLContext | None:
    if directory is None:
        return None
    from vhdx.nbd.tls import server_context  # noqa: PLC0415  only who wants TLS waits for it

    return server_context(directory)


@contextlib.contextmanager
def _listener(place: _Place) -> Iterator[socket.socket]:
    from vhdx.nbd import listen  # noqa: PLC0415
    from vhdx.wire import DEFAULT_PORT  # noqa: PLC0415

    with contextlib.ExitStack() as held:
        if place.bind is not None or place.port is not None:
            port = DEFAULT_PORT if place.port is None else place.port
            yield held.enter_context(listen.tcp_socket(place.bind or "127.0.0.1", port))
        else:
            path = place.path or held.enter_context(listen.private_path("nbd.sock"))
            yield held.enter_context(listen.unix_socket(path))


@contextlib.contextmanager
def _export(
    image: str, name: str | None, opening: _Opening, images: tuple[str, ...], *, multi: bool
) -> Iterator[tuple[Export, ServedDisk]]:
    """An image as an export, and what is told of it; its URI is not known yet."""
    from vhdx.disk.chain import VhdxDisk  # noqa: PLC0415
    from vhdx.nbd.export import Export  # noqa: PLC0415

    if name is not None and len(images) > 1:
        raise click.UsageError("--name goes with one image")
    names = [_name_of(each) for each in images]
    if names.count(_name_of(image)) > 1:
        raise click.UsageError(f"two images are named {_name_of(image)}: serve them one by one")
    if name is not None and (printable(name) != name or len(name.encode()) > _NAME_LIMIT):
        raise click.UsageError(f"--name takes up to {_NAME_LIMIT} bytes of text that can be printed")
    whole = _opened(image, opening)
    with contextlib.closing(whole):
        if opening.write:
            warn_if_tracked(image)
        if opening.write and isinstance(whole, VhdxDisk):
            refuse_to_orphan(image, whole, force=opening.force, families=opening.families)
        disk = chosen(whole, opening.partition)
        about = f"{format_size(disk.size)}, {_kind(whole)}"
        if opening.partition is not None:
            about += f", partition {opening.partition}"
        export = Export(name or _name_of(image), disk, about, multi=multi)
        path = whole.chain[1 if opening.snapshot else 0]  # over it lies the file of the snapshot
        who = path, whole.format, whole.size, opening.partition
        yield export, ServedDisk(export.offer.name, *who, disk.size, disk.read_only, "")


def _name_of(image: str) -> str:
    return printable(os.path.basename(image))


def _kind(disk: Disk) -> str:
    return "raw" if disk.format == "raw" else disk.disk_type + (" VHD" if disk.format == "vhd" else "")


def _opened(image: str, opening: _Opening) -> Disk:
    from vhdx.disk.open import open_any  # noqa: PLC0415
    from vhdx.disk.raw import RawDisk  # noqa: PLC0415
    from vhdx.ops.snapshot import open_snapshot  # noqa: PLC0415

    if not opening.snapshot:
        mode: Mode = "r+" if opening.write else "r"
        salvage, interval = opening.salvage, opening.commit_interval if opening.write else 0
        found, parents = opening.source_format, opening.parents
        disk = open_any(
            image, mode, image_format=found, parents=parents, salvage=salvage, commit_interval=interval
        )
        if opening.write and opening.source_format is None and isinstance(disk, RawDisk):
            disk.close()
            raise click.UsageError(RAW_IS_SAID.format(image))
        return disk
    if opening.source_format == "raw":
        raise click.UsageError("--snapshot goes with VHDX images, not with raw disks")
    return open_snapshot(image, parents=opening.parents)


class _Signals:
    """The signals that end a server and are no failure; nor do they break off its closing."""

    def __init__(self) -> None:
        self._came = False
        self._server: Server | None = None

    def __call__(self, *_: object) -> None:
        self._came = True
        if self._server is not None:
            self._server.stop()

    def stop(self, server: Server) -> None:
        """Stop this server when a signal comes, or at once if one came."""
        self._server = server
        if self._came:
            server.stop()


@contextlib.contextmanager
def _stopping_on_signals() -> Iterator[_Signals]:
    signals = _Signals()
    # Who closes a terminal often sends SIGHUP twice, once by the shell and once by the host.
    every = ("SIGTERM", "SIGINT", "SIGHUP", "SIGBREAK")
    known = [getattr(signal, name) for name in every if hasattr(signal, name)]
    numbers = [number for number in known if signal.getsignal(number) is not signal.SIG_IGN]  # as nohup does
    before = [signal.signal(number, signals) for number in numbers]
    try:
        yield signals
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _log(line: str) -> None:
    with contextlib.suppress(OSError):  # nobody listens any more: no reason to serve worse
        click.echo(f"vhdx: {printable(line)}", err=True)
