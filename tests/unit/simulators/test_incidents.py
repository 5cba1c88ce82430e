"""What incidents say must be raised is what the catalogue's rules do raise, and nothing else."""

import random
from collections.abc import Iterator
from itertools import islice, takewhile

import numpy as np
import pytest

from hazardloop.alarms.alarm import Change, ChangeKind
from hazardloop.alarms.evaluation import evaluate
from hazardloop.alarms.memory import new_memory
from hazardloop.alarms.rule_table import compile_rules
from hazardloop.alarms.rules import catalogue_rules
from hazardloop.devices.catalog import shipped_catalog
from hazardloop.devices.drafting import build_registry
from hazardloop.devices.readings import Readings
from hazardloop.devices.registry import GatewayRecord, PointRecord, Registry
from hazardloop.simulators.district import LIFT_EVENTS, District, build_district
from hazardloop.simulators.field import Site, readings_at, sites_of
from hazardloop.simulators.hazards import incident_at
from hazardloop.simulators.incidents import KIND_OF, Hazard, Incident, Pace
from hazardloop.simulators.logbook import rfc3339, truth_record
from hazardloop.simulators.scenario_file import Scenario
from hazardloop.simulators.scenarios import places_of, schedule
from hazardloop.simulators.score import Score, SeenAlarm, score

EPOCH_S = 1_795_300_000
SEED = 1


def registry_of(district: District) -> Registry:
    catalog = shipped_catalog()
    points: list[PointRecord] = []
    gateways: list[GatewayRecord] = []
    for enterprise_id, enterprise in enumerate(district.enterprises, 1):
        grades = {unit.code: unit.grade or 0 for unit in enterprise.hazard_units}
        for gateway in enterprise.gateways:
            gateways.append(
                GatewayRecord(len(gateways) + 1, gateway.code, enterprise_id, enterprise.code)
            )
            for device in gateway.devices:
                kind = catalog.kinds[device.kind]
                for code in device.quantities:
                    quantity = kind.quantities[code]
                    points.append(
                        PointRecord(
                            point_id=len(points) + 1,
                            quantity=code,
                            unit=quantity.unit,
                            type=quantity.type.value,
                            low=quantity.low,
                            high=quantity.high,
                            interval_s=device.expected_interval_s or kind.expected_interval_s,
                            registered_at_us=EPOCH_S * 1_000_000,
                            device_id=len(points) + 1,
                            device=device.code,
                            kind=device.kind,
                            tags=device.tags,
                            gateway_id=len(gateways),
                            gateway=gateway.code,
                            enterprise_id=enterprise_id,
                            enterprise=enterprise.code,
                            grade=grades.get(device.hazard_unit or "", 0),
                        )
                    )
    return build_registry(1, gateways, points)


def telling(
    sites: tuple[Site, ...], incidents: list[Incident], pace: Pace, until_s: float
) -> Iterator[tuple[float, str, float]]:
    """(real second of the run, point, value) as the fleet would report them."""
    for number, site in enumerate(sites):
        here = [
            i for i in incidents if (i.enterprise, i.gateway) == (site.enterprise, site.gateway)
        ]
        due = np.arange(number / len(sites) * pace.interval_s, until_s, pace.interval_s).tolist()
        due += [at_s / pace.speed + 0.1 for i in here for at_s in i.reports_s]
        for run_s in due:
            t_s = run_s * pace.speed
            effects = [e for i in here if i.start_s <= t_s <= i.end_s for e in i.effects]
            for point, value in readings_at(site, SEED, t_s, effects).items():
                yield run_s, point, float(value)
        for event in (event for incident in here for event in incident.events):
            if event.event == "normal":
                for each in LIFT_EVENTS:
                    yield event.at_s / pace.speed, f"{event.device}.{each}", 0.0
            else:
                active = float(event.body["active"])
                yield event.at_s / pace.speed, f"{event.device}.{event.event}", active


def alarms_of(
    district: District, incidents: list[Incident], pace: Pace, until_s: float
) -> list[SeenAlarm]:
    """What the rules of the catalogue make of it."""
    registry = registry_of(district)
    table = compile_rules(catalogue_rules(shipped_catalog()), registry)
    row_of = {point.code: row for row, point in enumerate(registry.points)}
    told = sorted(telling(sites_of(district, SEED), incidents, pace, until_s))
    told = [reading for reading in told if reading[0] <= until_s]
    at_us = np.array([round((EPOCH_S + run_s) * 1e6) for run_s, _, _ in told], np.int64)
    readings = Readings(
        row=np.array([row_of[point] for _, point, _ in told], np.int32),
        observed_at=at_us,
        received_at=at_us,
        value=np.array([value for _, _, value in told]),
        quality=np.zeros(len(told), np.int16),
        message=np.zeros(len(told), np.int32),
    )
    worst: dict[str, Change] = {}
    raised: dict[str, Change] = {}
    for change in evaluate(table, new_memory(table), readings).changes:
        key = str(change.alarm_id)
        if change.kind is ChangeKind.RAISED:
            raised[key] = worst[key] = change
        elif change.tier > worst[key].tier:
            worst[key] = change
    return [
        SeenAlarm(
            enterprise=registry.points[first.row].enterprise,
            gateway=registry.points[first.row].gateway,
            point=registry.points[first.row].code,
            rule=first.rule_id,
            tier=worst[key].tier.wire,
            stale=first.direction == "stale",
            raised_s=first.raised_at_us / 1e6,
            recorded_s=first.raised_at_us / 1e6,
        )
        for key, first in raised.items()
    ]


