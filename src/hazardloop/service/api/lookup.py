"""From what stands in an address, an id or a code, to the id."""

from typing import Final

from hazardloop.service.api.problems import Problem
from hazardloop.service.database import Connection

FROM: Final = {
    "enterprise": "enterprise e",
    "hazard unit": "hazard_unit x JOIN enterprise e USING (enterprise_id)",
    "gateway": "gateway x JOIN enterprise e USING (enterprise_id)",
    "device": "device x JOIN enterprise e USING (enterprise_id)",
    "point": "point p JOIN device x USING (device_id)"
    " JOIN enterprise e ON e.enterprise_id = x.enterprise_id",
}
COLUMN: Final = {
    "enterprise": ("e.enterprise_id", "e.code"),
    "hazard unit": ("x.hazard_unit_id", "x.code"),
    "gateway": ("x.gateway_id", "x.code"),
    "device": ("x.device_id", "x.code"),
    "point": ("p.point_id", "x.code || '.' || p.quantity"),
}
"""Of each thing: its id, and its code."""


def matches(thing: str, parameter: str) -> str:
    """SQL that is true where the parameter is null, or is id, code or enterprise:code of `thing`.

    The names e, x and p are those of COLUMN.
    """
    identity, code = COLUMN[thing]
    return (
        f"(%({parameter})s::text IS NULL OR {identity}::text = %({parameter})s"
        f" OR {code} = %({parameter})s OR e.code || ':' || ({code}) = %({parameter})s)"
    )


async def _id_of(conn: Connection, thing: str, ref: str) -> int:
    identity, code = COLUMN[thing]
    home, _, own = ref.rpartition(":")
    if ref.isascii() and ref.isdigit():
        match = f"{identity}::text = %(own)s"
    elif home:
        match = f"e.code = %(home)s AND {code} = %(own)s"
    else:
        match = f"{code} = %(own)s"
    query = f"SELECT {identity} FROM {FROM[thing]} WHERE {match} LIMIT 2"
    cursor = await conn.execute(query, {"home": home, "own": own})
    rows = await cursor.fetchall()
    if not rows:
        raise Problem("not_found", f"no {thing} {ref} is known here")
    if len(rows) > 1:
        raise Problem(
            "ambiguous", f"several enterprises have a {thing} {ref}: write it as ENTERPRISE:{ref}"
        )
    return int(rows[0][0])


async def enterprise_id(conn: Connection, ref: str) -> int:
    """The id of an enterprise. Problem not_found."""
    return await _id_of(conn, "enterprise", ref)


async def hazard_unit_id(conn: Connection, ref: str) -> int:
    """The id of a hazard unit. Problem not_found, ambiguous."""
    return await _id_of(conn, "hazard unit", ref)


async def gateway_id(conn: Connection, ref: str) -> int:
    """The id of a gateway. Problem not_found, ambiguous."""
    return await _id_of(conn, "gateway", ref)


async def device_id(conn: Connection, ref: str) -> int:
    """The id of a device. Problem not_found, ambiguous."""
    return await _id_of(conn, "device", ref)


async def point_id(conn: Connection, ref: str) -> int:
    """The id of a point, `DEVICE.quantity`. Problem not_found, ambiguous."""
    return await _id_of(conn, "point", ref)
