"""Registry tables."""

import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from psycopg import AsyncConnection

from hazardloop.devices.catalog import Catalog
from hazardloop.devices.drafting import Draft, build_registry
from hazardloop.devices.readings import Rows
from hazardloop.devices.registry import GatewayRecord, PointRecord, Registry

Connection: TypeAlias = AsyncConnection[tuple[Any, ...]]

PAGE: Final = 5_000
"""Points that are read at once."""

DEVICES_AT_ONCE: Final = 1_000
"""That are brought up to date between two batches."""

REVISION: Final = "SELECT revision FROM registry_revision"

CHANGES: Final = """
    SELECT what, id, revision FROM registry_change WHERE revision > %(since)s ORDER BY revision"""

GATEWAYS: Final = """
    SELECT g.gateway_id, g.code, e.enterprise_id, e.code, g.dialect, g.profile
      FROM gateway g JOIN enterprise e USING (enterprise_id)"""

THESE_GATEWAYS: Final = f"""{GATEWAYS}
     WHERE g.gateway_id = ANY (%(gateways)s)
        OR g.gateway_id IN (SELECT gateway_id FROM device WHERE device_id = ANY (%(devices)s))"""


TAGS: Final = """
    CASE WHEN u.code IS NULL THEN d.tags
         ELSE d.tags || jsonb_build_object('hazard_unit', u.code) END"""
"""What rules may ask of the device `d`: its tags, and `hazard_unit`, the code of its unit `u`."""

POINTS: Final = f"""
    SELECT p.point_id, p.quantity, p.unit, (extract(epoch FROM p.created_at) * 1e6)::bigint,
           d.device_id, d.code, d.kind, ({TAGS})::text, d.expected_interval_s,
           g.gateway_id, g.code, e.enterprise_id, e.code, coalesce(u.grade, 0), d.internal
      FROM point p
      JOIN device d USING (device_id)
      JOIN gateway g ON g.gateway_id = d.gateway_id
      JOIN enterprise e ON e.enterprise_id = p.enterprise_id
      LEFT JOIN hazard_unit u ON u.hazard_unit_id = d.hazard_unit_id"""

ALL_POINTS: Final = f"""{POINTS} ORDER BY p.point_id"""

THESE_POINTS: Final = f"""{POINTS} WHERE d.device_id = ANY (%(devices)s) ORDER BY p.point_id"""

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


@dataclass(frozen=True, slots=True)
class Changes:
    """What changed after a revision of the registry."""

    revision: int
    """It has with them."""
    since: int
    """It had before."""
    gateways: tuple[int, ...]
    """Ids of those that are new, changed or gone."""
    devices: tuple[int, ...]
    """The same, of devices; one whose points changed is among them."""


async def changes_since(connection: Connection, revision: int) -> Changes:
    """What has changed since the registry was at `revision`."""
    rows = await (await connection.execute(CHANGES, {"since": revision})).fetchall()
    return Changes(
        revision=max((row[2] for row in rows), default=revision),
        since=revision,
        gateways=tuple(identity for what, identity, _ in rows if what == "gateway"),
        devices=tuple(identity for what, identity, _ in rows if what == "device"),
    )


def pages(changes: Changes) -> Iterator[Changes]:
    """The same in parts that are soon done; none if nothing changed.

    Only the last brings the revision: who stops before it begins again.
    """
    steps = range(0, max(1, len(changes.devices)), DEVICES_AT_ONCE)
    for step in steps if changes.gateways or changes.devices else ():
        yield Changes(
            changes.revision if step == steps[-1] else changes.since,
            changes.since,
            changes.gateways if step == 0 else (),
            changes.devices[step : step + DEVICES_AT_ONCE],
        )


async def load_registry(connection: Connection, catalog: Catalog) -> Registry:
    """The registry as it stands, each point with what the catalogue knows of its quantity.

    A point whose kind or quantity the catalogue does not know is a number without limits.
    """
    draft, tags = Draft(), Tags()
    async with _at_one_instant(connection):
        revision = await registry_revision(connection)
        gateways = await (await connection.execute(GATEWAYS)).fetchall()
        draft.take_gateways(GatewayRecord(*row) for row in gateways)
        await connection.execute("SET LOCAL cursor_tuple_fraction = 1")  # we want it to the end
        async with connection.cursor(name="points") as cursor:
            await cursor.execute(ALL_POINTS)
            while page := await cursor.fetchmany(PAGE):
                for row in page:
                    draft.take_point(_point(row, tags, catalog))
    return draft.registry(revision)


async def apply_changes(
    connection: Connection, catalog: Catalog, registry: Registry, changes: Changes
) -> tuple[Registry, Rows]:
    """`registry` with these gateways and devices as they are now, and the rows that may differ."""
    wanted = {"gateways": list(changes.gateways), "devices": list(changes.devices)}
    async with _at_one_instant(connection):
        gateways = await (await connection.execute(THESE_GATEWAYS, wanted)).fetchall()
        points = await (await connection.execute(THESE_POINTS, wanted)).fetchall()
    draft, tags = Draft(registry), Tags()
    draft.forget_devices(changes.devices)
    draft.take_gateways(GatewayRecord(*row) for row in gateways)
    draft.forget_gateways(set(changes.gateways) - {row[0] for row in gateways})
    for row in points:
        draft.take_point(_point(row, tags, catalog))
    return draft.registry(changes.revision), draft.touched_rows()


@asynccontextmanager
async def _at_one_instant(connection: Connection) -> AsyncIterator[None]:
    """A transaction that sees one state, so that each point finds its gateway."""
    async with connection.transaction():
        await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield


class Tags(dict[str, Mapping[str, Any]]):
    """Tags by their JSON text; devices with equal ones share them."""

    def __missing__(self, text: str) -> Mapping[str, Any]:
        tags: Mapping[str, Any] = json.loads(text)
        self[text] = tags
        return tags


async def load_gateway(connection: Connection, gateway_id: int, catalog: Catalog) -> Registry:
    """A registry of one gateway and its points; of others it knows nothing."""
    whose = " WHERE g.gateway_id = %s"
    gateways = await (await connection.execute(GATEWAYS + whose, [gateway_id])).fetchall()
    points = await (await connection.execute(POINTS + whose, [gateway_id])).fetchall()
    tags = Tags()
    return build_registry(
        0, [GatewayRecord(*row) for row in gateways], [_point(row, tags, catalog) for row in points]
    )


async def load_point(connection: Connection, point_id: int, catalog: Catalog) -> Registry:
    """A registry of one point with its gateway; of others it knows nothing."""
    points = await (
        await connection.execute(f"{POINTS} WHERE p.point_id = %s", [point_id])
    ).fetchall()
    known = [_point(row, Tags(), catalog) for row in points]
    gateways = [GatewayRecord(p.gateway_id, p.gateway, p.enterprise_id, p.enterprise)
                for p in known]  # fmt: skip
    return build_registry(0, gateways, known)


def _point(row: Sequence[Any], tags: Tags, catalog: Catalog) -> PointRecord:
    point_id, quantity, unit, registered_at_us, device_id, device, kind, said, interval_s = row[:9]
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
        tags=tags[said],
        gateway_id=gateway_id,
        gateway=gateway,
        enterprise_id=enterprise_id,
        enterprise=enterprise,
        grade=grade,
        internal=internal,
    )
