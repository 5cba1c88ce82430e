"""Properties of MQTT 5 packets (section 2.2.2), read and written."""

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from hazardloop.ingest.errors import MalformedPacket
from hazardloop.ingest.reasons import MALFORMED_PACKET, PROTOCOL_ERROR

Value: TypeAlias = int | bytes | tuple[bytes, bytes]
Properties: TypeAlias = Mapping[int, Value]

SESSION_EXPIRY: Final = 0x11
ASSIGNED_CLIENT_ID: Final = 0x12
SERVER_KEEP_ALIVE: Final = 0x13
REASON_STRING: Final = 0x1F
RECEIVE_MAXIMUM: Final = 0x21
TOPIC_ALIAS_MAXIMUM: Final = 0x22
TOPIC_ALIAS: Final = 0x23
MAXIMUM_QOS: Final = 0x24
MAXIMUM_PACKET_SIZE: Final = 0x27
WILDCARDS_AVAILABLE: Final = 0x28
SHARING_AVAILABLE: Final = 0x2A
MANY: Final = frozenset({0x0B, 0x26})
"""Subscription identifier and user property may stand more than once; the last one is kept."""


def read_varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """A variable byte integer of 1..4 bytes and where it ends. MalformedPacket: longer or cut."""
    value = 0
    for shift in (0, 7, 14, 21):
        if at >= end:
            raise MalformedPacket("number reaches past its packet", MALFORMED_PACKET)
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
    raise MalformedPacket("number longer than 4 bytes", MALFORMED_PACKET)


def varint(value: int) -> bytes:
    """A variable byte integer, 0..268,435,455. ValueError outside."""
    if not 0 <= value <= 0x0FFF_FFFF:
        raise ValueError(f"length {value} outside 0..268435455")
    written = bytearray()
    while value > 0x7F:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    written.append(value)
    return bytes(written)


def _fixed(size: int) -> "Reader":
    def read(data: bytes, at: int, end: int) -> tuple[Value, int]:
        if at + size > end:
            raise MalformedPacket("property reaches past its packet", MALFORMED_PACKET)
        return int.from_bytes(data[at : at + size], "big"), at + size

    return read


def _text(data: bytes, at: int, end: int) -> tuple[bytes, int]:
    stop = at + 2 + int.from_bytes(data[at : at + 2], "big")
    if stop > end:
        raise MalformedPacket("property reaches past its packet", MALFORMED_PACKET)
    return data[at + 2 : stop], stop


def _pair(data: bytes, at: int, end: int) -> tuple[Value, int]:
    name, at = _text(data, at, end)
    value, at = _text(data, at, end)
    return (name, value), at


Reader: TypeAlias = Callable[[bytes, int, int], tuple[Value, int]]
_BYTE, _TWO, _FOUR = _fixed(1), _fixed(2), _fixed(4)
READERS: Final[Mapping[int, Reader]] = {
    0x01: _BYTE,
    0x02: _FOUR,
    0x03: _text,
    0x08: _text,
    0x09: _text,
    0x0B: read_varint,
    SESSION_EXPIRY: _FOUR,
    ASSIGNED_CLIENT_ID: _text,
    SERVER_KEEP_ALIVE: _TWO,
    0x15: _text,
    0x16: _text,
    0x17: _BYTE,
    0x18: _FOUR,
    0x19: _BYTE,
    0x1A: _text,
    0x1C: _text,
    REASON_STRING: _text,
    RECEIVE_MAXIMUM: _TWO,
    TOPIC_ALIAS_MAXIMUM: _TWO,
    TOPIC_ALIAS: _TWO,
    MAXIMUM_QOS: _BYTE,
    0x25: _BYTE,
    0x26: _pair,
    MAXIMUM_PACKET_SIZE: _FOUR,
    WILDCARDS_AVAILABLE: _BYTE,
    0x29: _BYTE,
    SHARING_AVAILABLE: _BYTE,
}


def read_properties(data: bytes, at: int, end: int) -> tuple[dict[int, Value], int]:
    """The properties that start at `at` and where they end.

    MalformedPacket: cut, of unknown identifier, or twice where once is allowed.
    """
    size, at = read_varint(data, at, end)
    stop = at + size
    if stop > end:
        raise MalformedPacket("properties reach past their packet", MALFORMED_PACKET)
    found: dict[int, Value] = {}
    while at < stop:
        identifier, at = read_varint(data, at, stop)
        read = READERS.get(identifier)
        if read is None:
            raise MalformedPacket(f"unknown property 0x{identifier:02x}", MALFORMED_PACKET)
        if identifier in found and identifier not in MANY:
            raise MalformedPacket(f"property 0x{identifier:02x} twice", PROTOCOL_ERROR)
        found[identifier], at = read(data, at, stop)
    return found, at


def write_properties(numbers: Mapping[int, tuple[int, int]]) -> bytes:
    """Identifier -> (value, bytes wide), with the length in front."""
    body = b"".join(
        bytes([identifier]) + value.to_bytes(width, "big")
        for identifier, (value, width) in numbers.items()
    )
    return varint(len(body)) + body


def number(properties: Properties, identifier: int, otherwise: int) -> int:
    """A numeric property, or what holds without it."""
    value = properties.get(identifier)
    return value if isinstance(value, int) else otherwise


def text(properties: Properties, identifier: int) -> str:
    """A text property, empty without it; what is not UTF-8 is replaced."""
    value = properties.get(identifier)
    return value.decode(errors="replace") if isinstance(value, bytes) else ""
