"""The verbs, by what people want with them. Imports nothing: a shell asks for them at each press of a key."""

from __future__ import annotations

GROUPS = {
    "Look": (
        *("info", "wsl", "tree", "fleet", "report", "check", "map", "diff", "compare", "hash", "measure"),
        *("log", "dump"),
    ),
    "Make": ("create", "convert", "upload", "download"),
    "Change": (
        *(
            "write",
            "zero",
            "trim",
            "resize",
            "compact",
            "merge",
            "apply",
            "rebase",
            "repair",
            "set",
            "metadata",
        ),
    ),
    "Get at a guest's files": ("ls", "cat", "cp", "tar", "find", "du"),
    "Use": ("read", "serve", "mount", "unmount", "completion", "help"),
}
"""What people want, and the verbs for it in the order in which they are listed."""
VERBS = tuple(sorted(verb for verbs in GROUPS.values() for verb in verbs))
"""Each verb is the command of its name in the module ``vhdx.cli.cmd_VERB``, imported when it is used."""
