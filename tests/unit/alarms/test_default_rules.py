"""The default rules of every kind: each limit at, below and beyond, and whence set-points come."""

from collections.abc import Iterator
from typing import Any

import pytest

from hazardloop.alarms.alarm import Change, Direction, Tier
from hazardloop.alarms.evaluation import evaluate, tick
from hazardloop.alarms.measure import Method
from hazardloop.alarms.memory import new_memory
from hazardloop.alarms.rule import Derived, Rule, Silence, State, Threshold
from hazardloop.alarms.rule_table import compile_rules
from hazardloop.alarms.rules import catalogue_rules
from hazardloop.devices.catalog import shipped_catalog
from hazardloop.devices.species import ppm_of, shipped_species, toxic_levels, vol_of
from tests.catalogue_page import PAGE, page
from tests.unit.alarms.site import point, readings, registry, us

CATALOG = shipped_catalog()
RULES = catalogue_rules(CATALOG)
GASES = shipped_species()
BY_ID = {rule.rule_id: rule for rule in RULES}
SCALE = 50.0
"""Of the tags that limits are parts of."""


def tags_for(rule: Rule) -> dict[str, Any]:
    """Tags of a device that the rule is for."""
    tags: dict[str, Any] = {
        tag: "x" if test is True else test[0] for tag, test in rule.select.tags.items()
    }
    if isinstance(rule.condition, Threshold) and rule.condition.of:
        tags[rule.condition.of] = SCALE
    return tags


def raised(rule: Rule, value: float, grade: int = 0) -> Tier:
    """Tier at which that rule stands once the value has lasted; NONE: it does not."""
    facts = point(1, rule.quantity, kind=rule.device_kind, grade=grade, tags=tags_for(rule))
    table = compile_rules(RULES, registry([facts]))
    memory = new_memory(table)
    changes: list[Change] = []
    for second in (0.0, rule.on_delay_s, rule.on_delay_s + 1):
        changes += evaluate(table, memory, readings([(0, second, value)])).changes
    return max((c.tier for c in changes if c.rule_id == rule.rule_id), default=Tier.NONE)


def limits() -> Iterator[Any]:
    for rule in RULES:
        if isinstance(rule.condition, Threshold):
            for nth, (tier, limit) in enumerate(rule.condition.limits):
                below = rule.condition.limits[nth - 1][0] if nth else Tier.NONE
                scale = SCALE if rule.condition.of else 1.0
                name = f"{rule.rule_id} {tier.wire}"
                yield pytest.param(rule, tier, below, float(f"{limit * scale:.9g}"), id=name)


@pytest.mark.parametrize(("rule", "tier", "below", "limit"), list(limits()))
def test_each_limit_holds_at_it_and_beyond_and_not_before(
    rule: Rule, tier: Tier, below: Tier, limit: float
) -> None:
    assert isinstance(rule.condition, Threshold)
    outward = 1 if rule.condition.direction is Direction.HIGH else -1
    hair = max(abs(limit), 1e-3) * 1e-6
    assert raised(rule, limit) == tier
    assert raised(rule, limit + outward * hair) == tier
    assert raised(rule, limit - outward * hair) == below
    worse = Tier(tier + 1) if 1 in rule.worse_in_grades else tier
    assert raised(rule, limit, grade=1) == worse
    assert raised(rule, limit, grade=4) == tier


@pytest.mark.parametrize(
    "rule", [pytest.param(r, id=r.rule_id) for r in RULES if isinstance(r.condition, State)]
)
def test_each_state_holds_at_its_value_and_at_no_other(rule: Rule) -> None:
    assert isinstance(rule.condition, State)
    assert raised(rule, rule.condition.equals) == rule.condition.tier
    assert raised(rule, 1 - rule.condition.equals) == Tier.NONE


@pytest.mark.parametrize(
    "rule", [pytest.param(r, id=r.rule_id) for r in RULES if isinstance(r.condition, Silence)]
)
def test_each_silence_is_missed(rule: Rule) -> None:
    condition = rule.condition
    assert isinstance(condition, Silence)
    kind = CATALOG.kinds[rule.device_kind]
    facts = point(
        1, rule.quantity, kind=kind.code, tags=tags_for(rule), interval_s=kind.expected_interval_s
    )
    table = compile_rules([rule], registry([facts]))
    (limit_us,) = table.silent_limit_us.tolist()
    assert limit_us >= 2 * kind.expected_interval_s * 1e6 or condition.after_intervals is None
    memory = new_memory(table)
    assert tick(table, memory, us(limit_us / 1e6)).changes == ()
    (change,) = tick(table, memory, us(limit_us / 1e6 + 1)).changes
    assert change.tier == condition.tier


def test_every_kind_that_is_not_told_by_its_own_service_is_missed_when_it_falls_silent() -> None:
    watched = {rule.device_kind for rule in RULES if isinstance(rule.condition, Silence)}
    assert watched >= {kind.code for kind in CATALOG.kinds.values() if not kind.internal}


def test_house_values_say_so() -> None:
    for rule in RULES:
        if rule.confidence == "house":
            assert "house" in rule.source, f"{rule.rule_id}: {rule.source}"


def rounded(value: float) -> float:
    return float(f"{value:.3g}")


def of_a_species(prefix: str) -> list[tuple[str, Rule]]:
    found = [(r.select.tags["species"], r) for r in RULES if r.rule_id.startswith(prefix)]
    assert found
    return [(names[0], rule) for names, rule in found if not isinstance(names, bool)]


