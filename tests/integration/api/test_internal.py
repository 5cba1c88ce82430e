"""What the service measures of itself, as people see it: out of the way until asked for."""

from datetime import timedelta

from hazardloop.alarms import case_store
from hazardloop.alarms.alarm import Tier, alarm_id_of
from hazardloop.alarms.rules import catalogue_rules
from hazardloop.devices import own_devices
from hazardloop.devices.catalog import shipped_catalog
from tests.integration.api.world import World

KINDS = shipped_catalog().kinds


async def test_a_gateway_comes_with_a_device_that_only_the_service_measures(api: World) -> None:
    admin = await api.client("admin")
    await admin.post("/gateways", json={"enterprise": "E1", "code": "GW-5"})
    usual = (await admin.get("/devices", params={"gateway": "GW-5"})).json()["items"]
    assert usual == []
    (own,) = (await admin.get("/devices", params={"gateway": "GW-5", "kind": "gateway"})).json()[
        "items"
    ]
    assert own["code"] == "GW-GW-5"
    assert {point["quantity"]: point["unit"] for point in own["points"]} == {
        code: quantity.unit for code, quantity in KINDS["gateway"].quantities.items()
    }
    assert (await admin.get("/devices/GW-GW-5")).json() == own
    points = (await admin.get("/points", params={"enterprise": "E1", "limit": 1000})).json()
    assert not [point for point in points["items"] if point["kind"] == "gateway"]
    asked = (await admin.get("/points", params={"device": "GW-GW-5"})).json()["items"]
    assert [point["quantity"] for point in asked] == list(KINDS["gateway"].quantities)


async def test_nobody_else_makes_such_a_device(api: World) -> None:
    admin = await api.client("admin")
    for kind in ("gateway", "platform", "platform_canary"):
        refused = await admin.post(
            "/devices", json={"gateway": "E1:GW-1", "code": "FAKE", "kind": kind}
        )
        assert refused.status_code == 422
        assert "the service itself" in refused.json()["detail"]


async def test_the_platform_is_in_lists_and_figures_only_when_asked_for(api: World) -> None:
    await own_devices.ensure(api.conn, KINDS)
    operator = await api.client("operator")
    for path in ("/enterprises", "/gateways", "/devices", "/points"):
        listed = (await operator.get(path, params={"limit": 1000})).json()["items"]
        assert listed
        assert "PLATFORM" not in str(listed), path
    assert (await operator.get("/enterprises/PLATFORM")).json()["code"] == "PLATFORM"
    for path, codes in (("/enterprises", ["PLATFORM"]), ("/gateways", ["CANARY", "PLATFORM"])):
        items = (await operator.get(path, params={"enterprise": "PLATFORM"})).json()["items"]
        assert sorted(item["code"] for item in items) == codes
    await _spool_alarm(api)
    everybody = (await operator.get("/kpi/handling")).json()
    assert everybody["raised"] == 0, "the platform's own troubles are no hazards"
    platform = (await operator.get("/kpi/handling", params={"enterprise": "PLATFORM"})).json()
    assert platform["raised"] == 1
    (alarm,) = (await operator.get("/alarms")).json()["items"]
    assert alarm["enterprise"]["code"] == "PLATFORM", "yet whoever is on duty sees them"


async def test_an_enterprise_sees_its_own_gateways_and_nothing_of_the_platform(api: World) -> None:
    await own_devices.ensure(api.conn, KINDS)
    client = await api.client("ent1")
    for kind, seen in (("gateway", ["E1"]), ("platform", [])):
        items = (await client.get("/devices", params={"kind": kind})).json()["items"]
        assert [item["enterprise"]["code"] for item in items] == seen
    assert (await client.get("/enterprises/PLATFORM")).status_code == 404


async def _spool_alarm(api: World) -> None:
    """An active alarm of the platform with its case."""
    rule = next(one for one in catalogue_rules(shipped_catalog()) if one.device_kind == "platform")
    alarm_id, at = alarm_id_of(rule.rule_id, 0, 0), api.now - timedelta(minutes=1)
    async with api.conn.transaction():
        await api.conn.execute(
            """INSERT INTO alarm (alarm_id, enterprise_id, device_id, point_id, rule_id,
                                  rule_version, tier, tier_now, value, limit_value, direction,
                                  raised_at)
               SELECT %s, p.enterprise_id, device_id, point_id, %s, 1, %s, %s, 30, 20, 'high', %s
                 FROM point p JOIN device d USING (device_id) WHERE d.kind = 'platform' LIMIT 1""",
            [alarm_id, rule.rule_id, Tier.YELLOW, Tier.YELLOW, at],
        )
        await case_store.open_cases(api.conn, [alarm_id], at)
