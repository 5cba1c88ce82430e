"""A client's MQTT connection without the network: bytes in, events out. MQTT 3.1.1 and 5.

Source: OASIS MQTT 3.1.1 (2014) and MQTT 5.0 (2019).
"""

from collections.abc import Callable
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from hazardloop.ingest import packets, properties
from hazardloop.ingest.errors import MalformedPacket
from hazardloop.ingest.events import (
    Connected,
    Disconnected,
    Event,
    Granted,
    Pong,
    ProtocolViolation,
    Published,
    Reply,
)
from hazardloop.ingest.framing import Cut, Frames, Framing
from hazardloop.ingest.messages import (
    HEAD,
    QOS,
    Oversized,
    Publish,
    one_by_one,
    read_many,
    read_one,
)
from hazardloop.ingest.packets import MQTT_3_1_1, MQTT_5, Kind, PacketIds
from hazardloop.ingest.properties import Properties, read_properties, read_varint
from hazardloop.ingest.reasons import (
    MALFORMED_PACKET,
    PACKET_ID_NOT_FOUND,
    PROTOCOL_ERROR,
    TOPIC_ALIAS_INVALID,
    login_reason,
    reason,
)

PACKET_LIMIT: Final = 512 * 1024
"""Bytes. Well over the 256 KiB a payload may have, so that a refused one can still be shown."""
MANY: Final = 24
"""Packets from which reading them as columns is faster than one by one."""


