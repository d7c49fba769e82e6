"""The requests of one client, from the first to the last.

The connection's thread carries out most of them itself, all that have come at once before it looks for more,
and answers them together: a small read costs no change of threads. What lasts goes to helpers of this
connection alone, so that whatever a client does, only the client itself waits.
"""

from __future__ import annotations

import threading
from time import perf_counter
from typing import TYPE_CHECKING

from vhdx.nbd.answers import PIECE
from vhdx.nbd.helpers import Helpers
from vhdx.nbd.inbox import Inbox
from vhdx.nbd.wire import Command, CommandFlag, Error

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vhdx.nbd.answers import Answers
    from vhdx.nbd.transmit import Buffers, Request
    from vhdx.nbd.transport import Transport

HELPERS = 4
HANDED_OVER = 256 * 1024
"""Bytes of the longest READ or WRITE that a helper gets: what one costs of memory while a client is slow."""
_SLOW = 0.001
"""Seconds after which a read or write is taken for one that waits for the host's disk."""
_SLOW_ONES = 64
"""So many reads and writes after a slow one are handed over if others wait behind them."""
_QUICK_ERASE = 64 * 1024 * 1024
_TOGETHER = 128 * 1024
"""Bytes of answers that are sent together."""
_BUFFERS_TOGETHER = 512
_READ, _WRITE = int(Command.READ), int(Command.WRITE)
_DISCONNECT, _FLUSH = int(Command.DISCONNECT), int(Command.FLUSH)
_FUA, _PAYLOAD = int(CommandFlag.FUA), int(CommandFlag.PAYLOAD_LEN)
_ERASING = frozenset({int(Command.TRIM), int(Command.WRITE_ZEROES)})


class Serving:
    """Takes requests in and sends answers until the client leaves or the server stops."""

    def __init__(self, transport: Transport, answers: Answers, seconds: float) -> None:
        self._transport = transport
        self._answers = answers
        self._inbox = Inbox(transport, seconds)
        self._helpers = Helpers(0 if transport.one_thread else HELPERS)
        self._sending = threading.Lock()
        self._stopping = False
        self._failure: Exception | None = None
        self._slow_ones = 0
        self._waiting: Buffers = []
        self._waiting_bytes = 0
        self._piece: memoryview | None = None

    def stop(self) -> None:
        """Carry out what came, take nothing more. From any thread."""
        self._stopping = True
        self._transport.stop_receiving()

    def cut(self) -> None:
        """End at once. From any thread."""
        self._stopping = True
        self._transport.shut()

    def run(self) -> None:
        """Serve until the client leaves; what is under way is carried out also where it fails us."""
        try:
            while self._batch():
                pass
            self._send_waiting()
        except BaseException:
            self._transport.shut()  # helpers that wait for the client wake up
            raise
        finally:
            self._helpers.finish()
        if self._failure is not None:
            raise self._failure

    def _batch(self) -> bool:
        """All requests that have come; False if there will be no more."""
        inbox, requests = self._inbox, self._answers.requests
        size = requests.frame_size
        if not inbox.wait_for_frame(size):
            return False
        while inbox.end - inbox.start >= size:
            request = requests.parse(inbox.buffer, inbox.start)
            inbox.start += size
            if request.type == _DISCONNECT:
                return False
            if self._stopping:
                self._put(self._answers.refused(request, Error.ESHUTDOWN))
                return False
            if request.type == _READ and not request.flags & _PAYLOAD:
                self._read(request)
            else:
                self._other(request, requests.payload_length(request))
        self._send_waiting()
        return True

    def _read(self, request: Request) -> None:
        if request.length > PIECE:
            self._send_waiting()
            self._send(self._answers.long_read(request))
        elif not (self._slow_ones and self._others_wait() and self._handed_over(request, b"")):
            self._put(self._timed(request, b""))

    def _other(self, request: Request, length: int) -> None:
        """Everything but plain reads."""
        inbox = self._inbox
        if length > PIECE:
            self._long_write(request, length)
            return
        payload = memoryview(b"")
        if length:
            payload = inbox.take(length) if length <= inbox.end - inbox.start else self._received(length)
        lasting = (
            request.type == _FLUSH
            or request.flags & _FUA
            or (request.type in _ERASING and request.length > _QUICK_ERASE)
        )
        if lasting or (self._slow_ones and self._others_wait()):
            # What was done before may be asked for by whoever waits for this.
            self._send_waiting()
            if self._handed_over(request, payload):
                return
        self._put(self._timed(request, payload))

    def _received(self, length: int) -> memoryview:
        """A payload that has not come wholly; answers do not wait for it."""
        self._send_waiting()
        piece = self._own_piece()[:length]
        self._inbox.fill(piece)
        return piece

    def _own_piece(self) -> memoryview:
        if self._piece is None:
            self._piece = memoryview(bytearray(PIECE))
        return self._piece

    def _long_write(self, request: Request, length: int) -> None:
        """Piece by piece, so that no client makes us hold all of it. The payload is taken in to its end."""
        self._send_waiting()
        answers = self._answers
        refused = answers.requests.refusal(request) if request.type == _WRITE else Error.EINVAL
        failure: Exception | None = None
        for start in range(0, length, PIECE):
            piece = self._own_piece()[: min(PIECE, length - start)]
            self._inbox.fill(piece)
            if not refused and failure is None:
                failure = answers.write_piece(piece, request.offset + start)
        if refused:
            self._put(answers.refused(request, refused))
        elif failure is not None:
            self._put(answers.failed(request, failure))
        else:
            self._put(self._end_of_write(request))

    def _end_of_write(self, request: Request) -> Buffers:
        try:
            return self._answers.written(request)
        except Exception as error:  # noqa: BLE001  as in Answers.answer
            return self._answers.failed(request, error)

    def _others_wait(self) -> bool:
        return self._inbox.start != self._inbox.end

    def _timed(self, request: Request, payload: bytes | memoryview) -> Buffers:
        begin = perf_counter()
        buffers = self._answers.answer(request, payload)
        if perf_counter() - begin > _SLOW:
            self._slow_ones = _SLOW_ONES
        elif self._slow_ones:
            self._slow_ones -= 1
        return buffers

    def _handed_over(self, request: Request, payload: bytes | memoryview) -> bool:
        """Give a request to a helper, with a payload of its own; whether one is free."""
        if request.type in (_READ, _WRITE) and request.length > HANDED_OVER:
            return False
        kept = bytes(payload)

        def job() -> None:
            try:
                self._send([self._answers.answer(request, kept)])
            except Exception as error:  # noqa: BLE001  told by the connection's own thread
                self._failure = self._failure or error
                self._transport.shut()

        self._slow_ones = max(0, self._slow_ones - 1)
        return self._helpers.take(job)

    def _put(self, buffers: Buffers) -> None:
        """Let an answer wait for others that leave with it."""
        self._waiting += buffers
        for buffer in buffers:
            self._waiting_bytes += len(buffer)
        if self._waiting_bytes >= _TOGETHER or len(self._waiting) >= _BUFFERS_TOGETHER:
            self._send_waiting()

    def _send_waiting(self) -> None:
        if self._waiting:
            buffers, self._waiting, self._waiting_bytes = self._waiting, [], 0
            with self._sending:
                self._transport.send(buffers)

    def _send(self, answers: Iterable[Buffers]) -> None:
        """Parts of one answer, nothing of another between them."""
        with self._sending:
            for buffers in answers:
                self._transport.send(buffers)
