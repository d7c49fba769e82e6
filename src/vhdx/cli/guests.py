"""The options that the verbs about files of guests share."""

from __future__ import annotations

import click

from vhdx.cli.options import chain_options, force_share_option, together

guest_options = together(
    click.option(
        "--partition",
        type=click.IntRange(min=1),
        metavar="N",
        help="The partition of this number, where several have the path.",
    ),
    click.option("--volume", metavar="NAME", help="The volume of this label, UUID or name (group/volume)."),
    chain_options,
    force_share_option,
)
