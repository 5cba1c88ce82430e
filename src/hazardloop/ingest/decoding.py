"""A batch of messages to columns of readings, and a reject for whatever could not be taken.

Nothing the field sends can raise here, and one bad value never costs its good neighbours.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import msgspec
import numpy as np

from hazardloop.devices import wire
from hazardloop.devices.readings import NEVER, Quality, Readings, Times
from hazardloop.devices.registry import Gateway, Registry
from hazardloop.devices.wire import PayloadRefused, Reason, Telemetry, Value
from hazardloop.ingest.judging import (
    Reject,
    by_message_and_reason,
    judge_times,
    judge_values,
    listed,
    time_said,
    values_said,
)


@dataclass(frozen=True, slots=True)
class StatusSaid:
    """What one gateway said of itself."""

    gateway_id: int
    online: bool
    at_us: int
    firmware: str | None


@dataclass(frozen=True, slots=True)
class Intake:
    """What a batch of messages held."""

    readings: Readings
    rejects: list[Reject]
    statuses: list[StatusSaid]


Lookup: TypeAlias = Callable[[str], int | None]


@dataclass(frozen=True, slots=True)
class Routes:
    """Each topic on which a registered gateway sends readings, ready to be looked up."""

    registry: Registry
    readings: Mapping[bytes, tuple[Lookup, int]]
    """Topic to the row of a point's code there, and to the flags its readings start with."""


def routes_of(registry: Registry) -> Routes:
    """The routes of a registry."""
    readings: dict[bytes, tuple[Lookup, int]] = {}
    for home, gateway in registry.gateways.items():
        look_up = gateway.rows.get
        readings[f"{wire.ROOT}/{home}/telemetry".encode()] = (look_up, 0)
        readings[f"{wire.ROOT}/{home}/backfill".encode()] = (look_up, int(Quality.BACKFILL))
    return Routes(registry, readings)


@dataclass(slots=True)
class _Gathered:
    """Columns in the making: lists over readings, and over the objects that held them."""

    rows: list[int] = field(default_factory=list)
    values: list[Value] = field(default_factory=list)
    times: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    """Of an object: how many readings there were after it."""
    messages: list[int] = field(default_factory=list)
    flags: list[int] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    statuses: list[StatusSaid] = field(default_factory=list)

    def drop_object(self, message: int, ts: object) -> Reject:
        """Forgets the readings since the last object; their time cannot be read."""
        start = self.ends[-1] if self.ends else 0
        dropped = len(self.rows) - start
        del self.rows[start:], self.values[start:]
        detail = f"ts: {ts!r:.40} is not milliseconds since 1970 or RFC 3339 with offset"
        return Reject(message, Reason.BAD_SHAPE, detail, dropped)


def decode(
    topics: Sequence[bytes], payloads: Sequence[bytes], received_at: Times, routes: Routes
) -> Intake:
    """Readings, rejects and statuses of a batch.

    Args:
        topics: (n,) as received.
        payloads: (n,) as received.
        received_at: (n,) us since the Unix epoch.
        routes: of the registry that says whose topics and points they are.
    """
    gathered = _Gathered()
    rows, values = gathered.rows, gathered.values
    add_row, add_value, find = rows.append, values.append, routes.readings.get
    add_time, add_end = gathered.times.append, gathered.ends.append
    add_message, add_flags = gathered.messages.append, gathered.flags.append
    decode_one = wire.decode_telemetry
    large = max(map(len, payloads), default=0) > wire.LARGEST_PAYLOAD
    for message, topic in enumerate(topics):
        payload = payloads[message]
        route = find(topic)
        if route is None or (large and len(payload) > wire.LARGEST_PAYLOAD):
            _take_other(message, topic, payload, routes, gathered)
            continue
        look_up, flags = route
        try:
            said = decode_one(payload)
        except (msgspec.DecodeError, UnicodeDecodeError):
            said = _save_what_can_be(message, payload, gathered)
        for part in said if isinstance(said, list) else (said,):
            ts = part.ts
            for code, value in part.values.items():
                row = look_up(code)
                if row is None:
                    gathered.rejects.append(_stranger(message, topic, code, routes.registry))
                else:
                    add_row(row)
                    add_value(value)
            at_us = ts * 1000 if type(ts) is int and 0 < ts < 10**15 else time_said(ts)
            if at_us is None:
                gathered.rejects.append(gathered.drop_object(message, ts))
                continue
            add_time(at_us)
            add_end(len(rows))
            add_message(message)
            add_flags(flags)
    return _columns(gathered, received_at, routes.registry)


def _save_what_can_be(message: int, payload: bytes, gathered: _Gathered) -> list[Telemetry]:
    try:
        saved, complaints = wire.decode_leniently(payload)
    except PayloadRefused as refused:
        gathered.rejects.append(Reject(message, refused.reason, refused.detail, 0))
        return []
    if complaints:
        gathered.rejects.append(
            Reject(message, Reason.BAD_SHAPE, listed(complaints), len(complaints))
        )
    return saved


