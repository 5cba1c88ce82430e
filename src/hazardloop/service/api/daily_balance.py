"""The message balance by days, and the daily statement that enterprise and centre both see."""

from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta
from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse
from pydantic import ConfigDict, Field

from hazardloop.ingest import balance_store
from hazardloop.ingest.balance import Tally
from hazardloop.service.api import balance_document, lookup
from hazardloop.service.api.access import Conn, Here, Now, require
from hazardloop.service.api.balance import (
    FIGURES,
    FORMULA,
    GRACE,
    Balance,
    figures,
    named,
    total_of,
)
from hazardloop.service.api.gateways import GatewayRef
from hazardloop.service.api.problems import Problem, problems
from hazardloop.service.api.schema import Out
from hazardloop.service.balance_chores import days_in
from hazardloop.service.database import Connection

router = APIRouter(tags=["intake"])

MOST_DAYS: Final = 366
NO_MINUTES: Final = (0, 0)


class Day(Balance):
    """The balance of one gateway on one day."""

    day: date = Field(description="By the service's time zone.")
    gateway: str
    enterprise: str
    provisional: bool


DAY: Final[dict[str, Any]] = FIGURES | {
    "day": "2026-11-21", "gateway": "GW-12", "enterprise": "E003", "provisional": False
}  # fmt: skip


class DailyOut(Out):
    """The days of one gateway."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"items": [DAY]}]})
    items: list[Day]


class StatementOut(Out):
    """One day of all gateways that the reader may see."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "day": "2026-11-21",
                    "time_zone": "Asia/Shanghai",
                    "provisional": False,
                    "total": FIGURES,
                    "items": [DAY],
                    "formula": FORMULA,
                }
            ]
        }
    )
    day: date
    time_zone: str
    provisional: bool = Field(description="The day is not over for 2 min.")
    total: Balance
    items: list[Day] = Field(description="Gateways that sent nothing are left out.")
    formula: str


@router.get(
    "/gateways/{gateway}/balance/daily",
    dependencies=[require("balance.read")],
    responses=problems("not_found", "ambiguous", "invalid"),
)
async def get_daily_balance(
    gateway: GatewayRef,
    conn: Conn,
    here: Here,
    now: Now,
    since: Annotated[
        date | None, Query(alias="from", description="First day; default 30 days before `to`.")
    ] = None,
    until: Annotated[date | None, Query(alias="to", description="Last day; default today.")] = None,
) -> DailyOut:
    """The message balance of a gateway day by day; days without a message are left out."""
    last = until or now.astimezone(ZoneInfo(here.settings.tz)).date()
    first = since or last - timedelta(days=30)
    if not timedelta() <= last - first < timedelta(days=MOST_DAYS):
        raise Problem("invalid", f"from, to: at most {MOST_DAYS} days, the first before the last")
    identity = await lookup.gateway_id(conn, gateway)
    names = await named(conn, [identity])
    days = await _days(conn, here.settings.tz, names, first, last)
    return DailyOut.model_validate({"items": _shown(days, names, here.settings.tz, now)})


DayWanted = Annotated[
    date | None, Query(description="By the service's time zone; default yesterday.")
]
OfEnterprise = Annotated[str | None, Query(description="Id or code; default all that you may see.")]


@router.get(
    "/balance/daily",
    dependencies=[require("balance.read")],
    responses=problems("not_found", "invalid"),
)
async def get_daily_statement(
    conn: Conn, here: Here, now: Now, day: DayWanted = None, enterprise: OfEnterprise = None
) -> StatementOut:
    """The daily statement: the balance of each gateway, the same for enterprise and centre."""
    return await _statement(conn, here.settings.tz, now, day, enterprise)


@router.get(
    "/balance/daily/document",
    dependencies=[require("balance.read")],
    responses=problems("not_found", "invalid")
    | {200: {"content": {"text/html": {"example": "<!doctype html>…"}}}},
    response_class=HTMLResponse,
)
async def get_daily_document(
    conn: Conn, here: Here, now: Now, day: DayWanted = None, enterprise: OfEnterprise = None
) -> HTMLResponse:
    """The daily statement as a page to be printed and filed."""
    statement = await _statement(conn, here.settings.tz, now, day, enterprise)
    text = balance_document.page(statement.model_dump(mode="json"), here.settings.lang, now)
    return HTMLResponse(text)


async def _statement(
    conn: Connection, tz: str, now: datetime, day: date | None, enterprise: str | None
) -> StatementOut:
    wanted = day or now.astimezone(ZoneInfo(tz)).date() - timedelta(days=1)
    only = None if enterprise is None else await lookup.enterprise_id(conn, enterprise)
    names = await named(conn, None, only)
    days = await _days(conn, tz, names, wanted, wanted)
    return StatementOut.model_validate(
        {
            "day": wanted,
            "time_zone": tz,
            "provisional": _provisional(wanted, tz, now),
            "total": figures(total_of(tally for _, _, tally in days)),
            "items": _shown(days, names, tz, now),
            "formula": FORMULA,
        }
    )


async def _days(
    conn: Connection, tz: str, names: Mapping[int, Mapping[str, Any]], first: date, last: date
) -> list[tuple[int, date, Tally]]:
    """Gateway, day and tally, by day and then in the order of `names`."""
    _, _, days = await balance_store.balance_of(
        conn, list(names), NO_MINUTES, (first, last + timedelta(days=1)), days_in(tz)
    )
    place = {identity: nth for nth, identity in enumerate(names)}
    found = [(identity, day, tally) for (identity, day), tally in days.items() if tally != Tally()]
    return sorted(found, key=lambda one: (one[1], place[one[0]]))


def _shown(
    days: Iterable[tuple[int, date, Tally]],
    names: Mapping[int, Mapping[str, Any]],
    tz: str,
    now: datetime,
) -> list[dict[str, Any]]:
    return [
        figures(tally)
        | {
            "day": day,
            "gateway": names[identity]["gateway"],
            "enterprise": names[identity]["enterprise"],
            "provisional": _provisional(day, tz, now),
        }
        for identity, day, tally in days
    ]


def _provisional(day: date, tz: str, now: datetime) -> bool:
    over = datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(tz)) + timedelta(days=1)
    return over + GRACE > now
