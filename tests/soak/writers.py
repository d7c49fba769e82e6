"""Threads that carry out requests, over NBD or with the library, and write down when."""

import itertools
import threading

import vhdx
from tests.nbd import client as wire
from tests.nbd.client import ENOTSUP, ESHUTDOWN, FLUSH, FUA, READ, TRIM, WRITE, WRITE_ZEROES, Client, Reply

from .history import NEVER, Change, History, Look
from .processes import GRACE
from .requests import Request, Wishes

CLOCK = itertools.count()
"""Moments; taking one is atomic."""


class Writer(threading.Thread):
    """Works off some batches of requests; an exception ends it and stays in ``failure``."""

    def __init__(self, history: History, wishes: Wishes, batches: int) -> None:
        super().__init__(daemon=True)
        self.history = history
        self.failure: BaseException | None = None
        self.answered = 0
        self._wishes = wishes
        self._batches = batches

    def run(self) -> None:
        try:
            for batch in self._wishes.many(self._batches):
                self.carry_out(batch)
        except BaseException as error:  # noqa: BLE001  whoever joins this thread looks at it
            self.failure = error

    def carry_out(self, batch: list[Request]) -> None:
        raise NotImplementedError

    def note(self, request: Request, began: int, ended: float, data: bytes = b"") -> None:
        """Write down what was asked for, and whether it was answered."""
        answered = ended < NEVER
        self.answered += answered
        if request.kind == READ and answered:
            self.history.looks.append(Look(began, int(ended), request.offset, data))
        elif request.kind == FLUSH and answered:
            self.history.flushes.append((began, int(ended)))
        elif request.kind in (WRITE, TRIM, WRITE_ZEROES):
            self.history.changes.append(
                Change(
                    request.number,
                    began,
                    ended,
                    request.offset,
                    request.length,
                    request.data if request.kind == WRITE else None,
                    sure=request.kind != TRIM,
                    forced=bool(request.flags & FUA),
                )
            )


class NbdWriter(Writer):
    """One connection; asks for a whole batch before it takes the answers, in whatever order they come."""

    def __init__(self, history: History, wishes: Wishes, batches: int, address: str) -> None:
        super().__init__(history, wishes, batches)
        mode = wishes.chance.choice(("simple", "structured", "extended"))
        self._client = Client.opened(address, mode=mode)
        self._client.socket.settimeout(GRACE)
        self._stopped = False

    def carry_out(self, batch: list[Request]) -> None:
        asked: dict[int, tuple[Request, int]] = {}
        try:
            for request in batch:
                began = next(CLOCK)
                cookie = self._client._cookie + 1
                asked[cookie] = request, began
                self._client.send(request.kind, request.offset, request.length, request.data, request.flags)
            while asked:
                self._take(self._client.reply(), asked)
        finally:
            for request, began in asked.values():
                self.note(request, began, NEVER)

    def _take(self, reply: Reply, asked: dict[int, tuple[Request, int]]) -> None:
        ended = next(CLOCK)
        request, began = asked[reply.cookie]
        if reply.error == ESHUTDOWN:
            raise EOFError("the server stops")
        del asked[reply.cookie]
        if reply.error == ENOTSUP and request.kind == WRITE_ZEROES:
            return  # not fast, so not done
        assert not reply.error, f"error {reply.error} for {request[:3]}"
        self.note(request, began, ended, reply.data)

    def close(self) -> None:
        self._client.close()


class DiskWriter(Writer):
    """Works with an open disk that it shares with others."""

    def __init__(self, history: History, wishes: Wishes, batches: int, disk: vhdx.Disk) -> None:
        super().__init__(history, wishes, batches)
        self._disk = disk

    def carry_out(self, batch: list[Request]) -> None:
        for request in batch:
            began, data, ended = next(CLOCK), b"", NEVER
            try:
                data = self._do(request)
                ended = next(CLOCK)
            finally:
                self.note(request._replace(flags=0), began, ended, data)

    def _do(self, request: Request) -> bytes:
        match request.kind:
            case wire.READ:
                return self._disk.pread(request.length, request.offset)
            case wire.WRITE:
                self._disk.pwrite(request.data, request.offset)
            case wire.FLUSH:
                self._disk.flush()
            case wire.TRIM:
                self._disk.trim(length=request.length, offset=request.offset)
            case _:
                self._disk.zero(length=request.length, offset=request.offset)
        return b""
