"""``vhdx help``."""

from __future__ import annotations

import click


@click.command("help")
@click.argument("verb", nargs=-1)
@click.pass_context
def help(ctx: click.Context, verb: tuple[str, ...]) -> None:  # noqa: A001  the verb's name
    """Explain VERB, or list all verbs.

    The same as `vhdx VERB -h`, and as `vhdx -h`.
    """
    context = ctx.find_root()
    for word in verb:
        group = context.command
        if not isinstance(group, click.Group):
            raise click.UsageError(f"{context.command_path} has no verbs of its own")
        _, command, _ = group.resolve_command(context, [word])
        assert command is not None
        context = click.Context(command, info_name=word, parent=context)
    click.echo(context.get_help())
