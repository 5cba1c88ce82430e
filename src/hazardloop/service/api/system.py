"""How the service itself is: its parts, processes, queues, database, disk and live clients."""

import asyncio
import shutil
import time
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from fastapi import APIRouter
from pydantic import ConfigDict, Field

from hazardloop import __version__
from hazardloop.service import metrics
from hazardloop.service.api.access import Here, Now, require
from hazardloop.service.api.health import LATE, Check, checks_of
from hazardloop.service.api.rows import fetch, fetch_one
from hazardloop.service.api.schema import Instant, Out

router = APIRouter(tags=["operation"])

COUNTED: Final = {
    "messages": "hazardloop_messages_received_total",
    "readings": "hazardloop_readings_stored_total",
    "unacknowledged": "hazardloop_ack_lag_messages",
    "spooled": "hazardloop_spool_readings",
}
EXAMPLE: Final[dict[str, Any]] = {
    "build": "0.1.0",
    "at": "2026-11-22T01:02:03.123Z",
    "checks": [{"name": "database", "ok": True, "detail": "ok"}],
    "processes": [{"role": "worker", "instance": "a:17", "beat_age_s": 0.4}],
    "counted": {"messages": 120394, "readings": 240788, "unacknowledged": 3, "spooled": 0},
    "jobs_late_s": 0.0,
    "jobs_waiting": 12,
    "database_ms": 0.8,
    "database_bytes": 734003200,
    "clock_skew_s": 0.001,
    "disk_free": 81604378624,
    "disk_size": 105089261568,
    "stream_clients": 4,
    "stream_behind": 0,
    "stream_behind_s": 0.2,
}


class Process(Out):
    """A process that gives signs of life."""

    role: str
    instance: str
    beat_age_s: float


class SystemHealth(Out):
    """All of it at one moment, as this process of the api sees it."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})
    build: str
    at: Instant
    checks: list[Check]
    processes: list[Process]
    counted: dict[str, float] = Field(
        description="Since the processes of this machine began; two answers make a rate."
    )
    jobs_late_s: float = Field(description="By how much the longest overdue job is late.")
    jobs_waiting: int
    database_ms: float = Field(description="For a question and its answer.")
    database_bytes: int
    clock_skew_s: float = Field(description="The database's clock less ours.")
    disk_free: int
    disk_size: int
    stream_clients: int
    stream_behind: int = Field(description="Of those, how many have not been told everything yet.")
    stream_behind_s: float = Field(description="Since the database last answered.")


PROCESSES: Final = """
    SELECT role, instance, extract(epoch FROM clock_timestamp() - beat_at)::float8 AS beat_age_s
      FROM process_heartbeat WHERE beat_at > now() - interval '1 hour' ORDER BY role, instance"""
DATABASE: Final = """
    SELECT clock_timestamp() AS now, pg_database_size(current_database()) AS size,
           (SELECT count(*) FROM procrastinate.procrastinate_jobs
             WHERE status = 'todo') AS waiting"""


@router.get("/system/health", dependencies=[require("system.read")])
async def get_system_health(here: Here, now: Now) -> SystemHealth:
    """What the service knows of itself."""
    # No enterprise's rows, and tables that requests have no right to.
    async with asyncio.timeout(5), here.pool.connection() as conn:
        began = time.perf_counter()
        await conn.execute("SELECT 1")
        took_ms = (time.perf_counter() - began) * 1000
        told = await fetch_one(conn, DATABASE)
        late = await fetch_one(conn, LATE)
        processes = await fetch(conn, PROCESSES)
    assert told is not None
    assert late is not None
    disk = await asyncio.to_thread(_disk, here.settings.home)
    totals = await asyncio.to_thread(metrics.totals)
    _, checks = await checks_of(here)
    return SystemHealth.model_validate(
        {
            "build": __version__,
            "at": now,
            "checks": checks,
            "processes": processes,
            "counted": {name: totals[of] for name, of in COUNTED.items() if of in totals},
            "jobs_late_s": late["late_s"],
            "jobs_waiting": told["waiting"],
            "database_ms": round(took_ms, 2),
            "database_bytes": told["size"],
            "clock_skew_s": _apart(told["now"], now),
            "disk_free": disk.free,
            "disk_size": disk.total,
            "stream_clients": len(here.broadcast),
            "stream_behind": here.broadcast.lagging,
            "stream_behind_s": round(here.broadcast.behind_s, 1),
        }
    )


def _disk(home: Path) -> Any:
    """Of the file system in which `home` is, or will be once something is kept there."""
    there = home.absolute()
    while not there.exists():
        there = there.parent
    return shutil.disk_usage(there)


def _apart(theirs: datetime, ours: datetime) -> float:
    return round((theirs - ours).total_seconds(), 3)
