"""Devices: what stands in the field, registered as one of the known kinds."""

import math
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path
from psycopg.types.json import Jsonb
from pydantic import ConfigDict, Field

from hazardloop.devices.catalog import DeviceKind
from hazardloop.service.api import lookup
from hazardloop.service.api.access import Conn, Here, require
from hazardloop.service.api.paging import Listing, Paging, listing
from hazardloop.service.api.problems import Problem, problems
from hazardloop.service.api.rows import fetch, fetch_one
from hazardloop.service.api.schema import Body, Code, Instant, Out, Ref, Text
from hazardloop.service.database import Connection

router = APIRouter(tags=["registry"])

EXAMPLE: Final[dict[str, Any]] = {
    "id": 101,
    "code": "GD-101",
    "name": "可燃气体探测器",
    "kind": "gas_detector",
    "enterprise": {"id": 3, "code": "E003", "name": "示范化工有限公司"},
    "gateway": {"id": 12, "code": "GW-12", "name": "北罐区网关"},
    "hazard_unit": {"id": 7, "code": "HU-2", "name": "液氨罐区"},
    "location": "3号罐区东侧",
    "tags": {"gas": "CH4"},
    "expected_interval_s": 10.0,
    "points": [{"id": 1042, "code": "GD-101.lel", "quantity": "lel", "unit": "%{LEL}"}],
    "created_at": "2026-11-20T08:00:00.000Z",
}
DeviceRef = Annotated[str, Path(description="Id, code or ENTERPRISE:code.", examples=["GD-101"])]
Tag = Annotated[str, Field(max_length=200)] | int | float | bool
Tags = Annotated[
    dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")], Tag], Field(max_length=50)
]
Interval = Annotated[float, Field(gt=0, le=86_400, description="Seconds between readings.")]


class PointRef(Out):
    """One point of a device."""

    id: int
    code: str
    quantity: str
    unit: str = Field(description="UCUM.")


class Device(Out):
    """One device with its points."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})
    id: int
    code: str
    name: str
    kind: str
    enterprise: Ref
    gateway: Ref
    hazard_unit: Ref | None
    location: str
    tags: dict[str, Any]
    expected_interval_s: float = Field(description="Its own, else that of its kind.")
    points: list[PointRef]
    created_at: Instant


class DeviceIn(Body):
    """A new device. Its points are made from its kind."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "gateway": "GW-12",
                    "code": "GD-101",
                    "kind": "gas_detector",
                    "hazard_unit": "HU-2",
                    "location": "3号罐区东侧",
                    "tags": {"gas": "CH4"},
                }
            ]
        }
    )
    gateway: str = Field(description="Id, code or ENTERPRISE:code; gives the enterprise too.")
    code: Code
    kind: str
    name: Text = ""
    hazard_unit: str | None = None
    location: Text = ""
    tags: Tags = Field(default_factory=dict)
    expected_interval_s: Interval | None = None
    quantities: list[str] | None = Field(
        default=None, min_length=1, description="Which of the kind's quantities it has; null = all."
    )


