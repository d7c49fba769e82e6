"""Repairing any image, with everything allowed or only what loses nothing."""

import contextlib
from zlib import crc32

from tests.fuzz.images import corpus, image_of, mutated
from tests.fuzz.memory import Written
from tests.fuzz.oracle import Refused, answer, opened, samples
from tests.support.layout import GIB
from tests.support.sparse import Content, ContentStorage
from vhdx import rules
from vhdx.disk.chain import VhdxDisk
from vhdx.examine.check import examine
from vhdx.ops.check import result_of
from vhdx.ops.repair import keeps_length, staged_repair
from vhdx.rules import Remedy
from vhdx.storage.staged import StagedChanges

__all__ = ["corpus", "mutated", "run"]

_NAME = "image.vhdx"
_LARGEST = GIB
_HARMLESS = frozenset({Remedy.REPAIR})
_ALLOWED = (_HARMLESS, _HARMLESS, _HARMLESS | {Remedy.ACCEPT_DATA_LOSS}, frozenset(Remedy) - {Remedy.NONE})


def run(data: bytes) -> None:
    """Repair the image that the bytes say; they say, too, what is allowed."""
    content, seed = image_of(data)
    if content.size > _LARGEST:
        return
    allowed = _ALLOWED[crc32(data) % len(_ALLOWED)]
    file = Written(content)
    found = answer(lambda: examine(file), placed=False)
    if isinstance(found, Refused):
        return
    after = Written(content)
    with contextlib.closing(StagedChanges(file)) as staged:
        result = staged_repair(_NAME, file, staged, allowed, None)
        assert file.content.digest == content.digest, "staged changes changed the file"
        if not result.done:
            assert result.refused or not any(rule.remedy in allowed for rule in found.report.counts), result
            return
        staged.perform(after)
    assert result_of(_NAME, examine(after)) == result.left, "what was done is not what was staged"
    _compare(content, after.content, seed.parent, harmless=allowed == _HARMLESS)
    if not result.left.errors:
        kept = {rules.SPACE_LEAKED_TAIL} if keeps_length(found.report) else set()
        # where entries are given up, what nobody owns may be theirs: it stays for those who can use it
        kept |= {rules.SPACE_LEAKED} if Remedy.ACCEPT_DATA_LOSS in allowed else set()
        left = examine(ContentStorage(after.content)).report.counts.keys() - kept
        assert not any(rule.remedy in allowed for rule in left if rule.severity != "note"), (
            f"not everything was repaired: {list(left)}"
        )


def _compare(before: Content, after: Content, parent: Content | None, *, harmless: bool) -> None:
    """What could be read before reads as it did; with losses allowed at least something opens."""
    repaired = opened(after, parent)
    found = opened(before, parent)
    if isinstance(found, Refused):
        return
    assert not isinstance(repaired, Refused), f"it opened before the repair, and now {repaired.words}"
    with found.disk, repaired.disk:
        for offset, length in samples(found.disk):
            was = _read(found.disk, offset, length)
            now = _read(repaired.disk, offset, length)
            if not isinstance(was, Refused):
                assert was == now, f"{length} bytes at {offset} changed"
            assert not (harmless and isinstance(now, Refused) and not isinstance(was, Refused))


def _read(disk: VhdxDisk, offset: int, length: int) -> bytes | Refused:
    return answer(lambda: disk.pread(length, offset))
