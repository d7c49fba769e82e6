"""How S3 is reached, by botocore: its environment variables, its files, its clients."""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from vhdx.errors import missing_extra

if TYPE_CHECKING:
    from typing import Self


@cache
def _descriptions() -> Any:
    """What botocore knows of services: large, and the same for all sessions."""
    from botocore.loaders import create_loader  # noqa: PLC0415  an extra, which is there

    return create_loader()


class Access(NamedTuple):
    """What the environment and its files say of how to reach S3."""

    session: Any
    region: str
    endpoint: str | None
    """Where requests go that do not go to Amazon."""
    credentials: Any
    """botocore's, which it refreshes; None for anonymous requests."""

    @classmethod
    def of_environment(cls) -> Self:
        """As botocore reads them. Raises OSError, and what it raises where they say what cannot be."""
        try:
            from botocore.configprovider import ConfiguredEndpointProvider  # noqa: PLC0415  an extra
            from botocore.session import get_session  # noqa: PLC0415
        except ImportError:
            raise missing_extra("cloud") from None
        session = get_session()
        session.register_component("data_loader", _descriptions())
        credentials = session.get_credentials()
        if credentials is not None:
            credentials.get_frozen_credentials()  # what has expired says so itself, and what to do
        region = session.get_config_variable("region") or "us-east-1"
        endpoint = ConfiguredEndpointProvider(
            session.full_config, session.get_scoped_config(), "s3", os.environ
        )
        ignored = session.get_config_variable("ignore_configured_endpoint_urls")
        return cls(session, region, None if ignored else endpoint.provide(), credentials)

    def client(self, **settings: Any) -> Any:
        """A client of botocore, which takes longer to make than everything else here.

        ``settings`` are those of its Config.
        """
        from botocore import UNSIGNED  # noqa: PLC0415  as above
        from botocore.config import Config  # noqa: PLC0415

        if self.credentials is None:
            settings["signature_version"] = UNSIGNED
        return self.session.create_client("s3", region_name=self.region, config=Config(**settings))
