"""The life of a rule over the api, from what stands at a point to who may change it."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from psycopg.types.json import Jsonb

from hazardloop.alarms import rule_store
from hazardloop.alarms.rule import Rule
from hazardloop.alarms.rule_table import compile_rules
from hazardloop.alarms.rules import catalogue_rules, definition_of, read_rule
from hazardloop.devices import store as registry_store
from hazardloop.devices.catalog import shipped_catalog
from tests.brokers import mosquitto
from tests.integration.api.world import World
from tests.integration.test_pipeline import at_work, gateway_at
from tests.worlds import eventually, query


async def test_each_limit_of_a_point_says_where_it_comes_from(api: World) -> None:
    client = await api.client("operator")
    await api.conn.execute(
        "UPDATE device SET tags = '{\"height_m\": 7}', hazard_unit_id = 1 WHERE code = 'TK-1'"
    )
    told = (await client.get("/points/TK-1.level/limits")).json()
    assert (told["code"], told["unit"], told["grade"]) == ("TK-1.level", "m", 1)
    (red,) = (
        each for each in told["limits"]
        if each["rule"]["id"] == "tank.level.high" and each["tier"] == "red"
    )  # fmt: skip
    assert (red["limit"], red["deadband"], red["leaves_at"], red["unit"]) == (6.3, 0.07, 6.23, "m")
    assert red["scaled"] == {"tag": "height_m", "value": 7.0, "stands_in": False}
    assert (red["rule"]["version"], red["rule"]["origin"]) == (1, "file")
    assert red["rule"]["source"].startswith("house; H and HH")
    assert (red["on_delay_s"], red["off_delay_s"]) == (5.0, 60.0)
    silent = [each for each in told["limits"] if each["direction"] == "stale"]
    assert {each["unit"] for each in silent} == {"s"}


async def test_an_enterprise_asks_for_limits_of_its_own_points_only(api: World) -> None:
    ours, theirs = await api.client("ent1"), await api.client("ent2")
    assert (await ours.get("/points/E1:TK-1.level/limits")).status_code == 200
    assert (await theirs.get("/points/E1:TK-1.level/limits")).status_code == 404


RULE: dict[str, Any] = {
    "id": "plant.level.high",
    "kind": "threshold",
    "quantity": "level",
    "select": {"kind": "tank"},
    "name": {"zh": "液位高", "en": "Level high"},
    "high": {"yellow": 4.0, "orange": 6.0},
    "deadband": 0.1,
    "unit": "m",
    "source": "house",
    "confidence": "house",
    "guidance": {"zh": "停止进料。", "en": "Stop the feed."},
}
HERE = "/rules/plant.level.high"


async def draft(client: httpx.AsyncClient, rule: dict[str, Any] = RULE, **more: Any) -> Any:
    answer = await client.put(f"/rules/{rule['id']}", json=rule | {"reason": "改造"} | more)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def decide(client: httpx.AsyncClient, made: Any, what: str = "approve") -> httpx.Response:
    return await client.post(f"/rules/{made['rule']}/drafts/{made['id']}/{what}", json={})


async def test_a_rule_is_drafted_by_one_and_approved_by_another(api: World) -> None:
    admin, supervisor = await api.client("admin"), await api.client("supervisor")
    made = await draft(admin)
    assert (made["reach"], made["base_version"], made["decision"]) == (1, 0, None)
    assert made["warnings"] == ["overlaps rule tank.level.high in tier yellow, orange at 1 points"]
    waits = {"quantity": "level", "undecided": True}
    (listed,) = (await supervisor.get("/rules", params=waits)).json()["items"]
    assert (listed["id"], listed["version"], listed["draft"]) == (RULE["id"], None, made["id"])
    assert (listed["drafted_by"], listed["body"]["high"]) == ("admin", RULE["high"])
    assert (await supervisor.get(HERE)).json()["version"] is None
    own = await decide(admin, made)
    assert (own.status_code, own.json()["code"]) == (409, "draft_refused")
    other = await supervisor.put(HERE, json=RULE | {"reason": "我也要改"})
    assert "by admin waits to be decided" in other.json()["detail"]
    again = await draft(admin, RULE | {"high": {"yellow": 5.0}})
    approved = await decide(supervisor, again)
    assert (approved.status_code, approved.json()["version"]) == (200, 1)
    assert (await decide(supervisor, again)).json()["code"] == "draft_refused"
    life = (await supervisor.get(HERE)).json()
    assert (life["version"], life["waiting"], life["conflict"]) == (1, None, None)
    assert [each["decision"] for each in life["drafts"]] == ["approved", "replaced"]
    assert (await supervisor.get("/rules", params=waits)).json()["items"] == []
    (version,) = life["versions"]
    assert version["body"]["high"] == {"yellow": 5.0}
    assert (version["drafted_by"], version["approved_by"]) == ("admin", "supervisor")
    limits = (await admin.get("/points/TK-1.level/limits")).json()["limits"]
    (limit,) = (each for each in limits if each["rule"]["id"] == "plant.level.high")
    assert (limit["limit"], limit["rule"]["version"], limit["rule"]["origin"]) == (5.0, 1, "api")


async def test_versions_follow_each_other_and_none_is_lost(api: World) -> None:
    admin, supervisor = await api.client("admin"), await api.client("supervisor")
    await decide(supervisor, await draft(admin))
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    later = await draft(admin, RULE | {"high": {"yellow": 3.0}}, effective_from=tomorrow)
    assert (await decide(supervisor, later)).json()["version"] == 2
    life = (await admin.get(HERE)).json()
    assert (life["version"], life["waiting"]) == (1, 2)
    ended = await supervisor.post(f"{HERE}/retire", json={"reason": "罐区已拆除"})
    assert ended.json()["retires"]
    assert (await decide(admin, ended.json())).json()["version"] == 3
    (listed,) = (
        each for each in (await admin.get("/rules", params={"limit": 1000})).json()["items"]
        if each["id"] == "plant.level.high"
    )  # fmt: skip
    assert (listed["version"], listed["retired"], listed["waiting"]) == (3, True, None)
    life = (await admin.get(HERE)).json()
    assert [each["version"] for each in life["versions"]] == [3, 2, 1]
    limits = (await admin.get("/points/TK-1.level/limits")).json()["limits"]
    assert "plant.level.high" not in {each["rule"]["id"] for each in limits}
    lines = await api.conn.execute(
        "SELECT subject, action, actor, body FROM ledger WHERE subject LIKE 'rule%'"
        " AND coalesce(body ->> 'rule_id', '') IN ('plant.level.high', '')"
        " AND actor IN ('admin', 'supervisor') ORDER BY entry_id"
    )
    told = [line[:3] for line in await lines.fetchall()]
    step = [("rule_draft", "changed"), ("rule", "made")]
    assert [line[:2] for line in told] == [("rule_draft", "made"), *step] * 3
    assert [line[2] for line in told] == [
        "admin", "supervisor", "supervisor", "admin", "supervisor", "supervisor",
        "supervisor", "admin", "admin",
    ]  # fmt: skip


async def test_all_that_is_wrong_with_a_rule_is_said_at_once(api: World) -> None:
    admin = await api.client("admin")
    wrong = RULE | {"high": {"yellow": 9.0, "orange": 6.0}, "confidence": "certain", "colour": 1}
    answer = await admin.put(HERE, json=wrong | {"reason": "x"})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")
    told = {tuple(each["loc"]): each["msg"] for each in answer.json()["errors"]}
    assert "there is no such field" in told["body", "colour"]
    assert "found 'certain'" in told["body", "confidence"]
    worse = RULE | {"high": {"yellow": 4.0, "orange": 999.0}, "deadband": 7.0, "unit": "mm"}
    answer = await admin.put(HERE, json=worse | {"reason": "x"})
    told = {tuple(each["loc"]): each["msg"] for each in answer.json()["errors"]}
    assert "999 outside -0.5..60 m" in told["body", "high"]
    assert "no narrower than the band" in told["body", "deadband"]
    assert "found 'mm', its limits are in 'm'" in told["body", "unit"]
    crossed = RULE | {"id": "plant.level.low", "low": {"yellow": 5.0}}
    del crossed["high"]
    supervisor = await api.client("supervisor")
    await decide(supervisor, await draft(admin))
    answer = await admin.put("/rules/plant.level.low", json=crossed | {"reason": "x"})
    (only,) = answer.json()["errors"]
    assert only["msg"] == (
        "low limit 5 is no lower than high limit 4, with rule plant.level.high at 1 points"
    )
    nowhere = await draft(admin, RULE | {"select": {"kind": "tank", "tags": {"area": "mars"}}})
    assert (nowhere["reach"], nowhere["warnings"]) == (0, ["selects no point"])


async def test_an_enterprise_reads_the_rules_of_its_points_and_drafts_none(api: World) -> None:
    ours, theirs = await api.client("ent1"), await api.client("ent2")
    listed = [
        {each["device_kind"] for each in (await one.get("/rules?limit=1000")).json()["items"]}
        for one in (ours, theirs)
    ]
    assert listed == [{"gas_detector", "tank"}, {"gas_detector", "smoke_detector"}]
    assert (await ours.get("/rules/tank.level.high")).json()["reach"] == 1
    assert (await theirs.get("/rules/tank.level.high")).status_code == 404
    admin = await api.client("admin")
    await draft(admin)
    assert (await ours.get(HERE)).status_code == 404


async def test_nobody_writes_a_version_past_an_approved_draft(api: World) -> None:
    made = "INSERT INTO rule_version (rule_id, version, definition) VALUES ('x', 1, '{}')"
    async with api.conn.transaction(force_rollback=True):
        await api.conn.execute("SET LOCAL ROLE hazardloop_api")
        with pytest.raises(psycopg.errors.CheckViolation, match="no approved draft"):
            await api.conn.execute(made)


SELECTS: dict[str, dict[str, Any]] = {
    "all of its kind": {},
    "a tag": {"tags": {"area": "north"}},
    "one of several values": {"tags": {"area": ["south", "west"]}},
    "whatever it says": {"tags": {"height": True}},
    "numbers and truths as they are written": {"tags": {"height": "7", "roof": "True"}},
    "but not those": {"except_tags": {"area": "north"}},
    "a hazard unit": {"tags": {"hazard_unit": "HU-1"}},
    "a grade": {"grade": [0, 2]},
    "an enterprise": {"enterprise": ["E2"]},
}


async def test_the_database_counts_the_points_that_the_engine_would_watch(api: World) -> None:
    await api.conn.execute(
        """INSERT INTO device (enterprise_id, gateway_id, hazard_unit_id, code, kind, tags)
           VALUES (1, 1, 1, 'T-A', 'tank', '{"area": "north", "height": 7, "roof": true}'),
                  (1, 1, NULL, 'T-B', 'tank', '{"area": "south", "height": 7.5}'),
                  (2, 2, NULL, 'T-C', 'tank', '{"area": "west", "roof": true, "height": "7"}');
           INSERT INTO point (device_id, enterprise_id, quantity, unit)
           SELECT device_id, enterprise_id, 'level', 'm' FROM device WHERE code LIKE 'T-_'"""
    )
    catalog = shipped_catalog()
    registry = await registry_store.load_registry(api.conn, catalog)
    for what, select in SELECTS.items():
        rule = read_rule(RULE | {"select": {"kind": "tank"} | select}, catalog)
        table = compile_rules([rule], registry)
        watched = {int(table.point_id[row]) for row in range(len(registry)) if table.watches(row)}
        rows = await api.conn.execute(
            "SELECT point_id FROM rule_points(%s::jsonb)", [Jsonb(definition_of(rule))]
        )
        assert {row[0] for row in await rows.fetchall()} == watched, what
        assert watched, what


async def test_a_file_that_contradicts_what_people_decided_is_held_back(api: World) -> None:
    """Files are versions that the deployment approved, until people decide; then both are seen."""
    catalog = shipped_catalog()
    files = {rule.rule_id: rule for rule in catalogue_rules(catalog)}
    ours = files["tank.level.high"]
    admin, supervisor = await api.client("admin"), await api.client("supervisor")
    body = dict(ours.body) | {"high": {"yellow": 0.7, "orange": 0.8}}
    await decide(supervisor, await draft(admin, body))

    async def start(*rules: Rule) -> dict[str, Any]:
        await rule_store.keep_rule_versions(api.conn, rules, whole=True)
        life = await admin.get("/rules/tank.level.high")
        return {name: life.json()[name] for name in ("version", "conflict")}

    rest = [rule for rule in files.values() if rule is not ours]
    assert await start(ours, *rest) == {"version": 2, "conflict": None}
    changed = read_rule(dict(ours.body) | {"deadband": 0.02}, catalog)
    assert await start(changed, *rest) == {"version": 2, "conflict": 3}
    assert await start(changed, *rest) == {"version": 2, "conflict": 3}, "told once"
    adopted = await draft(admin, dict(changed.body))
    await decide(supervisor, adopted)
    assert await start(changed, *rest) == {"version": 4, "conflict": None}
    assert await start(ours, *rest) == {"version": 5, "conflict": None}, "people had said the same"
    assert await start(*rest) == {"version": 6, "conflict": None}
    assert "tank.level.high" not in await rule_store.numbers_in_force(api.conn)
    assert await start(ours, *rest) == {"version": 7, "conflict": None}


async def test_a_worker_takes_a_changed_rule_over_while_it_works(
    api: World, database: str, home: Path, tmp_path: Path
) -> None:
    """And one that starts afterwards goes by it, too."""
    (tmp_path / "broker").mkdir()
    api.now = datetime.now(UTC)
    admin, supervisor = await api.client("admin"), await api.client("supervisor")
    raised = "SELECT rule_version, limit_value, value FROM alarm WHERE rule_id = 'plant.level.high'"

    def followed() -> list[str]:
        log = (home / "worker.log").read_text()
        return [line for line in log.splitlines() if "rules followed" in line]

    with mosquitto(tmp_path / "broker") as broker, gateway_at(broker) as gateway:

        def hear(value: float, count: int) -> None:
            gateway.read({"TK-1.level": value}, gateway="E1/GW-1")
            eventually(lambda: len(query(database, raised)) == count, f"{count} alarms")

        with at_work(database, broker, home):
            await decide(supervisor, await draft(admin))
            await asyncio.to_thread(eventually, lambda: len(followed()) == 1, "taken over")
            await asyncio.to_thread(hear, 4.5, 1)
            await decide(supervisor, await draft(admin, RULE | {"high": {"yellow": 4.2}}))
            await asyncio.to_thread(eventually, lambda: len(followed()) == 2, "taken over again")
            await asyncio.to_thread(hear, 3.0, 1)
            cleared = f"{raised} AND cleared_at IS NOT NULL"
            await asyncio.to_thread(eventually, lambda: query(database, cleared), "cleared")
        with at_work(database, broker, home):
            await asyncio.to_thread(hear, 4.3, 2)
    assert sorted(query(database, raised)) == [(1, 4.0, 4.5), (2, 4.2, 4.3)]
