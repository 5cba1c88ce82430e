"""Plans of sites: a drawing, and where on it each device of an enterprise stands."""

import asyncio
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Request, Response
from pydantic import ConfigDict, Field

from hazardloop.alarms import ledger_store
from hazardloop.alarms.ledger_store import Act
from hazardloop.service.api import lookup
from hazardloop.service.api.access import Account, Actor, Conn, Now, require
from hazardloop.service.api.problems import Problem, problems
from hazardloop.service.api.rows import fetch, fetch_one
from hazardloop.service.api.schema import Body, Instant, Name, Out, Ref
from hazardloop.service.database import Connection
from hazardloop.service.plan_drawing import MOST_CHARACTERS, drawing_of

router = APIRouter(tags=["registry"])

PlanId = Annotated[int, Path(ge=1, le=2**31 - 1, examples=[3])]
DRAWING: Final = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 600 400"></svg>'
EXAMPLE: Final[dict[str, Any]] = {
    "id": 3,
    "name": "厂区平面",
    "enterprise": {"id": 3, "code": "E003", "name": "示范化工有限公司"},
    "revision": 2,
    "box": [0.0, 0.0, 600.0, 400.0],
    "placed": 118,
    "changed_at": "2026-11-22T01:02:03.123Z",
    "changed_by": "admin",
    "left_out": [],
}
CONTENT_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
"""Of a drawing that somebody opens by itself."""


class Plan(Out):
    """A plan without its drawing."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})
    id: int
    name: str
    enterprise: Ref
    revision: int = Field(description="Of the drawing.")
    box: tuple[float, float, float, float] = Field(
        description="Left, top, width and height in the drawing's own units."
    )
    placed: int = Field(description="Devices that stand on it.")
    changed_at: Instant
    changed_by: str
    left_out: list[str] = Field(
        default=[], description="Of the drawing just sent: what was not taken over."
    )


class PlanIn(Body):
    """A new plan."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"enterprise": "E003", "name": "厂区平面", "drawing": DRAWING}]
        }
    )
    enterprise: str = Field(description="Id or code.")
    name: Name
    drawing: str = Field(
        max_length=MOST_CHARACTERS,
        description="An SVG, or GeoJSON in metres (x to the east, y to the north). Scripts, event"
        " attributes, foreign content and addresses outside are refused.",
    )


class PlanChange(Body):
    """Another drawing in place of the one of that revision; devices stay where they stand."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"revision": 2, "drawing": DRAWING}]})
    revision: int = Field(ge=1)
    name: Name | None = None
    drawing: str = Field(max_length=MOST_CHARACTERS)


class PlacedDevice(Out):
    """A device of the plan's enterprise."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": 41,
                    "code": "GD-3021",
                    "name": "3号罐区东侧",
                    "kind": "gas_detector",
                    "online": True,
                    "x": 120.5,
                    "y": 88.0,
                }
            ]
        }
    )
    id: int
    code: str
    name: str
    kind: str
    online: bool = Field(description="Its gateway says so.")
    x: float | None = Field(description="In the drawing's units; null: it stands nowhere on it.")
    y: float | None


Position = Annotated[float, Field(ge=-1e9, le=1e9, allow_inf_nan=False)]


class SpotIn(Body):
    """Where a device stands; null for both takes it off the plan."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"x": 120.5, "y": 88.0}]})
    x: Position | None
    y: Position | None


SELECT: Final = """
    SELECT p.plan_id AS id, p.name, p.revision, p.box, p.changed_at, p.changed_by, p.enterprise_id,
           jsonb_build_object('id', e.enterprise_id, 'code', e.code, 'name', e.name) AS enterprise,
           (SELECT count(*) FROM plan_anchor a WHERE a.plan_id = p.plan_id) AS placed
      FROM plan p JOIN enterprise e USING (enterprise_id)"""


@router.get("/plans", dependencies=[require("registry.read")], responses=problems("not_found"))
async def list_plans(conn: Conn, enterprise: str | None = None) -> list[Plan]:
    """All plans, by enterprise and name."""
    only = await lookup.enterprise_id(conn, enterprise) if enterprise else None
    rows = await fetch(
        conn,
        f"{SELECT} WHERE %(only)s::int IS NULL OR p.enterprise_id = %(only)s"
        " ORDER BY e.code, p.name",
        {"only": only},
    )
    return [Plan.model_validate(row) for row in rows]


async def _plan(conn: Connection, plan_id: int) -> dict[str, Any]:
    row = await fetch_one(conn, f"{SELECT} WHERE p.plan_id = %(id)s", {"id": plan_id})
    if row is None:
        raise Problem("not_found", f"no plan {plan_id} is known here")
    return row


async def _note(
    conn: Connection, account: Account, now: Any, row: dict[str, Any], action: str, **body: Any
) -> None:
    who = (account.username, account.role, now)
    act = Act("plan", str(row["id"]), action, *who, body=body, enterprise_id=row["enterprise_id"])
    await ledger_store.note_act(conn, act)


ADD: Final = """
    INSERT INTO plan (enterprise_id, name, drawing, box, changed_at, changed_by)
    VALUES (%(enterprise)s, %(name)s, %(drawing)s, %(box)s, %(now)s, %(by)s)
    RETURNING plan_id"""


@router.post(
    "/plans",
    status_code=201,
    dependencies=[require("registry.write")],
    responses=problems("not_found", "exists", "invalid"),
)
async def add_plan(body: PlanIn, conn: Conn, account: Actor, now: Now) -> Plan:
    """Draw a plan of an enterprise's site. The drawing is cleaned; what was left out is told."""
    enterprise = await lookup.enterprise_id(conn, body.enterprise)
    clean = await asyncio.to_thread(drawing_of, body.drawing)
    given = {"enterprise": enterprise, "name": body.name, "drawing": clean.svg}
    given |= {"box": list(clean.box), "now": now, "by": account.username}
    (plan_id,) = (await fetch_one(conn, ADD, given) or {}).values()
    row = await _plan(conn, plan_id)
    await _note(conn, account, now, row, "drawn", name=body.name, left_out=list(clean.left_out))
    return Plan.model_validate(row | {"left_out": list(clean.left_out)})


