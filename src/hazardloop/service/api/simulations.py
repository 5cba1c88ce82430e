"""Simulated fleets for testers: started, watched and stopped; what had to be raised, what was."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from fastapi import APIRouter
from pydantic import ConfigDict, Field

from hazardloop.alarms.alarm import Tier
from hazardloop.service import simulation_runs
from hazardloop.service.api.access import Actor, Conn, Here, require
from hazardloop.service.api.problems import Problem, problems
from hazardloop.service.api.rows import fetch
from hazardloop.service.api.schema import Body, Instant, Out
from hazardloop.service.database import Connection
from hazardloop.service.simulation_runs import Run
from hazardloop.simulators.logbook import TruthRecord
from hazardloop.simulators.score import SLACK_S

router = APIRouter(tags=["simulations"])

RUN: Final[dict[str, Any]] = {
    "id": "20261122T010000Z",
    "scenario": "gas_leak",
    "started_at": "2026-11-22T01:00:00.000Z",
    "ended_at": None,
    "started_by": "tester",
    "build": "0.1.0",
    "going_on": True,
    "gateways": 56,
    "connected": 56,
    "trouble": "",
    "messages_sent": 1200,
    "messages_acknowledged": 1198,
    "rejected": 0,
    "incidents_started": 2,
}
LINE: Final[dict[str, Any]] = {
    "incident": "00001",
    "hazard": "gas_leak",
    "enterprise": "CHEM",
    "point": "GD-101.lel",
    "rule": "gas_detector.lel.high",
    "tier": "orange",
    "earliest": "2026-11-22T01:00:05.000Z",
    "latest": "2026-11-22T01:00:10.000Z",
    "state": "raised",
    "tier_seen": "orange",
    "raised_at": "2026-11-22T01:00:06.000Z",
    "recorded_at": "2026-11-22T01:00:06.200Z",
    "delay_s": 1.2,
    "times": 1,
}


class SimulationOut(Out):
    """One run of a fleet."""

    model_config = ConfigDict(json_schema_extra={"examples": [RUN]})
    id: str = Field(description="`demo`: the fleet that comes with the demo.")
    scenario: str
    started_at: str | None
    ended_at: str | None
    started_by: str
    build: str
    going_on: bool
    gateways: int
    connected: int
    trouble: str = Field(description="Why one of those that are not connected is not.")
    messages_sent: int
    messages_acknowledged: int
    rejected: int
    incidents_started: int


class SimulationList(Out):
    """What there is."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"enabled": True, "scenarios": ["flood", "gas_leak"], "items": [RUN]}]
        }
    )
    enabled: bool = Field(description="Whether fleets may be started here.")
    scenarios: list[str]
    items: list[SimulationOut] = Field(description="Newest first.")


class SimulationLine(Out):
    """One thing that had to be raised, and what came of it."""

    incident: str
    hazard: str
    enterprise: str
    point: str
    rule: str
    tier: str
    earliest: str
    latest: str
    state: str = Field(
        description="`raised`, `other_tier`, `late` (recorded after it was due), `waiting` (not due"
        " yet) or `missing`."
    )
    tier_seen: str | None
    raised_at: Instant | None
    recorded_at: Instant | None
    delay_s: float | None = Field(description="From the earliest instant to its being recorded.")
    times: int = Field(description="How many alarms it raised; more than one are duplicates.")


class SimulationReport(Out):
    """A run with every line, newest last."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"run": RUN, "expected": 1, "raised": 1, "missing": 0, "late": 0, "other_tier": 0,
                 "duplicates": 0, "waiting": 0, "delay_p50_s": 1.2, "delay_worst_s": 1.2,
                 "lines": [LINE]}
            ]
        }
    )  # fmt: skip
    run: SimulationOut
    expected: int = Field(description="That were due by now.")
    raised: int = Field(description="In time and with their tier.")
    missing: int
    late: int
    other_tier: int
    duplicates: int
    waiting: int
    delay_p50_s: float | None
    delay_worst_s: float | None
    lines: list[SimulationLine]


class SimulationIn(Body):
    """Which scenario, and for how long."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"scenario": "gas_leak", "seconds": 300}]}
    )
    scenario: str = Field(max_length=64)
    seconds: float = Field(default=300, ge=5, le=simulation_runs.LONGEST_S)
    speed: float = Field(default=1.0, ge=0.1, le=20, description="Of the simulated world.")
    seed: int = Field(default=1, ge=0, le=2**31 - 1, description="Of the registered district.")


def _run_out(run: Run) -> SimulationOut:
    counts = {name: run.counts.get(name, 0) for name in (
        "gateways", "connected", "messages_sent", "messages_acknowledged", "rejected",
        "incidents_started",
    )}  # fmt: skip
    return SimulationOut(
        id=run.id,
        scenario=run.scenario,
        started_at=run.started_at,
        ended_at=run.ended_at,
        started_by=run.started_by,
        build=run.build,
        going_on=run.going_on,
        trouble=run.counts.get("trouble", ""),
        **counts,
    )


@router.get("/simulations", dependencies=[require("simulations.read")])
async def list_simulations(here: Here) -> SimulationList:
    """Scenarios, runs, and whether one may be started."""
    runs = await asyncio.to_thread(here.simulations.all)
    return SimulationList(
        enabled=simulation_runs.enabled(here.settings),
        scenarios=list(simulation_runs.plays()),
        items=[_run_out(run) for run in runs],
    )


