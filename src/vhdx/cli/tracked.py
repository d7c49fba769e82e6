"""What is said of an image that was changed while Windows tracks its changes."""

from __future__ import annotations

from vhdx.cli.render import echo


def warn_if_tracked(image: str) -> None:
    """Say on standard error if Windows tracks the changes of an image that is or was to be changed."""
    from vhdx.ops.tracking import unseen  # noqa: PLC0415  only whoever changed something

    sentence = unseen(image)
    if sentence is not None:
        from vhdx.text import printable  # noqa: PLC0415

        echo(printable(f"vhdx: {image}: {sentence}"), err=True)
