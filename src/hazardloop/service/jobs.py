"""What the clerk does when a job is due: the table of tasks, and the worker that runs them.

A task gets the office and its job's arguments. It runs at least once: a clerk that dies in the
middle of it leaves it to another, so what must happen once is decided in a transaction. One that
fails is tried again, later and later; one that keeps failing stays as `failed`, is logged as an
error and counted in `hazardloop_jobs`.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, TypeAlias

import psycopg
import psycopg_pool
from procrastinate import App, PsycopgConnector, RetryDecision
from procrastinate.exceptions import ConnectorException, ProcrastinateException
from procrastinate.jobs import Job, Status
from procrastinate.manager import JobManager
from procrastinate.retry import BaseRetryStrategy

from hazardloop.alarms import escalation_store
from hazardloop.alarms.chasing import chase
from hazardloop.service import backtests, queue_schema, reporting
from hazardloop.service.database import Connection, Pool, open_pool, patient
from hazardloop.service.notification.delivering import deliver_message
from hazardloop.service.notification.sending import send_notices
from hazardloop.service.settings import Settings

log = logging.getLogger(__name__)

AT_ONCE: Final = 8
"""Jobs that one clerk has in hand at the same time."""
LOOK_EVERY_S: Final = 1.0
"""How late a clock may ring: jobs for now are told at once, those for later are looked for."""
BEAT_S: Final = 5.0
GONE_AFTER_S: Final = 30.0
"""A clerk that gave no sign of life for so long is dead, and its jobs are for others."""
TRIES: Final = 12
LONGEST_WAIT: Final = timedelta(minutes=10)
FAILED_KEPT_H: Final = 30 * 24


@dataclass(frozen=True, slots=True)
class Office:
    """What tasks work with."""

    settings: Settings
    pool: Pool


Task: TypeAlias = Callable[[Office, Mapping[str, Any]], Awaitable[None]]

NOW: Final = "SELECT clock_timestamp()"


async def escalate(office: Office, arguments: Mapping[str, Any]) -> None:
    """All levels that are due are told, also those whose own job was lost."""
    told = 1
    while told:
        async with office.pool.connection() as conn:
            row = await (await conn.execute(NOW)).fetchone()
            assert row is not None  # one value
            told = await chase(conn, row[0])


async def write_reports(office: Office, arguments: Mapping[str, Any]) -> None:
    """All reports that are planned are made."""
    await reporting.write_reports(office.pool, office.settings)


async def run_backtest(office: Office, arguments: Mapping[str, Any]) -> None:
    """One backtest is done, or put off while another is."""
    await backtests.run_backtest(office.pool, office.settings, arguments["backtest_id"])


async def keep_report_calendar(office: Office, arguments: Mapping[str, Any]) -> None:
    """Reports of days, weeks and months that have ended are planned and made."""
    await reporting.keep_calendar(office.pool, office.settings)


TASKS: Final[Mapping[str, Task]] = {
    escalation_store.TASK: escalate,
    reporting.TASK: write_reports,
    backtests.TASK: run_backtest,
    "send_notices": send_notices,
    "deliver_message": deliver_message,
}
"""What can be deferred, by the name that stands in the queue."""

AGAIN_AND_AGAIN: Final[Mapping[str, tuple[str, Task]]] = {
    "escalate_again": ("* * * * * */10", escalate),
    "keep_report_calendar": ("* * * * *", keep_report_calendar),
}
"""What is done at fixed times: cron, with seconds as its sixth column, and what."""


class LaterAndLater(BaseRetryStrategy):
    """Tried again after 2, 4, 8, ... seconds, up to ten minutes apart."""

    def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision | None:
        """None: it was tried often enough."""
        if job.attempts + 1 >= TRIES:
            return None
        wait_s = min(int(LONGEST_WAIT.total_seconds()), 2 ** (job.attempts + 1))
        log.warning(
            "job failed, tried again",
            extra={"task": job.task_name, "job": job.id, "in_s": wait_s, "reason": repr(exception)},
        )
        return RetryDecision(retry_in={"seconds": wait_s})


class _Manager(JobManager):
    """Tells the queue how a job ended also where a connection is lost just then.

    The library tells it once; the job would count as running for as long as its clerk lives.
    """

    async def finish_job(self, job: Job, status: Status, delete_job: bool) -> None:
        await self._told(lambda: super(_Manager, self).finish_job(job, status, delete_job))

    async def retry_job(self, job: Job, *when: Any, **how: Any) -> None:
        await self._told(lambda: super(_Manager, self).retry_job(job, *when, **how))

    async def _told(self, tell: Callable[[], Awaitable[None]]) -> None:
        for left in reversed(range(int(GONE_AFTER_S))):
            try:
                return await tell()
            except ConnectorException as error:
                if isinstance(error.__cause__, psycopg.errors.RaiseException):
                    return  # it has been told: the answer was lost
                if not left:
                    raise  # we count as gone by now, and the job as another's
            await asyncio.sleep(1.0)


def queue_of(office: Office, tasks: Mapping[str, Task] = TASKS) -> App:
    """The queue as seen by a clerk that can do `tasks`; not open yet."""
    connector = PsycopgConnector(
        conninfo=patient(office.settings.database_url, "clerk-queue"),
        min_size=1,
        max_size=4,
        timeout=5,
        reconnect_timeout=2,
        configure=_among_its_tables,
    )
    app = App(connector=connector, periodic_defaults={"max_delay": 60})
    app.job_manager = _Manager(connector)
    for name, task in tasks.items():
        app.task(name=name, retry=LaterAndLater())(_job_of(task, office))
    for name, (cron, task) in AGAIN_AND_AGAIN.items():
        app.periodic(cron=cron)(app.task(name=name)(_job_of(task, office)))

    @app.periodic(cron="* * * * * */10")
    @app.task(name="take_over")
    async def take_over(timestamp: int) -> None:
        """Jobs of clerks that died are for whoever comes first."""
        for job in await app.job_manager.get_stalled_jobs(seconds_since_heartbeat=GONE_AFTER_S):
            log.warning("job taken over", extra={"task": job.task_name, "job": job.id})
            await app.job_manager.retry_job(job)

    @app.periodic(cron="17 3 * * *")
    @app.task(name="forget_failed")
    async def forget_failed(timestamp: int) -> None:
        await app.job_manager.delete_old_jobs(
            FAILED_KEPT_H, include_failed=True, include_aborted=True
        )

    return app


def _job_of(task: Task, office: Office) -> Callable[..., Awaitable[None]]:
    async def run(**arguments: Any) -> None:
        await task(office, arguments)

    return run


async def _among_its_tables(connection: Connection) -> None:
    usual = connection.autocommit  # on the connection that listens it is on, and must stay so
    await connection.set_autocommit(True)
    await connection.execute(queue_schema.IN_IT)
    await connection.set_autocommit(usual)


AWAY: Final = (ProcrastinateException, psycopg.Error, psycopg_pool.PoolTimeout, OSError)


async def run_jobs(settings: Settings, tasks: Mapping[str, Task] = TASKS) -> None:
    """Does jobs as they become due, until cancelled; a database that goes away is waited for."""
    logging.getLogger("procrastinate").setLevel(logging.ERROR)  # a line per job is not for people
    while True:
        with suppress(*AWAY):
            await _until_away(settings, tasks)
        if (task := asyncio.current_task()) and task.cancelling():
            raise asyncio.CancelledError  # in its place came what went wrong while stopping
        log.warning("database away", extra={"asking": "clerk-jobs"})
        await asyncio.sleep(LOOK_EVERY_S)


async def _until_away(settings: Settings, tasks: Mapping[str, Task]) -> None:
    async with open_pool(settings.database_url, "clerk-jobs", most=AT_ONCE) as pool:
        queue = queue_of(Office(settings, pool), tasks)
        async with queue.open_async():
            await queue.run_worker_async(
                concurrency=AT_ONCE,
                fetch_job_polling_interval=LOOK_EVERY_S,
                update_heartbeat_interval=BEAT_S,
                stalled_worker_timeout=GONE_AFTER_S,
                delete_jobs="successful",
                install_signal_handlers=False,
                shutdown_graceful_timeout=5.0,
            )
