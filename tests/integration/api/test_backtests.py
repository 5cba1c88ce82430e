"""Stored readings through candidate rules: over the command line and over the api."""

import asyncio
import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from hazardloop.alarms.alarm import Tier, Verdict
from hazardloop.alarms.rules import catalogue_rules
from hazardloop.devices.catalog import shipped_catalog
from hazardloop.replay.errors import Stopped
from hazardloop.service import cli
from hazardloop.service.backtest_job import asked_of
from hazardloop.service.backtesting import Progress, backtest, plan_of
from hazardloop.service.backtests import run_backtest
from hazardloop.service.database import open_pool
from hazardloop.service.settings import Settings
from tests.integration.api.world import POINTS, RULE, World
from tests.worlds import query

DAY = datetime.fromisoformat("2026-11-21T00:00:00+00:00")
FROM, TO = "2026-11-21T02:00:00Z", "2026-11-21T22:00:00Z"
QUIET = """
    INSERT INTO reading
    SELECT point, at, at + interval '80 ms', 5, 0
      FROM unnest(ARRAY[1, 3]) point,
           generate_series(%(day)s, %(day)s + interval '24 h' - interval '1 s', '30 s') at"""
EXCURSION = """
    UPDATE reading SET value = %(value)s
     WHERE point_id = %(point)s AND observed_at >= %(from)s
       AND observed_at < %(from)s + %(seconds)s * interval '1 s'"""
EXCURSIONS = (
    ("E1:GD-1.lel", 10, 300, 30.0),
    ("E1:GD-1.lel", 12, 30, 26.0),
    ("E2:GD-1.lel", 15, 600, 60.0),
)
"""Point, hour, seconds, value: something was there, nothing was, nobody has said yet."""
VERDICTS = (Verdict.REAL, Verdict.FALSE_ALARM)
CANDIDATE: dict[str, Any] = {
    "id": RULE,
    "kind": "threshold",
    "quantity": "lel",
    "name": {"zh": "可燃气体浓度高", "en": "Combustible gas high"},
    "select": {"kind": "gas_detector"},
    "high": {"yellow": 40, "orange": 50},
    "deadband": 2,
    "off_delay_s": 10,
    "source": "house",
    "confidence": "house",
    "guidance": {"zh": "查漏。", "en": "Look for the leak."},
}


@pytest.fixture
async def past(api: World) -> World:
    """A day of readings with three excursions, on two of which there is a verdict."""
    await api.conn.execute(QUIET, {"day": DAY})
    for point, hour, seconds, value in EXCURSIONS:
        at = {"point": POINTS[point], "from": DAY + timedelta(hours=hour)}
        await api.conn.execute(EXCURSION, at | {"seconds": seconds, "value": value})
    now = api.now
    for verdict, (point, hour, seconds, _) in zip(VERDICTS, EXCURSIONS, strict=False):
        api.now = DAY + timedelta(hours=hour, seconds=seconds)
        alarm = await api.raise_alarm(point, Tier.YELLOW, age_s=seconds)
        await api.clear(alarm)
        await api.close_case(alarm, verdict)
    api.now = now
    return api


def told(
    capsys: pytest.CaptureFixture[str], file: Path, *words: str, expected: int = 0
) -> dict[str, Any]:
    """What the command prints as JSON."""
    given = ["rules", "backtest", str(file), "--from", FROM, "--to", TO, *words]
    assert cli.main([*given, "--json"]) == expected
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


