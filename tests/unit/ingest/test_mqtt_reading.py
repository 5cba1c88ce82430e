"""What comes out of a byte stream, whatever way it is cut, and whatever is in it."""

import string
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hazardloop.ingest import mqtt, packets
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
from hazardloop.ingest.framing import CUT_HEAD
from hazardloop.ingest.messages import Messages, Oversized
from hazardloop.ingest.mqtt import Session
from hazardloop.ingest.packets import Kind
from hazardloop.ingest.properties import varint

LIMIT = 20_000
ACCEPTED = {4: b"\x20\x02\x00\x00", 5: b"\x20\x03\x00\x00\x00"}
PONG = b"\xd0\x00"


def connected(protocol: int = 4, **options: object) -> Session:
    session = Session(protocol, packet_limit=LIMIT, **options)  # type: ignore[arg-type]
    assert isinstance(session.receive(ACCEPTED[protocol])[0], Connected)
    return session


def flat(events: list[Event]) -> list[object]:
    """The events with each message for itself, so that different groupings are equal."""
    out: list[object] = []
    for event in events:
        if isinstance(event, Messages):
            columns = (event.topics, event.payloads, event.packet_ids.tolist(), event.flags)
            out += zip(*columns, strict=True)
        else:
            out.append(event)
    return out


def fed(session: Session, stream: bytes, cuts: list[int]) -> list[Event]:
    places = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    events: list[Event] = []
    for begin, end in pairwise(places):
        events += session.receive(stream[begin:end])
        assert session.held <= max(LIMIT, CUT_HEAD)
    return events


topics = st.text(string.ascii_letters + "/_-0149é", min_size=1, max_size=40)


@st.composite
def publishes(draw: st.DrawFn, protocol: int, largest: int = 400) -> bytes:
    qos = draw(st.sampled_from([0, 1, 1, 1, 1, 2]))
    packet = packets.publish(
        draw(topics),
        draw(st.binary(max_size=largest)),
        qos=qos,
        packet_id=draw(st.integers(1, 65535)),
        retain=draw(st.booleans()),
        dup=bool(qos) and draw(st.booleans()),
        protocol=protocol,
    )
    return packet


def anything(protocol: int) -> st.SearchStrategy[bytes]:
    ids = st.integers(1, 65535)
    huge = st.binary(min_size=LIMIT, max_size=LIMIT + 50)
    return st.one_of(
        publishes(protocol),
        publishes(protocol),
        publishes(protocol),
        st.just(PONG),
        ids.map(lambda number: packets.answer(Kind.PUBACK, number)),
        ids.map(lambda number: packets.answer(Kind.PUBREL, number)),
        huge.map(lambda payload: packets.publish("big", payload, protocol=protocol)),
    )


@pytest.mark.parametrize("protocol", [4, 5])
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_any_chunking_of_a_stream_gives_the_same_events(protocol: int, data: st.DataObject) -> None:
    stream = b"".join(data.draw(st.lists(anything(protocol), max_size=60)))
    cuts = data.draw(st.lists(st.integers(0, 1 << 20), max_size=30))
    whole = connected(protocol).receive(stream)
    assert not any(isinstance(event, ProtocolViolation) for event in whole)
    assert flat(fed(connected(protocol), stream, cuts)) == flat(whole)


@pytest.mark.parametrize("protocol", [4, 5])
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_reading_in_columns_equals_reading_one_by_one(protocol: int, data: st.DataObject) -> None:
    stream = b"".join(data.draw(st.lists(publishes(protocol), min_size=1, max_size=40)))
    stream += data.draw(
        st.sampled_from([b"", b"", b"\x32\x00", b"\x30\x02\x00\x00", b"\x32\x05\0"])
    )
    if data.draw(st.booleans()):
        place = data.draw(st.integers(0, len(stream) - 1))
        changed = data.draw(st.integers(0, 255))
        stream = stream[:place] + bytes([changed]) + stream[place + 1 :]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mqtt, "MANY", 1)
        in_columns = connected(protocol).receive(stream)
        patch.setattr(mqtt, "MANY", 1 << 30)
        one_by_one = connected(protocol).receive(stream)
    assert flat(in_columns) == flat(one_by_one)


