"""The enterprises that run hazard sources."""

from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Path
from pydantic import ConfigDict, Field

from hazardloop.service.api import lookup
from hazardloop.service.api.access import Conn, require
from hazardloop.service.api.paging import Listing, Paging, listing
from hazardloop.service.api.problems import problems
from hazardloop.service.api.rows import fetch, fetch_one
from hazardloop.service.api.schema import Body, Code, Instant, Name, Out, Text

router = APIRouter(tags=["registry"])

EXAMPLE: Final[dict[str, Any]] = {
    "id": 3,
    "code": "E003",
    "name": "示范化工有限公司",
    "area": "北区",
    "contact": "值班室 3 号",
    "site": "enterprise",
    "created_at": "2026-11-22T01:02:03.123Z",
}
SiteSort = Literal["enterprise", "household", "street_shop"]
EnterpriseRef = Annotated[str, Path(description="Id or code.", examples=["E003"])]


class Enterprise(Out):
    """One enterprise."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})
    id: int
    code: str
    name: str
    area: str
    contact: str
    site: SiteSort
    created_at: Instant


class EnterpriseIn(Body):
    """A new enterprise. The code stands in topics and cannot be changed."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"code": "E003", "name": "示范化工有限公司", "area": "北区"}]
        }
    )
    code: Code
    name: Name
    area: Text = ""
    contact: Text = ""
    site: SiteSort = Field(
        default="enterprise",
        description="A household or street shop: the village or community is charged with it.",
    )


class EnterpriseChange(Body):
    """What to change; what is left out stays."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"contact": "值班室 4 号"}]})
    name: Name | None = None
    area: Text | None = None
    contact: Text | None = None
    site: SiteSort | None = None


COLUMNS: Final = "enterprise_id AS id, code, name, area, contact, site, created_at"
LIST: Final = f"""
    SELECT {COLUMNS} FROM enterprise e
     WHERE {lookup.matches("enterprise", "enterprise")}
       AND NOT (internal AND %(enterprise)s::text IS NULL)
       AND (%(area)s::text IS NULL OR area = %(area)s) AND enterprise_id > %(after)s
     ORDER BY enterprise_id LIMIT %(limit)s"""


@router.get("/enterprises", dependencies=[require("registry.read")])
async def list_enterprises(
    conn: Conn, page: Paging, enterprise: str | None = None, area: str | None = None
) -> Listing[Enterprise]:
    """Enterprises in the order of their ids; an enterprise user sees its own only."""
    rows = await fetch(
        conn,
        LIST,
        {
            "enterprise": enterprise,
            "area": area,
            "after": page.after[0] if page.after else 0,
            "limit": page.limit + 1,
        },
    )
    return listing([Enterprise(**row) for row in rows], page, key=lambda one: (one.id,))


ADD: Final = f"""
    INSERT INTO enterprise (code, name, area, contact, site)
    VALUES (%(code)s, %(name)s, %(area)s, %(contact)s, %(site)s) RETURNING {COLUMNS}"""


@router.post(
    "/enterprises",
    status_code=201,
    dependencies=[require("registry.write")],
    responses=problems("exists"),
)
async def add_enterprise(body: EnterpriseIn, conn: Conn) -> Enterprise:
    """Register an enterprise."""
    row = await fetch_one(conn, ADD, body.model_dump())
    assert row is not None
    return Enterprise(**row)


ONE: Final = f"SELECT {COLUMNS} FROM enterprise WHERE enterprise_id = %(id)s"


@router.get(
    "/enterprises/{enterprise}",
    dependencies=[require("registry.read")],
    responses=problems("not_found"),
)
async def get_enterprise(enterprise: EnterpriseRef, conn: Conn) -> Enterprise:
    """One enterprise."""
    return await enterprise_by_id(conn, await lookup.enterprise_id(conn, enterprise))


async def enterprise_by_id(conn: Conn, identity: int) -> Enterprise:
    """The enterprise of that id, which is visible."""
    row = await fetch_one(conn, ONE, {"id": identity})
    assert row is not None
    return Enterprise(**row)


CHANGE: Final = """
    UPDATE enterprise SET name = coalesce(%(name)s, name), area = coalesce(%(area)s, area),
           contact = coalesce(%(contact)s, contact), site = coalesce(%(site)s, site)
     WHERE enterprise_id = %(id)s"""


@router.patch(
    "/enterprises/{enterprise}",
    dependencies=[require("registry.write")],
    responses=problems("not_found"),
)
async def change_enterprise(
    enterprise: EnterpriseRef, body: EnterpriseChange, conn: Conn
) -> Enterprise:
    """Change what an enterprise is called and how it is reached."""
    identity = await lookup.enterprise_id(conn, enterprise)
    await conn.execute(CHANGE, body.model_dump() | {"id": identity})
    return await enterprise_by_id(conn, identity)
