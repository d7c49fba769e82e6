"""From a parent locator to a verified file [MS-VHDX 2.6.2.6]: the identity decides, never the name."""

from __future__ import annotations

import contextlib

from vhdx import rules
from vhdx.disk.places import Places
from vhdx.errors import ParentMismatchError, ParentNotFoundError, UnsupportedImageError, VhdxError
from vhdx.format import locator
from vhdx.image import image, metadata
from vhdx.rules import Finding, Place
from vhdx.storage.file import FileStorage
from vhdx.text import command, quoted
from vhdx.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from uuid import UUID

    from vhdx.disk.places import ParentPolicy
    from vhdx.image.image import Image
    from vhdx.image.vhd import VhdImage
    from vhdx.storage.base import ReadableStorage

    Load = Callable[[ReadableStorage], Image]

MAXIMUM_DEPTH = 256


def open_chain(leaf: Image, policy: ParentPolicy, *, lock: bool) -> list[Image]:
    """The image and all its parents, each opened and verified. Closes what it opened if one is missing."""
    layers = [leaf]
    with closing_parents(layers):
        _add_parents(layers, policy, lock=lock, load=image.load)
    return layers


def salvaged_chain(leaf: Image, policy: ParentPolicy, *, lock: bool) -> tuple[list[Image], str | None]:
    """The image and its parents as far as they are there, damaged ones too; and why the chain ends early."""
    from vhdx.examine import salvage  # noqa: PLC0415  sound images need not wait for it

    layers = [leaf]
    with closing_parents(layers):
        try:
            _add_parents(layers, policy, lock=lock, load=salvage.load)
        except (VhdxError, OSError) as error:
            return layers, first_sentence(error)
    return layers, None


@contextlib.contextmanager
def closing_parents(layers: list[Image] | list[VhdImage]) -> Iterator[None]:
    """Close all layers but the first, also those added meanwhile, if the block raises, whatever it raises."""
    try:
        yield
    except BaseException:
        for layer in layers[1:]:
            layer.storage.close()
        raise


def first_sentence(error: VhdxError | OSError) -> str:
    """What happened, without the list of what was tried."""
    message = error.message if isinstance(error, VhdxError) else error.strerror or str(error)
    return message.partition("\n")[0].removesuffix(" Tried:").removesuffix(".")


def _add_parents(layers: list[Image], policy: ParentPolicy, *, lock: bool, load: Load) -> None:
    while layers[-1].metadata.has_parent:
        layers.append(open_parent(layers, policy, lock=lock, load=load))


def open_parent(layers: list[Image], policy: ParentPolicy, *, lock: bool, load: Load = image.load) -> Image:
    """The parent of the last of these layers, opened and verified.

    Raises ParentNotFoundError or ParentMismatchError with every path tried, and what opening raises.
    """
    if len(layers) >= MAXIMUM_DEPTH:
        raise UnsupportedImageError(f"the chain has more than {MAXIMUM_DEPTH} images", image=layers[0].name)
    return _Search(layers, policy, lock=lock, load=load).parent()


def found_parent(loaded: Image, policy: ParentPolicy) -> Image | None:
    """The parent that opening an image finds, opened; None if it has none, or none is found."""
    if not loaded.metadata.has_parent:
        return None
    try:
        return open_parent([loaded], policy, lock=False)
    except (VhdxError, OSError):
        return None


def salvage_of(leaf: str, policy: ParentPolicy) -> str:
    """The command that saves what can be read of a chain, by the name of the image that was opened."""
    parents = [("--parent-dir {}", directory) for directory in policy.directories]
    words = ["convert --salvage {} SALVAGED.vhdx", *(option for option, _ in parents)]
    words += ["--any-parent"] if policy.any_parent else []
    return command(" ".join(words), leaf, *(path for _, path in parents))


def advise_salvage(file: ReadableStorage, salvage: str) -> None:
    """What the host cannot read of one file of a chain is saved from the chain as a whole."""
    if isinstance(file, FileStorage):
        file.salvage = salvage


def others_of(found: list[str]) -> str:
    """A remark on files that were not taken although they have the parent's identity."""
    others = ", ".join(map(quoted, found[1:_TOLD_OTHERS]))
    others += " …" if len(found) > _TOLD_OTHERS else ""
    return f"{quoted(found[0])} was taken for the parent; the same identity have {others}"


