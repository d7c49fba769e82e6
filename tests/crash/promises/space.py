"""Promise 10: space gets another owner only after its old owner's entry is durably gone."""

from tests.support.layout import MIB
from tests.support.lying import Operation

from .scene import Scene, header_of, in_log, mebibytes


def watch(scene: Scene, operation: Operation) -> None:
    """Bytes that a durable entry gives to a block change only for a request that is about that block."""
    if operation.kind == "resize" or header_of(operation) or scene.is_replay(operation):
        return
    if in_log(scene, operation):
        _watch_ring(scene, operation)
        return
    if operation.kind == "punch" and scene.request.what == "compact" and _is_zeros(scene, operation):
        return
    for number, start, stop in mebibytes(operation):
        owned = scene.survey.owners.get(number)
        if owned is not None:
            asked = scene.request
            disk_start = owned * MIB + start - number * MIB
            disk_stop = min(disk_start + stop - start, scene.survey.disk.size)
            inside = asked.offset <= disk_start and disk_stop <= asked.offset + asked.length
            assert inside, (
                f"{asked} changes the disk from {disk_start} to {disk_stop}, whose entry is durable"
            )


def _watch_ring(scene: Scene, operation: Operation) -> None:
    log = scene.survey.log
    at = operation.start - log.file_offset
    for entry in log.entries:
        behind = entry.offset + entry.length <= at
        before = operation.end - log.file_offset <= entry.offset
        wraps = entry.offset + entry.length > log.length
        free = behind or before
        if wraps:
            free = before and entry.offset + entry.length - log.length <= at
        assert free, f"the entry at {entry.offset:#x} is overwritten while it is in force"


def _is_zeros(scene: Scene, operation: Operation) -> bool:
    """Whether a hole is made where nothing but zeros stood, durably."""
    return not any(scene.durable.read(operation.end - operation.start, operation.start))
