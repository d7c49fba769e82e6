"""What the word for a page blob stands for, and by which right it is used. Knows the environment, no network.

A secret never leaves this file but to the library that talks to the service: messages show ``name``.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qs, quote, unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from urllib.parse import SplitResult

_WEB = ("https", "http")
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_OF_AZURE = (
    *(".blob.core.windows.net", ".blob.core.usgovcloudapi.net", ".blob.core.chinacloudapi.cn"),
    ".blob.storage.azure.net",
)
_ACCOUNT = ("AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_ACCOUNT_NAME")
_KEY = ("AZURE_STORAGE_KEY", "AZURE_STORAGE_ACCOUNT_KEY")
_SAS = ("AZURE_STORAGE_SAS_TOKEN",)
_CONNECTION = "AZURE_STORAGE_CONNECTION_STRING"
FORMS = "https://ACCOUNT.blob.core.windows.net/CONTAINER/NAME.vhd, with or without a SAS, or az://CONTAINER/NAME.vhd"


class BlobAddress(NamedTuple):
    """Where a blob is. ``url`` has no query; ``sas`` and ``key`` are secret, at most one of them is there."""

    url: str
    account: str
    container: str
    blob: str
    sas: str | None = None
    key: str | None = None
    may_ask_identity: bool = False
    """Whether it is a host of Azure, which a token of whoever is logged in may be sent to."""

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.url

    def __repr__(self) -> str:
        return f"<BlobAddress {self.url}>"

    @property
    def place(self) -> tuple[str, str, str, str]:
        """Where it is, however its address is written."""
        return urlsplit(self.url).netloc.lower(), self.account, self.container, self.blob

    @property
    def is_managed_disk(self) -> bool:
        """Whether Azure made it for an upload or download of a managed disk."""
        return (urlsplit(self.url).hostname or "").startswith("md-")

    @property
    def allows_creation(self) -> bool:
        """Whether blobs may be made, as far as can be told from here: a SAS says what it allows."""
        allowed = self._of_sas("sp")
        return not self.is_managed_disk and (self.sas is None or (allowed is not None and "c" in allowed))

    @property
    def allows_deletion(self) -> bool:
        """Whether blobs may be looked at and removed, as far as that is sure."""
        allowed = self._of_sas("sp") or ""
        return self.key is not None or {"r", "d"} <= set(allowed)

    @property
    def hides_contents(self) -> bool:
        """Whether a SAS says that it allows no reading, so that nobody can see what is there."""
        allowed = self._of_sas("sp")
        return allowed is not None and "r" not in allowed

    @property
    def ends(self) -> str | None:
        """When the SAS ends, as it says itself."""
        return self._of_sas("se")

    def _of_sas(self, field: str) -> str | None:
        return next(iter(parse_qs(self.sas or "").get(field, ())), None)


def without_secrets(place: str) -> str:
    """An address as it may be shown, whether it is one or not."""
    scheme, separator, rest = place.partition("?")[0].rpartition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}" if separator else rest


def blob_address(place: str, environment: Mapping[str, str] | None = None) -> BlobAddress:
    """What a word stands for, with the credentials of the environment where it has none of its own.

    Raises ValueError for what is no address of a blob, and where the environment does not say which account.
    """
    environment = os.environ if environment is None else environment
    scheme = place.partition("://")[0].lower()
    if scheme == "az":
        return _of_account(place, environment)
    if scheme not in _WEB:
        raise ValueError(f"{without_secrets(place)} is no page blob: say {FORMS}")
    return _of_url(place, environment)


def names_blob(place: str) -> bool:
    """Whether a URL is one of a blob service: of Azure, or of an emulator on this host."""
    scheme = place.partition("://")[0].lower()
    if scheme not in _WEB:
        return scheme == "az"
    try:
        parts = urlsplit(place)
    except ValueError:
        return False
    host = parts.hostname or ""
    if host.endswith(_OF_AZURE):
        return True
    known = _account_of(os.environ)
    return host in _LOOPBACK and ("sig" in parse_qs(parts.query) or (known is not None and known.has(place)))


def _of_account(place: str, environment: Mapping[str, str]) -> BlobAddress:
    path = place.partition("://")[2]
    container, _, blob = path.partition("/")
    if not container or not blob or "?" in place:
        raise ValueError(f"{without_secrets(place)} names no blob: say az://CONTAINER/NAME.vhd")
    account = _account_of(environment)
    if account is None:
        raise ValueError(
            f"{place}: the environment does not say whose container that is: set AZURE_STORAGE_ACCOUNT "
            f"(and AZURE_STORAGE_KEY or AZURE_STORAGE_SAS_TOKEN), or {_CONNECTION}"
        )
    url = f"{account.endpoint}/{quote(container)}/{quote(blob)}"
    return BlobAddress(
        url, account.name, container, blob, account.sas, account.key, may_ask_identity=_is_of_azure(url)
    )


def _of_url(place: str, environment: Mapping[str, str]) -> BlobAddress:
    parts = _parts_of(place)
    host, url = parts.hostname or "", f"{parts.scheme}://{parts.netloc}{parts.path}"
    account, words = host.partition(".")[0], parts.path.lstrip("/").split("/")
    if host in _LOOPBACK:  # an emulator: http://127.0.0.1:PORT/ACCOUNT/CONTAINER/NAME.vhd
        account, *words = words
    if parts.query and "sig" not in parse_qs(parts.query):
        raise ValueError(f"{url}: what stands behind the question mark is no SAS; say %3F for one in a name")
    if len(words) < 2 or not all(words):
        raise ValueError(f"{url} names no blob in a container: say {FORMS}")
    container, blob = unquote(words[0]), unquote("/".join(words[1:]))
    address = BlobAddress(url, account, container, blob, parts.query or None)
    if address.sas is not None:
        return address
    known = _account_of(environment)
    # Nobody else gets what is his: not whoever's host begins with the same word either.
    if known is not None and known.name == account and (_is_of_azure(url) or known.has(url)):
        address = address._replace(sas=known.sas, key=known.key)
    elif (known is None or address.is_managed_disk) and _is_of_azure(url):
        address = address._replace(sas=_token(_first(environment, _SAS)))
    return address._replace(may_ask_identity=_is_of_azure(url))


def _parts_of(place: str) -> SplitResult:
    """An address that may be used: nobody hears a secret on the way, and all of its name counts."""
    shown = without_secrets(place)
    try:
        parts = urlsplit(place)
    except ValueError:
        raise ValueError(f"{shown} is no address: say {FORMS}") from None
    if "@" in parts.netloc:
        raise ValueError(f"{shown}: an address with a password in front of its host is not used")
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        raise ValueError(f"{shown}: what is secret would go unencrypted: say https")
    if "#" in place:
        raise ValueError(f"{shown}: a # ends the name of a blob in an address; say %23 for one in a name")
    return parts


def _is_of_azure(url: str) -> bool:
    return url.startswith("https://") and (urlsplit(url).hostname or "").endswith(_OF_AZURE)


class _Account(NamedTuple):
    """A storage account, as the environment tells of it."""

    name: str
    endpoint: str
    sas: str | None
    key: str | None

    def has(self, url: str) -> bool:
        """Whether a blob is in it."""
        return url.startswith(f"{self.endpoint}/")


def _account_of(environment: Mapping[str, str]) -> _Account | None:
    told = environment.get(_CONNECTION)
    words = {} if told is None else dict(_pairs(told))
    name = words.get("AccountName") or _first(environment, _ACCOUNT)
    endpoint = words.get("BlobEndpoint", "").rstrip("/")
    if name is None and endpoint:
        name = (urlsplit(endpoint).hostname or "").partition(".")[0]
    if name is None:
        return None
    suffix = words.get("EndpointSuffix", "core.windows.net")
    sas = words.get("SharedAccessSignature") or _first(environment, _SAS)
    key = words.get("AccountKey") or _first(environment, _KEY)
    return _Account(
        name,
        endpoint or f"https://{name}.blob.{suffix}",
        _token(sas),
        None if sas is not None else key,
    )


def _token(sas: str | None) -> str | None:
    return None if sas is None else sas.strip().lstrip("?")


def _pairs(told: str) -> Iterator[tuple[str, str]]:
    for pair in told.strip().split(";"):
        name, equals, value = pair.partition("=")
        if equals:
            yield name, value


def _first(environment: Mapping[str, str], names: tuple[str, ...]) -> str | None:
    return next(filter(None, map(environment.get, names)), None)
