"""Hazards (隐患): one list, from the finding to the recheck, and the two lists to export."""

from datetime import datetime
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Query, Response
from pydantic import AwareDatetime

from hazardloop.alarms import hazard_store
from hazardloop.alarms.alarm import Actor as Person
from hazardloop.alarms.figures import floored_share
from hazardloop.alarms.hazard import (
    FIVE,
    Act,
    Deed,
    Grade,
    Regime,
    Station,
    allowed,
    records,
)
from hazardloop.alarms.hazard_store import Finding
from hazardloop.service.api import lookup
from hazardloop.service.api.access import Actor, Conn, Now, require
from hazardloop.service.api.hazard_forms import (
    DeedIn,
    HazardBrief,
    HazardFigures,
    HazardIn,
    HazardOut,
)
from hazardloop.service.api.paging import Listing, Paging, listing
from hazardloop.service.api.problems import Problem, problems
from hazardloop.service.api.rows import fetch, fetch_one
from hazardloop.service.api.sessions import Account
from hazardloop.service.api.sheet import CSV, as_csv
from hazardloop.service.database import Connection

router = APIRouter(tags=["hazards"])


SELECT: Final = """
    SELECT h.*, e.code AS enterprise, u.code AS hazard_unit,
           h.station <> 'closed' AND h.deadline < (%(now)s::timestamptz)::date AS overdue,
           (SELECT count(*) FROM alarm first JOIN alarm later USING (rule_id, point_id)
             WHERE first.alarm_id = h.alarm_id AND later.raised_at > first.raised_at) AS repeats,
           coalesce((SELECT regimes FROM hazard_regime r WHERE r.sector = h.sector),
                    %(regimes)s) AS asked
      FROM hazard h JOIN enterprise e USING (enterprise_id)
           LEFT JOIN hazard_unit u USING (hazard_unit_id)"""
CHOSEN: Final = """
     WHERE (%(id)s::int IS NULL OR h.hazard_id = %(id)s)
       AND (%(enterprise)s::int IS NULL OR h.enterprise_id = %(enterprise)s)
       AND (%(station)s::text IS NULL OR h.station = %(station)s)
       AND (%(grade)s::text IS NULL OR h.grade = %(grade)s)
       AND (%(supervised)s::boolean IS NULL OR h.supervised = %(supervised)s)
       AND (%(open)s::boolean IS NULL OR (h.station <> 'closed') = %(open)s)
       AND (%(recheck)s::boolean IS NULL
            OR coalesce(h.recheck_due <= (%(now)s::timestamptz)::date, false) = %(recheck)s)
       AND (%(from)s::timestamptz IS NULL OR h.found_at >= %(from)s)
       AND (%(to)s::timestamptz IS NULL OR h.found_at < %(to)s)
       AND h.hazard_id > %(after)s
     ORDER BY h.hazard_id LIMIT %(limit)s"""
ALL: Final[dict[str, Any]] = dict.fromkeys(
    ("id", "enterprise", "station", "grade", "supervised", "open", "recheck", "from", "to")
) | {"after": 0, "limit": None, "regimes": [regime.value for regime in Regime]}
DEEDS: Final = "SELECT * FROM hazard_deed WHERE hazard_id = %(id)s ORDER BY revision"


async def briefs(conn: Connection, asking: Person, wanted: dict[str, Any]) -> list[HazardBrief]:
    """Hazards that fit `wanted`, a value for some names in CHOSEN and for `now`, oldest first."""
    rows = await fetch(conn, SELECT + CHOSEN, ALL | wanted)
    return [HazardBrief.model_validate(_brief(row, asking)) for row in rows]


async def _briefs(conn: Connection, account: Account, wanted: dict[str, Any]) -> list[HazardBrief]:
    return await briefs(conn, account.as_actor, wanted)


def _brief(row: dict[str, Any], asking: Person) -> dict[str, Any]:
    hazard = hazard_store.hazard_of(row)
    told = records(hazard)
    return row | {
        "id": row["hazard_id"],
        "alarm": row["alarm_id"],
        "overdue": bool(row["overdue"]),
        "regimes": {regime: told[regime] for regime in map(Regime, row["asked"])},
        "allowed_acts": allowed(hazard, asking),
    }


