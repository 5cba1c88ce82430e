"""The examples of docs/rules.md do what the page says, and every kind has one."""

import numpy as np
import pytest
import yaml

from hazardloop.alarms.evaluation import evaluate
from hazardloop.alarms.memory import new_memory
from hazardloop.alarms.rule_table import compile_rules
from hazardloop.alarms.rules import ALL_FORMS, check, load_rules
from hazardloop.devices.readings import Readings
from tests.rule_examples import Example, catalog, examples, group_examples
from tests.unit.alarms.site import point, readings, registry

EXAMPLES, GROUPS = examples(), group_examples()
CATALOG = catalog()


def test_every_kind_that_looks_at_values_has_an_example() -> None:
    of_groups = {yaml.safe_load(text)["rules"][0]["kind"] for text, _ in GROUPS.values()}
    of_points = {each.rule["kind"] for each in EXAMPLES.values()}
    assert of_points | of_groups == set(ALL_FORMS) - {"stale"}


@pytest.mark.parametrize("example", [pytest.param(EXAMPLES[name], id=name) for name in EXAMPLES])
def test_an_example_gives_the_alarm_it_names(example: Example) -> None:
    assert check(example.text, "docs/rules.md", CATALOG) == []
    known = CATALOG.kinds[example.kind]
    text = example.text[example.text.index("rules:") :]
    if "select" not in example.rule:
        text = text.replace(
            "    kind: state", f"    kind: state\n    select: {{kind: {known.code}}}"
        )
    table = compile_rules(
        load_rules(text, "docs/rules.md", CATALOG),
        registry([point(1, example.quantity, kind=example.kind, interval_s=30.0)]),
    )
    memory, changes = new_memory(table), []
    for at_ms, value in example.said:
        at = np.array([at_ms * 1000])
        row, nothing = np.zeros(1, np.int32), np.zeros(1, np.int16)
        batch = Readings(row, at, at, np.array([value]), nothing, row)
        changes += evaluate(table, memory, batch).changes
    (raised,) = changes
    unit = "" if raised.direction == "state" else known.quantities[example.quantity].unit
    assert {
        "tier": raised.tier.wire, "value": raised.value, "unit": raised.unit or unit,
    } == example.alarm  # fmt: skip
    assert raised.changed_at_us == example.said[-1][0] * 1000


@pytest.mark.parametrize("name", GROUPS)
def test_an_example_of_a_group_gives_the_alarm_it_names(name: str) -> None:
    text, given = GROUPS[name]
    assert check(text, "docs/rules.md", CATALOG) == []
    (rule,) = load_rules(text, "docs/rules.md", CATALOG)
    points = [
        point(
            nth,
            code.split(".")[1],
            kind=rule.device_kind,
            tags=given["tags"] | given.get("each", [{}] * nth)[nth - 1],
            interval_s=30.0,
        )
        for nth, code in enumerate(given["points"], 1)
    ]
    table = compile_rules([rule], registry(points))
    memory, changes = new_memory(table), []
    for nth, values in enumerate(given["values"]):
        said = [
            (row, nth * given["every_s"] + row / 10, value)
            for row, value in enumerate(values)
            if value is not None
        ]
        changes += evaluate(table, memory, readings(said)).changes
    (raised,) = changes
    assert {
        "tier": raised.tier.wire, "value": raised.value, "unit": raised.unit,
    } == given["alarm"]  # fmt: skip
