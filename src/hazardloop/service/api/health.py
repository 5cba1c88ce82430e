"""Is it alive, can it do its job, and the figures for Prometheus."""

import asyncio
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final, Literal

import psycopg
import psycopg_pool
from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST
from prometheus_client.core import GaugeMetricFamily, Metric
from pydantic import ConfigDict

from hazardloop.alarms.alarm import Stage, Tier
from hazardloop.service import metrics, path_store
from hazardloop.service.api.access import Here, public
from hazardloop.service.api.rows import fetch, fetch_one
from hazardloop.service.api.schema import Out
from hazardloop.service.api.site import Site
from hazardloop.service.database import Connection, require_schema
from hazardloop.service.errors import SchemaWrong
from hazardloop.service.path_store import Standing
from hazardloop.service.spool_state import OK, in_words, said_in, state_file

router = APIRouter(tags=["operation"])

BEAT_FRESH_S: Final = 10.0
"""A process whose newest sign of life is older is taken to be gone."""
ABSENT: Final = (psycopg.Error, psycopg_pool.PoolTimeout, psycopg_pool.PoolClosed, OSError)


class Alive(Out):
    """The process answers."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"status": "alive"}]})
    status: str = "alive"


class Check(Out):
    """One part."""

    name: str
    ok: bool
    detail: str
    """`ok`, `ok: …` with something to know, or what is wrong and what to do."""


class Ready(Out):
    """Which part can do its job, and what is wrong with the others."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "status": "ready",
                    "ready": True,
                    "parts": {
                        "database": "ok",
                        "schema": "ok",
                        "worker": "ok",
                        "broker": "ok",
                        "spool": "ok",
                        "path": "ok",
                    },
                    "checks": [
                        {"name": name, "ok": True, "detail": "ok"}
                        for name in ("database", "schema", "worker", "broker", "spool", "path")
                    ],
                    "heartbeat_at": "2026-11-22T08:15:30.250000Z",
                    "heartbeat_age_s": 12.4,
                }
            ]
        }
    )
    status: Literal["ready", "not_ready"]
    ready: bool
    parts: dict[str, str]
    """By name, what `checks` say."""
    checks: list[Check]
    heartbeat_at: datetime | None
    """When the newest synthetic alarm that travelled the whole path was sent; null: none has, or
    the database is away."""
    heartbeat_age_s: float | None
    """How long ago that was."""


@router.get("/healthz", dependencies=[public()])
async def alive() -> Alive:
    """Answers while the process lives; says nothing of what it depends on."""
    return Alive()


@router.get(
    "/readyz",
    dependencies=[public()],
    responses={503: {"model": Ready, "description": "Some part cannot do its job."}},
)
async def ready(here: Here, response: Response) -> Ready:
    """Whether alarms are being raised and shown: database, schema, worker, its broker and spool,
    and the path as a whole, as synthetic alarms find it.

    A part is fine if it says `ok`, or `ok: …` with something to know.
    """
    path, checks = await checks_of(here)
    fine = all(check.ok for check in checks)
    response.status_code = 200 if fine else 503
    return Ready(
        status="ready" if fine else "not_ready",
        ready=fine,
        parts={check.name: check.detail for check in checks},
        checks=checks,
        heartbeat_at=path.arrived_at if path else None,
        heartbeat_age_s=path.age_s if path else None,
    )


async def checks_of(here: Site) -> tuple[Standing | None, list[Check]]:
    """How the path stands (None: not known), and what each part says."""
    parts, path = await _parts(here)
    return path, [
        Check(name=name, ok=said == OK or said.startswith(f"{OK}:"), detail=said)
        for name, said in parts.items()
    ]


NEWEST_BEAT: Final = """
    SELECT extract(epoch FROM clock_timestamp() - beat_at)::float8 AS age_s, detail
      FROM process_heartbeat WHERE role = 'worker' ORDER BY beat_at DESC LIMIT 1"""


async def _parts(here: Site) -> tuple[dict[str, str], Standing | None]:
    """What each part says, and how the path stands; None: not known."""
    unknown = "not known while the database is away"
    parts = dict.fromkeys(("database", "schema", "worker", "broker", "spool", "path"), unknown)
    parts["database"] = OK
    try:
        async with asyncio.timeout(5), here.pool.connection() as conn:
            try:
                await require_schema(conn)
                parts["schema"] = OK
            except SchemaWrong as error:
                lacking = dict.fromkeys(("worker", "broker", "spool", "path"), "not known")
                return parts | lacking | {"schema": str(error)}, None
            parts |= _worker(await fetch_one(conn, NEWEST_BEAT))
            path = await path_store.standing(conn)
            parts["path"] = path.in_words(here.settings.canary_within_s)
            return parts, path
    except (*ABSENT, TimeoutError):
        parts["database"] = "does not answer: start PostgreSQL"
        state = await asyncio.to_thread(said_in, state_file(here.settings.home))
        return parts | ({} if state is None else _worker_says(state)), None