async def test_the_command_tells_what_a_rule_would_lose_and_spare(
    past: World,
    database: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HAZARDLOOP_DATABASE_URL", database)
    monkeypatch.setenv("HAZARDLOOP_HOME", str(tmp_path / "none"))
    file = tmp_path / "rules.yaml"
    file.write_text(json.dumps({"rules": [CANDIDATE]}), encoding="utf-8")
    sweep = ("--sweep", "high.yellow=20,27,40,60", "--sweep", "on_delay_s=0,60")
    alone = await asyncio.to_thread(told, capsys, file, *sweep, "--workers", "1")
    shared = await asyncio.to_thread(told, capsys, file, *sweep, "--workers", "2")
    assert shared == alone
    assert alone["today"] | {"days": 0, "tiers": 0} == {
        "alarms": 3, "per_day": 3.6, "per_operator_hour": 0.15, "per_shift": 1.2,
        "tiers": 0, "days": 0, "chattering": {"sources": 0, "alarms": 0}, "points": 2,
        "found_late": 0, "standing_before": 0, "true_events": 1, "missed_true_events": 0,
        "false_alarms": 1, "spared_false_alarms": 0,
        "true_event_delay_s": {"p50": 0.0, "p95": 0.0, "least": 0.0, "most": 0.0},
    }  # fmt: skip
    assert alone["today"]["tiers"] == {"red": 0, "orange": 3, "yellow": 0, "blue": 0}
    assert alone["today"]["days"] == [{"day": "2026-11-21", "alarms": 3}]
    candidate = alone["candidate"]
    assert (candidate["alarms"], candidate["missed_true_events"]) == (1, 1)
    assert candidate["spared_false_alarms"] == 1
    assert candidate["true_event_delay_s"] is None
    episodes = alone["episodes"]
    assert [episodes[each] for each in ("kept", "lost", "gained")] == [1, 2, 0]
    assert [each["raised_at"][11:16] for each in episodes["lost_episodes"]] == ["10:00", "12:00"]
    lines = {
        (one["changed"]["high.yellow"], one["changed"]["on_delay_s"]): (
            one["alarms"], one["missed_true_events"], one["spared_false_alarms"], one["pareto"],
        )
        for one in alone["sweep"]["variants"]
    }  # fmt: skip
    assert lines == {
        (20, 0): (3, 0, 0, False), (20, 60): (2, 0, 1, True),
        (27, 0): (2, 0, 1, True), (27, 60): (2, 0, 1, True),
        (40, 0): (1, 1, 1, True), (40, 60): (1, 1, 1, True),
    }  # fmt: skip
    assert {one["changed"]["high.yellow"] for one in alone["sweep"]["refused"]} == {60}
    assert alone["readings"] > 2 * 20 * 120


@pytest.mark.parametrize(
    ("words", "body", "why"),
    [
        pytest.param([], {"high": {"yellow": 60, "orange": 50}}, "rule", id="no rule"),
        pytest.param([], {"select": {"kind": "gas_detector", "enterprise": ["E9"]}, "id": "x.y"},
                     "no point is watched", id="nothing watched"),
        pytest.param(["--instead-of", "no.such"], {}, "no rule 'no.such'", id="unknown rule"),
        pytest.param(["--sweep", "high.yellow"], {}, "FIELD=VALUE", id="no values"),
        pytest.param(["--from", "yesterday"], {}, "RFC 3339", id="no instant"),
    ],
)  # fmt: skip
async def test_what_cannot_be_asked_is_one_clear_line(
    api: World,
    database: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    body: dict[str, Any],
    why: str,
) -> None:
    monkeypatch.setenv("HAZARDLOOP_DATABASE_URL", database)
    monkeypatch.setenv("HAZARDLOOP_HOME", str(tmp_path / "none"))
    file = tmp_path / "rules.yaml"
    file.write_text(json.dumps({"rules": [CANDIDATE | body]}), encoding="utf-8")
    given = ["rules", "backtest", str(file), "--from", FROM, "--to", TO, *words]
    assert await asyncio.to_thread(cli.main, given) == 1
    said = capsys.readouterr()
    assert why in said.err
    assert said.out == ""


QUESTION = {"rules": [CANDIDATE], "from": FROM, "to": TO}


QUEUED = """
    SELECT (args ->> 'backtest_id')::int FROM procrastinate.procrastinate_jobs
     WHERE task_name = 'run_backtest' ORDER BY id"""


async def test_a_clerk_does_what_was_asked_over_the_api(
    past: World, database: str, tmp_path: Path
) -> None:
    supervisor, tenant = await past.client("supervisor"), await past.client("ent2")
    asked = await supervisor.post("/rules/backtest", json=QUESTION)
    own = await tenant.post("/rules/backtest", json=QUESTION)
    unwanted = await supervisor.post("/rules/backtest", json=QUESTION)
    assert [each.status_code for each in (asked, own, unwanted)] == [202] * 3
    assert asked.json()["state"] == "planned"
    assert asked.json()["rules"] == [RULE]
    gone = await supervisor.post(f"/backtests/{unwanted.json()['id']}/cancel")
    assert gone.json()["state"] == "cancelled"
    others = await tenant.get(f"/backtests/{asked.json()['id']}")
    assert others.status_code == 404
    queued = [row[0] for row in query(database, QUEUED)]
    assert queued == [each.json()["id"] for each in (asked, own, unwanted)]
    async with open_pool(database, "test") as pool:
        for backtest_id in queued:
            settings = Settings(database_url=database, home=tmp_path)
            await run_backtest(pool, settings, backtest_id)
    whole = (await supervisor.get(f"/backtests/{queued[0]}")).json()
    part = (await tenant.get(f"/backtests/{queued[1]}")).json()
    assert (await supervisor.get(f"/backtests/{queued[2]}")).json()["begun_at"] is None
    assert (whole["state"], whole["progress"]["share"]) == ("done", 1.0)
    assert whole["progress"]["readings"] <= whole["result"]["readings"]
    assert whole["question"]["rules"] == [CANDIDATE]
    assert whole["result"]["points"] == 2
    assert whole["result"]["candidate"]["missed_true_events"] == 1
    assert (part["state"], part["enterprise"], part["result"]["points"]) == ("done", "E2", 1)
    assert part["result"]["today"]["true_events"] == 0, "another's verdicts are not told"
    listed = (await tenant.get("/backtests")).json()["items"]
    assert [each["id"] for each in listed] == [own.json()["id"]]


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        pytest.param({"rules": [CANDIDATE | {"high": {"yellow": 60, "orange": 50}}]},
                     "cannot be used", id="no rule"),
        pytest.param({"from": TO, "to": FROM}, "a period of up to", id="no period"),
        pytest.param({"instead_of": ["no.such"]}, "no rule 'no.such'", id="no such rule"),
        pytest.param({"sweep": {"high.yellow": list(range(1, 41)), "deadband": list(range(40))}},
                     "1600 combinations", id="too many to try"),
        pytest.param({"enterprise": "E9"}, "no enterprise E9", id="no such enterprise"),
    ],
)  # fmt: skip
async def test_what_cannot_be_replayed_is_refused_at_once(
    api: World, changed: dict[str, Any], why: str
) -> None:
    supervisor = await api.client("supervisor")
    answer = await supervisor.post("/rules/backtest", json=QUESTION | changed)
    assert answer.status_code in (404, 422)
    assert why in answer.json()["detail"]


