"""Coverage, online rate, what is installed and in service: kept apart, each naming its gaps."""

from datetime import timedelta

from tests.integration.api.world import World

COUNTED = """
    INSERT INTO device_day (day, device_id, enterprise_id, until, slot_s, slots, seen, usable,
                            in_service)
    VALUES (%(day)s, 1, 1, %(until)s, 120, 1000, 1000, 990, true),
           (%(day)s, 2, 1, %(until)s, 60, 1999, 1998, 1998, false),
           (%(day)s, 3, 2, %(until)s, 120, 1000, 0, 0, NULL)"""

INTERNAL = """
    WITH levels AS (
        INSERT INTO gateway (enterprise_id, code, mqtt_username, secret_bcrypt, secret_pbkdf2, name,
                             internal)
        VALUES (1, 'LEVELS', 'E1.LEVELS', '', '', '', true) RETURNING gateway_id
    )
    INSERT INTO device (enterprise_id, gateway_id, hazard_unit_id, code, kind, name)
    SELECT 1, gateway_id, 1, 'LEVEL-HU-1', 'hazard_level', '' FROM levels"""


async def test_each_rate_is_of_its_own_and_names_who_is_missing(api: World) -> None:
    yesterday = (api.now - timedelta(days=1)).date()
    await api.conn.execute(INTERNAL)
    await api.conn.execute("UPDATE device SET created_at = %s", [api.now - timedelta(days=9)])
    await api.conn.execute("UPDATE hazard_unit SET created_at = %s", [api.now - timedelta(days=9)])
    await api.conn.execute(COUNTED, {"day": yesterday, "until": api.now})
    admin, ent1, ent2 = [await api.client(name) for name in ("admin", "ent1", "ent2")]
    demand = {"kind": "gas_detector", "required": 3, "basis": "设计"}
    told = await admin.put("/hazard-units/HU-1/required-devices", json=demand)
    assert [(one["required"], one["installed"]) for one in told.json()] == [(3, 1)]

    listed = (await admin.get("/gateways")).json()["items"]
    assert [(one["code"], one["internal"]) for one in listed] == [("GW-1", False)] * 2
    (named,) = (await admin.get("/gateways", params={"gateway": "E1:LEVELS"})).json()["items"]
    assert named["internal"]

    whole = (await admin.get("/kpi/connectivity")).json()
    assert (whole["devices"], whole["reporting"], whole["in_service"]) == (4, 2, 1)
    # 2,998 of 3,999 slots: cut, not rounded.
    assert (whole["online_rate"], whole["in_service_rate"]) == (0.749, 0.25)
    assert whole["blind_minutes"] == 20 + 1 + 2000
    assert (whole["hazard_units"], whole["coverage"], whole["missing"]) == (1, 1.0, [])
    assert (whole["required"], whole["installed"], whole["installed_rate"]) == (3, 1, 0.3333)
    assert whole["lacking"][0]["hazard_unit"] == "HU-1"
    assert [(one["device"], one["blind_minutes"]) for one in whole["worst"]] == [
        ("GD-1", 2000),
        ("SD-2", 0),
        ("GD-1", 20),
        ("TK-1", 1),
    ]
    assert whole["as_of"] == "2026-11-22T01:00:00.000Z"

    mine = (await ent1.get("/kpi/connectivity", params={"group_by": "hazard_unit"})).json()
    assert mine["devices"] == 2
    assert [(one["key"], one["devices"]) for one in mine["groups"]] == [("", 1), ("E1/HU-1", 1)]
    other = (await ent2.get("/kpi/connectivity")).json()
    assert (other["required"], other["hazard_units"], other["coverage"]) == (0, 0, None)
    assert (other["online_rate"], other["installed_rate"]) == (0.0, None)


async def test_a_demand_is_for_known_kinds_and_for_those_who_may(api: World) -> None:
    admin, ent1 = [await api.client(name) for name in ("admin", "ent1")]
    path = "/hazard-units/HU-1/required-devices"
    wrong = await admin.put(path, json={"kind": "crystal_ball", "required": 1})
    assert wrong.status_code == 422
    assert "gas_detector" in wrong.json()["detail"]
    mine = await ent1.put(path, json={"kind": "tank", "required": 1})
    assert mine.status_code == 403
    for required in (2, 0):
        told = await admin.put(path, json={"kind": "tank", "required": required})
        assert [one["required"] for one in told.json()] == ([required] if required else [])
    assert (await ent1.get(path)).json() == []
    noted = await api.conn.execute(
        "SELECT body ->> 'required' FROM ledger WHERE body ? 'required' ORDER BY entry_id"
    )
    assert [row[0] for row in await noted.fetchall()][-2:] == ["2", "0"]