def _worker_says(state: dict[str, Any]) -> dict[str, str]:
    """What a worker on this machine says of itself while the database is away."""
    if why := state.get("waiting"):
        lacking = dict.fromkeys(("broker", "spool"), "not known without a worker")
        return {"worker": f"waits for the database: {why}"} | lacking
    began = state.get("from_snapshot")
    broker = str(state.get("broker", "not known"))
    return {
        "worker": "ok: alarms go out unrecorded" + (f"; {began}" if began else ""),
        "broker": OK if broker == "connected" else broker,
        "spool": in_words(state),
    }


def _worker(beat: dict[str, Any] | None) -> dict[str, str]:
    lacking = dict.fromkeys(("broker", "spool"), "not known without a worker")
    if beat is None:
        return {"worker": "none has run yet: start one"} | lacking
    if beat["age_s"] > BEAT_FRESH_S:
        return {"worker": f"silent for {beat['age_s']:.0f} s: start it again"} | lacking
    broker = beat["detail"].get("broker", "connected")
    return {
        "worker": OK,
        "broker": OK if broker == "connected" else str(broker),
        "spool": str(beat["detail"].get("spool", OK)),
    }


@router.get("/metrics", dependencies=[public()], response_class=Response)
async def figures(here: Here) -> Response:
    """All processes' figures in Prometheus text format; gauges of the database are left out while
    it is away.
    """
    try:
        async with asyncio.timeout(5), here.pool.connection() as conn:
            families = list(await _from_database(conn))
            if arrived_at := (await path_store.standing(conn)).arrived_at:
                metrics.HEARTBEAT_TIMESTAMP.set(arrived_at.timestamp())
    except (*ABSENT, TimeoutError):
        families = []
    return Response(metrics.exposition(families), media_type=CONTENT_TYPE_LATEST)


ACTIVE: Final = "SELECT tier, count(*) AS number FROM alarm WHERE cleared_at IS NULL GROUP BY tier"
OVERDUE: Final = """
    SELECT stage, count(*) AS number FROM disposal_case
     WHERE stage <> 'closed' AND stage_due_at < now() GROUP BY stage"""
ONLINE: Final = "SELECT count(*) AS number FROM gateway WHERE online"
JOBS: Final = """
    SELECT status::text, count(*) AS number FROM procrastinate.procrastinate_jobs GROUP BY status"""
LATE: Final = """
    SELECT coalesce(extract(epoch FROM now() - min(scheduled_at)), 0)::float8 AS late_s
      FROM procrastinate.procrastinate_jobs WHERE status = 'todo' AND scheduled_at <= now()"""


async def _from_database(conn: Connection) -> Iterable[Metric]:
    active = GaugeMetricFamily(
        "hazardloop_alarms_active", "Alarms whose signal is active.", labels=["tier"]
    )
    counts = {row["tier"]: row["number"] for row in await fetch(conn, ACTIVE)}
    for tier in Tier:
        if tier:
            active.add_metric([tier.wire], counts.get(int(tier), 0))
    overdue = GaugeMetricFamily(
        "hazardloop_cases_overdue", "Cases past the time of what is owed.", labels=["stage"]
    )
    counts = {row["stage"]: row["number"] for row in await fetch(conn, OVERDUE)}
    for stage in Stage:
        if stage is not Stage.CLOSED:
            overdue.add_metric([stage.value], counts.get(stage.value, 0))
    jobs = GaugeMetricFamily(
        "hazardloop_jobs",
        "Jobs of the clerk: todo, doing, or failed for good.",
        labels=["status"],
    )
    counts = {row["status"]: row["number"] for row in await fetch(conn, JOBS)}
    for status in ("todo", "doing", "failed"):
        jobs.add_metric([status], counts.get(status, 0))
    row = await fetch_one(conn, LATE)
    late = GaugeMetricFamily(
        "hazardloop_jobs_late_seconds",
        "By how much the longest overdue job is late; 0 when none is.",
        value=row["late_s"] if row else 0,
    )
    row = await fetch_one(conn, ONLINE)
    online = GaugeMetricFamily(
        "hazardloop_gateways_online",
        "Gateways that say they are online.",
        value=row["number"] if row else 0,
    )
    return active, overdue, jobs, late, online