@router.post(
    "/simulations",
    status_code=201,
    dependencies=[require("simulations.run")],
    responses=problems("simulation_refused"),
)
async def start_simulation(body: SimulationIn, here: Here, actor: Actor) -> SimulationOut:
    """Start a fleet as a process of its own; one at a time, and only where it is enabled."""
    run = await here.simulations.start(
        body.scenario, body.seconds, body.speed, body.seed, actor.username
    )
    return _run_out(run)


@router.post(
    "/simulations/{run}/stop",
    dependencies=[require("simulations.run")],
    responses=problems("not_found"),
)
async def stop_simulation(run: str, here: Here) -> SimulationOut:
    """Ask a run to end; it says goodbye to the broker first."""
    found = await asyncio.to_thread(here.simulations.stop, run)
    if found is None:
        raise Problem("not_found", f"no run {run[:64]} is known here")
    return _run_out(found)


# The alarms that fit each line: same point and rule, raised within its time.
SEEN: Final = """
    SELECT w.nth, count(*) AS times, min(a.raised_at) AS raised_at,
           min(a.recorded_at) AS recorded_at,
           (array_agg(a.tier ORDER BY a.raised_at))[1] AS tier
      FROM unnest(%(enterprise)s::text[], %(device)s::text[], %(quantity)s::text[],
                  %(rule)s::text[], %(since)s::timestamptz[], %(until)s::timestamptz[])
           WITH ORDINALITY AS w (enterprise, device, quantity, rule, since, until, nth)
           JOIN enterprise e ON e.code = w.enterprise
           JOIN device d ON d.enterprise_id = e.enterprise_id AND d.code = w.device
           JOIN point p ON p.device_id = d.device_id AND p.quantity = w.quantity
           JOIN alarm a ON a.point_id = p.point_id AND a.rule_id = w.rule
                       AND a.raised_at BETWEEN w.since AND w.until
     GROUP BY w.nth"""


@router.get(
    "/simulations/{run}",
    dependencies=[require("simulations.read")],
    responses=problems("not_found"),
)
async def get_simulation(run: str, here: Here, conn: Conn) -> SimulationReport:
    """What the run had to raise (the newest 500), and what was raised, with its delay."""
    found = await asyncio.to_thread(here.simulations.one, run)
    if found is None:
        raise Problem("not_found", f"no run {run[:64]} is known here")
    truths = await asyncio.to_thread(here.simulations.truths, run)
    lines = await _lines(conn, truths)
    of = {state: sum(line.state == state for line in lines) for state in
          ("raised", "missing", "late", "other_tier", "waiting")}  # fmt: skip
    delays = sorted(line.delay_s for line in lines if line.delay_s is not None)
    return SimulationReport(
        run=_run_out(found),
        expected=len(lines) - of["waiting"],
        duplicates=sum(max(0, line.times - 1) for line in lines),
        delay_p50_s=delays[len(delays) // 2] if delays else None,
        delay_worst_s=delays[-1] if delays else None,
        lines=lines,
        **of,
    )


async def _lines(conn: Connection, truths: Sequence[TruthRecord]) -> list[SimulationLine]:
    slack = timedelta(seconds=SLACK_S)
    parts = [truth["point"].rpartition(".") for truth in truths]
    wanted = {
        "enterprise": [truth["enterprise"] for truth in truths],
        "device": [device for device, _, _ in parts],
        "quantity": [quantity for _, _, quantity in parts],
        "rule": [truth["rule"] for truth in truths],
        "since": [_instant(truth["earliest"]) - slack for truth in truths],
        "until": [_instant(truth["latest"]) + slack for truth in truths],
    }
    seen = {row["nth"]: row for row in await fetch(conn, SEEN, wanted)}
    now = datetime.now(UTC)  # fleets live by the clock on the wall
    return [_line(truth, seen.get(nth), now) for nth, truth in enumerate(truths, 1)]


LATE: Final = timedelta(seconds=10)
"""After the last instant at which it could be raised."""


def _line(truth: TruthRecord, seen: dict[str, Any] | None, now: datetime) -> SimulationLine:
    told = {name: truth[name] for name in (
        "incident", "hazard", "enterprise", "point", "rule", "tier", "earliest", "latest"
    )}  # fmt: skip
    if seen is None:
        state = "waiting" if now <= _instant(truth["latest"]) + LATE else "missing"
        return SimulationLine(
            **told, state=state, tier_seen=None, raised_at=None, recorded_at=None, delay_s=None,
            times=0,
        )  # fmt: skip
    tier = Tier(seen["tier"]).name.lower()
    settled = _instant(truth["cleared_from"]) <= now
    state = "raised"
    if tier != truth["tier"] and settled:
        state = "other_tier"
    elif seen["recorded_at"] > _instant(truth["latest"]) + LATE:
        state = "late"
    delay = (seen["recorded_at"] - _instant(truth["earliest"])).total_seconds()
    return SimulationLine(
        **told,
        state=state,
        tier_seen=tier,
        raised_at=seen["raised_at"],
        recorded_at=seen["recorded_at"],
        delay_s=round(delay, 3),
        times=seen["times"],
    )


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)
