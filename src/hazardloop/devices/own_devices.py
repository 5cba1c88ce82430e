"""Devices that the service itself makes and measures: one of each gateway, one of the platform, and
the canary, which alone reports over the broker.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

from psycopg import AsyncConnection

from hazardloop.devices.catalog import DeviceKind
from hazardloop.devices.registry import CANARY_KIND

Connection: TypeAlias = AsyncConnection[tuple[Any, ...]]

PLATFORM: Final = "PLATFORM"
"""Code of the platform's own enterprise, and of the gateway of what is measured there.

It can log in nowhere."""
GATEWAY_KIND: Final = "gateway"
PLATFORM_KIND: Final = "platform"
CANARY: Final = "CANARY"
"""Code of the canary's gateway at the platform, and of its device."""

ADD_PLATFORM: Final = """
    WITH home AS (
        INSERT INTO enterprise (code, name, internal)
        VALUES (%(code)s, %(name)s, true) RETURNING enterprise_id
    ), gateway AS (
        INSERT INTO gateway (enterprise_id, code, name, mqtt_username, secret_bcrypt, secret_pbkdf2,
                             internal)
        SELECT enterprise_id, %(code)s, %(name)s, %(code)s || '.' || %(code)s, '', '', true
          FROM home
        RETURNING enterprise_id, gateway_id
    )
    INSERT INTO device (enterprise_id, gateway_id, code, kind, name, internal)
    SELECT enterprise_id, gateway_id, 'WORKER', %(kind)s, %(name)s, true FROM gateway"""

ADD_CANARY: Final = """
    WITH gateway AS (
        INSERT INTO gateway (enterprise_id, code, name, mqtt_username, secret_bcrypt, secret_pbkdf2,
                             internal)
        SELECT enterprise_id, %(canary)s, %(name)s, %(code)s || '.' || %(canary)s, '', '', true
          FROM enterprise WHERE code = %(code)s
        RETURNING enterprise_id, gateway_id
    )
    INSERT INTO device (enterprise_id, gateway_id, code, kind, name, internal)
    SELECT enterprise_id, gateway_id, %(canary)s, %(kind)s, %(name)s, true FROM gateway"""

# An enterprise may have a device of that code already: then its gateway goes without.
ADD_DEVICES: Final = """
    INSERT INTO device (enterprise_id, gateway_id, code, kind, internal)
    SELECT enterprise_id, gateway_id, left('GW-' || gateway.code, 64), %(kind)s, true
      FROM gateway JOIN enterprise USING (enterprise_id)
     WHERE NOT enterprise.internal
       AND NOT EXISTS (SELECT FROM device d WHERE d.gateway_id = gateway.gateway_id AND d.internal)
    ON CONFLICT DO NOTHING"""

ADD_POINTS: Final = """
    INSERT INTO point (device_id, enterprise_id, quantity, unit)
    SELECT device_id, enterprise_id, measured.quantity, measured.unit
      FROM device, unnest(%(quantities)s::text[], %(units)s::text[]) AS measured (quantity, unit)
     WHERE device.internal AND device.kind = %(kind)s
    ON CONFLICT DO NOTHING"""

MISSING: Final = """
    SELECT NOT EXISTS (SELECT FROM enterprise WHERE code = %(platform)s),
           NOT EXISTS (SELECT FROM device WHERE internal AND kind = %(canary_kind)s),
           EXISTS (SELECT FROM gateway g JOIN enterprise e USING (enterprise_id)
                    WHERE NOT e.internal
                      AND NOT EXISTS (SELECT FROM device d
                                       WHERE d.enterprise_id = g.enterprise_id
                                         AND (d.gateway_id = g.gateway_id AND d.internal
                                              OR d.code = left('GW-' || g.code, 64)))),
           EXISTS (SELECT FROM device d,
                          unnest(%(kinds)s::text[], %(quantities)s::text[]) AS m (kind, quantity)
                    WHERE d.internal AND d.kind = m.kind
                      AND NOT EXISTS (SELECT FROM point p WHERE p.device_id = d.device_id
                                                            AND p.quantity = m.quantity))"""


# Worker and clerk may both find a new database empty.
ONE_AT_A_TIME: Final = "SELECT pg_advisory_xact_lock(hashtext('hazardloop.own_devices'))"


async def ensure(connection: Connection, kinds: Mapping[str, DeviceKind]) -> None:
    """Makes what is missing of the platform, of gateways' own devices, and of their points.

    Asks before it writes: every write to the registry has all who know it read it again.
    """
    ours = [kinds[code] for code in (GATEWAY_KIND, PLATFORM_KIND, CANARY_KIND)]
    async with connection.transaction():
        await connection.execute(ONE_AT_A_TIME)
        no_platform, no_canary, no_device, no_point = await _missing(connection, ours)
        if no_platform:
            name = kinds[PLATFORM_KIND].name.zh
            words = {"code": PLATFORM, "name": name, "kind": PLATFORM_KIND}
            await connection.execute(ADD_PLATFORM, words)
        if no_canary:
            name = kinds[CANARY_KIND].name.zh
            words = {"code": PLATFORM, "canary": CANARY, "name": name, "kind": CANARY_KIND}
            await connection.execute(ADD_CANARY, words)
        if no_device:
            await connection.execute(ADD_DEVICES, {"kind": GATEWAY_KIND})
        if no_platform or no_canary or no_device or no_point:
            for kind in ours:
                await _add_points(connection, kind)


async def _missing(
    connection: Connection, ours: Sequence[DeviceKind]
) -> tuple[bool, bool, bool, bool]:
    """Whether the platform is missing, the canary, a device of a gateway, a point of any."""
    wanted = [(kind.code, quantity) for kind in ours for quantity in kind.quantities]
    cursor = await connection.execute(
        MISSING,
        {
            "platform": PLATFORM,
            "canary_kind": CANARY_KIND,
            "kinds": [kind for kind, _ in wanted],
            "quantities": [quantity for _, quantity in wanted],
        },
    )
    row = await cursor.fetchone()
    assert row is not None  # four values
    return row[0], row[1], row[2], row[3]


async def add_of_gateways(connection: Connection, kinds: Mapping[str, DeviceKind]) -> None:
    """Makes the device of each gateway that has none; for the transaction that adds gateways."""
    await connection.execute(ADD_DEVICES, {"kind": GATEWAY_KIND})
    await _add_points(connection, kinds[GATEWAY_KIND])


async def _add_points(connection: Connection, kind: DeviceKind) -> None:
    await connection.execute(
        ADD_POINTS,
        {
            "kind": kind.code,
            "quantities": list(kind.quantities),
            "units": [quantity.unit for quantity in kind.quantities.values()],
        },
    )
