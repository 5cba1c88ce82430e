"""Other JSON, read by a declared mapping."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hazardloop.devices.dialects.profile import ProfileRefused
from hazardloop.devices.dialects.readers import checked_profile
from hazardloop.devices.wire import LARGEST_PAYLOAD, PayloadRefused
from tests.unit.devices.dialects.gateways import NOW_US, TELEMETRY, complaints, reader_of, said


def heard(profile: dict[str, Any], payload: Any) -> Any:
    text = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return reader_of("mapping", profile).read(TELEMETRY, text, NOW_US)


def test_a_path_for_each_value_with_unit_scale_offset_and_words() -> None:
    profile = {
        "ts": {"path": "head.at", "unit": "s"},
        "readings": [
            {"path": "data.L1", "point": "TK-1.level", "unit": "mm"},
            {"path": "data.P[0]", "point": "TK-1.pressure", "unit": "MPa", "scale": 0.01,
             "offset": -0.1},
            {"path": "data.run", "point": "TK-1.in_service", "values": {"运行": 1, "停用": 0}},
            {"path": "data.nothing", "point": "TK-1.temperature"},
        ],
    }  # fmt: skip
    payload = {"head": {"at": 1795300000.5}, "data": {"L1": 7420, "P": [60], "run": "停用"}}
    assert said(heard(profile, payload)) == [
        (
            1795300000500,
            {
                "TK-1.level": pytest.approx(7.42),
                "TK-1.pressure": pytest.approx(500),
                "TK-1.in_service": 0,
            },
        )
    ]


def test_a_list_of_names_and_values_with_a_time_each() -> None:
    profile = {
        "each": "values",
        "name_path": "id",
        "value_path": "v",
        "ts": "t",
        "names": {"Plant.Tank1.Level": {"point": "TK-1.level", "unit": "cm"}},
        "ignore": ["_*"],
    }
    payload = {
        "timestamp": 1,
        "values": [
            {"id": "Plant.Tank1.Level", "v": 742, "q": True, "t": 1795300000000},
            {"id": "GD-1.lel", "v": "12.5", "q": True, "t": 1795300001000},
            {"id": "_system", "v": "x", "t": 1795300001000},
        ],
    }
    assert said(heard(profile, payload)) == [
        (1795300000000, {"TK-1.level": pytest.approx(7.42)}),
        (1795300001000, {"GD-1.lel": 12.5}),
    ]


def test_objects_that_say_whose_they_are_and_a_time_for_all() -> None:
    profile = {
        "each": "items[?ok]",
        "device_path": "sn",
        "ts": {"path": "time", "unit": "text", "zone": "+08:00"},
        "readings": [{"path": "gas", "quantity": "lel"}],
        "devices": {"SN0001": "GD-1"},
    }
    payload = {
        "time": "2026-11-22 12:00:00",
        "items": [{"sn": "SN0001", "gas": 7, "ok": True}, {"sn": "SN0002", "gas": 9, "ok": False}],
    }
    assert said(heard(profile, payload)) == [(1795320000000.0, {"GD-1.lel": 7})]


def test_a_time_in_a_form_of_its_own() -> None:
    profile = {
        "ts": {"path": "t", "unit": "text", "format": "%Y%m%d%H%M%S", "zone": "+08:00"},
        "readings": [{"path": "v", "point": "GD-1.lel"}],
    }
    payloads = [{"t": "20261122120000", "v": 1}, {"t": "yesterday", "v": 2}]
    answer = heard(profile, payloads)
    assert said(answer) == [(1795320000000.0, {"GD-1.lel": 1})]
    assert complaints(answer)[0].startswith("t: 'yesterday' is no time: ")


def test_a_filter_finds_one_value_among_many() -> None:
    profile = {"readings": [{"path": "tags[?n=='L1'].v | [0]", "point": "TK-1.level"}]}
    payload = {"tags": [{"n": "L0", "v": 1}, {"n": "L1", "v": 2}]}
    assert said(heard(profile, payload)) == [(None, {"TK-1.level": 2})]


def test_a_bad_value_costs_its_neighbours_nothing() -> None:
    profile = {
        "readings": [
            {"path": "a", "point": "TK-1.level"},
            {"path": "b", "point": "TK-1.pressure"},
            {"path": "c", "point": "TK-1.in_service", "values": {"on": 1}},
        ]
    }
    answer = heard(profile, {"a": "high", "b": 2, "c": "off"})
    assert said(answer) == [(None, {"TK-1.pressure": 2})]
    assert complaints(answer) == [
        "TK-1.level: 'high' is not a number or boolean",
        "TK-1.in_service: 'off' is none of on",
    ]


def test_a_payload_in_which_no_path_finds_anything_is_refused() -> None:
    with pytest.raises(PayloadRefused, match="no path of the mapping"):
        heard({"readings": [{"path": "a", "point": "TK-1.level"}]}, {"b": 1})


@pytest.mark.parametrize(
    ("profile", "path", "why"),
    [
        ({}, (), "wanted: readings, or name_path and value_path"),
        ({"readings": [{"path": "a..b", "point": "TK-1.level"}]}, ("readings", 0, "path"),
         "is no JMESPath"),
        ({"readings": [{"path": "length(a)", "point": "TK-1.level"}]}, ("readings", 0, "path"),
         "function expression is not allowed"),
        ({"readings": [{"path": "[a, b]", "point": "TK-1.level"}]}, ("readings", 0, "path"),
         "multi select list is not allowed"),
        ({"readings": [{"path": "a", "point": "TK-1"}]}, ("readings", 0, "point"), "pattern"),
        ({"readings": [{"path": "a", "quantity": "lel"}]}, (), "needs device_path or device"),
        ({"readings": [{"path": "a", "point": "TK-1.level", "unit": "kpaa"}]},
         ("readings", 0, "unit"), "'kpaa' is no unit known here"),
        ({"readings": [{"path": "a", "point": "TK-1.level", "scale": 0}]},
         ("readings", 0, "scale"), "0 would make"),
        ({"reading": []}, ("reading",), "Extra inputs"),
    ],
)  # fmt: skip
def test_a_profile_that_cannot_be_used_is_refused_with_its_place(
    profile: dict[str, Any], path: tuple[Any, ...], why: str
) -> None:
    with pytest.raises(ProfileRefused) as refused:
        checked_profile("mapping", profile)
    found = dict(refused.value.problems)
    assert why in found[path]


def test_a_payload_that_would_take_too_long_is_refused_at_once() -> None:
    profile = {
        "readings": [
            {"path": f"tags[?n=='{n}'].v | [0]", "point": "TK-1.level"} for n in range(500)
        ]
    }
    payload = json.dumps({"tags": [{"n": str(n), "v": n} for n in range(9000)]}).encode()
    assert len(payload) < LARGEST_PAYLOAD
    with pytest.raises(PayloadRefused, match="more than the mapping may look at"):
        heard(profile, payload)


PROFILE = {
    "each": "a[*]",
    "device_path": "d",
    "name_path": "n",
    "value_path": "v",
    "ts": {"path": "t", "unit": "text", "format": "%Y", "zone": "+00:00"},
    "readings": [{"path": "v", "quantity": "lel", "unit": "ppm", "values": {"on": 1}}],
}
ANY = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=6) | st.just("2026"),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["a", "d", "n", "v", "t"]), inner, max_size=5)
    ),
    max_leaves=15,
)


@given(ANY)
def test_nothing_that_is_json_raises_anything_but_a_refusal(payload: Any) -> None:
    with suppress(PayloadRefused):
        heard(PROFILE, json.dumps(payload).encode())
