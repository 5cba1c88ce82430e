"""One connection to a broker: the network around a `Session`."""

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar, cast

from hazardloop.ingest import packets
from hazardloop.ingest.errors import ConnectionLost
from hazardloop.ingest.events import (
    Connected,
    Disconnected,
    Event,
    Granted,
    ProtocolViolation,
    Reply,
)
from hazardloop.ingest.messages import Messages, Oversized
from hazardloop.ingest.mqtt import Session
from hazardloop.ingest.pacing import KeepAlive, Vitals
from hazardloop.ingest.packets import PING_REQUEST

READ_BYTES: Final = 256 * 1024
"""One read of the socket: large enough for thousands of messages at once."""
REST_S: Final = 0.015
"""While reads follow each other this quickly we rest so long between them: a broker that writes
each message by itself would make a read of each, and reading many at once costs a tenth. It is
also half of what a shorter rest of 5 ms costs, where 20,000 messages come in a second."""
Answer = TypeVar("Answer", Connected, Granted)


def tls_context(
    ca_file: Path | None, cert_file: Path | None, key_file: Path | None
) -> ssl.SSLContext:
    """Checks the broker against `ca_file`, else the system's store; shows our certificate if any.

    OSError (ssl.SSLError): a file is missing or not what it should be.
    """
    context = ssl.create_default_context(cafile=ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if cert_file is not None:
        context.load_cert_chain(cert_file, key_file)
    return context


class Connection(asyncio.BufferedProtocol):
    """Feeds a session from the socket, keeps it alive, and says when it is over.

    `lost` gets the reason, in words, when the connection has ended; an exception if it ended by
    a fault of our own.
    """

    def __init__(
        self,
        session: Session,
        clock: Callable[[], int],
        sink: Callable[[Messages | Oversized], None],
        keep_alive_s: float,
    ) -> None:
        """`clock`: microseconds since 1970-01-01T00:00Z; `sink` takes what arrives, at once."""
        self._loop = asyncio.get_running_loop()
        self.session = session
        self.lost: asyncio.Future[str] = self._loop.create_future()
        self._clock = clock
        self._sink = sink
        self._keep_alive = KeepAlive(keep_alive_s, self._loop.time())
        self._check: asyncio.TimerHandle | None = None
        # A memoryview: asyncio fills slices of it under TLS, and a slice of a bytearray is a copy.
        self._buffer = memoryview(bytearray(READ_BYTES))
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[Event] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._listening = True
        self._rest: asyncio.TimerHandle | None = None
        self._read_at = 0.0
        self._leaving = False
        self._reason = ""

    async def login(self, packet: bytes) -> Connected:
        """The broker's answer to CONNECT. ConnectionLost: it gave none."""
        answer = await self._ask(packet, Connected)
        if answer.keep_alive_s:
            self._keep_alive.interval_s = answer.keep_alive_s
        return answer

    async def subscribe(self, packet: bytes) -> Granted:
        """The broker's answer to SUBSCRIBE. ConnectionLost: it gave none."""
        return await self._ask(packet, Granted)

    def send(self, data: bytes) -> None:
        """Write now or as soon as possible; into a lost connection nothing is written."""
        if self._transport is None or self._transport.is_closing() or self._leaving:
            return
        if data:
            self._transport.write(data)

    async def drained(self) -> None:
        """Wait until what was sent is mostly out, or the connection is lost."""
        await self._writable.wait()

    def listen(self, wanted: bool) -> None:
        """Read from the socket, or leave what comes with the kernel and the broker."""
        if self._transport is None or self._transport.is_closing() or self._leaving:
            return
        if wanted == self._listening:
            return
        self._listening = wanted
        self._read_if_due()

    def leave(self) -> None:
        """DISCONNECT in good order, after everything sent so far; what still comes is not read.

        The broker closes when it has read all of it. Closing at once would let a quick return
        under the same client id overtake the last acknowledgements.
        """
        self._reason = self._reason or "closed by us"
        self.send(packets.disconnect(self.session.protocol))
        self.listen(True)
        self._leaving = True
        if self._transport is None or self._transport.is_closing():
            return
        if self._transport.can_write_eof():  # not under TLS
            self._transport.write_eof()

    def drop(self, reason: str) -> None:
        """End the connection without a word; what was not written yet is lost."""
        self._reason = self._reason or reason
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is open; from now on the keep-alive runs."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is of a class of its own
        # Anew: the way here may have been long, and before CONNECT nothing may be asked.
        self._keep_alive = KeepAlive(self._keep_alive.interval_s, self._loop.time())
        self._look_after()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the socket is to be read into."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """So many bytes came."""
        if self._leaving:
            return
        now = self._loop.time()
        self._keep_alive.heard(now)
        if nbytes < READ_BYTES and now - self._read_at < 2 * REST_S and self._rest is None:
            self._rest = self._loop.call_later(REST_S, self._end_rest)
            self._read_if_due()
        self._read_at = now
        data = bytes(self._buffer[:nbytes])
        for event in self.session.receive(data, self._clock()):
            self._take(event)

    def _end_rest(self) -> None:
        self._rest = None
        self._read_if_due()

    def _read_if_due(self) -> None:
        """Makes the transport read, or not, as things stand."""
        if self._transport is None or self._transport.is_closing():
            return
        if self._listening and self._rest is None:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        """The broker has closed: so do we."""
        self._reason = self._reason or "closed by the broker"
        return False

    def pause_writing(self) -> None:
        """More has been sent than the broker takes."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """The broker has caught up."""
        self._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over: whoever waits for it is told why."""
        for timer in (self._check, self._rest):
            if timer is not None:
                timer.cancel()
        self._writable.set()
        reason = self._reason or (f"{type(exc).__name__}: {exc}" if exc else "closed by the broker")
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionLost(reason))
        if self.lost.done():
            return
        if exc is None or isinstance(exc, OSError):
            self.lost.set_result(reason)
        else:
            self.lost.set_exception(exc)

    async def _ask(self, packet: bytes, kind: type[Answer]) -> Answer:
        if self.lost.done():
            raise ConnectionLost(self._reason)
        self._answer = self._loop.create_future()
        self.send(packet)
        answer = await self._answer
        if not isinstance(answer, kind):
            raise ConnectionLost(f"{type(answer).__name__} in answer, not {kind.__name__}")
        return answer

    def _take(self, event: Event) -> None:
        match event:
            case Messages() | Oversized():
                self._sink(event)
            case Reply(data):
                self.send(data)
            case ProtocolViolation(reason, code):
                self.send(packets.disconnect(self.session.protocol, code))
                self._end(f"protocol violation by the broker: {reason}")
            case Disconnected(reason=reason):
                self._end(f"disconnected by the broker: {reason}")
            case Connected() | Granted() if self._answer is not None and not self._answer.done():
                self._answer.set_result(event)
            case _:
                pass

    def _end(self, reason: str) -> None:
        self._reason = self._reason or reason
        if self._transport is not None:
            self._transport.close()

    def _look_after(self) -> None:
        match self._keep_alive.check(self._loop.time(), listening=self._listening):
            case Vitals.DEAD:
                self.drop(f"nothing heard for {1.5 * self._keep_alive.interval_s:g} s")
                return
            case Vitals.PING:
                self.send(PING_REQUEST)
        self._check = self._loop.call_later(self._keep_alive.check_every_s, self._look_after)
