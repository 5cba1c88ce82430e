"""Messages opened one by one: events, statuses, other dialects, JSON that is not plain."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from hazardloop.devices import wire
from hazardloop.devices.dialects.dialect import Heard, Wish
from hazardloop.devices.readings import NEVER
from hazardloop.devices.registry import Gateway
from hazardloop.devices.wire import Channel, PayloadRefused, Reason, Telemetry, Value
from hazardloop.ingest.judging import Reject, listed, time_said
from hazardloop.ingest.routing import CHANNELS, Routes, reader_of, sender, why_strange


@dataclass(frozen=True, slots=True)
class StatusSaid:
    """What one gateway said of itself."""

    gateway_id: int
    online: bool
    at_us: int
    firmware: str | None


@dataclass(slots=True)
class Opened:
    """What was in messages: lists over readings, over message numbers, and what else there was."""

    messages: list[int] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    at_us: list[int] = field(default_factory=list)
    """NEVER: no time was said."""
    flags: list[int] = field(default_factory=list)
    values: list[Value] = field(default_factory=list)
    numbered: list[tuple[int, int, int]] = field(default_factory=list)
    """Message, gateway_id, its number."""
    stamped: list[tuple[int, int, int]] = field(default_factory=list)
    """Message, gateway_id, us, of what was said live with a time."""
    rejects: list[Reject] = field(default_factory=list)
    statuses: list[StatusSaid] = field(default_factory=list)
    wishes: list[Wish] = field(default_factory=list)

    def open(
        self, message: int, topic: bytes, payload: bytes, received_us: int, routes: Routes
    ) -> None:
        """Takes one message, or a reject for it, number `message` of its batch."""
        try:
            gateway, channel = sender(topic, routes.registry)
            if len(payload) > wire.LARGEST_PAYLOAD:
                told = f"{len(payload)} bytes, at most {wire.LARGEST_PAYLOAD}"
                raise PayloadRefused(Reason.TOO_LARGE, told)
            reader = reader_of(topic, gateway, channel, routes)
            taking = _Taking(self, message, gateway, routes)
            if reader is not None:
                heard = reader.read(topic, payload, received_us)
                taking.hear(heard, channel)
            elif channel in CHANNELS:
                taking.take(taking.decoded(payload), CHANNELS[channel])
            elif channel is Channel.EVENT:
                taking.take((_telemetry_of(gateway, one) for one in wire.decode_events(payload)), 0)
            elif payload:  # an empty one is a retained status withdrawn
                taking.note(wire.decode_status(payload))
        except PayloadRefused as refused:
            self.rejects.append(Reject(message, refused.reason, refused.detail, 0))


@dataclass(frozen=True, slots=True)
class _Taking:
    """One message of a registered gateway on its way into `opened`."""

    opened: Opened
    message: int
    gateway: Gateway
    routes: Routes

    def decoded(self, payload: bytes) -> Iterable[Telemetry]:
        """What can be saved of a payload. PayloadRefused: nothing."""
        try:
            found = wire.decode_telemetry(payload)
        except wire.NOT_OF_THE_SHAPE:
            found, complaints = wire.decode_leniently(payload)
            if complaints:
                self.refuse(Reason.BAD_SHAPE, listed(complaints), len(complaints))
        return found if isinstance(found, list) else [found]

    def hear(self, heard: Heard, channel: Channel) -> None:
        """What a message in another dialect says."""
        self.take(heard.telemetry, CHANNELS.get(channel, 0))
        self.take(heard.backfill, CHANNELS[Channel.BACKFILL])
        for complaint in heard.complaints:
            self.refuse(complaint.reason, complaint.detail, complaint.readings)
        if heard.status is not None:
            self.note(heard.status)
        self.opened.wishes += heard.wishes

    def take(self, objects: Iterable[Telemetry], flags: int) -> None:
        """The readings of objects, each flagged so."""
        for each in objects:
            self._take_values(each, flags)
            if each.seq is not None:
                self.opened.numbered.append((self.message, self.gateway.gateway_id, each.seq))

    def note(self, status: wire.Status) -> None:
        """What a gateway says of itself. PayloadRefused: its time cannot be read."""
        at_us = NEVER if status.ts is None else wire.microseconds(status.ts)
        said = StatusSaid(self.gateway.gateway_id, status.online, at_us, status.fw)
        self.opened.statuses.append(said)

    def refuse(self, reason: Reason, detail: str, readings: int = 1) -> None:
        """A reject for a part of this message."""
        self.opened.rejects.append(Reject(self.message, reason, detail, readings))

    def _take_values(self, said: Telemetry, flags: int) -> None:
        opened, known = self.opened, self.gateway.rows
        strange = [code for code in said.values if code not in known]
        for code in strange:
            self.refuse(*why_strange(code, self.gateway, self.routes.registry))
        at_us = time_said(said.ts)
        if at_us is None:
            detail = f"ts: {said.ts!r:.40} is not milliseconds since 1970 or RFC 3339 with offset"
            self.refuse(Reason.BAD_SHAPE, detail, len(said.values) - len(strange))
            return
        if at_us != NEVER and flags == 0:
            opened.stamped.append((self.message, self.gateway.gateway_id, at_us))
        for code, value in said.values.items():
            if (row := known.get(code)) is not None:
                opened.messages.append(self.message)
                opened.rows.append(row)
                opened.at_us.append(at_us)
                opened.flags.append(flags)
                opened.values.append(value)


def _telemetry_of(gateway: Gateway, event: wire.Event) -> Telemetry:
    """An event as values of the points that stand for it: 1 it happens, 0 it is over."""
    known = gateway.events.get(event.device, {})
    if event.event == "normal" and known:
        return Telemetry({f"{event.device}.{name}": 0.0 for name in known}, event.ts)
    over = (event.data or {}).get("active") is False
    return Telemetry({f"{event.device}.{event.event}": 0.0 if over else 1.0}, event.ts)
