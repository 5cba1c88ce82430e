"""Rule files to rules: what each watches, its limits, and where its numbers come from."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final, Literal

from pydantic import ValidationError

from hazardloop.alarms.alarm import TIER_BY_NAME, Direction
from hazardloop.alarms.group_forms import (
    BalanceForm,
    GroupAggregateForm,
    GroupedForm,
    VotingForm,
)
from hazardloop.alarms.measure_forms import MEASURED_FORMS, MeasuredForm
from hazardloop.alarms.rule import (
    Condition,
    Derived,
    Grouped,
    PlanItem,
    Rule,
    RuleKind,
    Select,
    Silence,
    State,
    TagTest,
    Threshold,
)
from hazardloop.alarms.rule_forms import (
    FORMS,
    RuleForm,
    SelectForm,
    StaleForm,
    StateForm,
    ThresholdForm,
    misfits_of_limits,
)
from hazardloop.devices.catalog import Catalog, DeviceKind, Quantity, QuantityType, read_kind
from hazardloop.devices.marked_yaml import FileRefused, Marked, Problem, problems_of, read_marked


def _select(form: SelectForm) -> Select:
    def tests(given: Mapping[str, Literal[True] | str | list[str]] | None) -> dict[str, TagTest]:
        return {
            tag: test
            if isinstance(test, bool)
            else (test,)
            if isinstance(test, str)
            else tuple(test)
            for tag, test in (given or {}).items()
        }

    return Select(
        grades=tuple(form.grade or ()),
        enterprises=tuple(form.enterprise or ()),
        tags=tests(form.tags),
        except_tags=tests(form.except_tags),
    )


ALL_FORMS: Final[Mapping[str, type[RuleForm]]] = {
    **FORMS,
    **MEASURED_FORMS,
    "voting": VotingForm,
    "balance": BalanceForm,
}
"""Kinds of rule by name; a kind that is not here is refused."""


def _condition(form: RuleForm, quantity: Quantity | None, interval_s: float) -> Condition:
    match form:
        case MeasuredForm() if quantity is not None:
            return form.derived(quantity, interval_s)
        case GroupedForm() if quantity is not None:
            return form.grouped(quantity, interval_s)
        case ThresholdForm():
            limits = form.limits()
            return Threshold(
                direction=Direction.HIGH if form.high else Direction.LOW,
                limits=tuple(sorted(limits.items())),
                deadband=_deadband(form, quantity),
                of=form.of,
                default_of=form.default_of,
            )
        case StateForm():
            found = form.found_bits()
            return found or State(float(form.equals or 0), TIER_BY_NAME[form.tier])
        case StaleForm():
            return Silence(TIER_BY_NAME[form.tier], form.after_s, form.after_intervals, form.min_s)
    raise AssertionError(form)


def _deadband(form: ThresholdForm, quantity: Quantity | None) -> float:
    """As the limits are written: in the quantity's unit, or in parts of `of`."""
    if form.deadband_percent is None:
        return form.deadband
    span = 1.0 if form.of is not None else _span(quantity)
    return float(f"{form.deadband_percent / 100 * span:.9g}")


def _span(quantity: Quantity | None) -> float:
    return math.inf if quantity is None else quantity.high - quantity.low


def _misfits_of_threshold(form: ThresholdForm, quantity: Quantity) -> Iterable[tuple[str, str]]:
    if quantity.type is not QuantityType.NUMBER:
        yield "quantity", f"{form.quantity} is a {quantity.type}: use kind: state"
        return
    deadband = None if form.deadband_percent is None else _deadband(form, quantity)
    if deadband is not None and math.isinf(deadband):
        why = f"{form.quantity} has no span to take a part of: write deadband in its unit"
        yield "deadband_percent", why
        return
    low, high = quantity.low, quantity.high
    span = (low, high, quantity.unit) if form.of is None else (-math.inf, math.inf, "")
    yield from misfits_of_limits(form, span, form.quantity, deadband)


def _misfits_of_bits(form: StateForm, quantity: Quantity) -> Iterable[tuple[str, str]]:
    if quantity.type is not QuantityType.NUMBER:
        yield "bits", f"{form.quantity} is a {quantity.type}: it has no bits, use equals"
        return
    for bit in form.bits or ():
        if 1 << bit > quantity.high:
            yield "bits", f"bit {bit} is never set: {form.quantity} reaches {quantity.high:g}"


def _misfits_of_unit(
    form: RuleForm, quantity: Quantity, kind: DeviceKind
) -> Iterable[tuple[str, str]]:
    if form.unit_said is None:
        return
    unit = quantity.unit
    if isinstance(form, MeasuredForm):
        unit = form.derived(quantity, kind.expected_interval_s).unit
    elif isinstance(form, GroupedForm):
        unit = form.span(quantity)[2]
    elif isinstance(form, ThresholdForm) and form.of is not None:
        unit = "1"
    elif isinstance(form, StaleForm):
        unit = "s"
    if form.unit_said != unit:
        yield "unit", f"unit: found {form.unit_said!r}, its limits are in {unit!r}"


