"""SenML in JSON; the packs are the examples of RFC 8428, section 5.1."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hazardloop.devices.dialects.naming import Telling
from hazardloop.devices.dialects.senml import Resolved, resolve
from hazardloop.devices.wire import PayloadRefused, Reason
from tests.unit.devices.dialects.gateways import (
    NOW_MS,
    NOW_US,
    TELEMETRY,
    complaints,
    reader_of,
    said,
)


def heard(pack: Any, profile: dict[str, Any] | None = None) -> Any:
    text = pack if isinstance(pack, bytes) else json.dumps(pack).encode()
    return reader_of("senml", profile).read(TELEMETRY, text, NOW_US)


def resolved(pack: Any) -> list[Resolved]:
    return list(resolve(pack, Telling()))


URN = "urn:dev:ow:10e2073a01080063"


def test_single_data_point() -> None:
    pack = [{"n": URN, "u": "Cel", "v": 23.1}]
    assert resolved(pack) == [Resolved(URN, "Cel", 0, 23.1)]
    assert said(heard(pack, {"names": {URN: "TK-1.temperature"}})) == [
        (None, {"TK-1.temperature": 23.1})
    ]


def test_multiple_data_points() -> None:
    pack = [
        {"bn": f"{URN}:", "n": "voltage", "u": "V", "v": 120.1},
        {"n": "current", "u": "A", "v": 1.2},
    ]
    assert resolved(pack) == [
        Resolved(f"{URN}:voltage", "V", 0, 120.1),
        Resolved(f"{URN}:current", "A", 0, 1.2),
    ]
    assert said(heard(pack)) == [
        (None, {"10e2073a01080063.voltage": 120.1, "10e2073a01080063.current": 1.2})
    ]


def test_multiple_measurements_with_a_base_time() -> None:
    pack = [
        {"bn": "urn:dev:ow:10e2073a0108006:", "bt": 1.276020076001e9, "bu": "A", "bver": 5,
         "n": "voltage", "u": "V", "v": 120.1},
        {"n": "current", "t": -5, "v": 1.2},
        {"n": "current", "t": -4, "v": 1.3},
        {"n": "current", "v": 1.7},
    ]  # fmt: skip
    assert resolved(pack) == [
        Resolved("urn:dev:ow:10e2073a0108006:voltage", "V", 1.276020076001e9, 120.1),
        Resolved("urn:dev:ow:10e2073a0108006:current", "A", 1.276020071001e9, 1.2),
        Resolved("urn:dev:ow:10e2073a0108006:current", "A", 1.276020072001e9, 1.3),
        Resolved("urn:dev:ow:10e2073a0108006:current", "A", 1.276020076001e9, 1.7),
    ]


def test_resolved_data_of_the_rfc() -> None:
    pack = [
        {"bn": URN, "bt": 1.320067464e9, "bu": "%RH", "v": 20},
        {"u": "lon", "v": 24.30621},
        {"u": "lat", "v": 60.07965},
        {"t": 60, "v": 20.3},
        {"u": "lon", "t": 60, "v": 24.30622},
    ]
    assert resolved(pack) == [
        Resolved(URN, "%RH", 1.320067464e9, 20),
        Resolved(URN, "lon", 1.320067464e9, 24.30621),
        Resolved(URN, "lat", 1.320067464e9, 60.07965),
        Resolved(URN, "%RH", 1.320067524e9, 20.3),
        Resolved(URN, "lon", 1.320067524e9, 24.30622),
    ]


def test_multiple_data_types() -> None:
    pack = [
        {"bn": "urn:dev:ow:10e2073a01080063:", "n": "temp", "u": "Cel", "v": 23.1},
        {"n": "label", "vs": "Machine Room"},
        {"n": "open", "vb": False},
        {"n": "nfc-reader", "vd": "aGkgCg"},
    ]
    assert [record.value for record in resolved(pack)] == [23.1, "Machine Room", False, "aGkgCg"]
    profile = {
        "devices": {URN: "TK-1"},
        "quantities": {"temp": "temperature", "open": "in_service"},
        "ignore": ["*:label", "*:nfc-reader"],
    }
    answer = heard(pack, profile)
    assert said(answer) == [(None, {"TK-1.temperature": 23.1, "TK-1.in_service": False})]
    assert answer.complaints == []


def test_base_value_is_added_and_base_fields_hold_until_they_change() -> None:
    pack = [
        {"bn": "TK-1:", "bv": 10, "n": "level", "v": 1},
        {"n": "pressure", "v": 2},
        {"bn": "TK-2:", "bv": 0, "n": "level", "v": 3},
    ]
    assert [(record.name, record.value) for record in resolved(pack)] == [
        ("TK-1:level", 11),
        ("TK-1:pressure", 12),
        ("TK-2:level", 3),
    ]


def test_relative_times_count_from_receipt_and_are_uncertain() -> None:
    pack = [{"n": "TK-1:level", "t": -5, "v": 1}, {"n": "TK-1:level", "v": 2}]
    assert said(heard(pack)) == [
        (NOW_MS - 5000, {"TK-1.level": (1, "uncertain")}),
        (None, {"TK-1.level": 2}),
    ]


def test_units_are_turned_into_those_of_the_points() -> None:
    pack = [
        {"bn": "TK-1:", "n": "level", "u": "mm", "v": 7420},
        {"n": "pressure", "u": "Pa", "v": 250_000},
        {"n": "temperature", "u": "K", "v": 300},
        {"n": "GD-1:ppm", "bn": "", "u": "%", "v": 0.5},
    ]
    values = said(heard(pack))[0][1]
    assert values == {
        "TK-1.level": pytest.approx(7.42),
        "TK-1.pressure": pytest.approx(250),
        "TK-1.temperature": pytest.approx(26.85),
        "GD-1.ppm": pytest.approx(5000),
    }


def test_a_unit_of_something_else_is_not_stored_under_a_wrong_one() -> None:
    answer = heard([{"n": "TK-1:level", "u": "V", "v": 3}, {"n": "TK-1:pressure", "v": 4}])
    assert said(answer) == [(None, {"TK-1.pressure": 4})]
    assert complaints(answer) == ["TK-1.level: 'V' cannot be turned into m"]


def test_a_record_that_is_wrong_costs_its_neighbours_nothing() -> None:
    pack = [
        {"bn": "TK-1:", "n": "level", "v": "3"},
        {"n": "pressure", "v": 4},
        {"n": "temperature", "s": 5},
        {"n": "level", "v": 1, "vb": True},
        {"n": "bad name", "v": 1},
    ]
    answer = heard(pack)
    assert said(answer) == [(None, {"TK-1.pressure": 4})]
    assert complaints(answer) == [
        "record 0: v: '3' is of a wrong type",
        "record 2: a sum over time is no reading; send `v`",
        "record 3: several values in one record",
        "record 4: 'TK-1:bad name' is no SenML name",
    ]


@pytest.mark.parametrize(
    "pack",
    [
        pytest.param({"n": "a", "v": 1}, id="not an array"),
        pytest.param([{"bver": 11, "n": "a", "v": 1}], id="a version that is not known"),
        pytest.param([{"bver": [], "n": "a", "v": 1}], id="a version that is none"),
        pytest.param([{"n": "a", "v": 1, "odd_": 1}], id="an extension that must be understood"),
        pytest.param([{"n": "a", "v": 1}, {"bt": "now"}], id="a base field of a wrong type"),
    ],
)
def test_a_pack_that_cannot_be_resolved_is_refused_as_a_whole(pack: Any) -> None:
    with pytest.raises(PayloadRefused) as refused:
        heard(pack)
    assert refused.value.reason is Reason.BAD_SHAPE


def test_secondary_units_announced_by_their_version_are_read() -> None:
    assert said(heard([{"bver": 26, "n": "TK-1:level", "u": "cm", "v": 742}])) == [
        (None, {"TK-1.level": pytest.approx(7.42)})
    ]


LABELS = ["bn", "bt", "bu", "bv", "bs", "bver", "n", "u", "v", "vs", "vb", "vd", "s", "t", "ut"]
ANY = (
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=6)
    | st.just("TK-1:level") | st.lists(st.integers(), max_size=2)
)  # fmt: skip


@given(st.lists(st.dictionaries(st.sampled_from(LABELS), ANY, max_size=5) | ANY, max_size=5))
def test_nothing_in_a_pack_raises_anything_but_a_refusal(pack: Any) -> None:
    with suppress(PayloadRefused):
        heard(json.dumps(pack).encode())