CHANGE: Final = """
    UPDATE plan SET name = coalesce(%(name)s, name), drawing = %(drawing)s, box = %(box)s,
           revision = revision + 1, changed_at = %(now)s, changed_by = %(by)s
     WHERE plan_id = %(id)s AND revision = %(revision)s RETURNING revision"""


@router.put(
    "/plans/{plan_id}",
    dependencies=[require("registry.write")],
    responses=problems("not_found", "exists", "invalid", "overtaken"),
)
async def change_plan(
    plan_id: PlanId, body: PlanChange, conn: Conn, account: Actor, now: Now
) -> Plan:
    """Draw a plan anew."""
    before = await _plan(conn, plan_id)
    clean = await asyncio.to_thread(drawing_of, body.drawing)
    given = body.model_dump() | {"id": plan_id, "drawing": clean.svg, "box": list(clean.box)}
    if await fetch_one(conn, CHANGE, given | {"now": now, "by": account.username}) is None:
        raise Problem("overtaken", "the plan was drawn anew meanwhile", revision=before["revision"])
    row = await _plan(conn, plan_id)
    await _note(conn, account, now, row, "redrawn", revision=row["revision"])
    return Plan.model_validate(row | {"left_out": list(clean.left_out)})


@router.get(
    "/plans/{plan_id}/drawing",
    dependencies=[require("registry.read")],
    response_class=Response,
    responses=problems("not_found")
    | {200: {"content": {"image/svg+xml": {"schema": {"type": "string"}, "example": DRAWING}}}},
)
async def get_drawing(plan_id: PlanId, conn: Conn, request: Request) -> Response:
    """The clean drawing, to be shown as a picture."""
    row = await fetch_one(
        conn, "SELECT drawing, revision FROM plan WHERE plan_id = %(id)s", {"id": plan_id}
    )
    if row is None:
        raise Problem("not_found", f"no plan {plan_id} is known here")
    tag = f'"{plan_id}.{row["revision"]}"'
    headers = {
        "ETag": tag,
        "Cache-Control": "private, no-cache",
        "Content-Security-Policy": CONTENT_POLICY,
    }
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(row["drawing"], media_type="image/svg+xml", headers=headers)


DEVICES: Final = """
    SELECT d.device_id AS id, d.code, coalesce(d.name, '') AS name, d.kind, g.online, a.x, a.y
      FROM device d JOIN gateway g USING (gateway_id)
           LEFT JOIN plan_anchor a ON a.device_id = d.device_id AND a.plan_id = %(plan)s
     WHERE d.enterprise_id = %(enterprise)s ORDER BY d.code"""


@router.get(
    "/plans/{plan_id}/devices",
    dependencies=[require("registry.read")],
    responses=problems("not_found"),
)
async def list_placed_devices(plan_id: PlanId, conn: Conn) -> list[PlacedDevice]:
    """All devices of the plan's enterprise, with where they stand on it."""
    plan = await _plan(conn, plan_id)
    rows = await fetch(conn, DEVICES, {"plan": plan_id, "enterprise": plan["enterprise_id"]})
    return [PlacedDevice.model_validate(row) for row in rows]


PLACE: Final = """
    INSERT INTO plan_anchor (device_id, plan_id, enterprise_id, x, y)
    VALUES (%(device)s, %(plan)s, %(enterprise)s, %(x)s, %(y)s)
    ON CONFLICT (device_id) DO UPDATE SET plan_id = EXCLUDED.plan_id, x = EXCLUDED.x,
                                          y = EXCLUDED.y"""
TAKE_OFF: Final = "DELETE FROM plan_anchor WHERE device_id = %(device)s AND plan_id = %(plan)s"
OWN: Final = """
    SELECT 1 FROM device WHERE device_id = %(device)s AND enterprise_id = %(enterprise)s"""


@router.put(
    "/plans/{plan_id}/devices/{device}",
    status_code=204,
    dependencies=[require("registry.write")],
    responses=problems("not_found", "invalid"),
)
async def place_device(
    plan_id: PlanId, device: int, body: SpotIn, conn: Conn, account: Actor, now: Now
) -> None:
    """Say where a device stands; it stands on one plan."""
    plan = await _plan(conn, plan_id)
    if (body.x is None) != (body.y is None):
        raise Problem("invalid", "x, y: both are numbers, or both null")
    given = {"plan": plan_id, "device": device, "enterprise": plan["enterprise_id"]}
    if await fetch_one(conn, OWN, given) is None:
        raise Problem("not_found", f"the plan's enterprise has no device {device}")
    await conn.execute(TAKE_OFF if body.x is None else PLACE, given | body.model_dump())
    action = "taken_off" if body.x is None else "placed"
    await _note(conn, account, now, plan, action, device=device, x=body.x, y=body.y)
