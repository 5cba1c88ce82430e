"""Drills over HTTP: announced in advance or refused, marked at raise, certified when over."""

import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import psycopg
import pytest

from hazardloop.alarms.alarm import Tier, case_id_of
from tests.integration.api.world import World

MARK = "UPDATE alarm SET drill = true WHERE alarm_id = %s"


@pytest.fixture
async def today(api: World) -> World:
    """The api at the database's own time: it says when a drill was announced."""
    api.now = datetime.now(UTC)
    return api


def wanted(api: World, **changes: Any) -> dict[str, Any]:
    return {
        "kind": "proof_test",
        "title": "标气试验 <1号罐区>",
        "tier": "orange",
        "scope": {"devices": ["E1:GD-1"], "points": ["E1:TK-1.level"]},
        "starts_at": (api.now + timedelta(seconds=60)).isoformat(),
        "ends_at": (api.now + timedelta(seconds=120)).isoformat(),
        "expected": [{"point": "E1:GD-1.lel", "tier": "orange"}, {"point": "E1:TK-1.level"}],
    } | changes


async def announced(api: World, **changes: Any) -> dict[str, Any]:
    supervisor = await api.client("supervisor")
    answer = await supervisor.post("/drills", json=wanted(api, **changes))
    assert answer.status_code == 201, answer.text
    drill: dict[str, Any] = answer.json()
    return drill


async def raise_in(api: World, drill: int, point: str, tier: Tier) -> Any:
    """An alarm as a worker raises it that takes it for one of the drill."""
    await api.conn.execute("ALTER TABLE alarm ALTER drill SET DEFAULT true")
    await api.conn.execute(f"ALTER TABLE alarm ALTER drill_id SET DEFAULT {drill}")
    alarm_id = await api.raise_alarm(point, tier=tier)
    await api.conn.execute("ALTER TABLE alarm ALTER drill SET DEFAULT false")
    await api.conn.execute("ALTER TABLE alarm ALTER drill_id DROP DEFAULT")
    return alarm_id


async def is_drill(client: httpx.AsyncClient, alarm_id: Any) -> bool:
    return bool((await client.get(f"/alarms/{alarm_id}")).json()["drill"])


@pytest.mark.parametrize(
    ("changes", "status", "said"),
    [
        pytest.param({"starts_at": -60}, 409, "at least 5 s before", id="already begun"),
        pytest.param({"ends_at": 60 + 86_401}, 409, "at most 86400", id="longer than a day"),
        pytest.param({"ends_at": 60}, 409, "more than 0", id="over when it begins"),
        pytest.param({"scope": {}}, 422, "a scope is", id="nowhere"),
        pytest.param({"scope": {"points": ["E1:GD-1.lel", "E2:GD-1.lel"]}}, 422,
                     "of one enterprise", id="two enterprises"),
        pytest.param({"expected": [{"point": "E2:GD-1.lel"}]}, 422, "outside of the scope",
                     id="expected elsewhere"),
        pytest.param({"tier": "blue"}, 422, "a tier above blue", id="expected above its tier"),
        pytest.param({"scope": {"devices": ["E1:XX"]}}, 404, "no device", id="unknown device"),
    ],
)  # fmt: skip
async def test_what_is_no_drill_is_refused_and_says_why(
    today: World, changes: dict[str, Any], status: int, said: str
) -> None:
    times = {
        name: (today.now + timedelta(seconds=value)).isoformat()
        for name, value in changes.items()
        if isinstance(value, int)
    }
    supervisor = await today.client("supervisor")
    answer = await supervisor.post("/drills", json=wanted(today, **(changes | times)))
    assert answer.status_code == status, answer.text
    assert said in answer.text
    assert (await supervisor.get("/drills")).json()["items"] == []