def _misfits(
    form: RuleForm, quantity: Quantity | None, kind: DeviceKind
) -> Iterable[tuple[str, str]]:
    """What of a rule cannot be, given the quantity that it watches: (field, why)."""
    if quantity is None:
        yield "quantity", f"{kind.code} has no quantity {form.quantity!r}"
        return
    yield from _misfits_of_unit(form, quantity, kind)
    if isinstance(form, MeasuredForm):
        yield from form.misfits(quantity, kind.expected_interval_s)
    elif isinstance(form, GroupedForm):
        yield from form.misfits(quantity)
    elif isinstance(form, ThresholdForm):
        yield from _misfits_of_threshold(form, quantity)
    elif isinstance(form, StateForm) and form.bits is not None:
        yield from _misfits_of_bits(form, quantity)
    elif isinstance(form, StateForm) and (
        (quantity.type is QuantityType.NUMBER) == isinstance(form.equals, bool)
    ):
        yield "equals", f"equals: found {form.equals!r}, {form.quantity} is a {quantity.type}"


def _read_rule(marked: Marked, kind: DeviceKind | None, catalog: Catalog | None) -> Rule:
    """The rule written there; `kind` is that of its catalogue file, if it stands in one."""
    body = marked.value
    if not isinstance(body, dict):
        raise FileRefused([marked.problem((), f"a rule is a mapping, found {body!r}")])
    what = f"rule {body.get('id', '?')}"
    form_type = ALL_FORMS.get(str(body.get("kind")))
    if body.get("kind") == "aggregate" and "group" in body:
        form_type = GroupAggregateForm
    if form_type is None:
        allowed = ", ".join(sorted(ALL_FORMS))
        message = (
            f"{what}: not a rule kind of this version: {body.get('kind')!r}, allowed: {allowed}"
        )
        raise FileRefused([marked.problem(("kind",), message)])
    try:
        form = form_type.model_validate(body)
    except ValidationError as error:
        raise FileRefused(problems_of(error.errors(), marked, what)) from error
    device_kind = form.select.kind or (kind.code if kind else None)
    if device_kind is None or (kind and device_kind != kind.code):
        expected = repr(kind.code) if kind else "the kind of device that the rule is for"
        message = f"{what}: select.kind: found {form.select.kind!r}, expected {expected}"
        raise FileRefused([marked.problem(("select",), message)])
    if kind is None and catalog is not None:
        kind = catalog.kinds.get(device_kind)
        if kind is None:
            message = f"{what}: select.kind: no kind of device {device_kind!r}"
            raise FileRefused([marked.problem(("select",), message)])
    quantity = kind.quantities.get(form.quantity) if kind is not None else None
    if kind is None and isinstance(form, MeasuredForm | GroupedForm):
        message = f"{what}: {form.kind} is worked out of a quantity: its kind must be known"
        raise FileRefused([marked.problem(("select",), message)])
    if kind is not None:
        misfits = [
            marked.problem((field,), f"{what}: {why}")
            for field, why in _misfits(form, quantity, kind)
        ]
        if misfits:
            raise FileRefused(misfits)
    return Rule(
        rule_id=form.id,
        kind=RuleKind(form.kind),
        device_kind=device_kind,
        quantity=form.quantity,
        name=form.name.text(),
        guidance=form.guidance.text(),
        source=form.source,
        confidence=form.confidence,
        select=_select(form.select),
        condition=_condition(form, quantity, kind.expected_interval_s if kind else 0.0),
        on_delay_s=form.on_delay_s,
        off_delay_s=form.off_delay_s,
        latch=form.latch,
        re_alarm_s=form.re_alarm_s,
        worse_in_grades=tuple(form.worse_in_grades),
        plan=tuple(PlanItem(one.item, one.text.text(), one.required) for one in form.plan),
        hours=form.window.hours() if form.window else None,
        body=body | {"select": (body.get("select") or {}) | {"kind": device_kind}},
    )


def _read_rules(
    bodies: Sequence[Marked], kind: DeviceKind | None, catalog: Catalog | None
) -> tuple[list[Rule], list[Problem]]:
    rules: dict[str, Rule] = {}
    problems: list[Problem] = []
    for body in bodies:
        try:
            rule = _read_rule(body, kind, catalog)
        except FileRefused as refused:
            problems += refused.problems
            continue
        if rule.rule_id in rules:
            problems.append(body.problem(("id",), f"rule {rule.rule_id}: this id is already taken"))
        problems += [
            body.problem((str(rule.condition.direction),), f"rule {rule.rule_id}: {why}")
            for other in rules.values()
            if isinstance(rule.condition, Threshold) and (why := _crossed(rule, other))
        ]
        rules[rule.rule_id] = rule
    return list(rules.values()), problems


def _crossed(one: Rule, other: Rule) -> str:
    """How the limits of two rules for the same values cross, a low one above a high one."""
    alike = all(
        getattr(one, name) == getattr(other, name)
        for name in ("device_kind", "quantity", "select", "hours")
    )
    return low_above_high(one, other) if alike else ""


