"""A page blob of Azure: the few requests that its pages are made, written and read by."""

from __future__ import annotations

import base64
import contextlib
import errno
import hashlib
from typing import TYPE_CHECKING, Any

from vhdx.storage.blob import Blob, if_still
from vhdx.storage.blob_refusals import ChangedError

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator

    from vhdx.storage.blob_address import BlobAddress

PAGE_SIZE = 512
LARGEST_PIECE = 4 * 1024 * 1024
"""What the service takes in one request, and gives with a checksum."""
_MOST_EMPTY = 100
"""How many parts of a list may tell nothing."""
_SCOPE = "https://storage.azure.com/.default"
_VERSION = "2021-12-02"


class PageBlob(Blob):
    """A blob of pages, or one that is to become that; blobs of other kinds are read in the same way.

    Whoever writes gives it a number of his own first, and asks with each page that it has that still: so what
    two write at the same time is never mixed, and the one who came first fails.
    """

    def __init__(self, address: BlobAddress, stopped: threading.Event, connections: int) -> None:
        """Raises OSError if a package is missing, ValueError for a key that is none."""
        super().__init__(address, stopped, connections)
        self._mine: dict[str, Any] = {}
        self._reader = _reader(self.client.url, self._credential, self._transport)

    def create(self, size: int, number: int, over: str | None = None) -> None:
        """Make it, all zeros, where nothing is, or in the place of the one with the tag ``over``.

        Raises FileExistsError for one that came meanwhile.
        """
        from azure.core import MatchConditions  # noqa: PLC0415  an extra

        missing: dict[str, Any] = {"match_condition": MatchConditions.IfMissing}
        condition = missing if over is None else if_still(over)
        try:
            self._mine = {"if_sequence_number_eq": number}
            self.tried(lambda: self.client.create_page_blob(size, sequence_number=number, **condition))
        except (FileExistsError, ChangedError):
            if not self._is_empty(size):  # else an answer was lost, and it is the one that was asked for
                raise FileExistsError(errno.EEXIST, "somebody else made it meanwhile", self.name) from None

    def take(self, number: int, etag: str) -> str:
        """Give it a number if it has the tag ``etag``, which may be empty; the tag that it has then.

        Nothing is done where the rights do not allow it, nor to a managed disk.
        """
        if self.address.is_managed_disk:
            return etag
        condition = if_still(etag) if etag else {}
        try:
            told = self.tried(lambda: self.client.set_sequence_number("update", str(number), **condition))
        except PermissionError:
            return etag
        except ChangedError:
            found = self.look()
            if found is None or found.number != number:  # else an answer was lost
                raise
            told = {"etag": found.etag}
        self._mine = {"if_sequence_number_eq": number}
        return str(told["etag"]) if etag else ""

    def _is_empty(self, size: int) -> bool:
        found = self.look()
        return found is not None and found.size == size and next(self.page_ranges(found.etag), None) is None

    def write(self, data: bytes, offset: int) -> None:
        """Write whole pages, at most `LARGEST_PIECE`; the service compares their MD5."""
        self.tried(
            lambda: self.client.upload_page(data, offset, len(data), validate_content="md5", **self._mine)
        )

    def clear(self, size: int, etag: str) -> None:
        """Make all of it zeros that are not stored. Raises OSError if it has another tag than ``etag``.

        An attempt that arrives late, pieces being there, then takes nothing away; ``etag`` may be empty.
        """
        try:
            condition = if_still(etag) if etag else {}
            self.tried(lambda: self.client.clear_page(0, size, **condition, **self._mine))
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
            self.tried(lambda: self.client.clear_page(offset, PAGE_SIZE, **if_still('"0"')))
        except (PermissionError, FileNotFoundError):
            raise
        except OSError as error:
            return error.errno
        return None

    def page_ranges(self, etag: str, offset: int = 0, length: int | None = None) -> Iterator[tuple[int, int]]:
        """(offset, length) of the pages that are stored, in order. Raises OSError if the blob changed."""
        options: dict[str, Any] = {} if length is None else {"offset": offset, "length": length}
        listed = self.client.list_page_ranges(**if_still(etag), **options).by_page()
        reached = empty = 0
        while (page := self.tried(lambda: next(listed, None))) is not None:
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
        return self.tried(lambda: self._read(length, offset, etag))

    def _read(self, length: int, offset: int, etag: str) -> bytes:
        from azure.core.exceptions import HttpResponseError, ServiceResponseError  # noqa: PLC0415  an extra
        from azure.core.rest import HttpRequest  # noqa: PLC0415  an extra

        headers = {"x-ms-range": f"bytes={offset}-{offset + length - 1}", "If-Match": etag}
        if length <= LARGEST_PIECE:
            headers["x-ms-range-get-content-md5"] = "true"
        request = HttpRequest("GET", self.client.url, headers=headers)
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


def _reader(url: str, credential: Any, transport: Any) -> Any:
    """What fetches ranges: the library's own download lists all pages of the blob once more for each."""
    from azure.core import PipelineClient  # noqa: PLC0415  an extra
    from azure.core.pipeline import policies  # noqa: PLC0415  an extra

    headers = policies.HeadersPolicy(base_headers={"x-ms-version": _VERSION})
    chain: list[Any] = [headers]
    if hasattr(credential, "get_token"):
        chain.append(policies.BearerTokenCredentialPolicy(credential, _SCOPE))
    return PipelineClient(url, transport=transport, policies=chain)
