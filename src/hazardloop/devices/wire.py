"""Topic and payload of a message: encode and decode side by side (contract, section 3)."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Final, TypeAlias

import msgspec

ROOT: Final = "hl/v1"
LARGEST_PAYLOAD: Final = 256 * 1024
"""Bytes; a larger message is refused as `too_large`."""
CODE: Final = r"[A-Za-z0-9_-]{1,64}"
_TOPIC: Final = re.compile(rf"{ROOT}/({CODE})/({CODE})/(telemetry|backfill|event|status)\Z")
SPARKPLUG: Final = "spBv1.0"
"""Topic root of Sparkplug B; its group is an enterprise's code, its edge node a gateway's."""
_SPARKPLUG_TOPIC: Final = re.compile(rf"{SPARKPLUG}/({CODE})/[A-Z]{{4,6}}/({CODE})(?:/[^/]+)?\Z")
_WHOLE_DIGITS: Final = 18
"""Integers of more digits than fit in 64 bits are read as floats."""


class Channel(StrEnum):
    """What a gateway says on which of its topics."""

    TELEMETRY = "telemetry"
    BACKFILL = "backfill"
    EVENT = "event"
    STATUS = "status"
    SPARKPLUG = "sparkplug"
    """All topics of a gateway that speaks Sparkplug B."""


class Reason(StrEnum):
    """Why a message, or some of its readings, was refused or set aside."""

    NOT_JSON = "not_json"
    BAD_SHAPE = "bad_shape"
    TOO_LARGE = "too_large"
    UNKNOWN_GATEWAY = "unknown_gateway"
    UNKNOWN_POINT = "unknown_point"
    WRONG_ENTERPRISE = "wrong_enterprise"
    OUT_OF_RANGE = "out_of_range"
    FUTURE_TS = "future_ts"
    TOO_OLD = "too_old"
    DUPLICATE = "duplicate"
    NO_BIRTH = "no_birth"
    """Sparkplug: not understood without a birth message that has not been seen."""
    SEQ_GAP = "seq_gap"
    """Sparkplug: messages before this one, itself taken, never came."""


class Sample(msgspec.Struct):
    """A value with its own quality or time."""

    v: float | bool | None
    q: str | None = None
    ts: int | float | str | None = None


Value: TypeAlias = float | bool | Sample | None
Sequence: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
"""Number of a message of its gateway."""


class Telemetry(msgspec.Struct, gc=False):
    """One object of a telemetry or backfill payload."""

    values: dict[str, Value]
    ts: int | float | str | None = None
    seq: Sequence | None = None


class Event(msgspec.Struct):
    """One object of an event payload."""

    device: str
    event: str
    ts: int | float | str | None = None
    data: dict[str, Any] | None = None


class Status(msgspec.Struct):
    """The payload of a gateway's status topic and of its last will."""

    online: bool
    ts: int | float | str | None = None
    fw: str | None = None


class PayloadRefused(Exception):
    """A payload that nothing can be taken from; carries the reason."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Address:
    """Where a message came from, as its topic says."""

    enterprise: str
    gateway: str
    channel: Channel


_telemetry: Final[msgspec.json.Decoder[Telemetry | list[Telemetry]]] = msgspec.json.Decoder(
    Telemetry | list[Telemetry]
)
decode_telemetry: Final = _telemetry.decode
"""The readings a payload holds.

Raises one of `NOT_OF_THE_SHAPE` when it is not plainly of the shape; ask `decode_leniently` then.
"""
NOT_OF_THE_SHAPE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises; the last where a member that nobody asked for is nested a thousand deep."""
_events: Final[msgspec.json.Decoder[Event | list[Event]]] = msgspec.json.Decoder(
    Event | list[Event]
)
_status = msgspec.json.Decoder(Status)


