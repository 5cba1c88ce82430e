"""Four-colour risks over the api, and their changes in the ledger."""

from datetime import timedelta
from typing import Any

import httpx

from hazardloop.alarms.alarm import Tier
from hazardloop.service.database import connect
from hazardloop.service.level_chores import note_levels
from tests.integration.api.world import World


async def colours(client: httpx.AsyncClient, **query: Any) -> dict[str, tuple[str, str | None]]:
    """Risk and warning, by subject."""
    answer = await client.get("/risks", params=query)
    assert answer.status_code == 200, answer.text
    return {one["subject"]: (one["colour"], one["warning"]) for one in answer.json()}


async def test_a_risk_follows_grade_and_alarms_and_its_history_stays(
    api: World, database: str
) -> None:
    admin = await api.client("admin")
    await admin.patch("/hazard-units/HU-1", json={"grade": 3})
    authority = await api.client("authority")
    calm = {
        "unit:1": ("yellow", None), "enterprise:1": ("yellow", None),
        "enterprise:2": ("blue", None), "area:北区": ("yellow", None), "area:南区": ("blue", None),
    }  # fmt: skip
    assert await colours(authority) == calm
    async with await connect(database, "clerk") as clerk:
        await note_levels(clerk, api.now)
        await note_levels(clerk, api.now + timedelta(minutes=1))
        alarm = await api.raise_alarm("E1:GD-1.lel", Tier.ORANGE)
        lone = await api.raise_alarm("E2:SD-2.smoke", Tier.RED)
        assert await colours(authority) == {
            "unit:1": ("orange", "orange"), "enterprise:1": ("orange", "orange"),
            "enterprise:2": ("red", "red"), "area:北区": ("orange", "orange"),
            "area:南区": ("red", "red"),
        }  # fmt: skip
        await note_levels(clerk, api.now + timedelta(minutes=2))
        await api.clear(alarm)
        await api.clear(lone)
        await note_levels(clerk, api.now + timedelta(minutes=3))
    assert await colours(authority) == calm
    history = (await authority.get("/risk-history", params={"subject": "unit:1"})).json()
    told = [(one["was"], one["colour"], one["causes"], one["warning"]) for one in history]
    assert told == [
        ("orange", "yellow", ["grade"], None),
        ("yellow", "orange", ["alarm"], "orange"),
        (None, "yellow", ["grade"], None),
    ]
    (now,) = (await authority.get("/risks", params={"level": "unit"})).json()
    assert (now["since"], now["was"]) == ("2026-11-22T01:03:00.000Z", "orange")


async def test_a_place_that_nobody_sees_is_a_colour_worse(api: World) -> None:
    admin, operator = await api.client("admin"), await api.client("operator")
    await admin.patch("/hazard-units/HU-1", json={"grade": 3})
    alarm = await api.raise_alarm("E1:GD-1.lel", Tier.BLUE, age_s=1800)
    await api.conn.execute("UPDATE alarm SET direction = 'stale' WHERE alarm_id = %s", [alarm])
    assert (await colours(operator))["unit:1"] == ("orange", "blue")


async def test_an_enterprise_is_told_of_its_own_risks_only(api: World, database: str) -> None:
    async with await connect(database, "clerk") as clerk:
        await note_levels(clerk, api.now)
    own, other = await api.client("ent1"), await api.client("ent2")
    assert set(await colours(own)) == {"unit:1", "enterprise:1"}
    assert set(await colours(other)) == {"enterprise:2"}
    assert set(await colours(other, enterprise="2")) == {"enterprise:2"}
    assert (await other.get("/risks?enterprise=1")).status_code == 404
    for subject, seen in (("unit:1", 0), ("area:南区", 0), ("enterprise:2", 1)):
        answer = await other.get("/risk-history", params={"subject": subject})
        assert len(answer.json()) == seen, subject