@pytest.mark.parametrize("protocol", [4, 5])
@pytest.mark.parametrize("greeting", [True, False])
@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_garbage_neither_raises_nor_grows(
    protocol: int, greeting: bool, data: st.DataObject
) -> None:
    session = connected(protocol) if greeting else Session(protocol, packet_limit=LIMIT)
    parts = st.one_of(
        st.binary(max_size=300), anything(protocol), st.just(ACCEPTED[protocol]), st.just(b"\x32")
    )
    stream = b"".join(data.draw(st.lists(parts, max_size=20)))
    events = fed(session, stream, data.draw(st.lists(st.integers(0, 1 << 20), max_size=10)))
    broken = [n for n, event in enumerate(events) if isinstance(event, ProtocolViolation)]
    assert broken in ([], [len(events) - 1])
    if broken:
        assert session.receive(ACCEPTED[protocol] + PONG) == []


def test_columns_hold_what_was_sent_in_its_order() -> None:
    sent = [
        packets.publish("a/b", b"%d" % n, qos=n % 2, packet_id=n + 1, retain=n % 3 == 0)
        for n in range(100)
    ]
    (messages,) = connected().receive(b"".join(sent), received_at=77)
    assert isinstance(messages, Messages)
    assert [*messages.payloads] == [b"%d" % n for n in range(100)]
    assert messages.packet_ids.tolist() == [n + 1 if n % 2 else 0 for n in range(100)]
    assert list(messages.flags) == [(n % 2) << 1 | (n % 3 == 0) for n in range(100)]
    assert set(messages.topics) == {b"a/b"}
    assert (messages.received_at, messages.wire_bytes) == (77, sum(map(len, sent)))


@pytest.mark.parametrize("size", [LIMIT - 300, 16_383 - 7, 16_384, 127, 128])
def test_a_packet_up_to_the_limit_is_received_whole(size: int) -> None:
    payload = bytes(n % 251 for n in range(size))
    packet = packets.publish("t", payload, qos=1, packet_id=9)
    (messages,) = connected().receive(packet * 30)
    assert isinstance(messages, Messages)
    assert [*messages.payloads] == [payload] * 30


@pytest.mark.parametrize("chunk", [1 << 20, 1000, 7])
@pytest.mark.parametrize("protocol", [4, 5])
def test_a_publish_over_the_limit_is_passed_by_and_reported(chunk: int, protocol: int) -> None:
    payload = bytes(range(256)) * 1200
    large = packets.publish("some/topic", payload, qos=1, packet_id=5, protocol=protocol)
    small = packets.publish("next", b"x", qos=1, packet_id=6, protocol=protocol)
    session = connected(protocol)
    events: list[Event] = []
    stream = small + large + small
    for at in range(0, len(stream), chunk):
        events += session.receive(stream[at : at + chunk], received_at=42)
        assert session.held <= CUT_HEAD
    before, oversized, after = flat(events)
    assert before == after == (b"next", b"x", 6, 2)
    assert oversized == Oversized(b"some/topic", 5, 2, len(payload), payload[:4096], 42)
    assert session.acknowledge([6, 5, 6]) == b"\x40\x02\0\6" + b"\x40\x02\0\5" + b"\x40\x02\0\6"


def test_the_longest_topic_of_an_oversized_message_is_kept() -> None:
    topic = "t" * 65_535
    (event,) = connected().receive(packets.publish(topic, b"x" * LIMIT, qos=1, packet_id=1))
    assert isinstance(event, Oversized)
    assert (event.topic, event.payload_bytes, event.head) == (topic.encode(), LIMIT, b"x" * 4096)


def violation(protocol: int, stream: bytes) -> ProtocolViolation:
    last = connected(protocol).receive(stream)[-1]
    assert isinstance(last, ProtocolViolation)
    return last


