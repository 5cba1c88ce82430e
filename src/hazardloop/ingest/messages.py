"""PUBLISH packets to columns: many at once where they are plain, one by one where they are not."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from hazardloop.ingest.errors import MalformedPacket
from hazardloop.ingest.framing import Frames
from hazardloop.ingest.packets import MQTT_5, PacketIds
from hazardloop.ingest.properties import Properties, read_properties, read_varint
from hazardloop.ingest.reasons import MALFORMED_PACKET, PROTOCOL_ERROR
from hazardloop.ingest.texts import Texts, side_by_side

RETAIN: Final = 1
QOS: Final = 6
DUP: Final = 8
HEAD: Final = 4096
"""Bytes kept of a payload that is over the limit."""
_PUBLISH: Final = 0x30


@dataclass(slots=True)
class Messages:
    """PUBLISH packets that followed each other, as columns of equal length.

    topics: (n,) as they came, not checked to be UTF-8.
    payloads: (n,); in the same buffer as the topics.
    packet_ids: (n,) 1..65,535; 0 = QoS 0, nothing to acknowledge.
    flags: (n,) low nibble of the first byte: DUP 8, QoS 6, RETAIN 1.
    received_at: one instant for all of them, microseconds since 1970-01-01T00:00Z.
    wire_bytes: what they took on the wire.
    """

    topics: Texts
    payloads: Texts
    packet_ids: PacketIds
    flags: bytes
    received_at: int = 0
    wire_bytes: int = 0

    def __len__(self) -> int:
        """How many messages."""
        return len(self.topics)


@dataclass(frozen=True, slots=True)
class Oversized:
    """A PUBLISH over the packet limit: passed by without being kept, but for its head.

    topic: as it came; packet_id: 0 = QoS 0; flags: as in `Messages`.
    payload_bytes: size of the whole payload.
    head: the first bytes of it, at most 4096.
    received_at: when its last byte came, microseconds since 1970-01-01T00:00Z.
    """

    topic: bytes
    packet_id: int
    flags: int
    payload_bytes: int
    head: bytes
    received_at: int


@dataclass(frozen=True, slots=True)
class Publish:
    """One PUBLISH, read with all its parts; `payload_at` is where its payload begins."""

    topic: bytes
    packet_id: int
    flags: int
    properties: Properties
    payload_at: int


def read_many(frames: Frames, protocol: int, received_at: int) -> Messages | None:
    """The columns, if all of `frames` are PUBLISH of QoS 0 or 1 without properties, else None.

    None also stands for anything malformed: the reading one by one finds out what it is.
    """
    data = frames.data
    wire = np.frombuffer(data, np.uint8)
    end = np.array(frames.ends, np.intp)
    begin = np.empty_like(end)
    begin[0] = 0
    begin[1:] = end[:-1]
    header = wire[begin]
    longer = wire[begin + 1] >> 7
    # A length of 3 bytes or more makes the offsets wrong: such packets take the slow way.
    unusual = longer & wire.take(begin + 2, mode="clip") >> 7 != 0
    topic_at = begin + 4 + longer
    topic_end = topic_at + _two(wire, topic_at - 2)
    certain = (header & 2) >> 1
    payload_at = topic_end + 2 * certain.astype(np.intp)
    if protocol == MQTT_5:
        unusual |= wire.take(payload_at, mode="clip") != 0
        payload_at += 1
    unusual |= (header & 0xF4 != _PUBLISH) | (topic_end == topic_at) | (payload_at > end)
    if unusual.any():
        return None
    packet_id = _two(wire, topic_end) * certain
    if np.count_nonzero(packet_id) != np.count_nonzero(certain):
        return None
    return Messages(
        topics=Texts(data, topic_at, topic_end),
        payloads=Texts(data, payload_at, end),
        packet_ids=packet_id,
        flags=(header & 0x0F).tobytes(),
        received_at=received_at,
        wire_bytes=frames.ends[-1],
    )


def one_by_one(
    found: Sequence[tuple[bytes, Publish, bytes]], received_at: int, wire_bytes: int
) -> Messages:
    """Columns of packets that were read by themselves: topic, packet, payload of each."""
    topics, payloads = side_by_side(
        [topic for topic, _, _ in found], [payload for _, _, payload in found]
    )
    return Messages(
        topics,
        payloads,
        np.array([publish.packet_id for _, publish, _ in found], np.intp),
        bytes(publish.flags for _, publish, _ in found),
        received_at,
        wire_bytes,
    )


def _two(wire: npt.NDArray[np.uint8], at: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """The two-byte numbers at those places; past the end something, to be refused later."""
    high = wire.take(at, mode="clip").astype(np.intp)
    return high << 8 | wire.take(at + 1, mode="clip")


def read_one(data: bytes, at: int, end: int, protocol: int) -> Publish:
    """The PUBLISH at `at`. MalformedPacket: cut, of QoS 3, or without the packet id it needs."""
    flags = data[at] & 0x0F
    qos = flags >> 1 & 3
    if qos == 3:
        raise MalformedPacket("PUBLISH of QoS 3", MALFORMED_PACKET)
    _, at = read_varint(data, at + 1, end)
    topic_end = at + 2 + int.from_bytes(data[at : at + 2], "big")
    payload_at = topic_end + (2 if qos else 0)
    if at + 2 > end or payload_at > end:
        raise MalformedPacket("PUBLISH shorter than its topic", MALFORMED_PACKET)
    packet_id = int.from_bytes(data[topic_end:payload_at], "big")
    if qos and not packet_id:
        raise MalformedPacket("PUBLISH with packet id 0", PROTOCOL_ERROR)
    found: Properties = {}
    if protocol == MQTT_5:
        found, payload_at = read_properties(data, payload_at, end)
    return Publish(data[at + 2 : topic_end], packet_id, flags, found, payload_at)
