"""Why a point did not alarm in a time: what each rule saw there, and how far it was from an alarm.

The engine itself says whether the readings, as they are stored now, raise an alarm; beside it each
rule's own arithmetic says what was lacking.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from hazardloop.alarms.kernels import usable
from hazardloop.alarms.measuring import measured
from hazardloop.alarms.rings import empty_rings
from hazardloop.alarms.rule import Grouped, Rule, Silence
from hazardloop.alarms.rule_table import RuleTable, compile_rules
from hazardloop.alarms.rule_watches import US_PER_S, PointFacts, selects
from hazardloop.alarms.watch import Watch
from hazardloop.devices.instants import rfc3339, utc
from hazardloop.devices.readings import Bools, Floats, Quality, Readings
from hazardloop.devices.registry import PointRecord, Registry
from hazardloop.replay.episodes import Episodes
from hazardloop.replay.run import Run, Span, span_of

MISSED_AFTER: Final = 1.5
"""Times its interval without a reading: one is missing."""


@dataclass(frozen=True, slots=True)
class Raised:
    """An alarm that there was."""

    alarm_id: str
    rule_id: str
    raised_us: int
    found_late: bool


def span_at(rules: Sequence[Rule], registry: Registry, start_us: int, end_us: int) -> Span:
    """From when on readings of the one point of this registry are needed."""
    interval_s = float(registry.interval_s[0])
    return span_of(rules, interval_s if math.isfinite(interval_s) else 0.0, start_us, end_us)


def readings_said(
    readings: Readings, interval_s: float, start_us: int, end_us: int
) -> dict[str, Any]:
    """What came of a period: how many of how many expected, bad, late, and the longest gap."""
    inside = (readings.observed_at >= start_us) & (readings.observed_at < end_us)
    here = readings.take(inside)
    good = usable(here.value, here.quality)
    late = (here.quality & int(Quality.LATE | Quality.BACKFILL)) != 0
    edges = np.concatenate([[start_us], here.observed_at[good], [end_us]])
    gaps_s = np.diff(edges) / US_PER_S
    longest = int(gaps_s.argmax())
    apart_s = np.diff(np.concatenate([[start_us], here.observed_at, [end_us]])) / US_PER_S
    lacking = np.floor(apart_s / interval_s - 1e-9)[apart_s > MISSED_AFTER * interval_s]
    return {
        "expected": math.floor((end_us - start_us) / US_PER_S / interval_s)
        if math.isfinite(interval_s)
        else None,
        "seen": len(here),
        "usable": int(good.sum()),
        "bad": int((~good).sum()),
        "late": int(late.sum()),
        "missing": int(lacking.sum()),
        "latest_by_s": float((here.received_at - here.observed_at).max(initial=0)) / US_PER_S,
        "longest_gap_s": float(gaps_s[longest]),
        "longest_gap_from": rfc3339(utc(int(edges[longest]))),
    }


def judged(
    rules: Sequence[Rule],
    registry: Registry,
    readings: Readings,
    span: Span,
    tz: str,
    alarms: Sequence[Raised],
) -> list[dict[str, Any]]:
    """What each rule of the point's kind and quantity made of it: an `outcome`, and its numbers.

    Args:
        rules: those in force; of other kinds and quantities they are left out.
        registry: of this point alone.
        readings: of it, by rising time, from `span.warm_us` on.
        span: the period, and what is looked at before it.
        tz: time zone of the house.
        alarms: of this point, raised in the period or standing when it began.
    """
    point = registry.points[0]
    mine = [r for r in rules if (r.device_kind, r.quantity) == (point.kind, point.quantity)]
    single = [rule for rule in mine if not isinstance(rule.condition, Grouped)]
    run = Run(single, registry, span, tz)
    run.take(readings, span.end_us)
    found = run.end()
    told = []
    for rule in mine:
        said = _said(rule, registry, readings, span, tz)
        raised = [one for one in alarms if one.rule_id == rule.rule_id]
        if raised:
            said = {**said, "outcome": "alarmed", "alarms": [_alarm(one) for one in raised]}
        elif rule in single and (late := _found(found, single.index(rule), span, readings)):
            said = {**said, "outcome": "would_alarm_now", **late}
        told.append({"rule_id": rule.rule_id, "kind": rule.kind.value} | said)
    return told


def _alarm(one: Raised) -> dict[str, Any]:
    at = rfc3339(utc(one.raised_us))
    return {"id": one.alarm_id, "raised_at": at, "found_late": one.found_late}


def _found(found: Episodes, nth: int, span: Span, readings: Readings) -> dict[str, Any] | None:
    """What the engine finds now; None: nothing. The reading that raised it may have come late."""
    here = found.take((found.rule == nth) & (found.raised_us >= span.start_us))
    if not len(here):
        return None
    at_us = int(here.raised_us.min())
    place = max(0, int(readings.observed_at.searchsorted(at_us, "right")) - 1)
    late_s = float(readings.received_at[place] - readings.observed_at[place]) / US_PER_S
    return {"raised_at": rfc3339(utc(at_us)), "received_s_later": late_s}


def _said(
    rule: Rule, registry: Registry, readings: Readings, span: Span, tz: str
) -> dict[str, Any]:
    """How far the rule was from an alarm."""
    point = registry.points[0]
    if lacking := _not_selected(rule, point):
        return {"outcome": "not_selected", "lacking": lacking}
    table = compile_rules([rule], registry, tz=tz)
    if isinstance(rule.condition, Silence):
        return _of_silence(table, readings, span)
    if isinstance(rule.condition, Grouped):
        return {"outcome": "of_a_group", "group": rule.condition.group.by}
    gauges = table.gauges(0)
    watches = gauges[0].watches if gauges else table.watches(0)
    if not watches:
        return {"outcome": "no_limits", "problems": list(table.problems)}
    return _of_values(table, watches[0], readings, span)


def _not_selected(rule: Rule, point: PointRecord) -> list[str]:
    """Parts of `select` that the point does not meet."""
    facts = PointFacts(point.kind, point.quantity, point.grade, point.tags, point.enterprise)
    if selects(rule, facts):
        return []
    select = rule.select
    lacking = ["grade"] if select.grades and point.grade not in select.grades else []
    if select.enterprises and point.enterprise not in select.enterprises:
        lacking.append("enterprise")
    return lacking + [f"tags.{tag}" for tag in (*select.tags, *select.except_tags)]


def _of_silence(table: RuleTable, readings: Readings, span: Span) -> dict[str, Any]:
    limit_s = int(table.silent_limit_us[0]) / US_PER_S
    received = np.sort(readings.received_at[usable(readings.value, readings.quality)])
    received = received[received < span.end_us]
    edges = np.append(received, span.end_us)
    gaps = np.diff(edges, prepend=min(span.start_us, int(edges[0])))
    gaps = np.where(edges >= span.start_us, gaps, 0)
    nth = int(gaps.argmax())
    longest_s = float(gaps[nth]) / US_PER_S
    return {
        "outcome": "never_silent_for_so_long",
        "longest_s": longest_s,
        "limit_s": limit_s,
        "from": rfc3339(utc(int(edges[nth] - gaps[nth]))),
    }


def _of_values(table: RuleTable, watch: Watch, readings: Readings, span: Span) -> dict[str, Any]:
    good = usable(readings.value, readings.quality)
    heard = readings.take(good)
    value = _compared(table, watch, heard)
    inside = (heard.observed_at >= span.start_us) & (heard.observed_at < span.end_us)
    at, value = heard.observed_at[inside], value[inside]
    said = {"limits": _limits(watch), "on_delay_s": watch.on_delay_us / US_PER_S}
    beyond = _entered(watch, value)
    looked = np.array([watch.looks(each) for each in at.tolist()], np.bool_)
    if not len(at) and (bad := _bad_beyond(watch, readings.take(~good), span)):
        return said | bad
    if not len(at):
        return said | {"outcome": "no_readings"}
    if np.isnan(value).all():
        needed = watch.measure.least if watch.measure else 1
        return said | {"outcome": "too_few_readings", "readings": len(at), "needed": needed}
    if (beyond & looked).any():
        return said | _delayed(at, value, beyond & looked, span)
    if beyond.any():
        first = int(beyond.argmax())
        return said | {
            "outcome": "outside_hours",
            "readings": int(beyond.sum()),
            "first_at": rfc3339(utc(int(at[first]))),
            "value": float(value[first]),
        }
    if bad := _bad_beyond(watch, readings.take(~good), span):
        return said | bad
    return said | _closest(watch, at, value)


def _limits(watch: Watch) -> list[dict[str, Any]]:
    return [
        {"tier": limit.tier.wire, "limit": limit.value, "direction": watch.direction.value}
        for limit in watch.limits
    ]


def _compared(table: RuleTable, watch: Watch, heard: Readings) -> Floats:
    """(n,) what the limits are compared with at each reading; NaN: nothing is said."""
    if watch.measure is None:
        return np.array([watch.compared(each) for each in heard.value.tolist()], np.float64)
    rings = empty_rings(table.ringed_row, table.ringed_room, 1)
    one, told = np.zeros(1, np.int32), np.full(len(heard), np.nan)
    for nth in range(len(heard)):
        rings.push(one, heard.observed_at[nth : nth + 1], heard.value[nth : nth + 1])
        after = heard.observed_at[nth : nth + 1] + 1
        age_s, value, _ = rings.windows(one, watch.measure.reach_s, after)
        told[nth] = measured(watch.measure, age_s, value)[0]
    return told


def _entered(watch: Watch, value: Floats) -> Bools:
    """(n,) which are at or beyond the least of the limits."""
    entered = np.zeros(len(value), np.bool_)
    for limit in watch.limits:
        entered |= (value >= limit.enter_low) & (value <= limit.enter_high)
    return entered


def _delayed(at: Any, value: Floats, beyond: Bools, span: Span) -> dict[str, Any]:
    """The longest time for which a value stood beyond a limit."""
    until = np.append(at[1:], span.end_us)
    starts = np.flatnonzero(beyond & ~np.concatenate([[False], beyond[:-1]]))
    ends = np.flatnonzero(beyond & ~np.concatenate([beyond[1:], [False]]))
    stood = (until[ends] - at[starts]) / US_PER_S
    nth = int(stood.argmax())
    return {
        "outcome": "delay_not_reached",
        "longest_s": float(stood[nth]),
        "from": rfc3339(utc(int(at[starts[nth]]))),
        "value": float(value[starts[nth]]),
        "times": len(starts),
    }


def _bad_beyond(watch: Watch, bad: Readings, span: Span) -> dict[str, Any] | None:
    """Readings that say nothing, though their numbers lie beyond a limit."""
    if watch.measure is not None:
        return None
    inside = (bad.observed_at >= span.start_us) & (bad.observed_at < span.end_us)
    here = bad.take(inside & np.isfinite(bad.value))
    beyond = _entered(watch, np.array([watch.compared(each) for each in here.value.tolist()]))
    if not beyond.any():
        return None
    first = int(beyond.argmax())
    return {
        "outcome": "only_bad_readings_beyond",
        "readings": int(beyond.sum()),
        "first_at": rfc3339(utc(int(here.observed_at[first]))),
        "value": float(here.value[first]),
        "quality": int(here.quality[first]),
    }


def _closest(watch: Watch, at: Any, value: Floats) -> dict[str, Any]:
    """The value that came closest to the least limit, and what it lacked."""
    limit = watch.limits[0]
    short = np.maximum(limit.enter_low - value, value - limit.enter_high)
    nth = int(np.nanargmin(short))
    return {
        "outcome": "not_reached",
        "value": float(value[nth]),
        "at": rfc3339(utc(int(at[nth]))),
        "limit": limit.value,
        "short_by": float(f"{float(short[nth]):.9g}"),
    }
