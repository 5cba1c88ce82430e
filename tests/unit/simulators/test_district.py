"""The invented district has what the demo promises, and only points that report."""

import re

import pytest

from hazardloop.devices.catalog import shipped_catalog
from hazardloop.simulators.district import LIFT_EVENTS, District, build_district
from hazardloop.simulators.field import readings_at, sites_of

CODE = re.compile(r"[A-Za-z0-9_-]{1,64}")


@pytest.fixture(scope="module")
def district() -> District:
    return build_district()


def test_the_demo_has_the_promised_size(district: District) -> None:
    fleet = district.fleet()
    devices = [device for _, gateway in fleet for device in gateway.devices]
    telling = [q for device in devices for q in device.quantities if q not in LIFT_EVENTS]
    assert len(district.enterprises) >= 9
    assert len(fleet) >= 50
    assert len(telling) >= 1000
    assert {device.kind for device in devices} == {
        "gas_detector", "tank", "elevator", "smoke_detector"
    }  # fmt: skip


def test_every_gateway_has_devices_and_every_enterprise_gateways(district: District) -> None:
    assert all(enterprise.gateways for enterprise in district.enterprises)
    assert all(gateway.devices for _, gateway in district.fleet())


@pytest.mark.parametrize(("gateways", "points"), [(56, 1200), (1, 1), (3, 5000), (500, 20_000)])
def test_codes_fit_a_topic_and_are_unique(gateways: int, points: int) -> None:
    district = build_district(1, gateways, points)
    enterprises = [e.code for e in district.enterprises]
    gateway_codes = [g.code for e in district.enterprises for g in e.gateways]
    units = [u.code for e in district.enterprises for u in e.hazard_units]
    devices = [d.code for e in district.enterprises for g in e.gateways for d in g.devices]
    for codes in (enterprises, gateway_codes, units, devices):
        assert all(CODE.fullmatch(code) for code in codes)
        assert len(set(codes)) == len(codes)


@pytest.mark.parametrize(("gateways", "points"), [(1, 10), (60, 1000), (100, 5000)])
def test_a_district_is_as_large_as_asked(gateways: int, points: int) -> None:
    district = build_district(1, gateways, points)
    assert len(district.fleet()) == gateways
    fleet_points = sum(len(d.quantities) for _, g in district.fleet() for d in g.devices)
    assert points <= fleet_points <= points + 10 + 10 * gateways


def test_a_district_without_gateways_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        build_district(gateways=0)


def test_the_same_seed_gives_the_same_district(district: District) -> None:
    assert build_district() == district
    assert build_district(seed=2) != district
    assert build_district(seed=2).points() == district.points()


def test_grades_are_those_of_the_standard_and_some_are_missing(district: District) -> None:
    grades = [unit.grade for e in district.enterprises for unit in e.hazard_units]
    assert {1, 2, 3, 4, None} == set(grades)


def test_devices_name_hazard_units_of_their_own_enterprise(district: District) -> None:
    for enterprise in district.enterprises:
        own = {unit.code for unit in enterprise.hazard_units} | {None}
        assert all(d.hazard_unit in own for g in enterprise.gateways for d in g.devices)


def test_try_has_one_device_of_each_kind_that_no_fleet_touches(district: District) -> None:
    assert district.enterprises[-1].code == district.try_enterprise
    (gateway,) = district.enterprises[-1].gateways
    assert gateway.code == district.try_gateway
    assert {d.code: d.kind for d in gateway.devices} == {
        "GD-TRY": "gas_detector",
        "TK-TRY": "tank",
        "EL-TRY": "elevator",
        "SD-TRY": "smoke_detector",
    }
    assert all(d.hazard_unit is None for d in gateway.devices)
    assert all(d.expected_interval_s == 86_400 for d in gateway.devices)
    assert all(enterprise != district.try_enterprise for enterprise, _ in district.fleet())


def test_registered_quantities_are_those_of_the_catalogue(district: District) -> None:
    kinds = shipped_catalog().kinds
    for enterprise in district.enterprises:
        for gateway in enterprise.gateways:
            for device in gateway.devices:
                assert set(device.quantities) <= set(kinds[device.kind].quantities)
                assert len(set(device.quantities)) == len(device.quantities)


def test_every_registered_point_reports_and_no_other_does(district: District) -> None:
    sites = sites_of(district, seed=1)
    for site, (enterprise, gateway) in zip(sites, district.fleet(), strict=True):
        registered = {f"{d.code}.{q}" for d in gateway.devices for q in d.quantities}
        events = {f"{lift}.{event}" for lift in site.lifts for event in LIFT_EVENTS}
        assert (site.enterprise, site.gateway) == (enterprise, gateway.code)
        assert set(readings_at(site, 1, 10.0)) | events == registered


def test_undisturbed_devices_show_what_their_kind_can_show(district: District) -> None:
    kinds = shipped_catalog().kinds
    for site, (_, gateway) in zip(sites_of(district, seed=1), district.fleet(), strict=True):
        kind_of = {device.code: device.kind for device in gateway.devices}
        for t_s in (0.0, 21_600.0, 64_800.0):
            for point, value in readings_at(site, 1, t_s).items():
                device, _, code = point.rpartition(".")
                quantity = kinds[kind_of[device]].quantities[code]
                assert quantity.low <= value <= quantity.high, point
                assert isinstance(value, bool) == (quantity.type.value == "boolean"), point
