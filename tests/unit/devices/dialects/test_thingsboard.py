"""ThingsBoard telemetry; the payloads are those of its documentation."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hazardloop.devices.wire import PayloadRefused, Reason
from tests.unit.devices.dialects.gateways import NOW_US, TELEMETRY, complaints, reader_of, said

OF_DEVICE = {"device": "TK-1"}


def heard(payload: Any, profile: dict[str, Any] | None = None) -> Any:
    text = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return reader_of("thingsboard", profile).read(TELEMETRY, text, NOW_US)


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        pytest.param(
            {"temperature": 22.5, "humidity": 61},
            [(None, {"TK-1.temperature": 22.5, "TK-1.humidity": 61})],
            id="simple key-value",
        ),
        pytest.param(
            {"ts": 1451649600512, "values": {"temperature": 22.5, "humidity": 61}},
            [(1451649600512, {"TK-1.temperature": 22.5, "TK-1.humidity": 61})],
            id="with client-side timestamp",
        ),
        pytest.param(
            [
                {"ts": 1451649600000, "values": {"temperature": 22.5}},
                {"ts": 1451649601000, "values": {"temperature": 22.7}},
            ],
            [
                (1451649600000, {"TK-1.temperature": 22.5}),
                (1451649601000, {"TK-1.temperature": 22.7}),
            ],
            id="array of objects with client-side timestamp",
        ),
        pytest.param(
            [{"temperature": "42.5"}, {"level": -1}],
            [(None, {"TK-1.temperature": 42.5, "TK-1.level": -1})],
            id="array without timestamps, a number as text",
        ),
    ],
)
def test_telemetry_of_a_device(payload: Any, expected: Any) -> None:
    answer = heard(payload, OF_DEVICE)
    assert said(answer) == expected
    assert answer.complaints == []


def test_telemetry_of_a_gateway() -> None:
    answer = heard(
        {
            "Device A": [
                {"ts": 1483228800000, "values": {"temperature": 42, "humidity": 80}},
                {"ts": 1483228801000, "values": {"temperature": 43, "humidity": 82}},
            ],
            "Device B": [{"ts": 1483228800000, "values": {"temperature": 42, "humidity": 80}}],
        },
        {"devices": {"Device A": "TK-1"}, "ignore": ["*.humidity"]},
    )
    assert said(answer) == [
        (1483228800000, {"TK-1.temperature": 42, "Device B.temperature": 42}),
        (1483228801000, {"TK-1.temperature": 43}),
    ]


def test_a_gateway_may_leave_the_time_to_the_server() -> None:
    assert said(heard({"TK-1": [{"level": 3.5}]})) == [(None, {"TK-1.level": 3.5})]


def test_without_a_device_in_the_profile_a_key_is_the_whole_name() -> None:
    assert said(heard({"TK-1.level": 3.5})) == [(None, {"TK-1.level": 3.5})]


def test_the_profile_renames_scales_and_gives_words_a_meaning() -> None:
    profile = {
        "names": {"Tank 5.L1": {"point": "TK-1.level", "unit": "mm"}},
        "devices": {"Detector 9": "GD-1"},
        "quantities": {
            "gas": {"quantity": "lel", "scale": 0.1},
            "state": {"quantity": "in_service", "values": {"RUN": True, "STOP": False, "0": False}},
        },
    }
    payload = {
        "Tank 5": [{"L1": 7420}],
        "Detector 9": [{"gas": 125, "state": "STOP"}, {"ts": 5, "values": {"state": 0}}],
    }
    assert said(heard(payload, profile)) == [
        (None, {"TK-1.level": pytest.approx(7.42), "GD-1.lel": 12.5, "GD-1.in_service": False}),
        (5, {"GD-1.in_service": False}),
    ]


def test_a_bad_value_costs_its_neighbours_nothing() -> None:
    answer = heard(
        {"level": 3.5, "pressure": "open", "temperature": {"nested": 1}, "in_service": True,
         "x": [1, 2]},
        OF_DEVICE,
    )  # fmt: skip
    assert said(answer) == [(None, {"TK-1.level": 3.5, "TK-1.in_service": True})]
    assert complaints(answer) == [
        "TK-1.pressure: 'open' is not a number or boolean",
        "TK-1.temperature: dict is not a number or boolean",
        "TK-1.x: list is not a number or boolean",
    ]


def test_a_word_that_the_profile_does_not_name_is_told_with_those_it_does() -> None:
    profile = {"quantities": {"valve": {"quantity": "fault", "values": {"OPEN": 0, "SHUT": 1}}}}
    answer = heard({"GD-1": [{"valve": "JAMMED"}]}, profile)
    assert complaints(answer) == ["GD-1.fault: 'JAMMED' is none of OPEN, SHUT"]


def test_an_object_with_an_unreadable_time_is_left_out_alone() -> None:
    answer = heard([{"ts": "soon", "values": {"level": 1, "pressure": 2}}, {"level": 3}], OF_DEVICE)
    assert said(answer) == [(None, {"TK-1.level": 3})]
    assert [one.readings for one in answer.complaints] == [2]


def test_values_that_are_none_stay_values() -> None:
    answer = heard(b'{"level": null, "pressure": NaN, "temperature": 1e999}', OF_DEVICE)
    values = said(answer)[0][1]
    assert values["TK-1.level"] is None
    assert all(value is None or math.isnan(value) for value in values.values())


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        pytest.param(b"{", Reason.NOT_JSON, id="cut off"),
        pytest.param(b"\xff", Reason.NOT_JSON, id="not UTF-8"),
        pytest.param(b"[" * 100_000, Reason.NOT_JSON, id="nested without end"),
        pytest.param(b"12", Reason.BAD_SHAPE, id="a number"),
        pytest.param(b"[[1]]", Reason.BAD_SHAPE, id="an array of arrays"),
    ],
)
def test_a_payload_of_no_shape_is_refused(payload: bytes, reason: Reason) -> None:
    with pytest.raises(PayloadRefused) as refused:
        heard(payload)
    assert refused.value.reason is reason


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["ts", "values", "GD-1", "lel", "a.b"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@given(JSON)
def test_nothing_that_is_json_raises_anything_but_a_refusal(payload: Any) -> None:
    try:
        answer = heard(json.dumps(payload).encode())
    except PayloadRefused:
        return
    for one in answer.telemetry:
        assert all(isinstance(value, float | int | bool | None) for value in one.values.values())