def low_above_high(one: Rule, other: Rule) -> str:
    """How the limits of two rules cross, if both watch the values of one point; empty: not."""
    mine, theirs = one.condition, other.condition
    if not isinstance(mine, Threshold) or not isinstance(theirs, Threshold):
        return ""
    if mine.of != theirs.of or mine.direction is theirs.direction:
        return ""
    high, low = (mine, theirs) if mine.direction is Direction.HIGH else (theirs, mine)
    least, most = (bound(x for _, x in side.limits) for bound, side in ((min, high), (max, low)))
    if most < least:
        return ""
    return f"low limit {most:g} is no lower than high limit {least:g}, with rule {other.rule_id}"


def rules_of_kind(kind: DeviceKind) -> tuple[list[Rule], list[Problem]]:
    """The default rules of one kind of device, and what is wrong with the others."""
    bodies = [kind.marked.at("rules", index) for index in range(len(kind.rules))]
    return _read_rules(bodies, kind, None)


def catalogue_rules(catalog: Catalog) -> tuple[Rule, ...]:
    """The default rules of all kinds of device. FileRefused: with every problem found in them."""
    rules: dict[str, Rule] = {}
    problems: list[Problem] = []
    for kind in catalog.kinds.values():
        found, wrong = rules_of_kind(kind)
        problems += wrong
        for rule in found:
            if rule.rule_id in rules:
                other = rules[rule.rule_id].device_kind
                message = f"rule {rule.rule_id}: this id is already taken by {other}"
                problems.append(kind.marked.problem(("rules",), message))
            rules[rule.rule_id] = rule
    if problems:
        raise FileRefused(problems)
    return tuple(rules.values())


def load_rules(text: str, name: str, catalog: Catalog | None = None) -> tuple[Rule, ...]:
    """The rules of a file `rules: [...]`; each names its kind of device in `select`.

    Raises:
        FileRefused: with every problem found. Without a catalogue, quantities are not looked up.
    """
    marked = read_marked(text, name)
    value = marked.value
    if (
        not isinstance(value, dict)
        or set(value) != {"rules"}
        or not isinstance(value["rules"], list)
    ):
        message = "a rule file has the one key 'rules', a list; a catalogue file begins with 'kind'"
        raise FileRefused([marked.problem((), message)])
    bodies = [marked.at("rules", index) for index in range(len(value["rules"]))]
    rules, problems = _read_rules(bodies, None, catalog)
    if problems:
        raise FileRefused(problems)
    return tuple(rules)


def read_rule(body: Mapping[str, Any], catalog: Catalog) -> Rule:
    """The rule of that body, as it stands in a rule file. FileRefused: with every problem found."""
    return _read_rule(Marked("rule", body, {}), None, catalog)


def check(text: str, name: str, catalog: Catalog | None = None) -> list[Problem]:
    """What is wrong with a catalogue file or a rule file, by line; nothing = it can be used."""
    try:
        marked = read_marked(text, name)
        if isinstance(marked.value, dict) and "kind" in marked.value:
            _, problems = rules_of_kind(read_kind(marked))
        else:
            load_rules(text, name, catalog)
            problems = []
    except FileRefused as refused:
        problems = list(refused.problems)
    return sorted(problems, key=lambda problem: problem.line)


def definition_of(rule: Rule) -> dict[str, Any]:
    """A rule as it is stored: JSON values only; equal ones are one version."""
    condition = _condition_said(rule.condition)
    said = asdict(rule)
    del said["body"]
    said["plan"], said["hours"] = list(said["plan"]), _plain(said["hours"])
    for later in ("latch", "re_alarm_s", "plan", "hours"):
        if not said[later]:
            del said[later]  # a rule that says nothing of it is what it was before it could
    return said | {
        "worse_in_grades": list(rule.worse_in_grades),
        "kind": rule.kind.value,
        "condition": condition,
        "select": {name: _plain(part) for name, part in asdict(rule.select).items() if part},
    }


def _condition_said(condition: Condition) -> dict[str, Any]:
    if isinstance(condition, Derived):
        measure = _plain(asdict(condition.measure))
        kept = {name: each for name, each in measure.items() if each not in (None, False)}
        return _condition_said(condition.threshold) | {"measure": kept, "unit": condition.unit}
    if isinstance(condition, Grouped):
        group = _plain(asdict(condition.group))
        group["by"] = condition.group.by[0] if len(condition.group.by) == 1 else group["by"]
        kept = {name: each for name, each in group.items() if each not in (None, False, "")}
        return _condition_said(condition.threshold) | {"group": kept, "unit": condition.unit}
    said = {name: _plain(part) for name, part in asdict(condition).items()}
    if isinstance(condition, Threshold):
        limits = {tier.wire: limit for tier, limit in condition.limits}
        return said | {"limits": limits, "direction": condition.direction.value}
    return said | {"tier": condition.tier.wire}


def _plain(part: Any) -> Any:
    if isinstance(part, float) and not math.isfinite(part):
        return None if math.isnan(part) else str(part)  # JSON has no word for either
    if isinstance(part, Mapping):
        return {name: _plain(inner) for name, inner in part.items()}
    return list(part) if isinstance(part, tuple) else part
