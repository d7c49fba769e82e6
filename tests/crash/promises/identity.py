"""Promise 9: FileWriteGuid changes before anything else, DataWriteGuid before contents; once a session."""

from tests.support.layout import HEADER_SECTION
from tests.support.lying import Operation

from .scene import Scene, header_guid, header_of, in_log

FILE, DATA = "file_write_guid", "data_write_guid"


def watch(scene: Scene, operation: Operation) -> None:
    """Headers first; a replay and the repairing of copies need no new identity of the contents."""
    before, now = scene.at_opening, scene.survey
    is_first = now.guid(FILE) == before.guid(FILE)
    header = header_of(operation)
    if header is not None:
        _watch_header(scene, header, is_first=is_first)
        return
    assert not is_first, "something changes before the FileWriteGuid"
    if now.guid(DATA) == before.guid(DATA):
        in_header_section = operation.kind != "resize" and operation.start < HEADER_SECTION
        harmless = in_log(scene, operation) or in_header_section
        only_repaired = scene.request.what == "repair" and (harmless or _is_the_cut(scene, operation))
        # That no read tells the difference is for promises 6 and 10 to say.
        assert only_repaired or scene.request.what == "compact" or scene.is_replay(operation), (
            "contents change before the DataWriteGuid"
        )


def _is_the_cut(scene: Scene, operation: Operation) -> bool:
    return operation.kind == "resize" and operation.end < operation.start


def _watch_header(scene: Scene, header: bytes, *, is_first: bool) -> None:
    before, now = scene.at_opening, scene.survey
    if is_first:
        assert header_guid(header, FILE) != before.guid(FILE), "the first header has the old FileWriteGuid"
    else:
        assert header_guid(header, FILE) == now.guid(FILE), "the FileWriteGuid changes twice"
    if header_guid(header, DATA) != now.guid(DATA):
        assert now.guid(DATA) == before.guid(DATA), "the DataWriteGuid changes twice"
        assert scene.request.what in ("write", "zero", "trim", "items"), (
            "the DataWriteGuid changes and contents do not"
        )
        assert scene.everything_is_in_place, "the DataWriteGuid changes before the log is replayed"
