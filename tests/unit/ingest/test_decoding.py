"""What a batch of messages becomes."""

import json
import tracemalloc
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hazardloop.devices.drafting import build_registry
from hazardloop.devices.readings import Quality
from hazardloop.devices.registry import GatewayRecord, PointRecord, Registry
from hazardloop.devices.wire import LARGEST_PAYLOAD, Reason
from hazardloop.ingest import decoding
from hazardloop.ingest.decoding import Intake, decode
from hazardloop.ingest.routing import Routes, moved_to, renewed, routes_of
from hazardloop.ingest.texts import Texts

NOW_US = 1_795_300_000_000_000
NOW_MS = NOW_US // 1000
MINE = "hl/v1/E1/G1/telemetry"


def point(
    number: int, device: str, quantity: str, kind: str = "number", **more: Any
) -> PointRecord:
    facts: dict[str, Any] = {
        "point_id": number, "quantity": quantity, "unit": "1", "type": kind, "low": 0.0,
        "high": 100.0 if kind == "number" else 1.0, "interval_s": 60.0, "registered_at_us": 0,
        "device_id": number, "device": device, "kind": "k", "tags": {}, "gateway_id": 1,
        "gateway": "G1", "enterprise_id": 1, "enterprise": "E1", "grade": 0,
    }  # fmt: skip
    return PointRecord(**(facts | more))


def district() -> Registry:
    theirs = {"gateway_id": 2, "gateway": "G2", "enterprise_id": 2, "enterprise": "E2"}
    return build_registry(
        1,
        [GatewayRecord(1, "G1", 1, "E1"), GatewayRecord(2, "G2", 2, "E2"),
         GatewayRecord(3, "G3", 1, "E1")],
        [
            point(11, "GD-1", "lel"),
            point(12, "GD-1", "in_service", "boolean"),
            point(13, "EL-1", "entrapment", "event"),
            point(14, "EL-1", "overspeed", "event"),
            point(15, "GD-3", "lel", gateway_id=3, gateway="G3"),
            point(21, "GD-9", "lel", **theirs),
        ],
    )  # fmt: skip


ROUTES = routes_of(district())


def take(*messages: tuple[str, bytes], routes: Routes = ROUTES) -> Intake:
    return decode(
        Texts.of(topic.encode() for topic, _ in messages),
        Texts.of(payload for _, payload in messages),
        np.full(len(messages), NOW_US),
        routes,
    )


def said(values: object, **more: object) -> bytes:
    return json.dumps({"ts": NOW_MS, "values": values} | more).encode()


def test_a_reading_gets_its_row_time_and_value() -> None:
    intake = take((MINE, said({"GD-1.lel": 12.5}, seq=7)))
    readings = intake.readings
    assert (readings.row.tolist(), readings.value.tolist()) == ([0], [12.5])
    assert (readings.observed_at.tolist(), readings.quality.tolist()) == ([NOW_US], [0])
    assert intake.rejects == []


def test_an_array_of_objects_keeps_each_objects_time() -> None:
    payload = json.dumps(
        [{"ts": NOW_MS - 1000, "values": {"GD-1.lel": 1}},
         {"ts": NOW_MS, "values": {"GD-1.lel": 2, "GD-1.in_service": True}}]
    ).encode()  # fmt: skip
    readings = take((MINE, payload)).readings
    assert readings.value.tolist() == [1.0, 2.0, 1.0]
    assert (readings.observed_at - NOW_US).tolist() == [-1_000_000, 0, 0]


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        pytest.param(b"", Reason.NOT_JSON, id="empty"),
        pytest.param(b"hello", Reason.NOT_JSON, id="text"),
        pytest.param(b'{"ts": 1, "val', Reason.NOT_JSON, id="cut off"),
        pytest.param(b"\xff\xfe{}", Reason.NOT_JSON, id="not utf-8"),
        pytest.param(b'\xef\xbb\xbf{"values":{}}', Reason.NOT_JSON, id="byte order mark"),
        pytest.param(b"[" * 100_000, Reason.NOT_JSON, id="too deep"),
        pytest.param(b"17", Reason.BAD_SHAPE, id="a number"),
        pytest.param(b'{"ts": 1}', Reason.BAD_SHAPE, id="no values"),
        pytest.param(b'{"values": [1]}', Reason.BAD_SHAPE, id="values is a list"),
        pytest.param(b'[{"values": {}}, 3]', Reason.BAD_SHAPE, id="an object among numbers"),
        pytest.param(
            b'{"values": {}, "x": ' + b"[" * 100_000, Reason.NOT_JSON, id="too deep where none asks"
        ),
        pytest.param(b" " * (LARGEST_PAYLOAD + 1), Reason.TOO_LARGE, id="over 256 KiB"),
    ],
)
def test_a_payload_of_no_use_has_its_reason(payload: bytes, reason: Reason) -> None:
    intake = take((MINE, payload), (MINE, said({"GD-1.lel": 3})))
    assert [(reject.message, reject.reason) for reject in intake.rejects] == [(0, reason)]
    assert intake.readings.value.tolist() == [3.0]


