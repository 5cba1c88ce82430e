"""A broker session that is kept up: gives batches, acknowledges them once they are durable."""

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Final, Self

from hazardloop.ingest import packets
from hazardloop.ingest.acknowledging import Outstanding
from hazardloop.ingest.batching import Batch, Gathering
from hazardloop.ingest.connection import Connection, tls_context
from hazardloop.ingest.errors import (
    ConnectionLost,
    LoginRefused,
    SubscribeRefused,
    SubscriptionClosed,
)
from hazardloop.ingest.events import Connected, Granted
from hazardloop.ingest.messages import Messages, Oversized
from hazardloop.ingest.mqtt import Session
from hazardloop.ingest.options import SubscriptionOptions, SubscriptionState, endpoint
from hazardloop.ingest.pacing import STEADY_S, delay_s
from hazardloop.ingest.reasons import SHARING_NOT_SUPPORTED, UNSUPPORTED_VERSION, reason

log = logging.getLogger(__name__)
FAREWELL_S: Final = 2.0
"""How long `close` waits for the last acknowledgements to leave."""


def now_us() -> int:
    """Microseconds since 1970-01-01T00:00Z."""
    return time.time_ns() // 1000


class Subscription:
    """Batches from a broker, over as many connections as it takes.

    A packet id means something on its own connection only: after a reconnect the broker gives
    the same numbers to other messages. So an acknowledgement for an earlier connection is never
    sent; the broker sends those messages again, and the store knows them.
    """

    def __init__(
        self,
        options: SubscriptionOptions,
        clock: Callable[[], int] = now_us,
        chance: Callable[[], float] = random.random,
        *,
        had_session: bool = False,
    ) -> None:
        """`clock`: microseconds since 1970-01-01T00:00Z; `chance`: 0..1, spreads reconnects.

        `had_session`: an earlier process has subscribed under this client id, so that a broker
        that knows nothing of it has forgotten.
        """
        self._had_session = had_session
        self._options = options
        self._endpoint = endpoint(options.url)
        self._clock = clock
        self._chance = chance
        self._gathering = Gathering(options.limits)
        self._ledger = Outstanding()
        self._in_hand = self._bytes_in_hand = 0
        self._room = asyncio.Event()
        self._room.set()
        self._subscribed = asyncio.Event()
        self._connection: Connection | None = None
        self._recorded: frozenset[int] = frozenset()
        self._task: asyncio.Task[None] | None = None
        self._sleeper: asyncio.Future[None] | None = None
        self._closed = False
        self._session_present = False
        self._paused = False
        self._generation = self._received = self._connections = self._stale = 0
        self._sessions_lost = 0
        self._connected_at: int | None = None
        self._last_message_at: int | None = None
        self._last_error: str | None = None
        self._refused: tuple[str, ...] = ()

    @property
    def state(self) -> SubscriptionState:
        """How things are now."""
        return SubscriptionState(
            connected=self._subscribed.is_set(),
            session_present=self._session_present,
            generation=self._generation,
            connected_at=self._connected_at,
            last_message_at=self._last_message_at,
            last_error=self._last_error,
            unacknowledged=self._in_hand,
            waiting=self._gathering.count,
            paused=self._paused,
            received=self._received,
            connections=self._connections,
            stale_acknowledgements=self._stale,
            sessions_lost=self._sessions_lost,
            refused=self._refused,
        )

    async def start(self) -> None:
        """Begin to connect; does not wait for the broker."""
        if self._task is None and not self._closed:
            self._task = asyncio.create_task(self._keep_up(), name="mqtt subscription")
            self._task.add_done_callback(lambda _: self._wake())

    async def subscribed(self, timeout_s: float) -> bool:
        """Whether the subscription stood within that time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._subscribed.wait()
        return self._subscribed.is_set()

    async def next_batch(self, timeout_s: float) -> Batch | None:
        """The next batch once it is due, None if none was within that time.

        One caller at a time. Each batch is to be acknowledged once, whatever became of it.
        SubscriptionClosed: after `close`.
        """
        loop = asyncio.get_running_loop()
        give_up = loop.time() + timeout_s
        while True:
            self._refuse_if_over()
            now, due = loop.time(), self._gathering.due_at
            if due is not None and due <= now:
                return self._hand_out()
            if now >= give_up:
                return None
            await self._sleep_until(give_up if due is None else min(due, give_up))

    async def batches(self) -> AsyncIterator[Batch]:
        """All batches, until `close`."""
        with suppress(SubscriptionClosed):
            while True:
                batch = await self.next_batch(3600.0)
                if batch is not None:
                    yield batch

    async def acknowledge(self, batch: Batch) -> None:
        """Tell the broker, in the order of batches, that it need not send these again.

        Does nothing the second time. After a reconnect nothing is sent for an older connection.
        """
        connection = self._connection
        settled = self._ledger.settle(batch.number, self._generation if connection else 0)
        self._in_hand -= settled.count
        self._bytes_in_hand -= settled.wire_bytes
        self._stale += settled.stale
        if connection is not None and len(settled.due):
            connection.send(connection.session.acknowledge(settled.due))
        self._regulate()
        if connection is not None:
            await connection.drained()

    async def close(self) -> None:
        """Leave the broker in good order; what is not acknowledged stays with it."""
        self._closed = True
        if self._connection is not None:
            self._connection.leave()
            await asyncio.wait([self._connection.lost], timeout=FAREWELL_S)
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        self._wake()

    async def __aenter__(self) -> Self:
        """Started."""
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Closed."""
        await self.close()

    async def _keep_up(self) -> None:
        """Connect, and again whenever the connection ends."""
        loop = asyncio.get_running_loop()
        failures = 0
        while not self._closed:
            # A broker sends the whole window again on each connection: with our hands full,
            # connecting again and again would pile it up.
            await self._room.wait()
            began = loop.time()
            try:
                self._last_error = await self._hold()
            except TimeoutError:
                told = f"no subscription within {self._options.connect_timeout_s:g} s"
                self._last_error = told
            except (OSError, ConnectionLost, LoginRefused, SubscribeRefused) as error:
                self._last_error = str(error) or type(error).__name__
            if self._closed:
                return
            failures = 1 if loop.time() - began > STEADY_S else failures + 1
            wait_s = delay_s(failures, self._chance())
            log.warning(
                "broker connection ended",
                extra={"why": self._last_error, "failures": failures, "wait_s": round(wait_s, 2)},
            )
            await asyncio.sleep(wait_s)

    async def _hold(self) -> str:
        """Connect, log in, subscribe and stay until the connection ends; gives why it did."""
        options = self._options
        self._generation += 1
        session = Session(
            options.protocol,
            packet_limit=options.packet_limit,
            topic_alias_maximum=options.topic_alias_maximum,
            recorded=self._recorded,
        )
        sink = partial(self._arrived, self._generation)
        connection = Connection(session, self._clock, sink, options.keep_alive_s)
        try:
            async with asyncio.timeout(options.connect_timeout_s):
                await self._enter(connection)
            return await asyncio.shield(connection.lost)
        finally:
            connection.drop("given up")
            self._recorded = session.recorded
            self._connection = None
            self._subscribed.clear()
            self._paused = False

    async def _enter(self, connection: Connection) -> None:
        options, place = self._options, self._endpoint
        tls = None
        if place.tls:
            tls = tls_context(options.ca_file, options.cert_file, options.key_file)
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: connection, place.host, place.port, ssl=tls)
        self._connection = connection
        connected = await connection.login(self._connect_packet())
        self._refuse_if_unfit(connected)
        packet = packets.subscribe(1, options.asked, options.protocol)
        granted = await connection.subscribe(packet)
        self._refuse_if_less(granted)
        self._note_subscribed(connected)

    def _connect_packet(self) -> bytes:
        options = self._options
        from_url = options.username is None
        return packets.connect(
            options.client_id,
            protocol=options.protocol,
            clean_start=options.clean_start,
            keep_alive_s=options.keep_alive_s,
            username=self._endpoint.username if from_url else options.username,
            password=self._endpoint.password if from_url else options.password,
            session_expiry_s=options.session_expiry_s,
            receive_maximum=min(options.window, 0xFFFF),
            topic_alias_maximum=options.topic_alias_maximum,
        )

    def _refuse_if_unfit(self, connected: Connected) -> None:
        told = connected.reason
        if connected.code in (1, UNSUPPORTED_VERSION) and self._options.share:
            told += ": it does not speak MQTT 5, and shared subscriptions are a part of that"
        if connected.code:
            raise LoginRefused(connected.code, told)
        if self._options.share and not connected.sharing:
            refused = f"$share/{self._options.share}"
            raise SubscribeRefused({refused: reason(SHARING_NOT_SUPPORTED)})

    def _refuse_if_less(self, granted: Granted) -> None:
        options = self._options
        asked = (*options.filters, *options.beside)
        refused = {
            topic: reason(code)
            for topic, code in zip(asked, granted.codes, strict=False)
            if code != options.qos
        }
        refused.update(dict.fromkeys(asked[len(granted.codes) :], "no answer"))
        self._refused = tuple(topic for topic in options.beside if topic in refused)
        if refused.keys() - set(self._refused):
            raise SubscribeRefused(refused)
        if refused:
            log.error("subscribed in part", extra={"refused": refused})

    def _note_subscribed(self, connected: Connected) -> None:
        self._notice_loss(connected)
        self._session_present = connected.session_present
        self._connected_at = self._clock()
        self._connections += 1
        self._subscribed.set()
        self._regulate()
        log.info(
            "subscribed",
            extra={
                "broker": f"{self._endpoint.host}:{self._endpoint.port}",
                "generation": self._generation,
                "session_present": connected.session_present,
            },
        )

    def _notice_loss(self, connected: Connected) -> None:
        asked_s, kept_s = self._options.session_expiry_s, connected.session_expiry_s
        if kept_s is not None and kept_s < asked_s:
            log.warning("session kept for less than asked", extra={"s": kept_s, "asked_s": asked_s})
        known = self._had_session or self._connections > 0
        if known and not connected.session_present and not self._options.clean_start:
            self._sessions_lost += 1
            log.error(
                "the broker has forgotten our session: what was published meanwhile may be lost",
                extra={"generation": self._generation},
            )

    def _arrived(self, generation: int, content: Messages | Oversized) -> None:
        count = len(content) if isinstance(content, Messages) else 1
        self._bytes_in_hand += content.wire_bytes if isinstance(content, Messages) else 0
        loop = asyncio.get_running_loop()
        was_empty = self._gathering.due_at is None
        self._gathering.add(content, generation, loop.time())
        self._in_hand += count
        self._received += count
        self._last_message_at = content.received_at
        self._regulate()
        due = self._gathering.due_at
        if was_empty or (due is not None and due <= loop.time()):
            self._wake()

    def _hand_out(self) -> Batch:
        batch = self._gathering.take()
        self._ledger.hand_out(batch)
        return batch

    def _regulate(self) -> None:
        """Stop reading with the hands full, and go on when they are free again."""
        (self._room.clear if self._full(1) else self._room.set)()
        # The answer to SUBSCRIBE may stand behind a window full of messages sent again.
        if self._connection is not None:
            self._paused = self._full(1 if self._subscribed.is_set() else 2)
            self._connection.listen(not self._paused)

    def _full(self, windows: int) -> bool:
        """Whether we hold as much as that many windows."""
        held, allowed = self._bytes_in_hand, windows * self._options.window_bytes
        return self._in_hand >= windows * self._options.window or held >= allowed

    def _refuse_if_over(self) -> None:
        if self._sleeper is not None:
            raise RuntimeError("next_batch is called by one task at a time")
        if self._closed:
            raise SubscriptionClosed
        if self._task is not None and self._task.done():
            self._task.result()

    async def _sleep_until(self, when: float) -> None:
        loop = asyncio.get_running_loop()
        self._sleeper = loop.create_future()
        alarm = loop.call_at(when, self._wake)
        try:
            await self._sleeper
        finally:
            alarm.cancel()
            self._sleeper = None

    def _wake(self) -> None:
        if self._sleeper is not None and not self._sleeper.done():
            self._sleeper.set_result(None)
