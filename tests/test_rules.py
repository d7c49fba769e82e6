"""Rules and errors: stable codes, sections of the specification, and sentences that say where."""

import re

import pytest

from vhdx import (
    CorruptImageError,
    ImageFailedError,
    ImageLockedError,
    UnsupportedImageError,
    VhdxError,
    rules,
)
from vhdx.rules import Finding, OpeningReport, Place, Rule, Severity

RULES = {name: value for name, value in vars(rules).items() if isinstance(value, Rule)}


def test_every_rule_has_a_code_of_its_own_and_a_section() -> None:
    assert len({rule.code for rule in RULES.values()}) == len(RULES) > 40
    for rule in RULES.values():
        assert re.fullmatch(r"[a-z_]+\.[a-z_0-9]+", rule.code)
        assert re.fullmatch(r"2\.\d(\.\d)*|\[(VHD|Windows)\] \w[\w ]+", rule.section)


@pytest.mark.parametrize("severity", [Severity.WARNING, Severity.NOTE])
def test_opening_keeps_what_is_no_error(severity: Severity) -> None:
    report = OpeningReport("image")
    finding = Finding(Rule("a.b", severity, "2.5"), Place("BAT", 7), "something")
    report(finding)
    assert report.findings == [finding]


@pytest.mark.parametrize(("unsupported", "kind"), [(False, CorruptImageError), (True, UnsupportedImageError)])
def test_opening_raises_on_the_first_error(unsupported: bool, kind: type[VhdxError]) -> None:
    rule = Rule("a.b", Severity.ERROR, "2.5", unsupported)
    with pytest.raises(kind) as caught:
        OpeningReport("image.vhdx")(Finding(rule, Place("BAT", 4096), "it is wrong"))
    error = caught.value
    place = "image.vhdx: BAT at file offset 4096: it is wrong ([MS-VHDX] 2.5)"
    assert str(error) == place + ("" if unsupported else "; try: vhdx check image.vhdx")
    assert (error.image, error.structure, error.file_offset, error.rule) == ("image.vhdx", "BAT", 4096, "2.5")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "why"),
        ({"image": "a.vhdx"}, "a.vhdx: why"),
        ({"structure": "log"}, "log: why"),
        ({"file_offset": 0}, "at file offset 0: why"),
        ({"image": "a", "structure": "log", "file_offset": 5}, "a: log at file offset 5: why"),
        ({"rule": "2.3"}, "why ([MS-VHDX] 2.3)"),
        ({"next_command": "vhdx check a"}, "why; try: vhdx check a"),
    ],
)
def test_an_error_is_a_sentence_of_what_is_known(fields: dict[str, str], words: str) -> None:
    assert str(VhdxError("why", **fields)) == words  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        (CorruptImageError, "file"),
        (UnsupportedImageError, "file"),
        (ImageLockedError, "machine"),
        (ImageFailedError, "machine"),
    ],
)
def test_an_error_says_whose_fault_it_is(kind: type[VhdxError], fault: str) -> None:
    assert kind("why").fault == fault
