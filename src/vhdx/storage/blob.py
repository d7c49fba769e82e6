"""A blob of Azure: how requests for it are made, and tried again. Needs ``vhdx[cloud]``.

With its kinds `page_blob` and `block_blob` all that knows the libraries for it. Every request is tried again
where the service or the line to it failed; what the service refuses is an OSError that shows no secret.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import logging
import random
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeVar

from vhdx.storage.blob_address import blob_address
from vhdx.storage.blob_refusals import GONE, NOBODY, refused, why

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from vhdx.storage.blob_address import BlobAddress

Answer = TypeVar("Answer")
INSTALL = 'blobs of Azure need packages that are not installed; try: pip install "vhdx[cloud]"'
_ATTEMPTS = 7
_FIRST_ATTEMPTS = 3
"""How often it is tried as long as nobody has ever answered: the address may be wrong."""
_FIRST_DELAY, _LONGEST_DELAY = 0.4, 30.0
"""Seconds before a second attempt, which double from then on."""
_TIMEOUTS = {"connection_timeout": 20, "read_timeout": 60}
_AGAIN = frozenset({408, 429, 500, 502, 503, 504})
_AGAIN_CODES = frozenset({"Md5Mismatch", "OperationTimedOut", "InternalError", "ServerBusy"})
_KEY_LASTS = timedelta(days=7)
"""How long what a key of an account signs for one transfer is worth something."""
_FAILED = 400
"""From which status on an answer is a refusal."""


class Found(NamedTuple):
    """What stands under the address of a blob."""

    size: int
    kind: str
    etag: str
    number: int | None = None
    """Of pages: the sequence number, by which writers say who they are."""


class Blob:
    """One blob, used by several threads at once. ``stopped`` set, nothing is tried again."""

    RIGHTS: ClassVar[dict[str, bool]] = {"read": True, "write": True, "create": True}
    """What a key signs a SAS for."""

    def __init__(self, address: BlobAddress, stopped: threading.Event, connections: int) -> None:
        """Raises OSError if a package is missing, ValueError for a key that is none."""
        try:
            from azure.storage.blob import BlobClient  # noqa: PLC0415  an extra
        except ImportError:
            raise OSError(errno.ENOTSUP, INSTALL) from None
        self.address = address
        self.name = address.name
        self._stopped = stopped
        self._is_heard = False
        credential = _credential(address, self.RIGHTS)
        transport = _transport(connections)
        self.client = BlobClient.from_blob_url(
            address.url, credential=credential, retry_total=0, transport=transport
        )
        self._credential, self._transport = credential, transport
        _hush()

    def look(self) -> Found | None:
        """What is there; None for nothing."""
        try:
            told = self.tried(self.client.get_blob_properties)
        except FileNotFoundError:
            return None
        if told.size is None or told.blob_type is None or not told.etag:
            raise OSError(errno.EPROTO, "what answers there is no blob service", self.name)
        number = told.page_blob_sequence_number
        return Found(told.size, str(told.blob_type.value), told.etag, number)

    def is_named_by(self, place: str) -> bool:
        """Whether this is an address of the same blob."""
        with contextlib.suppress(ValueError):
            return blob_address(place).place == self.address.place
        return False

    def close(self) -> None:
        """Let go of the connections."""
        self._stopped.set()
        self.client.close()

    def tried(self, request: Callable[[], Answer]) -> Answer:
        """What a request gives, which is sent again as long as that may help."""
        from azure.core.exceptions import AzureError, DeserializationError  # noqa: PLC0415  an extra
        from requests import RequestException  # noqa: PLC0415  what carries it, and lets its own errors through
        from urllib3.exceptions import HTTPError  # noqa: PLC0415  and what carries that

        attempt = 0
        while True:
            try:
                answer = request()
            except (AzureError, DeserializationError, RequestException, HTTPError) as error:
                failure, may_help, delay = self._failure(error)
                self._is_heard |= getattr(error, "response", None) is not None
            else:
                self._is_heard = True
                return answer
            attempt += 1
            if not may_help:
                raise failure  # outside: a traceback would show what was asked, secrets included
            if attempt == (_ATTEMPTS if self._is_heard else _FIRST_ATTEMPTS) or self._stopped.wait(
                _delay(attempt, delay)
            ):
                times = "" if attempt == 1 else f"; it was tried {attempt} times"
                raise type(failure)(failure.errno, f"{failure.strerror}{times}", self.name)

    def _failure(self, error: Any) -> tuple[OSError, bool, float | None]:
        """What is told of an error, whether asking again may help, and after how many seconds if said."""
        from azure.core.exceptions import ClientAuthenticationError  # noqa: PLC0415  an extra

        response = getattr(error, "response", None)
        if response is None and isinstance(error, ClientAuthenticationError):  # before anything was asked
            return PermissionError(errno.EACCES, NOBODY, self.name), False, None
        if response is None or response.status_code < _FAILED:
            return OSError(GONE, f"the service gives no answer ({why(error)})", self.name), True, None
        status, code = response.status_code, str(response.headers.get("x-ms-error-code") or "")
        after = str(response.headers.get("Retry-After") or "")
        delay = float(after) if after.isdecimal() else None
        return refused(self.address, status, code), status in _AGAIN or code in _AGAIN_CODES, delay


def if_still(etag: str) -> dict[str, Any]:
    """The condition that the blob has a tag."""
    from azure.core import MatchConditions  # noqa: PLC0415  an extra

    return {"etag": etag, "match_condition": MatchConditions.IfNotModified}


def _transport(connections: int) -> Any:
    """What carries requests, and keeps so many connections; its own would close all beyond ten each time."""
    from azure.core.pipeline.transport import RequestsTransport  # noqa: PLC0415  an extra
    from requests import Session  # noqa: PLC0415  what carries it
    from requests.adapters import HTTPAdapter  # noqa: PLC0415

    session = Session()
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(pool_maxsize=connections, max_retries=0))
    return RequestsTransport(session=session, **_TIMEOUTS)


def _credential(address: BlobAddress, rights: dict[str, bool]) -> Any:
    """What the library is to use: words of a SAS, a token of whoever is logged in, or nothing."""
    if address.sas is not None:
        return None if not address.sas else address.sas
    if address.key is not None:
        from azure.storage.blob import BlobSasPermissions, generate_blob_sas  # noqa: PLC0415  an extra

        try:
            base64.b64decode(address.key, validate=True)
        except ValueError:
            raise ValueError(f"{address.name}: the key of the account is none: it is not base64") from None
        return generate_blob_sas(
            address.account,
            address.container,
            address.blob,
            account_key=address.key,
            permission=BlobSasPermissions(**rights),
            expiry=datetime.now(UTC) + _KEY_LASTS,
        )
    if address.may_ask_identity:
        try:
            return import_module("azure.identity").DefaultAzureCredential()  # not even of the extra
        except ImportError:
            return None
    return None


def _delay(attempt: int, wanted: float | None) -> float:
    if wanted is not None:
        return min(wanted, _LONGEST_DELAY)
    longest: float = min(_FIRST_DELAY * 2 ** (attempt - 1), _LONGEST_DELAY)
    return longest * random.uniform(0.5, 1)  # noqa: S311  no secret


def _hush() -> None:
    """Their logs tell of each failed request, and this library tells of it in its own words."""
    for name in ("azure", "urllib3"):
        logger = logging.getLogger(name)
        if not logger.handlers:
            logger.addHandler(logging.NullHandler())
