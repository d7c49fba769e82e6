"""Objects in object stores as places for bytes: ranges, several at once, of one state of the object."""

from __future__ import annotations

import errno
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from vhdx.storage.base import ended_early
from vhdx.storage.kept_blocks import BLOCK_SIZE, KeptBlocks
from vhdx.storage.object_stores import address_from, changed, failure, store_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import TypeVar

    from obstore import GetOptions, ObjectMeta

    from vhdx.storage.object_stores import ObjectAddress, Store

    Found = TypeVar("Found")

AT_ONCE = 8
"""How many ranges are fetched at the same time."""
_BEGINNING = 5
"""Blocks that hold what every VHDX begins with: identifier, headers, region tables."""


def object_storage(url: str) -> ObjectStorage:
    """What stands behind an address. Raises OSError, and ValueError for what names no object."""
    address = address_from(url)
    return ObjectStorage(store_of(address), address)


class ObjectStorage:
    """An object as it was when it was opened: each request says which state of it is wanted.

    obstore's `get_ranges` cannot say that; so each range is a request of its own, and several run at once.
    """

    def __init__(self, store: Store, address: ObjectAddress) -> None:
        import obstore  # noqa: PLC0415  an extra, which `store_of` has found

        self._get, self._precondition = obstore.get, obstore.exceptions.PreconditionError
        self._store = store
        self._address = address
        self._meta: ObjectMeta | None = None
        self._meta = self._asked(lambda: obstore.head(store, address.key))
        self._size = self._meta["size"]
        self._is_changed = self._is_closed = False
        self._pool: ThreadPoolExecutor | None = None
        self._starting = threading.Lock()
        self._kept = KeptBlocks(self._fetch, self._size)
        if self._size:
            last = (self._size - 1) // BLOCK_SIZE
            self._kept.load(sorted({*range(min(_BEGINNING, last)), last}))

    @property
    def name(self) -> str:
        """The address."""
        return self._address.url

    def size(self) -> int:
        """The length of the object."""
        return self._size

    def identity(self) -> None:
        """No file is known."""

    def read(self, length: int, file_offset: int) -> bytes:
        """Exactly ``length`` bytes. Raises ImageFailedError once the object is another one."""
        if self._is_closed:
            raise OSError(errno.EBADF, "it was closed", self.name)
        if file_offset + length > self._size:
            raise ended_early(self.name, file_offset, length)
        return self._kept.read(file_offset, file_offset + length) if length else b""

    def read_into(self, buffer: memoryview, file_offset: int) -> None:
        """Fill the buffer."""
        buffer[:] = self.read(len(buffer), file_offset)

    def data_ranges(self, file_offset: int, length: int) -> Iterator[tuple[int, int]]:
        """The whole range: objects have no holes."""
        if length:
            yield file_offset, length

    def close(self) -> None:
        """Ask for nothing from now on."""
        with self._starting:
            self._is_closed = True
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)
        self._kept.clear()

    def _fetch(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        if len(ranges) == 1:
            return [self._range(*ranges[0])]
        return list(self._workers().map(lambda each: self._range(*each), ranges))

    def _workers(self) -> ThreadPoolExecutor:
        with self._starting:
            if self._is_closed:
                raise OSError(errno.EBADF, "it was closed", self.name)
            if self._pool is None:
                self._pool = ThreadPoolExecutor(AT_ONCE, "ranges of an object")
            return self._pool

    def _range(self, start: int, end: int) -> bytes:
        """Exactly these bytes, of the object that was opened."""
        if self._is_changed:
            raise changed(self.name)
        options = self._wanted()
        options["range"] = (start, end)
        result = self._asked(lambda: self._get(self._store, self._address.key, options=options))
        if self._state_of(result.meta) != self._state_of(self._meta):
            raise self._replaced()
        data = bytes(self._asked(result.bytes))
        if len(data) != end - start:
            said = f"the store delivered {len(data)} of {end - start} bytes at offset {start}"
            raise OSError(errno.ECONNABORTED, said, self.name)
        return data

    def _wanted(self) -> GetOptions:
        """The state that was opened, in the words of a request."""
        assert self._meta is not None
        if self._meta["e_tag"] is None:
            return {"if_unmodified_since": self._meta["last_modified"]}
        return {"if_match": self._meta["e_tag"]}

    @staticmethod
    def _state_of(meta: ObjectMeta | None) -> tuple[object, ...] | None:
        """Also stores that heed no conditions say which state they deliver."""
        return None if meta is None else (meta["e_tag"] or meta["last_modified"], meta["size"])

    def _replaced(self) -> Exception:
        self._is_changed = True
        return changed(self.name)

    def _asked(self, call: Callable[[], Found]) -> Found:
        """What the store answers. Raises ImageFailedError if that is no more what was opened."""
        try:
            return call()
        except self._precondition:
            raise self._replaced() from None
        except FileNotFoundError as error:
            raise (failure(error, self._address) if self._meta is None else self._replaced()) from None
        except Exception as error:  # noqa: BLE001  obstore has a tree of errors of its own
            raise failure(error, self._address) from None
