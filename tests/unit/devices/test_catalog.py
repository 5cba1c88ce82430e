"""The catalogue: what the shipped files say, and how a wrong one is refused."""

import json
import math

import pytest

from hazardloop.devices.catalog import QuantityType, kind_json, load_catalog, shipped_catalog
from hazardloop.devices.marked_yaml import DEEPEST, FileRefused, Problem, read_marked

PUMP = """\
kind: pump
name: {zh: 泵, en: Pump}
expected_interval_s: 10
quantities:
  flow: {name: {zh: 流量, en: Flow}, unit: m3/h, range: [0, null], resolution: 0.1}
  running: {name: {zh: 运行, en: Running}, unit: "1", type: boolean}
"""
CORE = {"gas_detector", "tank", "elevator", "smoke_detector"}
FURTHER = {
    "ammonia_detector", "anemometer", "battery_storage", "confined_space_monitor", "deep_pit",
    "dust_collector", "dust_monitor", "electrical_fire_detector", "fire_water_level",
    "fire_water_pressure", "hazard_level", "household_gas_alarm", "manhole_gas", "oxygen_detector",
    "people_counter", "pipeline_pressure", "pressure_sensor", "scale", "slope_monitor",
    "tailings_pond", "temperature_sensor", "tilt_sensor", "toxic_gas", "underpass_water",
    "vibration_sensor",
}  # fmt: skip


def refused(text: str, name: str = "pump.yaml") -> list[str]:
    with pytest.raises(FileRefused) as caught:
        load_catalog({name: text})
    return [str(problem) for problem in caught.value.problems]


def test_the_shipped_catalogue_has_the_quantities_of_the_contract() -> None:
    kinds = shipped_catalog().kinds
    units = {
        kind: {code: quantity.unit for code, quantity in each.quantities.items()}
        for kind, each in kinds.items()
        if kind in CORE
    }
    assert units == {
        "gas_detector": {"lel": "%{LEL}", "ppm": "[ppm]", "in_service": "1", "fault": "1"},
        "tank": {"level": "m", "pressure": "kPa", "temperature": "Cel", "in_service": "1"},
        "elevator": {
            "entrapment": "1", "door_open_run": "1", "overspeed": "1", "non_level_stop": "1",
            "repeated_door_failure": "1", "safety_circuit": "1", "floor": "{floor}",
            "speed": "m/s", "door": "1", "in_service": "1",
        },
        "smoke_detector": {
            "smoke": "1", "fault": "1", "battery": "%", "tamper": "1", "temperature": "Cel",
        },
    }  # fmt: skip


def test_the_shipped_catalogue_covers_the_common_instruments() -> None:
    kinds = shipped_catalog().kinds
    assert {kind.code for kind in kinds.values() if not kind.internal} == CORE | FURTHER
    for kind in (kinds[code] for code in CORE | FURTHER):
        assert kind.marked.file == f"{kind.code}.yaml"
        numbers = [each for each in kind.quantities.values() if each.type is QuantityType.NUMBER]
        assert all(each.resolution and math.isfinite(each.high - each.low) for each in numbers)


def test_the_service_watches_its_gateways_and_itself() -> None:
    kinds = [kind for kind in shipped_catalog().kinds.values() if kind.internal]
    assert {kind.code: set(kind.quantities) for kind in kinds} == {
        "gateway": {"clock_offset", "dead_letter_share"},
        "platform": {"spool_fill", "path_silence"},
        "platform_canary": {"canary"},
    }


def test_what_legitimately_stands_still_or_jumps_is_not_doubted_for_it() -> None:
    kinds = shipped_catalog().kinds
    doubted = {
        f"{kind.code}.{quantity.code}": quantity.plausible
        for kind in kinds.values()
        for quantity in kind.quantities.values()
        if quantity.plausible is not None
    }
    stuck = {code for code, expected in doubted.items() if expected.still_s is not None}
    assert stuck == {"gas_detector.lel", "gas_detector.ppm"}
    assert set(doubted) == stuck | {"tank.level", "tank.pressure", "tank.temperature"}
    assert all(doubted[code].at_rest == 0 for code in stuck), "clean air is no fault"


@pytest.mark.parametrize(
    ("given", "line", "complaint"),
    [
        ("{gap_s: 60}", 5, "at least one of per_s, step, still_s is needed"),
        ("{gap_s: 60, per_s: -1}", 5, "found -1, input should be greater than 0"),
        ("{per_s: 1}", 5, "gap_s: it is needed and missing"),
        ("{gap_s: 60, per_s: 1, at_rest: 0}", 5, "at_rest is an exception to still_s"),
        ("{gap_s: 60, fast: 1}", 5, "fast: there is no such field"),
        ("{gap_s: .inf, per_s: 1}", 5, "gap_s"),
    ],
)
def test_a_wrong_expectation_is_refused_with_its_line(
    given: str, line: int, complaint: str
) -> None:
    text = PUMP.replace("resolution: 0.1}", f"resolution: 0.1, plausible: {given}}}")
    (problem,) = refused(text)
    assert problem.startswith(f"pump.yaml:{line}: ")
    assert complaint in problem


