"""A batch of messages to columns of readings, and a reject for whatever could not be taken.

Nothing the field sends can raise here, and one bad value never costs its good neighbours. What
almost all messages are is done in few passes over the whole batch, each of them a call into C;
what is out of the ordinary is looked at message by message.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain, repeat
from types import MappingProxyType
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from hazardloop.devices import wire
from hazardloop.devices.dialects.dialect import Heard, Reader, Wish
from hazardloop.devices.dialects.readers import topics_of
from hazardloop.devices.readings import NEVER, Bools, Flags, Quality, Readings, Rows, Times
from hazardloop.devices.registry import Gateway, Registry
from hazardloop.devices.wire import PayloadRefused, Reason, Telemetry, Value
from hazardloop.ingest.clocks import Stamps
from hazardloop.ingest.judging import (
    Reject,
    by_message_and_reason,
    judge_times,
    judge_values,
    listed,
    time_said,
    values_said,
)

CHANNELS: Final = {wire.Channel.TELEMETRY: Quality(0), wire.Channel.BACKFILL: Quality.BACKFILL}
"""What brings readings, and the flags they start with."""
LATEST_MS: Final = 10**15
"""Milliseconds since 1970 from which a stamp takes a closer look."""
SPAN: Final = 256
"""Messages decoded in one go: one bad payload makes so many be looked at one by one."""


@dataclass(frozen=True, slots=True)
class StatusSaid:
    """What one gateway said of itself."""

    gateway_id: int
    online: bool
    at_us: int
    firmware: str | None


@dataclass(frozen=True, slots=True)
class Sequences:
    """The numbers that gateways gave to their messages; columns of equal length.

    message: (m,) index in the batch; gateway_id: (m,); seq: (m,) from 0.
    """

    message: Rows
    gateway_id: Rows
    seq: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Intake:
    """What a batch of messages held."""

    readings: Readings
    rejects: list[Reject]
    statuses: list[StatusSaid]
    sequences: Sequences
    wishes: list[Wish]
    """To be published to gateways."""
    stamps: Stamps
    """The times that gateways gave to what they said live."""


@dataclass(frozen=True, slots=True)
class Routes:
    """Each topic on which a registered gateway sends readings, ready to be looked up.

    Columns are over routes; `number` tells a topic's place in them.
    """

    registry: Registry
    number: Mapping[bytes, int]
    foreign: Mapping[bytes, Reader]
    """What reads the messages of a topic that are not in our own dialect."""
    look_up: Sequence[Callable[[str], int | None]]
    """Row of a point by its code."""
    gateways: Sequence[Gateway]
    gateway_id: Rows
    flags: Flags
    """Readings start with these."""


def routes_of(registry: Registry, before: Mapping[bytes, Reader] = MappingProxyType({})) -> Routes:
    """The routes of a registry; `before` is `foreign` at the revision before."""
    number: dict[bytes, int] = {}
    foreign: dict[bytes, Reader] = {}
    look_up: list[Callable[[str], int | None]] = []
    for home, gateway in registry.gateways.items():
        foreign |= topics_of(gateway, registry, before)
        for channel in CHANNELS:
            number[f"{wire.ROOT}/{home}/{channel}".encode()] = len(look_up)
            look_up.append(gateway.rows.get)
    gateways = [gateway for gateway in registry.gateways.values() for _ in CHANNELS]
    return Routes(
        registry,
        number,
        foreign,
        look_up,
        gateways,
        np.array([gateway.gateway_id for gateway in gateways], np.int32),
        np.tile(np.array([*CHANNELS.values()], np.int16), len(registry.gateways)),
    )


@dataclass(slots=True)
class _Said:
    """What was said, in the making: lists over objects, and over the values they held."""

    messages: list[int] = field(default_factory=list)
    routes: list[int] = field(default_factory=list)
    stamps: list[int | float | str | None] = field(default_factory=list)
    numbers: list[int | None] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    rows: list[int | None] = field(default_factory=list)
    """Of each value; None: not one that its gateway may report."""
    values: list[Value] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    statuses: list[StatusSaid] = field(default_factory=list)
    wishes: list[Wish] = field(default_factory=list)


def decode(
    topics: Sequence[bytes], payloads: Sequence[bytes], received_at: Times, routes: Routes
) -> Intake:
    """Readings, rejects, statuses and sequence numbers of a batch.

    Args:
        topics: (n,) as received.
        payloads: (n,) as received.
        received_at: (n,) us since the Unix epoch.
        routes: of the registry that says whose topics and points they are.
    """
    said = _Said()
    for start in range(0, len(topics), SPAN):
        part = slice(start, start + SPAN)
        _take_span(start, topics[part], payloads[part], received_at[part], routes, said)
    return _columns(said, received_at, routes)


def _take_span(
    start: int,
    topics: Sequence[bytes],
    payloads: Sequence[bytes],
    received_at: Times,
    routes: Routes,
    said: _Said,
) -> None:
    """Messages that follow each other, the first of them number `start` of the batch."""
    found: list[Any] = list(map(routes.number.get, topics))  # numbers, once those without are out
    messages: Sequence[int] = range(start, start + len(topics))
    strange = bool(routes.foreign) and not routes.foreign.keys().isdisjoint(topics)
    if strange or None in found or max(map(len, payloads)) > wire.LARGEST_PAYLOAD:
        ours = []
        for at, (topic, payload) in enumerate(zip(topics, payloads, strict=True)):
            route = found[at]
            if route is None or topic in routes.foreign or len(payload) > wire.LARGEST_PAYLOAD:
                other = _Other(start + at, topic, payload, int(received_at[at]))
                _take_other(other, routes, said)
            else:
                ours.append(at)
        messages = [start + at for at in ours]
        found, payloads = [found[at] for at in ours], [payloads[at] for at in ours]
    decoded: list[Any]  # objects, or lists of them
    try:
        decoded = list(map(wire.decode_telemetry, payloads))
    except (msgspec.DecodeError, UnicodeDecodeError):
        decoded = list(map(_decoded, messages, payloads, repeat(said.rejects)))
    if list not in set(map(type, decoded)):
        _take_objects(messages, found, decoded, routes, said)
    else:
        for message, route, objects in zip(messages, found, decoded, strict=True):
            each = objects if isinstance(objects, list) else [objects]
            _take_objects([message] * len(each), [route] * len(each), each, routes, said)


def _take_objects(
    messages: Sequence[int],
    found: Sequence[int],
    objects: Sequence[Telemetry],
    routes: Routes,
    said: _Said,
) -> None:
    """Objects that hold readings, each with its message and the number of its route."""
    held = [each.values for each in objects]
    look_ups = map(routes.look_up.__getitem__, found)
    rows = list(chain.from_iterable(map(map, look_ups, held)))
    if None in rows:
        _refuse_strangers(messages, found, held, routes, said)
    said.messages += messages
    said.routes += found
    said.stamps += [each.ts for each in objects]
    said.numbers += [each.seq for each in objects]
    said.sizes += map(len, held)
    said.rows += rows
    said.values += chain.from_iterable(map(dict.values, held))


def _decoded(message: int, payload: bytes, rejects: list[Reject]) -> Telemetry | list[Telemetry]:
    """What can be saved of a payload that stands among others."""
    try:
        return wire.decode_telemetry(payload)
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass
    try:
        saved, complaints = wire.decode_leniently(payload)
    except PayloadRefused as refused:
        rejects.append(Reject(message, refused.reason, refused.detail, 0))
        return []
    if complaints:
        rejects.append(Reject(message, Reason.BAD_SHAPE, listed(complaints), len(complaints)))
    return saved


@dataclass(frozen=True, slots=True)
class _Other:
    """A message that does not hold readings in our own dialect."""

    number: int
    topic: bytes
    payload: bytes
    received_us: int


def _take_other(message: _Other, routes: Routes, said: _Said) -> None:
    """An event, a status, readings in another dialect, or something that is not to be taken."""
    try:
        gateway, channel = _sender(message.topic, routes.registry)
        if len(message.payload) > wire.LARGEST_PAYLOAD:
            raise PayloadRefused(
                Reason.TOO_LARGE, f"{len(message.payload)} bytes, at most {wire.LARGEST_PAYLOAD}"
            )
        reader = _reader_of(message.topic, gateway, channel, routes)
        if reader is not None:
            heard = reader.read(message.topic, message.payload, message.received_us)
            _take_heard(message.number, gateway, channel, heard, routes, said)
        elif channel is wire.Channel.EVENT:
            events = [_telemetry_of(gateway, each) for each in wire.decode_events(message.payload)]
            _take_all(message.number, gateway, wire.Channel.TELEMETRY, events, routes, said)
        elif message.payload or channel is not wire.Channel.STATUS:  # empty: a withdrawn one
            _take_status(gateway, wire.decode_status(message.payload), said)
    except PayloadRefused as refused:
        said.rejects.append(Reject(message.number, refused.reason, refused.detail, 0))


def _reader_of(
    topic: bytes, gateway: Gateway, channel: wire.Channel, routes: Routes
) -> Reader | None:
    """None: the message is in our own dialect. PayloadRefused: it cannot be read."""
    if channel is not wire.Channel.SPARKPLUG:
        return routes.foreign.get(topic)
    reader = routes.foreign.get(wire.sparkplug_topic(gateway.enterprise, gateway.code))
    if reader is None:
        raise PayloadRefused(
            Reason.BAD_SHAPE, f"gateway {gateway.code} is not registered to speak Sparkplug B"
        )
    return reader


def _take_heard(
    message: int,
    gateway: Gateway,
    channel: wire.Channel,
    heard: Heard,
    routes: Routes,
    said: _Said,
) -> None:
    """What a message in another dialect says."""
    live = wire.Channel.BACKFILL if channel is wire.Channel.BACKFILL else wire.Channel.TELEMETRY
    _take_all(message, gateway, live, heard.telemetry, routes, said)
    _take_all(message, gateway, wire.Channel.BACKFILL, heard.backfill, routes, said)
    said.rejects += [
        Reject(message, complaint.reason, complaint.detail, complaint.readings)
        for complaint in heard.complaints
    ]
    if heard.status is not None:
        _take_status(gateway, heard.status, said)
    said.wishes += heard.wishes


def _take_all(
    message: int,
    gateway: Gateway,
    channel: wire.Channel,
    objects: Sequence[Telemetry],
    routes: Routes,
    said: _Said,
) -> None:
    """All objects of one message, as if it had come on that channel."""
    home = f"{gateway.enterprise}/{gateway.code}"
    route = routes.number[f"{wire.ROOT}/{home}/{channel}".encode()]
    count = len(objects)
    _take_objects([message] * count, [route] * count, objects, routes, said)


def _take_status(gateway: Gateway, status: wire.Status, said: _Said) -> None:
    at_us = NEVER if status.ts is None else wire.microseconds(status.ts)
    said.statuses.append(StatusSaid(gateway.gateway_id, status.online, at_us, status.fw))


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


def _telemetry_of(gateway: Gateway, event: wire.Event) -> Telemetry:
    """An event as values of the points that stand for it: 1 it happens, 0 it is over."""
    known = gateway.events.get(event.device, {})
    if event.event == "normal" and known:
        return Telemetry({f"{event.device}.{name}": 0.0 for name in known}, event.ts)
    over = (event.data or {}).get("active") is False
    return Telemetry({f"{event.device}.{event.event}": 0.0 if over else 1.0}, event.ts)


def _refuse_strangers(
    messages: Sequence[int],
    found: Sequence[int],
    held: Sequence[Mapping[str, Value]],
    routes: Routes,
    said: _Said,
) -> None:
    """A reject for each value whose point the gateway may not report."""
    for message, route, values in zip(messages, found, held, strict=True):
        for code in values:
            if routes.look_up[route](code) is None:
                reason, detail = _why_strange(code, routes.gateways[route], routes.registry)
                said.rejects.append(Reject(message, reason, detail))


def _why_strange(code: str, gateway: Gateway, registry: Registry) -> tuple[Reason, str]:
    device = code.rpartition(".")[0] or code
    homes = registry.device_homes.get(device, frozenset())
    shown = code[:130]
    if homes and gateway.enterprise not in homes:
        detail = f"{shown}: the device is not of enterprise {gateway.enterprise}"
        return Reason.WRONG_ENTERPRISE, detail
    if device in gateway.devices:
        detail = f"{shown}: device {device} has no such point"
    elif homes:
        detail = f"{shown}: device {device} is registered at another gateway"
    else:
        detail = f"{shown}: no such device is registered"
    return Reason.UNKNOWN_POINT, detail


def _columns(said: _Said, received_at: Times, routes: Routes) -> Intake:
    """Columns of what was said, with all that a look at time and value can tell."""
    registry, rejects = routes.registry, said.rejects
    of_object = np.array(said.messages, np.int32)
    route = np.array(said.routes, np.intp)
    at_us, readable = _times(said)
    which = np.repeat(np.arange(len(route)), np.array(said.sizes, np.int64))
    row, known = _rows(said.rows)
    message = of_object[which]
    values, observed_at, quality = said.values, at_us[which], routes.flags[route][which]
    taken = known & readable[which]
    if not taken.all() or (message[1:] < message[:-1]).any():
        kept = np.flatnonzero(taken)
        kept = kept[np.argsort(message[kept], kind="stable")]
        row, message = row[kept], message[kept]
        observed_at, quality = observed_at[kept], quality[kept]
        values = [values[at] for at in kept.tolist()]
    value, misfit = values_said(values, row, observed_at, quality, message, registry, rejects)
    received = received_at[message]
    keep = ~misfit & judge_times(row, observed_at, received, quality, message, registry, rejects)
    judge_values(row, value, quality, message, keep, registry, rejects)
    readings = Readings(row, observed_at, received, value, quality, message)
    return Intake(
        readings if keep.all() else readings.take(keep),
        by_message_and_reason(rejects),
        said.statuses,
        _sequences(said.numbers, of_object, routes.gateway_id[route]),
        said.wishes,
        _stamps(of_object, route, at_us, readable, routes),
    )


def _stamps(
    message: Rows, route: npt.NDArray[np.intp], at_us: Times, readable: Bools, routes: Routes
) -> Stamps:
    """What of all that was said bears on the gateways' clocks."""
    live = readable & (at_us != NEVER) & (routes.flags[route] == 0)
    return Stamps(message[live], routes.gateway_id[route[live]], at_us[live])


