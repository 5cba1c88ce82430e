"""Rule files: what they may say, where a mistake is, and which limits stand at which point."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hazardloop.alarms.alarm import Tier
from hazardloop.alarms.evaluation import evaluate, tick
from hazardloop.alarms.memory import new_memory
from hazardloop.alarms.rule import Rule, Select, Silence, Threshold
from hazardloop.alarms.rule_table import RuleTable, compile_rules
from hazardloop.alarms.rule_watches import PointFacts, selects
from hazardloop.alarms.rules import catalogue_rules, check, definition_of, load_rules
from hazardloop.devices.catalog import shipped_catalog
from hazardloop.devices.marked_yaml import FileRefused
from tests.unit.alarms.site import high, point, readings, registry, rule, told, us

CATALOG = shipped_catalog()
RULES = catalogue_rules(CATALOG)

FILE = """\
rules:
  - id: plant.lel
    kind: threshold
    quantity: lel
    name: {zh: 浓度高, en: Gas high}
    select: {kind: gas_detector}
    high: {yellow: 20, orange: 40}
    deadband: 2
    source: plant
    confidence: house
    guidance: {zh: 查, en: Look}
"""


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        pytest.param("kind: threshold", "kind: leakage", 3,
                     "rule plant.lel: not a rule kind of this version: 'leakage', "
                     "allowed: aggregate, balance, deviation, frequency, rate_of_change, stale, "
                     "state, stuck, threshold, time_to_limit, voting",
                     id="a rule kind that is not there"),
        pytest.param("    kind: threshold\n", "", 2,
                     "rule plant.lel: not a rule kind of this version: None, "
                     "allowed: aggregate, balance, deviation, frequency, rate_of_change, stale, "
                     "state, stuck, threshold, time_to_limit, voting", id="no rule kind"),
        pytest.param("deadband: 2", "dead_band: 2", 8,
                     "rule plant.lel: dead_band: there is no such field", id="an unknown field"),
        pytest.param("deadband: 2", "deadband: -2", 8,
                     "rule plant.lel: deadband: found -2, input should be greater than or equal to "
                     "0", id="a deadband below zero"),
        pytest.param("deadband: 2", "deadband: .nan", 8,
                     "rule plant.lel: deadband: found nan, input should be a finite number",
                     id="a deadband that is no number"),
        pytest.param("orange: 40", "orange: 10", 2,
                     "rule plant.lel: limits must rise from blue to red, found [20.0, 10.0]",
                     id="high limits that fall"),
        pytest.param("high: {yellow: 20, orange: 40}", "low: {yellow: 20, orange: 40}", 2,
                     "rule plant.lel: limits must fall from blue to red, found [20.0, 40.0]",
                     id="low limits that rise"),
        pytest.param("    high: {yellow: 20, orange: 40}\n", "", 2,
                     "rule plant.lel: either high or low is needed; for both sides write two rules",
                     id="no limit"),
        pytest.param("yellow: 20", "purple: 20", 7,
                     "rule plant.lel: high.purple.[key]: found 'purple', input should be 'blue', "
                     "'yellow', 'orange' or 'red'", id="a tier that is not there"),
        pytest.param("orange: 40", "orange: 400", 7,
                     "rule plant.lel: limit 400 outside -5..110 %{LEL}: lel never reaches it",
                     id="a limit that no value reaches"),
        pytest.param("quantity: lel", "quantity: lol", 4,
                     "rule plant.lel: gas_detector has no quantity 'lol'",
                     id="a quantity the kind has not"),
        pytest.param("quantity: lel", "quantity: fault", 4,
                     "rule plant.lel: fault is a boolean: use kind: state",
                     id="a threshold on a boolean"),
        pytest.param("{kind: gas_detector}", "{grade: [1]}", 6,
                     "rule plant.lel: select.kind: found None, expected the kind of device that "
                     "the rule is for", id="no kind of device"),
        pytest.param("{kind: gas_detector}", "{kind: gas}", 6,
                     "rule plant.lel: select.kind: no kind of device 'gas'",
                     id="a kind of device that is not there"),
        pytest.param("{kind: gas_detector}", "{kind: gas_detector, grade: [5]}", 6,
                     "rule plant.lel: select.grade.0: found 5, input should be less than or equal "
                     "to 4", id="a grade beyond the standard"),
        pytest.param("deadband: 2", "worse_in_grades: [1]\n    on_delay_s: 100000", 9,
                     "rule plant.lel: on_delay_s: found 100000, input should be less than or equal "
                     "to 86400", id="a delay of more than a day"),
        pytest.param("orange: 40}", "red: 40}\n    worse_in_grades: [1]", 2,
                     "rule plant.lel: worse_in_grades: red cannot get worse, write a rule for "
                     "each grade", id="worse than red"),
        pytest.param("deadband: 2", "default_of: 2", 2,
                     "rule plant.lel: default_of stands in for a missing tag: name the tag in 'of'",
                     id="a stand-in for nothing"),
        pytest.param("deadband: 2", "deadband: 20", 8,
                     "rule plant.lel: deadband: 20 is no narrower than the band of 20 it lies in",
                     id="a deadband as wide as its band"),
        pytest.param("deadband: 2", "deadband_percent: 20", 8,
                     "rule plant.lel: deadband_percent: 23 is no narrower than the band of 20 it "
                     "lies in", id="a part of the span that is wider than the band"),
        pytest.param("deadband: 2", "deadband: 2\n    deadband_percent: 2", 2,
                     "rule plant.lel: deadband and deadband_percent say the same: write one of "
                     "them", id="two deadbands"),
        pytest.param("deadband: 2", "window: {from: '02:00', to: '25:00'}", 8,
                     "rule plant.lel: window.to: found '25:00', string should match pattern "
                     "'^([01][0-9]|2[0-3]):[0-5][0-9]$'", id="an hour that no day has"),
        pytest.param("deadband: 2", "window: {from: 22:00, to: '06:00'}", 8,
                     "rule plant.lel: window.from: found 1320: quote a time of day, YAML reads "
                     "22:00 as a number", id="a time of day that YAML reads as a number"),
        pytest.param("deadband: 2", "window: {from: '02:00', to: '02:05'}\n    on_delay_s: 300", 2,
                     "rule plant.lel: on_delay_s: found 300, the window is open for 300 s",
                     id="a delay that no window outlasts"),
        pytest.param("rules:", "regeln:", 1,
                     "a rule file has the one key 'rules', a list; a catalogue file begins with "
                     "'kind'", id="another file altogether"),
        pytest.param("id: plant.lel", "id: Plant LEL", 2,
                     "rule Plant LEL: id: found 'Plant LEL', string should match pattern "
                     r"'^[a-z][a-z0-9_]*(\.[a-z0-9_]+)*$'", id="an id that is none"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_line(old: str, new: str, line: int, message: str) -> None:
    assert old in FILE
    problems = check(FILE.replace(old, new, 1), "plant.yaml", CATALOG)
    assert [(problem.line, problem.message) for problem in problems] == [(line, message)]


def test_a_low_limit_above_a_high_one_of_the_same_values_is_refused() -> None:
    other = FILE.removeprefix("rules:\n").replace("plant.lel", "plant.lel.low")
    other = other.replace("high: {yellow: 20, orange: 40}", "low: {yellow: 20, orange: 10}")
    problems = check(FILE + other, "plant.yaml", CATALOG)
    assert [(each.line, each.message) for each in problems] == [
        (17, "rule plant.lel.low: low limit 20 is no lower than high limit 20, with rule plant.lel")
    ]
    elsewhere = other.replace("{kind: gas_detector}", "{kind: gas_detector, tags: {zone: a}}")
    assert check(FILE + elsewhere, "plant.yaml", CATALOG) == []
    assert check(FILE + other.replace("20", "19"), "plant.yaml", CATALOG) == []


BITS = (
    FILE.replace("kind: threshold", "kind: state")
    .replace("high: {yellow: 20, orange: 40}", "bits: [2]")
    .replace("deadband: 2", "tier: yellow")
)


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        pytest.param("bits: [2]", "bits: [2, 7]", 7,
                     "rule plant.lel: bit 7 is never set: lel reaches 110", id="beyond the range"),
        pytest.param("quantity: lel", "quantity: fault", 7,
                     "rule plant.lel: fault is a boolean: it has no bits, use equals",
                     id="of a boolean"),
        pytest.param("bits: [2]", "bits: [2]\n    equals: 4", 2,
                     "rule plant.lel: either equals or bits is needed", id="beside a value"),
        pytest.param("bits: [2]", "equals: 4\n    match: all_set", 2,
                     "rule plant.lel: match says how bits are to be: name them in 'bits'",
                     id="how, of nothing"),
    ],
)  # fmt: skip
def test_bits_that_cannot_be_are_refused(old: str, new: str, line: int, message: str) -> None:
    assert check(BITS, "plant.yaml", CATALOG) == []
    problems = check(BITS.replace(old, new, 1), "plant.yaml", CATALOG)
    assert [(problem.line, problem.message) for problem in problems] == [(line, message)]


def looking_back(kind: str, quantity: str, more: str) -> str:
    return (
        FILE.replace("kind: threshold", f"kind: {kind}")
        .replace("quantity: lel", f"quantity: {quantity}")
        .replace("high: {yellow: 20, orange: 40}", more)
        .replace("    deadband: 2\n", "")
    )


@pytest.mark.parametrize(
    ("kind", "quantity", "more", "messages"),
    [
        pytest.param("rate_of_change", "lel", "high: {yellow: 5}",
                     ["over_s: it is needed and missing"], id="no window"),
        pytest.param("rate_of_change", "lel", "high: {yellow: 5}\n    over_s: 60",
                     ["over_s: 60 s hold 2 readings at one each 30 s, min_readings is 6"],
                     id="a window too short for its readings"),
        pytest.param("aggregate", "lel", "high: {yellow: 5}\n    take: mean\n    over_s: 604800",
                     ["over_s: 604800 s at one reading each 30 s are 20160 readings, at most 4096 "
                      "are kept"], id="a window that does not fit"),
        pytest.param("aggregate", "lel", "high: {yellow: 500}\n    take: max\n    over_s: 600",
                     ["limit 500 outside -5..110 %{LEL}: what is worked out of it never reaches "
                      "it"],
                     id="a mean beyond the range"),
        pytest.param("aggregate", "lel",
                     "high: {yellow: 11}\n    take: time_above\n    over_s: 600\n    above: 9",
                     ["limit 11 outside 0..10 min: what is worked out of it never reaches it"],
                     id="a time longer than its window"),
        pytest.param("aggregate", "lel", "high: {yellow: 1}\n    take: percentile\n    over_s: 600",
                     ["percentile goes with take: percentile, and only with it"],
                     id="a percentile of nothing"),
        pytest.param("deviation", "lel", "low: {yellow: 1}\n    from: 3.0\n    either_side: true",
                     ["either_side: how far it lies off has a high limit"], id="a low size"),
        pytest.param("deviation", "lel", "high: {yellow: 1}\n    from: mode\n    over_s: 600",
                     ["from.literal['median','mean']: found 'mode', input should be 'median' or "
                      "'mean'", "from.float: found 'mode', input should be a valid number"],
                     id="from what is not known"),
        pytest.param("deviation", "fault", "high: {yellow: 1}\n    from: 0.0",
                     ["fault is a boolean: deviation is not for it"], id="of a boolean"),
        pytest.param("frequency", "lel", "high: {yellow: 3}\n    over_s: 600",
                     ["one of equals, above and below says what is counted"], id="of nothing"),
        pytest.param("frequency", "lel", "low: {yellow: 3}\n    over_s: 600\n    above: 1.0",
                     ["of what is counted more is worse: write high"], id="seldom"),
        pytest.param("time_to_limit", "lel",
                     "low: {yellow: 30}\n    over_s: 600\n    reach: 200",
                     ["reach: 200 outside -5..110 %{LEL}: lel never is there"], id="nowhere"),
        pytest.param("time_to_limit", "lel", "high: {yellow: 30}\n    over_s: 600\n    reach: 20",
                     ["the limits are minutes to go, of which less is worse: write low"],
                     id="a long time to go"),
        pytest.param("stuck", "fault", "high: {yellow: 30}",
                     ["state: fault is a boolean: name the one that it may not stand in"],
                     id="a boolean in any state"),
        pytest.param("voting", "lel",
                     "high: {red: 2}\n    vote: {high: 200}\n    group: {by: zone}",
                     ["vote: outside -5..110 %{LEL}: lel never is there"], id="a vote for nothing"),
        pytest.param("voting", "lel", "low: {red: 2}\n    vote: {high: 20}\n    group: {by: zone}",
                     ["of votes more is worse: write high"], id="few votes"),
        pytest.param("voting", "lel", "high: {red: 2}\n    vote: {}\n    group: {by: zone}",
                     ["vote: one of high, low and equals says who votes"], id="no vote"),
        pytest.param("balance", "lel", "high: {red: 2}\n    group: {by: line}",
                     ["role: it is needed and missing"], id="nobody knows what goes out"),
        pytest.param("aggregate", "fault", "high: {red: 2}\n    take: sum\n    group: {by: zone}",
                     ["fault is a boolean: use kind: voting"], id="a sum of booleans"),
        pytest.param("aggregate", "lel", "high: {red: 200}\n    take: mean\n    group: {by: zone}",
                     ["limit 200 outside -5..110 %{LEL}: what is made of it never reaches it"],
                     id="a mean of members that none reaches"),
        pytest.param("stuck", "lel", "high: {yellow: 30}\n    state: true",
                     ["state: lel is a number: a number has none"], id="a number in a state"),
        pytest.param("stuck", "lel", "high: {yellow: 30, red: 60}\n    deadband: 30",
                     ["deadband: 30 is no narrower than the band of 30 it lies in"],
                     id="a deadband as wide as its band, too"),
    ],
)  # fmt: skip
def test_a_rule_that_looks_back_and_cannot_be_is_refused(
    kind: str, quantity: str, more: str, messages: list[str]
) -> None:
    problems = check(looking_back(kind, quantity, more), "plant.yaml", CATALOG)
    assert [each.message for each in problems] == [f"rule plant.lel: {each}" for each in messages]


def test_a_measure_is_a_part_of_the_version() -> None:
    text = looking_back("frequency", "lel", "high: {yellow: 3}\n    over_s: 600\n    above: 9.0")
    (only,) = load_rules(text, "plant.yaml", CATALOG)
    definition = definition_of(only)
    assert json.loads(json.dumps(definition, allow_nan=False)) == definition
    assert definition["condition"]["limits"] == {"yellow": 3.0}
    (other,) = load_rules(text.replace("9.0", "8.0"), "plant.yaml", CATALOG)
    assert definition_of(other) != definition


def test_a_deadband_in_percent_is_a_part_of_the_span() -> None:
    (only,) = load_rules(FILE.replace("deadband: 2", "deadband_percent: 5"), "p.yaml", CATALOG)
    assert isinstance(only.condition, Threshold)
    assert only.condition.deadband == 5.75  # of -5..110 %LEL


def test_a_rule_with_bits_and_hours_is_one_version() -> None:
    text = BITS.replace(
        "bits: [2]", "bits: [2]\n    window: {from: '22:00', to: '06:00', days: [fri]}"
    )
    (only,) = load_rules(text, "plant.yaml", CATALOG)
    assert only.hours is not None
    assert (only.hours.length_s, only.hours.days) == (8 * 3600, (4,))
    definition = definition_of(only)
    assert json.loads(json.dumps(definition)) == definition


@pytest.mark.parametrize("tag", ["{species: NO}", "{species: [CO, NO]}"])
def test_the_gas_that_yaml_takes_for_a_word_must_be_quoted(tag: str) -> None:
    text = FILE.replace("{kind: gas_detector}", f"{{kind: gas_detector, tags: {tag}}}")
    problems = check(text, "plant.yaml", CATALOG)
    assert problems
    assert any("quote it" in problem.message for problem in problems)
    assert check(text.replace("NO", "'NO'"), "plant.yaml", CATALOG) == []


def test_all_mistakes_of_a_file_are_told_in_its_order() -> None:
    second = FILE.removeprefix("rules:\n").replace("kind: threshold", "kind: window")
    text = FILE.replace("deadband: 2", "deadband: x") + second
    problems = check(text, "plant.yaml")
    assert [problem.line for problem in problems] == [8, 13]


def test_an_id_given_twice_is_refused() -> None:
    text = FILE + FILE.removeprefix("rules:\n")
    (problem,) = check(text, "plant.yaml", CATALOG)
    assert (problem.line, problem.message) == (12, "rule plant.lel: this id is already taken")


def test_a_good_file_has_no_problem_and_gives_its_rules() -> None:
    assert check(FILE, "plant.yaml", CATALOG) == []
    (only,) = load_rules(FILE, "plant.yaml", CATALOG)
    assert isinstance(only.condition, Threshold)
    assert only.condition.limits == ((Tier.YELLOW, 20.0), (Tier.ORANGE, 40.0))


@pytest.mark.parametrize(
    ("equals", "fine"),
    [
        pytest.param("true", True, id="a boolean equals true or false"),
        pytest.param("1", False, id="a boolean equals no number"),
    ],
)
def test_a_state_is_of_the_type_of_its_quantity(equals: str, fine: bool) -> None:
    text = FILE.replace("kind: threshold", "kind: state").replace(
        "lel\n    name", "fault\n    name"
    )
    text = text.replace("high: {yellow: 20, orange: 40}", f"equals: {equals}")
    text = text.replace("deadband: 2", "tier: blue")
    assert (check(text, "plant.yaml", CATALOG) == []) == fine


def test_silence_is_measured_once() -> None:
    text = FILE.replace("kind: threshold", "kind: stale").replace("deadband: 2", "tier: blue")
    wrong = text.replace("high: {yellow: 20, orange: 40}", "after_s: 5\n    after_intervals: 3")
    (problem,) = check(wrong, "plant.yaml", CATALOG)
    assert problem.message.endswith("either after_s or after_intervals is needed")
    right = text.replace("high: {yellow: 20, orange: 40}", "after_s: 5")
    assert check(right, "plant.yaml", CATALOG) == []


def test_the_shipped_files_have_no_problem() -> None:
    for kind in CATALOG.kinds.values():
        folder = Path(__file__).parents[3] / "src/hazardloop/catalogue"
        assert check((folder / kind.marked.file).read_text("utf-8"), kind.marked.file) == []


def test_a_mistake_in_a_catalogue_file_is_told_with_its_line() -> None:
    folder = Path(__file__).parents[3] / "src/hazardloop/catalogue"
    lines = (folder / "tank.yaml").read_text("utf-8").splitlines()
    nth = next(n for n, line in enumerate(lines) if "kind: threshold" in line)
    lines[nth] = "    kind: leakage"
    (problem, *_) = check("\n".join(lines), "tank.yaml")
    assert (problem.line, "'leakage'" in problem.message) == (nth + 1, True)
    with pytest.raises(FileRefused):
        load_rules("\n".join(lines), "tank.yaml")


def test_every_default_rule_says_where_it_comes_from_and_what_to_do() -> None:
    for each in RULES:
        assert each.source
        assert each.guidance.zh
        assert each.guidance.en
        assert any("\u4e00" <= letter <= "\u9fff" for letter in each.guidance.zh)


def test_a_definition_is_json_and_tells_versions_apart() -> None:
    for each in RULES:
        definition = definition_of(each)
        assert json.loads(json.dumps(definition)) == definition
    one, same = (load_rules(FILE, "plant.yaml")[0] for _ in range(2))
    (other,) = load_rules(FILE.replace("orange: 40", "orange: 41"), "plant.yaml")
    assert definition_of(one) == definition_of(same) != definition_of(other)


def facts(grade: int = 0, enterprise: str = "ACME", **tags: Any) -> PointFacts:
    return PointFacts("gauge", "x", grade, tags, enterprise)


@pytest.mark.parametrize(
    ("select", "given", "expected"),
    [
        pytest.param(Select(), facts(), True, id="no condition selects all"),
        pytest.param(Select(grades=(1, 2)), facts(2), True, id="a grade that is named"),
        pytest.param(Select(grades=(1, 2)), facts(0), False, id="no hazard unit is grade 0"),
        pytest.param(Select(enterprises=("X",)), facts(), False, id="another enterprise"),
        pytest.param(Select(tags={"gas": ("CO",)}), facts(gas="CO"), True, id="a tag's value"),
        pytest.param(Select(tags={"gas": ("CO",)}), facts(gas="NO"), False, id="another value"),
        pytest.param(Select(tags={"gas": ("CO",)}), facts(), False, id="no such tag"),
        pytest.param(Select(tags={"gas": True}), facts(gas=""), True, id="a tag, whatever it says"),
        pytest.param(Select(tags={"no": ("7",)}), facts(no=7), True, id="a tag that is a number"),
        pytest.param(Select(except_tags={"gas": True}), facts(gas="CO"), False, id="left out"),
        pytest.param(Select(except_tags={"gas": ("CO",)}), facts(), True, id="not left out"),
    ],
)
def test_a_rule_selects(select: Select, given: PointFacts, expected: bool) -> None:
    assert selects(rule(high(red=1.0), select=select), given) is expected


def limits(table: RuleTable, row: int) -> list[tuple[str, str, float]]:
    """Rule, tier and limit of what watches a point."""
    return [
        (table.rules[watch.rule].rule_id, limit.tier.wire, limit.value)
        for watch in table.watches(row)
        for limit in watch.limits
    ]


def test_a_limit_in_parts_of_a_tag_follows_each_device() -> None:
    parts = Threshold(high().direction, ((Tier.YELLOW, 0.85),), 0.01, "height_m", 10.0)
    points = [
        point(1, tags={"height_m": 12.0}),
        point(2),
        point(3, tags={"height_m": "7"}),
        point(4, tags={"height_m": "tall"}),
        point(5, tags={"height_m": -3}),
    ]
    table = compile_rules([rule(parts)], registry(points))
    assert [limits(table, row)[0][2] for row in range(5)] == [10.2, 8.5, 5.95, 8.5, 8.5]
    assert [table.watches(row)[0].limits[0].stay_low for row in range(3)] == [10.08, 8.4, 5.88]
    assert table.problems == (
        "device D-4: tag height_m: 'tall' is no positive number: 10 is used (rule gauge.rule)",
        "device D-5: tag height_m: -3 is no positive number: 10 is used (rule gauge.rule)",
    )


def test_without_the_tag_and_a_default_there_is_no_limit() -> None:
    parts = Threshold(high().direction, ((Tier.RED, 0.8),), 0.0, "design_pressure_kpa")
    table = compile_rules([rule(parts)], registry([point(1), point(2, tags={parts.of: 500})]))
    assert limits(table, 0) == []
    assert limits(table, 1) == [("gauge.rule", "red", 400.0)]


def test_points_alike_share_their_limits() -> None:
    points = [point(nth, grade=nth % 3, tags={"other": nth}) for nth in range(1, 100)]
    table = compile_rules([rule(high(yellow=1.0), worse_in_grades=(1,))], registry(points))
    assert len(table.profiles.made) == 3
    assert {tier for row in range(99) for _, tier, _ in limits(table, row)} == {"yellow", "orange"}


def test_tags_choose_the_rules_of_a_tank_and_scale_their_limits() -> None:
    table = site("tank", "level", 2, height_m=8.0, tank_kind="pressurised")
    assert limits(table, 0) == [
        ("tank.level.high.pressurised", "orange", 6.4),
        ("tank.level.high.pressurised", "red", 6.8),
        ("tank.level.low", "orange", 1.2),
        ("tank.level.low", "red", 0.8),
    ]


def site(kind: str, quantity: str, grade: int = 0, **tags: Any) -> RuleTable:
    return compile_rules(RULES, registry([point(1, quantity, kind=kind, grade=grade, tags=tags)]))


@pytest.mark.parametrize(
    ("kind", "quantity", "grade", "tags", "value", "expected"),
    [
        ("gas_detector", "lel", 0, {}, 60.0, "orange"),
        ("gas_detector", "lel", 3, {}, 60.0, "orange"),
        ("gas_detector", "lel", 4, {}, 25.0, "yellow"),
        ("gas_detector", "lel", 1, {}, 25.0, "orange"),
        ("gas_detector", "lel", 2, {}, 50.0, "red"),
        ("gas_detector", "lel", 0, {}, 24.9, None),
        ("gas_detector", "ppm", 0, {"species": "H2S"}, 7.05, "yellow"),
        ("gas_detector", "ppm", 0, {"species": "H2S"}, 14.1, "orange"),
        ("gas_detector", "ppm", 1, {"species": "Cl2"}, 0.7, "red"),
        ("gas_detector", "ppm", 0, {"species": "CO"}, 17.0, None),
        ("gas_detector", "ppm", 0, {}, 500.0, None),
        ("gas_detector", "fault", 0, {}, 1.0, "blue"),
        ("gas_detector", "fault", 1, {}, 1.0, "yellow"),
        ("gas_detector", "in_service", 3, {}, 0.0, "blue"),
        ("gas_detector", "in_service", 0, {}, 1.0, None),
        ("tank", "level", 0, {}, 8.5, "yellow"),
        ("tank", "level", 0, {}, 9.0, "orange"),
        ("tank", "level", 2, {}, 9.0, "red"),
        ("tank", "level", 0, {"height_m": 20}, 9.0, None),
        ("tank", "level", 0, {}, 1.5, "yellow"),
        ("tank", "level", 0, {}, 1.0, "orange"),
        ("tank", "level", 0, {"tank_kind": "toxic"}, 7.5, "yellow"),
        ("tank", "pressure", 0, {}, 9999.0, None),
        ("tank", "pressure", 0, {"design_pressure_kpa": 1000}, 800.0, "orange"),
        ("tank", "temperature", 0, {"max_temperature_cel": 40}, 50.0, "orange"),
        ("elevator", "entrapment", 0, {}, 1.0, "red"),
        ("elevator", "door_open_run", 0, {}, 1.0, "red"),
        ("elevator", "overspeed", 0, {}, 1.0, "red"),
        ("elevator", "non_level_stop", 0, {}, 1.0, "yellow"),
        ("elevator", "repeated_door_failure", 0, {}, 1.0, "yellow"),
        ("elevator", "safety_circuit", 0, {}, 1.0, "yellow"),
        ("elevator", "entrapment", 0, {}, 0.0, None),
        ("smoke_detector", "smoke", 0, {}, 1.0, "red"),
        ("smoke_detector", "smoke", 0, {}, 0.0, None),
        ("smoke_detector", "fault", 0, {}, 1.0, "blue"),
        ("smoke_detector", "tamper", 0, {}, 1.0, "blue"),
        ("smoke_detector", "battery", 0, {}, 20.0, "blue"),
        ("smoke_detector", "battery", 0, {}, 10.0, "yellow"),
        ("smoke_detector", "battery", 0, {}, 21.0, None),
    ],
)
def test_a_default_rule_raises(
    kind: str, quantity: str, grade: int, tags: dict[str, Any], value: float, expected: str | None
) -> None:
    table = site(kind, quantity, grade, **tags)
    memory = new_memory(table)
    changes = list(evaluate(table, memory, readings([(0, 1, value)])).changes)
    changes += evaluate(table, memory, readings([(0, 90, value)])).changes
    assert [tier for _, tier, _ in told(changes)] == ([expected] if expected else [])


@pytest.mark.parametrize(
    ("kind", "quantity", "tags", "after_s"),
    [
        ("gas_detector", "lel", {}, 90),
        ("gas_detector", "lel", {"species": "CH4"}, 90),
        ("gas_detector", "lel", {"species": "CO"}, None),
        ("gas_detector", "ppm", {"species": "CO"}, 90),
        ("gas_detector", "ppm", {}, None),
        ("gas_detector", "fault", {}, None),
        ("tank", "level", {}, 90),
        ("elevator", "floor", {}, 90),
        ("elevator", "entrapment", {}, None),
        ("smoke_detector", "smoke", {}, 60),
    ],
)
def test_a_device_that_must_report_and_does_not_is_missed(
    kind: str, quantity: str, tags: dict[str, Any], after_s: int | None
) -> None:
    table = site(kind, quantity, **tags)
    changes = told(tick(table, new_memory(table), us(100_000)).changes)
    assert changes == ([("raised", "blue", after_s)] if after_s else [])


def test_smoke_clears_with_the_first_reading_without() -> None:
    table = site("smoke_detector", "smoke")
    memory = new_memory(table)
    evaluate(table, memory, readings([(0, 1, 1.0)]))
    changes = evaluate(table, memory, readings([(0, 2, 0.0)])).changes
    assert told(changes) == [("cleared", "red", 2)]


def test_silence_follows_the_interval_of_each_device() -> None:
    rules: list[Rule] = [
        rule(Silence(Tier.BLUE, None, 3.0, 60.0)),
        rule(high(red=1.0), "gauge.high"),
    ]
    points = [point(1, interval_s=30), point(2, interval_s=5), point(3, "y")]
    table = compile_rules(rules, registry(points))
    assert table.silent_row.tolist() == [0, 1]
    assert (table.silent_limit_us / 1e6).tolist() == [90.0, 60.0]


def test_no_rules_and_no_points_make_an_empty_table() -> None:
    table = compile_rules([], registry([]))
    assert evaluate(table, new_memory(table), readings([])).changes == ()
    assert tick(table, new_memory(table), us(1)).changes == ()
    assert np.asarray(table.silent_row).size == 0