def test_only_numbers_have_a_plausible_course() -> None:
    text = PUMP.replace("type: boolean}", "type: boolean, plausible: {gap_s: 1, still_s: 60}}")
    assert "plausible is for numbers" in refused(text)[0]


def test_what_a_lift_recognises_itself_is_an_event() -> None:
    quantities = shipped_catalog().kinds["elevator"].quantities.values()
    events = {each.code for each in quantities if each.type is QuantityType.EVENT}
    assert events == {
        "entrapment", "door_open_run", "overspeed", "non_level_stop", "repeated_door_failure",
        "safety_circuit",
    }  # fmt: skip


def test_a_detector_driven_over_its_scale_is_still_physically_possible() -> None:
    lel = shipped_catalog().quantity("gas_detector", "lel")
    assert lel is not None
    assert lel.low < 0 < 100 < lel.high


def test_a_kind_is_shown_as_json() -> None:
    for kind in shipped_catalog().kinds.values():
        shown = json.loads(json.dumps(kind_json(kind)))
        assert shown["code"] == kind.code
        assert len(shown["rules"]) == len(kind.rules)
    (flow, running) = kind_json(load_catalog({"pump.yaml": PUMP}).kinds["pump"])["quantities"]
    assert flow["range"] == [0.0, None]
    assert running["range"] == [0.0, 1.0]


def test_an_open_range_has_no_end() -> None:
    flow = load_catalog({"pump.yaml": PUMP}).quantity("pump", "flow")
    assert flow is not None
    assert (flow.low, flow.high) == (0.0, math.inf)


def test_what_is_not_known_is_none() -> None:
    catalog = load_catalog({"pump.yaml": PUMP})
    assert catalog.quantity("pump", "colour") is None
    assert catalog.quantity("valve", "flow") is None


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        pytest.param("", "colour: red\n",
                     "pump.yaml:1: device kind: colour: there is no such field",
                     id="an unknown key is refused where it stands"),
        pytest.param("expected_interval_s: 10\n", "",
                     "pump.yaml:1: device kind: expected_interval_s: it is needed and missing",
                     id="a missing key is named"),
        pytest.param("interval_s: 10", "interval_s: -1",
                     "pump.yaml:3: device kind: expected_interval_s: found -1, "
                     "input should be greater than 0", id="a wrong value is shown"),
        pytest.param("interval_s: 10", "interval_s: '10'",
                     "pump.yaml:3: device kind: expected_interval_s: found '10', "
                     "input should be a valid number", id="nothing is guessed from a text"),
        pytest.param("[0, null]", "[5, 0]",
                     "pump.yaml:5: device kind: quantities.flow: range: found [5.0, 0.0], "
                     "the first must be below the second", id="a range runs upwards"),
        pytest.param("range: [0, null], ", "",
                     "pump.yaml:5: device kind: quantities.flow: a number needs its range: "
                     "[least, most] possible; null = open", id="a number has a range"),
        pytest.param('unit: "1", type: boolean', "unit: V, type: boolean",
                     "pump.yaml:6: device kind: quantities.running: a boolean has the unit '1' "
                     "and no range: it is 0 or 1", id="a boolean has no unit"),
        pytest.param("  running:", "  flow:", "pump.yaml:6: 'flow' is given twice",
                     id="a key given twice is no silent winner"),
        pytest.param("kind: pump", "kind: [pump",
                     "pump.yaml:2: not YAML: expected ',' or ']', but got ':'",
                     id="text that is no YAML has a line too"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_refused_with_its_line(old: str, new: str, expected: str) -> None:
    text = PUMP.replace(old, new, 1) if old else new + PUMP
    assert refused(text) == [expected]


def test_every_problem_of_every_file_is_told_at_once() -> None:
    with pytest.raises(FileRefused) as caught:
        load_catalog({"a.yaml": PUMP.replace("10", "0"), "b.yaml": "kind: 3"})
    assert {problem.file for problem in caught.value.problems} == {"a.yaml", "b.yaml"}
    assert len(caught.value.problems) >= 4


def test_a_kind_in_two_files_is_refused() -> None:
    with pytest.raises(FileRefused) as caught:
        load_catalog({"a.yaml": PUMP, "b.yaml": PUMP})
    assert caught.value.problems == (
        Problem("b.yaml", 1, "'pump' is already in a.yaml", ("kind",)),
    )


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="an empty file"),
        pytest.param("# nothing\n", id="only a comment"),
        pytest.param("[" * (DEEPEST + 1) + "]" * (DEEPEST + 1), id="nested without end"),
        pytest.param("&a [*a]", id="a list that holds itself"),
        pytest.param(
            "a: !!python/object/apply:os.system [ls]", id="a tag that would run something"
        ),
        pytest.param("a: 1\n---\nb: 2\n", id="two documents"),
        pytest.param(
            "a: &a [1, 1, 1, 1, 1, 1, 1, 1]\n"
            + "".join(
                f"{this}: &{this} [{', '.join([f'*{before}'] * 8)}]\n"
                for before, this in zip("abcdef", "bcdefg", strict=True)
            ),
            id="a few lines that grow to millions of values",
        ),
    ],
)
def test_a_text_beyond_measure_is_refused(text: str) -> None:
    with pytest.raises(FileRefused):
        read_marked(text, "x.yaml")