class Session:
    """What arrives on one connection, and what is owed for it.

    A message of QoS 2 is given once; `acknowledge` answers it with PUBREC, and its packet id is
    remembered until PUBREL. `recorded` hands those ids to the next connection of the session.
    """

    def __init__(
        self,
        protocol: int = MQTT_3_1_1,
        *,
        packet_limit: int = PACKET_LIMIT,
        topic_alias_maximum: int = 0,
        recorded: frozenset[int] = frozenset(),
    ) -> None:
        """`packet_limit`: bytes, from 16,384; the alias maximum is the one told in CONNECT."""
        self.protocol = protocol
        self._framing = Framing(packet_limit)
        self._alias_maximum = topic_alias_maximum
        self._aliases: dict[int, bytes] = {}
        self._once = dict.fromkeys(recorded, True)  # QoS 2 packet id -> PUBREC has been sent
        self._connected = False
        self._ended = False

    @property
    def recorded(self) -> frozenset[int]:
        """Packet ids of QoS 2 that were answered with PUBREC and wait for PUBREL."""
        return frozenset(number for number, answered in self._once.items() if answered)

    @property
    def held(self) -> int:
        """Bytes kept for later: the beginning of a packet that is not whole yet."""
        return self._framing.held

    def receive(self, data: bytes, received_at: int = 0) -> list[Event]:
        """Everything that is whole now, in order; many messages are one event.

        A ProtocolViolation is the last event there ever is.
        """
        events: list[Event] = []
        if self._ended:
            return events
        try:
            for piece in self._framing.feed(data):
                if isinstance(piece, Cut):
                    self._pass_by(piece, received_at, events)
                else:
                    self._read(piece, received_at, events)
        except MalformedPacket as found:
            self._ended = True
            events.append(ProtocolViolation(found.reason, found.code))
        return events

    def acknowledge(self, packet_ids: npt.ArrayLike) -> bytes:
        """What acknowledges these messages, in their order, as one piece; id 0 needs nothing."""
        ids: PacketIds = np.asarray(packet_ids, np.intp)
        due = ids[ids != 0]
        if not self._once:
            return packets.acknowledgements(due)
        written = bytearray()
        for number in due.tolist():
            if number in self._once:
                self._once[number] = True
                written += packets.answer(Kind.PUBREC, number)
            else:
                written += packets.answer(Kind.PUBACK, number)
        return bytes(written)

    def _read(self, frames: Frames, received_at: int, events: list[Event]) -> None:
        if self._connected and len(frames.ends) >= MANY:
            messages = read_many(frames, self.protocol, received_at)
            if messages is not None:
                events.append(messages)
                return
        run: list[tuple[bytes, Publish, bytes]] = []
        begin = size = 0
        try:
            for end in frames.ends:
                kind = frames.data[begin] >> 4
                if kind == Kind.PUBLISH and self._connected:
                    run += self._read_publish(frames.data, begin, end, events)
                    size += end - begin
                else:
                    _end_run(run, received_at, size, events)
                    size = 0
                    self._read_other(frames.data, begin, end, events)
                begin = end
        finally:
            _end_run(run, received_at, size, events)

    def _read_publish(
        self, data: bytes, begin: int, end: int, events: list[Event]
    ) -> list[tuple[bytes, Publish, bytes]]:
        """One message; none if it is a repeat of QoS 2."""
        found = read_one(data, begin, end, self.protocol)
        topic = self._topic(found)
        if found.flags & QOS == 4 and self._is_repeat(found.packet_id, events):
            return []
        return [(topic, found, data[found.payload_at : end])]

    def _pass_by(self, cut: Cut, received_at: int, events: list[Event]) -> None:
        """Report a packet over the limit; what its head does not show stays empty."""
        if not self._connected:
            raise MalformedPacket("PUBLISH before CONNACK", PROTOCOL_ERROR)
        found = read_one(cut.head, 0, len(cut.head), self.protocol)
        topic = self._topic(found)
        if found.flags & QOS == 4 and self._is_repeat(found.packet_id, events):
            return
        head = cut.head[found.payload_at : found.payload_at + HEAD]
        size = cut.size - found.payload_at
        events.append(Oversized(topic, found.packet_id, found.flags, size, head, received_at))

    def _topic(self, found: Publish) -> bytes:
        """Its topic, with the alias of MQTT 5 resolved. MalformedPacket: there is none."""
        alias = properties.number(found.properties, properties.TOPIC_ALIAS, -1)
        if alias >= 0:
            if not 1 <= alias <= self._alias_maximum:
                told = f"topic alias {alias} outside 1..{self._alias_maximum}"
                raise MalformedPacket(told, TOPIC_ALIAS_INVALID)
            if found.topic:
                self._aliases[alias] = found.topic
            elif alias in self._aliases:
                return self._aliases[alias]
        if not found.topic:
            raise MalformedPacket("PUBLISH without a topic", PROTOCOL_ERROR)
        return found.topic

    def _is_repeat(self, packet_id: int, events: list[Event]) -> bool:
        """Whether this QoS 2 message is known already; if so, and answered, it is so again."""
        answered = self._once.get(packet_id)
        if answered:
            events.append(Reply(packets.answer(Kind.PUBREC, packet_id)))
        self._once.setdefault(packet_id, False)
        return answered is not None

    def _read_other(self, data: bytes, begin: int, end: int, events: list[Event]) -> None:
        kind, flags = data[begin] >> 4, data[begin] & 0x0F
        reader = READERS.get(kind)
        name = Kind(kind).name if kind else "packet of type 0"
        if (kind == Kind.CONNACK) == self._connected:
            told = "a second CONNACK" if self._connected else f"{name} before CONNACK"
            raise MalformedPacket(told, PROTOCOL_ERROR)
        if reader is None or (kind in ONLY_5 and self.protocol != MQTT_5):
            raise MalformedPacket(f"{name} from a broker", PROTOCOL_ERROR)
        if flags != (2 if kind == Kind.PUBREL else 0):
            raise MalformedPacket(f"{name} with flags {flags}", MALFORMED_PACKET)
        _, at = read_varint(data, begin + 1, end)
        reader(self, data[at:end], events)

    def _read_connack(self, body: bytes, events: list[Event]) -> None:
        if len(body) < 2 or (body[0] > 1):
            raise MalformedPacket("CONNACK of wrong form", MALFORMED_PACKET)
        session_present, code = bool(body[0]), body[1]
        self._connected, self._ended = not code, bool(code)
        if not code and not session_present:
            self._once.clear()
        found = self._properties(body, 2)
        for identifier in (properties.RECEIVE_MAXIMUM, properties.MAXIMUM_PACKET_SIZE):
            if found.get(identifier) == 0:
                told = f"CONNACK with 0 for property 0x{identifier:02x}"
                raise MalformedPacket(told, PROTOCOL_ERROR)
        keep_alive = properties.number(found, properties.SERVER_KEEP_ALIVE, -1)
        expiry = properties.number(found, properties.SESSION_EXPIRY, -1)
        told = properties.text(found, properties.REASON_STRING)
        events.append(
            Connected(
                session_present,
                code,
                f"{login_reason(code)}: {told}" if told else login_reason(code),
                properties.number(found, properties.RECEIVE_MAXIMUM, 0xFFFF),
                properties.number(found, properties.MAXIMUM_PACKET_SIZE, 0) or None,
                keep_alive if keep_alive >= 0 else None,
                properties.text(found, properties.ASSIGNED_CLIENT_ID),
                expiry if expiry >= 0 else None,
                properties.number(found, properties.SHARING_AVAILABLE, 1) != 0,
                properties.number(found, properties.WILDCARDS_AVAILABLE, 1) != 0,
                properties.number(found, properties.MAXIMUM_QOS, 2),
            )
        )

    def _read_suback(self, body: bytes, events: list[Event]) -> None:
        at = 2
        if self.protocol == MQTT_5:
            _, at = read_properties(body, at, len(body))
        if len(body) <= at:
            raise MalformedPacket("SUBACK without an answer", MALFORMED_PACKET)
        events.append(Granted(_packet_id(body), tuple(body[at:])))

    def _read_puback(self, body: bytes, events: list[Event]) -> None:
        events.append(Published(_packet_id(body), self._code(body, 2)))

    def _read_pubrel(self, body: bytes, events: list[Event]) -> None:
        number = _packet_id(body)
        self._code(body, 2)
        known = self._once.pop(number, None) is not None
        code = 0 if known or self.protocol != MQTT_5 else PACKET_ID_NOT_FOUND
        events.append(Reply(packets.answer(Kind.PUBCOMP, number, code)))

    def _read_pong(self, body: bytes, events: list[Event]) -> None:
        if body:
            raise MalformedPacket("PINGRESP with a body", MALFORMED_PACKET)
        events.append(Pong())

    def _read_disconnect(self, body: bytes, events: list[Event]) -> None:
        code = self._code(body, 0)
        told = properties.text(self._properties(body, 1), properties.REASON_STRING)
        events.append(Disconnected(code, f"{reason(code)}: {told}" if told else reason(code)))
        self._ended = True

    def _read_auth(self, body: bytes, events: list[Event]) -> None:
        raise MalformedPacket("AUTH, though no method was offered", PROTOCOL_ERROR)

    def _code(self, body: bytes, at: int) -> int:
        """The reason code at `at`, 0 where it is left out; in 3.1.1 there must be none."""
        if self.protocol != MQTT_5 and len(body) > at:
            raise MalformedPacket("acknowledgement of wrong length", MALFORMED_PACKET)
        self._properties(body, at + 1)
        return body[at] if len(body) > at else 0

    def _properties(self, body: bytes, at: int) -> Properties:
        """The properties at `at`; none where they are left out."""
        if self.protocol != MQTT_5 or len(body) <= at:
            return {}
        return read_properties(body, at, len(body))[0]


def _end_run(
    run: list[tuple[bytes, Publish, bytes]], received_at: int, size: int, events: list[Event]
) -> None:
    """Gives out the messages read so far, before what came behind them."""
    if run:
        events.append(one_by_one(run, received_at, size))
        run.clear()


def _packet_id(body: bytes) -> int:
    if len(body) < 2 or body[:2] == b"\0\0":
        raise MalformedPacket("acknowledgement without a packet id", MALFORMED_PACKET)
    return int.from_bytes(body[:2], "big")


Reader: TypeAlias = Callable[[Session, bytes, list[Event]], None]
READERS: Final[dict[int, Reader]] = {
    Kind.CONNACK: Session._read_connack,
    Kind.SUBACK: Session._read_suback,
    Kind.PUBACK: Session._read_puback,
    Kind.PUBREL: Session._read_pubrel,
    Kind.PINGRESP: Session._read_pong,
    Kind.DISCONNECT: Session._read_disconnect,
    Kind.AUTH: Session._read_auth,
}
ONLY_5: Final = frozenset({Kind.DISCONNECT, Kind.AUTH})
