"""One client: the handshake, then its requests until it leaves, breaks the protocol, or the server stops."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, NamedTuple

from vhdx.nbd.answers import Answers, CutShortError
from vhdx.nbd.negotiate import Negotiation, Then
from vhdx.nbd.serving import Serving
from vhdx.nbd.transport import HandshakeSocket, TooSlowError
from vhdx.wire import CLIENT_FLAGS, OPTION, ProtocolError

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Callable, Mapping

    from vhdx.nbd.export import Export
    from vhdx.nbd.negotiate import Agreement


class Limits(NamedTuple):
    """What a client gets of time, in seconds."""

    handshake: float = 10.0
    frame: float = 60.0


class ServerState(NamedTuple):
    """What all connections of a server share. ``exports`` by name; ``default`` is one of these names."""

    exports: Mapping[str, Export]
    default: str
    tls: ssl.SSLContext | None
    limits: Limits
    log: Callable[[str], None]


class Connection:
    """One client; `run` is the life of it."""

    def __init__(self, accepted: socket.socket, peer: str, state: ServerState) -> None:
        self._state = state
        self._peer = peer
        self._handshake = HandshakeSocket(accepted, state.limits.handshake)
        self._serving: Serving | None = None
        self._stopping = False

    def run(self) -> None:
        """Serve the client until the end. Raises nothing: a client's failure is one line in the log."""
        try:
            self._serve()
        except (ProtocolError, TooSlowError) as error:
            self._state.log(f"{self._peer} was dropped: {error}")
        except CutShortError as error:
            self._state.log(f"{self._peer} was dropped in the middle of an answer: {error.__cause__}")
        except OSError as error:
            if not self._stopping:
                self._state.log(f"{self._peer} was lost: {error.strerror or error}")
        except Exception as error:  # noqa: BLE001  one client must not harm the others
            self._state.log(f"{self._peer} was dropped: {error!r}")
        finally:
            self._handshake.close()

    def _serve(self) -> None:
        agreement = self._negotiate()
        if agreement is None:
            return
        transport = self._handshake.transport(self._state.limits.frame)
        export = self._state.exports[agreement.offer.name]
        answers = Answers(export, agreement, self._complain)
        serving = Serving(transport, answers, self._state.limits.frame)
        self._serving = serving
        if self._stopping:
            serving.stop()
        try:
            serving.run()
        finally:
            transport.close()

    def _complain(self, error: Exception) -> None:
        self._state.log(f"{self._peer}: {error}")

    def _negotiate(self) -> Agreement | None:
        """What was agreed upon; None if the client left."""
        socket, state = self._handshake, self._state
        offers = {name: export.offer for name, export in state.exports.items()}
        negotiation = Negotiation(offers, state.default, tls=state.tls is not None)
        flags = b""
        with contextlib.suppress(ConnectionError):  # somebody looked whether we are here
            socket.send(negotiation.greeting())
            flags = socket.receive(CLIENT_FLAGS.size)
        if not flags:
            return None
        negotiation.client_flags(flags)
        while header := socket.receive(OPTION.size):
            option, length = negotiation.header(header)
            data = socket.receive(length)
            if len(data) != length:
                raise ConnectionError("it ended in the middle of an option")
            answer = negotiation.answer(option, data)
            if answer.then is Then.CLOSE:
                with contextlib.suppress(OSError):  # it need not wait for this
                    socket.send(answer.reply)
                return None
            socket.send(answer.reply)
            if answer.then is Then.TLS and state.tls is not None:
                socket.start_tls(state.tls)
                negotiation.secured()
            elif answer.then is Then.SERVE:
                return negotiation.agreement
        return None

    def stop(self) -> None:
        """Answer what runs, take nothing more. From any thread."""
        self._stopping = True
        if self._serving is not None:
            self._serving.stop()
        else:
            self._handshake.shut()

    def cut(self) -> None:
        """End at once. From any thread."""
        self._stopping = True
        if self._serving is not None:
            self._serving.cut()
        self._handshake.shut()