def address_of(topic: bytes) -> Address | None:
    """The parts of a gateway's topic; None for a topic that is none of ours."""
    text = topic.decode("utf-8", "replace")
    if found := _TOPIC.match(text):
        return Address(found[1], found[2], Channel(found[3]))
    if found := _SPARKPLUG_TOPIC.match(text):
        return Address(found[1], found[2], Channel.SPARKPLUG)
    return None


def uplink_filters() -> tuple[str, ...]:
    """Topic filters that together give all that gateways send up."""
    ours = (channel for channel in Channel if channel is not Channel.SPARKPLUG)
    return tuple(map(uplink_filter, ours))


def uplink_filter(channel: Channel) -> str:
    """Topic filter of all that gateways send on that channel of ours."""
    return f"{ROOT}/+/+/{channel}"


def sparkplug_filters() -> tuple[str, ...]:
    """Topic filters of all edge nodes and their devices; two, none with `#`: NATS takes that for
    two, and bounds the unacknowledged messages of all filters together.
    """
    return f"{SPARKPLUG}/+/+/+", f"{SPARKPLUG}/+/+/+/+"


def topic(enterprise: str, gateway: str, channel: Channel) -> str:
    """One of a gateway's own topics."""
    return f"{ROOT}/{enterprise}/{gateway}/{channel}"


def sparkplug_topic(enterprise: str, gateway: str) -> bytes:
    """Where an edge node of Sparkplug B sends its data: the topic that its reader goes by."""
    return f"{SPARKPLUG}/{enterprise}/NDATA/{gateway}".encode()


def reject_topic(enterprise: str, gateway: str) -> str:
    """Where a gateway is told what was refused."""
    return f"{ROOT}/{enterprise}/{gateway}/reject"


def alarm_topic(enterprise: str) -> str:
    """Where an enterprise's annunciators hear of its alarms."""
    return f"{ROOT}/{enterprise}/alarm"


def decode_leniently(payload: bytes) -> tuple[list[Telemetry], list[str]]:
    """What can be saved of a payload that `decode_telemetry` refused, and what could not.

    NaN and infinities, which JSON has not but gateways send, become values of their own; a value
    of a wrong type is left out and named. Raises PayloadRefused when nothing can be saved.
    """
    found = parse_json(payload)
    objects = found if isinstance(found, list) else [found]
    messages: list[Telemetry] = []
    complaints: list[str] = []
    for nth, entry in enumerate(objects):
        if not isinstance(entry, dict) or not isinstance(entry.get("values"), dict):
            raise PayloadRefused(
                Reason.BAD_SHAPE,
                f"object {nth}: no `values` object; wanted"
                ' {"ts": …, "values": {"DEVICE.quantity": number}}',
            )
        values: dict[str, Value] = {}
        for code, value in entry["values"].items():
            try:
                values[code] = _lenient_value(value)
            except (ValueError, msgspec.ValidationError):
                complaints.append(f"{code[:130]}: {_shown(value)} is not a number or boolean")
        ts = entry.get("ts")
        if not isinstance(ts, int | float | str | None) or isinstance(ts, bool):
            raise PayloadRefused(Reason.BAD_SHAPE, f"ts: {_shown(ts)} is not a time")
        messages.append(Telemetry(values, ts, _lenient_seq(entry.get("seq"), complaints)))
    return messages, complaints


def decode_events(payload: bytes) -> list[Event]:
    """The events a payload holds. Raises PayloadRefused."""
    try:
        events = _events.decode(payload)
    except NOT_OF_THE_SHAPE as error:
        raise _refused(payload, error) from error
    return events if isinstance(events, list) else [events]


def decode_status(payload: bytes) -> Status:
    """What a gateway says of itself. Raises PayloadRefused."""
    try:
        return _status.decode(payload)
    except NOT_OF_THE_SHAPE as error:
        raise _refused(payload, error) from error


