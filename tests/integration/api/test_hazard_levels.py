"""What units hold, their level, and what-if, over the api; then the clerk's round and its alarm."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from hazardloop.service.database import connect
from hazardloop.service.level_chores import note_levels, report
from hazardloop.service.settings import Settings
from tests.brokers import Broker, mosquitto
from tests.integration.api.world import World
from tests.integration.test_pipeline import at_work, gateway_at
from tests.worlds import STORED, eventually, query

TANK = {"device": "TK-1", "strapping": [[0, 0], [10, 100]], "density_t_m3": 0.6}
"""6 t a metre, 60 t when full."""
AMMONIA = {"name": "液氨", "substance": "ammonia", "design_t": 48, "tanks": [TANK]}
INVENTORY = {"revision": 0, "people": 10, "substances": [AMMONIA]}
"""By design S = 4.8 and R = 1 x 2 x 4.8 = 9.6: grade 4."""
UNIT = "/hazard-units/E1:HU-1"


async def put(client: httpx.AsyncClient, body: dict[str, Any]) -> httpx.Response:
    return await client.put(f"{UNIT}/substances", json=body)


async def begin(api: World) -> httpx.AsyncClient:
    """A client of the supervisor's; the unit is of grade 4 and holds ammonia."""
    supervisor = await api.client("supervisor")
    await supervisor.patch(UNIT, json={"grade": 4})
    answer = await put(supervisor, INVENTORY)
    assert answer.status_code == 200, answer.text
    return supervisor


async def test_the_registered_grade_stands_beside_design_and_live(api: World) -> None:
    client = await begin(api)
    await api.store("E1:TK-1.level", (3600, 9.0, 0), (60, 2.5, 0), (30, 9.9, 4))
    level = (await client.get(f"{UNIT}/level")).json()
    assert (level["registered_grade"], level["people"]) == (4, 10)
    assert level["design"] == {
        "s": 4.8, "alpha": 1.0, "r": 9.6, "grade": 4, "next_at": 10.0,
        "arithmetic": ["S = 48/10 = 4.8", "R = 1 × (2 × 48/10) = 9.6"],
    }  # fmt: skip
    assert (level["live"]["s"], level["live"]["r"], level["live"]["grade"]) == (1.5, 3.0, 4)
    (substance,) = level["substances"]
    assert (substance["live_t"], substance["known"]) == (15.0, "measured")
    assert (substance["threshold_t"], substance["beta"]) == (10.0, 2.0)
    (tank,) = substance["tanks"]
    assert (tank["level_m"], tank["mass_t"], tank["full_t"]) == (2.5, 15.0, 60.0)


async def test_may_this_truck_unload(api: World) -> None:
    client = await begin(api)
    await api.store("E1:TK-1.level", (60, 2.5, 0))

    async def ask(add_t: float) -> dict[str, Any]:
        change = {"name": "液氨", "add_t": add_t, "device": "TK-1"}
        answer = await client.post(f"{UNIT}/what-if", json={"changes": [change]})
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    yes = await ask(28)
    assert (yes["allowed"], yes["crossings"]) == (True, [])
    assert (yes["before"]["s"], yes["after"]["s"], yes["after"]["r"]) == (1.5, 4.3, 8.6)
    no = await ask(46)
    assert (no["allowed"], no["after"]["grade"]) == (False, 3)
    assert no["crossings"] == [
        {"limit": "tank", "subject": "TK-1", "at": 60.0, "would_be": 61.0},
        {"limit": "design_quantity", "subject": "液氨", "at": 48.0, "would_be": 61.0},
        {"limit": "grade", "subject": "R", "at": 10.0, "would_be": 12.2},
    ]
    for change in ({"name": "氯", "add_t": 1}, {"name": "液氨", "add_t": -16}):
        answer = await client.post(f"{UNIT}/what-if", json={"changes": [change]})
        assert answer.status_code == 422, answer.text


async def test_a_level_that_nobody_reads_is_no_yes(api: World) -> None:
    client = await begin(api)
    asked = {"changes": [{"name": "液氨", "add_t": 1}]}
    never = (await client.post(f"{UNIT}/what-if", json=asked)).json()
    assert never["crossings"][0] == {
        "limit": "not_read", "subject": "TK-1", "at": None, "would_be": None,
    }  # fmt: skip
    await api.store("E1:TK-1.level", (3600, 2.5, 0))
    stale = (await client.post(f"{UNIT}/what-if", json=asked)).json()
    assert (stale["allowed"], stale["after"]["s"]) == (False, 6.1)
    level = (await client.get(f"{UNIT}/level")).json()
    assert (level["live"]["s"], level["substances"][0]["known"]) == (1.5, "stale")


async def test_an_enterprise_sees_and_asks_for_its_own_only(api: World) -> None:
    await begin(api)
    own, other = await api.client("ent1"), await api.client("ent2")
    asked = {"changes": [{"name": "液氨", "add_t": 1}]}
    for path in ("substances", "level", "level-history"):
        assert (await own.get(f"/hazard-units/1/{path}")).status_code == 200
        assert (await other.get(f"/hazard-units/1/{path}")).status_code == 404
    assert (await own.post("/hazard-units/1/what-if", json=asked)).status_code == 200
    assert (await other.post("/hazard-units/1/what-if", json=asked)).status_code == 404
    for name in ("ent1", "operator", "authority", "auditor", "tester"):
        client = await api.client(name)
        assert (await put(client, INVENTORY)).status_code == 403, name


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        ({"substance": "unobtainium"}, "GB 18218 has no 'unobtainium'"),
        ({"substance": None}, "either a substance of table 1 or a class"),
        ({"substance": "bromine"}, "its beta follows from its class"),
        ({"tanks": [TANK | {"device": "TK-9"}]}, "the enterprise has no device TK-9"),
        ({"tanks": [TANK | {"device": "GD-1"}]}, "GD-1 measures no level in m"),
        ({"tanks": [TANK, TANK]}, "TK-1 stands there twice"),
        ({"tanks": [TANK | {"strapping": [[0, 0], [0, 5]]}]}, "must lie above"),
        ({"design_t": -1}, "greater than or equal to 0"),
    ],
)
async def test_what_a_unit_cannot_hold_is_refused(
    api: World, change: dict[str, Any], detail: str
) -> None:
    client = await api.client("admin")
    answer = await put(client, INVENTORY | {"substances": [AMMONIA | change]})
    assert answer.status_code == 422, answer.text
    assert detail in answer.text


