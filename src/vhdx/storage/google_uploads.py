"""An upload to Google Cloud Storage in parts: requests as of S3, with a token of Google.

The token is of whoever google-auth finds; it goes to Google's own host alone. ``STORAGE_EMULATOR_HOST``
names a store of tests, as for Google's own libraries, which gets none.
"""

from __future__ import annotations

import errno
import os
import threading
from typing import TYPE_CHECKING, Any

from vhdx.errors import missing_extra
from vhdx.storage.s3_uploads import CLIENT_SETTINGS, S3Target, S3Upload

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vhdx.storage.multipart import Part

ENDPOINT = "https://storage.googleapis.com"
_NOBODY = "Google does not know who asks any more; try: gcloud auth application-default login"
_SCOPE = "https://www.googleapis.com/auth/devstorage.read_write"


class GoogleTarget(S3Target):
    """An object of Google Cloud Storage that is to be written."""

    HEEDS_CONDITIONS = False

    def _made_client(self) -> Any:
        try:
            from botocore import UNSIGNED  # noqa: PLC0415  an extra
            from botocore.config import Config  # noqa: PLC0415  an extra
            from botocore.session import get_session  # noqa: PLC0415  an extra
        except ImportError:
            raise missing_extra("cloud") from None
        emulator = os.environ.get("STORAGE_EMULATOR_HOST")
        settings = Config(signature_version=UNSIGNED, s3={"addressing_style": "path"}, **CLIENT_SETTINGS)
        client = get_session().create_client(
            "s3", region_name="auto", endpoint_url=_with_scheme(emulator or ENDPOINT), config=settings
        )
        if not emulator:
            client.meta.events.register("before-send.s3", _Token().add)
        return client

    def upload(self, upload_id: str) -> GoogleUpload:
        """One that was begun."""
        return GoogleUpload(self, upload_id)


class GoogleUpload(S3Upload):
    """An upload that is under way."""

    _before: tuple[object, ...] | None = None
    """The object that was there before its end."""

    def complete(self, parts: Mapping[int, Part], *, overwrite: bool) -> None:
        """As of S3."""
        self._before = _version(self._target.look()) if overwrite else None
        super().complete(parts, overwrite=overwrite)

    def _is_made(self, parts: Mapping[int, Part]) -> bool:
        """Whether the upload has become an object of its length: tags do not tell what is in it there."""
        found = self._target.look()
        if found is None or _version(found) == self._before:
            return False
        return (
            found.get("ContentLength") == sum(part.length for part in parts.values()) and not self.is_known()
        )


def _version(found: dict[str, Any] | None) -> tuple[object, ...] | None:
    """What another object of the name has another one of."""
    if found is None:
        return None
    generation = found["ResponseMetadata"]["HTTPHeaders"].get("x-goog-generation")
    return generation, found.get("ETag"), found.get("LastModified")


class _Token:
    """What says who asks, asked for anew before it ends."""

    def __init__(self) -> None:
        try:
            from google.auth import default  # noqa: PLC0415  an extra
        except ImportError:
            raise missing_extra("cloud") from None
        found, _ = default(scopes=[_SCOPE])
        self._credentials: Any = found
        self._refreshing = threading.Lock()

    def add(self, request: Any, **_words: object) -> None:
        """Put it into a request. Raises PermissionError where there is none to be had."""
        from google.auth.exceptions import RefreshError  # noqa: PLC0415  an extra, which is there
        from google.auth.transport.requests import Request  # noqa: PLC0415

        with self._refreshing:
            if not self._credentials.valid:
                try:
                    self._credentials.refresh(Request())
                except RefreshError:
                    raise PermissionError(errno.EACCES, _NOBODY) from None
        request.headers["Authorization"] = f"Bearer {self._credentials.token}"


def _with_scheme(place: str) -> str:
    return place if "://" in place else f"http://{place}"