async def test_a_person_waits_for_a_few_at_a_time(api: World) -> None:
    supervisor = await api.client("supervisor")
    answers = [await supervisor.post("/rules/backtest", json=QUESTION) for _ in range(6)]
    assert [each.status_code for each in answers] == [202] * 5 + [429]


async def test_one_that_is_called_off_stops_its_processes(
    past: World, database: str, tmp_path: Path
) -> None:
    settings, catalog = Settings(database_url=database, home=tmp_path), shipped_catalog()
    asked = asked_of(QUESTION | {"instead_of": [], "sweep": {}, "seats": 1}, None)
    plan = plan_of(asked, catalogue_rules(catalog), catalog)

    async def enough(progress: Progress) -> None:
        raise Stopped("enough")

    with pytest.raises(Stopped):
        await backtest(settings, asked, plan, catalog, enough, 2)


async def test_why_a_point_did_not_alarm_is_told_with_its_numbers(past: World) -> None:
    tenant, stranger = await past.client("ent1"), await past.client("ent2")
    about = "/points/E1:GD-1.lel/why-not"
    quiet = {"from": "2026-11-21T11:00:00Z", "to": "2026-11-21T11:50:00Z"}
    answer = (await tenant.get(about, params=quiet)).json()
    by_rule = {one["rule_id"]: one for one in answer["rules"]}
    told = by_rule[RULE]
    assert (told["outcome"], told["value"], told["short_by"]) == ("not_reached", 5.0, 20.0)
    assert [each["limit"] for each in told["limits"]] == [25.0, 50.0]
    stale = [one for one in answer["rules"] if one["kind"] == "stale"]
    assert {one["outcome"] for one in stale} == {"never_silent_for_so_long"}
    assert (answer["readings"]["seen"], answer["readings"]["missing"]) == (100, 0)
    busy = {"from": "2026-11-21T09:50:00Z", "to": "2026-11-21T10:30:00Z"}
    alarmed = (await tenant.get(about, params=busy)).json()
    assert {one["outcome"] for one in alarmed["rules"] if one["rule_id"] == RULE} == {"alarmed"}
    assert (await stranger.get(about, params=quiet)).status_code == 404
    year = {"from": "2025-11-21T11:00:00Z", "to": "2026-11-21T11:50:00Z"}
    assert (await tenant.get(about, params=year)).status_code == 422
