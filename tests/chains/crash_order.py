"""The order of changes in a chain: bitmaps change only through the log, and begin as durable zeros."""

from tests.crash.promises.scene import CHANGES, Scene, header_of, in_log, mebibytes
from tests.support.layout import LOG_ENTRY, MIB
from tests.support.lying import Operation
from tests.support.naive import NaiveEntry, naive_entry
from tests.support.soundness import Survey

from .crash_session import ChainSession

PAGE = 4096


def bitmaps_of(survey: Survey) -> set[int]:
    """File offsets of the bitmap blocks."""
    group = survey.disk.ratio + 1
    words = [int(word) for word in survey.words[survey.disk.ratio :: group]]
    return {word >> 20 << 20 for word in words if word & 7}


def entry_of(scene: Scene, operation: Operation) -> NaiveEntry | None:
    """The log entry that an operation writes, if it does."""
    if operation.kind != "write" or not in_log(scene, operation):
        return None
    log = scene.survey.log
    at = operation.start - log.file_offset
    ring = (bytes(at) + operation.data).ljust(log.length, b"\0")
    return naive_entry(ring, at, LOG_ENTRY.guid(operation.data, "log_guid"), log.file_offset)


def watch_chain(session: ChainSession) -> list[NaiveEntry]:
    """Raise AssertionError for the first operation out of order; the entries that were written."""
    scene = Scene(session.record)
    entries = []
    targets: dict[object, set[int]] = {}
    """The pages that the log wrote to under a GUID."""
    for position, operation in enumerate(session.record.operations):
        if operation.kind in CHANGES and operation.kind != "resize":
            try:
                _watch(scene, operation, session)
                _watch_targets(scene, operation, targets.get(scene.survey.log.guid, set()))
            except AssertionError as error:
                raise AssertionError(
                    f"{error}\nby operation {position}, {operation}\n{session.story}"
                ) from error
            entry = entry_of(scene, operation)
            if entry is not None and entry.writes:
                entries.append(entry)
                pages = targets.setdefault(scene.survey.log.guid, set())
                pages |= {target // PAGE for target, _, _ in entry.writes}
        scene.follow(operation)
    return entries


def _watch(scene: Scene, operation: Operation, session: ChainSession) -> None:
    entry = entry_of(scene, operation)
    if entry is not None:
        _watch_entry(scene, entry)
        return
    if header_of(operation) or in_log(scene, operation) or scene.is_replay(operation):
        return
    bitmaps = bitmaps_of(scene.survey)
    size = scene.survey.disk.sector_size
    asked = scene.request
    if asked.what == "compact" and operation.kind == "punch":
        return  # where nobody reads from, or zeros: the states of the file after a crash tell
    first = asked.offset // size * size
    last = -(-(asked.offset + asked.length) // size) * size
    for number, start, stop in mebibytes(operation):
        assert number * MIB not in bitmaps, "a bitmap changes without the log"
        owned = scene.survey.owners.get(number)
        if owned is not None:
            at = owned * MIB + start - number * MIB
            end = min(at + stop - start, session.size)
            assert first <= at, f"{asked} changes the disk from {at} on"
            assert end <= last, f"{asked} changes the disk up to {end}"


def _watch_targets(scene: Scene, operation: Operation, pages: set[int]) -> None:
    """Promise 10: what the log wrote to has another owner only after the log GUID changed."""
    if header_of(operation) or in_log(scene, operation) or scene.is_replay(operation):
        return
    if entry_of(scene, operation) is None:
        touched = pages.intersection(range(operation.start // PAGE, -(-operation.end // PAGE)))
        assert not touched, f"the log of this session wrote to {min(touched) * PAGE:#x}"


def _watch_entry(scene: Scene, entry: NaiveEntry) -> None:
    """Whoever replays it alone finds every partially present block with its bitmap, and that was zeros."""
    bat_pages = {
        target: data for target, _, data in entry.writes if data is not None and _in_bat(scene, target)
    }
    words = scene.survey.replayed.copy()
    for waiting in scene.waiting:
        for number, first, last, page in waiting.pages:
            if last - first == 8 and scene.is_replay(waiting):
                words.put_page(number, page)
    for target, data in bat_pages.items():
        words.put_page(target // 4096, data)
    at, ratio = _bat(scene), scene.survey.disk.ratio
    old = bitmaps_of(scene.survey)
    for chunk in range(scene.survey.disk.entries // (ratio + 1)):
        raw = words.read((ratio + 1) * 8, at + chunk * (ratio + 1) * 8)
        states = {raw[index] & 7 for index in range(0, ratio * 8, 8)}
        word = int.from_bytes(raw[-8:], "little")
        assert 7 not in states or word & 7 == 6, "a block is partially present before its bitmap"
        place = word >> 20 << 20
        if word & 7 and place not in old:
            wanted = bytes(MIB)
            before = int(scene.survey.words[(chunk + 1) * (ratio + 1) - 1])
            if scene.request.what == "compact" and before & 7:  # it was moved
                wanted = scene.survey.replayed.read(MIB, before >> 20 << 20)
            assert scene.durable.read(MIB, place) == wanted, f"the new bitmap at {place:#x} is not durable"
            assert scene.durable.size >= place + MIB, "the new bitmap is not in the file yet"


def _bat(scene: Scene) -> int:
    from tests.support.layout import BAT_GUID  # noqa: PLC0415  the only place that knows regions

    return scene.survey.regions[BAT_GUID][0]


def _in_bat(scene: Scene, target: int) -> bool:
    at = _bat(scene)
    return at <= target < at + scene.survey.disk.entries * 8