async def test_an_inventory_is_replaced_whole_and_noted(api: World) -> None:
    client = await begin(api)
    again = await put(client, INVENTORY)
    assert (again.status_code, again.json()["revision"]) == (409, 1)
    propylene = {"name": "丙烯", "class": "W2", "design_t": 8}
    body = INVENTORY | {"revision": 1, "people": None, "substances": [AMMONIA, propylene]}
    after = (await put(client, body)).json()
    assert (after["revision"], after["changed_by"]) == (2, "supervisor")
    assert [(one["name"], one["class"]) for one in after["substances"]] == [
        ("丙烯", "W2"), ("液氨", None),
    ]  # fmt: skip
    level = (await client.get(f"{UNIT}/level")).json()
    assert level["design"]["r"] == 2 * (2 * 4.8 + 1.5 * 0.8)
    taken = {"revision": 0, "substances": [AMMONIA]}
    other = await client.post("/hazard-units", json={"enterprise": "E1", "code": "B", "name": "b"})
    refused = await client.put(f"/hazard-units/{other.json()['id']}/substances", json=taken)
    assert (refused.status_code, "is a tank of hazard unit HU-1" in refused.text) == (422, True)
    lines = await api.conn.execute(
        "SELECT action, actor, body->>'revision' FROM ledger WHERE subject = 'hazard_unit'"
        " AND action = 'inventory' ORDER BY entry_id"
    )
    assert await lines.fetchall() == [
        ("inventory", "supervisor", "1"), ("inventory", "supervisor", "2"),
    ]  # fmt: skip
    history = (await client.get(f"{UNIT}/level-history")).json()
    assert [one["reason"] for one in history] == ["inventory"]


async def test_the_history_of_a_level_is_only_added_to(api: World, database: str) -> None:
    client = await begin(api)
    async with await connect(database, "clerk") as connection:
        for minute, level_m in enumerate((None, 2.5, 2.5, 2.55, 3.0), 1):
            if level_m is not None:
                await api.store("E1:TK-1.level", (60 - minute, level_m, 0))
            await note_levels(connection, api.now + timedelta(minutes=minute))
    history = (await client.get(f"{UNIT}/level-history")).json()
    told = [
        tuple(line[name] for name in ("reason", "r", "grade", "was_r", "was_grade"))
        for line in reversed(history)
    ]
    assert told == [
        ("inventory", 12.0, 3, None, None),  # nobody read the tank: it counts as full
        ("grade", 3.0, 4, 12.0, 3),
        ("quantity", 3.6, 4, 3.0, 4),
    ]
    assert history[0]["quantities"] == {"液氨": [18.0, "measured"]}
    with pytest.raises(psycopg.Error, match="unit_level"):
        await api.conn.execute("UPDATE unit_level SET r = 0")


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    folder = tmp_path / "broker"
    folder.mkdir()
    with mosquitto(folder) as running:
        yield running


ALARMS = """
    SELECT d.code, p.quantity, a.rule_id, a.tier FROM alarm a JOIN point p USING (point_id)
      JOIN device d ON d.device_id = p.device_id WHERE d.kind = 'hazard_level'"""


async def test_a_unit_that_outgrows_its_registered_grade_alarms_like_anything_else(
    api: World, database: str, broker: Broker, home: Path
) -> None:
    client = await begin(api)
    (device,) = (await client.get("/devices?kind=hazard_level")).json()["items"]
    assert (device["code"], device["hazard_unit"]["code"]) == ("LEVEL-HU-1", "HU-1")
    await asyncio.to_thread(fill, database, broker, home, Settings(
        database_url=database, mqtt_url=broker.url, home=home
    ))  # fmt: skip
    own, other = await api.client("ent1"), await api.client("ent2")
    assert [one["rule"]["id"] for one in (await own.get("/alarms")).json()["items"]] == [
        "hazard_level.above_registered"
    ]
    assert (await other.get("/alarms")).json()["items"] == []


def fill(database: str, broker: Broker, home: Path, settings: Settings) -> None:
    """The tank fills to 9 m = 54 t: R = 10.8, grade 3; registered is 4."""

    async def round_of_the_clerk() -> None:
        async with await connect(database, "clerk") as connection:
            await report(settings, await note_levels(connection, datetime.now(UTC)))

    with at_work(database, broker, home), gateway_at(broker) as gateway:
        gateway.read({"TK-1.level": 9.0}, gateway="E1/GW-1")
        eventually(lambda: query(database, STORED)[0][0], "the level is stored")
        asyncio.run(round_of_the_clerk())
        found = eventually(lambda: query(database, ALARMS), "the alarm")
    assert found == [
        ("LEVEL-HU-1", "above_registered", "hazard_level.above_registered", 3),
    ]
