"""The fault table: what check says of each fault, and what opening does, for reading and for writing."""

from pathlib import Path

import pytest

import vhdx
from tests.examine.fault import NEEDLESS, NOWHERE, OPEN, READ, WRITE, Fault
from tests.examine.faults import FAULTS
from vhdx import rules
from vhdx.rules import Rule

SEVERITIES = {rule.code: rule.severity.value for rule in vars(rules).values() if isinstance(rule, Rule)}
TABLE = pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)


def test_the_table_is_large_enough_and_each_name_stands_once() -> None:
    assert len({fault.name for fault in FAULTS}) == len(FAULTS) >= 60


@TABLE
def test_check_finds_exactly_this(fault: Fault, tmp_path: Path) -> None:
    path = fault.make().write(tmp_path / "image.vhdx")
    before = path.read_bytes()
    result = vhdx.check(path)
    assert set(result.codes) == fault.codes, [f.detail for f in result.findings]
    assert {f.code: f.severity for f in result.findings} == {c: SEVERITIES[c] for c in fault.codes}
    assert path.read_bytes() == before
    if fault.repaired == NEEDLESS:
        assert not (result.errors)
        assert not (result.warnings)


def _step_that_fails(path: Path, *, writing: bool) -> str:
    step = OPEN
    try:
        with vhdx.open(path, "r+" if writing else "r") as disk:
            step = WRITE if writing else READ
            if writing:
                disk.pwrite(b"new", 8 << 20)
                disk.flush()
            else:
                for offset in range(0, min(disk.size, 16 << 20), 1 << 20):
                    disk.pread(min(1 << 20, disk.size - offset), offset)
    except vhdx.VhdxError:
        return step
    return NOWHERE


@TABLE
def test_opening_fails_where_the_table_says(fault: Fault, tmp_path: Path) -> None:
    path = fault.make().write(tmp_path / "image.vhdx")
    assert _step_that_fails(path, writing=False) == fault.reading
    assert _step_that_fails(path, writing=True) == fault.writing_fails
