"""``vhdx serve``."""

from __future__ import annotations

import contextlib
import errno
from typing import TYPE_CHECKING, NamedTuple

import click

from vhdx.cli.listening import check_handed_over, listener_at, place_of, tls_context
from vhdx.cli.options import (
    FILE,
    FORMAT,
    SECONDS,
    chain_options,
    commit_interval_option,
    json_option,
    orphans_option,
    partition_option,
    sparse_option,
)
from vhdx.cli.render import EXIT_DOUBTS, print_doubt, print_json_line
from vhdx.cli.served import Opening, ServedDisk, export_names, export_of
from vhdx.cli.stopping import stopping_on_signals
from vhdx.text import printable

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable

    from vhdx.disk.formats import Format
    from vhdx.disk.places import ParentPolicy
    from vhdx.nbd.export import Export
    from vhdx.nbd.server import Server

_CLIENT_OPENS = 4
"""Connections that nbdcopy opens before it begins, where the export says that several are safe."""


class Serving(NamedTuple):
    """What clients can connect to now; the first one is the default export."""

    exports: tuple[ServedDisk, ...]


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
    parents: ParentPolicy,
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

    _check_purpose(write=write, snapshot=snapshot, salvage=salvage)
    _check_end(once=once, timeout=timeout, command=command, as_json=as_json)
    private = bool(tls) or insecure
    place, context = place_of(path, bind, port, private=private), tls_context(tls)
    opening = Opening(
        source_format, write, snapshot, salvage, force, commit_interval, partition, parents, Families()
    )
    with stopping_on_signals() as signals, contextlib.ExitStack() as held:
        multi = max_connections >= _CLIENT_OPENS  # else clients wait for ever for places that they hold
        named = zip(images, export_names(images, name), strict=True)
        opened = [held.enter_context(export_of(*each, opening, multi=multi)) for each in named]
        exports = {about.name: export for export, about in opened}
        handed_over = listen.handed_over()
        if handed_over:
            check_handed_over(handed_over, place, private=private)
        listeners = handed_over or [held.enter_context(listener_at(place))]
        state = ServerState(exports, opened[0][1].name, context, Limits(), _log)
        server = Server(state, listeners, maximum_connections=max_connections, once=once, timeout=timeout)
        uris = [listen.uri(listeners[0], export_name, tls=context is not None) for export_name in exports]
        # Whoever handed sockets over knows the address, and a command owns our output.
        if as_json or (not handed_over and command is None):
            _print_uris([about for _, about in opened], uris, as_json=as_json)
        signals.stop(server)
        code = _served(server, command, listeners[0], uris[0])
        if not snapshot:
            for export in exports.values():
                export.flush()  # costs nothing; raises where one failed before: then this was no success
        doubtful = salvage and _print_doubts(exports.values())
        return EXIT_DOUBTS if doubtful and code == 0 else code


def _check_purpose(*, write: bool, snapshot: bool, salvage: bool) -> None:
    if write and snapshot:
        raise click.UsageError("--write changes the image, --snapshot does not: say one of them")
    if salvage and (write or snapshot):
        raise click.UsageError("--salvage only reads: it goes neither with --write nor with --snapshot")


def _check_end(*, once: bool, timeout: float | None, command: str | None, as_json: bool) -> None:
    if timeout is not None and not once:
        raise click.UsageError("--timeout goes with --once")
    if command is not None and once:
        raise click.UsageError("--run serves as long as its command runs: leave out --once")
    if command is not None and as_json:
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


def _print_doubts(exports: Iterable[Export]) -> bool:
    """Say what was doubtful about what was served; whether anything was."""
    count = 0
    for export in exports:
        for doubt in export.doubts:
            print_doubt(doubt)
            count += 1
    return count > 0


def _log(line: str) -> None:
    with contextlib.suppress(OSError):  # nobody listens any more: no reason to serve worse
        click.echo(f"vhdx: {printable(line)}", err=True)
