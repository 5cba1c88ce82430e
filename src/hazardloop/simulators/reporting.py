"""What one gateway sends: its readings at a moment, with the faults of that moment, as messages."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from hazardloop.devices.wire import Channel, encode_telemetry
from hazardloop.simulators.faults import FaultKind, Weather, cut_off
from hazardloop.simulators.field import Effect, Site, Values, readings_at

MOST_KEPT: Final = 5_000
"""Messages that a gateway keeps while it is offline; the oldest go first."""
BACKFILL_BYTES: Final = 100_000
"""Size up to which kept messages are sent back together."""


@dataclass(frozen=True, slots=True)
class Message:
    """One MQTT message to be; what it repeats or spoils is not counted in it."""

    channel: Channel
    payload: bytes
    readings: int = 0
    reports: int = 0
    """Telemetry objects inside: each holds all points of its gateway once."""


@dataclass(slots=True)
class Reporter:
    """The memory of one gateway: its counter, and what it holds back."""

    site: Site
    seed: int
    speed: float
    weather: Weather
    seq: int = 0
    _overtaken: Message | None = None
    _kept: deque[Message] = field(default_factory=lambda: deque(maxlen=MOST_KEPT))

    def report(self, run_s: float, now_ms: int, effects: Iterable[Effect]) -> list[Message]:
        """The messages to publish now: none while offline, more than one after that or by fault.

        `run_s` is real time since the run began, `now_ms` the same instant since the Unix epoch.
        """
        gateway = self.site.key()
        self.seq += 1
        values = self._values(run_s, list(effects))
        ts_ms = now_ms + round(1000.0 * self.weather.skew_s(gateway, run_s))
        payload = encode_telemetry(ts_ms, self.seq, values)
        message = Message(Channel.TELEMETRY, payload, len(values), 1)
        if self.weather.offline(gateway, run_s):
            self._kept.append(message)
            return []
        return [*self.backfill(), *self._disturbed(message, gateway, run_s)]

    def backfill(self) -> list[Message]:
        """What was kept while offline, in as few messages as their size allows; kept no longer."""
        parcels: list[Message] = []
        while self._kept:
            size = 0
            parcel: list[Message] = []
            while self._kept and (not parcel or size + len(self._kept[0].payload) < BACKFILL_BYTES):
                size += len(self._kept[0].payload)
                parcel.append(self._kept.popleft())
            payload = b"[" + b",".join(message.payload for message in parcel) + b"]"
            readings = sum(message.readings for message in parcel)
            parcels.append(Message(Channel.BACKFILL, payload, readings, len(parcel)))
        return parcels

    def rest(self) -> list[Message]:
        """What is still held back when the run ends."""
        overtaken, self._overtaken = self._overtaken, None
        return [*([overtaken] if overtaken else []), *self.backfill()]

    def _values(self, run_s: float, effects: list[Effect]) -> Values:
        values = readings_at(self.site, self.seed, run_s * self.speed, effects)
        for point, since_s in self.weather.stuck(self.site.key(), run_s):
            values[point] = readings_at(self.site, self.seed, since_s * self.speed)[point]
        return self.weather.spiked(values, self.site.key(), self.seq, run_s)

    def _disturbed(self, message: Message, gateway: str, run_s: float) -> list[Message]:
        def struck(kind: FaultKind) -> bool:
            return self.weather.struck(kind, gateway, self.seq, run_s)

        if struck(FaultKind.CORRUPT):
            message = Message(message.channel, cut_off(message.payload))
        if self._overtaken is None and struck(FaultKind.REORDER):
            self._overtaken = message
            return []
        messages = [message, *([self._overtaken] if self._overtaken else [])]
        self._overtaken = None
        if struck(FaultKind.DUPLICATE):
            messages.append(Message(message.channel, message.payload))
        return messages
