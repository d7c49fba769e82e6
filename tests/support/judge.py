"""The judge of damaged files: right bytes, or one clear error that says where. Nothing else is let pass."""

import enum
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import vhdx

from .layout import MIB, seal
from .naive import naive_reader

FOUND_NOWHERE = (vhdx.ParentNotFoundError, vhdx.ParentMismatchError)


class Answer(enum.Enum):
    """How the library took a damaged file."""

    READ = "everything was read, and right"
    PARTLY = "some of it was read, and right, and some refused"
    REFUSED = "it was refused when it was opened"


class WrongAnswerError(AssertionError):
    """The library gave wrong bytes, or an error that is none of its own or does not say where."""


class Change(NamedTuple):
    """One change of a file: what the test calls it, and the bytes at their file offsets."""

    name: str
    pieces: Sequence[tuple[int, bytes]]


def judge(path: Path, parents: Sequence[Path] = ()) -> Answer:
    """Open the file, read a sample of it and list its extents; compare with the naive reader."""
    try:
        disk = vhdx.open(path, lock=False)
    except Exception as error:  # noqa: BLE001  whatever it is, it is looked at
        check_words(error)
        return Answer.REFUSED
    refused = False
    with disk, ExitStack() as stack:
        twin = _twin(stack, path, parents)
        for offset, length in _samples(disk.size):
            try:
                got = disk.pread(length, offset)
            except Exception as error:  # noqa: BLE001
                check_words(error)
                refused = True
                continue
            _compare(got, twin, offset)
        try:
            end = 0
            for extent in islice(disk.extents(), 1000):
                assert extent.offset == end, extent
                end = extent.end
        except AssertionError as error:
            raise WrongAnswerError(str(error)) from error
        except Exception as error:  # noqa: BLE001
            check_words(error)
            refused = True
    return Answer.PARTLY if refused else Answer.READ


def _samples(size: int) -> Iterator[tuple[int, int]]:
    for offset in dict.fromkeys((0, MIB - 1024, size // 2, size - 1536)):
        start = max(0, min(offset, size - 1))
        yield start, min(2048, size - start)


def _twin(stack: ExitStack, path: Path, parents: Sequence[Path]) -> Callable[[int, int], bytes]:
    try:
        return stack.enter_context(naive_reader(path, parents))
    except Exception as error:
        raise WrongAnswerError(f"the file is opened, but {error!r}") from error


def _compare(got: bytes, twin: Callable[[int, int], bytes], offset: int) -> None:
    try:
        want = twin(offset, len(got))
    except Exception as error:
        raise WrongAnswerError(f"{len(got)} bytes at {offset} are read, but {error!r}") from error
    if got != want:
        raise WrongAnswerError(f"{len(got)} bytes at {offset} are wrong")


def check_words(error: Exception) -> None:
    """Raise WrongAnswerError unless it is an error of the library that says file, place and rule."""
    if not isinstance(error, vhdx.VhdxError):
        raise WrongAnswerError(f"{error!r} is none of the library's errors") from error
    structure = error.structure or "?"
    placed = error.file_offset is not None or isinstance(error, FOUND_NOWHERE)
    if not (placed and error.image and error.rule and structure in str(error)):
        raise WrongAnswerError(f"{error!r} does not say file, structure, file offset and rule") from error
    if error.file_offset is not None and f"at file offset {error.file_offset}" not in str(error):
        raise WrongAnswerError(f"{error} does not name file offset {error.file_offset}") from error


class Victim:
    """A file that is changed, judged and repaired again, once for each change."""

    def __init__(self, path: Path, parents: Sequence[Path] = ()) -> None:
        self.path, self.parents = path, parents
        self.original = path.read_bytes()

    def _put(self, data: bytes, offset: int) -> None:
        """Write, and let go of the file: nobody reads on Windows what is open to be written."""
        with self.path.open("r+b", buffering=0) as file:
            file.seek(offset)
            file.write(data)

    def judged(self, changes: Iterable[Change]) -> dict[Answer, list[str]]:
        """The changes by the answer that each got; raises with the first ten wrong answers, if any."""
        answers: dict[Answer, list[str]] = {answer: [] for answer in Answer}
        wrong = []
        for change in changes:
            for offset, data in change.pieces:
                self._put(data, offset)
            try:
                answers[judge(self.path, self.parents)].append(change.name)
            except WrongAnswerError as error:
                wrong.append(f"{change.name}: {error}")
            for offset, data in change.pieces:
                self._put(self.original[offset : offset + len(data)], offset)
        assert not wrong, f"{len(wrong)} wrong answers:\n" + "\n".join(wrong[:10])
        return answers

    def flips(
        self, offsets: Iterable[int], mask: int = 0xFF, sealed: range | None = None
    ) -> Iterator[Change]:
        """One byte after the other flipped; `sealed` is the structure whose checksum is made to fit."""
        for offset in offsets:
            byte = bytes([self.original[offset] ^ mask])
            name = f"byte {offset:#x} ^ {mask:#x}{', resealed' if sealed else ''}"
            if sealed is None:
                yield Change(name, [(offset, byte)])
                continue
            structure = bytearray(self.original[sealed.start : sealed.stop])
            structure[offset - sealed.start] ^= mask
            checksum = seal(bytes(structure))[4:8]
            yield Change(name, [(offset, byte), (sealed.start + 4, checksum)])
