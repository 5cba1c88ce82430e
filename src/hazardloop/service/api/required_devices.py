"""How many devices of a kind a hazard unit must have, by its design or by an order."""

from typing import Final

from fastapi import APIRouter
from pydantic import ConfigDict, Field

from hazardloop.alarms import ledger_store
from hazardloop.alarms.ledger_store import Act
from hazardloop.service.api import lookup
from hazardloop.service.api.access import Actor, Conn, Now, require
from hazardloop.service.api.hazard_units import UnitRef
from hazardloop.service.api.problems import Problem, problems
from hazardloop.service.api.rows import fetch, fetch_one
from hazardloop.service.api.schema import Body, Code, Out, Text
from hazardloop.service.api.site import Here

router = APIRouter(tags=["registry"])


class UnitRefOut(Out):
    """A hazard unit."""

    enterprise: str
    hazard_unit: str


class RequiredOut(UnitRefOut):
    """How many devices of a kind a hazard unit must have, and has."""

    kind: str
    required: int
    installed: int
    basis: str


REQUIRED: Final = """
    SELECT e.code AS enterprise, u.code AS hazard_unit, r.kind, r.required, r.basis,
           (SELECT count(*) FROM device d
             WHERE d.hazard_unit_id = r.hazard_unit_id AND d.kind = r.kind
               AND d.created_at < %(to)s) AS installed
      FROM required_devices r JOIN hazard_unit u USING (hazard_unit_id)
           JOIN enterprise e ON e.enterprise_id = r.enterprise_id
     WHERE (r.enterprise_id = %(enterprise)s OR %(enterprise)s::int IS NULL)
       AND (r.hazard_unit_id = %(unit)s OR %(unit)s::int IS NULL)
     ORDER BY e.code, u.code, r.kind"""


class RequirementIn(Body):
    """How many devices of a kind a hazard unit must have; 0 takes the demand away."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"kind": "gas_detector", "required": 12, "basis": "GB/T 50493 设计"}]
        }
    )
    kind: Code
    required: int = Field(ge=0, le=100_000)
    basis: Text = Field(default="", description="Design, order or standard that says so.")


REQUIRE: Final = """
    INSERT INTO required_devices (hazard_unit_id, enterprise_id, kind, required, basis)
    VALUES (%(id)s, %(enterprise_id)s, %(kind)s, %(required)s, %(basis)s)
        ON CONFLICT (hazard_unit_id, kind)
        DO UPDATE SET required = excluded.required, basis = excluded.basis"""
UNREQUIRE: Final = """
    DELETE FROM required_devices WHERE hazard_unit_id = %(id)s AND kind = %(kind)s"""
OWNER: Final = "SELECT enterprise_id FROM hazard_unit WHERE hazard_unit_id = %(id)s"


@router.get(
    "/hazard-units/{hazard_unit}/required-devices",
    dependencies=[require("registry.read")],
    responses=problems("not_found", "ambiguous"),
)
async def list_required_devices(hazard_unit: UnitRef, conn: Conn, now: Now) -> list[RequiredOut]:
    """What the unit must have, kind by kind, and has."""
    identity = await lookup.hazard_unit_id(conn, hazard_unit)
    rows = await fetch(conn, REQUIRED, {"to": now, "enterprise": None, "unit": identity})
    return [RequiredOut(**row) for row in rows]


@router.put(
    "/hazard-units/{hazard_unit}/required-devices",
    dependencies=[require("registry.write")],
    responses=problems("not_found", "ambiguous", "invalid"),
)
async def require_devices(
    hazard_unit: UnitRef, body: RequirementIn, conn: Conn, here: Here, account: Actor, now: Now
) -> list[RequiredOut]:
    """Say how many devices of a kind a unit must have; answers all its demands."""
    if body.kind not in here.kinds:
        raise Problem("invalid", f"kind: {body.kind!r} is none of {', '.join(sorted(here.kinds))}")
    identity = await lookup.hazard_unit_id(conn, hazard_unit)
    owner = await fetch_one(conn, OWNER, {"id": identity})
    assert owner is not None
    said = body.model_dump()
    await conn.execute(REQUIRE if body.required else UNREQUIRE, said | owner | {"id": identity})
    who = (account.username, account.role)
    act = Act("hazard_unit", str(identity), "require", *who, now, body=said, **owner)
    await ledger_store.note_act(conn, act)
    return await list_required_devices(hazard_unit, conn, now)
