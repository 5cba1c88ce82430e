"""Points: one quantity of one device, with its newest reading."""

import math
from datetime import datetime, timedelta
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Path
from pydantic import ConfigDict, Field

from hazardloop.devices.readings import quality_word
from hazardloop.service.api import lookup
from hazardloop.service.api.access import Conn, Here, Now, require
from hazardloop.service.api.paging import Listing, Paging, listing
from hazardloop.service.api.problems import problems
from hazardloop.service.api.rows import fetch
from hazardloop.service.api.schema import Instant, Out, Ref
from hazardloop.service.database import Connection

router = APIRouter(tags=["registry"])

LATEST_WITHIN: Final = timedelta(days=31)
"""How far back a newest reading is looked for; older days have no partition."""
EXAMPLE: Final[dict[str, Any]] = {
    "id": 1042,
    "code": "GD-101.lel",
    "quantity": "lel",
    "unit": "%{LEL}",
    "device": {"id": 101, "code": "GD-101", "name": "可燃气体探测器"},
    "kind": "gas_detector",
    "enterprise": {"id": 3, "code": "E003", "name": "示范化工有限公司"},
    "range": [0.0, 100.0],
    "latest": {
        "value": 12.5,
        "quality": "good",
        "observed_at": "2026-11-22T01:12:07.120Z",
        "received_at": "2026-11-22T01:12:07.180Z",
    },
}
PointPath = Annotated[
    str,
    Path(description="Id, DEVICE.quantity or ENTERPRISE:DEVICE.quantity.", examples=["GD-101.lel"]),
]


class Latest(Out):
    """The newest reading of a point."""

    value: float | None = Field(description="Null: nothing usable was said.")
    quality: str = Field(description="`good`, `uncertain` or `bad`.")
    observed_at: Instant
    received_at: Instant


class Point(Out):
    """One point."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})
    id: int
    code: str
    quantity: str
    unit: str = Field(description="UCUM.")
    device: Ref
    kind: str
    enterprise: Ref
    range: tuple[float | None, float | None] = Field(
        description="Least and most that is physically possible; null = open."
    )
    latest: Latest | None


SELECT: Final = """
    SELECT p.point_id AS id, x.code || '.' || p.quantity AS code, p.quantity, p.unit, x.kind,
           jsonb_build_object('id', x.device_id, 'code', x.code, 'name', x.name) AS device,
           jsonb_build_object('id', e.enterprise_id, 'code', e.code, 'name', e.name) AS enterprise,
           newest.value, newest.quality, newest.observed_at, newest.received_at
      FROM point p JOIN device x USING (device_id)
           JOIN enterprise e ON e.enterprise_id = x.enterprise_id
           JOIN gateway g USING (gateway_id)
           LEFT JOIN LATERAL newest_reading(p.point_id, %(since)s) newest ON true"""
WHERE: Final = f"""
     WHERE {lookup.matches("enterprise", "enterprise")} AND {lookup.matches("device", "device")}
       AND {lookup.matches("point", "point")}
       AND (%(gateway)s::text IS NULL OR g.code = %(gateway)s OR g.gateway_id::text = %(gateway)s
            OR e.code || ':' || g.code = %(gateway)s)
       AND (%(kind)s::text IS NULL OR x.kind = %(kind)s)
       AND (%(quantity)s::text IS NULL OR p.quantity = %(quantity)s)
       AND NOT (x.internal AND coalesce(%(kind)s::text, %(device)s::text, %(point)s::text) IS NULL)
       AND p.point_id > %(after)s"""
LIST: Final = f"{SELECT}{WHERE} ORDER BY p.point_id LIMIT %(limit)s"


async def _chosen(
    page: Paging,
    now: Now,
    enterprise: str | None = None,
    gateway: str | None = None,
    device: str | None = None,
    kind: str | None = None,
    quantity: str | None = None,
    point: str | None = None,
) -> dict[str, Any]:
    """Parameters of a page of points: which are wanted, and where the page begins."""
    return {
        "enterprise": enterprise,
        "gateway": gateway,
        "device": device,
        "kind": kind,
        "quantity": quantity,
        "point": point,
        "since": now - LATEST_WITHIN,
        "after": page.after[0] if page.after else 0,
        "limit": page.limit + 1,
    }


Chosen = Annotated[dict[str, Any], Depends(_chosen)]


@router.get("/points", dependencies=[require("registry.read")])
async def list_points(
    conn: Conn,
    page: Paging,
    here: Here,
    chosen: Chosen,
) -> Listing[Point]:
    """Points in the order of their ids, each with its newest reading.

    Those that the service itself measures are listed for `kind=`, `device=` or `point=` only.
    """
    rows = await fetch(
        conn,
        LIST,
        chosen,
    )
    return listing([_point(row, here) for row in rows], page, key=lambda one: (one.id,))


@router.get(
    "/points/{point}",
    dependencies=[require("registry.read")],
    responses=problems("not_found", "ambiguous"),
)
async def get_point(point: PointPath, conn: Conn, here: Here, now: Now) -> Point:
    """One point with its newest reading."""
    return await point_by_id(conn, await lookup.point_id(conn, point), here, now)


async def point_by_id(conn: Connection, identity: int, here: Here, now: datetime) -> Point:
    """The point of that id, which is visible."""
    rows = await fetch(
        conn, f"{SELECT} WHERE p.point_id = %(id)s", {"id": identity, "since": now - LATEST_WITHIN}
    )
    return _point(rows[0], here)


def finite(value: float) -> float | None:
    """`value`, or None where JSON has no number for it."""
    return value if math.isfinite(value) else None


def latest_of(row: dict[str, Any]) -> Latest | None:
    """The newest reading in `row`, None where the point has none."""
    if row["observed_at"] is None:
        return None
    return Latest(
        value=finite(row["value"]),
        quality=quality_word(row["quality"]),
        observed_at=row["observed_at"],
        received_at=row["received_at"],
    )


def _point(row: dict[str, Any], here: Here) -> Point:
    kind = here.kinds.get(row["kind"])
    quantity = kind.quantities.get(row["quantity"]) if kind else None
    bounds = (finite(quantity.low), finite(quantity.high)) if quantity else (None, None)
    return Point(**row, range=bounds, latest=latest_of(row))
