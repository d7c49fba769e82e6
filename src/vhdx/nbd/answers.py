"""From a request to the buffers that answer it, by way of the export. Knows no sockets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vhdx.nbd.export import failure_of
from vhdx.nbd.prepared import Prepared
from vhdx.nbd.transmit import Requests, replies_of
from vhdx.pieces import pieces
from vhdx.wire import BLOCK_STATUS, FUA, PAYLOAD_LEN, READ, Command, CommandFlag, Error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vhdx.nbd.export import Export
    from vhdx.nbd.negotiate import Agreement
    from vhdx.nbd.transmit import Buffers, Request

PIECE = 1024 * 1024
"""Bytes that are read, or written, at once: what one request takes of memory."""
_TEXTS = {
    Error.EINVAL: "invalid request",
    Error.EPERM: "the export is read-only",
    Error.ENOSPC: "past the end of the export",
    Error.EOVERFLOW: "too long",
    Error.ESHUTDOWN: "the server stops",
}


class CutShortError(Exception):
    """Contents could not be read after their header had been sent: nothing can be said to the client."""


class Answers:
    """Carries out the requests of one client. Safe to use from several threads."""

    def __init__(self, export: Export, agreement: Agreement, on_failure: Callable[[Exception], None]) -> None:
        self._export = export
        self._contexts = agreement.contexts
        self.requests = Requests(agreement)
        self.prepared = Prepared(agreement)
        self._replies = replies_of(agreement)
        self._must_not_fail = not (agreement.structured or agreement.extended)
        self._on_failure = on_failure
        self._told_full = False

    def answer(
        self,
        request: Request,
        payload: bytes | bytearray | memoryview = b"",
        piece: bytearray | None = None,
    ) -> Buffers:
        """Carry out a request; a READ of at most PIECE bytes, a WRITE with all of its payload.

        A READ goes into ``piece``, if one is given: the answer is valid until that is used again.
        """
        if request.flags & PAYLOAD_LEN and request.type == BLOCK_STATUS:
            return self._asked_status(request, bytes(payload))
        if refusal := self.requests.refusal(request):
            return self.refused(request, refusal)
        try:
            if request.type == READ:
                if piece is None:
                    data: bytes | bytearray = self._export.read(request.length, request.offset)
                else:
                    data = piece
                    self._export.read_into(memoryview(data)[: request.length], request.offset)
                contents = self._replies.contents(request, data, request.length, request.offset, last=True)
                return self._replies.read_begins(request) + contents
            return _HANDLERS[request.type](self, request, payload)
        except Exception as error:  # noqa: BLE001  whatever happens, the client gets an answer
            return self.failed(request, error)

    def quick_read(self, length: int, offset: int) -> bytes | None:
        """The contents of a range that is in order; None where that fails, which `answer` tells of."""
        try:
            return self._export.read(length, offset)
        except Exception:  # noqa: BLE001  it is carried out again by `answer`, which tells of it
            return None

    def quick_write(self, data: memoryview, offset: int) -> bool:
        """Write a range that is in order; False where that fails, which `answer` tells of."""
        try:
            self._export.write(data, offset)
        except Exception:  # noqa: BLE001  as in `quick_read`
            return False
        return True

    def refused(self, request: Request, error: Error) -> Buffers:
        """What to say to a request that is not carried out."""
        return self._replies.failed(request, error, _TEXTS[error])

    def failed(self, request: Request, error: Exception) -> Buffers:
        """What to say after an exception, which is told to whoever runs the server."""
        failure = failure_of(error)
        if failure.error is Error.EIO or (failure.error is Error.ENOSPC and not self._told_full):
            self._told_full = self._told_full or failure.error is Error.ENOSPC
            self._on_failure(error)
        return self._replies.failed(request, failure.error, failure.text)

    def long_read(self, request: Request, piece: bytearray) -> Iterator[Buffers]:
        """A READ of more than PIECE bytes, piece by piece, so that no client makes us hold all of it.

        Each answer is in the same memory, valid until the next is asked for.
        Raises CutShortError where a client with simple replies was promised what then could not be read.
        """
        if refusal := self.requests.refusal(request):
            yield self.refused(request, refusal)
            return
        began = False
        try:
            if self._must_not_fail:
                # Once in vain: what reads now will read again.
                for offset, length in pieces(request.offset, request.length, PIECE):
                    self._export.read_into(memoryview(piece)[:length], offset)
            for offset, length in pieces(request.offset, request.length, PIECE):
                self._export.read_into(memoryview(piece)[:length], offset)
                last = offset + length == request.offset + request.length
                begin = [] if began else self._replies.read_begins(request)
                began = True
                yield begin + self._replies.contents(request, piece, length, offset, last=last)
        except Exception as error:
            if began and self._must_not_fail:
                raise CutShortError from error
            yield self.failed(request, error)

    def write_piece(self, data: memoryview, offset: int) -> Exception | None:
        """A part of a WRITE that was found in order; what went wrong."""
        try:
            self._export.write(data, offset)
        except Exception as error:  # noqa: BLE001  the rest of the payload is still to be taken in
            return error
        return None

    def _write(self, request: Request, payload: bytes | bytearray | memoryview) -> Buffers:
        self._export.write(payload, request.offset)
        return self.written(request)

    def written(self, request: Request) -> Buffers:
        """The end of everything that changed something."""
        if request.flags & FUA:
            self._export.flush()
        return self._replies.done(request)

    def _flush(self, request: Request, payload: object) -> Buffers:  # noqa: ARG002  all handlers look alike
        self._export.flush()
        return self._replies.done(request)

    def _trim(self, request: Request, payload: object) -> Buffers:  # noqa: ARG002
        self._export.trim(request.length, request.offset)
        return self.written(request)

    def _cache(self, request: Request, payload: object) -> Buffers:  # noqa: ARG002
        """Nothing: the host reads ahead by itself."""
        return self._replies.done(request)

    def _write_zeroes(self, request: Request, payload: object) -> Buffers:  # noqa: ARG002
        self._export.zero(
            request.length,
            request.offset,
            no_hole=bool(request.flags & CommandFlag.NO_HOLE),
            fast_only=bool(request.flags & CommandFlag.FAST_ZERO),
        )
        return self.written(request)

    def _asked_status(self, request: Request, payload: bytes) -> Buffers:
        """BLOCK_STATUS of some contexts only, its length and their numbers in a payload."""
        asked = self.requests.asked_contexts(request, payload, self._contexts)
        if asked is None:
            return self.refused(request, Error.EINVAL)
        request, numbers = asked
        if refusal := self.requests.refusal(request):
            return self.refused(request, refusal)
        try:
            return self._status(request, numbers)
        except Exception as error:  # noqa: BLE001  as in `answer`
            return self.failed(request, error)

    def _block_status(self, request: Request, payload: object) -> Buffers:  # noqa: ARG002
        return self._status(request, list(self._contexts))

    def _status(self, request: Request, numbers: list[int]) -> Buffers:
        one = bool(request.flags & CommandFlag.REQ_ONE)
        names = [self._contexts[number] for number in numbers]
        found = self._export.status(request.length, request.offset, names, one=one)
        return self._replies.status(request, list(zip(numbers, found, strict=True)))


_HANDLERS: dict[int, Callable[[Answers, Request, bytes | bytearray | memoryview], Buffers]] = {
    Command.WRITE: Answers._write,  # noqa: SLF001  the table of this class's own methods
    Command.FLUSH: Answers._flush,  # noqa: SLF001
    Command.TRIM: Answers._trim,  # noqa: SLF001
    Command.CACHE: Answers._cache,  # noqa: SLF001
    Command.WRITE_ZEROES: Answers._write_zeroes,  # noqa: SLF001
    Command.BLOCK_STATUS: Answers._block_status,  # noqa: SLF001
}
