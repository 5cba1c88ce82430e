"""Reports of days, weeks and months: ask for one, follow its making, read it, trace its numbers."""

from datetime import date, datetime
from typing import Annotated, Any, Final, Literal
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Path, Query, Response

from hazardloop.alarms import jobs, ledger_store
from hazardloop.alarms.figures import GroupBy
from hazardloop.alarms.ledger_store import Act
from hazardloop.reports.period import Kind, Period, period_of
from hazardloop.service import report_store
from hazardloop.service.api import lookup
from hazardloop.service.api.access import Account, Actor, Conn, Here, Now, require
from hazardloop.service.api.figure_members import MembersOut, Which, members_of
from hazardloop.service.api.paging import Listing, Paging, listing
from hazardloop.service.api.problems import Problem, problems
from hazardloop.service.api.report_forms import ReportIn, ReportOut, ReportWithContents
from hazardloop.service.api.rows import fetch, fetch_one
from hazardloop.service.database import Connection
from hazardloop.service.report_files import FILES, MEDIA_TYPES, enterprises_of
from hazardloop.service.reporting import TASK

router = APIRouter(tags=["reports"])

MOST_WAITING: Final = 20
"""Reports that one person may have on their way."""

ReportId = Annotated[int, Path(ge=1, le=2**31 - 1)]

SELECT: Final = """
    SELECT r.report_id AS id, r.kind, r.first_day AS first, r.last_day AS last,
           e.code AS enterprise, r.version, r.by_calendar, r.asked_by, r.asked_at, r.due_at,
           r.frozen_at, r.written_at, encode(r.sha256, 'hex') AS sha256,
           coalesce((SELECT jsonb_agg(jsonb_build_object(
                                'format', f.format, 'lang', f.lang,
                                'size_bytes', octet_length(f.content),
                                'sha256', encode(f.sha256, 'hex')) ORDER BY lang DESC, format DESC)
                       FROM report_file f WHERE f.report_id = r.report_id), '[]') AS files
      FROM report r LEFT JOIN enterprise e USING (enterprise_id)"""
LIST: Final = f"""{SELECT}
     WHERE (%(kind)s::text IS NULL OR r.kind = %(kind)s)
       AND (%(district)s::boolean IS NULL OR (r.enterprise_id IS NULL) = %(district)s)
       AND (%(enterprise)s::int IS NULL OR r.enterprise_id = %(enterprise)s)
       AND (%(day)s::date IS NULL OR %(day)s BETWEEN r.first_day AND r.last_day)
       AND (%(ready)s::boolean IS NULL OR (r.written_at IS NOT NULL) = %(ready)s)
       AND (%(before)s::int IS NULL OR r.report_id < %(before)s)
     ORDER BY r.report_id DESC LIMIT %(limit)s"""
ONE: Final = f"{SELECT} WHERE r.report_id = %(id)s"


@router.get("/reports", dependencies=[require("reports.read")], responses=problems("not_found"))
async def list_reports(
    conn: Conn,
    page: Paging,
    kind: Kind | None = None,
    of: Annotated[
        Literal["district", "enterprise"] | None, Query(description="Whose; both if not given.")
    ] = None,
    enterprise: Annotated[str | None, Query(description="Id or code.")] = None,
    day: Annotated[date | None, Query(description="A local day in their period.")] = None,
    ready: Annotated[bool | None, Query(description="Whether all files are there.")] = None,
) -> Listing[ReportOut]:
    """Reports, the newest first."""
    if page.after and [type(part) for part in page.after] != [int]:
        raise Problem("bad_request", "this cursor is none that this list gave")
    wanted = {
        "kind": kind,
        "district": None if of is None else of == "district",
        "enterprise": enterprise and await lookup.enterprise_id(conn, enterprise),
        "day": day,
        "ready": ready,
        "before": page.after[0] if page.after else None,
        "limit": page.limit + 1,
    }
    rows = await fetch(conn, LIST, wanted)
    return listing([_shown(row) for row in rows], page, key=lambda one: (one.id,))


def _shown(row: dict[str, Any]) -> ReportOut:
    return ReportOut.model_validate(row | _progress(row))


def _progress(row: dict[str, Any]) -> dict[str, Any]:
    """Frozen is one step, each file another."""
    done = (row["frozen_at"] is not None) + len(row["files"])
    state = "planned" if row["frozen_at"] is None else "frozen"
    return {
        "state": "ready" if row["written_at"] is not None else state,
        "progress": {"done": done, "of": 1 + len(FILES)},
    }


ASK: Final = """
    INSERT INTO report (kind, first_day, last_day, enterprise_id, asked_by, asked_at, due_at)
    VALUES (%(kind)s, %(first)s, %(last)s, %(enterprise)s, %(by)s, %(now)s, %(now)s)
        ON CONFLICT (kind, first_day, enterprise_id) WHERE NOT by_calendar AND written_at IS NULL
        DO NOTHING
    RETURNING report_id"""
WAITING: Final = """
    SELECT count(*) AS waiting FROM report
     WHERE written_at IS NULL AND NOT by_calendar AND asked_by = %(by)s"""
ON_ITS_WAY: Final = f"""{SELECT}
     WHERE r.kind = %(kind)s AND r.first_day = %(first)s AND NOT r.by_calendar
       AND r.enterprise_id IS NOT DISTINCT FROM %(enterprise)s AND r.written_at IS NULL"""