@pytest.mark.parametrize(
    ("topic", "values", "reason"),
    [
        pytest.param(
            "hl/v1/E1/G7/telemetry", {"GD-1.lel": 1}, Reason.UNKNOWN_GATEWAY, id="gateway"
        ),
        pytest.param("hl/v1/E2/G1/telemetry", {"GD-1.lel": 1}, Reason.WRONG_ENTERPRISE, id="topic"),
        pytest.param(MINE, {"GD-9.lel": 1}, Reason.WRONG_ENTERPRISE, id="another's device"),
        pytest.param(MINE, {"GD-3.lel": 1}, Reason.UNKNOWN_POINT, id="another gateway's device"),
        pytest.param(MINE, {"GD-1.ph": 1}, Reason.UNKNOWN_POINT, id="quantity"),
        pytest.param(MINE, {"nonsense": 1}, Reason.UNKNOWN_POINT, id="no quantity"),
        pytest.param("hl/v1/E1/G1/secrets", {}, Reason.UNKNOWN_GATEWAY, id="not a topic of ours"),
    ],
)
def test_strangers_are_told_apart(topic: str, values: dict[str, int], reason: Reason) -> None:
    intake = take((topic, said(values)))
    assert [reject.reason for reject in intake.rejects] == [reason]
    assert len(intake.readings) == 0


@pytest.mark.parametrize("literal", ["null", "NaN", "Infinity", "-Infinity", "1e999"])
def test_what_is_no_number_is_stored_bad_and_told(literal: str) -> None:
    payload = b'{"ts": %d, "values": {"GD-1.lel": %s, "GD-1.in_service": 1}}'
    intake = take((MINE, payload % (NOW_MS, literal.encode())))
    assert np.isnan(intake.readings.value[0])
    assert intake.readings.quality.tolist() == [Quality.NOT_A_NUMBER, 0]
    assert [reject.reason for reject in intake.rejects] == [Reason.BAD_SHAPE]


@pytest.mark.parametrize("value", ["12.5", [1], {"v": "x"}, {"v": 1, "q": "fine"}, True])
def test_a_value_of_a_wrong_type_costs_its_neighbour_nothing(value: object) -> None:
    intake = take((MINE, said({"GD-1.lel": value, "GD-1.in_service": False})))
    assert intake.readings.row.tolist() == [1]
    assert [(reject.reason, reject.readings) for reject in intake.rejects] == [
        (Reason.BAD_SHAPE, 1)
    ]


def test_a_value_that_cannot_be_is_stored_bad_and_told_with_its_range() -> None:
    intake = take((MINE, said({"GD-1.lel": 512})))
    assert intake.readings.quality.tolist() == [Quality.OUT_OF_RANGE]
    assert intake.rejects[0].reason is Reason.OUT_OF_RANGE
    assert "GD-1.lel: 512 outside 0..100 1" in intake.rejects[0].detail


def test_a_sample_brings_its_own_quality_and_time() -> None:
    sample = {"v": 4.5, "q": "uncertain", "ts": NOW_MS - 2000}
    readings = take((MINE, said({"GD-1.lel": sample, "GD-1.in_service": True}))).readings
    assert readings.value.tolist() == [4.5, 1.0]
    assert readings.quality.tolist() == [Quality.SOURCE_UNCERTAIN, 0]
    assert (readings.observed_at - NOW_US).tolist() == [-2_000_000, 0]


DAY_MS = 86_400_000


