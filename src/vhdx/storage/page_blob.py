"""A page blob of Azure: the few requests that its pages are made, written and read by. Needs ``vhdx[cloud]``.

The only file that knows the libraries for it. Every request is tried again where the service or the line to
it failed; what the service refuses is an OSError that shows no secret.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import hashlib
import logging
import random
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from vhdx.storage.blob_refusals import GONE, NOBODY, ChangedError, refused, why

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator

    from vhdx.storage.blob_address import BlobAddress

Answer = TypeVar("Answer")
PAGE_SIZE = 512
LARGEST_PIECE = 4 * 1024 * 1024
"""What the service takes in one request, and gives with a checksum."""
INSTALL = "page blobs need packages that are not installed; try: pip install 'vhdx[cloud]'"
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
_MOST_EMPTY = 100
"""How many parts of a list may tell nothing."""
_FAILED = 400
"""From which status on an answer is a refusal."""
_SCOPE = "https://storage.azure.com/.default"
_VERSION = "2021-12-02"


class Found(NamedTuple):
    """What stands under the address of a blob."""

    size: int
    kind: str
    etag: str


class PageBlob:
    """One blob, used by several threads at once. ``stopped`` set, nothing is tried again."""

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
        credential = _credential(address)
        transport = _transport(connections)
        self._client = BlobClient.from_blob_url(
            address.url, credential=credential, retry_total=0, transport=transport
        )
        self._reader = _reader(self._client.url, credential, transport)
        _hush()

    def look(self) -> Found | None:
        """What is there; None for nothing."""
        try:
            told = self._tried(self._client.get_blob_properties)
        except FileNotFoundError:
            return None
        if told.size is None or told.blob_type is None or not told.etag:
            raise OSError(errno.EPROTO, "what answers there is no blob service", self.name)
        return Found(told.size, str(told.blob_type.value), told.etag)

    def create(self, size: int, over: str | None = None) -> None:
        """Make it, all zeros, where nothing is, or in the place of the one with the tag ``over``.

        Raises FileExistsError for one that came meanwhile.
        """
        from azure.core import MatchConditions  # noqa: PLC0415  an extra

        missing: dict[str, Any] = {"match_condition": MatchConditions.IfMissing}
        condition = missing if over is None else _if_still(over)
        try:
            self._tried(lambda: self._client.create_page_blob(size, **condition))
        except (FileExistsError, ChangedError):
            if not self._is_empty(size):  # else an answer was lost, and it is the one that was asked for
                raise FileExistsError(errno.EEXIST, "somebody else made it meanwhile", self.name) from None

    def _is_empty(self, size: int) -> bool:
        found = self.look()
        return found is not None and found.size == size and next(self.page_ranges(found.etag), None) is None

    def write(self, data: bytes, offset: int) -> None:
        """Write whole pages, at most `LARGEST_PIECE`; the service compares their MD5."""
        self._tried(lambda: self._client.upload_page(data, offset, len(data), validate_content="md5"))

    def clear(self, size: int, etag: str) -> None:
        """Make all of it zeros that are not stored. Raises OSError if it has another tag than ``etag``.

        An attempt that arrives late, pieces being there, then takes nothing away; ``etag`` may be empty.
        """
        try:
            self._tried(lambda: self._client.clear_page(0, size, **(_if_still(etag) if etag else {})))
        except ChangedError:
            if not self._is_empty(size):  # else an answer was lost
                raise

    def ends_at(self, size: int) -> bool:
        """Whether it has so many bytes, for whoever may write but not look: told by what is never done.

        No blob has the tag that these ask for, and behind its end none is asked for.
        """
        return self._refusal(size - PAGE_SIZE) == errno.ESTALE and self._refusal(size) == errno.EINVAL

    def _refusal(self, offset: int) -> int | None:
        try:
            self._tried(lambda: self._client.clear_page(offset, PAGE_SIZE, **_if_still('"0"')))
        except (PermissionError, FileNotFoundError):
            raise
        except OSError as error:
            return error.errno
        return None

    def page_ranges(self, etag: str, offset: int = 0, length: int | None = None) -> Iterator[tuple[int, int]]:
        """(offset, length) of the pages that are stored, in order. Raises OSError if the blob changed."""
        options: dict[str, Any] = {} if length is None else {"offset": offset, "length": length}
        listed = self._client.list_page_ranges(**_if_still(etag), **options).by_page()
        reached = empty = 0
        while (page := self._tried(lambda: next(listed, None))) is not None:
            before = reached
            for found in page:
                start, end = int(found.start or 0), int(found.end or 0)
                if not reached <= start <= end:
                    raise OSError(errno.EPROTO, f"its pages are not told in order at {start}", self.name)
                reached = end + 1
                yield start, reached - start
            empty += reached == before
            if empty > _MOST_EMPTY:
                raise OSError(errno.EPROTO, "the list of its pages has no end", self.name)

    def read(self, length: int, offset: int, etag: str) -> bytes:
        """Exactly so many bytes, whose MD5 was compared. Raises OSError if the blob changed."""
        return self._tried(lambda: self._read(length, offset, etag))

    def _read(self, length: int, offset: int, etag: str) -> bytes:
        from azure.core.exceptions import HttpResponseError, ServiceResponseError  # noqa: PLC0415  an extra
        from azure.core.rest import HttpRequest  # noqa: PLC0415  an extra

        headers = {"x-ms-range": f"bytes={offset}-{offset + length - 1}", "If-Match": etag}
        if length <= LARGEST_PIECE:
            headers["x-ms-range-get-content-md5"] = "true"
        request = HttpRequest("GET", self._client.url, headers=headers)
        response = self._reader.send_request(request, stream=True)
        data = bytearray()
        with contextlib.closing(response):
            if response.status_code not in (200, 206):
                raise HttpResponseError(response=response)
            for part in response.iter_raw():  # as it is stored, whatever its properties call it
                data += part
                if len(data) > length:
                    break
        told = response.headers.get("Content-MD5") if response.status_code == 206 else None
        if len(data) != length:
            raise ServiceResponseError(f"other than {length} bytes came")
        digest = hashlib.md5(data, usedforsecurity=False).digest()
        if told is not None and told != base64.b64encode(digest).decode():
            raise ServiceResponseError("what came has another MD5 than the service says")
        return bytes(data)

    def close(self) -> None:
        """Let go of the connections."""
        self._stopped.set()
        self._client.close()

    def _tried(self, request: Callable[[], Answer]) -> Answer:
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


def _if_still(etag: str) -> dict[str, Any]:
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


def _credential(address: BlobAddress) -> Any:
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
            permission=BlobSasPermissions(read=True, write=True, create=True),
            expiry=datetime.now(UTC) + _KEY_LASTS,
        )
    if address.may_ask_identity:
        try:
            return import_module("azure.identity").DefaultAzureCredential()  # not even of the extra
        except ImportError:
            return None
    return None


def _reader(url: str, credential: Any, transport: Any) -> Any:
    """What fetches ranges: the library's own download lists all pages of the blob once more for each."""
    from azure.core import PipelineClient  # noqa: PLC0415  an extra
    from azure.core.pipeline import policies  # noqa: PLC0415  an extra

    headers = policies.HeadersPolicy(base_headers={"x-ms-version": _VERSION})
    chain: list[Any] = [headers]
    if hasattr(credential, "get_token"):
        chain.append(policies.BearerTokenCredentialPolicy(credential, _SCOPE))
    return PipelineClient(url, transport=transport, policies=chain)


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
