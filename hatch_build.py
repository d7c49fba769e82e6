"""What a wheel carries beside the package: the man page that `make dist` built a moment before.

Only where the environment names it: a page that lies around from another day is not taken.
"""

import os
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ManPage(BuildHookInterface):  # type: ignore[type-arg]  # it has no configuration of its own
    """Puts the page where `man` looks for it beside the command."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002  hatchling's signature
        """Add the file to the build."""
        page = os.environ.get("VHDX_MAN_PAGE")
        if page:
            build_data["shared_data"][page] = "share/man/man1/vhdx.1"