@pytest.mark.parametrize(
    ("protocol", "stream", "reason"),
    [
        pytest.param(4, b"\x36\x05\0\1a\0\1", "QoS 3", id="QoS 3 does not exist"),
        pytest.param(4, b"\x32\x05\0\1a\0\0", "packet id 0", id="QoS 1 needs a packet id"),
        pytest.param(4, b"\x32\x03\0\1a", "shorter", id="the packet id is missing"),
        pytest.param(4, b"\x30\x03\0\2a", "shorter", id="the topic reaches past its packet"),
        pytest.param(4, b"\x30\x02\0\0", "without a topic", id="the topic is empty"),
        pytest.param(4, b"\x30\xff\xff\xff\xff\x01", "over 4 bytes", id="the length has 5 bytes"),
        pytest.param(4, b"\x90" + varint(LIMIT), "at most", id="a SUBACK over the limit"),
        pytest.param(4, b"\x00\x00", "type 0", id="type 0 is reserved"),
        pytest.param(4, b"\x10\x00", "CONNECT from", id="a broker does not connect"),
        pytest.param(4, b"\xc0\x00", "PINGREQ from", id="a broker does not ping"),
        pytest.param(4, b"\xe0\x00", "DISCONNECT from", id="3.1.1 has no DISCONNECT down"),
        pytest.param(5, b"\xf0\x02\x18\0", "AUTH", id="AUTH was not offered"),
        pytest.param(4, b"\xd1\x00", "flags", id="reserved flags are set"),
        pytest.param(4, b"\x20\x02\0\0", "second CONNACK", id="CONNACK comes once"),
        pytest.param(4, b"\x40\x02\0\0", "without a packet id", id="PUBACK of nothing"),
        pytest.param(4, b"\x90\x02\0\1", "without an answer", id="SUBACK of nothing"),
        pytest.param(5, b"\x30\x06\0\1a\x02\x7f\0", "unknown property", id="property unknown"),
        pytest.param(5, b"\x30\x05\0\1a\x09x", "reach past", id="properties reach past"),
        pytest.param(5, b"\x30\x08\0\1a\x04\1\0\1\1", "twice", id="a property twice"),
        pytest.param(5, b"\x30\x07\0\1a\x03\x23\0\1", "alias", id="an alias never allowed"),
    ],
)
def test_broken_rules_end_the_session_with_the_reason(
    protocol: int, stream: bytes, reason: str
) -> None:
    found = violation(protocol, stream)
    assert reason in found.reason
    assert found.code >= 0x80


def test_messages_before_a_violation_are_given() -> None:
    good = packets.publish("t", b"1", qos=1, packet_id=1)
    events = connected().receive(good * 40 + b"\x00\x00")
    assert flat(events)[:40] == [(b"t", b"1", 1, 2)] * 40
    assert isinstance(events[-1], ProtocolViolation)


def test_nothing_counts_before_connack() -> None:
    for stream in (PONG, packets.publish("t", b""), packets.publish("t", b"x" * LIMIT)):
        (event,) = Session(4, packet_limit=LIMIT).receive(stream)
        assert isinstance(event, ProtocolViolation)
        assert "before CONNACK" in event.reason


def test_a_refused_login_has_its_reason_in_words() -> None:
    assert Session(4).receive(b"\x20\x02\0\5") == [Connected(False, 5, "not authorized")]
    (event,) = Session(5).receive(b"\x20\x07\0\x86\x04\x1f\0\1?")
    assert event == Connected(False, 0x86, "bad user name or password: ?")


def test_a_broker_of_3_1_1_may_refuse_mqtt_5_in_its_own_form() -> None:
    (event,) = Session(5).receive(b"\x20\x02\0\1")
    assert event == Connected(False, 1, "unacceptable protocol version")


def test_connack_of_mqtt_5_carries_the_limits_of_the_broker() -> None:
    told = b"\x21\0\x14" + b"\x27\0\1\0\0" + b"\x13\0\x1e" + b"\x12\0\2id"
    body = b"\1\0" + varint(len(told)) + told
    (event,) = Session(5).receive(b"\x20" + varint(len(body)) + body)
    assert event == Connected(True, 0, "accepted", 20, 65536, 30, "id")


@pytest.mark.parametrize(
    "identifier",
    [
        pytest.param(b"\x21\0\0", id="receive maximum"),
        pytest.param(b"\x27\0\0\0\0", id="packet size"),
    ],
)
def test_a_limit_of_nothing_in_connack_is_an_error(identifier: bytes) -> None:
    body = b"\0\0" + varint(len(identifier)) + identifier
    (event,) = Session(5).receive(b"\x20" + varint(len(body)) + body)
    assert isinstance(event, ProtocolViolation)
    assert (event.code, "with 0" in event.reason) == (0x82, True)


def test_connack_tells_what_the_broker_will_not_do() -> None:
    told = b"\x11\0\0\x0e\x10" + b"\x24\1" + b"\x28\0" + b"\x2a\0"
    body = b"\0\0" + varint(len(told)) + told
    (event,) = Session(5).receive(b"\x20" + varint(len(body)) + body)
    assert isinstance(event, Connected)
    assert event.session_expiry_s == 3600
    assert (event.maximum_qos, event.wildcards, event.sharing) == (1, False, False)