@pytest.mark.parametrize(
    ("ts", "stored", "reason", "flag"),
    [
        pytest.param(None, NOW_MS, None, Quality.NO_TIMESTAMP, id="none: time of receipt"),
        pytest.param("2026-11-22T01:00:00+08:00", 1_795_280_400_000, None, 0, id="with offset"),
        pytest.param("2026-11-22T01:00:00", None, Reason.BAD_SHAPE, 0, id="without offset"),
        pytest.param("2026-11-21T23:59:60Z", 1_795_305_599_999, Reason.FUTURE_TS, None, id="leap"),
        pytest.param(NOW_MS + 299_000, NOW_MS + 299_000, None, 0, id="within tolerance ahead"),
        pytest.param(NOW_MS + 301_000, None, Reason.FUTURE_TS, 0, id="ahead: quarantined"),
        pytest.param(NOW_MS - 29 * DAY_MS, NOW_MS - 29 * DAY_MS, None, 0, id="old, still taken"),
        pytest.param(NOW_MS - 31 * DAY_MS, None, Reason.TOO_OLD, 0, id="too old"),
        pytest.param(1, NOW_MS, Reason.TOO_OLD, Quality.CLOCK_UNSET, id="clock at 1970"),
        pytest.param(NOW_MS // 1000, NOW_MS, Reason.TOO_OLD, Quality.CLOCK_UNSET, id="in seconds"),
        pytest.param(253_402_300_799_000, NOW_MS, Reason.FUTURE_TS, Quality.CLOCK_UNSET, id="9999"),
        pytest.param(10**40, None, Reason.BAD_SHAPE, 0, id="not a time at all"),
        pytest.param("yesterday", None, Reason.BAD_SHAPE, 0, id="words"),
    ],
)
def test_times(ts: object, stored: int | None, reason: Reason | None, flag: int | None) -> None:
    values = {"GD-1.lel": 1}
    payload = said(values, ts=ts) if ts is not None else json.dumps({"values": values}).encode()
    intake = take((MINE, payload))
    assert [reject.reason for reject in intake.rejects] == ([reason] if reason else [])
    if flag is not None:
        assert intake.readings.observed_at.tolist() == ([stored * 1000] if stored else [])
        assert intake.readings.quality.tolist() == ([flag] if stored else [])


def test_an_event_is_a_reading_of_its_point_until_it_ends() -> None:
    topic = "hl/v1/E1/G1/event"

    def event(name: str, **data: object) -> tuple[str, bytes]:
        body = {"ts": NOW_MS, "device": "EL-1", "event": name, "data": data}
        return topic, json.dumps(body).encode()

    intake = take(event("entrapment"), event("entrapment", active=False), event("normal"))
    assert intake.readings.row.tolist() == [2, 2, 2, 3]
    assert intake.readings.value.tolist() == [1.0, 0.0, 0.0, 0.0]
    refused = take(event("levitation")).rejects[0]
    assert refused.reason is Reason.UNKNOWN_POINT
    assert "EL-1.levitation" in refused.detail


def test_backfill_is_flagged() -> None:
    readings = take(("hl/v1/E1/G1/backfill", said({"GD-1.lel": 1}))).readings
    assert readings.quality.tolist() == [Quality.BACKFILL]


def test_status_is_what_the_gateway_says_of_itself() -> None:
    intake = take(
        ("hl/v1/E1/G1/status", b'{"online":true,"ts":%d,"fw":"1.2.0"}' % NOW_MS),
        ("hl/v1/E1/G1/status", b'{"online":false}'),
        ("hl/v1/E1/G1/status", b""),
        ("hl/v1/E1/G1/status", b"{}"),
    )
    assert [(said.online, said.firmware) for said in intake.statuses] == [
        (True, "1.2.0"),
        (False, None),
    ]
    assert [(reject.message, reject.reason) for reject in intake.rejects] == [(3, Reason.BAD_SHAPE)]


def test_many_rejects_of_one_message_are_told_once_with_a_count() -> None:
    intake = take((MINE, said({f"XX-{n}.lel": n for n in range(50)})))
    assert [(reject.reason, reject.readings) for reject in intake.rejects] == [
        (Reason.UNKNOWN_POINT, 50)
    ]
    assert intake.rejects[0].detail.endswith("; and 45 more")


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
LIKELY = st.fixed_dictionaries(
    {"values": st.dictionaries(st.sampled_from(["GD-1.lel", "GD-1.in_service", "?"]), ANY_JSON)},
    optional={"ts": ANY_JSON | st.just(NOW_MS), "seq": ANY_JSON},
)


@given(
    st.lists(
        st.tuples(
            st.sampled_from([MINE, "hl/v1/E1/G1/event", "hl/v1/E1/G1/status", "a/b"]),
            st.binary(max_size=40)
            | (LIKELY | ANY_JSON).map(lambda said: json.dumps(said).encode()),
        ),
        max_size=6,
    )
)
def test_nothing_the_field_sends_can_raise(messages: list[tuple[str, bytes]]) -> None:
    intake = take(*messages)
    good = intake.readings.quality == 0
    assert np.isfinite(intake.readings.value[good]).all()
    assert (np.abs(intake.readings.observed_at - NOW_US) <= 31 * DAY_MS * 1000).all()
    assert all(0 <= reject.message < len(messages) for reject in intake.rejects)


@pytest.mark.parametrize("channel", ["event", "status"])
def test_depth_that_nobody_can_follow_is_no_json_on_any_channel(channel: str) -> None:
    deep = b"[" * 100_000 + b"]" * 100_000
    (reject,) = take((f"hl/v1/E1/G1/{channel}", b'{"x": ' + deep + b"}")).rejects
    assert reject.reason is Reason.NOT_JSON


@pytest.mark.parametrize("value", ["true", "1"])
def test_a_registry_without_points_knows_none(value: str) -> None:
    nothing = routes_of(build_registry(1, [GatewayRecord(1, "G1", 1, "E1")], []))
    payload = b'{"ts":%d,"values":{"GD-1.lel":%s}}' % (NOW_MS, value.encode())
    (reject,) = take((MINE, payload), routes=nothing).rejects
    assert reject.reason is Reason.UNKNOWN_POINT


@pytest.mark.parametrize("long", ["topic", "code"])
def test_one_long_name_costs_its_many_neighbours_nothing(long: str) -> None:
    short = b'{"ts":%d,"values":{"GD-1.lel":1}}' % NOW_MS
    name = "x" * 60_000
    odd = (
        (f"hl/v1/{name}/G1/telemetry", short)
        if long == "topic"
        else (MINE, short.replace(b"GD-1.lel", name.encode()))
    )
    messages = [odd, *[(MINE, short)] * 2000]
    tracemalloc.start()
    intake = take(*messages)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(intake.readings) == 2000
    assert peak < 16 << 20


def columns(of: Any) -> list[list[Any]]:
    return [np.nan_to_num(getattr(of, each.name), nan=1e300).tolist() for each in fields(of)]


SPOKEN = st.sampled_from(
    ["GD-1.lel", "GD-1.in_service", "EL-1.overspeed", "GD-3.lel", "GD-9.lel", "GD-1.ph", "é", ""]
)
PLAINLY = st.builds(
    lambda ts, seq, values, gap: json.dumps(
        {"ts": ts} | seq | {"values": values}, separators=("," + gap, ":" + gap)
    ).encode(),
    st.integers(NOW_MS - 40 * 86_400_000, NOW_MS + 400_000),
    st.fixed_dictionaries({}, optional={"seq": st.integers(0, 10**15)}),
    st.dictionaries(SPOKEN, st.booleans() | st.integers(-5, 200) | st.floats(-9, 200), min_size=1),
    st.sampled_from(["", " "]),
)


@st.composite
def bent(draw: st.DrawFn) -> bytes:
    payload = bytearray(draw(PLAINLY))
    at = draw(st.integers(0, len(payload)))
    payload[at : at + draw(st.integers(0, 3))] = draw(
        st.sampled_from([b"", b'"', b",", b"0", b".", b"null", b" ", b"}", b"\\", b"[", b"\xff"])
    )
    return bytes(payload)


TALK = st.tuples(
    st.sampled_from([MINE, "hl/v1/E1/G3/backfill", "hl/v1/E2/G2/telemetry", "hl/v1/E1/G1/event"]),
    PLAINLY | PLAINLY | bent() | st.just(b""),
)


@given(st.lists(TALK, max_size=12), st.sampled_from([1, 100, 1 << 19]))
def test_a_batch_of_plain_and_bent_messages_is_what_each_is_when_opened_by_itself(
    messages: list[tuple[str, bytes]], span: int
) -> None:
    by_itself = replace(ROUTES, current=np.zeros(len(ROUTES.gateways), np.bool_))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoding, "SPAN", span)
        found = take(*messages)
    truth = take(*messages, routes=by_itself)
    assert found.rejects == truth.rejects
    for part in ("readings", "sequences", "stamps"):
        assert columns(getattr(found, part)) == columns(getattr(truth, part)), part


def test_a_changed_registry_counts_at_once_and_the_same_once_its_tables_are_renewed() -> None:
    changed = build_registry(
        2,
        [GatewayRecord(1, "G1", 1, "E1"), GatewayRecord(4, "G4", 1, "E1")],
        [point(11, "GD-2", "lel"), point(16, "GD-4", "lel", gateway_id=4, gateway="G4")],
    )
    messages = [
        (MINE, said({"GD-2.lel": 1}, seq=1)),
        (MINE, said({"GD-1.lel": 2})),
        ("hl/v1/E1/G4/telemetry", said({"GD-4.lel": 3})),
        ("hl/v1/E2/G2/telemetry", said({"GD-9.lel": 4})),
    ]
    at_once = moved_to(changed, ROUTES)
    assert not at_once.whole
    assert renewed(at_once).whole
    for routes in (at_once, renewed(at_once)):
        intake = take(*messages, routes=routes)
        assert intake.readings.row.tolist() == [0, 1]
        assert intake.sequences.seq.tolist() == [1]
        assert [(reject.message, reject.reason) for reject in intake.rejects] == [
            (1, Reason.UNKNOWN_POINT),
            (3, Reason.UNKNOWN_GATEWAY),
        ]
