"""The command's front transaction: verbs, exit codes, and the one place where exceptions become sentences."""

from __future__ import annotations

import importlib
import io
import os
import signal
import sys
from typing import TYPE_CHECKING, Any, NoReturn

import click

from vhdx.cli.interrupted import InterruptedChangeError
from vhdx.errors import VhdxError
from vhdx.text import printable
from vhdx.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

EXIT_FAILURE = 1
EXIT_USAGE = 64
EXIT_INTERRUPTED = 130
_FAILURE_OF = {"compare": 2}
"""Verbs that say something else with 1."""
_REPLACING = frozenset({"convert", "create"})
"""Verbs whose --force replaces a file that exists."""

VERBS = (
    "cat",
    "check",
    "compact",
    "compare",
    "completion",
    "convert",
    "cp",
    "create",
    "diff",
    "du",
    "dump",
    "find",
    "info",
    "log",
    "ls",
    "map",
    "measure",
    "merge",
    "metadata",
    "mount",
    "read",
    "rebase",
    "repair",
    "resize",
    "serve",
    "set",
    "tar",
    "trim",
    "unmount",
    "write",
    "zero",
)
"""Each verb is the command of its name in the module ``vhdx.cli.cmd_VERB``, imported when it is used."""


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

    Sizes are bytes or words such as 512M, 10G, 10GiB or 1.5T; all of them are powers of 1024.

    Exit codes: 0 success, 1 failure, 64 wrong usage, 130 interrupted.
    """
    if os.environ.get("NO_COLOR"):
        ctx.color = False


def run() -> NoReturn:
    """Run the command line of this process and exit."""
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:  # as nohup leaves it
            signal.signal(number, _exit_on_signal)  # so that what is half written is cleaned up
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, _interrupt_once)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # file names need not be text
            stream.reconfigure(errors="backslashreplace")
    code = exit_code_of(sys.argv[1:])
    if signal.getsignal(signal.SIGINT) is _interrupt_once:  # all is done: how Python ends needs no words
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(code)


def exit_code_of(arguments: list[str]) -> int:
    """Run one command line; its exit code."""
    verb = next(iter(arguments), "")
    failure = _FAILURE_OF.get(verb, EXIT_FAILURE)
    try:
        return _result_of(arguments, failure)
    except click.UsageError as error:
        error.show(sys.stderr)
        return EXIT_USAGE
    except FileExistsError as error:
        hint = "; --force replaces it" if verb in _REPLACING else ""
        return _complain(f"{error.filename} exists already{hint}", failure)
    except (VhdxError, OSError) as error:
        return _complain(_sentence(error), failure)
    except ValueError as error:
        return _complain(str(error), EXIT_USAGE)
    except InterruptedChangeError as error:
        click.echo(err=True)  # below the ^C that the terminal shows, as click does for other interrupts
        return _complain(str(error), EXIT_INTERRUPTED)
    except (KeyboardInterrupt, click.Abort):
        return _complain("interrupted; nothing was changed", EXIT_INTERRUPTED)


def _result_of(arguments: list[str], failure: int) -> int:
    """What a verb returns, or ``failure`` if whoever read our output has seen enough."""
    try:
        result: Any = main.main(arguments, prog_name="vhdx", standalone_mode=False)
        if sys.stdout is not None:  # closed by whoever called us
            sys.stdout.flush()
    except BrokenPipeError:  # Python would complain once more at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return failure
    except SystemExit as error:  # of a signal, or of click for the same broken pipe
        if error.code != EXIT_FAILURE:
            raise
        return failure
    return result if isinstance(result, int) else 0


def _complain(sentence: str, code: int) -> int:
    lines = [printable(line) for line in f"vhdx: {sentence}".split("\n")]
    click.echo("\n".join(lines), err=True)
    return code


def _sentence(error: VhdxError | OSError) -> str:
    if isinstance(error, OSError) and error.strerror:
        names = [os.fsdecode(name) for name in _file_names(error)]
        return ": ".join([*names, error.strerror])
    return str(error)


def _file_names(error: OSError) -> Iterator[str | bytes]:
    for name in (error.filename, error.filename2):
        if isinstance(name, str | bytes):
            yield name


def _interrupt_once(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001  the signature of a handler
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # impatience must not break off what cleans up
    raise KeyboardInterrupt


def _exit_on_signal(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001  the signature of a handler
    sys.exit(128 + number)
