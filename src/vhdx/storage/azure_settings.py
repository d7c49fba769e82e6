"""How Azure's blob service is reached: what the variables of its own command line say."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Mapping

    from obstore.store import AzureConfig

_VARIABLES: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("account_name", "AccountName", ("AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_ACCOUNT_NAME")),
    ("account_key", "AccountKey", ("AZURE_STORAGE_KEY", "AZURE_STORAGE_ACCOUNT_KEY")),
    ("sas_key", "SharedAccessSignature", ("AZURE_STORAGE_SAS_TOKEN",)),
    ("endpoint", "BlobEndpoint", ("AZURE_ENDPOINT",)),
)
"""What obstore calls it, its word in a connection string, the variables that say it, too."""


def azure_settings(environment: Mapping[str, str] = os.environ) -> AzureConfig:
    """Account, rights and endpoint, as far as they are said; obstore looks for all else.

    A connection string goes first, as with Azure's own programs.
    """
    pairs = (
        word.partition("=") for word in environment.get("AZURE_STORAGE_CONNECTION_STRING", "").split(";")
    )
    said = {name: value for name, _, value in pairs}
    found: dict[str, str] = {}
    for name, word, variables in _VARIABLES:
        values = (said.get(word), *(environment.get(variable) for variable in variables))
        value = next(filter(None, values), None)
        if value is not None:
            found[name] = value.lstrip("?")  # as portals show rights
    return cast("AzureConfig", found)
