"""What a report contains: what the api's own figures answer for a period, at one instant."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from hazardloop.alarms.alarm import Actor, Role
from hazardloop.alarms.facts import Facts, Table
from hazardloop.alarms.figures import GroupBy, floored_share
from hazardloop.devices.instants import rfc3339
from hazardloop.reports.course import course
from hazardloop.reports.period import Period, preceding, slices
from hazardloop.reports.ranking import FORMULA, ranked
from hazardloop.service.api import (
    alarm_queries,
    alarm_system,
    case_view,
    connectivity,
    figures,
    hazards,
)
from hazardloop.service.api.case_forms import CaseBrief
from hazardloop.service.api.connectivity import SplitBy
from hazardloop.service.api.figures import Asked
from hazardloop.service.api.rows import fetch
from hazardloop.service.database import Connection

LISTED: Final = 500
"""Open hazards and overdue cases that are named one by one; all of them are counted."""
SEATS: Final = 1
GROUPS: Final = (GroupBy.ENTERPRISE, GroupBy.KIND, GroupBy.TIER)
CLERK: Final = Actor("system", "", Role.AUDITOR)
"""Who asks: it reads and acts on nothing."""

NAMES: Final = """
    SELECT code, name FROM enterprise
     WHERE enterprise_id = %(only)s OR %(only)s::int IS NULL AND NOT internal"""


@dataclass(frozen=True, slots=True)
class Scope:
    """Of which period, and of whom."""

    period: Period
    zone: ZoneInfo
    enterprise_id: int | None
    """None: of the whole district."""

    def until(self, now: datetime) -> datetime:
        """Its end, or `now` if that comes first."""
        return min(self.period.bounds(self.zone)[1], now)

    def asked(self, now: datetime, group_by: GroupBy | None = None) -> Asked:
        """The same as the api's figures take it."""
        start, only = self.period.bounds(self.zone)[0], self.enterprise_id
        enterprise = None if only is None else str(only)
        return Asked(start, self.until(now), enterprise, group_by)


async def gathered(
    conn: Connection, scope: Scope, kinds: Mapping[str, Any], now: datetime
) -> tuple[dict[str, Any], Facts]:
    """The contents, all but what is said of the report itself; and the facts that were counted.

    `conn` sees one instant of the database, and no more of it than the report may tell.
    """
    wanted = scope.asked(now)
    facts, enterprises = await figures.facts_asked(conn, wanted)
    rows = await fetch(conn, NAMES, {"only": scope.enterprise_id})
    contents = (
        _handled(facts, scope, enterprises, now)
        | {"enterprises": {row["code"]: row["name"] for row in rows}, "kinds": dict(kinds)}
        | {"enterprise_ids": {str(number): code for number, code in enterprises.items()}}
        | {"previous": await _previous(conn, scope, now)}
        | {"course": course(facts, slices(scope.period, scope.zone))}
        | await _system(conn, wanted, scope.zone, now)
        | {"hazards": await _hazards(conn, scope.enterprise_id, now)}
        | {"overdue": await _overdue(conn, scope.enterprise_id, enterprises, now)}
        | {"facts": {"alarms": len(facts), "sha256": facts_sha256(facts)}}
    )
    if scope.enterprise_id is None:
        contents["notice"] = _notice(contents)
    return contents, facts


def facts_sha256(facts: Facts) -> str:
    """Of the three tables one after the other, as the report keeps them."""
    return hashlib.sha256(b"".join(facts.packed(table) for table in Table)).hexdigest()


