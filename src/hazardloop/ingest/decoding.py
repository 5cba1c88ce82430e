"""A batch of messages to columns of readings, and a reject for whatever could not be taken.

Nothing the field sends can raise here, and one bad value never costs its good neighbours.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import msgspec
import numpy as np

from hazardloop.devices import wire
from hazardloop.devices.readings import NEVER, Bools, Flags, Floats, Quality, Readings, Rows, Times
from hazardloop.devices.registry import Gateway, Registry
from hazardloop.devices.wire import PayloadRefused, Reason, Sample, Telemetry, Value

FUTURE_TOLERANCE_US: Final = 5 * 60 * 1_000_000
"""A reading further ahead of its receipt is quarantined."""
OLDEST_US: Final = 30 * 86_400 * 1_000_000
"""A reading further behind its receipt is refused."""
CLOCK_SET_FROM_US: Final = 1_420_070_400 * 1_000_000
"""2015-01-01T00:00Z: a clock that says less was never set."""
CLOCK_SET_UNTIL_US: Final = 4_102_444_800 * 1_000_000
"""2100-01-01T00:00Z."""
SOURCE_QUALITY: Final = {
    None: Quality(0),
    "good": Quality(0),
    "uncertain": Quality.SOURCE_UNCERTAIN,
    "bad": Quality.SOURCE_BAD,
}
NAMED_IN_DETAIL: Final = 5
"""Readings that a reject names before it only counts."""


@dataclass(frozen=True, slots=True)
class Reject:
    """Something of one message that was refused or set aside."""

    message: int
    reason: Reason
    detail: str
    readings: int = 1
    """How many readings it concerns; 0 where the message could not be read so far."""


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
    boolean: Bools
    """(rows,) points that take true and false."""


def routes_of(registry: Registry) -> Routes:
    """The routes of a registry."""
    readings: dict[bytes, tuple[Lookup, int]] = {}
    for home, gateway in registry.gateways.items():
        look_up = gateway.rows.get
        readings[f"{wire.ROOT}/{home}/telemetry".encode()] = (look_up, 0)
        readings[f"{wire.ROOT}/{home}/backfill".encode()] = (look_up, int(Quality.BACKFILL))
    return Routes(
        registry,
        readings,
        np.array([point.type != "number" for point in registry.points], np.bool_),
    )


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
            at_us = ts * 1000 if type(ts) is int and 0 < ts < 10**15 else _time(ts)
            if at_us is None:
                gathered.rejects.append(gathered.drop_object(message, ts))
                continue
            add_time(at_us)
            add_end(len(rows))
            add_message(message)
            add_flags(flags)
    return _columns(gathered, received_at, routes)


def _time(ts: int | float | str | None) -> int | None:
    """Microseconds; NEVER where there is none; None where it cannot be read."""
    if ts is None:
        return NEVER
    try:
        return wire.microseconds(ts)
    except PayloadRefused:
        return None


def _save_what_can_be(message: int, payload: bytes, gathered: _Gathered) -> list[Telemetry]:
    try:
        saved, complaints = wire.decode_leniently(payload)
    except PayloadRefused as refused:
        gathered.rejects.append(Reject(message, refused.reason, refused.detail, 0))
        return []
    if complaints:
        gathered.rejects.append(
            Reject(message, Reason.BAD_SHAPE, _listed(complaints), len(complaints))
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


def _columns(gathered: _Gathered, received_at: Times, routes: Routes) -> Intake:
    """Columns of what was gathered, with all that a look at time and value can tell."""
    ends = np.array([0, *gathered.ends], np.int64)
    spans = ends[1:] - ends[:-1]
    row = np.array(gathered.rows, np.int32)
    message = np.repeat(np.array(gathered.messages, np.int32), spans)
    observed_at = np.repeat(np.array(gathered.times, np.int64), spans)
    quality = np.repeat(np.array(gathered.flags, np.int16), spans)
    rejects = gathered.rejects
    value, misfit = _values(gathered.values, row, observed_at, quality, message, routes, rejects)
    received = received_at[message]
    keep = ~misfit & _judge_times(row, observed_at, received, quality, message, routes, rejects)
    _judge_values(row, value, quality, message, keep, routes, rejects)
    readings = Readings(row, observed_at, received, value, quality, message)
    return Intake(
        readings if keep.all() else readings.take(keep), _gathered_by_reason(rejects),
        gathered.statuses,
    )  # fmt: skip


def _values(
    said: list[Value],
    row: Rows,
    observed_at: Times,
    quality: Flags,
    message: Rows,
    routes: Routes,
    rejects: list[Reject],
) -> tuple[Floats, Bools]:
    """The values as numbers, and which of them are of a type that their point does not take.

    `observed_at` and `quality` are set where a sample brings its own.
    """
    kinds = set(map(type, said))
    misfit = np.zeros(len(said), np.bool_)
    if Sample in kinds:
        said = said.copy()
        for at, sample in enumerate(said):
            if isinstance(sample, Sample):
                complaint = _open_sample(at, sample, observed_at, quality)
                said[at] = sample.v
                if complaint:
                    misfit[at] = True
                    rejects.append(Reject(int(message[at]), Reason.BAD_SHAPE, complaint))
        kinds = set(map(type, said))
    if bool in kinds:
        truth = np.fromiter((type(value) is bool for value in said), np.bool_, len(said))
        wrong = truth & ~routes.boolean[row]
        misfit |= wrong
        for at in np.flatnonzero(wrong).tolist():
            code = routes.registry.points[row[at]].code
            detail = f"{code}: {said[at]} given where a number is wanted"
            rejects.append(Reject(int(message[at]), Reason.BAD_SHAPE, detail))
    return np.array(said, np.float64), misfit


def _open_sample(at: int, sample: Sample, observed_at: Times, quality: Flags) -> str | None:
    """What is wrong with a sample; sets its own time and quality."""
    if sample.q not in SOURCE_QUALITY:
        return f"q: {sample.q!r:.40} is none of good, uncertain, bad"
    quality[at] |= SOURCE_QUALITY[sample.q]
    if sample.ts is not None:
        own = _time(sample.ts)
        if own is None:
            return f"ts: {sample.ts!r:.40} is not milliseconds since 1970 or RFC 3339 with offset"
        observed_at[at] = own
    return None


def _judge_times(
    row: Rows,
    observed_at: Times,
    received: Times,
    quality: Flags,
    message: Rows,
    routes: Routes,
    rejects: list[Reject],
) -> Bools:
    """Which readings may be stored by their time; others are quarantined, some get a stand-in."""
    absent = observed_at == NEVER
    if absent.any():
        observed_at[absent] = received[absent]
        quality[absent] |= Quality.NO_TIMESTAMP
    ahead = observed_at - received
    if not ((ahead > FUTURE_TOLERANCE_US) | (ahead < -OLDEST_US)).any():
        return np.ones(len(row), np.bool_)
    unset = (observed_at < CLOCK_SET_FROM_US) | (observed_at >= CLOCK_SET_UNTIL_US)
    future = (ahead > FUTURE_TOLERANCE_US) & ~unset
    old = (ahead < -OLDEST_US) & ~unset
    for which, reason, text in (
        (unset & (ahead > 0), Reason.FUTURE_TS, "clock not set; stored at the time of receipt"),
        (unset & (ahead < 0), Reason.TOO_OLD, "clock not set; stored at the time of receipt"),
        (future, Reason.FUTURE_TS, "more than 5 min ahead; set aside"),
        (old, Reason.TOO_OLD, "more than 30 days ago; not stored"),
    ):
        for at in np.flatnonzero(which):
            detail = f"{routes.registry.points[row[at]].code}: {_shown(observed_at[at])}: {text}"
            rejects.append(Reject(int(message[at]), reason, detail))
    observed_at[unset] = received[unset]
    quality[unset] |= Quality.CLOCK_UNSET
    return ~(future | old)


def _judge_values(
    row: Rows,
    value: Floats,
    quality: Flags,
    message: Rows,
    keep: Bools,
    routes: Routes,
    rejects: list[Reject],
) -> None:
    """Flags values that are none, or that cannot be; both are stored, as bad."""
    registry = routes.registry
    odd = ~((value >= registry.low[row]) & (value <= registry.high[row])) & keep
    for at in np.flatnonzero(odd):
        point = registry.points[row[at]]
        if np.isfinite(value[at]):
            quality[at] |= Quality.OUT_OF_RANGE
            detail = (
                f"{point.code}: {value[at]:g} outside {point.low:g}..{point.high:g} {point.unit}"
            )
            rejects.append(
                Reject(int(message[at]), Reason.OUT_OF_RANGE, detail + "; stored as bad")
            )
        else:
            quality[at] |= Quality.NOT_A_NUMBER
            detail = f"{point.code}: {value[at]} is no value; stored as bad"
            rejects.append(Reject(int(message[at]), Reason.BAD_SHAPE, detail))
            value[at] = np.nan


def _gathered_by_reason(rejects: Iterable[Reject]) -> list[Reject]:
    """One reject for each message and reason; its detail names the first few readings."""
    by_reason: dict[tuple[int, Reason], list[Reject]] = {}
    for reject in rejects:
        by_reason.setdefault((reject.message, reject.reason), []).append(reject)
    return [
        Reject(message, reason, _listed([one.detail for one in same]),
               sum(one.readings for one in same))
        for (message, reason), same in by_reason.items()
    ]  # fmt: skip


def _listed(details: Sequence[str]) -> str:
    more = len(details) - NAMED_IN_DETAIL
    return "; ".join(details[:NAMED_IN_DETAIL]) + (f"; and {more} more" if more > 0 else "")


def _shown(at_us: int) -> str:
    return str(np.datetime64(int(at_us), "us")) + "Z"
