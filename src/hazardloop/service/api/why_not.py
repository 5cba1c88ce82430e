"""Why a point did not alarm in an interval: what each rule saw, how far it was from an alarm."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Any, Final

import numpy as np
from fastapi import APIRouter, Query
from pydantic import AwareDatetime, ConfigDict, Field

from hazardloop.alarms.rule import Rule
from hazardloop.devices import store as registry_store
from hazardloop.devices.catalog import Catalog
from hazardloop.devices.instants import microseconds_of, utc
from hazardloop.devices.readings import Readings, quality_names
from hazardloop.devices.registry import Registry
from hazardloop.replay.run import Span
from hazardloop.replay.why_not import Raised, judged, readings_said, span_at
from hazardloop.service.api import lookup
from hazardloop.service.api.access import Conn, Here, require
from hazardloop.service.api.points import PointPath
from hazardloop.service.api.problems import Problem, problems
from hazardloop.service.api.rows import fetch
from hazardloop.service.api.schema import Instant, Out
from hazardloop.service.database import Connection
from hazardloop.service.site import rules_in_force

router = APIRouter(tags=["rules"])

LONGEST: Final = timedelta(days=7)
MOST: Final = 20_000
"""Readings that are looked at."""
EXAMPLE: Final[dict[str, Any]] = {
    "id": 1042,
    "code": "GD-101.lel",
    "unit": "%{LEL}",
    "from": "2026-11-22T01:00:00.000Z",
    "to": "2026-11-22T02:00:00.000Z",
    "readings": {
        "expected": 120,
        "seen": 118,
        "usable": 117,
        "bad": 1,
        "late": 0,
        "missing": 2,
        "latest_by_s": 0.08,
        "longest_gap_s": 60.0,
        "longest_gap_from": "2026-11-22T01:12:30.000Z",
    },
    "rules": [
        {
            "rule_id": "gas_detector.lel.high",
            "kind": "threshold",
            "outcome": "not_reached",
            "limits": [{"tier": "yellow", "limit": 25.0, "direction": "high"}],
            "on_delay_s": 0.0,
            "value": 22.5,
            "at": "2026-11-22T01:40:00.000Z",
            "limit": 25.0,
            "short_by": 2.5,
        }
    ],
    "holds": [],
}


class ReadingsOut(Out):
    """What came of the interval."""

    expected: int | None = Field(description="By the interval of the device; null: none is known.")
    seen: int
    usable: int
    bad: int
    late: int = Field(description="After newer ones, or kept while the gateway was offline.")
    missing: int
    latest_by_s: float = Field(description="Longest time from measurement to receipt.")
    longest_gap_s: float = Field(description="Between usable ones, ends of the interval included.")
    longest_gap_from: str


class WithheldOut(Out):
    """What withheld alarms in the interval: they are raised, and nobody is rung up."""

    kind: str = Field(description="`shelved`, `suppressed` or `out_of_service`.")
    rule_id: str | None = Field(description="Null: alarms of all rules.")
    while_rule: str | None
    tier: int = Field(description="The worst that it withholds, 1..4.")
    start: Instant = Field(alias="from")
    end: Instant = Field(alias="to")
    reason: str


class WhyNot(Out):
    """What each rule made of an interval at a point."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]}, populate_by_name=True)
    id: int
    code: str
    unit: str
    start: Instant = Field(alias="from")
    end: Instant = Field(alias="to")
    readings: ReadingsOut
    rules: list[dict[str, Any]] = Field(
        description="Of each rule for such points: `outcome` and its numbers. `alarmed` (it did),"
        " `would_alarm_now` (with what is stored now: see `received_s_later`), `not_reached` (by"
        " `short_by`), `delay_not_reached` (`longest_s` beyond a limit, needed are `on_delay_s`),"
        " `outside_hours`, `only_bad_readings_beyond` (with `flags`), `no_readings`,"
        " `too_few_readings`, `never_silent_for_so_long`, `no_limits` (a tag that is lacking),"
        " `not_selected` (`lacking`: parts of `select`), `of_a_group`."
    )
    holds: list[WithheldOut]


