"""Drills and proof tests: announced before they begin, cancelled before, certified after."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Path, Query, Response
from pydantic import AwareDatetime, ConfigDict, Field, model_validator

from hazardloop.alarms import drill_store
from hazardloop.alarms.alarm import TIER_BY_NAME, Tier
from hazardloop.alarms.drill_store import Announcement
from hazardloop.alarms.errors import DrillRefused
from hazardloop.service.api import drill_certificate, lookup
from hazardloop.service.api.access import Actor, Conn, Now, require
from hazardloop.service.api.drill_certificate import Certificate
from hazardloop.service.api.paging import Listing, Paging, listing
from hazardloop.service.api.problems import Problem, problems
from hazardloop.service.api.rows import fetch, fetch_one
from hazardloop.service.api.schema import Body, Instant, Name, Out, Ref
from hazardloop.service.database import Connection

router = APIRouter(tags=["drills"])

DrillId = Annotated[int, Path(ge=1, le=2**31 - 1)]
TierName = Literal["blue", "yellow", "orange", "red"]
Code = Annotated[str, Field(max_length=200)]
MOST_POINTS: Final = 10_000
"""That one drill covers."""
LEAD_S: Final = 5
"""So long before it begins it is announced at least: every worker knows of it by then."""
LONGEST_S: Final = 86_400


class ScopeIn(Body):
    """Where: any of these together, of one enterprise; ids or codes."""

    points: Annotated[tuple[Code, ...], Field(max_length=1000)] = ()
    devices: Annotated[tuple[Code, ...], Field(max_length=1000)] = ()
    hazard_unit: Code | None = None
    enterprise: Code | None = Field(default=None, description="All points of the enterprise.")

    @model_validator(mode="after")
    def _is_somewhere(self) -> "ScopeIn":
        if not (self.points or self.devices or self.hazard_unit or self.enterprise):
            raise ValueError("a scope is points, devices, a hazard unit or an enterprise")
        return self


class ExpectedIn(Body):
    """That an alarm will come at this point."""

    point: Code
    tier: TierName | None = Field(default=None, description="That it is to reach; null = any.")


EXAMPLE_IN: Final[dict[str, Any]] = {
    "kind": "proof_test",
    "title": "1号罐区气体探测器标气试验",
    "tier": "orange",
    "scope": {"devices": ["E003:GD-101", "E003:GD-102"]},
    "starts_at": "2026-11-22T02:00:00.000Z",
    "ends_at": "2026-11-22T04:00:00.000Z",
    "expected": [{"point": "E003:GD-101.lel", "tier": "orange"}],
}


class DrillIn(Body):
    """A drill as it is announced."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE_IN]})
    kind: Literal["drill", "proof_test"]
    title: Name
    tier: TierName = Field(description="The worst it will raise: what is worse counts as real.")
    scope: ScopeIn
    starts_at: AwareDatetime = Field(description=f"At least {LEAD_S} s from now.")
    ends_at: AwareDatetime = Field(description="24 h later at most.")
    expected: Annotated[tuple[ExpectedIn, ...], Field(max_length=1000)] = ()