@router.get("/hazards", dependencies=[require("hazards.read")], responses=problems("not_found"))
async def list_hazards(
    conn: Conn,
    account: Actor,
    now: Now,
    page: Paging,
    enterprise: Annotated[str | None, Query(description="Id or code.")] = None,
    station: Station | None = None,
    grade: Grade | None = None,
    state: Literal["open", "closed"] | None = None,
    supervised: bool | None = None,
    recheck_due: Annotated[
        bool | None, Query(description="Closed, and to be looked at again by today.")
    ] = None,
) -> Listing[HazardBrief]:
    """Hazards in the order in which they were found."""
    wanted = {
        "enterprise": enterprise and await lookup.enterprise_id(conn, enterprise),
        "station": station,
        "grade": grade,
        "open": None if state is None else state == "open",
        "supervised": supervised,
        "recheck": recheck_due,
        "now": now,
        "after": page.after[0] if page.after else 0,
        "limit": page.limit + 1,
    }
    return listing(await _briefs(conn, account, wanted), page, key=lambda one: (one.id,))


@router.get(
    "/hazards/{hazard_id}", dependencies=[require("hazards.read")], responses=problems("not_found")
)
async def get_hazard(hazard_id: int, conn: Conn, account: Actor, now: Now) -> HazardOut:
    """One hazard with its ledger."""
    found = await _briefs(conn, account, {"id": hazard_id, "now": now})
    if not found:
        raise Problem("not_found", f"no hazard {hazard_id} is known here")
    deeds = await fetch(conn, DEEDS, {"id": hazard_id})
    return HazardOut.model_validate(found[0].model_dump() | {"deeds": deeds})


OF_ALARM: Final = """
    SELECT enterprise_id, hazard_unit_id FROM alarm JOIN device USING (device_id, enterprise_id)
     WHERE alarm_id = %(alarm)s"""


@router.post(
    "/hazards",
    status_code=201,
    dependencies=[require("hazards.write")],
    responses=problems("not_found", "ambiguous", "exists"),
)
async def add_hazard(body: HazardIn, conn: Conn, account: Actor, now: Now) -> HazardOut:
    """Enter what was found; 409 where the alarm has been promoted already."""
    enterprise_id, unit_id = await _whereabouts(conn, body)
    finding = Finding(
        enterprise_id,
        unit_id,
        body.alarm,
        body.sector,
        body.grade,
        body.origin,
        body.title,
        body.place,
    )
    hazard_id = await hazard_store.find(conn, finding, account.as_actor, body.note, now)
    if hazard_id is None:
        raise Problem("exists", f"alarm {body.alarm} is a hazard already")
    return await get_hazard(hazard_id, conn, account, now)


OF_UNIT: Final = "SELECT enterprise_id FROM hazard_unit WHERE hazard_unit_id = %(unit)s"


async def _whereabouts(conn: Connection, body: HazardIn) -> tuple[int, int | None]:
    """Enterprise and unit. Problem not_found: one of them is not known here."""
    if body.alarm is None:
        found = {"enterprise_id": await lookup.enterprise_id(conn, body.enterprise or "")}
    else:
        row = await fetch_one(conn, OF_ALARM, {"alarm": body.alarm})
        if row is None:
            raise Problem("not_found", f"no alarm {body.alarm} is known here")
        found = row
    if not body.hazard_unit:
        return found["enterprise_id"], found.get("hazard_unit_id")
    unit = await lookup.hazard_unit_id(conn, body.hazard_unit)
    home = await fetch_one(conn, OF_UNIT, {"unit": unit})
    if home is None or home["enterprise_id"] != found["enterprise_id"]:
        raise Problem("not_found", f"hazard unit {body.hazard_unit} is another enterprise's")
    return found["enterprise_id"], unit


@router.post(
    "/hazards/{hazard_id}/deeds",
    status_code=201,
    dependencies=[require("hazards.write")],
    responses=problems("forbidden", "not_found", "step_refused", "overtaken"),
)
async def add_deed(hazard_id: int, body: DeedIn, conn: Conn, account: Actor, now: Now) -> HazardOut:
    """Take one act: register, rectify, report, close or return; notify, supervise, recheck."""
    settled = {name: value for name in FIVE if (value := getattr(body, name)) is not None}
    deed = Deed(
        body.act,
        account.as_actor,
        body.revision,
        now,
        body.note,
        settled,
        body.recurred,
        body.recheck_due,
    )
    if await hazard_store.act(conn, hazard_id, deed, _supervision(body, now)) is None:
        raise Problem("not_found", f"no hazard {hazard_id} is known here")
    return await get_hazard(hazard_id, conn, account, now)


