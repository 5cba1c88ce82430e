"""How well the alarm system serves its operators, as EEMUA 191 and ISA-18.2 look at it."""

from dataclasses import asdict
from datetime import timedelta
from typing import Annotated, Any, Final
from uuid import UUID

import numpy as np
from fastapi import APIRouter, Query
from pydantic import ConfigDict, Field

from hazardloop.alarms import health, health_store
from hazardloop.alarms.alarm import Tier
from hazardloop.alarms.health_store import Told
from hazardloop.alarms.remedies import Remedy, Setting
from hazardloop.devices.instants import microseconds_of, utc
from hazardloop.service.api import lookup
from hazardloop.service.api.access import Conn, require
from hazardloop.service.api.figures import Asked, Wanted
from hazardloop.service.api.floods import FLOOD, FloodOut, floods_between
from hazardloop.service.api.problems import Problem, problems
from hazardloop.service.api.schema import Instant, Out
from hazardloop.service.api.spoken import ReadIn, formula_in
from hazardloop.service.database import Connection

router = APIRouter(tags=["figures"])

LONGEST: Final = timedelta(days=92)
REMEDY: Final[dict[str, Any]] = {
    "setting": "deadband",
    "now": 0.5,
    "suggested": 1.3,
    "unit": "%{LEL}",
    "alarms": 41,
    "alarms_then": 3,
}
HOUR_US: Final = 3_600_000_000
FORMULA: Final = (
    "Alarms raised in [from, to) by data time, without drills and without those found in late data."
    " A flood begins with 10 raises in 10 minutes per seat and ends below 5; time_in_flood is its"
    " share of the period. Chattering: 3 raises of one rule at one point within a minute. Fleeting:"
    " over within a minute, unacknowledged, not chattering. Stale: active for more than 24 hours."
    " top10_share: of all raises, those of the ten most frequent sources."
)


class FloodFound(Out):
    """A time with more new alarms than can be dealt with, as the period's alarms show it."""

    start: Instant = Field(alias="from")
    end: Instant = Field(alias="to")
    alarms: int
    peak: int = Field(description="Most in any 10 minutes.")
    first_out: UUID = Field(description="The alarm with which it began.")


class RemedyOut(Out):
    """A change of the rule that would have merged alarms, none of which would begin later."""

    model_config = ConfigDict(json_schema_extra={"examples": [REMEDY]})
    setting: Setting
    now: float
    suggested: float = Field(description="In `unit`.")
    unit: str
    alarms: int = Field(description="Looked at: of the period, the newest 201 at most.")
    alarms_then: int = Field(description="What would have been left of them.")


class SourceOut(Out):
    """A rule at a point, and how often it raised an alarm."""

    rule_id: str
    point_id: int
    enterprise: str
    device: str
    device_name: str
    quantity: str
    alarms: int
    chattering: bool
    stale: int = Field(description="Of its alarms, those active for more than 24 hours.")
    remedy: RemedyOut | None = Field(
        description="The least deadband or off-delay that halves its alarms and ends the"
        " chattering, by the recorded episodes and readings; null: none does."
    )