class DeviceChange(Body):
    """What to change; what is left out stays. A hazard unit of null takes it out of its unit."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"location": "3号罐区西侧"}]})
    name: Text | None = None
    hazard_unit: str | None = None
    location: Text | None = None
    tags: Tags | None = None
    expected_interval_s: Interval | None = None


SELECT: Final = """
    SELECT x.device_id AS id, x.code, x.name, x.kind, x.location, x.tags, x.expected_interval_s,
           x.created_at,
           jsonb_build_object('id', e.enterprise_id, 'code', e.code, 'name', e.name) AS enterprise,
           jsonb_build_object('id', g.gateway_id, 'code', g.code, 'name', g.name) AS gateway,
           CASE WHEN h.hazard_unit_id IS NOT NULL THEN
               jsonb_build_object('id', h.hazard_unit_id, 'code', h.code, 'name', h.name)
           END AS hazard_unit,
           (SELECT jsonb_agg(jsonb_build_object('id', p.point_id, 'quantity', p.quantity,
                             'code', x.code || '.' || p.quantity, 'unit', p.unit)
                             ORDER BY p.point_id)
              FROM point p WHERE p.device_id = x.device_id) AS points
      FROM device x JOIN enterprise e USING (enterprise_id) JOIN gateway g USING (gateway_id)
           LEFT JOIN hazard_unit h USING (hazard_unit_id)"""
LIST: Final = f"""{SELECT}
     WHERE {lookup.matches("enterprise", "enterprise")} AND {lookup.matches("device", "device")}
       AND (%(gateway)s::text IS NULL OR g.code = %(gateway)s OR g.gateway_id::text = %(gateway)s
            OR e.code || ':' || g.code = %(gateway)s)
       AND (%(hazard_unit)s::text IS NULL OR h.code = %(hazard_unit)s
            OR h.hazard_unit_id::text = %(hazard_unit)s
            OR e.code || ':' || h.code = %(hazard_unit)s)
       AND (%(kind)s::text IS NULL OR x.kind = %(kind)s)
       AND NOT (x.internal AND %(kind)s::text IS NULL AND %(device)s::text IS NULL)
       AND x.device_id > %(after)s
     ORDER BY x.device_id LIMIT %(limit)s"""


@router.get("/devices", dependencies=[require("registry.read")])
async def list_devices(
    conn: Conn,
    page: Paging,
    here: Here,
    enterprise: str | None = None,
    gateway: str | None = None,
    hazard_unit: str | None = None,
    kind: str | None = None,
    device: str | None = None,
) -> Listing[Device]:
    """Devices in the order of their ids, each with its points.

    Those that the service itself measures are listed for `kind=` or `device=` only.
    """
    rows = await fetch(
        conn,
        LIST,
        {
            "enterprise": enterprise,
            "gateway": gateway,
            "hazard_unit": hazard_unit,
            "kind": kind,
            "device": device,
            "after": page.after[0] if page.after else 0,
            "limit": page.limit + 1,
        },
    )
    return listing([_device(row, here) for row in rows], page, key=lambda one: (one.id,))


ADD: Final = """
    INSERT INTO device (enterprise_id, gateway_id, hazard_unit_id, code, kind, name, location, tags,
                        expected_interval_s)
    SELECT enterprise_id, gateway_id, %(hazard_unit_id)s, %(code)s, %(kind)s, %(name)s,
           %(location)s, %(tags)s, %(expected_interval_s)s
      FROM gateway WHERE gateway_id = %(gateway_id)s
    RETURNING device_id AS id"""
ADD_POINTS: Final = """
    INSERT INTO point (device_id, enterprise_id, quantity, unit)
    SELECT device_id, enterprise_id, made.quantity, made.unit
      FROM device, unnest(%(quantities)s::text[], %(units)s::text[]) AS made (quantity, unit)
     WHERE device_id = %(id)s"""


@router.post(
    "/devices",
    status_code=201,
    dependencies=[require("registry.write")],
    responses=problems("not_found", "ambiguous", "exists"),
)
async def add_device(body: DeviceIn, conn: Conn, here: Here) -> Device:
    """Register a device; a point is made for each quantity, and rules watch it within seconds."""
    quantities = _quantities(here.kinds.get(body.kind), body)
    gateway_id = await lookup.gateway_id(conn, body.gateway)
    row = await fetch_one(
        conn,
        ADD,
        body.model_dump()
        | {
            "gateway_id": gateway_id,
            "hazard_unit_id": await _unit_of(conn, body.hazard_unit, gateway_id),
            "tags": Jsonb(body.tags),
        },
    )
    assert row is not None
    await conn.execute(
        ADD_POINTS,
        {"id": row["id"], "quantities": list(quantities), "units": list(quantities.values())},
    )
    return await device_by_id(conn, row["id"], here)


@router.get(
    "/devices/{device}",
    dependencies=[require("registry.read")],
    responses=problems("not_found", "ambiguous"),
)
async def get_device(device: DeviceRef, conn: Conn, here: Here) -> Device:
    """One device with its points."""
    return await device_by_id(conn, await lookup.device_id(conn, device), here)


CHANGE: Final = """
    UPDATE device SET name = coalesce(%(name)s, name), location = coalesce(%(location)s, location),
           tags = coalesce(%(tags)s, tags),
           expected_interval_s = coalesce(%(expected_interval_s)s, expected_interval_s),
           hazard_unit_id = CASE WHEN %(unit_given)s THEN %(hazard_unit_id)s ELSE hazard_unit_id END
     WHERE device_id = %(id)s"""


@router.patch(
    "/devices/{device}",
    dependencies=[require("registry.write")],
    responses=problems("not_found", "ambiguous"),
)
async def change_device(device: DeviceRef, body: DeviceChange, conn: Conn, here: Here) -> Device:
    """Change what is known of a device; its code, kind and gateway stay."""
    identity = await lookup.device_id(conn, device)
    gateway_id = (await device_by_id(conn, identity, here)).gateway.id
    await conn.execute(
        CHANGE,
        body.model_dump()
        | {
            "id": identity,
            "tags": None if body.tags is None else Jsonb(body.tags),
            "unit_given": "hazard_unit" in body.model_fields_set,
            "hazard_unit_id": await _unit_of(conn, body.hazard_unit, gateway_id),
        },
    )
    return await device_by_id(conn, identity, here)


async def device_by_id(conn: Connection, identity: int, here: Here) -> Device:
    """The device of that id, which is visible."""
    row = await fetch_one(conn, f"{SELECT} WHERE x.device_id = %(id)s", {"id": identity})
    assert row is not None
    return _device(row, here)


UNIT_OF: Final = """
    SELECT h.hazard_unit_id FROM hazard_unit h JOIN gateway g USING (enterprise_id)
           JOIN enterprise e USING (enterprise_id)
     WHERE g.gateway_id = %(gateway_id)s
       AND (h.code = %(ref)s OR h.hazard_unit_id::text = %(ref)s
            OR e.code || ':' || h.code = %(ref)s)
     ORDER BY h.hazard_unit_id::text = %(ref)s DESC LIMIT 1"""


async def _unit_of(conn: Connection, ref: str | None, gateway_id: int) -> int | None:
    """The hazard unit `ref` of the gateway's enterprise. Problem invalid: it has none such."""
    if ref is None:
        return None
    row = await fetch_one(conn, UNIT_OF, {"ref": ref, "gateway_id": gateway_id})
    if row is None:
        raise Problem("invalid", f"hazard_unit: the enterprise has no hazard unit {ref}")
    return int(row["hazard_unit_id"])


def _quantities(kind: DeviceKind | None, body: DeviceIn) -> dict[str, str]:
    """Quantity to unit of the points to make. Problem invalid: no such kind or quantity."""
    if kind is None:
        raise Problem("invalid", f"kind: no kind of device is called {body.kind}")
    if kind.internal:
        raise Problem("invalid", f"kind: the service itself makes devices of kind {body.kind}")
    wanted = body.quantities if body.quantities is not None else list(kind.quantities)
    if unknown := [code for code in wanted if code not in kind.quantities]:
        known = ", ".join(kind.quantities)
        raise Problem("invalid", f"quantities: {body.kind} has {known}, not {unknown[0]}")
    return {code: kind.quantities[code].unit for code in wanted}


def _device(row: dict[str, Any], here: Here) -> Device:
    kind = here.kinds.get(row["kind"])
    own = row["expected_interval_s"]
    interval = own if own is not None else kind.expected_interval_s if kind else math.inf
    return Device(**row | {"points": row["points"] or [], "expected_interval_s": interval})