def canonical(contents: Mapping[str, Any]) -> str:
    """The text that is hashed: JSON with sorted keys and nothing superfluous."""
    return json.dumps(contents, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _handled(
    facts: Facts, scope: Scope, enterprises: Mapping[int, str], now: datetime
) -> dict[str, Any]:
    """Handling and response, in the whole and by groups."""
    whole = scope.asked(now)
    found: dict[str, Any] = {"by": {}}
    handling = figures.handling_of(facts, whole, enterprises)
    found["handling"] = _with_on_time_rate(handling.model_dump(mode="json", by_alias=True))
    response = figures.response_of(facts, whole, enterprises)
    found["response"] = response.model_dump(mode="json", by_alias=True)
    for group_by in GROUPS:
        wanted = scope.asked(now, group_by)
        handled = figures.handling_of(facts, wanted, enterprises).groups
        answered = figures.response_of(facts, wanted, enterprises).groups
        found["by"][group_by.value] = [
            _with_on_time_rate(one.model_dump(mode="json")) | other.model_dump(mode="json")
            for one, other in zip(handled, answered, strict=True)
        ]
    return found


def _with_on_time_rate(told: dict[str, Any]) -> dict[str, Any]:
    told.pop("members", None)
    return told | {"on_time_rate": floored_share(told["on_time"], told["raised"])}


async def _previous(conn: Connection, scope: Scope, now: datetime) -> dict[str, Any]:
    """Handling and response of the period before, as they stand now."""
    before = Scope(preceding(scope.period), scope.zone, scope.enterprise_id)
    facts, enterprises = await figures.facts_asked(conn, before.asked(now))
    told = _handled(facts, before, enterprises, now)
    return {"handling": told["handling"], "response": told["response"]}


async def _system(conn: Connection, wanted: Asked, zone: ZoneInfo, now: datetime) -> dict[str, Any]:
    """Alarm system and connectivity."""
    system = await alarm_system.get_alarm_system(conn, wanted, SEATS)
    # Counted by whole days: the last instant, not the first one after, says which is the last.
    last = wanted.end - timedelta(microseconds=1)
    split = None if wanted.enterprise else SplitBy.ENTERPRISE
    devices = await connectivity.get_connectivity(
        conn, now, zone, wanted.start, last, split, wanted.enterprise
    )
    return {
        "alarm_system": system.model_dump(mode="json", by_alias=True),
        "connectivity": devices.model_dump(mode="json", by_alias=True),
    }


HAZARD: Final = (
    *("id", "enterprise", "title", "grade", "station", "found_at", "deadline"),
    "overdue",
)
"""What is told of an open hazard."""


async def _hazards(conn: Connection, only: int | None, now: datetime) -> dict[str, Any]:
    """Hazards as they stand now; those that are late are named first."""
    told = await hazards.get_hazard_figures(conn, now, None if only is None else str(only))
    standing = await hazards.briefs(conn, CLERK, {"enterprise": only, "open": True, "now": now})
    late = Counter(one.enterprise for one in standing if one.overdue)
    named = sorted(standing, key=lambda one: not one.overdue)[:LISTED]
    listed = [one.model_dump(mode="json", include=set(HAZARD)) for one in named]
    return told.model_dump(mode="json") | {"overdue_by": dict(late), "listed": listed}


ANY_CASE: Final = dict.fromkeys(
    ("closed", "stages", "tiers", "device", "point", "kind", "alarm", "from", "to", "after_at",
     "after_id")
)  # fmt: skip


async def _overdue(
    conn: Connection, only: int | None, enterprises: Mapping[int, str], now: datetime
) -> dict[str, Any]:
    """Cases in which what is owed next is late now."""
    counted = await alarm_queries.counts(conn, now)
    late = {
        code: sum(tier["overdue"] for tier in counted[number].tiers.values())
        for number, code in enterprises.items()
        if number in counted
    }
    wanted = {"enterprise": None if only is None else str(only), "overdue": True, "now": now}
    cases = await case_view.list_briefs(conn, ANY_CASE | wanted | {"limit": LISTED}, CLERK, now)
    listed = [_late_case(case) for case in cases if case.enterprise.code in late]
    return {"total": sum(late.values()), "by": late, "listed": listed}


def _late_case(case: CaseBrief) -> dict[str, Any]:
    assert case.due is not None  # it is late with something
    return {
        "case": str(case.id),
        "alarm": str(case.alarm_id),
        "enterprise": case.enterprise.code,
        "device": case.alarm.device.code,
        "tier": case.tier,
        "duty": case.due.stage.value,
        "due_at": rfc3339(case.due.at),
        "raised_at": rfc3339(case.alarm.raised_at),
    }


TOLD: Final = ("raised", "closed", "on_time", "responded", "rate", "on_time_rate", "response_rate")
NOTHING_RAISED: Final = dict.fromkeys(TOLD[:4], 0) | dict.fromkeys(TOLD[4:])


def _notice(contents: Mapping[str, Any]) -> dict[str, Any]:
    """The notice list of all enterprises."""
    handled = {one["key"]: one for one in contents["by"]["enterprise"]}
    online = {one["key"]: one["online_rate"] for one in contents["connectivity"]["groups"]}
    told = [
        {name: handled.get(code, NOTHING_RAISED)[name] for name in TOLD}
        | {
            "enterprise": code,
            "online_rate": online.get(code),
            "overdue_cases": contents["overdue"]["by"].get(code, 0),
            "hazards_overdue": contents["hazards"]["overdue_by"].get(code, 0),
        }
        for code in contents["enterprises"]
    ]
    listed, unranked = ranked(told)
    return {
        "ranked": [{"rank": one.rank, **one.figures} for one in listed],
        "unranked": unranked,
        "formula": FORMULA,
    }
