"""The canary's own connection to the broker: sends as its device, and hears what is announced."""

import asyncio
import json
import logging
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import aiomqtt

from hazardloop.alarms.annunciation import BrokerAddress
from hazardloop.alarms.store import Announcement
from hazardloop.devices import wire
from hazardloop.devices.instants import microseconds_of
from hazardloop.devices.own_devices import CANARY, PLATFORM

log = logging.getLogger(__name__)

TOPIC: Final = wire.topic(PLATFORM, CANARY, wire.Channel.EVENT)
HEARD_ON: Final = wire.alarm_topic(PLATFORM)
EVENT: Final = "canary"
RULE: Final = "platform.canary"
RETRY_S: Final = 1.0
TAKEN_WITHIN_S: Final = 5.0
REFUSED_FROM: Final = 0x80


def canary(at_ms: int) -> bytes:
    """The payload of one canary: in one message it is raised, and over a millisecond later."""
    begins = wire.encode_event(at_ms, CANARY, EVENT, {})
    ends = wire.encode_event(at_ms + 1, CANARY, EVENT, {"active": False})
    return b"[%b,%b]" % (begins, ends)


def canary_in(payload: bytes) -> int | None:
    """Its own time in us, if this announces that a canary was raised."""
    with suppress(ValueError, KeyError, TypeError):
        told = json.loads(payload)
        if told["rule"] == RULE and told["change"] == "raised":
            return microseconds_of(datetime.fromisoformat(told["raised_at"]))
    return None


@dataclass(slots=True)
class CanaryLine:
    """A connection that comes back by itself."""

    address: BrokerAddress
    hear: Callable[[int], None]
    """Called with the own time, in us, of each canary that is announced."""
    _client: aiomqtt.Client | None = None
    _said: str = ""
    """What was logged last: a broker that stays away is told of once."""

    async def run(self) -> None:
        """Keeps the connection until cancelled."""
        while True:
            try:
                async with self._connection() as client:
                    await self._listen(client)
            except aiomqtt.MqttError as error:
                self._say(str(error))
            finally:
                self._client = None
            await asyncio.sleep(RETRY_S)

    async def send(self, at_ms: int) -> bool:
        """Whether the broker took a canary of that time."""
        return await self._publish(TOPIC, canary(at_ms))

    async def tell(self, announcements: Sequence[Announcement]) -> list[Announcement]:
        """Those that the broker took, of what is announced of the platform."""
        taken = []
        for one in announcements:
            body = json.dumps(one.payload, ensure_ascii=False).encode()
            if await self._publish(one.topic, body):
                taken.append(one)
        return taken

    async def _publish(self, topic: str, payload: bytes) -> bool:
        if self._client is None:
            return False
        try:
            await self._client.publish(topic, payload, qos=1)
        except aiomqtt.MqttError as error:
            self._say(str(error))
            return False
        return True

    async def _listen(self, client: aiomqtt.Client) -> None:
        (granted,) = await client.subscribe(HEARD_ON, qos=1)
        code = granted if isinstance(granted, int) else granted.value
        if code >= REFUSED_FROM:
            self._say(f"the broker does not let us read {HEARD_ON}: give our user that right")
        else:
            self._said = ""
        self._client = client
        async for message in client.messages:
            at_us = canary_in(message.payload) if isinstance(message.payload, bytes) else None
            if at_us is not None:
                self.hear(at_us)

    def _connection(self) -> aiomqtt.Client:
        return aiomqtt.Client(
            self.address.host,
            self.address.port,
            identifier=f"hazardloop-canary-{secrets.token_hex(8)}",
            username=self.address.username,
            password=self.address.password,
            tls_params=self.address.tls,
            timeout=TAKEN_WITHIN_S,
        )

    def _say(self, reason: str) -> None:
        if reason != self._said:
            log.warning("the canary has no broker", extra={"reason": reason})
            self._said = reason
