"""TLS from a directory of certificates, named as QEMU, nbdkit and libnbd name them."""

from __future__ import annotations

import errno
import os
import ssl
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def server_context(directory: str) -> ssl.SSLContext:
    """What a server needs: it shows its certificate, and every client must show one of the same authority.

    The directory holds ``ca-cert.pem``, ``server-cert.pem``, ``server-key.pem``, and ``ca-crl.pem`` if
    certificates were revoked. Raises OSError for files that are missing or no certificates.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    authority, certificate, key = (
        _there(directory, name) for name in ("ca-cert.pem", "server-cert.pem", "server-key.pem")
    )
    _load(authority, lambda: context.load_verify_locations(authority))
    _load(certificate, lambda: context.load_cert_chain(certificate, key))
    revoked = os.path.join(directory, "ca-crl.pem")
    if os.path.exists(revoked):
        _load(revoked, lambda: context.load_verify_locations(revoked))
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    return context


def _there(directory: str, name: str) -> str:
    path = os.path.join(directory, name)
    os.stat(path)  # says which one is missing; OpenSSL does not
    return path


def _load(path: str, load: Callable[[], None]) -> None:
    try:
        load()
    except ssl.SSLError as error:
        raise OSError(errno.EINVAL, f"no certificate that can be used: {error.reason}", path) from None