def _take_other(
    message: int, topic: bytes, payload: bytes, routes: Routes, gathered: _Gathered
) -> None:
    """An event, a status, or something that is not to be taken."""
    try:
        gateway, channel = _sender(topic, routes.registry)
        if len(payload) > wire.LARGEST_PAYLOAD:
            raise PayloadRefused(
                Reason.TOO_LARGE, f"{len(payload)} bytes, at most {wire.LARGEST_PAYLOAD}"
            )
        if channel is wire.Channel.SPARKPLUG:
            raise PayloadRefused(
                Reason.BAD_SHAPE, f"gateway {gateway.code} is not registered to speak Sparkplug B"
            )
        if channel is wire.Channel.EVENT:
            _take_events(message, topic, payload, gateway, routes.registry, gathered)
        elif payload or channel is not wire.Channel.STATUS:  # empty: a retained status withdrawn
            status = wire.decode_status(payload)
            at_us = NEVER if status.ts is None else wire.microseconds(status.ts)
            gathered.statuses.append(
                StatusSaid(gateway.gateway_id, status.online, at_us, status.fw)
            )
    except PayloadRefused as refused:
        gathered.rejects.append(Reject(message, refused.reason, refused.detail, 0))


def _sender(topic: bytes, registry: Registry) -> tuple[Gateway, wire.Channel]:
    """The registered gateway that may use this topic, and the topic's last part."""
    address = wire.address_of(topic)
    if address is None:
        raise PayloadRefused(
            Reason.UNKNOWN_GATEWAY, f"topic {topic[:200]!r} is not hl/v1/ENTERPRISE/GATEWAY/…"
        )
    gateway = registry.gateways.get(f"{address.enterprise}/{address.gateway}")
    if gateway is not None:
        return gateway, address.channel
    homes = registry.gateway_homes.get(address.gateway)
    if homes:
        raise PayloadRefused(
            Reason.WRONG_ENTERPRISE,
            f"gateway {address.gateway} is registered, but not for enterprise {address.enterprise}",
        )
    raise PayloadRefused(
        Reason.UNKNOWN_GATEWAY,
        f"no gateway {address.gateway} of enterprise {address.enterprise} is registered",
    )


def _take_events(
    message: int,
    topic: bytes,
    payload: bytes,
    gateway: Gateway,
    registry: Registry,
    gathered: _Gathered,
) -> None:
    for event in wire.decode_events(payload):
        at_us = NEVER if event.ts is None else wire.microseconds(event.ts)
        known = gateway.events.get(event.device, {})
        if event.event == "normal" and known:
            gathered.rows.extend(known.values())
            gathered.values.extend([0.0] * len(known))
        elif event.event in known:
            over = (event.data or {}).get("active") is False
            gathered.rows.append(known[event.event])
            gathered.values.append(0.0 if over else 1.0)
        else:
            code = f"{event.device}.{event.event}"
            gathered.rejects.append(_stranger(message, topic, code, registry))
            continue
        gathered.times.append(at_us)
        gathered.ends.append(len(gathered.rows))
        gathered.messages.append(message)
        gathered.flags.append(0)


def _stranger(message: int, topic: bytes, code: str, registry: Registry) -> Reject:
    """Why this gateway may not report a point of this code."""
    address = wire.address_of(topic)
    assert address is not None  # only registered topics come this far
    device = code.rpartition(".")[0] or code
    homes = registry.device_homes.get(device, frozenset())
    shown = code[:130]
    if homes and address.enterprise not in homes:
        detail = f"{shown}: the device is not of enterprise {address.enterprise}"
        return Reject(message, Reason.WRONG_ENTERPRISE, detail)
    gateway = registry.gateways[f"{address.enterprise}/{address.gateway}"]
    if device in gateway.devices:
        detail = f"{shown}: device {device} has no such point"
    elif homes:
        detail = f"{shown}: device {device} is registered at another gateway"
    else:
        detail = f"{shown}: no such device is registered"
    return Reject(message, Reason.UNKNOWN_POINT, detail)


def _columns(gathered: _Gathered, received_at: Times, registry: Registry) -> Intake:
    """Columns of what was gathered, with all that a look at time and value can tell."""
    ends = np.array([0, *gathered.ends], np.int64)
    spans = ends[1:] - ends[:-1]
    row = np.array(gathered.rows, np.int32)
    message = np.repeat(np.array(gathered.messages, np.int32), spans)
    observed_at = np.repeat(np.array(gathered.times, np.int64), spans)
    quality = np.repeat(np.array(gathered.flags, np.int16), spans)
    rejects = gathered.rejects
    value, misfit = values_said(
        gathered.values, row, observed_at, quality, message, registry, rejects
    )
    received = received_at[message]
    keep = ~misfit & judge_times(row, observed_at, received, quality, message, registry, rejects)
    judge_values(row, value, quality, message, keep, registry, rejects)
    readings = Readings(row, observed_at, received, value, quality, message)
    return Intake(
        readings if keep.all() else readings.take(keep), by_message_and_reason(rejects),
        gathered.statuses,
    )  # fmt: skip
