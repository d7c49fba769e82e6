"""The loss table, row by row: what check says, what repair may do, what salvage returns.

In every case no byte of a block goes without anybody's consent, every byte that salvage returns is right or
called doubtful, and check says something where anything is lost that was needed.
"""

from collections.abc import Iterator
from itertools import combinations, product

import pytest

from tests.examine.losing import (
    FILLS,
    KINDS,
    Repaired,
    Salvaged,
    Subject,
    codes,
    lose,
    repaired,
    salvaged,
    subject,
)
from tests.examine.losses import (
    ALL_OR_NOTHING,
    DOUBTFUL,
    EVERYTHING,
    LOSS,
    NEEDLESS,
    NEVER,
    REBUILD,
    REFUSED,
    ROWS,
    SAFE,
    UNTOLD,
    WHOLE,
    expected,
)
from tests.support.sparse import PAGE, Content
from vhdx import rules
from vhdx.rules import Remedy, Rule, Severity

GRAVE = {
    rule.code
    for rule in vars(rules).values()
    if isinstance(rule, Rule) and rule.severity is not Severity.NOTE
}
HIDDEN = {"log.dirty", "locator.path_form"}
"""What is said of sound images, and not where nothing leads there any more."""
Loss = tuple[tuple[str, str], ...]


def wrong_pages(subject: Subject, found: Salvaged) -> list[int]:
    """Pages of the disk that are not what they were and that nothing calls doubtful."""
    wrong = {
        page for page in {*found.pages, *subject.disk} if found.pages.get(page) != subject.disk.get(page)
    }
    return [
        page
        for page in sorted(wrong)
        if not any(
            doubt.offset <= page * PAGE and (page + 1) * PAGE <= doubt.offset + doubt.length
            for doubt in found.doubts
        )
    ]


def salvage_of(subject: Subject, content: Content) -> int:
    """What salvage returns, as the table says it."""
    found = salvaged(content)
    if found is None:
        return REFUSED
    if wrong_pages(subject, found):
        return UNTOLD
    return DOUBTFUL if found.doubts else WHOLE


def gone(subject: Subject, before: Content, after: Content) -> list[int]:
    """Where something stood in a block, before a repair, that does not stand there afterwards."""
    return [
        at
        for at, _ in subject.payload
        if (data := before.read(PAGE, at)).strip(b"\0") and after.read(PAGE, at) != data
    ]


def repairs(subject: Subject, lost: Content) -> Iterator[tuple[frozenset[Remedy], Repaired | None]]:
    """What comes of a repair with each of the options that may be given; only one of them loses anything."""
    for options in (SAFE, REBUILD, LOSS, EVERYTHING):
        found = repaired(lost, options)
        if found is not None and Remedy.ACCEPT_DATA_LOSS not in options:
            assert not gone(subject, lost, found.content), options
        yield options, found


def restores_all_or_nothing(subject: Subject, lost: Content) -> bool:
    """Whether repair without loss either brings the whole disk back or is refused."""
    return all(
        found is None or found.content is lost or salvage_of(subject, found.content) == WHOLE
        for options, found in repairs(subject, lost)
        if Remedy.ACCEPT_DATA_LOSS not in options
    )


def repair_that_helps(subject: Subject, lost: Content) -> frozenset[Remedy]:
    """What repair must be told until no error is left."""
    for options, found in repairs(subject, lost):
        if found is not None and not found.result.left.errors and not found.result.refused:
            needed = found.result.before.errors or found.result.before.warnings
            return options if needed else NEEDLESS
    return NEVER


def losses_of(subject: Subject) -> Iterator[Loss]:
    """Every structure, by every part, and every two of them as a whole."""
    for name in subject.places:
        for piece in subject.pieces(name):
            yield ((name, piece),)
    wholes = [(name, next(iter(pieces))) for name in subject.places if (pieces := subject.pieces(name))]
    yield from combinations(wholes, 2)


def lost_content(subject: Subject, loss: Loss, fill: str) -> Content:
    return lose(subject.content, [subject.pieces(name)[piece] for name, piece in loss], fill)


def assert_row(subject: Subject, loss: Loss, fill: str) -> None:
    lost = lost_content(subject, loss, fill)
    row = expected(subject, *loss)
    sound, found = subject.codes, codes(lost)
    assert row.codes <= found <= row.codes | sound | row.may, "check"
    assert sound - found <= HIDDEN, "check"
    assert salvage_of(subject, lost) == row.salvage, "salvage"
    if row.repaired == ALL_OR_NOTHING:
        assert restores_all_or_nothing(subject, lost), "repair"
    else:
        assert repair_that_helps(subject, lost) == row.repaired, "repair"


def assert_safe(subject: Subject, loss: Loss, fill: str) -> None:
    """What holds whatever stands in the place of what was lost."""
    lost = lost_content(subject, loss, fill)
    before = salvage_of(subject, lost)
    assert before != UNTOLD or any(name == "bitmap" for name, _ in loss)
    if before in (DOUBTFUL, REFUSED):
        assert codes(lost) & GRAVE or "refused" in codes(lost)
    for options, found in repairs(subject, lost):
        if found is not None and found.result.done and Remedy.ACCEPT_DATA_LOSS not in options:
            assert salvage_of(subject, found.content) <= before, options


SUBJECTS = [subject(*each) for each in product(KINDS, (512, 4096), (False, True))]
FEW = 11
"""Of so many losses one is looked at in ordinary runs, of each image others."""


def cases(number: int) -> Iterator[tuple[Loss, str]]:
    """All losses of an image, and what stands in the lost place: in turn, as there are many."""
    fills = list(FILLS)
    for index, loss in enumerate(losses_of(SUBJECTS[number])):
        yield loss, fills[(index + number) % len(fills)]


def assert_case(subject: Subject, loss: Loss, fill: str) -> None:
    """The columns are of zeros, and of bytes in which no entry is meant; safe is what comes of any."""
    try:
        if fill in ("zeros", "marks"):
            assert_row(subject, loss, fill)
        else:
            assert_safe(subject, loss, fill)
    except AssertionError as error:
        error.add_note(f"{subject}: {loss} lost, {fill} there")
        raise


@pytest.mark.parametrize("number", range(len(SUBJECTS)), ids=lambda number: str(SUBJECTS[number]))
def test_some_losses_of_each_image(number: int) -> None:
    for index, (loss, fill) in enumerate(cases(number)):
        if index % FEW == number % FEW:
            assert_case(SUBJECTS[number], loss, fill)


@pytest.mark.slow
@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("subject", SUBJECTS, ids=str)
def test_every_loss_of_each_image(subject: Subject, fill: str) -> None:
    for loss in losses_of(subject):
        assert_case(subject, loss, fill)


def test_every_row_is_needed() -> None:
    """Of no image, piece and structure there are two answers, and none of the answers is unused."""
    used = {
        id(next(row for row in ROWS if row.fits(subject, name, piece)))
        for subject in SUBJECTS
        for name in subject.places
        for piece in subject.pieces(name)
    }
    assert [row.structure for row in ROWS if id(row) not in used] == []
