"""Published figures: how what was raised has been answered and handled, and which alarms say so."""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, Final
from uuid import UUID

import numpy as np
from fastapi import APIRouter, Depends, Query
from pydantic import AwareDatetime, ConfigDict, Field

from hazardloop.alarms import figure_store
from hazardloop.alarms.alarm import Verdict
from hazardloop.alarms.facts import Facts, Table
from hazardloop.alarms.figures import (
    FIGURES,
    FORMULA,
    RESPONSE_FORMULA,
    GroupBy,
    Groups,
    counts,
    floored_share,
    grouped,
    spreads,
    whole,
)
from hazardloop.alarms.packed_months import PackedMonths
from hazardloop.service.api import lookup
from hazardloop.service.api.access import Conn, Here, Now, require
from hazardloop.service.api.problems import Problem, problems
from hazardloop.service.api.rows import fetch
from hazardloop.service.api.schema import Instant, Out
from hazardloop.service.api.spoken import ReadIn, formula_in
from hazardloop.service.database import Connection

router = APIRouter(tags=["figures"])

USUAL_PERIOD: Final = timedelta(days=30)
LONGEST_PERIOD: Final = timedelta(days=366)


@dataclass(frozen=True, slots=True)
class Asked:
    """For which period, of whom, and split by what."""

    start: datetime
    end: datetime
    enterprise: str | None
    group_by: GroupBy | None


async def asked(
    now: Now,
    start: Annotated[
        AwareDatetime | None, Query(alias="from", description="Raised since; 30 days before `to`.")
    ] = None,
    end: Annotated[
        AwareDatetime | None, Query(alias="to", description="Raised before; now.")
    ] = None,
    group_by: GroupBy | None = None,
    enterprise: Annotated[str | None, Query(description="Id or code.")] = None,
) -> Asked:
    """The period of a figure. Problem invalid: it is too long, or ends before it starts."""
    end = end or now
    start = start or end - USUAL_PERIOD
    if not start < end <= start + LONGEST_PERIOD:
        raise Problem("invalid", "from, to: a period of up to 366 days, its start before its end")
    return Asked(start, end, enterprise, group_by)


Wanted = Annotated[Asked, Depends(asked)]

ENTERPRISES: Final = """
    SELECT enterprise_id, code FROM enterprise
     WHERE enterprise_id = %(only)s OR %(only)s::int IS NULL AND NOT internal"""


async def facts_asked(
    conn: Connection,
    wanted: Asked,
    kept: PackedMonths | None = None,
    tables: Collection[Table] = tuple(Table),
) -> tuple[Facts, Mapping[int, str]]:
    """The facts, and whose they are by enterprise_id. Problem not_found: no such enterprise."""
    only = wanted.enterprise and await lookup.enterprise_id(conn, wanted.enterprise)
    rows = await fetch(conn, ENTERPRISES, {"only": only or None})
    enterprises = {row["enterprise_id"]: row["code"] for row in rows}
    facts = await figure_store.facts_of(
        conn, wanted.start, wanted.end, enterprises, tables=tables, kept=kept
    )
    return facts, enterprises


def split(facts: Facts, wanted: Asked, enterprises: Mapping[int, str]) -> Groups:
    """The groups asked for; none if none."""
    if wanted.group_by is None:
        return Groups((), np.zeros(len(facts), np.int32))
    return grouped(facts, wanted.group_by, enterprises)


class Figures(Out):
    """How the alarms of a period were handled."""

    raised: int = Field(description="Denominator, without drills; frozen when they were raised.")
    closed: int = Field(description="Numerator: their case is closed, with a verdict.")
    rate: float | None = Field(
        description="Cut after 4 places; 1.0 only if all are closed, null if none was raised."
    )
    on_time: int = Field(description="Closed, and no report or review came after its deadline.")
    open: int
    drills: int = Field(description="Apart from all of the above.")
    returned: int = Field(description="Sent back by a reviewer at least once.")
    reopened: int = Field(description="Reopened at least once after they were closed.")
    found_late: int = Field(description="Found in data that came late.")
    verdicts: dict[Verdict, int] = Field(description="What the verified ones turned out to be.")
    members: list[UUID] | None = Field(
        default=None, description="Alarms that make up `raised`; with `members=true`."
    )


class Group(Figures):
    """The same for one enterprise, area, kind of device, tier or operator."""

    key: str


NO_FIGURES: Final[dict[str, Any]] = {
    "raised": 6,
    "closed": 6,
    "rate": 1.0,
    "on_time": 6,
    "open": 0,
    "drills": 0,
    "returned": 1,
    "reopened": 0,
    "found_late": 0,
    "verdicts": {"real": 4, "false_alarm": 1, "test": 0, "maintenance": 1, "unknown": 0},
    "members": None,
}
PERIOD: Final = {"from": "2026-10-23T02:00:00.000Z", "to": "2026-11-22T02:00:00.000Z"}
EXAMPLE: Final[dict[str, Any]] = (
    PERIOD
    | NO_FIGURES
    | {
        "raised": 412,
        "closed": 398,
        "rate": 0.966,
        "on_time": 391,
        "open": 14,
        "drills": 3,
        "groups": [{"key": "red"} | NO_FIGURES],
        "formula": FORMULA,
    }
)