async def test_only_what_was_announced_is_a_drill_and_it_ends_in_a_certificate(
    today: World,
) -> None:
    api = today
    drill = await announced(api)
    assert (drill["state"], drill["points"], drill["expected"]) == ("announced", 2, 2)
    supervisor, ent2 = await api.client("supervisor"), await api.client("ent2")
    assert (await ent2.get(f"/drills/{drill['id']}")).status_code == 404
    path = f"/drills/{drill['id']}/certificate"
    assert (await supervisor.get(path)).json()["code"] == "drill_refused"

    api.now += timedelta(seconds=70)
    assert (await supervisor.get(f"/drills/{drill['id']}")).json()["state"] == "running"
    inside = await raise_in(api, drill["id"], "E1:GD-1.lel", Tier.ORANGE)
    outside = await raise_in(api, drill["id"], "E2:GD-1.lel", Tier.ORANGE)
    worse = await raise_in(api, drill["id"], "E1:TK-1.level", Tier.YELLOW)
    marks = [await is_drill(supervisor, one) for one in (inside, outside, worse)]
    assert marks == [True, False, True]
    await api.rise(worse, Tier.RED)
    assert not await is_drill(supervisor, worse), "worse than announced: real"
    for statement in (MARK, "UPDATE alarm SET drill_id = NULL WHERE alarm_id = %s"):
        with pytest.raises(psycopg.IntegrityError):
            await api.conn.execute(statement, [inside if "NULL" in statement else outside])

    api.now += timedelta(seconds=60)
    made = (await supervisor.get(path)).json()
    assert (made["passed"], made["complete"]) == (False, False)
    assert made["results"] == {"passed": 1, "exceeded": 1}
    gas = next(one for one in made["points"] if one["point"] == "GD-1.lel")
    assert gas["result"] == "passed"
    assert gas["delay_s"] == pytest.approx(10, abs=0.002)
    assert gas["alarms"][0]["signed"] == {"enterprise": None, "authority": None}
    content = {name: value for name, value in made.items() if name != "sha256"}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert made["sha256"] == hashlib.sha256(text.encode()).hexdigest()
    assert made == (await supervisor.get(path)).json()
    for lang, word in (("zh-CN", "功能试验"), ("en", "Proof test")):
        page = await supervisor.get(path, params={"format": "html", "lang": lang})
        assert page.headers["content-type"].startswith("text/html")
        assert word in page.text
        assert made["sha256"] in page.text
        assert "&lt;1号罐区&gt;" in page.text


async def test_a_drill_whose_cases_are_closed_is_certified_for_good(today: World) -> None:
    api = today
    drill = await announced(api, scope={"points": ["E1:GD-1.lel"]}, tier="yellow",
                            expected=[{"point": "E1:GD-1.lel"}])  # fmt: skip
    api.now += timedelta(seconds=61)
    alarm_id = await raise_in(api, drill["id"], "E1:GD-1.lel", Tier.YELLOW)
    await api.clear(alarm_id)
    await api.close_case(alarm_id)
    api.now += timedelta(seconds=60)
    auditor = await api.client("auditor")
    made = (await auditor.get(f"/drills/{drill['id']}/certificate")).json()
    assert (made["passed"], made["complete"]) == (True, True)
    (alarm,) = made["points"][0]["alarms"]
    assert alarm["verdict"] == "real"
    assert all(alarm["signed"].values())
    assert (await auditor.get(f"/cases/{case_id_of(alarm_id)}")).json()["stage"] == "closed"


async def test_a_drill_is_cancelled_before_it_begins_and_never_after(
    today: World, database: str
) -> None:
    api = today
    drill, held = await announced(api), await announced(api)
    supervisor = await api.client("supervisor")
    gone = (await supervisor.post(f"/drills/{drill['id']}/cancel")).json()
    assert (gone["state"], gone["cancelled_by"]) == ("cancelled", "supervisor")
    again = await supervisor.post(f"/drills/{drill['id']}/cancel")
    assert (again.status_code, again.json()["code"]) == (409, "drill_refused")
    api.now += timedelta(seconds=70)
    assert not await is_drill(
        supervisor, await raise_in(api, drill["id"], "E1:GD-1.lel", Tier.BLUE)
    )
    page = (await supervisor.get("/drills?limit=1")).json()
    rest = (await supervisor.get(f"/drills?cursor={page['next_cursor']}")).json()
    assert [one["id"] for one in page["items"] + rest["items"]] == [held["id"], drill["id"]]

    with psycopg.connect(database) as conn:
        acts = conn.execute("SELECT action FROM ledger WHERE subject = 'drill' ORDER BY entry_id")
        assert acts.fetchall() == [("announce",), ("announce",), ("cancel",)]
        for statement in (
            "UPDATE drill SET ends_at = ends_at + interval '1 hour'",
            f"INSERT INTO drill_point (drill_id, point_id) VALUES ({held['id']}, 3)",
            "DELETE FROM drill_point",
            "UPDATE drill SET cancelled_at = ends_at, cancelled_by = 'x'"
            " WHERE cancelled_at IS NULL",
        ):
            with pytest.raises(psycopg.IntegrityError), conn.transaction():
                conn.execute(statement)  # type: ignore[arg-type]
        conn.execute("SET LOCAL ROLE hazardloop_api")
        conn.execute("SELECT set_config('hazardloop.scope', '*', true)")
        with pytest.raises(psycopg.errors.InsufficientPrivilege), conn.transaction():
            conn.execute("INSERT INTO drill (enterprise_id, kind, title, tier, starts_at, ends_at,"
                         " announced_at, announced_by) VALUES (1, 'drill', 'x', 4, now(),"
                         " now() + interval '1 hour', now() - interval '1 day', 'x')")  # fmt: skip
        with pytest.raises(psycopg.errors.CheckViolation), conn.transaction():
            conn.execute("INSERT INTO drill (enterprise_id, kind, title, tier, starts_at, ends_at,"
                         " announced_by) VALUES (1, 'drill', 'x', 4, now(),"
                         " now() + interval '1 hour', 'x')")  # fmt: skip
