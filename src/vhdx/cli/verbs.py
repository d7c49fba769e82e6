"""The verbs as click sees them: words become calls, wrong words become sentences."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import click

from vhdx.cli import json_errors
from vhdx.cli.exit_codes import EXIT_USAGE
from vhdx.cli.groups import GROUPS, VERBS
from vhdx.cli.render import shows_colours
from vhdx.text import printable
from vhdx.version import __version__


class Verbs(click.Group):
    """A group that imports a verb only when it is called for: `vhdx info` should start quickly."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The verb that is meant; a word that is none is answered with the verbs that look like it."""
        word = args[0]
        if word in VERBS or word.startswith("-"):
            return super().resolve_command(ctx, args)
        from difflib import get_close_matches  # noqa: PLC0415  nobody else waits for it

        close = " or ".join(f"vhdx {verb}" for verb in get_close_matches(word, VERBS))
        hint = f"did you mean {close}?" if close else "vhdx -h lists them"
        raise click.UsageError(f"there is no verb '{printable(word)}'; {hint}", ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's signature
        return list(VERBS)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The verbs under what they are for."""
        width = max(map(len, VERBS))
        for title, verbs in GROUPS.items():
            with formatter.section(title):
                formatter.write_dl([(f"{verb:<{width}}", self._short_help(ctx, verb)) for verb in verbs])

    def _short_help(self, ctx: click.Context, verb: str) -> str:
        command = self.get_command(ctx, verb)
        assert command is not None
        return command.get_short_help_str(limit=80)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in VERBS:
            return None
        command = getattr(importlib.import_module(f"vhdx.cli.cmd_{cmd_name}"), cmd_name)
        assert isinstance(command, click.Command)
        return command


@click.command(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "--version", prog_name="vhdx", message="%(prog)s %(version)s")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Look into, create, convert and change VHDX virtual disks (Hyper-V, Azure, WSL).

    Sizes are bytes or words such as 512M, 10G, 10GiB or 1.5T, which are powers of 1024; words such as 10GB
    are powers of 1000.

    Exit codes: 0 success, 1 failure, 64 wrong usage, 130 interrupted.
    """
    if not shows_colours():
        ctx.color = False


def called(arguments: list[str]) -> Any:
    """Call what a command line means; what the verb returns, or the exit code for wrong usage."""
    try:
        return main.main(arguments, prog_name="vhdx", standalone_mode=False)
    except click.UsageError as error:
        if json_errors.wanted(arguments):
            json_errors.print_usage(error.format_message(), EXIT_USAGE)
        error.show(sys.stderr)
        return EXIT_USAGE
    except click.Abort:
        raise KeyboardInterrupt from None
