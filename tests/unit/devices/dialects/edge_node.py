"""A Sparkplug edge node for tests. Its protobuf is written by hand, byte by byte, from the
published field numbers, so that it shares no description with the reader under test.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.unit.devices.dialects.gateways import NOW_MS

VARINT, FIXED64, TEXT, FIXED32 = 0, 1, 2, 5
INT8, INT16, INT32, INT64, UINT64, FLOAT, DOUBLE, BOOLEAN, STRING, DATASET = (
    1, 2, 3, 4, 8, 9, 10, 11, 12, 16
)  # fmt: skip


def varint(number: int) -> bytes:
    """Base 128, least group first."""
    out = bytearray()
    while True:
        out.append((number & 0x7F) | (0x80 if number > 0x7F else 0))
        number >>= 7
        if not number:
            return bytes(out)


def field(number: int, value: Any, how: int = VARINT) -> bytes:
    """One field of a message."""
    key = varint(number << 3 | how)
    if how == TEXT:
        raw = value.encode() if isinstance(value, str) else value
        return key + varint(len(raw)) + raw
    if how == FIXED64:
        return key + struct.pack("<d", value)
    if how == FIXED32:
        return key + struct.pack("<f", value)
    return key + varint(int(value))


def value_field(datatype: int, value: Any) -> bytes:
    """The field of a metric that holds its value."""
    if datatype == FLOAT:
        return field(12, value, FIXED32)
    if datatype == DOUBLE:
        return field(13, value, FIXED64)
    if datatype == BOOLEAN:
        return field(14, value)
    if datatype == STRING:
        return field(15, value, TEXT)
    if datatype in (INT64, UINT64):
        return field(11, value & (1 << 64) - 1)
    return field(10, value & 0xFFFFFFFF)


def metric(
    name: str | None = None, value: Any = None, datatype: int = DOUBLE, *,
    alias: int | None = None, ts: int | None = NOW_MS, typed: bool = True,
    historical: bool = False, **properties: str | int,
) -> bytes:  # fmt: skip
    """One metric; `value` None is null, a DATASET has none."""
    raw = b"" if name is None else field(1, name, TEXT)
    raw += b"" if alias is None else field(2, alias)
    raw += b"" if ts is None else field(3, ts)
    raw += field(4, datatype) if typed else b""
    raw += field(5, True) if historical else b""
    if datatype != DATASET:
        raw += field(7, True) if value is None else value_field(datatype, value)
    if properties:
        held = b"".join(field(1, key, TEXT) for key in properties)
        for each in properties.values():
            said = field(8, each, TEXT) if isinstance(each, str) else field(3, each)
            held += field(2, field(1, STRING if isinstance(each, str) else INT32) + said, TEXT)
        raw += field(9, held, TEXT)
    return raw


def payload(*metrics: bytes, seq: int | None = None, ts: int | None = NOW_MS) -> bytes:
    """A payload of these metrics."""
    raw = b"" if ts is None else field(1, ts)
    raw += b"".join(field(2, one, TEXT) for one in metrics)
    return raw + (b"" if seq is None else field(3, seq))


@dataclass(slots=True)
class EdgeNode:
    """Counts its messages as an edge node does; gives topic and payload."""

    group: str = "E1"
    edge: str = "G1"
    bd_seq: int = 0
    seq: int = 0
    clock: Callable[[], int] = lambda: NOW_MS
    """ms since the Unix epoch."""

    def _numbered(self, kind: str, metrics: tuple[bytes, ...], device: str) -> tuple[bytes, bytes]:
        message = payload(*metrics, seq=self.seq, ts=self.clock())
        self.seq = (self.seq + 1) % 256
        return self.topic(kind, device), message

    def topic(self, kind: str, device: str = "") -> bytes:
        """Where a message of a kind goes."""
        tail = f"/{device}" if device else ""
        return f"spBv1.0/{self.group}/{kind}/{self.edge}{tail}".encode()

    def birth(self, *metrics: bytes) -> tuple[bytes, bytes]:
        """NBIRTH, the first message of a session."""
        self.seq = 0
        bd_seq = metric("bdSeq", self.bd_seq, INT64)
        rebirth = metric("Node Control/Rebirth", False, BOOLEAN)
        return self._numbered("NBIRTH", (bd_seq, rebirth, *metrics), "")

    def death(self) -> tuple[bytes, bytes]:
        """NDEATH, as it was left with the broker."""
        return self.topic("NDEATH"), payload(metric("bdSeq", self.bd_seq, INT64, ts=None), ts=None)

    def data(self, *metrics: bytes, device: str = "") -> tuple[bytes, bytes]:
        """NDATA or DDATA."""
        return self._numbered("DDATA" if device else "NDATA", metrics, device)

    def device_birth(self, device: str, *metrics: bytes) -> tuple[bytes, bytes]:
        """DBIRTH."""
        return self._numbered("DBIRTH", metrics, device)

    def device_death(self, device: str) -> tuple[bytes, bytes]:
        """DDEATH."""
        return self._numbered("DDEATH", (), device)