def played(district: District, scenario: Scenario, pace: Pace, until_s: float) -> Score:
    places = places_of(district, sites_of(district, SEED))
    incidents = list(
        takewhile(
            lambda each: each.start_s / pace.speed < until_s, schedule(scenario, pace, places)
        )
    )
    alarms = alarms_of(district, incidents, pace, until_s)
    truths = [truth_record(t, float(EPOCH_S)) for i in incidents for t in i.truths]
    return score(truths, alarms, EPOCH_S + until_s)


@pytest.mark.parametrize(
    ("seed", "speed", "interval_s", "until_s"),
    [
        pytest.param(1, 1.0, 5.0, 600.0, id="as in the demo"),
        pytest.param(2, 1.0, 15.0, 900.0, id="when gateways report seldom"),
        pytest.param(3, 10.0, 1.0, 90.0, id="at ten times the speed"),
    ],
)
def test_the_rules_raise_exactly_what_the_incidents_foretell(
    seed: int, speed: float, interval_s: float, until_s: float
) -> None:
    district = build_district(SEED, gateways=27, points=600)
    scenario = Scenario(seed=seed, every_s=25.0)
    result = played(district, scenario, Pace(speed, interval_s), until_s)
    assert result.expected > 10
    assert result.missed == ()
    assert result.unexpected == ()
    assert result.duplicates == 0
    assert (result.recall, result.precision) == (1.0, 1.0)


def test_without_incidents_no_alarm_is_raised() -> None:
    district = build_district(SEED, gateways=27, points=600)
    assert alarms_of(district, [], Pace(1.0, 90.0), 7_200.0) == []


@pytest.mark.parametrize("hazard", list(Hazard))
@pytest.mark.parametrize("speed", [1.0, 10.0])
def test_an_incident_ends_by_itself_within_minutes(hazard: Hazard, speed: float) -> None:
    district = build_district(SEED)
    pace = Pace(speed, 5.0 / speed)
    for place in places_of(district, sites_of(district, SEED)):
        if place.device.kind != KIND_OF[hazard]:
            continue
        incident = incident_at(place, hazard, "1", 1000.0, pace, random.Random(1))
        assert 60.0 <= incident.end_s - 1000.0 <= 300.0
        calm = readings_at(place.site, SEED, incident.end_s + 1.0)
        shown = readings_at(place.site, SEED, incident.end_s + 1.0, incident.effects)
        for point, value in shown.items():
            assert value == pytest.approx(calm[point], abs=3.0), point


@pytest.mark.parametrize("hazard", list(Hazard))
def test_every_incident_foretells_an_alarm_at_its_device(hazard: Hazard) -> None:
    district = build_district(SEED)
    for place in places_of(district, sites_of(district, SEED)):
        if place.device.kind == KIND_OF[hazard]:
            incident = incident_at(place, hazard, "1", 0.0, Pace(1.0, 5.0), random.Random(7))
            assert place.device.code in {truth.device for truth in incident.truths}
            for truth in incident.truths:
                assert 0.0 < truth.earliest_s <= truth.latest_s < truth.cleared_from_s


def test_an_overfilling_pump_is_a_plausible_one() -> None:
    district = build_district(SEED)
    sites = sites_of(district, SEED)
    places = places_of(district, sites)
    scenario = Scenario(hazards=(Hazard.TANK_OVERFILL,))
    for incident in islice(schedule(scenario, Pace(1.0, 5.0), places), 40):
        site = next(site for site in sites if site.gateway == incident.gateway)
        number = site.tanks.index(incident.device)
        t_s = np.arange(incident.start_s, incident.end_s, 5.0).tolist()
        levels = [
            readings_at(site, SEED, t, incident.effects)[f"{incident.device}.level"] for t in t_s
        ]
        m3_h = np.diff(levels).max() / 5.0 * site.tank.area_m2[number] * 3600.0
        assert 20.0 < m3_h < 900.0
        assert max(levels) < site.tank.height_m[number]


def test_the_schedule_is_repeatable_and_starts_with_a_gas_leak_at_once() -> None:
    places = places_of(build_district(SEED), sites_of(build_district(SEED), SEED))
    pace = Pace(1.0, 5.0)
    first = list(islice(schedule(Scenario(seed=4), pace, places), 12))
    assert first == list(islice(schedule(Scenario(seed=4), pace, places), 12))
    assert first != list(islice(schedule(Scenario(seed=5), pace, places), 12))
    assert first[0].hazard is Hazard.GAS_LEAK
    assert first[0].start_s <= 5.0
    assert min(truth.latest_s for truth in first[0].truths) < 20.0


def test_the_schedule_brings_each_hazard_in_turn_about_once_a_minute() -> None:
    places = places_of(build_district(SEED), sites_of(build_district(SEED), SEED))
    incidents = list(islice(schedule(Scenario(), Pace(1.0, 5.0), places), 40))
    for turn in range(0, 40, 4):
        assert {incident.hazard for incident in incidents[turn : turn + 4]} == set(Hazard)
    gaps = np.diff([incident.start_s for incident in incidents])
    assert gaps.min() >= 45.0
    assert gaps.max() <= 75.0


def test_no_gateway_is_struck_while_it_may_still_be_alarmed() -> None:
    places = places_of(build_district(SEED), sites_of(build_district(SEED), SEED))
    until: dict[str, float] = {}
    for incident in islice(schedule(Scenario(every_s=10.0), Pace(1.0, 5.0), places), 200):
        assert incident.start_s > until.get(incident.gateway, -1.0) + 90.0 * (
            incident.gateway in until
        )
        until[incident.gateway] = incident.end_s


def test_the_fleet_never_strikes_try() -> None:
    district = build_district(SEED)
    places = places_of(district, sites_of(district, SEED))
    assert {place.site.gateway for place in places} == {g.code for _, g in district.fleet()}
    assert rfc3339(0.0) == "1970-01-01T00:00:00.000Z"
