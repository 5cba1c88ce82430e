"""paho-mqtt as the oracle: it reads what we write and we read what it writes."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import paho.mqtt.client as paho
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from hazardloop.ingest import packets
from hazardloop.ingest.events import Published
from hazardloop.ingest.messages import Messages
from hazardloop.ingest.mqtt import Session

ACCEPTED = {4: b"\x20\x02\x00\x00", 5: b"\x20\x03\x00\x00\x00"}
VERSIONS = pytest.mark.parametrize("protocol", [4, 5])


class Wired(paho.Client):
    """A paho client whose network is one end of a pair of sockets."""

    def __init__(self, protocol: int, client_id: str = "paho") -> None:
        self.near, self.far = socket.socketpair()
        self.far.setblocking(False)
        super().__init__(
            paho.CallbackAPIVersion.VERSION2,
            client_id=client_id,
            clean_session=False if protocol == 4 else None,
            protocol=paho.MQTTProtocolVersion(protocol),
        )

    def _create_socket(self) -> socket.socket:
        return self.near

    def written(self) -> bytes:
        """What it has sent by now."""
        self.loop_write()
        written = b""
        with suppress(BlockingIOError):
            while chunk := self.far.recv(1 << 20):
                written += chunk
        return written

    def close(self) -> None:
        self.near.close()
        self.far.close()


@contextmanager
def wired(protocol: int, connect: bool = True) -> Iterator[Wired]:
    client = Wired(protocol)
    client.max_inflight_messages_set(1000)
    try:
        if connect:
            client.connect("nowhere", keepalive=15)
            client.written()
            client.far.sendall(ACCEPTED[protocol])
            client.loop_read()
            assert client.is_connected()
        yield client
    finally:
        client._sock = None
        client.close()


topics = st.text("abcdefgXYZ019_-/äöü中", min_size=1, max_size=60)
message = st.tuples(topics, st.binary(max_size=700), st.integers(0, 2), st.booleans())


def user_properties(count: int) -> Properties:
    properties = Properties(PacketTypes.PUBLISH)
    for n in range(count):
        properties.UserProperty = (f"name{n}", "値")
        properties.ContentType = "application/json"
        properties.MessageExpiryInterval = 60
    return properties


@VERSIONS
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_we_read_what_paho_publishes(protocol: int, data: st.DataObject) -> None:
    sent = data.draw(st.lists(message, max_size=15)) * data.draw(st.sampled_from([1, 4]))
    with wired(protocol) as client:
        mids = []
        for topic, payload, qos, retain in sent:
            count = data.draw(st.integers(0, 2)) if protocol == 5 else 0
            properties = user_properties(count) if protocol == 5 else None
            mids.append(client.publish(topic, payload, qos, retain, properties).mid)
        stream = client.written()
    session = Session(protocol)
    session.receive(ACCEPTED[protocol])
    got = []
    for event in session.receive(stream):
        assert isinstance(event, Messages), event
        got += zip(
            event.topics, event.payloads, event.packet_ids.tolist(), event.flags, strict=True
        )
    assert got == [
        (topic.encode(), payload, mid if qos else 0, qos << 1 | retain)
        for (topic, payload, qos, retain), mid in zip(sent, mids, strict=True)
    ]


@VERSIONS
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_paho_reads_from_a_broker_what_we_read(protocol: int, data: st.DataObject) -> None:
    sent = data.draw(st.lists(message, max_size=30))
    stream = b"".join(
        packets.publish(
            topic,
            payload,
            qos=min(qos, 1),
            packet_id=n + 1,
            retain=retain,
            protocol=protocol,
        )
        for n, (topic, payload, qos, retain) in enumerate(sent)
    )
    theirs: list[tuple[str, bytes, int, int, bool]] = []
    with wired(protocol) as client:
        client.on_message = lambda _client, _userdata, found: theirs.append(
            (found.topic, found.payload, found.mid, found.qos, bool(found.retain))
        )
        client.far.sendall(stream)
        for _ in sent:
            client.loop_read()
        acknowledged = client.written()
    session = Session(protocol)
    session.receive(ACCEPTED[protocol])
    ours: list[tuple[str, bytes, int, int, bool]] = []
    due: list[int] = []
    for event in session.receive(stream):
        assert isinstance(event, Messages), event
        due += event.packet_ids.tolist()
        for topic, payload, number, flags in zip(
            event.topics, event.payloads, event.packet_ids.tolist(), event.flags, strict=True
        ):
            ours.append((topic.decode(), payload, number, flags >> 1 & 3, bool(flags & 1)))
    assert ours == theirs
    assert session.acknowledge(due) == acknowledged


@pytest.mark.parametrize(
    ("login", "will"),
    [
        pytest.param((None, None), None, id="nobody in particular"),
        pytest.param(("worker", "sécret"), None, id="with user name and password"),
        pytest.param(("worker", None), None, id="with a user name only"),
        pytest.param(
            ("w", "p"), packets.Will("a/status", b"gone", 1, True), id="with a retained will"
        ),
        pytest.param((None, None), packets.Will("a", b"", 0, False), id="with an empty will"),
    ],
)
@VERSIONS
def test_connect_is_the_packet_paho_writes(
    protocol: int, login: tuple[str | None, str | None], will: packets.Will | None
) -> None:
    username, password = login
    properties = None
    if protocol == 5:
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = 77
        properties.ReceiveMaximum = 1234
        properties.TopicAliasMaximum = 5
    with wired(protocol, connect=False) as client:
        if username is not None:
            client.username_pw_set(username, password)
        if will is not None:
            client.will_set(will.topic, will.payload, will.qos, will.retain)
        if protocol == 5:
            client.connect("nowhere", keepalive=20, clean_start=False, properties=properties)
        else:
            client.connect("nowhere", keepalive=20)
        theirs = client.written()
    ours = packets.connect(
        "paho",
        protocol=protocol,
        keep_alive_s=20,
        username=username,
        password=password,
        will=will,
        session_expiry_s=77,
        receive_maximum=1234,
        topic_alias_maximum=5,
    )
    assert ours == theirs


@VERSIONS
def test_subscribe_ping_and_disconnect_are_the_packets_paho_writes(protocol: int) -> None:
    asked = [("hl/v1/+/+/telemetry", 1), ("#", 0)]
    with wired(protocol) as client:
        if protocol == 5:
            options = [(topic, paho.SubscribeOptions(qos=qos)) for topic, qos in asked]
            _, mid = client.subscribe(options)
        else:
            _, mid = client.subscribe(asked)
        assert mid is not None
        assert client.written() == packets.subscribe(mid, asked, protocol)
        client._send_pingreq()
        assert client.written() == packets.PING_REQUEST
        client.disconnect()
        assert client.written() == packets.disconnect(protocol)


@given(
    qos=st.integers(0, 2),
    retained=st.sampled_from(packets.Retained),
    topic=topics.map(lambda text: f"$share/workers/{text}") | topics,
)
@settings(max_examples=25, deadline=None)
def test_subscribe_options_of_mqtt_5_are_the_byte_paho_writes(
    qos: int, retained: packets.Retained, topic: str
) -> None:
    with wired(5) as client:
        theirs = paho.SubscribeOptions(qos=qos, retainHandling=int(retained))
        _, mid = client.subscribe([(topic, theirs)])
        assert mid is not None
        asked = [(topic, packets.subscribe_options(qos, retained))]
        assert client.written() == packets.subscribe(mid, asked, 5)


def test_paho_and_we_agree_on_an_acknowledgement_that_refuses() -> None:
    with wired(5) as client:
        heard: list[int] = []
        client.on_publish = lambda _client, _data, _mid, code, _more: heard.append(code.value)
        mid = client.publish("t", b"x", 1).mid
        client.written()
        refusal = packets.answer(packets.Kind.PUBACK, mid, 0x97)
        client.far.sendall(refusal)
        client.loop_read()
    session = Session(5)
    session.receive(ACCEPTED[5])
    (event,) = session.receive(refusal)
    assert event == Published(mid, heard[0])
    assert heard == [0x97]
