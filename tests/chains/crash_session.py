"""Somebody who works with a chain whose leaf lies on a storage that lies; the parents are only read."""

from collections.abc import Sequence
from functools import partial
from uuid import UUID

from tests.crash.session import Session
from tests.support.expectation import Opened
from tests.support.layout import HEADER
from tests.support.soundness import Survey, Surveyor
from tests.support.sparse import PAGE, SECTOR, SECTORS_OF_A_PAGE, ZERO_SECTOR, Content, ContentStorage
from vhdx.disk.chain import VhdxDisk
from vhdx.image import image
from vhdx.image.image import Image
from vhdx.ops.rebase import _copy_differences
from vhdx.write.write import Writer

from .twin import Twin, layer_of_survey


class Family:
    """The files under a leaf, by DataWriteGuid: which of them are its parents its locator says."""

    def __init__(self, chains: Sequence[Sequence[Content]]) -> None:
        self._chains: dict[UUID, list[Image]] = {}
        self._surveys: dict[UUID, list[Survey]] = {}
        for chain in chains:
            surveys = [Surveyor().survey(content) for content in chain]
            guid = HEADER.guid(surveys[0].header, "data_write_guid")
            self._surveys[guid] = surveys
            self._chains[guid] = [image.load(ContentStorage(content)) for content in chain]

    def known(self) -> list[UUID]:
        """The parents that a leaf may have, the first one first."""
        return list(self._chains)

    def _guid(self, leaf: Image) -> UUID:
        assert leaf.metadata.locator is not None
        return UUID(leaf.metadata.locator["parent_linkage"])

    def below(self, leaf: Image) -> list[Image]:
        """The layers under a leaf."""
        return self._chains[self._guid(leaf)]

    def disk(self, leaf: Image) -> VhdxDisk:
        """The chain, for reading."""
        return VhdxDisk((leaf, *self.below(leaf)))

    def twin(self, leaf: Image, survey: Survey) -> Twin:
        """The chain as the twin sees it."""
        below = self._surveys[self._guid(leaf)]
        return Twin([layer_of_survey(survey), *map(layer_of_survey, below)])

    def pages(self) -> set[int]:
        """The pages of the disk that any parent says something of."""
        found = set()
        for surveys in self._surveys.values():
            for survey in surveys:
                found |= disk_pages(survey)
        return found


def disk_pages(survey: Survey) -> set[int]:
    """The pages of the disk for which a file has bytes."""
    found = set()
    for number in survey.content.pages:
        owned = survey.owners.get(number // 256)
        if owned is not None:
            found.add(owned * 256 + number % 256)
    return {page for page in found if page * PAGE < survey.disk.size}


class ChainSession(Session):
    """As its base; sectors of zeros over a parent's data are remembered, too, so that they are looked at."""

    def __init__(self, content: Content, family: Family, seed: int = 0, *, story: str = "") -> None:
        super().__init__(content, seed, story=story)
        self.family = family
        twin = family.twin(image.load(ContentStorage(content)), self.survey)
        self.before = {}
        for page in sorted(disk_pages(self.survey) | family.pages()):
            if page * PAGE < self.size:
                data = twin.read(min(PAGE, self.size - page * PAGE), page * PAGE)
                for index in range(len(data) // SECTOR):
                    sector = data[index * SECTOR : (index + 1) * SECTOR]
                    self.before[page * SECTORS_OF_A_PAGE + index] = (
                        ZERO_SECTOR if sector == ZERO_SECTOR else sector
                    )
        self.newest = dict(self.before)

    @property
    def disk(self) -> VhdxDisk:
        """The chain, opened if need be."""
        if self._disk is None:
            self.record.mark(Opened())
            self._opened_at = len(self.record.operations)
            leaf = image.load(self.storage)
            below = self.family.below(leaf)
            self._disk = VhdxDisk(
                (leaf, *below), partial(Writer, self.storage, leaf, below=VhdxDisk(below) if below else None)
            )
        return self._disk

    def _below(self, leaf: Image) -> VhdxDisk | None:
        return VhdxDisk(self.family.below(leaf))

    def rebase(self, guid: UUID, *, safe: bool) -> None:
        """As `vhdx rebase`, the parent already found. A reader sees no difference, as after repairing."""
        disk = self.disk
        new_parent = VhdxDisk(self.family._chains[guid])
        if safe:
            self._ask("write", 0, self.size)
            _copy_differences(disk, new_parent, None)
            disk.flush()
        self._ask("repair")
        disk.replace_locator({"parent_linkage": f"{{{guid}}}", "relative_path": f".\\{guid}.vhdx"})
        self._settle()
        disk.close()
        self._disk = None