class AlarmSystemOut(Out):
    """Load of the operators, floods, and the sources that make most of it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "from": "2026-11-21T00:00:00.000Z",
                    "to": "2026-11-22T00:00:00.000Z",
                    "seats": 1,
                    "alarms": 96,
                    "per_10_min": 0.667,
                    "peak_10_min": 8,
                    "over_10": 0.0,
                    "time_in_flood": 0.0,
                    "floods": [],
                    "flood_records": [FLOOD],
                    "per_hour": [4] * 24,
                    "tiers": {"red": 1, "orange": 5, "yellow": 30, "blue": 60},
                    "top10_share": 0.21,
                    "sources": [],
                    "chattering": 0,
                    "fleeting": [],
                    "stale": [],
                    "standing": 4,
                    "formula": FORMULA,
                }
            ]
        }
    )
    start: Instant = Field(alias="from")
    end: Instant = Field(alias="to")
    seats: int
    alarms: int
    per_10_min: float = Field(description="Mean per seat; 1 is acceptable, 2 is the most.")
    peak_10_min: int = Field(description="Of all seats together.")
    over_10: float = Field(description="Share of 10-minute bins with more than 10 per seat.")
    time_in_flood: float = Field(description="Share of the period.")
    floods: list[FloodFound] = Field(description="By the alarms of the period, for `seats`.")
    flood_records: list[FloodOut] = Field(
        description="As the centre lived them, with notes, newest first; the one without `to` goes"
        " on. None of one enterprise."
    )
    per_hour: list[int] = Field(description="Raised in each hour, from `from` on.")
    tiers: dict[str, int]
    top10_share: float | None = Field(description="Null where nothing was raised.")
    sources: list[SourceOut] = Field(description="The ten most frequent, then the chattering.")
    chattering: int = Field(description="Number of chattering sources.")
    fleeting: list[UUID]
    stale: list[UUID]
    standing: int = Field(description="Active at the end of the period.")
    formula: str


@router.get(
    "/kpi/alarm-system",
    dependencies=[require("figures.read")],
    responses=problems("not_found", "invalid"),
)
async def get_alarm_system(
    conn: Conn,
    wanted: Wanted,
    seats: Annotated[
        int, Query(ge=1, le=1_000, description="Operator positions that share the load.")
    ] = 1,
    language: ReadIn = None,
) -> AlarmSystemOut:
    """Whether the operators can keep up, and which alarms keep them from it."""
    if wanted.group_by is not None:
        raise Problem("invalid", "group_by: this figure is of all seats together")
    if wanted.end - wanted.start > LONGEST:
        raise Problem("invalid", f"from, to: a period of up to {LONGEST.days} days")
    only = wanted.enterprise and await lookup.enterprise_id(conn, wanted.enterprise)
    told = await health_store.told(conn, wanted.start, wanted.end, only or None)
    found = _whole(told, wanted, seats) | await _sources(conn, told, wanted)
    found["flood_records"] = [] if only else await floods_between(conn, wanted.start, wanted.end)
    return AlarmSystemOut.model_validate(
        found
        | {
            "from": wanted.start,
            "to": wanted.end,
            "seats": seats,
            "formula": formula_in(language, "alarm_system", FORMULA),
        }
    )


def _whole(told: Told, wanted: Asked, seats: int) -> dict[str, Any]:
    """What concerns all alarms together."""
    history = told.history
    start_us, end_us = microseconds_of(wanted.start), microseconds_of(wanted.end)
    raised = history.raised_us >= start_us
    before = int(np.count_nonzero(~raised))
    floods = health.floods(history.raised_us[raised], end_us, seats)
    hours = -(-(end_us - start_us) // HOUR_US)
    per_hour = np.bincount((history.raised_us[raised] - start_us) // HOUR_US, minlength=hours)
    tiers = np.bincount(history.tier[raised], minlength=len(Tier))
    fleeting, stale = health.fleeting(history) & raised, health.stale(history, end_us)
    return asdict(health.load(history.raised_us, start_us, end_us, seats)) | {
        "time_in_flood": sum(one.to_us - one.from_us for one in floods) / (end_us - start_us),
        "floods": [
            {
                "from": utc(one.from_us),
                "to": utc(one.to_us),
                "alarms": one.alarms,
                "peak": one.peak,
                "first_out": told.alarm_ids[before + one.first_out],
            }
            for one in floods
        ],
        "per_hour": per_hour.tolist(),
        "tiers": {tier.wire: int(tiers[tier]) for tier in reversed(Tier) if tier},
        "fleeting": [told.alarm_ids[nth] for nth in np.flatnonzero(fleeting)],
        "stale": [told.alarm_ids[nth] for nth in np.flatnonzero(stale)],
        "standing": int(health.standing(history, end_us).sum()),
    }


async def _sources(conn: Connection, told: Told, wanted: Asked) -> dict[str, Any]:
    """What concerns single sources."""
    history, start_us = told.history, microseconds_of(wanted.start)
    raised = history.source[history.raised_us >= start_us]
    counted = np.bincount(raised, minlength=len(told.sources))
    chattering = health.chattering(history)
    top = health.bad_actors(history, start_us)
    shown = list(dict.fromkeys([source for source, _ in top] + np.flatnonzero(chattering).tolist()))
    where = await health_store.places(conn, [told.sources[nth].point_id for nth in shown])
    remedies = await health_store.suggested(conn, told, shown)
    stale = np.bincount(
        history.source[health.stale(history, microseconds_of(wanted.end))],
        minlength=len(told.sources),
    )
    return {
        "top10_share": sum(alarms for _, alarms in top) / len(raised) if len(raised) else None,
        "chattering": int(chattering.sum()),
        "sources": [
            asdict(told.sources[nth])
            | where[told.sources[nth].point_id]
            | {
                "alarms": int(counted[nth]),
                "chattering": bool(chattering[nth]),
                "stale": int(stale[nth]),
                "remedy": _remedy(remedies.get(nth), where[told.sources[nth].point_id]["unit"]),
            }
            for nth in shown
        ],
    }


def _remedy(remedy: Remedy | None, unit: str) -> dict[str, Any] | None:
    if remedy is None:
        return None
    return asdict(remedy) | {"unit": "s" if remedy.setting is Setting.OFF_DELAY else unit}
