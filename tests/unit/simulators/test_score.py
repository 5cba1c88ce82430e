"""Figures of a run: what counts as found, missed, unexpected, late."""

from dataclasses import replace

import pytest

from hazardloop.simulators.logbook import TruthRecord, rfc3339
from hazardloop.simulators.scenario_file import Thresholds
from hazardloop.simulators.score import SeenAlarm, score

ZERO = 1_795_300_000.0


def truth(point: str = "GD-1.lel", at_s: float = 10.0, **changes: str) -> TruthRecord:
    return {
        "incident": "00001-gas_leak",
        "hazard": "gas_leak",
        "enterprise": "CHEM",
        "gateway": "GW-01",
        "device": point.partition(".")[0],
        "point": point,
        "rule": "gas_detector.lel.high",
        "tier": "orange",
        "earliest": rfc3339(ZERO + at_s),
        "latest": rfc3339(ZERO + at_s + 8.0),
        "cleared_from": rfc3339(ZERO + at_s + 60.0),
    } | changes


def alarm(point: str = "GD-1.lel", at_s: float = 12.0) -> SeenAlarm:
    raised = ZERO + at_s
    rule = "gas_detector.lel.high"
    return SeenAlarm("CHEM", "GW-01", point, rule, "orange", False, raised, raised + 0.5)


END = ZERO + 1000.0


def test_what_was_foretold_and_raised_is_a_full_score() -> None:
    found = score([truth()], [alarm()], END)
    assert (found.recall, found.precision, found.duplicates) == (1.0, 1.0, 0)
    assert found.delay_p50_s == pytest.approx(2.5)
    assert found.shortfalls(Thresholds()) == []


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(replace(alarm(), tier="yellow"), id="another tier"),
        pytest.param(replace(alarm(), point="GD-2.lel"), id="another point"),
        pytest.param(replace(alarm(), rule="gas_detector.lel.stale"), id="another rule"),
        pytest.param(replace(alarm(), enterprise="FINE"), id="another enterprise"),
        pytest.param(alarm(at_s=9.0), id="before it can have begun"),
        pytest.param(alarm(at_s=19.0), id="after it must have been seen"),
    ],
)
def test_an_alarm_that_is_not_quite_the_right_one_is_not_found(wrong: SeenAlarm) -> None:
    found = score([truth()], [wrong], END)
    assert found.recall == 0.0
    assert found.missed == ("GD-1.lel",)
    assert found.shortfalls(Thresholds(recall=0.5)) != []


def test_an_alarm_without_reason_costs_precision() -> None:
    found = score([truth()], [alarm(), alarm("GD-7.lel")], END)
    assert (found.recall, found.precision) == (1.0, 0.5)
    assert found.unexpected == ("GD-7.lel",)


def test_the_same_alarm_twice_is_a_duplicate() -> None:
    found = score([truth()], [alarm(), alarm(at_s=13.0)], END)
    assert (found.recall, found.duplicates, found.precision) == (1.0, 1, 0.5)


def test_what_could_not_yet_be_raised_when_the_run_ended_is_not_asked_for() -> None:
    found = score([truth(), truth("GD-2.lel", at_s=995.0)], [alarm()], END)
    assert (found.expected, found.recall) == (1, 1.0)
    early = score(
        [truth(), truth("GD-2.lel", at_s=995.0)], [alarm(), alarm("GD-2.lel", 996.0)], END
    )
    assert early.unexpected == ()


def test_a_tier_may_still_rise_while_the_incident_lasts() -> None:
    rising = replace(alarm(), tier="yellow")
    assert score([truth()], [rising], ZERO + 30.0).recall == 1.0


def test_silence_of_a_gateway_that_was_taken_offline_counts_neither_way() -> None:
    silent = replace(alarm("TK-1.level"), rule="tank.level.stale", stale=True)
    assert score([], [silent], END, frozenset({"CHEM/GW-01"})).alarms == 0
    assert score([], [silent], END).unexpected == ("TK-1.level",)


def test_lost_and_extra_readings_do_not_cancel_each_other() -> None:
    found = score([], [], END, stored={"A.lel": (10, 8), "B.lel": (10, 13), "C.lel": (5, 5)})
    assert (found.lost, found.extra) == (2, 3)
    assert found.shortfalls(Thresholds(lost=2)) == ["extra readings 3"]


def test_a_run_without_anything_to_raise_has_no_delay_and_full_shares() -> None:
    found = score([], [], END)
    assert (found.recall, found.precision, found.delay_p99_s) == (1.0, 1.0, None)
