"""A resize that power interrupts leaves the old size or the new one; once more completes it."""

import random
from collections.abc import Callable

import pytest

from tests.support.layout import ZERO_GUID
from tests.support.lying import Operation, crashes
from tests.support.soundness import SHORT, Surveyor
from tests.support.sparse import Content, content_of

from .resizing import CASES, FILE, LARGE_CASES, Case, Spots, read_by_twin, read_by_us, resized
from .session import reproducible

LEAST = 12
"""Distinct contents of the file that every case must give."""


class Expected:
    """What a disk holds before and after, told by the twin from the file before."""

    def __init__(self, case: Case, before: Content) -> None:
        self.case, self.below = case, case.below
        self.old_size = Surveyor().survey(before).disk.size
        self.spots = Spots(case, self.old_size)
        old = read_by_twin(before, self.below)

        def new(length: int, offset: int) -> bytes:
            there = max(0, min(length, self.old_size - offset))
            return (old(there, offset) if there else b"") + bytes(length - there)

        self.bytes = {size: self.spots.read(new, size) for size in (self.old_size, case.new_size)}

    def check(self, content: Content) -> int:
        """Raise AssertionError for a wrong byte; the size of the disk."""
        survey = Surveyor().survey(content)
        assert survey.warnings <= {"one header is damaged", SHORT}
        for read in (read_by_us(content, self.below), read_by_twin(content, self.below)):
            assert self.spots.read(read, survey.disk.size) == self.bytes[survey.disk.size]
        return survey.disk.size


@pytest.mark.parametrize("case", [*CASES, *LARGE_CASES], ids=str)
def test_power_may_fail_at_every_instant(case: Case, record_property: Callable[[str, object], None]) -> None:
    before = content_of(case.build())
    expected = Expected(case, before)
    with reproducible(1):
        record, after = resized(case, before)
    assert expected.check(after) == case.new_size
    assert Surveyor().survey(after).log.guid == ZERO_GUID
    chance, seen = random.Random(1), set()
    for item in crashes(record, chance, 12):
        if isinstance(item, Operation) or item.files[FILE].digest in seen:
            continue
        content = item.files[FILE]
        seen.add(content.digest)
        expected.check(content)
        if chance.random() < 0.1:
            assert expected.check(resized(case, content)[1]) == case.new_size
    record_property("crash states", len(seen))
    assert len(seen) >= LEAST
