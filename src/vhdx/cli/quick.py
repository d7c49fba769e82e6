"""Command lines that need no parser: a verb that only looks, flags, and names of images.

What click would make of them is known without it, and it takes longer to import than such a verb takes to
run. Everything else, mistakes and shortened flags included, is left to it, so that there is one way of
reading a command line; a test compares the two.
"""

from __future__ import annotations

import os
from functools import partial
from typing import Any

_LOOKING = {
    "--chain": "chain",
    "--any-parent": "any_parent",
    "--force-share": "force_share",
    "--json": "as_json",
}
_PARSED = ("-", "wsl:", "docker:")
"""What begins a word that is no name of an image."""
_UNSAID = {
    "check": dict.fromkeys(("virtual_size", "block_size", "logical_sector_size", "disk_type")),
    "info": {"image_format": None},
}
"""What may be told of an image, and is not here."""
_VERBOSE = {"-v": "verbose", "--verbose": "verbose"}
FLAGS = {"check": {**_LOOKING, **_VERBOSE}, "info": {**_LOOKING, **_VERBOSE, "--blocks": "blocks"}}
"""The flags of each verb, as its parameters are called."""


def call_of(arguments: list[str]) -> partial[Any] | None:
    """What a command line calls; None where only click can tell."""
    if os.name == "nt" or "_VHDX_COMPLETE" in os.environ:  # names may have variables in them there
        return None
    if arguments == ["--version"]:
        return partial(_print_version)
    verb, *words = arguments or [""]
    options = _options(verb, words)
    verbose = any(word in _VERBOSE for word in words)
    return None if options is None else partial(_call, verb, options, verbose=verbose)


def _options(verb: str, words: list[str]) -> dict[str, Any] | None:
    """The parameters that flags and images are; None for anything else."""
    flags = FLAGS.get(verb, {})
    images = [word for word in words if word not in flags]
    if not flags or not images or not all(images) or any(image.startswith(_PARSED) for image in images):
        return None
    given = {name: word in words for word, name in flags.items() if word not in _VERBOSE}
    return {"images": tuple(images), "parent_dirs": (), **given, **_UNSAID[verb]}


def _call(verb: str, options: dict[str, Any], *, verbose: bool) -> Any:
    from vhdx.cli.render import be_verbose  # noqa: PLC0415  `vhdx --version` needs nothing

    be_verbose(verbose)
    if verb == "info":
        from vhdx.cli.show_info import show as show_info  # noqa: PLC0415  whichever is called

        return show_info(**options)
    from vhdx.cli.show_check import show as show_check  # noqa: PLC0415

    return show_check(**options)


def _print_version() -> None:
    from vhdx.cli.render import echo  # noqa: PLC0415
    from vhdx.version import __version__  # noqa: PLC0415

    echo(f"vhdx {__version__}")
