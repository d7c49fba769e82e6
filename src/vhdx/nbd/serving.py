"""The requests of one client, from the first to the last.

The connection's thread carries out most of them itself, all that have come at once before it looks for more,
and answers them together: a small read costs no change of threads. What lasts goes to helpers of this
connection alone, so that whatever a client does, only the client itself waits.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from vhdx.nbd.answers import PIECE
from vhdx.nbd.helpers import Helpers
from vhdx.nbd.inbox import Inbox
from vhdx.nbd.prepared import READ_LIMIT
from vhdx.nbd.watch import DiskWatch
from vhdx.pieces import pieces
from vhdx.wire import DISCONNECT, FLUSH, FUA, PAYLOAD_LEN, READ, WRITE, Command, Error

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vhdx.nbd.answers import Answers
    from vhdx.nbd.transmit import Buffers, Request
    from vhdx.nbd.transport import Transport

HELPERS = 4
HANDED_OVER = 256 * 1024
"""Bytes of the longest READ or WRITE that a helper gets: what one costs of memory while a client is slow."""
_COLD = 64
"""So many reads after one that waited for the host's disk are handed over if others wait behind them."""
_QUICK_ERASE = 64 * 1024 * 1024
_KEPT = 32 * 1024
"""Bytes of the longest contents that wait until others leave with them."""
_TOGETHER = 128 * 1024
"""Bytes of answers that are sent together."""
_BUFFERS_TOGETHER = 512
_ERASING = frozenset({int(Command.TRIM), int(Command.WRITE_ZEROES)})


class Serving:
    """Takes requests in and sends answers until the client leaves or the server stops."""

    def __init__(self, transport: Transport, answers: Answers, seconds: float) -> None:
        self._transport = transport
        self._answers = answers
        self._prepared = answers.prepared
        self._frame_size = answers.requests.frame_size
        self._inbox = Inbox(transport, seconds)
        self._helpers = Helpers(0 if transport.one_thread else HELPERS)
        self._sending = threading.Lock()
        self._stopping = False
        self._failure: Exception | None = None
        self._watch = DiskWatch()
        self._cold_reads = 0 if transport.one_thread else _COLD
        self._cold = 0
        self._waiting: Buffers = []
        self._waiting_bytes = 0
        self._piece: bytearray | None = None

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
        count = 0
        while inbox.end - inbox.start >= size:
            if small := self._small():
                count += small
                continue
            count += 1
            request = requests.parse(inbox.buffer, inbox.start)
            inbox.start += size
            if request.type == DISCONNECT:
                return False
            if self._stopping:
                self._put(self._answers.refused(request, Error.ESHUTDOWN))
                return False
            if request.type == READ and not request.flags & PAYLOAD_LEN:
                self._read(request)
            elif request.type == WRITE and not request.flags and request.length <= inbox.end - inbox.start:
                self._put(self._answers.answer(request, inbox.take(request.length)))
            else:
                self._other(request, requests.payload_length(request))
        self._send_waiting()
        if count > 1 and not self._cold and self._watch.has_waited():
            self._cold = self._cold_reads
        return True

    def _small(self) -> int:
        """Carry out the small reads and writes that come next; how many.

        Whatever is anything but in order is left to the general way, whose answers are the same: one that
        fails is carried out again there.
        """
        inbox, prepared, answers = self._inbox, self._prepared, self._answers
        if self._cold or self._stopping:
            return 0
        waiting, count = self._waiting, 0
        while inbox.end - inbox.start >= self._frame_size:
            first, cookie, offset, length = prepared.parse(inbox.buffer, inbox.start)
            if offset + length > prepared.size or not 0 < length <= READ_LIMIT:
                break
            if first == prepared.read:
                data = answers.quick_read(length, offset)
                if data is None:
                    break
                waiting.append(prepared.contents(cookie, offset, length))
                waiting.append(data)
                inbox.start += self._frame_size
                self._waiting_bytes += length
            elif first == prepared.write:
                if inbox.end - inbox.start < self._frame_size + length:  # sent apart: more may come with it
                    self._send_waiting()
                    waiting = self._waiting
                    inbox.wait_for_frame(self._frame_size + length)
                begin = inbox.start + self._frame_size
                if not answers.quick_write(inbox.view[begin : begin + length], offset):
                    break
                waiting.append(prepared.done(cookie, offset))
                inbox.start = begin + length
            else:
                break
            count += 1
            if self._waiting_bytes >= _TOGETHER or len(waiting) >= _BUFFERS_TOGETHER:
                self._send_waiting()
                waiting = self._waiting
        return count

    def _read(self, request: Request) -> None:
        if self._cold and self._handed_over(request, b""):
            self._cold -= 1
            return
        if request.length <= _KEPT:
            self._put(self._answers.answer(request))
            return
        self._send_waiting()
        if request.length <= PIECE:
            self._send([self._answers.answer(request, piece=self._own_piece())])
        else:
            self._send(self._answers.long_read(request, self._own_piece()))

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
            request.type == FLUSH
            or request.flags & FUA
            or (request.type in _ERASING and request.length > _QUICK_ERASE)
        )
        if lasting:
            # What was done before may be asked for by whoever waits for this.
            self._send_waiting()
            if self._handed_over(request, payload):
                return
        self._put(self._answers.answer(request, payload))

    def _received(self, length: int) -> memoryview:
        """A payload that has not come wholly; answers do not wait for it."""
        self._send_waiting()
        piece = memoryview(self._own_piece())[:length]
        self._inbox.fill(piece)
        return piece

    def _own_piece(self) -> bytearray:
        """Memory for what is received or sent at once; fresh memory would cost more than what goes in."""
        if self._piece is None:
            self._piece = bytearray(PIECE)
        return self._piece

    def _long_write(self, request: Request, length: int) -> None:
        """Piece by piece, so that no client makes us hold all of it. The payload is taken in to its end."""
        self._send_waiting()
        answers = self._answers
        refused = answers.requests.refusal(request) if request.type == WRITE else Error.EINVAL
        failure: Exception | None = None
        for offset, count in pieces(request.offset, length, PIECE):
            piece = memoryview(self._own_piece())[:count]
            self._inbox.fill(piece)
            if not refused and failure is None:
                failure = answers.write_piece(piece, offset)
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

    def _handed_over(self, request: Request, payload: bytes | memoryview) -> bool:
        """Give a request to a helper, with a payload of its own; whether one is free."""
        if request.type in (READ, WRITE) and request.length > HANDED_OVER:
            return False
        kept = bytes(payload)

        def job() -> None:
            try:
                self._send([self._answers.answer(request, kept)])
            except Exception as error:  # noqa: BLE001  told by the connection's own thread
                self._failure = self._failure or error
                self._transport.shut()

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