def test_set_points_in_mg_m3_are_computed_from_the_table_of_gases() -> None:
    rules = dict(of_a_species("toxic_gas.concentration.high."))
    assert set(rules) == {code for code, gas in GASES.items() if toxic_levels(gas)}
    for code, rule in rules.items():
        assert isinstance(rule.condition, Threshold)
        assert tuple(limit for _, limit in rule.condition.limits) == toxic_levels(GASES[code])
        assert rule.confidence == GASES[code].limits_confidence, code


@pytest.mark.parametrize(("name", "minutes"), [("stel", 1), ("twa", 480)])
def test_short_term_limits_and_doses_of_a_shift_are_those_of_the_table_of_gases(
    name: str, minutes: int
) -> None:
    rules = dict(of_a_species(f"toxic_gas.concentration.{name}."))
    watched = {code for code, _ in of_a_species("toxic_gas.concentration.high.")}
    assert set(rules) == {code for code in watched if getattr(GASES[code], name)}
    for code, rule in rules.items():
        assert isinstance(rule.condition, Derived)
        ((_, limit),) = rule.condition.threshold.limits
        assert limit == pytest.approx(getattr(GASES[code], name) * minutes), code
        assert rule.confidence == GASES[code].limits_confidence, code


def course_to(rule: Rule, limit: float) -> list[tuple[float, float]]:
    """(second, value) over a whole window, of which the measure of the rule makes that limit."""
    assert isinstance(rule.condition, Derived)
    measure, interval_s = (
        rule.condition.measure,
        CATALOG.kinds[rule.device_kind].expected_interval_s,
    )
    times = [nth * interval_s for nth in range(int(measure.over_s // interval_s) + 2)]
    if measure.method is Method.SLOPE:
        return [(at, limit * at / measure.per_s) for at in times]
    stands = limit / (measure.over_s / 60) if measure.method is Method.DOSE else limit
    return [(at, stands) for at in times]


def looking_back() -> Iterator[Any]:
    """The first rule of each kind of device and measure, at its worst limit."""
    first: dict[tuple[str, Method], Rule] = {}
    for rule in RULES:
        if isinstance(rule.condition, Derived):
            first.setdefault((rule.device_kind, rule.condition.measure.method), rule)
    for rule in first.values():
        assert isinstance(rule.condition, Derived)
        tiers, limits = zip(*rule.condition.threshold.limits, strict=True)
        below = tiers[-2] if len(tiers) > 1 else Tier.NONE
        yield pytest.param(rule, tiers[-1], below, limits[-1], id=rule.rule_id)


@pytest.mark.parametrize(("rule", "tier", "below", "limit"), list(looking_back()))
def test_the_worst_limit_of_what_is_worked_out_is_reached_when_it_lasted_and_not_before(
    rule: Rule, tier: Tier, below: Tier, limit: float
) -> None:
    facts = point(
        1, rule.quantity, kind=rule.device_kind, tags=tags_for(rule),
        interval_s=CATALOG.kinds[rule.device_kind].expected_interval_s,
    )  # fmt: skip
    for share, expected in ((1.001, tier), (0.999, below)):
        table = compile_rules([rule], registry([facts]))
        said = [(0, at, value) for at, value in course_to(rule, limit * share)]
        changes = evaluate(table, new_memory(table), readings(said)).changes
        assert max((change.tier for change in changes), default=Tier.NONE) == expected


def test_a_second_detector_of_a_zone_makes_a_fire_of_it() -> None:
    rule = BY_ID["smoke_detector.smoke.two"]
    table = compile_rules(
        [rule], registry(point(1 + nth, "smoke", kind="smoke_detector", tags={"zone": "A"})
                         for nth in range(3))
    )  # fmt: skip
    memory = new_memory(table)
    assert evaluate(table, memory, readings([(0, 0, 1.0), (1, 0, 0.0), (2, 0, 0.0)])).changes == ()
    (change,) = evaluate(table, memory, readings([(2, 5, 1.0)])).changes
    assert (change.tier, change.value) == (Tier.RED, 2.0)


def test_plans_of_the_core_kinds_can_be_ticked_and_none_of_their_items_must_be() -> None:
    planned = {rule.device_kind for rule in RULES if rule.plan}
    assert planned == {"gas_detector", "tank", "elevator", "smoke_detector"}
    for rule in RULES:
        assert not any(item.required for item in rule.plan), rule.rule_id
        assert all(item.text.zh and item.text.en for item in rule.plan), rule.rule_id


def test_set_points_in_ppm_are_computed_from_the_table_of_gases() -> None:
    for code, rule in of_a_species("gas_detector.ppm.high."):
        assert isinstance(rule.condition, Threshold)
        levels = toxic_levels(GASES[code])
        assert levels is not None
        expected = [rounded(ppm_of(level, GASES[code])) for level in levels]
        assert [limit for _, limit in rule.condition.limits] == expected, code


def test_set_points_of_ammonia_are_computed_from_the_table_of_gases() -> None:
    condition = BY_ID["ammonia_detector.ammonia.high"].condition
    assert isinstance(condition, Threshold)
    stands, ammonia = dict(condition.limits), GASES["NH3"]
    assert ammonia.exposure_limit is not None
    assert stands[Tier.BLUE] == rounded(ppm_of(ammonia.exposure_limit, ammonia))
    assert stands[Tier.RED] == vol_of(25.0, ammonia) * 10_000


def test_the_permit_limit_of_a_confined_space_follows_the_explosive_limit() -> None:
    rule = BY_ID["confined_space_monitor.combustible.high.wide"]
    wide = rule.select.tags["species"]
    assert set(wide if isinstance(wide, tuple) else ()) == {
        code for code, gas in GASES.items() if gas.lel_vol is not None and gas.lel_vol >= 4
    }


def test_the_page_says_what_the_files_say() -> None:
    again = "write it anew: python -m tests.catalogue_page"
    assert PAGE.read_text("utf-8") == page(CATALOG, GASES), again
