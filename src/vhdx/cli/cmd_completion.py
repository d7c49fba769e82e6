"""``vhdx completion``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from click.shell_completion import ShellComplete


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish", "powershell"]))
def completion(shell: str) -> None:
    """Print a script by which SHELL completes vhdx commands.

    \b
    bash: eval "$(vhdx completion bash)"          in ~/.bashrc
    zsh:  eval "$(vhdx completion zsh)"           in ~/.zshrc, behind compinit
    fish: vhdx completion fish > ~/.config/fish/completions/vhdx.fish
    powershell: in $PROFILE:
    vhdx completion powershell | Out-String | Invoke-Expression
    """  # noqa: D301  click's mark for lines that stay as they are
    click.echo(_completer(shell).source())


def _completer(shell: str) -> ShellComplete:
    from click.shell_completion import get_completion_class  # noqa: PLC0415  no other verb needs it

    from vhdx.cli.verbs import main  # noqa: PLC0415  which imports this

    if shell == "powershell":
        from vhdx.cli import powershell  # noqa: F401, PLC0415  click learns of it by this
    kind = get_completion_class(shell)
    assert kind is not None, "click has it"
    return kind(main, {}, "vhdx", "_VHDX_COMPLETE")
