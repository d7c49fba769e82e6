"""`vhdx completion SHELL`: the shell itself completes with what is printed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.tools import needs
from vhdx.cli.groups import VERBS

from .running import USAGE, run, succeed

ENVIRONMENT = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


def by_bash(folder: Path, *words: str) -> list[str]:
    """What bash offers for the last of these words, once it has the script."""
    script = (
        'eval "$(vhdx completion bash)"; complete -p vhdx >&2; '
        f"COMP_WORDS=({' '.join(words[:-1])} '{words[-1]}'); COMP_CWORD={len(words) - 1}; COMPREPLY=(); "
        '_vhdx_completion vhdx; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    command = ["bash", "--norc", "--noprofile", "-c", script]
    done = subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=True)
    assert "_vhdx_completion" in done.stderr
    return done.stdout.split()


def by_fish(folder: Path, line: str) -> list[str]:
    """What fish offers for this line."""
    script = f"vhdx completion fish | source; complete --do-complete '{line}'"
    command = ["fish", "--no-config", "-c", script]
    done = subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=True)
    return [line.split("\t")[0] for line in done.stdout.splitlines()]


@needs("bash")
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("vhdx", ""), list(VERBS)),
        (("vhdx", "com"), ["compact", "compare", "completion"]),
        (("vhdx", "metadata", ""), ["delete", "get", "list", "set"]),
        (("vhdx", "create", "a.vhdx", "--type", ""), ["dynamic", "fixed"]),
        (("vhdx", "compact", "--sc"), ["--scan-zeros"]),
        (("vhdx", "completion", ""), ["bash", "fish", "powershell", "zsh"]),
    ],
)
def test_bash(tmp_path: Path, words: tuple[str, ...], offered: list[str]) -> None:
    assert sorted(by_bash(tmp_path, *words)) == offered


@needs("fish")
def test_fish(tmp_path: Path) -> None:
    assert by_fish(tmp_path, "vhdx comp") == ["compact", "compare", "completion"]
    (tmp_path / "disk.vhdx").touch()
    assert by_fish(tmp_path, "vhdx info di") == ["disk.vhdx"]


@needs("zsh")
def test_zsh_can_read_it() -> None:
    subprocess.run(["zsh", "-n"], input=succeed("completion", "zsh"), text=True, check=True)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_asks_this_command(shell: str) -> None:
    script = succeed("completion", shell)
    assert f"_VHDX_COMPLETE={shell}_complete" in script


def test_other_shells_are_refused() -> None:
    done = run("completion", "tcsh")
    assert done.code == USAGE
    assert "'tcsh' is not one of 'bash', 'zsh', 'fish'" in done.err


@pytest.mark.parametrize(
    ("line", "word", "offered"),
    [
        ("vhdx com", "com", ["compact", "compare", "completion"]),
        ("vhdx metadata ", "", ["delete", "get", "list", "set"]),
        ("vhdx compact C:\\disks\\a.vhdx --sc", "--sc", ["--scan-zeros"]),
    ],
)
def test_powershell_is_given_words(line: str, word: str, offered: list[str]) -> None:
    """PowerShell itself is not here: what its script asks, and what it is answered."""
    asked = {"_VHDX_COMPLETE": "powershell_complete", "COMP_WORDS": line, "COMP_WORD": word}
    answered = succeed(env=ENVIRONMENT | asked).splitlines()
    assert sorted(row.split("\t")[1] for row in answered) == offered
    assert all(len(row.split("\t")) == 3 for row in answered)


def test_the_script_of_powershell_calls_the_program() -> None:
    script = succeed("completion", "powershell")
    assert "Register-ArgumentCompleter -Native -CommandName vhdx" in script
    assert '$env:_VHDX_COMPLETE = "powershell_complete"' in script
