"""Scenario files: what they may say, and what is said of a wrong one."""

from importlib import resources

import pytest

from hazardloop.simulators.district import build_district
from hazardloop.simulators.errors import ScenarioUnreadable
from hazardloop.simulators.faults import Fault, FaultKind
from hazardloop.simulators.field import sites_of
from hazardloop.simulators.incidents import Hazard, Pace
from hazardloop.simulators.scenario_file import Scenario, Start, parse_scenario
from hazardloop.simulators.scenarios import incidents_of, places_of


def test_the_packaged_scenario_is_the_default_one() -> None:
    text = (resources.files("hazardloop.simulators") / "district.yaml").read_text("utf-8")
    packaged = parse_scenario(text)
    assert packaged.thresholds.delay_p99_s == 10.0
    default = Scenario()
    for name in (
        "seed",
        "gateways",
        "points",
        "interval_s",
        "speed",
        "first_s",
        "every_s",
        "hazards",
    ):
        assert getattr(packaged, name) == getattr(default, name), name
    assert packaged.faults == ()
    assert packaged.starts is None


def test_an_empty_file_is_the_default_scenario() -> None:
    assert parse_scenario("") == Scenario()


def test_incidents_can_be_named_one_by_one() -> None:
    scenario = parse_scenario(
        "incidents: [{hazard: smoke, at_s: 9, device: SD-0104}, {hazard: gas_leak, at_s: 3}]"
    )
    assert scenario.starts == (
        Start(Hazard.SMOKE, 9.0, "SD-0104"),
        Start(Hazard.GAS_LEAK, 3.0, None),
    )


def test_faults_are_read() -> None:
    scenario = parse_scenario(
        "faults: [{kind: clock_skew, gateway: CHEM/GW-01, seconds: -30}, {kind: spike, share: 0.1}]"
    )
    assert scenario.faults == (
        Fault(FaultKind.CLOCK_SKEW, "CHEM/GW-01", seconds=-30.0),
        Fault(FaultKind.SPIKE, share=0.1),
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("gateways: 0", "gateways: Input should be greater", id="no gateway"),
        pytest.param("sped: 2", "sped: Extra inputs", id="unknown key"),
        pytest.param("speed: [", "not YAML", id="no YAML"),
        pytest.param("- 1", "file: Input should be", id="a list"),
        pytest.param("faults: [{kind: offline}]", "offline needs gateway", id="offline who"),
        pytest.param("faults: [{kind: stuck, gateway: A/B}]", "stuck needs point", id="stuck what"),
        pytest.param("faults: [{kind: flood}]", "faults.0.kind", id="unknown fault"),
        pytest.param("faults: [{kind: spike, share: 2}]", "faults.0.share", id="share over one"),
        pytest.param("incidents: [{hazard: quake, at_s: 1}]", "hazard", id="unknown hazard"),
    ],
)
def test_a_wrong_file_is_refused_with_the_place(text: str, said: str) -> None:
    with pytest.raises(ScenarioUnreadable, match="(?s)that.yaml.*" + said):
        parse_scenario(text, "that.yaml")


def test_named_incidents_come_in_the_order_of_time_at_their_devices() -> None:
    district = build_district()
    places = places_of(district, sites_of(district, 1))
    device = next(p.device.code for p in places if p.device.kind == "elevator")
    scenario = Scenario(
        starts=(Start(Hazard.ENTRAPMENT, 30.0, device), Start(Hazard.SMOKE, 5.0, None))
    )
    incidents = list(incidents_of(scenario, Pace(1.0, 5.0), places))
    assert [incident.hazard for incident in incidents] == [Hazard.SMOKE, Hazard.ENTRAPMENT]
    assert [incident.start_s for incident in incidents] == [5.0, 30.0]
    assert incidents[1].device == device


def test_an_incident_at_a_device_of_another_kind_is_refused() -> None:
    district = build_district()
    places = places_of(district, sites_of(district, 1))
    device = next(p.device.code for p in places if p.device.kind == "tank")
    scenario = Scenario(starts=(Start(Hazard.SMOKE, 5.0, device),))
    with pytest.raises(ScenarioUnreadable, match=device):
        incidents_of(scenario, Pace(1.0, 5.0), places)
