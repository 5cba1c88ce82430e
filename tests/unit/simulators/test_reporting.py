"""What a gateway sends when things go wrong, and how it is counted."""

import json
from collections import Counter
from typing import Any

import pytest

from hazardloop.devices.catalog import shipped_catalog
from hazardloop.devices.wire import Channel, PayloadRefused, decode_leniently
from hazardloop.simulators.district import build_district
from hazardloop.simulators.faults import IMPOSSIBLE, Fault, FaultKind, Weather
from hazardloop.simulators.field import sites_of
from hazardloop.simulators.reporting import Message, Reporter

SITE = sites_of(build_district(1, 3, 60), 1)[0]
KEY = SITE.key()
POINT = f"{SITE.gas[0]}.lel"


def reporter(*faults: Fault, seed: int = 1) -> Reporter:
    return Reporter(SITE, 1, 1.0, Weather(faults, seed))


def told(reporter: Reporter, reports: int, first_s: float = 0.0) -> list[Message]:
    """All messages of so many reports, one per second."""
    return [
        message
        for n in range(reports)
        for message in reporter.report(first_s + n, 1_000_000 + 1000 * n, ())
    ]


def seqs(messages: list[Message]) -> list[int]:
    return [json.loads(message.payload)["seq"] for message in messages]


def test_each_report_is_one_message_with_all_values_and_the_next_number() -> None:
    messages = told(reporter(), 3)
    found: list[dict[str, Any]] = [json.loads(message.payload) for message in messages]
    assert [one["seq"] for one in found] == [1, 2, 3]
    assert [one["ts"] for one in found] == [1_000_000, 1_001_000, 1_002_000]
    assert all(
        len(one["values"]) == message.readings for one, message in zip(found, messages, strict=True)
    )
    assert {message.channel for message in messages} == {Channel.TELEMETRY}


def test_the_same_seed_and_times_give_the_same_bytes() -> None:
    faults = (Fault(FaultKind.DUPLICATE, share=0.5), Fault(FaultKind.SPIKE, share=0.3))
    assert told(reporter(*faults), 50) == told(reporter(*faults), 50)
    assert told(reporter(*faults), 50) != told(reporter(*faults, seed=2), 50)


def test_a_duplicate_is_the_same_bytes_again_and_counts_once() -> None:
    messages = told(reporter(Fault(FaultKind.DUPLICATE, share=0.5)), 200)
    repeats = Counter(message.payload for message in messages)
    assert set(repeats.values()) == {1, 2}
    assert 60 <= sum(count == 2 for count in repeats.values()) <= 140
    assert sum(message.reports for message in messages) == 200


def test_an_overtaken_message_comes_right_after_the_next_one() -> None:
    held = reporter(Fault(FaultKind.REORDER, from_s=2.0, for_s=1.0))
    assert seqs(told(held, 5)) == [1, 2, 4, 3, 5]
    assert held.rest() == []


def test_a_message_held_back_is_sent_when_the_run_ends() -> None:
    held = reporter(Fault(FaultKind.REORDER, from_s=2.0, for_s=1.0))
    assert seqs(told(held, 3)) == [1, 2]
    assert seqs(held.rest()) == [3]
    assert held.rest() == []


def test_a_corrupt_message_is_no_json_and_counts_nothing() -> None:
    (message,) = told(reporter(Fault(FaultKind.CORRUPT)), 1)
    assert (message.readings, message.reports) == (0, 0)
    with pytest.raises(PayloadRefused):
        decode_leniently(message.payload)


def test_a_wrong_clock_moves_time_stamps_and_nothing_else() -> None:
    skewed = told(reporter(Fault(FaultKind.CLOCK_SKEW, gateway=KEY, seconds=-20.0)), 2)
    right = told(reporter(), 2)
    for wrong, good in zip(skewed, right, strict=True):
        one, other = json.loads(wrong.payload), json.loads(good.payload)
        assert one["ts"] == other["ts"] - 20_000
        assert one["values"] == other["values"]


def test_a_fault_of_another_gateway_changes_nothing_here() -> None:
    for kind in FaultKind:
        fault = Fault(kind, gateway="ELSE/GW-99", point=POINT, seconds=5.0)
        assert told(reporter(fault), 3) == told(reporter(), 3)


def test_a_stuck_point_shows_what_it_showed_when_it_stuck() -> None:
    stuck = Fault(FaultKind.STUCK, gateway=KEY, point=POINT, from_s=100.0, for_s=400.0)
    values = [
        json.loads(message.payload)["values"][POINT]
        for run_s in range(90, 620, 10)
        for message in reporter(stuck).report(float(run_s), 0, ())
    ]
    during, after = values[1:41], values[41:]
    assert len(set(during)) == 1
    assert len(set(after)) > 1


def test_a_spike_is_beyond_what_any_sensor_can_show() -> None:
    kinds = [kind for kind in shipped_catalog().kinds.values() if not kind.internal]
    assert all(
        quantity.high < IMPOSSIBLE for kind in kinds for quantity in kind.quantities.values()
    )


def test_a_spike_makes_one_number_impossible() -> None:
    (message,) = told(reporter(Fault(FaultKind.SPIKE)), 1)
    values = json.loads(message.payload)["values"]
    assert [value for value in values.values() if value == IMPOSSIBLE] == [IMPOSSIBLE]
    assert len(values) == message.readings


def test_an_offline_gateway_keeps_its_readings_and_sends_them_back_in_order() -> None:
    away = reporter(Fault(FaultKind.OFFLINE, gateway=KEY, from_s=2.0, for_s=3.0))
    messages = told(away, 7)
    assert [message.channel for message in messages] == ["telemetry"] * 2 + ["backfill"] + [
        "telemetry"
    ] * 2
    backfill = json.loads(messages[2].payload)
    assert [one["seq"] for one in backfill] == [3, 4, 5]
    assert messages[2].reports == 3
    assert messages[2].readings == 3 * messages[0].readings


def test_a_long_absence_comes_back_in_parcels_that_a_broker_takes() -> None:
    away = reporter(Fault(FaultKind.OFFLINE, gateway=KEY))
    assert told(away, 1200) == []
    parcels = away.rest()
    assert len(parcels) > 1
    assert all(len(parcel.payload) < 200_000 for parcel in parcels)
    assert [n for p in parcels for n in (one["seq"] for one in json.loads(p.payload))] == list(
        range(1, 1201)
    )


def test_gateways_with_an_offline_or_stuck_fault_are_spared_incidents() -> None:
    weather = Weather(
        [
            Fault(FaultKind.OFFLINE, "A/1"),
            Fault(FaultKind.STUCK, "A/2", "X.lel"),
            Fault(FaultKind.SPIKE, "A/3"),
        ],
        1,
    )
    assert weather.spared() == {"A/1", "A/2"}
