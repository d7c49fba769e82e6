"""Promise 11: a log GUID is named only when a valid sequence carries it, and the ring never wraps."""

from tests.support.layout import LOG_ENTRY, ZERO_GUID
from tests.support.lying import Operation
from tests.support.naive import naive_entry

from .scene import Scene, header_guid, header_of, in_log


def watch(scene: Scene, operation: Operation) -> None:
    """Headers that name a GUID, and entries under one."""
    header = header_of(operation)
    if header is not None:
        _watch_header(scene, header)
    elif operation.kind != "resize" and in_log(scene, operation):
        _watch_entry(scene, operation)


def _watch_header(scene: Scene, header: bytes) -> None:
    guid = header_guid(header, "log_guid")
    if guid != scene.survey.log.guid:
        assert scene.everything_is_in_place, "the log GUID changes before everything is in its place"
        assert guid == ZERO_GUID or guid not in scene.log_guids, "an old log GUID is used again"
        # That the new one has a valid sequence the survey of promise 8 finds out.


def _watch_entry(scene: Scene, operation: Operation) -> None:
    log = scene.survey.log
    at = operation.start - log.file_offset
    assert operation.kind == "write", "the log is not written, but cleared"
    assert 0 <= at <= log.length - len(operation.data), "an entry wraps"
    ring = bytes(at) + operation.data
    guid = LOG_ENTRY.guid(operation.data, "log_guid")
    entry = naive_entry(ring.ljust(log.length, b"\0"), at, guid, log.file_offset)
    assert entry is not None, "what is written into the log is no valid entry"
    assert entry.length == len(operation.data), "more is written than an entry"
    assert len(entry.writes) <= 126, "an entry has more than one sector of descriptors"
    assert entry.flushed_file_offset <= scene.durable.size, (
        "an entry says more of the file is durable than is"
    )
    if guid != log.guid:
        assert guid not in scene.log_guids, "an old log GUID is used again"
        assert (at, entry.tail, entry.writes) == (0, 0, ()), "a GUID does not begin with an empty entry"
        return
    assert not scene.is_recovering, "a log of an earlier session is continued"
    assert scene.newest_entry is not None, "there is no entry that this one could follow"
    assert operation.start == scene.newest_entry.end, "an entry does not stand behind the one before"
    before = LOG_ENTRY.number(scene.newest_entry.data, "sequence_number")
    assert entry.sequence_number == before + 1, (
        f"the sequence number after {before} is {entry.sequence_number}"
    )
    first = scene.survey.log.entries[0]
    commit = [op for op in scene.waiting if in_log(scene, op)]
    start = commit[0].start - log.file_offset if commit else at
    assert entry.tail in (start, first.offset), "the tail is neither its own commit nor the tail in force"
    if entry.tail == start:
        assert scene.everything_is_in_place, "the tail moves past an entry that is not in its place"
