"""Command lines that need no parser: a verb, flags, and names of images, a place in one, or two files.

What click would make of them is known without it, and it takes longer to import than such a verb takes to
run. Everything else, mistakes and shortened flags included, is left to it, so that there is one way of
reading a command line; a test compares the two.
"""

from __future__ import annotations

import os
from functools import partial
from importlib import import_module

from vhdx.typed import TYPE_CHECKING
from vhdx.units import MIB

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
    "convert": {
        **dict.fromkeys(
            ("source_format", "target_format", "partition", "volumes", "resume", "state", "carve")
        ),
        **dict.fromkeys(("virtual_size", "source_type", "disk_type", "block_size", "disk_id")),
        **dict.fromkeys(("logical_sector_size", "physical_sector_size")),
        **dict.fromkeys(("zero_blocks", "scan_zeros", "verify", "salvage"), False),
        "ignore_bitmaps": False,
        "log_size": MIB,
        "clone": "auto",
    },
}
"""What else may be said, and is not here."""
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
    "convert": {
        **_PARENTS,
        **_VERBOSE,
        "--json": "as_json",
        "--force": "force",
        "--no-sync": "no_sync",
    },
}
"""The flags of each verb, as its parameters are called."""
NAMES = {"cat": ("place",), "ls": ("place",), "convert": ("source", "target")}
"""What the names are called where there are so many and no more."""


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
    names = NAMES.get(verb)
    if names is not None and len(names) != len(images):
        return None
    named = {"images": tuple(images)} if names is None else dict(zip(names, images, strict=True))
    known = {name for word, name in flags.items() if word not in _VERBOSE}
    given = {flags[word] for word in words if word in flags}
    return {**named, "parent_dirs": (), **{name: name in given for name in known}, **_UNSAID[verb]}


def _call(verb: str, options: dict[str, Any], *, verbose: bool) -> Any:
    from vhdx.cli.render import be_verbose  # noqa: PLC0415  `vhdx --version` needs nothing
    from vhdx.disk.places import ParentPolicy  # noqa: PLC0415

    be_verbose(verbose)
    parents = ParentPolicy(directories=options.pop("parent_dirs"), any_parent=options.pop("any_parent"))
    try:
        return import_module(f"vhdx.cli.show_{verb}").show(parents=parents, **options)
    finally:
        if "target" in options:
            from vhdx.cli.tracked import warn_if_tracked  # noqa: PLC0415  who only looks changes nothing

            warn_if_tracked(options["target"])


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
