"""TLS: who shows a good certificate is served; an expired one, a foreign one and none are refused."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import vhdx
from tests.support.layout import MIB
from tests.support.patterns import pattern
from tests.support.tools import needs
from vhdx.nbd.tls import server_context

from . import client as wire
from .client import Client
from .disks import MemoryDisk
from .serving import Process, serving
from .serving import served as running

pytestmark = needs("openssl", "nbdinfo", "nbdcopy")

_CONFIG = """
[req]
distinguished_name = name
prompt = no
[name]
CN = {name}
[ca]
basicConstraints = critical, CA:TRUE
keyUsage = keyCertSign, cRLSign
[server]
subjectAltName = DNS:localhost, IP:127.0.0.1
extendedKeyUsage = serverAuth
[client]
extendedKeyUsage = clientAuth
"""


class _Authority:
    """A certificate authority in a directory."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        folder.mkdir()
        self._sign("ca", name, "-x509", "-days", "2")

    def _openssl(self, *words: str | Path) -> None:
        subprocess.run(["openssl", *words], cwd=self.folder, check=True, capture_output=True)

    def _sign(self, kind: str, name: str, *words: str) -> None:
        (self.folder / "config").write_text(_CONFIG.format(name=name))
        extensions = ("-extensions", kind) if "-x509" in words else ()
        out = f"{kind}-cert.pem" if "-x509" in words else "request"
        self._openssl(
            *("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-config", "config", "-keyout", f"{kind}-key.pem", "-out", out, *extensions, *words),
        )

    def issue(self, kind: str, days: str = "2") -> None:
        """A key and a certificate for ``server`` or ``client``; days below 0 are over already."""
        self._sign(kind, kind)
        self._openssl(
            *("x509", "-req", "-in", "request", "-CA", "ca-cert.pem", "-CAkey", "ca-key.pem"),
            *("-CAcreateserial", "-extfile", "config", "-extensions", kind),
            *("-days", days, "-out", f"{kind}-cert.pem"),
        )


@pytest.fixture(name="ours", scope="module")
def _ours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    authority = _Authority(tmp_path_factory.mktemp("tls") / "ours", "ours")
    authority.issue("server")
    authority.issue("client")
    return authority.folder


@pytest.fixture(name="served", scope="module")
def _served(ours: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    image = tmp_path_factory.mktemp("image") / "disk.vhdx"
    vhdx.create(image, 8 * MIB)
    with serving(image, "--write", "--tls", ours, "--bind", "localhost", "--port", "0") as process:
        yield process
        code, _ = process.end()
        assert code == 0


def certificates(ours: Path, folder: Path, kind: str) -> Path:
    """A client's directory: always our authority, and a certificate of some kind."""
    folder.mkdir()
    source = ours
    if kind == "foreign":
        foreign = _Authority(folder / "foreign", "foreign")
        foreign.issue("client")
        source = foreign.folder
    (folder / "ca-cert.pem").write_bytes((ours / "ca-cert.pem").read_bytes())
    if kind == "expired":
        authority = object.__new__(_Authority)
        authority.folder = folder
        (folder / "ca-key.pem").write_bytes((ours / "ca-key.pem").read_bytes())
        authority.issue("client", "-1")
    elif kind != "none":
        for name in ("client-cert.pem", "client-key.pem"):
            (folder / name).write_bytes((source / name).read_bytes())
    return folder


def uri(process: Process, folder: Path) -> str:
    assert process.uri.startswith("nbds://127.0.0.1:")
    # by name: libnbd compares it with the certificate
    return process.uri.replace("127.0.0.1", "localhost") + f"?tls-certificates={folder}"


def test_a_good_certificate_is_served(served: Process, ours: Path, tmp_path: Path) -> None:
    where = uri(served, certificates(ours, tmp_path / "good", "good"))
    data = pattern(1, 8 * MIB)
    (tmp_path / "in").write_bytes(data)
    for words in (("--flush", str(tmp_path / "in"), where), (where, str(tmp_path / "out"))):
        done = subprocess.run(["nbdcopy", *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "out").read_bytes() == data


@pytest.mark.parametrize("kind", ["expired", "foreign", "none"])
def test_other_certificates_are_refused(kind: str, served: Process, ours: Path, tmp_path: Path) -> None:
    where = uri(served, certificates(ours, tmp_path / kind, kind))
    done = subprocess.run(["nbdinfo", "--size", where], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert not done.stdout


def _address(served: Process) -> tuple[str, int]:
    return "127.0.0.1", int(served.uri.rpartition(":")[2].partition("/")[0])


def test_in_the_clear_nothing_is_told(served: Process) -> None:
    with Client(_address(served)) as client:
        client.greet()
        for option in (wire.LIST, wire.GO, wire.STRUCTURED):
            ((kind, _),) = client.option(option, wire.go("") if option == wire.GO else b"")
            assert kind == wire.TLS_REQD


def test_a_stop_does_not_wait_for_a_handshake_of_tls(ours: Path, tmp_path: Path) -> None:
    with (
        running(tmp_path, MemoryDisk(MIB), tls=server_context(str(ours))) as server,
        Client(server.address) as mute,
    ):
        mute.greet()
        assert mute.option(wire.STARTTLS) == [(wire.ACK, b"")]
        time.sleep(0.2)  # until it waits for the handshake; nothing shows when
        begin = time.monotonic()
        server.stop()
        assert time.monotonic() - begin < 5


def test_what_comes_in_the_clear_with_the_option_is_not_taken_for_tls(served: Process) -> None:
    with Client(_address(served)) as client:
        client.greet()
        option = wire.OPTION_MAGIC.to_bytes(8, "big")
        injected = option + wire.STRUCTURED.to_bytes(4, "big") + bytes(4)
        client.socket.sendall(option + wire.STARTTLS.to_bytes(4, "big") + bytes(4) + injected)
        assert client.option_replies(wire.STARTTLS) == [(wire.ACK, b"")]
        assert client.is_closed()
