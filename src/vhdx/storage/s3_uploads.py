"""An upload to S3 in parts: begun, its parts sent in any order, completed or aborted. By botocore."""

from __future__ import annotations

import base64
import contextlib
import errno
import hashlib
import os
import random
import threading
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from vhdx.storage.aws import Access
from vhdx.storage.blob_address import without_secrets
from vhdx.storage.multipart import AT_ONCE, Part, PartLimits
from vhdx.storage.object_stores import RETRY, refusal, unset
from vhdx.units import GIB

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from vhdx.storage.object_stores import ObjectAddress

_PASSING = frozenset({None, "429", "500", "502", "503", "504"})
"""Answers to which the same request may get another one; None is no answer."""
_PASSING_CODES = frozenset({"BadDigest", "IncompleteBody", "RequestTimeout"})
"""Those of answers of 400 that tell of a line, and of no mistake: it was slow, or spoilt what was sent."""

LIMITS = PartLimits(10000, 5 * GIB)
CLIENT_SETTINGS: dict[str, Any] = {
    "retries": {"total_max_attempts": 1},  # 429 is none of those that it sends again
    "connect_timeout": 10,
    "read_timeout": 60,
    "max_pool_connections": AT_ONCE,
    "request_checksum_calculation": "when_required",  # other makers' stores know MD5
    "response_checksum_validation": "when_required",
}


class S3Target:
    """An object of S3, or of a store that speaks its language, that is to be written."""

    limits = LIMITS
    HEEDS_CONDITIONS = True
    """Whether an object that came meanwhile is not written over."""

    def __init__(self, address: ObjectAddress) -> None:
        """Raises OSError where the settings of its environment cannot be."""
        self.address = address
        try:
            self._client = self._made_client()
        except OSError:
            raise
        except Exception as error:  # noqa: BLE001  what settings can be wrong in has no end
            raise unset(error, address) from None
        self._is_given_up = threading.Event()
        self.endpoint = without_secrets(self._client.meta.endpoint_url)

    def _made_client(self) -> Any:
        return Access.of_environment().client(**CLIENT_SETTINGS)

    @property
    def name(self) -> str:
        """Its address."""
        return self.address.url

    def is_there(self) -> bool:
        """Whether an object has the name, as far as that can be seen."""
        return self.look() is not None

    def is_named_by(self, place: str) -> bool:
        """Whether this is an address of the same object."""
        return place == self.name

    def close(self) -> None:
        """Let go of the connections."""
        self._client.close()

    def asked(self, operation: str, **words: Any) -> dict[str, Any]:
        """What the store answers, asked again where that may help. Raises OSError in this library's words."""
        call = partial(getattr(self._client, operation), Bucket=self.address.bucket, Key=self.address.key)
        waits = delays()
        while isinstance(found := _answer_of(call, words), _Refused):
            may_help = found.status in _PASSING or found.code in _PASSING_CODES
            wait = next(waits, None) if may_help else None
            if wait is None or self._is_given_up.wait(wait):
                raise refusal(found.status, found.code, self.address, found.kind)
        return found

    def told(self, field: str, operation: str, **words: Any) -> str:
        """What an answer must say. Raises OSError where it does not."""
        value = self.asked(operation, **words).get(field)
        if not isinstance(value, str):
            raise OSError(
                errno.EPROTO, f"what answers there is no object store: it tells no {field}", self.name
            )
        return value

    def give_up(self, *, given_up: bool) -> None:
        """Ask nothing again from now on: whoever waits for the requests that run has no use for answers."""
        (self._is_given_up.set if given_up else self._is_given_up.clear)()

    def look(self) -> dict[str, Any] | None:
        """What the store tells of the object that is there; None for none, or where it may not be known."""
        try:
            return self.asked("head_object")
        except (FileNotFoundError, PermissionError):  # who may only write is told 403 for what is not there
            return None

    def begin(self) -> S3Upload:
        """A new upload."""
        return self.upload(self.told("UploadId", "create_multipart_upload"))

    def upload(self, upload_id: str) -> S3Upload:
        """One that was begun."""
        return S3Upload(self, upload_id)