def test_answers_other_than_messages_are_events() -> None:
    session = connected(5)
    stream = b"\x90\x05\0\7\0\1\x87" + PONG + b"\x40\x03\0\x09\x97" + b"\xe0\x01\x8e"
    assert session.receive(stream) == [
        Granted(7, (1, 0x87)),
        Pong(),
        Published(9, 0x97),
        Disconnected(0x8E, "session taken over"),
    ]
    assert session.receive(PONG) == []


def test_properties_of_a_message_are_read_over() -> None:
    told = b"\x01\1" + b"\x26\0\1k\0\1v" * 3 + b"\x0b\x85\1" + b"\x03\0\4text"
    body = b"\0\1t\0\1" + varint(len(told)) + told + b"payload"
    stream = (b"\x32" + varint(len(body)) + body) * 30
    assert flat(connected(5).receive(stream)) == [(b"t", b"payload", 1, 2)] * 30


def test_a_topic_alias_stands_for_the_topic_it_was_given() -> None:
    session = connected(5, topic_alias_maximum=2)
    named = b"\x30\x0a\0\3a/b\x03\x23\0\2x"
    short = b"\x30\x07\0\0\x03\x23\0\2y"
    assert flat(session.receive(named + short)) == [(b"a/b", b"x", 0, 0), (b"a/b", b"y", 0, 0)]
    (event,) = session.receive(b"\x30\x07\0\0\x03\x23\0\1z")
    assert isinstance(event, ProtocolViolation)


class TestExactlyOnce:
    """QoS 2: given once, however often the broker sends it again."""

    first = packets.publish("t", b"1", qos=2, packet_id=3)
    again = packets.publish("t", b"1", qos=2, packet_id=3, dup=True)
    release = packets.answer(Kind.PUBREL, 3)
    recorded = packets.answer(Kind.PUBREC, 3)
    complete = packets.answer(Kind.PUBCOMP, 3)

    def test_a_repeat_in_our_hands_is_not_given_again(self) -> None:
        session = connected()
        assert flat(session.receive(self.first + self.again)) == [(b"t", b"1", 3, 4)]

    def test_a_repeat_after_its_acknowledgement_is_acknowledged_again(self) -> None:
        session = connected()
        session.receive(self.first)
        assert session.acknowledge([3]) == self.recorded
        assert session.receive(self.again) == [Reply(self.recorded)]

    def test_after_its_release_the_packet_id_is_free(self) -> None:
        session = connected()
        session.receive(self.first)
        session.acknowledge([3])
        assert session.receive(self.release) == [Reply(self.complete)]
        assert flat(session.receive(self.first)) == [(b"t", b"1", 3, 4)]

    def test_only_what_was_recorded_is_known_on_the_next_connection(self) -> None:
        session = connected()
        other = packets.publish("t", b"2", qos=2, packet_id=4)
        session.receive(self.first + other)
        session.acknowledge([3])
        following = Session(4, recorded=session.recorded)
        following.receive(b"\x20\x02\1\0")
        assert flat(following.receive(self.again + other)) == [
            Reply(self.recorded),
            (b"t", b"2", 4, 4),
        ]

    def test_a_broker_that_forgot_the_session_starts_anew(self) -> None:
        following = Session(4, recorded=frozenset({3}))
        following.receive(ACCEPTED[4])
        assert flat(following.receive(self.first)) == [(b"t", b"1", 3, 4)]

    def test_release_of_an_unknown_id_is_answered(self) -> None:
        assert connected(4).receive(self.release) == [Reply(self.complete)]
        assert connected(5).receive(self.release) == [Reply(b"\x70\x03\0\3\x92")]

    def test_mixed_acknowledgements_keep_their_order(self) -> None:
        session = connected()
        session.receive(self.first)
        assert session.acknowledge([1, 0, 3, 2]) == b"".join(
            [
                packets.acknowledgements(np.array([1])),
                self.recorded,
                packets.acknowledgements(np.array([2])),
            ]
        )


def test_acknowledgements_are_one_piece_without_qos_0() -> None:
    assert connected().acknowledge([1, 0, 65_535]) == b"\x40\x02\0\1\x40\x02\xff\xff"
    assert connected().acknowledge([0, 0]) == b""


def test_a_limit_too_small_to_be_kept_is_refused() -> None:
    with pytest.raises(ValueError, match="16384"):
        Session(4, packet_limit=1000)