_TOLD_OTHERS = 6


def _remarked(parent: Image, remark: str) -> Image:
    finding = Finding(rules.PARENT_SEVERAL, Place("parent", 0), remark)
    return parent._replace(findings=(*parent.findings, finding))


_ELSEWHERE = "--parent-dir DIR finds it in another directory, whatever its name there.\n"


class _Search:
    """One search for the parent of the last layer."""

    def __init__(self, layers: list[Image], policy: ParentPolicy, *, lock: bool, load: Load) -> None:
        self._load = load
        self._child = layers[-1]
        self._lock = lock
        self._open_file = policy.open_file
        self._salvage = salvage_of(layers[0].name, policy)
        advise_salvage(layers[0].file, self._salvage)
        self._looks_in_directories = bool(policy.directories)
        self._values = self._child.metadata.locator or {}
        self._linkages = metadata.linkages(self._values)
        self._in_chain = {layer.file.identity() for layer in layers} - {None}
        self._places = Places(self._child.file, policy)
        self._mismatch = False

    def parent(self) -> Image:
        """The parent, opened. Raises ParentNotFoundError or ParentMismatchError with every path tried."""
        named = [(self._values.get(key, ""), key == locator.RELATIVE_PATH) for key in locator.PATH_KEYS]
        for path in self._places.candidates(named):
            if self._is_parent(path):
                return self._opened(path)
        values = [value for value, _ in named]
        found = self._places.in_directories(lambda path: self._identity_of(path) in self._linkages, values)
        if not found:
            raise self._failure()
        parent = self._opened(found[0])
        return _remarked(parent, others_of(found)) if len(found) > 1 else parent

    def _is_parent(self, path: str) -> bool:
        identity = self._identity_of(path)
        if identity is None:
            return False
        if identity in self._linkages:
            return True
        self._mismatch = True
        self._places.refused[path] = f"is another image, or was written to: its DataWriteGuid is {identity}"
        return False

    def _identity_of(self, path: str) -> UUID | None:
        """The DataWriteGuid of a file that may be a parent; None after noting why it may not."""
        file = self._places.opened(path)
        if file is None:
            return None
        try:
            if file.identity() in self._in_chain:
                self._places.refused[path] = "is in the chain already"
                return None
            return image.write_identity(file).data_write_guid
        except (OSError, VhdxError) as error:
            self._places.note_failure(path, error)
            return None
        finally:
            file.close()

    def _opened(self, path: str) -> Image:
        """Open what was recognised, with a lock now, and verify it again under the lock."""
        file = self._open_file(path, self._lock)
        advise_salvage(file, self._salvage)
        try:
            parent = self._load(file)
            if parent.header.data_write_guid not in self._linkages:
                raise ParentMismatchError("the file changed while it was opened", image=path)
            ours, theirs = self._child.geometry.logical_sector_size, parent.geometry.logical_sector_size
            if ours != theirs:
                raise ParentMismatchError(
                    f"its logical sectors have {theirs} bytes, those of its child {self._child.name} {ours}",
                    image=path,
                    rule="2.6.2.4",
                )
        except BaseException:
            file.close()
            raise
        return parent

    def _failure(self) -> VhdxError:
        kind = ParentMismatchError if self._mismatch else ParentNotFoundError
        wanted = " or ".join(str(guid) for guid in sorted(self._linkages))
        hint = "" if self._looks_in_directories else _ELSEWHERE
        if self._mismatch:
            rebase = command("rebase {} --parent FILE --ignore-identity", self._child.name)
            hint = f"Where one of them is the parent and somebody wrote to it, {rebase} "
            hint += "takes it as it is: the child then shows what was written, too.\n"
        return kind(
            f"the parent with DataWriteGuid {wanted} was not found. Tried:{self._places.tried()}\n{hint}",
            image=self._child.name,
            structure="parent locator",
            rule="2.6.2.6",
            next_command=self._advice(),
        )

    def _advice(self) -> str:
        """The next command, by what became of the paths that were named."""
        child = self._child.name
        if self._places.outside:
            return command("info {} --chain --any-parent", child)
        if self._mismatch:  # the right one may be elsewhere, under another name
            return command("info {} --chain --parent-dir DIR", child)
        return command("rebase {} --parent FILE", child)
