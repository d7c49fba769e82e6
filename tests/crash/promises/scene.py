"""What the watchers may know when an operation comes: what is durable, what waits, who asked for what."""

from collections.abc import Iterator
from uuid import UUID

from tests.crash.session import FILE
from tests.support.expectation import Opened, Request
from tests.support.layout import HEADER, HEADER_OFFSETS, MIB, SECTOR, ZERO_GUID
from tests.support.lying import Operation, Part, Record, apply
from tests.support.soundness import Survey, Surveyor
from tests.support.sparse import PAGE, Content

CHANGES = ("write", "zero", "punch", "resize")


class BrokenPromiseError(AssertionError):
    """An operation came in an order that no crash has to be tried out for."""


class Scene:
    """The state of one file before an operation of its record."""

    def __init__(self, record: Record) -> None:
        self.surveyor = Surveyor()
        self.durable: Content = record.before[FILE].copy()
        self.survey: Survey = self.surveyor.survey(self.durable)
        """Of what is durable, as it will be after replay."""
        self.waiting: list[Operation] = []
        self.request = Request("nothing")
        self.at_opening: Survey = self.survey
        self.log_guids: set[UUID] = {ZERO_GUID, self.survey.log.guid}
        """Every log GUID that was in use so far."""
        self.newest_entry: Operation | None = None
        """The last that was written into the log, durable or not."""

    def follow(self, operation: Operation) -> None:
        """Take note of an operation."""
        if isinstance(operation.mark, Opened):
            self.at_opening = self.survey
        elif isinstance(operation.mark, Request):
            self.request = operation.mark
        elif operation.kind in CHANGES:
            self.waiting.append(operation)
            if operation.kind == "write" and in_log(self, operation):
                self.newest_entry = operation
        elif operation.kind == "flush":
            for waited in self.waiting:
                apply(self.durable, Part(waited))
            self.waiting = []
            self.survey = self.surveyor.survey(self.durable)
            self.log_guids.add(self.survey.log.guid)

    @property
    def is_recovering(self) -> bool:
        """Whether the log that was found when the file was opened is still in force."""
        return self.survey.log.guid == self.at_opening.log.guid != ZERO_GUID

    def logged(self, number: int) -> list[bytes]:
        """What the entries in force say of a page."""
        start = number * PAGE
        said = []
        for entry in self.survey.log.entries:
            for target, length, data in entry.writes:
                if target <= start < target + length:
                    said.append(bytes(SECTOR) if data is None else data)
        return said

    def is_replay(self, operation: Operation) -> bool:
        """Whether an operation does what the log in force says, and nothing else."""
        if operation.kind == "resize":
            return self.is_recovering and operation.start < operation.end <= self.survey.replayed.size
        whole = operation.start % PAGE == operation.end % PAGE == 0
        return whole and all(page in self.logged(number) for number, _, _, page in operation.pages)

    @property
    def everything_is_in_place(self) -> bool:
        """Whether what the log in force says stands durably where it belongs."""
        return self.survey.replayed.pages == self.durable.pages


def header_of(operation: Operation) -> bytes | None:
    """The header that an operation writes, if it does."""
    places = {(offset, offset + SECTOR) for offset in HEADER_OFFSETS.values()}
    is_header = operation.kind == "write" and (operation.start, operation.end) in places
    return operation.data if is_header else None


def header_guid(header: bytes, name: str) -> UUID:
    """A GUID of a header."""
    return HEADER.guid(header, name)


def in_log(scene: Scene, operation: Operation) -> bool:
    """Whether an operation touches the log."""
    log = scene.survey.log
    return operation.start < log.file_offset + log.length and log.file_offset < operation.end


def mebibytes(operation: Operation) -> Iterator[tuple[int, int, int]]:
    """Each MiB that a range touches: its number, and from which file offset to which."""
    start = operation.start
    while start < operation.end:
        stop = min(operation.end, (start // MIB + 1) * MIB)
        yield start // MIB, start, stop
        start = stop