def _rows(said: list[int | None]) -> tuple[Rows, Bools]:
    """The rows, and which of them are any."""
    if None not in said:
        return np.array(said, np.int32), np.ones(len(said), np.bool_)
    row = np.array([-1 if each is None else each for each in said], np.int32)
    return row, row >= 0


def _times(said: _Said) -> tuple[Times, Bools]:
    """The time of each object in us, and whether it can be read; a reject where not."""
    readable = np.ones(len(said.stamps), np.bool_)
    if set(map(type, said.stamps)) <= {int}:
        with suppress(OverflowError):
            at_ms = np.array(said.stamps, np.int64)
            if ((at_ms > 0) & (at_ms < LATEST_MS)).all():
                return at_ms * 1000, readable
    at_us = np.zeros(len(readable), np.int64)
    for nth, stamp in enumerate(said.stamps):
        instant = time_said(stamp)
        if instant is None:
            readable[nth] = False
            detail = f"ts: {stamp!r:.40} is not milliseconds since 1970 or RFC 3339 with offset"
            dropped = said.sizes[nth]
            said.rejects.append(Reject(said.messages[nth], Reason.BAD_SHAPE, detail, dropped))
        else:
            at_us[nth] = instant
    return at_us, readable


def _sequences(numbers: list[int | None], message: Rows, gateway_id: Rows) -> Sequences:
    if None in numbers:
        numbered = np.fromiter((number is not None for number in numbers), np.bool_, len(numbers))
        message, gateway_id = message[numbered], gateway_id[numbered]
        numbers = [number for number in numbers if number is not None]
    return Sequences(message, gateway_id, np.array(numbers, np.int64))
