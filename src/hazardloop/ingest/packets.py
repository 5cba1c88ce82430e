"""The packets a client sends, MQTT 3.1.1 and 5: values in, bytes out."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from hazardloop.ingest import properties
from hazardloop.ingest.properties import varint, write_properties

MQTT_3_1_1: Final = 4
MQTT_5: Final = 5
NEVER_EXPIRES: Final = 0xFFFF_FFFF
"""Session expiry of MQTT 5, seconds: the broker keeps the session without end."""
PING_REQUEST: Final = b"\xc0\x00"
_PUBACK_WORD: Final = 0x4002_0000


PacketIds: TypeAlias = npt.NDArray[np.intp]


class Kind(IntEnum):
    """Packet types, the high nibble of the first byte (MQTT 5 section 2.1.2)."""

    CONNECT = 1
    CONNACK = 2
    PUBLISH = 3
    PUBACK = 4
    PUBREC = 5
    PUBREL = 6
    PUBCOMP = 7
    SUBSCRIBE = 8
    SUBACK = 9
    UNSUBSCRIBE = 10
    UNSUBACK = 11
    PINGREQ = 12
    PINGRESP = 13
    DISCONNECT = 14
    AUTH = 15


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker publishes for a client that vanishes."""

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = False


def connect(
    client_id: str,
    *,
    protocol: int = MQTT_3_1_1,
    clean_start: bool = False,
    keep_alive_s: int = 15,
    username: str | None = None,
    password: str | None = None,
    will: Will | None = None,
    session_expiry_s: int = NEVER_EXPIRES,
    receive_maximum: int = 0xFFFF,
    topic_alias_maximum: int = 0,
) -> bytes:
    """CONNECT. In MQTT 3.1.1 a session that is not clean never expires by itself.

    Args:
        client_id: names the session at the broker.
        protocol: 4 = MQTT 3.1.1, 5 = MQTT 5.
        clean_start: forget an earlier session; in 3.1.1 also this one, at its end.
        keep_alive_s: seconds, 0..65,535; 0 = none.
        username: user name, if the broker asks for one.
        password: only together with a user name.
        will: published by the broker when we vanish.
        session_expiry_s: seconds the session outlives the connection (5 only).
        receive_maximum: messages the broker may send unacknowledged, 1..65,535 (5 only).
        topic_alias_maximum: topic aliases the broker may use (5 only).

    ValueError: a text over 65,535 bytes, or a password without user name in 3.1.1.
    """
    if password is not None and username is None and protocol == MQTT_3_1_1:
        raise ValueError("MQTT 3.1.1 has no password without a user name")
    flags = clean_start << 1 | (password is not None) << 6 | (username is not None) << 7
    if will is not None:
        flags |= 1 << 2 | will.qos << 3 | will.retain << 5
    head = _text("MQTT") + bytes([protocol, flags]) + keep_alive_s.to_bytes(2, "big")
    if protocol == MQTT_5:
        asked = {
            properties.SESSION_EXPIRY: (session_expiry_s, 4),
            properties.RECEIVE_MAXIMUM: (receive_maximum, 2),
            properties.TOPIC_ALIAS_MAXIMUM: (topic_alias_maximum, 2),
        }
        head += write_properties(asked)
    body = [head, _text(client_id)]
    if will is not None:
        body += [b"\0" * (protocol == MQTT_5), _text(will.topic), _text(will.payload)]
    body += [_text(given) for given in (username, password) if given is not None]
    return _packet(Kind.CONNECT << 4, b"".join(body))


class Retained(IntEnum):
    """Which retained messages the broker is to send at SUBSCRIBE (MQTT 5, 3.8.3.1)."""

    SENT = 0
    SENT_IF_NEW = 1
    NOT_SENT = 2


def subscribe_options(qos: int, retained: Retained = Retained.SENT) -> int:
    """The byte behind a topic filter; MQTT 3.1.1 knows the QoS only."""
    return qos | retained << 4


def subscribe(
    packet_id: int, filters: Sequence[tuple[str, int]], protocol: int = MQTT_3_1_1
) -> bytes:
    """SUBSCRIBE to `filters`: (topic filter, QoS or what `subscribe_options` gives)."""
    asked = b"".join(_text(topic) + bytes([qos]) for topic, qos in filters)
    return _packet(Kind.SUBSCRIBE << 4 | 2, _number(packet_id) + _none(protocol) + asked)


def publish(
    topic: str | bytes,
    payload: bytes,
    *,
    qos: int = 0,
    packet_id: int = 0,
    retain: bool = False,
    dup: bool = False,
    protocol: int = MQTT_3_1_1,
) -> bytes:
    """PUBLISH; `packet_id` 1..65,535 with QoS 1 and 2, none with QoS 0."""
    header = Kind.PUBLISH << 4 | dup << 3 | qos << 1 | retain
    number = _number(packet_id) if qos else b""
    return _packet(header, _text(topic) + number + _none(protocol) + payload)


def acknowledgements(packet_ids: npt.ArrayLike) -> bytes:
    """One PUBACK for each packet id, in that order, as one piece of 4 bytes each."""
    return (np.asarray(packet_ids, np.intp) + _PUBACK_WORD).astype(">u4").tobytes()


def answer(kind: Kind, packet_id: int, code: int = 0) -> bytes:
    """PUBACK, PUBREC, PUBREL or PUBCOMP; a `code` other than 0 exists in MQTT 5 only."""
    header = kind << 4 | (2 if kind is Kind.PUBREL else 0)
    return _packet(header, _number(packet_id) + (bytes([code]) if code else b""))


def disconnect(protocol: int = MQTT_3_1_1, code: int = 0) -> bytes:
    """DISCONNECT; in MQTT 5 with a reason code, if it is not the ordinary one."""
    return _packet(Kind.DISCONNECT << 4, bytes([code]) if code and protocol == MQTT_5 else b"")


def _packet(header: int, body: bytes) -> bytes:
    return bytes([header]) + varint(len(body)) + body


def _text(value: str | bytes) -> bytes:
    encoded = value.encode() if isinstance(value, str) else value
    if len(encoded) > 0xFFFF:
        raise ValueError(f"text of {len(encoded)} bytes, at most 65535 are allowed")
    return len(encoded).to_bytes(2, "big") + encoded


def _number(value: int) -> bytes:
    if not 1 <= value <= 0xFFFF:
        raise ValueError(f"packet id {value} outside 1..65535")
    return value.to_bytes(2, "big")


def _none(protocol: int) -> bytes:
    return b"\0" if protocol == MQTT_5 else b""