class _Refused(NamedTuple):
    """What went wrong with a request: the status and the code of an answer, or only the kind of error."""

    status: str | None
    code: str | None
    kind: str


def _answer_of(call: Callable[..., dict[str, Any]], words: dict[str, Any]) -> dict[str, Any] | _Refused:
    from botocore.exceptions import ClientError  # noqa: PLC0415  an extra, which is there

    try:
        return call(**words)
    except PermissionError:  # of whoever is logged in
        raise
    except ClientError as error:
        status = str(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode"))
        code = str(error.response.get("Error", {}).get("Code", ""))
        return _Refused(status, None if code.isdecimal() else code, "ClientError")
    except Exception as error:  # noqa: BLE001  connections fail in the words of several libraries
        return _Refused(None, None, type(error).__name__)


def delays() -> Iterator[float]:
    """Seconds to wait between the attempts of a request: longer each time, at random."""
    for attempt in range(RETRY["max_retries"]):
        yield random.random() * min(10, 0.2 * 2**attempt)  # noqa: S311  so that not all ask again at once


class S3Upload:
    """An upload that is under way."""

    def __init__(self, target: S3Target, upload_id: str) -> None:
        self._target = target
        self.give_up = target.give_up
        self.upload_id = upload_id

    def kept_of(self, parts: Mapping[int, Part]) -> dict[int, Part] | None:
        """All of them, if the store still knows the upload."""
        return dict(parts) if self.is_known() else None

    def is_known(self) -> bool:
        """Whether the store still knows it."""
        try:
            self._target.asked("list_parts", UploadId=self.upload_id, MaxParts=1)
        except FileNotFoundError:
            return False
        return True

    def put(self, number: int, data: bytes | bytearray, digest: bytes) -> Part:
        """Send a part, which the store compares with its MD5."""
        tag = self._target.told(
            "ETag",
            "upload_part",
            UploadId=self.upload_id,
            PartNumber=number,
            Body=data,
            ContentMD5=base64.b64encode(digest).decode(),
        )
        return Part(len(data), digest.hex(), tag)

    def complete(self, parts: Mapping[int, Part], *, overwrite: bool) -> None:
        """Make the object of its parts, at once. Raises FileExistsError for a name that is taken.

        An answer that is lost is not taken for a failure if the object is there as it is to be.
        """
        listed = [{"PartNumber": number, "ETag": parts[number].tag} for number in sorted(parts)]
        words: dict[str, Any] = {"UploadId": self.upload_id, "MultipartUpload": {"Parts": listed}}
        if not overwrite and self._target.HEEDS_CONDITIONS:
            words["IfNoneMatch"] = "*"
        elif not overwrite and self._target.is_there():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), self._target.name)
        try:
            self._target.asked("complete_multipart_upload", **words)
        except OSError:
            if not self._is_made(parts):
                raise

    def _is_made(self, parts: Mapping[int, Part]) -> bool:
        """Whether the object is there as it is to be, by the tag that stores with MD5 give it."""
        found = self._target.look()
        return found is not None and found.get("ETag") == _tag_of_all(parts)

    def abort(self) -> None:
        """Let the store forget it; nothing if that is so."""
        with contextlib.suppress(FileNotFoundError):
            self._target.asked("abort_multipart_upload", UploadId=self.upload_id)


def _tag_of_all(parts: Mapping[int, Part]) -> str:
    """The tag of an object of parts, where tags are MD5."""
    digests = b"".join(bytes.fromhex(parts[number].digest) for number in sorted(parts))
    return f'"{hashlib.md5(digests, usedforsecurity=False).hexdigest()}-{len(parts)}"'
