"""Looking at what a power loss may leave of the leaf of a chain, with the eyes of the promises."""

from dataclasses import dataclass, field

from tests.crash.explore import MANY_ENTRIES, CrashError, Explorer, Where, _check_replay
from tests.crash.recovery import RECOVERIES
from tests.support.expectation import Expectation
from tests.support.layout import ZERO_GUID
from tests.support.naive import NaiveDisk, naive_disk
from tests.support.soundness import Survey
from tests.support.sparse import Content, ContentStorage, as_file
from vhdx import ExtentKind
from vhdx.disk.chain import VhdxDisk
from vhdx.image import image

from .crash_session import ChainSession, Family
from .twin import assert_bitmaps


@dataclass
class ChainExplorer(Explorer):
    """Explores records of chain sessions of one family."""

    family: Family = field(default_factory=lambda: Family([]))

    def _judge(self, content: Content, expectation: Expectation) -> Survey:
        survey = self.surveyor.survey(content)
        assert survey.warnings <= self.warnings, survey.warnings
        assert_bitmaps(survey)
        leaf = image.load(ContentStorage(content))
        disk, twin = self.family.disk(leaf), self.family.twin(leaf, survey)

        def both(length: int, offset: int) -> bytes:
            data = disk.pread(length, offset)
            assert data == twin.read(length, offset), f"two readers disagree, {length} bytes at {offset}"
            return data

        expectation.check(both)
        if survey.disk.entries < MANY_ENTRIES or self._luck(20):
            _check_extents(disk, survey)
        return survey

    def _look_closer(self, content: Content, survey: Survey, expectation: Expectation) -> None:
        if survey.log.entries and self._luck(self.density.replay):
            _check_replay(content, survey)
        if self._luck(self.density.naive):
            self._check_naive(content, expectation)

    def _check_naive(self, content: Content, expectation: Expectation) -> None:
        leaf = image.load(ContentStorage(content))
        below = [layer.file for layer in self.family.below(leaf)]
        naive: NaiveDisk | None = None
        for file in reversed(below):
            assert isinstance(file, ContentStorage)
            naive = naive_disk(*as_file(file.content), naive)
        read = naive_disk(*as_file(content), naive).read
        disk = self.family.disk(leaf)
        for run in expectation.runs[:12]:
            length = min(run.length, 1024)
            assert read(run.offset, length) == disk.pread(length, run.offset), run.offset

    def _recover(self, content: Content, where: Where) -> None:
        name, recovery = self.chance.choice(RECOVERIES)
        seed = self.chance.getrandbits(32)
        story = f"{where}\nand then recovery {name!r}, seed {seed}"
        session = ChainSession(content, self.family, seed, story=story)
        try:
            recovery(session)
            after = self.surveyor.survey(session.storage.content)
            assert name == "look" or after.log.guid == ZERO_GUID, "the log is still dirty"
            assert name == "look" or not after.warnings, after.warnings
        except Exception as error:
            raise CrashError(f"{error!r}\n{session.story}") from error
        finally:
            session.forget()
        self.explore(session, depth=1)


def _check_extents(disk: VhdxDisk, survey: Survey) -> None:
    """What the leaf is said to hold stands inside the blocks that the survey found."""
    size = survey.disk.block_size
    for extent in disk.extents():
        if extent.kind is ExtentKind.DATA and extent.depth == 1:
            assert extent.file_offset is not None
            place = survey.blocks[extent.offset // size]
            assert extent.file_offset - extent.offset % size == place
