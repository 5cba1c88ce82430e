"""Many gateways that keep each message until the broker has acknowledged it, and their ledger."""

import asyncio
import json
import random
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from hazardloop.ingest import packets
from hazardloop.ingest.events import Connected, Published
from hazardloop.ingest.mqtt import Session
from tests.faults.poison import POISON, Poison

IN_FLIGHT: Final = 40
"""Messages of a gateway that are sent and not acknowledged."""
GATEWAY: Final = "G1"
"""Code of the one gateway of each enterprise; a plan names its gateways by enterprise."""
LEVELS: Final = (5.0, 12.0, 24.9, 25.0, 30.0, 49.0, 50.0, 60.0, 80.0, 23.5, 10.0)
"""%LEL about the limits of 25 and 50 and their deadband of 2."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What all gateways together will say; the same plan always says the same.

    base_ms: data time of the first message. The rules concerned have no delay before they raise,
        so that the clock ends none while its data are away: alarms depend on the data alone.
    step_ms: data time from one message of a gateway to its next.
    padding: spaces behind each payload.
    """

    seed: int
    base_ms: int
    gateways: int = 6
    devices: int = 4
    messages: int = 200
    step_ms: int = 700
    poison_share: float = 0.0
    padding: int = 0

    @property
    def names(self) -> list[str]:
        """Of the gateways: the codes of their enterprises."""
        return [f"E{n}" for n in range(1, self.gateways + 1)]

    def devices_of(self, gateway: str) -> dict[str, str]:
        """Code to kind."""
        mine = [f"{gateway}-D{n}" for n in range(1, self.devices + 1)]
        return {code: "smoke_detector" if n == 0 else "gas_detector" for n, code in enumerate(mine)}


@dataclass(slots=True)
class Message:
    """One message of a gateway."""

    gateway: str
    number: int
    """From 0, per gateway."""
    topic: str
    payload: bytes
    readings: dict[tuple[str, int], float]
    """(point code, data time in ms) to value."""
    poison: Poison | None = None
    acknowledged_at: float = 0.0
    """Seconds of a rising clock; 0 = not."""


def messages_of(plan: Plan, gateway: str) -> list[Message]:
    """Everything this gateway will say, in its order."""
    chance = random.Random(f"{plan.seed} {gateway}")
    levels = dict.fromkeys(plan.devices_of(gateway), 5.0)
    spoken: list[Message] = []
    for number in range(plan.messages):
        ts = plan.base_ms + number * plan.step_ms
        if chance.random() < plan.poison_share:
            spoken.append(_poisoned(chance, gateway, number, ts))
            continue
        values: dict[str, float | bool] = {}
        for code, kind in plan.devices_of(gateway).items():
            if chance.random() < 0.12:
                levels[code] = chance.choice(LEVELS)
            if kind == "smoke_detector":
                values[f"{code}.smoke"] = levels[code] >= 50
            else:
                # Never twice the same, so that a value tells its message.
                values[f"{code}.lel"] = round(levels[code] + number % 100 * 1e-4, 4)
        body = json.dumps({"ts": ts, "seq": number, "values": values}).encode()
        body += b" " * plan.padding
        topic = f"hl/v1/{gateway}/{GATEWAY}/telemetry"
        readings = {(code, ts): float(value) for code, value in values.items()}
        spoken.append(Message(gateway, number, topic, body, readings))
    return spoken


def _poisoned(chance: random.Random, gateway: str, number: int, ts: int) -> Message:
    poison = chance.choice(POISON)
    device = f"{gateway}-D2"
    topic = f"hl/v1/{gateway}/{GATEWAY}/telemetry"
    payload = poison.payload(device, ts, number)
    readings = {(f"{device}.lel", ts): poison.stored} if poison.stored is not None else {}
    return Message(gateway, number, topic, payload, readings, poison)


