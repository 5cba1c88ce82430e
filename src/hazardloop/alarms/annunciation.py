"""Changes out to the broker, from the outbox; and to gateways, what was refused."""

import asyncio
import contextlib
import json
import logging
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote, urlsplit

import aiomqtt

from hazardloop.alarms.store import Announcement

log = logging.getLogger(__name__)

TAKEN_WITHIN_S: Final = 5.0
"""How long the broker may take to confirm; after that the outbox keeps it for later."""
RETRY_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """Where and as whom to publish."""

    host: str
    port: int
    username: str | None
    password: str | None
    tls: aiomqtt.TLSParameters | None

    @classmethod
    def of(cls, url: str, ca_file: str | None = None) -> "BrokerAddress":
        """From mqtt://user:password@host:port, or mqtts:// for TLS."""
        parts = urlsplit(url)
        secure = parts.scheme == "mqtts"
        return cls(
            parts.hostname or "127.0.0.1",
            parts.port or (8883 if secure else 1883),
            unquote(parts.username) if parts.username else None,
            unquote(parts.password) if parts.password else None,
            aiomqtt.TLSParameters(ca_certs=ca_file) if secure else None,
        )


@dataclass(slots=True)
class Annunciator:
    """A connection that publishes, and comes back by itself."""

    address: BrokerAddress
    _client: aiomqtt.Client | None = None
    _up: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Keeps the connection until cancelled."""
        while True:
            try:
                async with self._connection() as client:
                    self._client = client
                    self._up.set()
                    async for _ in client.messages:  # nothing is subscribed: ends when it is lost
                        pass
            except aiomqtt.MqttError as error:
                log.warning("annunciation lost the broker", extra={"reason": str(error)})
            finally:
                self._client = None
                self._up.clear()
            await asyncio.sleep(RETRY_S)

    def _connection(self) -> aiomqtt.Client:
        client = aiomqtt.Client(
            self.address.host,
            self.address.port,
            username=self.address.username,
            password=self.address.password,
            tls_params=self.address.tls,
            timeout=TAKEN_WITHIN_S,
            # Else the second of two alarms waits 40 ms for the first one's TCP acknowledgement.
            socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
        )
        client.pending_calls_threshold = 100_000  # a flood of alarms is no cause for a warning each
        return client

    async def connected(self, within_s: float) -> bool:
        """Whether it is, or gets, connected within that time."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._up.wait(), within_s)
        return self._up.is_set()

    async def announce(self, announcements: Sequence[Announcement]) -> list[Announcement]:
        """Those that the broker confirmed; the others stay in the outbox."""
        taken = await self._publish(
            [
                (one.topic, json.dumps(one.payload, ensure_ascii=False).encode())
                for one in announcements
            ]
        )
        return [one for one, was_taken in zip(announcements, taken, strict=True) if was_taken]

    async def tell(self, notes: Sequence[tuple[str, bytes]], qos: int = 1) -> None:
        """Publishes notes to gateways, topic and payload; one that is lost is not repeated."""
        await self._publish(notes, qos)

    async def _publish(self, messages: Sequence[tuple[str, bytes]], qos: int = 1) -> list[bool]:
        client = self._client
        if client is None or not messages:
            return [False] * len(messages)
        outcomes = await asyncio.gather(
            *(client.publish(topic, payload, qos=qos) for topic, payload in messages),
            return_exceptions=True,
        )
        lost = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        if lost:
            log.warning("not announced", extra={"messages": len(lost), "reason": str(lost[0])})
        return [outcome is None for outcome in outcomes]