class HandlingOut(Figures):
    """Handling rate (处置率) of a period with its numerator, denominator and formula."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})
    start: Instant = Field(alias="from")
    end: Instant = Field(alias="to")
    groups: list[Group]
    formula: str


SHOWN: Final = ("raised", "closed", "on_time", "open", "drills", "returned", "reopened")
COUNTED: Final = (*SHOWN, "found_late", *(f"verdict_{verdict}" for verdict in Verdict))


@router.get(
    "/kpi/handling",
    dependencies=[require("figures.read")],
    responses=problems("not_found", "invalid"),
)
async def get_handling(
    conn: Conn,
    here: Here,
    wanted: Wanted,
    members: Annotated[bool, Query(description="Name the alarms behind each figure.")] = False,
    language: ReadIn = None,
) -> HandlingOut:
    """Share of the alarms raised in a period whose case is closed with a verdict."""
    tables = (Table.MARKS, Table.IDS) if members else (Table.MARKS,)
    facts, enterprises = await facts_asked(conn, wanted, here.packed_months, tables)
    told = handling_of(facts, wanted, enterprises, members=members)
    return told.model_copy(update={"formula": formula_in(language, "handling", FORMULA)})


def handling_of(
    facts: Facts, wanted: Asked, enterprises: Mapping[int, str], *, members: bool = False
) -> HandlingOut:
    """How these alarms were handled, in the whole and by groups."""
    groups = split(facts, wanted, enterprises)
    return HandlingOut.model_validate(
        _handling(facts, whole(facts), members)[0]
        | {
            "from": wanted.start,
            "to": wanted.end,
            "groups": [
                {"key": key} | one
                for key, one in zip(groups.keys, _handling(facts, groups, members), strict=True)
            ],
            "formula": FORMULA,
        }
    )


def _handling(facts: Facts, groups: Groups, members: bool) -> list[dict[str, Any]]:
    """Figures of each group."""
    raised = FIGURES["raised"](facts)
    return [
        one
        | {
            "rate": floored_share(one["closed"], one["raised"]),
            "verdicts": {verdict: one[f"verdict_{verdict}"] for verdict in Verdict},
            "members": facts.alarm_ids(facts.in_order(raised & (groups.codes == nth)))
            if members
            else None,
        }
        for nth, one in enumerate(counts(facts, groups, COUNTED))
    ]


class SpreadOut(Out):
    """How long a station took, in seconds from dispatch."""

    of: int = Field(description="Alarms that reached it.")
    p50_s: float | None
    p90_s: float | None
    worst_s: float | None


class Response(Out):
    """How fast the alarms of a period were answered."""

    raised: int
    responded: int = Field(description="Signed by both sides within 30 minutes of dispatch.")
    response_rate: float | None = Field(description="responded / raised, cut after 4 places.")
    responded_enterprise: int
    responded_authority: int
    verified_30: int = Field(description="Verified on site within 30 minutes of dispatch.")
    late_sign_enterprise: int = Field(description="These five: done, after their deadline.")
    late_sign_authority: int
    late_verify: int
    late_submit: int
    late_review: int
    stages: dict[str, SpreadOut]


class ResponseGroup(Response):
    """The same for one group."""

    key: str


ANSWERED: Final = (
    "raised",
    "responded",
    "responded_enterprise",
    "responded_authority",
    "verified_30",
    "late_sign_enterprise",
    "late_sign_authority",
    "late_verify",
    "late_submit",
    "late_review",
)
RESPONSE_EXAMPLE: Final[dict[str, Any]] = dict.fromkeys(ANSWERED, 6) | {
    "response_rate": 1.0,
    "stages": {"signed": {"of": 6, "p50_s": 95.0, "p90_s": 240.5, "worst_s": 281.0}},
}


class ResponseOut(Response):
    """Response within 30 minutes (30分钟响应率) and the times of every station."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [PERIOD | RESPONSE_EXAMPLE | {"groups": [], "formula": RESPONSE_FORMULA}]
        }
    )
    start: Instant = Field(alias="from")
    end: Instant = Field(alias="to")
    groups: list[ResponseGroup]
    formula: str


@router.get(
    "/kpi/response",
    dependencies=[require("figures.read")],
    responses=problems("not_found", "invalid"),
)
async def get_response(
    conn: Conn, here: Here, wanted: Wanted, language: ReadIn = None
) -> ResponseOut:
    """How fast alarms were signed, verified, reported and closed."""
    tables = (Table.MARKS, Table.TIMES)
    facts, enterprises = await facts_asked(conn, wanted, here.packed_months, tables)
    told = response_of(facts, wanted, enterprises)
    return told.model_copy(update={"formula": formula_in(language, "response", RESPONSE_FORMULA)})


def response_of(facts: Facts, wanted: Asked, enterprises: Mapping[int, str]) -> ResponseOut:
    """How fast these alarms were answered, in the whole and by groups."""
    groups = split(facts, wanted, enterprises)
    return ResponseOut.model_validate(
        _response(facts, whole(facts))[0]
        | {
            "from": wanted.start,
            "to": wanted.end,
            "groups": [
                {"key": key} | one
                for key, one in zip(groups.keys, _response(facts, groups), strict=True)
            ],
            "formula": RESPONSE_FORMULA,
        }
    )


def _response(facts: Facts, groups: Groups) -> list[dict[str, Any]]:
    return [
        one
        | {
            "response_rate": floored_share(one["responded"], one["raised"]),
            "stages": {name: asdict(spread) for name, spread in stages.items()},
        }
        for one, stages in zip(counts(facts, groups, ANSWERED), spreads(facts, groups), strict=True)
    ]
