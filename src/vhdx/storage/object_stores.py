"""Which object store an address names, how it is reached, and its failures as the errors of this library.

Credentials come from where the tools of each cloud look for them: of S3 from botocore (environment, profiles,
single sign-on, roles), of the others from the environment and files that obstore knows. None is ever part of
a message.
"""

from __future__ import annotations

import errno
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from vhdx.errors import ImageFailedError, missing_extra
from vhdx.storage.aws import Access
from vhdx.storage.azure_settings import azure_settings
from vhdx.storage.blob_address import without_secrets

if TYPE_CHECKING:
    from obstore.store import AzureStore, ClientConfig, GCSStore, RetryConfig, S3Config, S3Credential, S3Store

    Store = S3Store | GCSStore | AzureStore

RETRY: RetryConfig = {
    "max_retries": 8,
    "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=10), "base": 2},
    "retry_timeout": timedelta(seconds=90),
}
"""How often a request is sent again that got 429, 5xx, or no whole answer."""
_REFUSED = frozenset({"401", "403"})
_CREDENTIALS_FAILED = re.compile(
    "Expired|InvalidAccessKey|InvalidToken|TokenRefresh|Signature|AuthenticationFail"
)
_CAUSE = re.compile("connection refused|dns error|timed out|connection reset|certificate", re.IGNORECASE)
_HOW_TO_LOG_IN = {
    "s3": "credentials come from where the AWS tools look: AWS_PROFILE, AWS_ACCESS_KEY_ID, aws configure",
    "gs": "credentials come from GOOGLE_APPLICATION_CREDENTIALS, or gcloud auth application-default login",
    "az": "credentials come from AZURE_STORAGE_ACCOUNT with AZURE_STORAGE_KEY or AZURE_STORAGE_SAS_TOKEN, or "
    "from AZURE_STORAGE_CONNECTION_STRING",
}
_SIGNED = re.compile(r"\?(.*&)?(sig|x-amz-signature|x-goog-signature)=", re.IGNORECASE)
_KEPT_FOR = timedelta(minutes=5)


class ObjectAddress(NamedTuple):
    """An object by its store, its bucket or container, and its key."""

    scheme: str
    bucket: str
    key: str

    @property
    def url(self) -> str:
        """As it is written."""
        return f"{self.scheme}://{self.bucket}/{self.key}"


def address_from(url: str) -> ObjectAddress:
    """The object that a URL names. Raises ValueError for one that no request could name without doubt."""
    scheme, _, rest = url.partition("://")
    bucket, _, key = rest.partition("/")
    if "@" in bucket or not bucket:
        raise ValueError(f"an object is named {scheme}://BUCKET/KEY, and credentials are no part of that")
    if _SIGNED.search(key):
        raise ValueError(f"{without_secrets(url)}: a signature is no part of a key: say it with https://")
    if not key or any(part in ("", ".", "..") for part in key.split("/")):
        raise ValueError(f"{url}: the key of an object has no empty parts and none that are dots")
    return ObjectAddress(scheme.lower(), bucket, key)


def store_of(address: ObjectAddress) -> Store:
    """The store of an object. Raises OSError where it cannot be told which that is."""
    try:
        from obstore import store  # noqa: PLC0415  an extra that only object stores need
    except ImportError:
        raise missing_extra("cloud") from None
    try:
        if address.scheme == "s3":
            return _s3_store(address)
        if address.scheme == "gs":
            return store.GCSStore(address.bucket, retry_config=RETRY)
        settings = azure_settings()
        options: ClientConfig = {"allow_http": settings.get("endpoint", "").startswith("http://")}
        return store.AzureStore(address.bucket, config=settings, retry_config=RETRY, client_options=options)
    except OSError:
        raise
    except Exception as error:  # noqa: BLE001  what settings can be wrong in has no end
        raise unset(error, address) from None


def _s3_store(address: ObjectAddress) -> S3Store:
    from obstore.store import S3Store  # noqa: PLC0415  as above

    access = Access.of_environment()
    config: S3Config = {"region": access.region, "skip_signature": access.credentials is None}
    if access.endpoint is not None:
        config["endpoint"] = access.endpoint
    return S3Store(
        address.bucket,
        config=config,
        retry_config=RETRY,
        client_options={"allow_http": (access.endpoint or "").startswith("http://")},
        credential_provider=None if access.credentials is None else _Provider(access.credentials),
    )


class _Provider:
    """botocore's credentials for obstore, asked for anew before they can have expired."""

    def __init__(self, credentials: Any) -> None:
        self._credentials = credentials

    def __call__(self) -> S3Credential:
        frozen = self._credentials.get_frozen_credentials()
        return {
            "access_key_id": frozen.access_key,
            "secret_access_key": frozen.secret_key,
            "token": frozen.token,
            "expires_at": datetime.now(UTC) + _KEPT_FOR,
        }


def unset(error: Exception, address: ObjectAddress) -> OSError:
    """The error for a store whose settings cannot be, in its library's first line."""
    line = str(error).partition("\n")[0].rstrip(".")
    return PermissionError(errno.EACCES, f"{line}; {_HOW_TO_LOG_IN[address.scheme]}", address.url)


def changed(url: str) -> ImageFailedError:
    """The error for an object that is another one than was opened."""
    return ImageFailedError(
        "the object was replaced or removed while it was read: what was read belongs to the old one; "
        "open it again",
        image=url,
    )


def failure(error: Exception, address: ObjectAddress) -> OSError:
    """What a store said, without anything of it that could be secret: no address, no body, no signature."""
    text = str(error)
    status = re.search(r"status code: (\d{3})\b", text)
    code = re.search(r"<Code>(\w{1,64})</Code>", text)
    if "Received redirect without LOCATION" in text:
        return refusal("301", None, address, type(error).__name__)
    cause = _CAUSE.search(text)
    return refusal(
        status and status[1], code and code[1], address, cause[0] if cause else type(error).__name__
    )


def refusal(status: str | None, code: str | None, address: ObjectAddress, kind: str) -> OSError:
    """The error for an answer of a server: by its status, the code in its body, the kind of exception."""
    told = " ".join(filter(None, (status, code))) or kind
    if status == "404" or (status is None and kind == "FileNotFoundError"):
        return FileNotFoundError(
            errno.ENOENT, _MISSING.get(code or "", "there is no such object"), address.url
        )
    if status == "412":
        return FileExistsError(errno.EEXIST, "exists already", address.url)
    if status in _REFUSED or (code is not None and _CREDENTIALS_FAILED.match(code)):
        words = f"the store refuses it ({told}); {_HOW_TO_LOG_IN[address.scheme]}"
        return PermissionError(errno.EACCES, words, address.url)
    return OSError(errno.ECONNABORTED, _words_for(status or "").format(told), address.url)


_MISSING = {
    "NoSuchBucket": "there is no such bucket",
    "NoSuchUpload": "the store does not know the upload any more: it was completed, aborted, or has expired",
}


def _words_for(status: str) -> str:
    if not status:
        return "the store did not answer, also when it was asked again ({})"
    if status.startswith("3"):
        return "the bucket is in another region ({}): say which by AWS_REGION"
    if status.startswith("5") or status == "429":
        return "the store failed, also when it was asked again ({})"
    return "the store refuses it ({})"
