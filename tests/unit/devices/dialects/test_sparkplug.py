"""Sparkplug B: births, aliases, deaths, lost messages, and whatever bytes there may be."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hazardloop.devices.dialects import sparkplug
from hazardloop.devices.dialects.dialect import Heard, Reader
from hazardloop.devices.dialects.readers import rereading, topics_of
from hazardloop.devices.dialects.sparkplug_payload import decode_payload
from hazardloop.devices.wire import PayloadRefused, Reason, sparkplug_topic
from tests.unit.devices.dialects.edge_node import (
    BOOLEAN,
    DATASET,
    DOUBLE,
    FLOAT,
    INT8,
    INT16,
    INT32,
    INT64,
    STRING,
    UINT64,
    EdgeNode,
    metric,
    payload,
)
from tests.unit.devices.dialects.gateways import (
    NOW_MS,
    NOW_US,
    complaints,
    kept,
    reader_of,
    registry,
    said,
)

SECOND_US = 1_000_000


def hear(reader: Reader, message: tuple[bytes, bytes], at_us: int = NOW_US) -> Heard:
    return reader.read(*message, at_us)


def reasons(heard: Heard) -> list[Reason]:
    return [one.reason for one in heard.complaints]


@pytest.fixture
def node() -> EdgeNode:
    return EdgeNode()


@pytest.fixture
def reader() -> Reader:
    return reader_of("sparkplug")


def born(reader: Reader, node: EdgeNode) -> None:
    """A node with a tank, level by alias 7 and temperature by alias 8."""
    hear(reader, node.birth())
    hear(
        reader,
        node.device_birth(
            "TK-1", metric("level", 5.0, alias=7), metric("temperature", -3, INT16, alias=8)
        ),
    )


def test_a_birth_says_that_the_gateway_is_there_and_what_it_measures(
    reader: Reader, node: EdgeNode
) -> None:
    # The example of Sparkplug 3.0, 6.4.19, with two of our points added.
    heard = hear(
        reader,
        node.birth(
            metric("Node Control/Reboot", False, BOOLEAN),
            metric("Node Control/Scan Rate ms", 3000, INT64),
            metric("Properties/Hardware Make", "Raspberry Pi", STRING),
            metric("Supply Voltage", 12.1, FLOAT),
            metric("GD-1/lel", 12.5, DOUBLE),
            metric("TK-1/in_service", True, BOOLEAN),
        ),
    )
    assert heard.status is not None
    assert (heard.status.online, heard.status.ts) == (True, NOW_MS)
    assert said(heard) == [
        (
            NOW_MS,
            {
                "Supply Voltage": pytest.approx(12.1),
                "GD-1.lel": 12.5,
                "TK-1.in_service": True,
            },
        )
    ]
    assert heard.complaints == []
    assert heard.wishes == []


def test_data_by_alias_is_told_by_the_birth(reader: Reader, node: EdgeNode) -> None:
    born(reader, node)
    heard = hear(
        reader,
        node.data(
            metric(alias=7, value=7.42, typed=False, ts=NOW_MS + 1),
            metric(alias=8, value=-4 & 0xFFFF, datatype=INT16, typed=False, ts=NOW_MS + 2),
            device="TK-1",
        ),
    )
    assert said(heard) == [
        (NOW_MS + 1, {"TK-1.level": 7.42}),
        (NOW_MS + 2, {"TK-1.temperature": -4}),
    ]
    assert heard.wishes == []


@pytest.mark.parametrize(
    ("datatype", "value"),
    [
        pytest.param(INT8, -5, id="Int8"),
        pytest.param(INT16, -300, id="Int16"),
        pytest.param(INT32, -70_000, id="Int32"),
        pytest.param(INT64, -5_000_000_000, id="Int64"),
        pytest.param(UINT64, 5_000_000_000, id="UInt64"),
        pytest.param(FLOAT, -1.5, id="Float"),
        pytest.param(DOUBLE, 1e-300, id="Double"),
    ],
)
def test_each_type_of_number(reader: Reader, node: EdgeNode, datatype: int, value: float) -> None:
    heard = hear(reader, node.birth(metric("TK-1/level", value, datatype)))
    assert said(heard) == [(NOW_MS, {"TK-1.level": value})]


def test_null_quality_and_history_are_kept(reader: Reader, node: EdgeNode) -> None:
    heard = hear(
        reader,
        node.birth(
            metric("TK-1/level", None),
            metric("TK-1/pressure", 5.0, Quality=192),
            metric("TK-1/temperature", 5.0, Quality=500),
            metric("GD-1/lel", 3.0, historical=True, ts=NOW_MS - 60_000),
            metric("GD-1/ppm", 4.0, ts=None),
        ),
    )
    assert said(heard) == [
        (
            NOW_MS,
            {
                "TK-1.level": None,
                "TK-1.pressure": (5.0, "good"),
                "TK-1.temperature": (5.0, "bad"),
                "GD-1.ppm": 4.0,
            },
        )
    ]
    assert kept(heard) == [(NOW_MS - 60_000, {"GD-1.lel": 3.0})]


def test_a_unit_of_the_birth_is_turned_and_one_that_nobody_knows_is_told(
    reader: Reader, node: EdgeNode
) -> None:
    heard = hear(
        reader,
        node.birth(
            metric("TK-1/level", 7420.0, alias=1, engUnit="mm"),
            metric("TK-1/pressure", 3.0, engUnit="furlong"),
        ),
    )
    assert said(heard)[0][1] == {"TK-1.level": pytest.approx(7.42), "TK-1.pressure": 3.0}
    assert complaints(heard) == [
        "TK-1.pressure: unit 'furlong' is not known; taken as kPa. Name it in the profile"
    ]
    heard = hear(reader, node.data(metric(alias=1, value=1000.0)))
    assert said(heard)[0][1] == {"TK-1.level": pytest.approx(1.0)}


def test_names_of_the_profile_win_and_words_get_a_meaning(node: EdgeNode) -> None:
    reader = reader_of(
        "sparkplug",
        {
            "devices": {"Tank 5": "TK-1"},
            "names": {
                "Tank 5/Process/L1": {"point": "TK-1.level", "unit": "mm"},
                "Properties/Mode": {
                    "point": "TK-1.in_service",
                    "values": {"AUTO": True, "OFF": False},
                },
            },
            "ignore": ["Tank 5/Alarms/*"],
        },
    )
    heard = hear(reader, node.birth(metric("Properties/Mode", "OFF", STRING)))
    assert said(heard) == [(NOW_MS, {"TK-1.in_service": False})]
    heard = hear(
        reader,
        node.device_birth(
            "Tank 5",
            metric("Process/L1", 7420.0),
            metric("Alarms/High", True, BOOLEAN),
            metric("pressure", 3.0),
            metric("Setpoints/L1", 1.0),
        ),
    )
    assert said(heard)[0][1] == {
        "TK-1.level": pytest.approx(7.42),
        "TK-1.pressure": 3.0,
        "TK-1.Setpoints/L1": 1.0,  # the decoder says that there is no such point
        "TK-1.in_service": True,
    }


def test_what_is_no_value_of_a_point_is_passed_over(reader: Reader, node: EdgeNode) -> None:
    heard = hear(
        reader,
        node.birth(
            metric("Location", "Hall 4", STRING),
            metric("History", None, DATASET),
            metric("TK-1/level", "high", STRING),
        ),
    )
    assert said(heard) == []
    assert complaints(heard) == ["TK-1.level: 'high' is not a number or boolean"]


def test_data_before_a_birth_is_set_aside_and_a_rebirth_asked_for(
    reader: Reader, node: EdgeNode
) -> None:
    heard = hear(reader, node.data(metric(alias=7, value=1.0), device="TK-1"))
    assert said(heard) == []
    assert [(one.reason, one.readings) for one in heard.complaints] == [(Reason.NO_BIRTH, 1)]
    (wish,) = heard.wishes
    assert wish.topic == "spBv1.0/E1/NCMD/G1"
    (asked,) = decode_payload(wish.payload).metrics
    assert (asked.name, asked.datatype, asked.boolean_value) == (
        b"Node Control/Rebirth", 11, True,
    )  # fmt: skip


def test_a_value_with_a_name_needs_no_birth(reader: Reader, node: EdgeNode) -> None:
    heard = hear(reader, node.data(metric("level", 3.5), metric(alias=9, value=1.0), device="TK-1"))
    assert said(heard) == [(NOW_MS, {"TK-1.level": 3.5})]
    assert reasons(heard) == [Reason.NO_BIRTH]
    assert len(heard.wishes) == 1


def test_rebirths_are_asked_for_ever_more_rarely_until_one_comes(
    reader: Reader, node: EdgeNode
) -> None:
    asked = [
        second
        for second in range(400)
        if hear(reader, node.data(metric(alias=7, value=1.0)), NOW_US + second * SECOND_US).wishes
    ]
    assert asked == [0, 10, 30, 70, 150, 310]
    born(reader, node)
    node.seq += 1
    heard = hear(reader, node.data(metric(alias=99, value=1.0)), NOW_US + 401 * SECOND_US)
    assert len(heard.wishes) == 1


def test_a_lost_message_is_told_and_a_rebirth_asked_for(reader: Reader, node: EdgeNode) -> None:
    born(reader, node)
    node.seq += 3
    heard = hear(reader, node.data(metric(alias=7, value=1.0), device="TK-1"))
    assert said(heard) == [(NOW_MS, {"TK-1.level": 1.0})]
    assert heard.wishes == []
    later = NOW_US + 3 * SECOND_US
    heard = hear(reader, node.data(metric(alias=7, value=2.0), device="TK-1"), later)
    assert complaints(heard) == [
        "up to 3 messages are missing before this one; a rebirth is asked for"
    ]
    assert len(heard.wishes) == 1
    heard = hear(reader, node.data(metric(alias=7, value=3.0), device="TK-1"), later)
    # The lost ones may have held a birth with other aliases.
    assert said(heard) == [(NOW_MS, {"TK-1.level": (3.0, "uncertain")})]
    born(reader, node)
    heard = hear(reader, node.data(metric(alias=7, value=4.0), device="TK-1"), later)
    assert said(heard) == [(NOW_MS, {"TK-1.level": 4.0})]


def test_messages_in_another_order_are_not_lost(reader: Reader, node: EdgeNode) -> None:
    born(reader, node)
    messages = [node.data(metric(alias=7, value=n), device="TK-1") for n in range(600)]
    for at in range(0, 600, 3):
        messages[at], messages[at + 1] = messages[at + 1], messages[at]
    for nth, message in enumerate(messages):
        heard = hear(reader, message, NOW_US + nth * SECOND_US)
        assert heard.complaints == []
        assert heard.wishes == []


def test_a_dead_node_is_offline_and_its_values_are_bad(reader: Reader, node: EdgeNode) -> None:
    born(reader, node)
    later = NOW_US + SECOND_US
    heard = hear(reader, node.death(), later)
    assert heard.status is not None
    assert heard.status.online is False
    assert said(heard) == [
        (NOW_MS + 1000, {"TK-1.level": (None, "bad"), "TK-1.temperature": (None, "bad")})
    ]
    heard = hear(reader, node.data(metric(alias=7, value=1.0), device="TK-1"), later)
    assert reasons(heard) == [Reason.NO_BIRTH]


def test_the_will_of_an_earlier_session_that_comes_late_says_nothing(
    reader: Reader, node: EdgeNode
) -> None:
    born(reader, node)
    will = node.death()
    node.bd_seq += 1
    born(reader, node)
    heard = hear(reader, will)
    assert heard == Heard()
    assert said(hear(reader, node.data(metric(alias=7, value=1.0), device="TK-1")))


def test_a_device_that_is_gone_counts_as_out_of_service_until_it_is_back(
    reader: Reader, node: EdgeNode
) -> None:
    born(reader, node)
    heard = hear(reader, node.device_death("TK-1"))
    assert said(heard) == [
        (
            NOW_MS,
            {
                "TK-1.in_service": False,
                "TK-1.level": (None, "bad"),
                "TK-1.temperature": (None, "bad"),
            },
        )
    ]
    heard = hear(reader, node.device_birth("TK-1", metric("level", 5.0, alias=7)))
    assert said(heard) == [(NOW_MS, {"TK-1.level": 5.0, "TK-1.in_service": True})]


def test_what_a_device_says_itself_of_its_service_stands(reader: Reader, node: EdgeNode) -> None:
    hear(reader, node.birth())
    heard = hear(reader, node.device_birth("TK-1", metric("in_service", False, BOOLEAN)))
    assert said(heard) == [(NOW_MS, {"TK-1.in_service": False})]


def test_aliases_outlive_a_change_of_the_registry_and_a_new_profile_holds_at_once(
    node: EdgeNode,
) -> None:
    first = registry("sparkplug")
    before = topics_of(first.gateways["E1/G1"], first, {})
    born(before[sparkplug_topic("E1", "G1")], node)
    second = registry("sparkplug", {"names": {"TK-1/level": "TK-1.pressure"}})
    reader = topics_of(second.gateways["E1/G1"], second, before)[sparkplug_topic("E1", "G1")]
    heard = hear(reader, node.data(metric(alias=7, value=1.0), device="TK-1"))
    assert said(heard) == [(NOW_MS, {"TK-1.pressure": 1.0})]
    assert heard.wishes == []


def test_a_message_taken_again_is_told_by_what_is_known_now_and_changes_nothing_of_it(
    node: EdgeNode,
) -> None:
    topic = sparkplug_topic("E1", "G1")
    reader = reader_of("sparkplug")
    early = node.data(metric(alias=7, value=1.0), device="TK-1")
    assert reasons(hear(reader, early)) == [Reason.NO_BIRTH]
    born(reader, node)
    again = rereading({topic: reader})[topic]
    assert said(hear(again, early)) == [(NOW_MS, {"TK-1.level": 1.0})]
    hear(again, node.death())
    heard = hear(reader, node.data(metric(alias=7, value=2.0), device="TK-1"))
    assert said(heard) == [(NOW_MS, {"TK-1.level": 2.0})]
    assert heard.complaints == []


def test_commands_that_come_back_to_us_are_passed_over(reader: Reader, node: EdgeNode) -> None:
    assert hear(reader, (node.topic("NCMD"), b"\xff")) == Heard()
    assert hear(reader, (node.topic("DCMD", "TK-1"), b"\xff")) == Heard()


@pytest.mark.parametrize(
    ("message", "detail"),
    [
        ((b"spBv1.0/E1/NBIRTH/G1", b"\xff\xff"), "not a Sparkplug B payload"),
        ((b"spBv1.0/E1/NBIRTH/G1/TK-1", b""), "NBIRTH with a device"),
        ((b"spBv1.0/E1/DDATA/G1", b""), "DDATA without a device"),
        ((b"spBv1.0/E1/XDATA/G1", b""), "'XDATA' is no kind"),
        ((b"spBv1.0/E1/NDATA/G1", b"\x22\x16SPBV1.0_COMPRESSED__XX\x2a\x02ab"), "compressed"),
    ],
)
def test_what_is_no_message_is_refused(
    reader: Reader, message: tuple[bytes, bytes], detail: str
) -> None:
    with pytest.raises(PayloadRefused, match=detail):
        hear(reader, message)


def test_one_name_that_is_no_text_costs_its_neighbours_nothing(
    reader: Reader, node: EdgeNode
) -> None:
    broken = metric("XX", 1.0).replace(b"XX", b"\xff\xfe")
    heard = hear(reader, node.birth(broken, metric("TK-1/level", 2.0)))
    assert said(heard)[0][1]["TK-1.level"] == 2.0


def test_what_is_remembered_is_bounded(
    reader: Reader, node: EdgeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sparkplug, "MOST_METRICS", 100)
    hear(reader, node.birth())
    metrics = [metric(f"m{n}", 1.0) for n in range(10)]
    refused = 0
    for n in range(12):
        try:
            hear(reader, node.device_birth(f"D{n}", *metrics))
        except PayloadRefused as said_no:
            refused += "more than 100 metrics" in said_no.detail
    assert refused == 4


PIECES = st.sampled_from(["level", "GD-1/lel", "bdSeq", "", "a/b/c", "in_service"])


@st.composite
def messages(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """Some message, more or less as it should be."""
    kind = draw(st.sampled_from(["NBIRTH", "NDEATH", "NDATA", "DBIRTH", "DDEATH", "DDATA", "NCMD"]))
    device = draw(st.sampled_from(["TK-1", "", "x" * 400])) if kind[0] == "D" else ""
    metrics = [
        metric(
            draw(st.none() | PIECES), draw(st.integers(-(2**63), 2**63)),
            draw(st.sampled_from([INT8, INT32, INT64, UINT64, 0, 99])),
            alias=draw(st.none() | st.integers(0, 3)), ts=draw(st.none() | st.integers(0, 2**63)),
            typed=draw(st.booleans()), historical=draw(st.booleans()),
        )
        for _ in range(draw(st.integers(0, 4)))
    ]  # fmt: skip
    raw = payload(*metrics, seq=draw(st.none() | st.integers(0, 2**63)), ts=NOW_MS)
    if draw(st.booleans()):
        cut = draw(st.integers(0, len(raw)))
        raw = raw[:cut] + draw(st.binary(max_size=6)) + raw[cut + 1 :]
    return EdgeNode().topic(kind, device), raw


@given(st.lists(st.tuples(messages(), st.integers(0, 10**8)), max_size=12))
def test_no_sequence_of_messages_raises_anything_but_a_refusal(given: Any) -> None:
    reader = reader_of("sparkplug")
    for message, at_us in given:
        with suppress(PayloadRefused):
            hear(reader, message, NOW_US + at_us)


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_but_a_refusal(raw: bytes) -> None:
    with suppress(PayloadRefused):
        hear(reader_of("sparkplug"), (b"spBv1.0/E1/NBIRTH/G1", raw))
