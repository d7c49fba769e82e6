"""Command lines that need no parser: a verb that only looks, flags, and names of images or a place in one.

What click would make of them is known without it, and it takes longer to import than such a verb takes to
run. Everything else, mistakes and shortened flags included, is left to it, so that there is one way of
reading a command line; a test compares the two.
"""

from __future__ import annotations

import os
from functools import partial
from importlib import import_module

from vhdx.typed import TYPE_CHECKING

if TYPE_CHECKING:
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
    "cat": {"partition": None, "volume": None},
    "ls": {"partition": None, "volume": None},
}
"""What may be told of an image, and is not here."""
_VERBOSE = {"-v": "verbose", "--verbose": "verbose"}
_PARENTS = {"--any-parent": "any_parent", "--force-share": "force_share"}
FLAGS = {
    "check": {**_LOOKING, **_VERBOSE},
    "info": {**_LOOKING, **_VERBOSE, "--blocks": "blocks"},
    "cat": _PARENTS,
    "ls": {
        **_PARENTS,
        "--json": "as_json",
        "-l": "long",
        "-R": "recursive",
        "--recursive": "recursive",
    },
}
"""The flags of each verb, as its parameters are called."""
OF_ONE_PLACE = frozenset({"cat", "ls"})


def call_of(arguments: list[str]) -> partial[Any] | None:
    """What a command line calls; None where only click can tell."""
    if "_VHDX_COMPLETE" in os.environ:
        return _completion()
    if os.name == "nt" and any("%" in word for word in arguments):  # names may have variables in them there
        return None
    if arguments == ["--version"]:
        return partial(_print_version)
    verb, *words = arguments or [""]
    options = _options(verb, words)
    verbose = any(word in _VERBOSE for word in words)
    return None if options is None else partial(_call, verb, options, verbose=verbose)


def _completion() -> partial[Any] | None:
    """What tells Bash the verbs that begin as the first word does, in click's form."""
    asked, words = os.environ["_VHDX_COMPLETE"], os.environ.get("COMP_WORDS", "").split()
    if asked != "bash_complete" or os.environ.get("COMP_CWORD") != "1" or len(words) > 2:
        return None
    word = "".join(words[1:])
    return partial(_print_verbs, word) if word.isalpha() or not word else None


def _options(verb: str, words: list[str]) -> dict[str, Any] | None:
    """The parameters that flags and images are; None for anything else."""
    flags = FLAGS.get(verb, {})
    images = [word for word in words if word not in flags]
    if not flags or not images or not all(images) or any(image.startswith(_PARSED) for image in images):
        return None
    if verb in OF_ONE_PLACE and len(images) > 1:
        return None
    named = {"place": images[0]} if verb in OF_ONE_PLACE else {"images": tuple(images)}
    known = {name for word, name in flags.items() if word not in _VERBOSE}
    given = {flags[word] for word in words if word in flags}
    return {**named, "parent_dirs": (), **{name: name in given for name in known}, **_UNSAID[verb]}


def _call(verb: str, options: dict[str, Any], *, verbose: bool) -> Any:
    from vhdx.cli.render import be_verbose  # noqa: PLC0415  `vhdx --version` needs nothing

    be_verbose(verbose)
    return import_module(f"vhdx.cli.show_{verb}").show(**options)


def _print_verbs(beginning: str) -> None:
    from vhdx.cli.groups import VERBS  # noqa: PLC0415
    from vhdx.cli.render import echo  # noqa: PLC0415

    for verb in VERBS:
        if verb.startswith(beginning):
            echo(f"plain,{verb}")


def _print_version() -> None:
    from vhdx.cli.render import echo  # noqa: PLC0415
    from vhdx.version import __version__  # noqa: PLC0415

    echo(f"vhdx {__version__}")
