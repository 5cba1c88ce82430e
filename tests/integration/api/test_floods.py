"""Floods at the centre's desk: begun, ended, made up for, and noted once."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from psycopg import errors

from hazardloop.alarms import flood_store, health
from hazardloop.alarms.alarm import Tier
from hazardloop.devices.instants import microseconds_of
from hazardloop.devices.readings import Quality
from tests.integration.api.world import World

MINUTE = timedelta(minutes=1)


async def burst(api: World, n: int, at: datetime, apart_s: float = 10) -> list[UUID]:
    """Raises at one point after the other, each over before the next."""
    told = []
    for nth in range(n):
        api.now = at + timedelta(seconds=apart_s * nth)
        alarm_id = await api.raise_alarm(tier=Tier.YELLOW)
        await api.clear(alarm_id)
        told.append(alarm_id)
    return told


async def recorded(api: World) -> list[dict[str, Any]]:
    supervisor = await api.client("supervisor")
    items: list[dict[str, Any]] = (await supervisor.get("/alarm-floods")).json()["items"]
    return items


async def test_a_flood_is_written_down_as_it_begins_and_ends_and_noted_once(api: World) -> None:
    operator, own = await api.client("operator"), await api.client("ent1")
    start = api.now
    assert await flood_store.tend(api.conn, start) == 0
    raised = await burst(api, 9, start)
    assert await flood_store.tend(api.conn, api.now) == 0
    raised += await burst(api, 3, start + 2 * MINUTE)
    assert await flood_store.tend(api.conn, api.now) == 1
    (flood,) = await recorded(api)
    assert (flood["to"], flood["alarms"], flood["peak"], flood["seats"]) == (None, 12, 12, 1)
    assert flood["from"] == "2026-11-22T01:02:00.000Z", "the tenth raise"
    assert flood["first_out"] == str(raised[0])
    counts = (await operator.get("/alarms/counts")).json()
    assert counts["rate"] == {"m1": 3, "m10": 12}
    assert counts["flood"]["on"]
    assert counts["flood"] | {"id": 0} == {
        "on": True, "id": 0, "since": flood["from"], "n": 12, "peak": 12, "seats": 1,
        "first_out": str(raised[0]),
    }  # fmt: skip
    assert (await own.get("/alarms/counts")).json()["flood"] is None
    assert (await own.get("/alarm-floods")).status_code == 403
    path = f"/alarm-floods/{flood['id']}/note"
    assert (await operator.post(path, json={"note": "x"})).json()["code"] == "changed"

    api.now = start + 12 * MINUTE  # what came in the first two minutes has left the window
    assert await flood_store.tend(api.conn, api.now) == 1
    (flood,) = await recorded(api)
    told = health.floods(await raises(api), microseconds_of(api.now), 1)
    assert [(one.over, one.alarms) for one in told] == [(True, 12)]
    assert flood["to"] == "2026-11-22T01:11:10.000Z"
    assert not (await operator.get("/alarms/counts")).json()["flood"]["on"]
    period = {"from": "2026-11-22T01:00:00Z", "to": "2026-11-22T01:30:00Z"}
    system = (await operator.get("/kpi/alarm-system", params=period)).json()
    assert [one["from"] for one in system["floods"]] == [flood["from"]]
    assert system["flood_records"] == [flood]
    of_one = await operator.get("/kpi/alarm-system", params=period | {"enterprise": "E1"})
    assert of_one.json()["flood_records"] == []
    noted = await operator.post(path, json={"note": "全厂停电"})
    assert (noted.status_code, noted.json()["noted_by"]) == (200, "operator")
    assert (await operator.post(path, json={"note": "again"})).status_code == 409
    with pytest.raises(errors.CheckViolation, match="not rewritten"):
        await api.conn.execute("UPDATE alarm_flood SET alarms = 1")
    cursor = await api.conn.execute(
        "SELECT action FROM ledger WHERE subject = 'flood' ORDER BY entry_id"
    )
    assert [row[0] for row in await cursor.fetchall()] == ["began", "ended", "noted"]


async def raises(api: World) -> Any:
    cursor = await api.conn.execute("SELECT raised_at FROM alarm ORDER BY raised_at")
    return np.array([microseconds_of(row[0]) for row in await cursor.fetchall()], np.int64)


async def test_a_flood_that_nobody_watched_is_made_up_for_with_its_times(api: World) -> None:
    start = api.now
    await flood_store.tend(api.conn, start)
    await burst(api, 11, start + 30 * MINUTE)
    api.now = start + 90 * MINUTE
    assert await flood_store.tend(api.conn, api.now) == 2
    (flood,) = await recorded(api)
    assert (flood["from"][11:19], flood["to"][11:19]) == ("01:31:30", "01:41:00")
    assert await flood_store.tend(api.conn, api.now + MINUTE) == 0


async def test_two_operators_carry_twice_as_much(api: World) -> None:
    start = api.now
    await api.conn.execute(
        """INSERT INTO shift (name, starts_at, ends_at, created_by, created_at)
           VALUES ('白班', %(now)s, %(now)s + interval '8 h', 'admin', %(now)s)""",
        {"now": start},
    )
    await api.conn.execute(
        """INSERT INTO roster SELECT shift_id, 'operator', user_id FROM shift, user_account
            WHERE username IN ('operator', 'supervisor')"""
    )
    await flood_store.tend(api.conn, start)
    await burst(api, 19, start)
    assert await flood_store.tend(api.conn, api.now) == 0
    await burst(api, 1, start + 5 * MINUTE)
    assert await flood_store.tend(api.conn, api.now) == 1
    (flood,) = await recorded(api)
    assert (flood["seats"], flood["alarms"]) == (2, 20)


async def test_a_bad_actor_comes_with_what_would_calm_it(api: World) -> None:
    start = api.now
    for nth in range(6):
        api.now = start + timedelta(seconds=20 * nth)
        alarm_id = await api.raise_alarm("E2:GD-1.lel")
        api.now += timedelta(seconds=10)
        await api.clear(alarm_id)
        await api.store("E2:GD-1.lel", (0, 19.5, 0), (-5, 0.0, int(Quality.SOURCE_BAD)))
    auditor = await api.client("auditor")
    asked = {"from": "2026-11-22T01:00:00Z", "to": "2026-11-22T02:00:00Z"}

    async def source() -> dict[str, Any]:
        (found,) = (await auditor.get("/kpi/alarm-system", params=asked)).json()["sources"]
        assert (found["chattering"], found["stale"], found["alarms"]) == (True, 0, 6)
        remedy: dict[str, Any] = found["remedy"]
        return remedy

    assert await source() == {
        "setting": "off_delay_s", "now": 10, "suggested": 30, "unit": "s", "alarms": 6,
        "alarms_then": 1,
    }, "twenty seconds away, and 19.5 is too far below 25 for a deadband"  # fmt: skip
    await api.conn.execute("UPDATE reading SET value = 22.5 WHERE value = 19.5")
    remedy = await source()
    assert (remedy["setting"], remedy["suggested"], remedy["unit"]) == ("deadband", 2.6, "%{LEL}")
