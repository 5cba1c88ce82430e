"""Jobs that outlive every process, planned and cancelled in the caller's transaction.

The queue is procrastinate; what each task does stands in `service/jobs.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from psycopg.types.json import Jsonb

from hazardloop.alarms.case_store import Connection


@dataclass(frozen=True, slots=True)
class Job:
    """One run of a task, not before `at`; None = at once."""

    task: str
    arguments: Mapping[str, Any]
    at: datetime | None = None


DEFER: Final = "SELECT defer_jobs(%s::text[], %s::jsonb[], %s::timestamptz[])"


async def defer_many(conn: Connection, jobs: Sequence[Job]) -> list[int]:
    """Ids of the jobs, in their order; each runs once the caller's transaction took effect."""
    if not jobs:
        return []
    columns = (
        [job.task for job in jobs],
        [Jsonb(dict(job.arguments)) for job in jobs],
        [job.at for job in jobs],
    )
    row = await (await conn.execute(DEFER, columns)).fetchone()
    assert row is not None  # one value
    return [int(job_id) for job_id in row[0]]


async def defer(
    conn: Connection, task: str, arguments: Mapping[str, Any], at: datetime | None = None
) -> int:
    """Id of the job."""
    return (await defer_many(conn, [Job(task, arguments, at)]))[0]


CANCEL: Final = "SELECT cancel_jobs(%s::bigint[])"


async def cancel(conn: Connection, job_ids: Sequence[int]) -> int:
    """How many of the jobs will not run now; one that is running, or has run, is left alone."""
    if not job_ids:
        return 0
    row = await (await conn.execute(CANCEL, [list(job_ids)])).fetchone()
    assert row is not None  # one value
    return int(row[0])
