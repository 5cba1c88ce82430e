"""The clerk's watch over hazard levels: writes down what changed, and reports it like a gateway.

As ordinary readings of an ordinary device a level has its course, its limits, its alarm and its
case; nothing about it is special from the broker on.
"""

import asyncio
import logging
import math
import secrets
from datetime import UTC, datetime
from typing import Final

import aiomqtt

from hazardloop.alarms import level_store, risk_store
from hazardloop.alarms.annunciation import BrokerAddress
from hazardloop.alarms.level_store import LEVEL_KIND, Unit
from hazardloop.devices import wire
from hazardloop.devices.hazard_level import Level, shipped_tables, worse
from hazardloop.service.database import EVERYTHING, Connection, SteadyConnection
from hazardloop.service.settings import Settings

log = logging.getLogger(__name__)

EVERY_S: Final = 60.0
TAKEN_WITHIN_S: Final = 10.0
TABLES: Final = shipped_tables()

# Another clerk that comes meanwhile leaves this round to us.
MINE: Final = "SELECT pg_try_advisory_xact_lock(hashtext('hazardloop.levels'))"
SEE: Final = "SELECT set_config('hazardloop.scope', %s, true)"
DEVICES: Final = """
    SELECT d.hazard_unit_id, e.code, g.code, d.code
      FROM device d JOIN gateway g USING (gateway_id)
           JOIN enterprise e ON e.enterprise_id = d.enterprise_id
     WHERE d.kind = %s AND d.hazard_unit_id IS NOT NULL"""


async def keep_levels(settings: Settings) -> None:
    """A round a minute until cancelled."""
    database = SteadyConnection(settings.database_url, "clerk-levels")
    try:
        while True:
            messages = await database(lambda found: note_levels(found, datetime.now(UTC)))
            if messages:
                await report(settings, messages)
            await asyncio.sleep(EVERY_S)
    finally:
        await database.close()


async def note_levels(connection: Connection, now: datetime) -> list[tuple[str, bytes]]:
    """Writes down what changed of levels and risks; what is to be reported, by topic."""
    async with connection.transaction():
        mine = await (await connection.execute(MINE)).fetchone()
        if mine is None or not mine[0]:
            return []
        await connection.execute(SEE, [EVERYTHING])
        units = {unit.hazard_unit_id: unit for unit in await level_store.load(connection, now)}
        levels = {
            unit.hazard_unit_id: await level_store.note_level(connection, unit, now, TABLES)
            for unit in units.values()
        }
        await risk_store.note_risks(connection, now)
        found = await (await connection.execute(DEVICES, [LEVEL_KIND])).fetchall()
    at_ms = round(now.timestamp() * 1000)
    return [
        (
            wire.topic(enterprise, gateway, wire.Channel.TELEMETRY),
            telling(units[unit_id], levels[unit_id], device, at_ms),
        )
        for unit_id, enterprise, gateway, device in found
        if unit_id in units
    ]


def telling(unit: Unit, level: Level, device: str, at_ms: int) -> bytes:
    """What the unit's device says of that level."""
    allowed = unit.inventory.registered or unit.inventory.design_level(TABLES).grade
    nearness = 0.0 if math.isinf(level.to_next) else min(100.0, 100 * level.to_next)
    values: dict[str, float | bool | None] = {
        f"{device}.r": level.r,
        f"{device}.s": level.s,
        f"{device}.to_next": nearness,
        f"{device}.above_registered": worse(level.grade, allowed),
    }
    return wire.encode_telemetry(at_ms, None, values)


async def report(settings: Settings, messages: list[tuple[str, bytes]]) -> None:
    """Sends them; what does not get through is missed as any silent device is."""
    ca_file = settings.mqtt_ca_file
    address = BrokerAddress.of(settings.mqtt_url, str(ca_file) if ca_file else None)
    try:
        async with aiomqtt.Client(
            address.host,
            address.port,
            identifier=f"hazardloop-levels-{secrets.token_hex(8)}",
            username=address.username,
            password=address.password,
            tls_params=address.tls,
            timeout=TAKEN_WITHIN_S,
        ) as client:
            for topic, payload in messages:
                await client.publish(topic, payload, qos=1)
    except aiomqtt.MqttError as error:
        log.warning("levels not reported", extra={"reason": str(error)})
