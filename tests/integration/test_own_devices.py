"""The service's own devices in a real database: made once, for all gateways, and kept apart."""

from psycopg import AsyncConnection

from hazardloop.devices import own_devices
from hazardloop.devices import store as registry_store
from hazardloop.devices.catalog import shipped_catalog
from hazardloop.service.embedded import accounts
from tests import worlds
from tests.worlds import query

KINDS = shipped_catalog().kinds
OWN = """
    SELECT e.code, g.code, d.code, d.kind, string_agg(p.quantity, ' ' ORDER BY p.quantity)
      FROM device d JOIN gateway g USING (gateway_id) JOIN point p USING (device_id)
           JOIN enterprise e ON e.enterprise_id = d.enterprise_id
     WHERE d.internal GROUP BY 1, 2, 3, 4 ORDER BY d.kind, e.code"""


async def test_what_is_missing_is_made_and_what_is_there_is_left_alone(database: str) -> None:
    worlds.register(database)
    worlds.register(database, {"GW-G2": "tank"}, enterprise="E2", gateway="G2")
    async with await AsyncConnection.connect(database, autocommit=True) as connection:
        await own_devices.ensure(connection, KINDS)
        made = query(database, OWN)
        revision = await registry_store.registry_revision(connection)
        await own_devices.ensure(connection, KINDS)
        assert await registry_store.registry_revision(connection) == revision
        assert query(database, OWN) == made
        assert [row[:4] for row in made] == [
            ("E1", "G1", "GW-G1", "gateway"),  # E2 calls a device of its own GW-G2
            ("PLATFORM", "PLATFORM", "WORKER", "platform"),
            ("PLATFORM", "CANARY", "CANARY", "platform_canary"),
        ]
        assert [set(row[4].split()) for row in made] == [
            set(KINDS["gateway"].quantities),
            set(KINDS["platform"].quantities),
            {"canary"},
        ]
        worlds.register(database, {}, enterprise="E3", gateway="G" * 64)
        await connection.execute("DELETE FROM point WHERE quantity = 'clock_offset'")
        await own_devices.ensure(connection, KINDS)
        (made_later,) = [row for row in query(database, OWN) if row[0] == "E3"]
        assert made_later[2] == "GW-" + "G" * 61
        assert query(database, OWN)[0] == made[0], "a lacking point is made again"


async def test_the_platform_has_no_login_at_the_broker(database: str) -> None:
    worlds.register(database)
    async with await AsyncConnection.connect(database, autocommit=True) as connection:
        await own_devices.ensure(connection, KINDS)
        known = {account.username for account in await accounts.registered(connection)}
    assert known == {"E1.G1"}
