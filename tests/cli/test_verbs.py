"""What holds for every verb, whichever there are: its help, its options, and that it is documented."""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from vhdx.cli.groups import GROUPS, VERBS
from vhdx.cli.verbs import main

from .running import USAGE, run, succeed


def commands(command: click.Command = main, *names: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every verb, and the verbs of verbs, with the words that call it."""
    if names:
        yield names, command
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            inner = command.get_command(click.Context(command), name)
            assert inner is not None
            yield from commands(inner, *names, name)


COMMANDS = [pytest.param(names, command, id=" ".join(names)) for names, command in commands()]
SHARED = {
    "json": "as_json",
    "any-parent": "any_parent",
    "parent-dir": "parent_dirs",
    "partition": "partition",
}


def test_the_verbs_stand_in_order() -> None:
    assert list(VERBS) == sorted(VERBS)


@pytest.mark.parametrize(("names", "command"), COMMANDS)
def test_help(names: tuple[str, ...], command: click.Command) -> None:
    text = succeed(*names, "-h")
    assert text.startswith(f"Usage: vhdx {' '.join(names)} ")
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize(("names", "command"), COMMANDS)
def test_the_first_line_says_what_it_is_for(names: tuple[str, ...], command: click.Command) -> None:
    first = inspect.cleandoc(command.help or "").splitlines()[0]
    assert first.endswith("."), first
    assert first[0].isupper()
    assert len(first) <= 80


def test_the_list_of_verbs_says_what_each_is_for() -> None:
    """In the groups of the README, and nothing is cut off."""
    listed = succeed("-h").partition("Show this message and exit.\n\n")[2]
    groups = {
        title: tuple(line.split()[0] for line in lines)
        for title, *lines in (group.splitlines() for group in listed.strip().split("\n\n"))
    }
    assert groups == {f"{title}:": verbs for title, verbs in GROUPS.items()}
    lines = [line for line in listed.splitlines() if line.startswith(" ")]
    assert not [line for line in lines if not line.endswith(".") or line.endswith("...")], "cut"


def test_the_readme_has_the_same_groups() -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    table = re.findall(r"^\| ([a-z' ]+) \| (`.*`) \|$", readme.partition("## The verbs")[2], re.MULTILINE)
    assert {title.capitalize(): tuple(re.findall(r"`(\w+)`", verbs)) for title, verbs in table} == GROUPS


@pytest.mark.parametrize("names", [("info",), ("metadata", "set"), ("help",)], ids=" ".join)
def test_help_of_a_verb_is_its_h(names: tuple[str, ...]) -> None:
    assert succeed("help", *names) == succeed(*names, "-h")


def test_help_of_what_is_no_verb() -> None:
    assert succeed("help") == succeed("-h")
    for words, said in ((("inof",), "did you mean vhdx info?"), (("info", "x"), "vhdx info has no verbs")):
        done = run("help", *words)
        assert done.code == USAGE
        assert said in done.err


@pytest.mark.parametrize(("names", "command"), COMMANDS)
def test_every_option_is_explained(names: tuple[str, ...], command: click.Command) -> None:
    for param in command.params:
        if isinstance(param, click.Option):
            assert param.help, param.opts
            assert param.help[-1] in ".;)" or " " not in param.help, param.help


@pytest.mark.parametrize(("names", "command"), COMMANDS)
def test_every_argument_stands_in_the_text(names: tuple[str, ...], command: click.Command) -> None:
    """A reader who sees IMAGE in the usage finds what that is."""
    for param in command.params:
        if isinstance(param, click.Argument):
            word = re.sub(
                r"\W", "", (param.metavar or param.name or "").upper().split("|")[0].split(":PATH")[0]
            )
            assert word in (command.help or "").upper(), word


@pytest.mark.parametrize(("names", "command"), COMMANDS)
def test_what_is_shared_is_the_same_everywhere(names: tuple[str, ...], command: click.Command) -> None:
    """An option of one name means one thing, and images are opened alike."""
    by_option = {option: param for param in command.params for option in param.opts}
    for option, name in SHARED.items():
        if f"--{option}" in by_option:
            assert by_option[f"--{option}"].name == name
    assert ("--parent-dir" in by_option) == ("--any-parent" in by_option)
