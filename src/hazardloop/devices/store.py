"""Registry tables."""

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

from psycopg import AsyncConnection

from hazardloop.devices.catalog import Catalog
from hazardloop.devices.registry import GatewayRecord, PointRecord, Registry, build_registry

Connection: TypeAlias = AsyncConnection[tuple[Any, ...]]

REVISION: Final = "SELECT revision FROM registry_revision"

GATEWAYS: Final = """
    SELECT g.gateway_id, g.code, e.enterprise_id, e.code, g.dialect, g.profile
      FROM gateway g JOIN enterprise e USING (enterprise_id)"""

POINTS: Final = """
    SELECT p.point_id, p.quantity, p.unit, (extract(epoch FROM p.created_at) * 1e6)::bigint,
           d.device_id, d.code, d.kind, d.tags, d.expected_interval_s,
           g.gateway_id, g.code, e.enterprise_id, e.code, coalesce(u.grade, 0), d.internal
      FROM point p
      JOIN device d USING (device_id)
      JOIN gateway g ON g.gateway_id = d.gateway_id
      JOIN enterprise e ON e.enterprise_id = p.enterprise_id
      LEFT JOIN hazard_unit u ON u.hazard_unit_id = d.hazard_unit_id"""

SAVE_STATUS: Final = """
    UPDATE gateway g
       SET online = s.online, status_at = s.status_at, firmware = coalesce(s.firmware, g.firmware)
      FROM unnest(%(gateway_id)s::int[], %(online)s::bool[], %(status_at)s::timestamptz[],
                  %(firmware)s::text[]) AS s (gateway_id, online, status_at, firmware)
     WHERE g.gateway_id = s.gateway_id"""


async def registry_revision(connection: Connection) -> int:
    """Counts up with each change of the registry."""
    row = await (await connection.execute(REVISION)).fetchone()
    assert row is not None  # the migration puts it there, and nothing may delete it
    return int(row[0])


async def load_registry(connection: Connection, catalog: Catalog) -> Registry:
    """The registry as it stands, each point with what the catalogue knows of its quantity.

    A point whose kind or quantity the catalogue does not know is a number without limits.
    """
    revision = await registry_revision(connection)
    gateways = await (await connection.execute(GATEWAYS)).fetchall()
    points = await (await connection.execute(POINTS)).fetchall()
    return build_registry(
        revision,
        [GatewayRecord(*row) for row in gateways],
        [_point(row, catalog) for row in points],
    )


def _point(row: Sequence[Any], catalog: Catalog) -> PointRecord:
    point_id, quantity, unit, registered_at_us, device_id, device, kind, tags, interval_s = row[:9]
    gateway_id, gateway, enterprise_id, enterprise, grade, internal = row[9:]
    known = catalog.quantity(kind, quantity)
    device_kind = catalog.kinds.get(kind)
    expected_s = device_kind.expected_interval_s if device_kind else float("inf")
    return PointRecord(
        point_id=point_id,
        quantity=quantity,
        unit=unit,
        type=str(known.type) if known else "number",
        low=known.low if known else float("-inf"),
        high=known.high if known else float("inf"),
        interval_s=expected_s if interval_s is None else interval_s,
        registered_at_us=registered_at_us,
        device_id=device_id,
        device=device,
        kind=kind,
        tags=tags,
        gateway_id=gateway_id,
        gateway=gateway,
        enterprise_id=enterprise_id,
        enterprise=enterprise,
        grade=grade,
        internal=internal,
    )
