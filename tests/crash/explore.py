"""Looking at what a power loss may leave of a record, state by state, with the eyes of the promises.

Every distinct content of the file is opened, read and surveyed; of a sample of them the recovery is recorded
and explored in turn, so that power also fails while the damage of an earlier failure is being repaired.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.support.expectation import Changed, Expectation, Settled
from tests.support.layout import MIB, ZERO_GUID
from tests.support.lying import Crash, Operation, Record, crashes
from tests.support.naive import naive_disk
from tests.support.soundness import SHORT, Survey, Surveyor
from tests.support.sparse import PAGE, SECTORS_OF_A_PAGE, Content, ContentStorage, as_file
from vhdx import ExtentKind
from vhdx.disk.chain import VhdxDisk
from vhdx.image import image
from vhdx.journal.replay import replay
from vhdx.journal.ring import Ring

from .recovery import RECOVERIES
from .session import FILE, Session

PAGES_OF_A_MIB = MIB // PAGE
MANY_ENTRIES = 2000
"""Tables of so many entries are looked through only now and then."""
HARMLESS = frozenset({"one header is damaged"})


class CrashError(AssertionError):
    """A power loss can leave a file that breaks a promise."""


@dataclass
class Density:
    """How closely to look: samples for each operation, and one state in so many for what takes time."""

    samples: int = 70
    recover: int = 14
    naive: int = 60
    replay: int = 8
    nested_samples: int = 1
    one_in: int = 1


@dataclass
class Explorer:
    """Explores records; everything it has seen counts once."""

    chance: random.Random
    density: Density = field(default_factory=Density)
    warnings: frozenset[str] = HARMLESS
    """What a survey may warn of."""
    limit: Callable[[], bool] = bool
    """Whether to stop early."""

    def __post_init__(self) -> None:
        self.surveyor = Surveyor()
        self._seen: dict[int, tuple[int, int]] = {}
        self._explorations = 0

    @property
    def distinct(self) -> int:
        """How many different contents of the file were examined."""
        return len(self._seen)

    def explore(self, session: Session, depth: int = 0) -> None:
        """Examine every state that the record of a session makes possible. Raises CrashError."""
        self._explorations += 1
        exploration = self._explorations
        record = session.record
        samples = self.density.nested_samples if depth else self.density.samples
        expectation = Expectation(session.size, session.before, _touched(session))
        for item in crashes(record, self.chance, samples, one_in=self.density.one_in, again=Settled):
            if isinstance(item, Operation):
                expectation.follow(item.mark)
                continue
            content = item.files[FILE]
            stamp = (exploration, expectation.epoch)
            if self._seen.get(content.digest) == stamp:
                continue
            is_new = content.digest not in self._seen
            self._seen[content.digest] = stamp
            self._examine(content, expectation, Where(record, item, session.story), depth, is_new=is_new)
            if self.limit():
                return

    def _examine(
        self, content: Content, expectation: Expectation, where: "Where", depth: int, *, is_new: bool
    ) -> None:
        try:
            survey = self._judge(content, expectation)
            if is_new:
                self._look_closer(content, survey, expectation)
        except Exception as error:
            raise CrashError(f"{error!r}\n{where}") from error
        if is_new and not depth and self._luck(self.density.recover):
            self._recover(content, where)

    def _luck(self, one_in: int) -> bool:
        return self.chance.randrange(one_in) == 0

    def _judge(self, content: Content, expectation: Expectation) -> Survey:
        """Promises 4 to 7 and 10: the file opens, is sound, and holds what it may hold."""
        survey = self.surveyor.survey(content)
        assert survey.warnings <= self.warnings, survey.warnings
        disk = VhdxDisk((image.load(ContentStorage(content)),))
        twin = survey.read
        read = disk.pread

        def both(length: int, offset: int) -> bytes:
            data = read(length, offset)
            assert data == twin(length, offset), f"two readers disagree over {length} bytes at {offset}"
            return data

        expectation.check(both)
        if survey.disk.entries < MANY_ENTRIES or self._luck(20):
            _check_extents(disk, survey)
        _check_the_rest(survey, expectation)
        return survey

    def _look_closer(self, content: Content, survey: Survey, expectation: Expectation) -> None:
        if survey.log.entries and self._luck(self.density.replay):
            _check_replay(content, survey)
        if self._luck(self.density.naive):
            _check_naive(content, survey, expectation)

    def _recover(self, content: Content, where: "Where") -> None:
        """Promise 4 and 7 again: repairing what is left may be interrupted anywhere, too."""
        name, recovery = self.chance.choice(RECOVERIES)
        seed = self.chance.getrandbits(32)
        session = Session(content, seed, story=f"{where}\nand then recovery {name!r}, seed {seed}")
        try:
            recovery(session)
            after = self.surveyor.survey(session.storage.content)
            assert name == "look" or after.log.guid == ZERO_GUID, "the log is still dirty"
            assert name == "look" or after.warnings <= {SHORT}, after.warnings
            assert SHORT not in after.warnings or SHORT in self.warnings, SHORT
        except Exception as error:
            raise CrashError(f"{error!r}\n{session.story}") from error
        finally:
            session.forget()
        self.explore(session, depth=1)


@dataclass
class Where:
    """Says how a state came about."""

    record: Record
    crash: Crash
    story: str

    def __str__(self) -> str:
        before = self.record.operations[max(0, self.crash.position - 30) : self.crash.position + 1]
        first = self.crash.position + 1 - len(before)
        listed = "\n".join(f"  {first + index:5} {operation}" for index, operation in enumerate(before))
        return f"{self.story}\n{listed}\n{self.crash}"


def _touched(session: Session) -> set[int]:
    """The pages of the disk that hold something, or may at any time."""
    sectors = set(session.before)
    for operation in session.record.operations:
        if isinstance(operation.mark, Changed):
            sectors |= operation.mark.values.keys()
    return {sector // SECTORS_OF_A_PAGE for sector in sectors}


def _check_extents(disk: VhdxDisk, survey: Survey) -> None:
    """The library finds the same blocks at the same places as the survey."""
    size = survey.disk.block_size
    found = {}
    for extent in disk.extents():
        if extent.kind is ExtentKind.DATA:
            assert extent.file_offset is not None
            for start in range(extent.offset, extent.end, size):
                found[start // size] = extent.file_offset + start - extent.offset
    assert found == survey.blocks, f"blocks at {found}, surveyed at {survey.blocks}"


def _check_the_rest(survey: Survey, expectation: Expectation) -> None:
    """Where nobody ever wrote the disk is zeros: nothing stands in the file there."""
    owners, touched = survey.owners, expectation.touched
    last = (survey.disk.size - 1) // PAGE
    for number in survey.content.pages:
        owned = owners.get(number // PAGES_OF_A_MIB)
        if owned is not None:
            page = owned * PAGES_OF_A_MIB + number % PAGES_OF_A_MIB
            assert page in touched or page > last, f"page {page} of the disk holds what nobody wrote there"


def _check_replay(content: Content, survey: Survey) -> None:
    """Promise 4: replay gives what the survey says, and once more changes nothing."""
    storage = Record().storage(FILE, content)
    opened = image.load(storage)
    assert opened.sequence is not None
    for _ in range(2):
        replay(storage, Ring(survey.log.file_offset, survey.log.length, storage.read), opened.sequence)
        assert storage.content.digest == survey.replayed.digest, "replay gives something else"


def _check_naive(content: Content, survey: Survey, expectation: Expectation) -> None:
    """The naive reader reads the same."""
    read = naive_disk(*as_file(content)).read
    for run in expectation.runs:
        data = read(run.offset, run.length)
        assert data == survey.read(run.length, run.offset), f"the naive reader differs at {run.offset}"