READINGS: Final = """
    SELECT (extract(epoch FROM observed_at) * 1e6)::bigint AS observed,
           (extract(epoch FROM received_at) * 1e6)::bigint AS received, value, quality
      FROM readings_received(%(point)s, %(from)s, %(to)s, %(most)s)"""
ALARMS: Final = """
    SELECT alarm_id::text, rule_id, (extract(epoch FROM raised_at) * 1e6)::bigint AS raised_us,
           found_late
      FROM alarm WHERE point_id = %(point)s AND raised_at < %(to)s
       AND (cleared_at IS NULL OR cleared_at >= %(from)s) ORDER BY raised_at"""
HOLDS: Final = """
    SELECT kind, rule_id, while_rule, tier, reason, granted_at AS "from",
           coalesce(ended_at, until) AS "to"
      FROM alarm_hold
     WHERE granted_at < %(to)s AND coalesce(ended_at, until) > %(from)s
       AND device_id = (SELECT device_id FROM point WHERE point_id = %(point)s)
       AND coalesce(point_id, %(point)s) = %(point)s ORDER BY granted_at"""


@router.get(
    "/points/{point}/why-not",
    dependencies=[require("readings.read")],
    responses=problems("not_found", "ambiguous", "invalid"),
)
async def why_not(
    point: PointPath,
    conn: Conn,
    here: Here,
    since: Annotated[AwareDatetime, Query(alias="from", description="First instant.")],
    until: Annotated[AwareDatetime, Query(alias="to", description="First instant after it.")],
) -> WhyNot:
    """Why no alarm was raised: what came, what each rule made of it, and what was lacking."""
    if not timedelta() < until - since <= LONGEST:
        raise Problem("invalid", f"from, to: an interval of up to {LONGEST.days} days")
    identity = await lookup.point_id(conn, point)
    registry = await registry_store.load_point(conn, identity, Catalog(here.kinds))
    known = registry.points[0]
    in_force = await rules_in_force(conn, Catalog(here.kinds))
    watched = known.kind, known.quantity
    rules = [rule for rule in in_force if (rule.device_kind, rule.quantity) == watched]
    span = span_at(rules, registry, microseconds_of(since), microseconds_of(until))
    given = {"point": identity, "from": since, "to": until}
    readings = await _readings(conn, identity, span)
    alarms = [Raised(**row) for row in await fetch(conn, ALARMS, given)]
    judged_rules = await asyncio.to_thread(
        _judged, rules, registry, readings, span, here.settings.tz, alarms
    )
    return WhyNot.model_validate(
        given
        | {
            "id": identity,
            "code": known.code,
            "unit": known.unit,
            "readings": readings_said(readings, known.interval_s, span.start_us, span.end_us),
            "rules": judged_rules,
            "holds": await fetch(conn, HOLDS, given),
        }
    )


async def _readings(conn: Connection, point_id: int, span: Span) -> Readings:
    """Of the one point, as row 0. Problem invalid: too many."""
    given = {"point": point_id, "from": utc(span.warm_us), "to": utc(span.end_us), "most": MOST + 1}
    rows = await fetch(conn, READINGS, given)
    if len(rows) > MOST:
        raise Problem("invalid", f"from, to: more than {MOST} readings: ask for a shorter interval")
    zeros = np.zeros(len(rows), np.int32)
    return Readings(
        zeros,
        np.array([row["observed"] for row in rows], np.int64),
        np.array([row["received"] for row in rows], np.int64),
        np.array([row["value"] for row in rows], np.float64),
        np.array([row["quality"] for row in rows], np.int16),
        zeros,
    )


def _judged(
    rules: Sequence[Rule],
    registry: Registry,
    readings: Readings,
    span: Span,
    tz: str,
    alarms: Sequence[Raised],
) -> list[dict[str, Any]]:
    told = judged(rules, registry, readings, span, tz, alarms)
    return [
        one | {"flags": quality_names(one["quality"])} if "quality" in one else one for one in told
    ]