@router.post(
    "/reports",
    status_code=202,
    dependencies=[require("reports.write")],
    responses=problems("not_found", "exists", "too_many_requests", "invalid"),
)
async def ask_for_report(
    body: ReportIn, conn: Conn, account: Actor, here: Here, now: Now
) -> ReportOut:
    """Ask for a report of a period as the figures stand now; a clerk makes it.

    One of the same that exists stays as it is: this is a new version, which says what differs.
    """
    period = period_of(body.kind, body.day)
    if period.bounds(ZoneInfo(here.settings.tz))[0] > now:
        raise Problem("invalid", f"day: {body.day} has not begun")
    wanted = {
        "kind": period.kind.value,
        "first": period.first,
        "last": period.last,
        "enterprise": await _enterprise(conn, account, body.enterprise),
        "by": account.username,
        "now": now,
    }
    waiting = await fetch_one(conn, WAITING, wanted)
    if waiting is None or waiting["waiting"] >= MOST_WAITING:
        raise Problem("too_many_requests", f"{MOST_WAITING} of your reports are still on their way")
    row = await fetch_one(conn, ASK, wanted)
    if row is None:
        other = await fetch_one(conn, ON_ITS_WAY, wanted)
        detail = "the same report is on its way" + (f": number {other['id']}" if other else "")
        raise Problem("exists", detail)
    await _note(conn, account, row["report_id"], period, wanted)
    await jobs.defer(conn, TASK, {})
    return await _one(conn, row["report_id"])


async def _enterprise(conn: Connection, account: Account, asked: str | None) -> int | None:
    """Of whom; an enterprise's user asks for its own. Problem not_found: none that it may see."""
    if asked is not None:
        return await lookup.enterprise_id(conn, asked)
    return account.enterprise_id


async def _note(
    conn: Connection, account: Account, report_id: int, period: Period, wanted: dict[str, Any]
) -> None:
    """Writes down who asked for what."""
    said = {"kind": period.kind.value, "first": period.first.isoformat()}
    said["last"] = period.last.isoformat()
    at: datetime = wanted["now"]
    who = (account.username, account.role.value, at, None, said, wanted["enterprise"])
    await ledger_store.note_act(conn, Act("report", str(report_id), "ask", *who))


async def _one(conn: Connection, report_id: int) -> ReportOut:
    row = await fetch_one(conn, ONE, {"id": report_id})
    if row is None:
        raise Problem("not_found", f"no report {report_id} is known here")
    return _shown(row)


@router.get(
    "/reports/{report_id}", dependencies=[require("reports.read")], responses=problems("not_found")
)
async def get_report(report_id: ReportId, conn: Conn) -> ReportWithContents:
    """A report and, once they are frozen, its contents."""
    one = await _one(conn, report_id)
    found = await report_store.frozen(conn, report_id)
    contents = None if found is None else found.contents()
    return ReportWithContents.model_validate(one.model_dump() | {"contents": contents})


@router.get(
    "/reports/{report_id}/members",
    dependencies=[require("reports.read")],
    responses=problems("not_found", "invalid", "bad_request", "still_under_way"),
)
async def get_report_members(
    report_id: ReportId,
    conn: Conn,
    page: Paging,
    figure: Annotated[str, Query(description="As `/kpi/members` takes it.")],
    group_by: GroupBy | None = None,
    key: Annotated[str | None, Query(description="Of the group, with `group_by`.")] = None,
) -> MembersOut:
    """Which alarms a figure of the report counts, by the facts that were frozen with it."""
    which = Which(figure, group_by, key, page)
    await _one(conn, report_id)
    found = await report_store.frozen(conn, report_id)
    if found is None:
        raise Problem("still_under_way", f"report {report_id} is not frozen yet")
    return members_of(found.facts, enterprises_of(found.contents()), which)


FILE: Final = """
    SELECT f.content, encode(f.sha256, 'hex') AS sha256, r.kind, r.first_day, r.version,
           coalesce(e.code, 'district') AS whose
      FROM report_file f JOIN report r USING (report_id)
           LEFT JOIN enterprise e USING (enterprise_id)
     WHERE f.report_id = %(id)s AND f.format = %(format)s AND f.lang = %(lang)s"""

BINARY: Final = {
    "description": "The file.",
    "content": {
        media: {"schema": {"type": "string", "format": "binary"}} for media in MEDIA_TYPES.values()
    },
}


@router.get(
    "/reports/{report_id}/file",
    dependencies=[require("reports.read")],
    responses=problems("not_found", "still_under_way") | {200: BINARY},
    response_class=Response,
)
async def get_report_file(
    report_id: ReportId,
    conn: Conn,
    here: Here,
    form: Annotated[Literal["xlsx", "pdf"], Query(alias="format")],
    lang: Annotated[
        Literal["zh-CN", "en"] | None, Query(description="The service's if not given.")
    ] = None,
) -> Response:
    """The report as a workbook or as pages; the same bytes each time."""
    spoken = lang or here.settings.lang
    found = await fetch_one(conn, FILE, {"id": report_id, "format": form, "lang": spoken})
    if found is None:
        one = await _one(conn, report_id)
        raise Problem("still_under_way", f"report {one.id} is {one.state}: that file is not made")
    name = f"{found['kind']}-{found['first_day']}-{found['whose']}-v{found['version']}.{form}"
    return Response(
        found["content"],
        media_type=MEDIA_TYPES[form],
        headers={
            "Content-Disposition": f'attachment; filename="{name}"',
            "ETag": f'"{found["sha256"]}"',
        },
    )
