"""What can come out of a connection to a broker."""

from dataclasses import dataclass
from typing import TypeAlias

from hazardloop.ingest.messages import Messages, Oversized


@dataclass(frozen=True, slots=True)
class Connected:
    """CONNACK; `code` 0 = accepted. The limits are those the broker sets for what we send.

    session_expiry_s: how long the broker keeps the session, where it is not what we asked for.
    sharing, wildcards: whether the broker grants such filters; in 3.1.1 it does not say.
    """

    session_present: bool
    code: int
    reason: str
    receive_maximum: int = 0xFFFF
    maximum_packet_size: int | None = None
    keep_alive_s: int | None = None
    assigned_client_id: str = ""
    session_expiry_s: int | None = None
    sharing: bool = True
    wildcards: bool = True
    maximum_qos: int = 2


@dataclass(frozen=True, slots=True)
class Granted:
    """SUBACK: a granted QoS, or a refusal from 0x80 on, per filter."""

    packet_id: int
    codes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Published:
    """PUBACK of something we sent; `code` from 0x80 on: refused (MQTT 5)."""

    packet_id: int
    code: int


@dataclass(frozen=True, slots=True)
class Pong:
    """PINGRESP."""


@dataclass(frozen=True, slots=True)
class Reply:
    """Bytes the protocol wants to be sent now."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Disconnected:
    """DISCONNECT from the broker (MQTT 5)."""

    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class ProtocolViolation:
    """The peer broke the rules; nothing more is read from this connection."""

    reason: str
    code: int


Event: TypeAlias = (
    Connected
    | Granted
    | Published
    | Pong
    | Reply
    | Disconnected
    | ProtocolViolation
    | Messages
    | Oversized
)