def microseconds(ts: int | float | str) -> int:
    """Microseconds since the Unix epoch of a payload's `ts`: milliseconds, or RFC 3339 with offset.

    Raises PayloadRefused, also for a text without an offset: it could be any of several instants.
    """
    if isinstance(ts, str):
        return _microseconds_of_text(ts)
    if not math.isfinite(ts) or abs(ts) > 1e15:
        raise PayloadRefused(Reason.BAD_SHAPE, f"ts: {ts!r} is not milliseconds since 1970")
    return int(ts * 1000)


def _microseconds_of_text(ts: str) -> int:
    try:
        # A leap second is the last instant before it: no clock of ours can say 23:59:60.
        instant = datetime.fromisoformat(ts.replace(":60", ":59.999", 1) if ":60" in ts else ts)
    except ValueError as error:
        raise PayloadRefused(Reason.BAD_SHAPE, f"ts: {ts[:40]!r} is not RFC 3339") from error
    if instant.tzinfo is None:
        raise PayloadRefused(Reason.BAD_SHAPE, f"ts: {ts[:40]!r} has no offset such as +08:00")
    try:
        return round(instant.timestamp() * 1e6)
    except (OverflowError, ValueError) as error:
        raise PayloadRefused(Reason.BAD_SHAPE, f"ts: {ts[:40]!r} is not a time") from error


def encode_telemetry(
    ts_ms: int, seq: int | None, values: Mapping[str, float | bool | None]
) -> bytes:
    """A telemetry payload with one object; without a number where the sender does not count."""
    numbered = {} if seq is None else {"seq": seq}
    return msgspec.json.encode({"ts": ts_ms} | numbered | {"values": values})


def encode_event(ts_ms: int, device: str, event: str, data: Mapping[str, Any]) -> bytes:
    """An event payload with one object."""
    return msgspec.json.encode({"ts": ts_ms, "device": device, "event": event, "data": data})


def encode_status(online: bool, ts_ms: int | None = None, firmware: str | None = None) -> bytes:
    """A status payload; without a time it is the last will."""
    return msgspec.json.encode(
        {"online": online}
        | ({} if ts_ms is None else {"ts": ts_ms})
        | ({} if firmware is None else {"fw": firmware})
    )


def encode_reject(
    reason: Reason, detail: str, topic: str, sample: bytes, ts_ms: int, others: int
) -> bytes:
    """What a gateway is told: the reason, a sample, and how many others were not told."""
    return msgspec.json.encode(
        {
            "reason": reason,
            "detail": _sayable(detail),
            "topic": _sayable(topic),
            "sample": sample[:800].decode("utf-8", "replace")[:200],
            "ts": ts_ms,
            "others": others,
        }
    )


def _sayable(text: str) -> str:
    """What JSON can escape and UTF-8 cannot write, a lone surrogate, is replaced."""
    return text.encode("utf-8", "replace").decode()


def parse_json(payload: bytes) -> Any:
    """What a payload says as JSON, with NaN and infinities. Raises PayloadRefused."""
    try:
        return json.loads(payload.decode("utf-8"), parse_int=_whole)
    except (ValueError, RecursionError) as error:
        raise PayloadRefused(Reason.NOT_JSON, _first_line(error)) from error


def _whole(digits: str) -> int | float:
    return int(digits) if len(digits) <= _WHOLE_DIGITS else float(digits)


def _lenient_value(value: Any) -> Value:
    if isinstance(value, dict):
        # NaN inside a sample passes here: convert() takes Python's floats as they are.
        return msgspec.convert(value, Sample)
    if value is None or isinstance(value, bool | int | float):
        return value
    raise ValueError


def _lenient_seq(seq: Any, complaints: list[str]) -> int | None:
    if seq is None or (type(seq) is int and 0 <= seq < 2**63):
        return seq
    complaints.append(f"seq: {_shown(seq)} is not a whole number from 0")
    return None


def _refused(payload: bytes, error: Exception) -> PayloadRefused:
    parse_json(payload)  # says not_json where it is not even that
    return PayloadRefused(Reason.BAD_SHAPE, _first_line(error))


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)[:60]


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