def _supervision(body: DeedIn, now: datetime) -> dict[str, Any] | None:
    """What a listing or a release leaves on the hazard. Problem invalid: it names no level."""
    if body.act is not Act.SUPERVISE:
        return None
    if body.level is None or not (body.batch or "").strip():
        raise Problem("invalid", "level, batch: a supervision names both")
    return {"level": body.level, "batch": body.batch, "listed_on": now.date().isoformat()}


LISTS: Final = {
    "problems": (
        *("id", "enterprise", "hazard_unit", "grade", "origin", "title", "place", "found_at"),
        *("found_by", "station", "overdue", "supervised", "repeats", "recurred"),
    ),
    "measures": ("id", "enterprise", "title", "grade", *FIVE, "station", "closed_at"),
}

EXPORTED_MOST: Final = 10_000
"""Hazards of one file; what is more is refused, never cut off silently."""


@router.get(
    "/hazards-export",
    dependencies=[require("hazards.read")],
    responses=problems("not_found", "invalid"),
    response_class=Response,
)
async def export_hazards(
    conn: Conn,
    account: Actor,
    now: Now,
    sheet: Annotated[Literal["problems", "measures"], Query(alias="list")],
    enterprise: Annotated[str | None, Query(description="Id or code.")] = None,
    start: Annotated[AwareDatetime | None, Query(alias="from", description="Found since.")] = None,
    end: Annotated[AwareDatetime | None, Query(alias="to", description="Found before.")] = None,
) -> Response:
    """One of the two lists (问题隐患、制度措施两个清单) as CSV that spreadsheets open.

    422 where there are more than 10,000: name an enterprise or a period.
    """
    only = enterprise and await lookup.enterprise_id(conn, enterprise)
    wanted = {"enterprise": only or None, "from": start, "to": end, "now": now}
    found = await _briefs(conn, account, wanted | {"limit": EXPORTED_MOST + 1})
    if len(found) > EXPORTED_MOST:
        raise Problem(
            "invalid", f"more than {EXPORTED_MOST} hazards: name an enterprise, or from and to"
        )
    lines = ([getattr(one, name) for name in LISTS[sheet]] for one in found)
    return Response(
        as_csv([LISTS[sheet], *lines]),
        media_type=CSV,
        headers={"Content-Disposition": f'attachment; filename="hazards-{sheet}.csv"'},
    )


FIGURES: Final = """
    SELECT count(*) AS found, count(*) FILTER (WHERE station = 'closed') AS closed,
           count(*) FILTER (WHERE grade = 'major') AS major,
           count(*) FILTER (WHERE grade = 'major' AND station = 'closed') AS major_closed,
           count(*) FILTER (WHERE station <> 'closed'
                            AND deadline < (%(now)s::timestamptz)::date) AS overdue,
           count(*) FILTER (WHERE supervised) AS supervised,
           count(*) FILTER (WHERE recurred > 0) AS recurred,
           count(*) FILTER (WHERE recheck_due <= (%(now)s::timestamptz)::date) AS rechecks_due
      FROM hazard
     WHERE (%(enterprise)s::int IS NULL OR enterprise_id = %(enterprise)s)"""


@router.get("/kpi/hazards", dependencies=[require("figures.read")], responses=problems("not_found"))
async def get_hazard_figures(
    conn: Conn, now: Now, enterprise: Annotated[str | None, Query(description="Id or code.")] = None
) -> HazardFigures:
    """Rectified ÷ found, apart from the handling rate of alarms; members are in `/hazards`."""
    only = enterprise and await lookup.enterprise_id(conn, enterprise)
    row = await fetch_one(conn, FIGURES, {"enterprise": only or None, "now": now})
    assert row is not None
    return HazardFigures(
        **row,
        rate=floored_share(row["closed"], row["found"]),
        major_rate=floored_share(row["major_closed"], row["major"]),
    )
