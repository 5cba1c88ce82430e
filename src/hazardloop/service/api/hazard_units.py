"""Hazard units: the installations that are graded by GB 18218."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query
from pydantic import ConfigDict, Field

from hazardloop.service.api import lookup
from hazardloop.service.api.access import Conn, require
from hazardloop.service.api.paging import Listing, Paging, listing
from hazardloop.service.api.problems import problems
from hazardloop.service.api.rows import fetch, fetch_one
from hazardloop.service.api.schema import Body, Code, Instant, Name, Out, Ref
from hazardloop.service.database import Connection

router = APIRouter(tags=["registry"])

EXAMPLE: Final[dict[str, Any]] = {
    "id": 7,
    "code": "HU-2",
    "name": "液氨罐区",
    "grade": 1,
    "enterprise": {"id": 3, "code": "E003", "name": "示范化工有限公司"},
    "created_at": "2026-11-22T01:02:03.123Z",
    "live": {"grade": 2, "s": 9.6, "r": 57.6, "noted_at": "2026-11-22T01:00:00.000Z"},
}
UnitRef = Annotated[str, Path(description="Id, code or ENTERPRISE:code.", examples=["HU-2"])]
Grade = Annotated[int, Field(ge=1, le=4, description="By GB 18218: 1 is the worst of four.")]


class LiveLevel(Out):
    """How the level by what is there was noted last."""

    grade: int | None = Field(description="Null: no major hazard.")
    s: float
    r: float
    noted_at: Instant


class HazardUnit(Out):
    """One hazard unit."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})
    id: int
    code: str
    name: str
    grade: int | None
    enterprise: Ref
    created_at: Instant
    live: LiveLevel | None = Field(description="Null: nobody has said what it holds.")


class HazardUnitIn(Body):
    """A new hazard unit."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"enterprise": "E003", "code": "HU-2", "name": "液氨罐区", "grade": 1}]
        }
    )
    enterprise: str = Field(description="Id or code.")
    code: Code
    name: Name
    grade: Grade | None = None


class HazardUnitChange(Body):
    """What to change; what is left out stays. A grade of null takes the grade away."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"grade": 2}]})
    name: Name | None = None
    grade: Grade | None = None


SELECT: Final = """
    SELECT x.hazard_unit_id AS id, x.code, x.name, x.grade, x.created_at,
           jsonb_build_object('id', e.enterprise_id, 'code', e.code, 'name', e.name) AS enterprise,
           (SELECT jsonb_build_object('grade', l.grade, 's', l.s, 'r', l.r, 'noted_at', l.noted_at)
              FROM unit_level l WHERE l.hazard_unit_id = x.hazard_unit_id
             ORDER BY l.noted_at DESC LIMIT 1) AS live
      FROM hazard_unit x JOIN enterprise e USING (enterprise_id)"""
LIST: Final = f"""{SELECT}
     WHERE {lookup.matches("enterprise", "enterprise")}
       AND (%(grade)s::int IS NULL OR x.grade = %(grade)s) AND x.hazard_unit_id > %(after)s
     ORDER BY x.hazard_unit_id LIMIT %(limit)s"""


@router.get("/hazard-units", dependencies=[require("registry.read")])
async def list_hazard_units(
    conn: Conn,
    page: Paging,
    enterprise: str | None = None,
    grade: Annotated[int | None, Query(ge=1, le=4)] = None,
) -> Listing[HazardUnit]:
    """Hazard units in the order of their ids."""
    rows = await fetch(
        conn,
        LIST,
        {
            "enterprise": enterprise,
            "grade": grade,
            "after": page.after[0] if page.after else 0,
            "limit": page.limit + 1,
        },
    )
    return listing([HazardUnit(**row) for row in rows], page, key=lambda one: (one.id,))


ADD: Final = """
    INSERT INTO hazard_unit (enterprise_id, code, name, grade)
    VALUES (%(enterprise_id)s, %(code)s, %(name)s, %(grade)s) RETURNING hazard_unit_id AS id"""


@router.post(
    "/hazard-units",
    status_code=201,
    dependencies=[require("registry.write")],
    responses=problems("not_found", "exists"),
)
async def add_hazard_unit(body: HazardUnitIn, conn: Conn) -> HazardUnit:
    """Register a hazard unit of an enterprise."""
    enterprise = await lookup.enterprise_id(conn, body.enterprise)
    row = await fetch_one(conn, ADD, body.model_dump() | {"enterprise_id": enterprise})
    assert row is not None
    return await hazard_unit_by_id(conn, row["id"])


@router.get(
    "/hazard-units/{hazard_unit}",
    dependencies=[require("registry.read")],
    responses=problems("not_found", "ambiguous"),
)
async def get_hazard_unit(hazard_unit: UnitRef, conn: Conn) -> HazardUnit:
    """One hazard unit."""
    return await hazard_unit_by_id(conn, await lookup.hazard_unit_id(conn, hazard_unit))


async def hazard_unit_by_id(conn: Connection, identity: int) -> HazardUnit:
    """The hazard unit of that id, which is visible."""
    row = await fetch_one(conn, f"{SELECT} WHERE x.hazard_unit_id = %(id)s", {"id": identity})
    assert row is not None
    return HazardUnit(**row)


CHANGE: Final = """
    UPDATE hazard_unit SET name = coalesce(%(name)s, name),
           grade = CASE WHEN %(grade_given)s THEN %(grade)s ELSE grade END
     WHERE hazard_unit_id = %(id)s"""


@router.patch(
    "/hazard-units/{hazard_unit}",
    dependencies=[require("registry.write")],
    responses=problems("not_found", "ambiguous"),
)
async def change_hazard_unit(
    hazard_unit: UnitRef, body: HazardUnitChange, conn: Conn
) -> HazardUnit:
    """Change the name or the grade; rules that look at the grade follow within seconds."""
    identity = await lookup.hazard_unit_id(conn, hazard_unit)
    given = "grade" in body.model_fields_set
    await conn.execute(CHANGE, body.model_dump() | {"id": identity, "grade_given": given})
    return await hazard_unit_by_id(conn, identity)
