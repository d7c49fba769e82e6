"""Parts of an object that several threads send."""

import threading
from collections.abc import Mapping

from vhdx.storage.multipart import Part, PartSizes
from vhdx.storage.uploading import Finished, UploadingStorage

PARTS = 40


class _Store:
    """A store that takes everything at once."""

    upload_id = "1"

    def give_up(self, *, given_up: bool) -> None:
        assert not given_up

    def kept_of(self, parts: Mapping[int, Part]) -> dict[int, Part] | None:
        return dict(parts)

    def put(self, number: int, data: bytes | bytearray, digest: bytes) -> Part:
        return Part(len(data), digest.hex(), str(number))

    def complete(self, parts: Mapping[int, Part], *, overwrite: bool) -> None:
        assert sorted(parts) == list(range(1, PARTS + 1))
        assert overwrite

    def abort(self) -> None:
        raise AssertionError


class _Count(int):
    """A number to which something is added slowly, the first time until somebody else adds, too."""

    other = threading.Event()
    inside = 0

    def __add__(self, more: int) -> "_Count":
        if _Count.inside:
            _Count.other.set()
        _Count.inside += 1
        if not self:
            _Count.other.wait(0.1)
        _Count.inside -= 1
        return _Count(int(self) + more)


def test_every_part_is_counted_whoever_sends_it() -> None:
    """Without a GIL two threads that add at once would count one."""
    parts: dict[int, Part] = {}
    storage = UploadingStorage(_Store(), PartSizes(1, 8), Finished({}, parts.__setitem__), "an object")
    storage.sent = _Count()
    storage.write_at(b"x" * PARTS, 0)
    storage.finish(overwrite=True)
    assert (storage.sent, storage.kept, len(parts)) == (PARTS, 0, PARTS)
    again = UploadingStorage(_Store(), PartSizes(1, 8), Finished(parts, parts.__setitem__), "an object")
    again.kept = _Count()
    again.write_at(b"x" * PARTS, 0)
    again.finish(overwrite=True)
    assert (again.sent, again.kept) == (0, PARTS)