class DrillOut(Out):
    """A drill that was announced."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": 7,
                    "kind": "proof_test",
                    "title": "1号罐区气体探测器标气试验",
                    "state": "announced",
                    "tier": "orange",
                    "enterprise": {"id": 3, "code": "E003", "name": "示范化工有限公司"},
                    "starts_at": "2026-11-22T02:00:00.000Z",
                    "ends_at": "2026-11-22T04:00:00.000Z",
                    "announced_at": "2026-11-22T01:12:07.120Z",
                    "announced_by": "supervisor",
                    "cancelled_at": None,
                    "cancelled_by": None,
                    "points": 4,
                    "expected": 1,
                    "alarms": 0,
                }
            ]
        }
    )
    id: int
    kind: str
    title: str
    state: Literal["announced", "running", "over", "cancelled"]
    tier: str
    enterprise: Ref
    starts_at: Instant
    ends_at: Instant
    announced_at: Instant
    announced_by: str
    cancelled_at: Instant | None
    cancelled_by: str | None
    points: int = Field(description="In its scope, as it was announced.")
    expected: int = Field(description="Points of them at which an alarm is expected.")
    alarms: int = Field(description="Raised as its own so far.")


SELECT: Final = """
    SELECT d.*, e.code AS enterprise, e.name AS enterprise_name,
           (SELECT count(*) FROM drill_point p WHERE p.drill_id = d.drill_id) AS points,
           (SELECT count(*) FROM drill_point p
             WHERE p.drill_id = d.drill_id AND p.expected) AS expected,
           (SELECT count(*) FROM alarm a WHERE a.drill_id = d.drill_id AND a.drill) AS alarms
      FROM drill d JOIN enterprise e USING (enterprise_id)"""
LIST: Final = f"""{SELECT}
     WHERE {lookup.matches("enterprise", "enterprise")}
       AND (%(before)s::int IS NULL OR d.drill_id < %(before)s)
       AND (%(from)s::timestamptz IS NULL OR d.ends_at > %(from)s)
       AND (%(to)s::timestamptz IS NULL OR d.starts_at < %(to)s)
     ORDER BY d.drill_id DESC LIMIT %(limit)s"""


def drill_out(row: Mapping[str, Any], now: datetime) -> DrillOut:
    """A row of SELECT as it is shown."""
    begun, over = row["starts_at"] <= now, row["ends_at"] <= now
    return DrillOut(
        **{name: row[name] for name in DrillOut.model_fields if name in row and name not in MADE},
        id=row["drill_id"],
        state="cancelled"
        if row["cancelled_at"]
        else "over"
        if over
        else "running"
        if begun
        else "announced",
        tier=Tier(row["tier"]).wire,
        enterprise=Ref(
            id=row["enterprise_id"], code=row["enterprise"], name=row["enterprise_name"]
        ),
    )


MADE: Final = frozenset({"tier", "enterprise"})
"""Shown otherwise than stored."""


@router.get("/drills", dependencies=[require("drills.read")])
async def list_drills(
    conn: Conn,
    page: Paging,
    now: Now,
    enterprise: str | None = None,
    since: Annotated[AwareDatetime | None, Query(alias="from", description="Over since.")] = None,
    until: Annotated[AwareDatetime | None, Query(alias="to", description="Begun before.")] = None,
) -> Listing[DrillOut]:
    """Drills and proof tests, the latest announced first."""
    before = page.after[0] if page.after else None
    if not isinstance(before, int | None):
        raise Problem("bad_request", "this cursor is of another list")
    wanted = {"enterprise": enterprise, "before": before, "from": since, "to": until}
    rows = await fetch(conn, LIST, wanted | {"limit": page.limit + 1})
    return listing([drill_out(row, now) for row in rows], page, key=lambda one: (one.id,))


async def drill_by_id(conn: Connection, drill_id: int, now: datetime) -> DrillOut:
    """The drill. Problem not_found."""
    row = await fetch_one(conn, f"{SELECT} WHERE d.drill_id = %(id)s", {"id": drill_id})
    if row is None:
        raise Problem("not_found", f"no drill {drill_id} is known here")
    return drill_out(row, now)


@router.get(
    "/drills/{drill_id}", dependencies=[require("drills.read")], responses=problems("not_found")
)
async def get_drill(drill_id: DrillId, conn: Conn, now: Now) -> DrillOut:
    """One drill."""
    return await drill_by_id(conn, drill_id, now)


@router.post(
    "/drills",
    status_code=201,
    dependencies=[require("drills.announce")],
    responses=problems("not_found", "ambiguous", "drill_refused", "invalid"),
)
async def announce(body: DrillIn, conn: Conn, account: Actor, now: Now) -> DrillOut:
    """Announce a drill or proof test before it begins.

    What its points raise inside its window, by data time and by receipt, and at most of its tier,
    is marked as a drill when it is raised, runs the whole chain and is kept apart from the figures.
    Anything else is real: other points, other times, a tier above what was announced. Nothing can
    be marked afterwards, and a drill that has begun is not cancelled.
    """
    _refuse_window(body, now)
    expected = {
        await lookup.point_id(conn, one.point): TIER_BY_NAME[one.tier] if one.tier else None
        for one in body.expected
    }
    tier = TIER_BY_NAME[body.tier]
    if any(one is not None and one > tier for one in expected.values()):
        raise Problem("invalid", f"expected: a tier above {body.tier}, which is announced")
    enterprise_id, points = await _points(conn, body.scope)
    if not expected.keys() <= set(points):
        raise Problem("invalid", "expected: a point outside of the scope")
    announcement = Announcement(
        enterprise_id, body.kind, body.title, tier, body.starts_at, body.ends_at, points, expected
    )
    drill_id = await drill_store.announce(conn, announcement, account.as_actor)
    return await drill_by_id(conn, drill_id, now)


def _refuse_window(body: DrillIn, now: datetime) -> None:
    if (body.starts_at - now).total_seconds() < LEAD_S:
        raise DrillRefused(
            f"it would begin at {body.starts_at.isoformat()}: a drill is announced at least"
            f" {LEAD_S} s before; what was raised already is real"
        )
    length_s = (body.ends_at - body.starts_at).total_seconds()
    if not 0 < length_s <= LONGEST_S:
        raise DrillRefused(f"it would last {length_s:g} s: more than 0, at most {LONGEST_S}")


IN_SCOPE: Final = """
    SELECT p.point_id, p.enterprise_id FROM point p JOIN device x USING (device_id)
     WHERE p.point_id = ANY (%(points)s) OR p.device_id = ANY (%(devices)s)
        OR x.hazard_unit_id = %(hazard_unit)s OR p.enterprise_id = %(enterprise)s
     ORDER BY p.point_id LIMIT %(most)s"""


async def _points(conn: Connection, scope: ScopeIn) -> tuple[int, Sequence[int]]:
    """The enterprise and the points that a scope names."""
    wanted = {
        "points": [await lookup.point_id(conn, ref) for ref in scope.points],
        "devices": [await lookup.device_id(conn, ref) for ref in scope.devices],
        "hazard_unit": scope.hazard_unit and await lookup.hazard_unit_id(conn, scope.hazard_unit),
        "enterprise": scope.enterprise and await lookup.enterprise_id(conn, scope.enterprise),
    }
    rows = await fetch(conn, IN_SCOPE, wanted | {"most": MOST_POINTS + 1})
    homes = {row["enterprise_id"] for row in rows}
    if len(rows) > MOST_POINTS:
        raise Problem("invalid", f"scope: more than {MOST_POINTS} points; announce several drills")
    if len(homes) != 1:
        found = "no point" if not homes else f"points of {len(homes)} enterprises"
        raise Problem("invalid", f"scope: {found}; a drill is of one enterprise")
    return homes.pop(), [row["point_id"] for row in rows]


@router.post(
    "/drills/{drill_id}/cancel",
    dependencies=[require("drills.announce")],
    responses=problems("not_found", "drill_refused"),
)
async def cancel(drill_id: DrillId, conn: Conn, account: Actor, now: Now) -> DrillOut:
    """Call a drill off before it begins."""
    await drill_store.cancel(conn, drill_id, account.as_actor)
    return await drill_by_id(conn, drill_id, now)


@router.get(
    "/drills/{drill_id}/certificate",
    dependencies=[require("drills.read")],
    response_model=Certificate,
    responses=problems("not_found", "drill_refused"),
)
async def certificate(
    drill_id: DrillId,
    conn: Conn,
    now: Now,
    form: Annotated[
        Literal["json", "html"], Query(alias="format", description="HTML is for printing.")
    ] = "json",
    lang: Annotated[Literal["zh-CN", "en"], Query()] = "zh-CN",
) -> Any:
    """What came of a drill that is over: per point what was expected, raised, signed and closed.

    `sha256` is of the rest, as JSON with sorted keys and no spaces: two copies can be compared. It
    is `complete` once every case is closed, and does not change after that.
    """
    drill = await drill_by_id(conn, drill_id, now)
    if drill.state != "over":
        raise DrillRefused(f"drill {drill_id} is {drill.state}: it is certified once it is over")
    made = await drill_certificate.certificate(conn, drill.model_dump(mode="json"))
    if form == "html":
        return Response(drill_certificate.printable(made, lang), media_type="text/html")
    return made
