"""The calendar of working days: holidays, days made up for, and times counted in them."""

from datetime import date
from typing import Annotated, Any, Final, Literal
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Path, Query
from pydantic import AwareDatetime, ConfigDict, Field

from hazardloop.alarms import ledger_store
from hazardloop.alarms.ledger_store import Act
from hazardloop.alarms.working_days import MOST_DAYS, due_after_working_days
from hazardloop.service import calendar_days
from hazardloop.service.api.access import Actor, Conn, Here, Now, require
from hazardloop.service.api.problems import problems
from hazardloop.service.api.rows import fetch
from hazardloop.service.api.schema import Body, Instant, Name, Out

router = APIRouter(tags=["calendar"])

Kind = Literal["holiday", "workday"]
DAY: Final[dict[str, Any]] = {
    "day": "2027-02-06",
    "kind": "holiday",
    "name": "春节",
    "set_by": "wang",
}


class DayIn(Body):
    """What a day is."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"kind": "holiday", "name": "春节"}]})
    kind: Kind = Field(description="`workday`: a weekend's day on which work is made up for.")
    name: Name


class DayOut(Out):
    """A day that does not go by the day of the week."""

    model_config = ConfigDict(json_schema_extra={"examples": [DAY]})
    day: date
    kind: Kind
    name: str
    set_by: str | None = Field(description="Who put it in; null: published by the State Council.")


class YearOut(Out):
    """The special days of a year."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"year": 2027, "known": True, "warning": None, "days": [DAY]}]
        }
    )
    year: int
    known: bool
    warning: str | None = Field(description="What is counted as long as the year is not known.")
    days: list[DayOut]


class DueOut(Out):
    """When a time counted in working days is over."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"at": "2026-10-15T16:00:00.000Z", "last_day": "2026-10-15", "warning": None}
            ]
        }
    )
    at: Instant
    last_day: date
    warning: str | None


def _unknown(years: tuple[int, ...]) -> str | None:
    if not years:
        return None
    named = ", ".join(map(str, years))
    return f"the holidays of {named} are not known yet: Monday to Friday are counted; put them in"


OWN: Final = """
    SELECT day, kind, name, set_by FROM calendar_day
     WHERE day >= make_date(%(year)s, 1, 1) AND day <= make_date(%(year)s, 12, 31)"""


@router.get("/calendar", dependencies=[require("calendar.read")])
async def get_calendar(
    conn: Conn, year: Annotated[int, Query(ge=2000, le=2100, examples=[2026])]
) -> YearOut:
    """The holidays of a year and the days made up for; a year nobody knows yet says so."""
    days: dict[date, dict[str, Any]] = {
        day: {"day": day, "kind": "workday" if working else "holiday", "name": name, "set_by": None}
        for day, (working, name) in calendar_days.published().items()
        if day.year == year and working is not calendar_days.usual(day)
    }
    days |= {row["day"]: row for row in await fetch(conn, OWN, {"year": year})}
    known = year in (await calendar_days.calendar_of(conn)).years
    return YearOut(
        year=year,
        known=known,
        warning=None if known else _unknown((year,)),
        days=[DayOut.model_validate(days[day]) for day in sorted(days)],
    )


@router.get("/calendar/due", dependencies=[require("calendar.read")], responses=problems("invalid"))
async def get_due(
    conn: Conn,
    here: Here,
    start: Annotated[AwareDatetime, Query(alias="from", examples=["2026-09-28T02:00:00Z"])],
    days: Annotated[int, Query(ge=1, le=MOST_DAYS, examples=[7])],
) -> DueOut:
    """When so many working days are over; the day of `from` does not count, the last one whole."""
    due = due_after_working_days(
        start, days, await calendar_days.calendar_of(conn), ZoneInfo(here.settings.tz)
    )
    return DueOut(at=due.at, last_day=due.last_day, warning=_unknown(due.guessed_years))


PUT_DAY: Final = """
    INSERT INTO calendar_day (day, kind, name, set_by, set_at)
    VALUES (%(day)s, %(kind)s, %(name)s, %(set_by)s, %(now)s)
    ON CONFLICT (day) DO UPDATE SET kind = excluded.kind, name = excluded.name,
                                    set_by = excluded.set_by, set_at = excluded.set_at
    RETURNING day, kind, name, set_by"""


@router.put("/calendar/{day}", dependencies=[require("calendar.write")])
async def put_day(
    day: Annotated[date, Path(examples=["2027-02-06"])],
    body: DayIn,
    conn: Conn,
    actor: Actor,
    now: Now,
) -> DayOut:
    """Say what a day is; it goes before what was published, and is kept in the ledger."""
    values = body.model_dump() | {"day": day, "set_by": actor.username, "now": now}
    (row,) = await fetch(conn, PUT_DAY, values)
    act = Act("calendar", str(day), "set", actor.username, actor.role, now, body=body.model_dump())
    await ledger_store.note_act(conn, act)
    return DayOut.model_validate(row)