class Gateway:
    """One connection after the other, and what the broker has not acknowledged yet."""

    def __init__(self, name: str, spoken: Sequence[Message], port: int) -> None:
        self.name = name
        self.port = port
        self.connections = 0
        self.sent_again = 0
        self._waiting: deque[Message] = deque()
        self._to_come = deque(spoken)
        self._sent: dict[int, Message] = {}
        self._next_id = 0
        self._wake = asyncio.Event()

    @property
    def done(self) -> bool:
        """Everything was said and acknowledged."""
        return not (self._to_come or self._waiting or self._sent)

    def speak(self) -> None:
        """The next message exists from now on, whether it can be sent or not."""
        if self._to_come:
            self._waiting.append(self._to_come.popleft())
            self._wake.set()

    async def run(self) -> None:
        """Connects and sends, again and again, until cancelled."""
        while True:
            with suppress(OSError, asyncio.IncompleteReadError, TimeoutError, ConnectionError):
                await self._hold()
            self.sent_again += len(self._sent)
            self._waiting.extendleft(reversed(self._sent.values()))
            self._sent.clear()
            await asyncio.sleep(0.1)

    async def _hold(self) -> None:
        async with asyncio.timeout(3.0):
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(packets.connect(f"gw-{self.name}", clean_start=True, keep_alive_s=30))
            session = Session()
            async with asyncio.timeout(3.0):
                (answer,) = session.receive(await reader.readexactly(4))
            if not isinstance(answer, Connected) or answer.code:
                raise ConnectionError("refused")
            self.connections += 1
            sending = asyncio.ensure_future(self._send(writer))
            try:
                await self._hear(reader, session)
            finally:
                sending.cancel()
                await asyncio.gather(sending, return_exceptions=True)
        finally:
            writer.transport.abort()

    async def _send(self, writer: asyncio.StreamWriter) -> None:
        while True:
            while self._waiting and len(self._sent) < IN_FLIGHT:
                message = self._waiting.popleft()
                self._next_id = self._next_id % 0xFFFF + 1
                self._sent[self._next_id] = message
                writer.write(
                    packets.publish(message.topic, message.payload, qos=1, packet_id=self._next_id)
                )
                await writer.drain()
            self._wake.clear()
            await self._wake.wait()

    async def _hear(self, reader: asyncio.StreamReader, session: Session) -> None:
        while True:
            # A broker that does not answer for so long is called again.
            async with asyncio.timeout(10.0 if self._sent else None):
                data = await reader.read(1 << 16)
            if not data:
                raise ConnectionError("closed")
            for event in session.receive(data):
                if isinstance(event, Published) and event.packet_id in self._sent:
                    self._sent.pop(event.packet_id).acknowledged_at = time.monotonic()
            self._wake.set()


@dataclass(slots=True)
class Load:
    """All gateways of a plan, in a thread of their own."""

    plan: Plan
    port: int
    for_s: float
    """Over which everything is said."""
    kept: int = 0
    """Messages of each gateway that are not said before this is set to less."""
    messages: list[Message] = field(default_factory=list)
    gateways: list[Gateway] = field(default_factory=list)
    _thread: threading.Thread | None = None
    _stop: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        """They begin to speak."""
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._thread.start()

    def finish(self, within_s: float) -> bool:
        """Whether each message was said and acknowledged within that time; then they are gone."""
        until = time.monotonic() + within_s
        while time.monotonic() < until and not self.done:
            time.sleep(0.05)
        self._stop.set()
        assert self._thread is not None
        self._thread.join(10)
        return self.done

    @property
    def done(self) -> bool:
        """Everything was said and acknowledged."""
        return bool(self.gateways) and all(each.done for each in self.gateways)

    @property
    def acknowledged(self) -> int:
        """How many messages the broker has acknowledged so far."""
        return sum(message.acknowledged_at > 0 for message in self.messages)

    async def _run(self) -> None:
        for name in self.plan.names:
            spoken = messages_of(self.plan, name)
            self.messages += spoken
            self.gateways.append(Gateway(name, spoken, self.port))
        tasks = [asyncio.ensure_future(each.run()) for each in self.gateways]
        began, said, total = time.monotonic(), 0, self.plan.messages
        while not self._stop.is_set():
            due = min(total - self.kept, int((time.monotonic() - began) / self.for_s * total))
            while said < due:
                said += 1
                for each in self.gateways:
                    each.speak()
            await asyncio.sleep(0.01)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
