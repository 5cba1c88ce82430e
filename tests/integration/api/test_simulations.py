"""Fleets that a tester starts: one at a time, only where it is enabled, judged line by line."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hazardloop.alarms.alarm import Tier
from hazardloop.service.app import create_app
from hazardloop.service.settings import Settings
from hazardloop.simulators.district import build_district
from tests.brokers import mosquitto
from tests.integration.api.conftest import running
from tests.integration.api.world import RULE, World, build_world
from tests.worlds import PATIENCE_S


def truth(point: str, earliest: datetime, rule: str = RULE) -> str:
    """A line of what a fleet had to have raised."""
    line = {
        "incident": "00001", "hazard": "gas_leak", "enterprise": "E1", "gateway": "GW-1",
        "device": point.partition(".")[0], "point": point, "rule": rule, "tier": "orange",
        "earliest": earliest.isoformat(), "latest": (earliest + timedelta(seconds=5)).isoformat(),
        "cleared_from": (earliest + timedelta(seconds=60)).isoformat(),
    }  # fmt: skip
    return json.dumps(line)


async def test_what_a_fleet_had_to_raise_is_held_against_what_was_raised(
    api: World, tmp_path: Path
) -> None:
    api.now = datetime.now(UTC)
    await api.raise_alarm(tier=Tier.ORANGE, age_s=120)
    raised = api.now - timedelta(seconds=121)
    folder = tmp_path / "home" / "simulate"
    folder.mkdir(parents=True)
    counts = {"epoch": raised.isoformat(), "gateways": 2, "connected": 2, "trouble": ""}
    (folder / "counts.json").write_text(json.dumps(counts))
    lines = [
        truth("GD-1.lel", raised),
        truth("TK-1.level", raised),
        truth("GD-1.lel", api.now + timedelta(hours=1)),
    ]
    (folder / "truth.jsonl").write_text("\n".join(lines) + '\n{"half a li')
    tester = await api.client("tester")
    listed = (await tester.get("/simulations")).json()
    assert (listed["enabled"], [one["id"] for one in listed["items"]]) == (False, ["demo"])
    assert "gas_leak" in listed["scenarios"]
    report = (await tester.get("/simulations/demo")).json()
    states = [line["state"] for line in report["lines"]]
    assert states == ["late", "missing", "waiting"]  # this alarm was recorded only now
    assert [report[name] for name in ("expected", "late", "missing", "waiting")] == [2, 1, 1, 1]
    assert report["lines"][0]["delay_s"] > 100
    for other in ("../simulate", "20260101T000000Z", "x"):
        assert (await tester.get(f"/simulations/{other}")).status_code == 404
    refused = await tester.post("/simulations", json={"scenario": "gas_leak"})
    assert (refused.status_code, refused.json()["code"]) == (409, "simulation_refused")


async def test_a_tester_starts_one_fleet_at_a_time_and_stops_it(
    database: str, tmp_path: Path
) -> None:
    logins = {
        f"{enterprise}/{gateway.code}": {"username": "u", "password": "p"}
        for enterprise, gateway in build_district(1, 56, 1200).fleet()
    }
    file = tmp_path / "logins.json"
    file.write_text(json.dumps(logins))
    (tmp_path / "broker").mkdir()
    now = datetime.now(UTC)
    with mosquitto(tmp_path / "broker") as broker:
        settings = Settings(
            database_url=database,
            home=tmp_path / "home",
            mqtt_url=broker.url,
            simulation_logins=file,
        )
        app = create_app(settings, clock=lambda: now, console_dist=tmp_path / "dist")
        async with await build_world(database, app, now) as world, running(app):
            tester = await world.client("tester")
            admin = await world.client("admin")
            wrong = await tester.post("/simulations", json={"scenario": "../../etc/passwd"})
            assert wrong.status_code == 409
            started = await tester.post("/simulations", json={"scenario": "flood", "seconds": 600})
            assert started.status_code == 201, started.text
            run = started.json()["id"]
            second = await tester.post("/simulations", json={"scenario": "smoke"})
            assert second.json()["detail"] == "a run goes on: stop it first"

            async def seen(wanted: Any) -> dict[str, Any]:
                async with asyncio.timeout(PATIENCE_S):
                    while True:
                        found: dict[str, Any] = (await admin.get(f"/simulations/{run}")).json()
                        if wanted(found):
                            return found
                        await asyncio.sleep(0.2)

            await seen(lambda one: one["run"]["messages_acknowledged"] > 0 and one["lines"])
            assert (await admin.post(f"/simulations/{run}/stop")).status_code == 403
            assert (await tester.post(f"/simulations/{run}/stop")).status_code == 200
            ended = await seen(lambda one: one["run"]["ended_at"])
            assert not ended["run"]["going_on"]
            assert ended["run"]["started_by"] == "tester"
