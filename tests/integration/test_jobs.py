"""The queue of jobs against a real PostgreSQL."""

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import AsyncConnection

from hazardloop.alarms import jobs
from hazardloop.alarms.jobs import Job
from hazardloop.service import queue_schema
from hazardloop.service.database import connect, migrate, open_pool, require_schema
from hazardloop.service.errors import SchemaWrong
from hazardloop.service.jobs import Office, queue_of, run_jobs
from hazardloop.service.settings import read_settings
from tests.cases import as_request

NOW = datetime.now(UTC)
LATER = NOW + timedelta(hours=1)


async def waiting(database: str) -> list[tuple[str, dict[str, Any]]]:
    async with await AsyncConnection.connect(database) as conn:
        found = await conn.execute(
            "SELECT task_name, args FROM procrastinate.procrastinate_jobs"
            " WHERE status = 'todo' ORDER BY id"
        )
        return await found.fetchall()


async def test_a_job_stands_or_falls_with_the_transaction_that_plans_it(database: str) -> None:
    async with as_request(database, "*") as conn:
        first, second = await jobs.defer_many(
            conn, [Job("ring", {"n": 1}, LATER), Job("ring", {"n": 2})]
        )
    assert await waiting(database) == [("ring", {"n": 1}), ("ring", {"n": 2})]
    async with await AsyncConnection.connect(database) as conn:
        assert await jobs.cancel(conn, [first]) == 1
        await jobs.defer(conn, "ring", {"n": 3})
        await conn.rollback()
    assert await waiting(database) == [("ring", {"n": 1}), ("ring", {"n": 2})]
    async with as_request(database, "*") as conn:
        assert await jobs.cancel(conn, [first, second, second]) == 2
        assert await jobs.cancel(conn, [first]) == 0
    assert await waiting(database) == []


async def test_requests_plan_jobs_but_never_see_the_queue(database: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        async with as_request(database, "*") as conn:
            await conn.execute("SELECT * FROM procrastinate.procrastinate_jobs")


async def test_each_job_runs_once_however_many_clerks_there_are(
    database: str, tmp_path: Path
) -> None:
    settings = read_settings({}, tmp_path / "none", database_url=database, home=tmp_path)
    rung: list[int] = []
    failures: dict[int, int] = {}
    everything = asyncio.Event()

    async def ring(office: Office, arguments: Mapping[str, Any]) -> None:
        number = arguments["n"]
        if number % 10 == 0 and not failures.setdefault(number, 0):
            failures[number] += 1
            raise ConnectionError("not now")
        async with office.pool.connection() as conn:
            await conn.execute("SELECT 1")
        rung.append(number)
        if len(rung) == 50:
            everything.set()

    async with await connect(database, "test") as conn:
        await jobs.defer_many(conn, [Job("ring", {"n": n}) for n in range(48)])
        await jobs.defer(conn, "ring", {"n": 48}, LATER - timedelta(hours=2))
        await jobs.defer(conn, "ring", {"n": 49}, datetime.now(UTC) + timedelta(seconds=1))
        await jobs.defer(conn, "ring", {"n": 50}, LATER)
    async with asyncio.TaskGroup() as group:
        clerks = [group.create_task(run_jobs(settings, {"ring": ring})) for _ in range(2)]
        await everything.wait()
        async with await connect(database, "test") as conn:
            listening = await conn.execute(
                "SELECT DISTINCT state FROM pg_stat_activity"
                " WHERE query LIKE 'LISTEN%' AND datname = current_database()"
            )
            assert await listening.fetchall() == [("idle",)], "it hears of jobs as they come"
        for clerk in clerks:
            clerk.cancel()
    assert sorted(rung) == list(range(50))
    assert failures == {0: 1, 10: 1, 20: 1, 30: 1, 40: 1}
    assert await waiting(database) == [("ring", {"n": 50})]


async def test_a_clerk_goes_on_after_its_database_connections_were_cut(
    database: str, tmp_path: Path
) -> None:
    settings = read_settings({}, tmp_path / "none", database_url=database, home=tmp_path)
    rung: asyncio.Queue[int] = asyncio.Queue()

    async def ring(office: Office, arguments: Mapping[str, Any]) -> None:
        rung.put_nowait(arguments["n"])

    async with AsyncExitStack() as stack:
        conn = await stack.enter_async_context(await connect(database, "test"))
        group = await stack.enter_async_context(asyncio.TaskGroup())
        clerk = group.create_task(run_jobs(settings, {"ring": ring}))
        for number in range(3):
            await jobs.defer(conn, "ring", {"n": number})
            while await rung.get() != number:
                pass  # one whose end could not be told is done again
            await conn.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name LIKE 'hazardloop-clerk-%' AND datname = current_database()"
            )
        clerk.cancel()


async def test_jobs_of_a_clerk_that_died_are_taken_over(database: str, tmp_path: Path) -> None:
    settings = read_settings({}, tmp_path / "none", database_url=database, home=tmp_path)
    async with await connect(database, "test") as conn:
        job = await jobs.defer(conn, "ring", {"n": 1})
        await conn.execute("SET search_path TO procrastinate, public")
        await conn.execute(
            "INSERT INTO procrastinate_workers (last_heartbeat) VALUES (now() - interval '1 hour')"
        )
        await conn.execute("SELECT procrastinate_fetch_job_v2(NULL, 1)")
        pool = open_pool(database, "test")
        async with pool, (app := queue_of(Office(settings, pool), {})).open_async():
            await app.tasks["take_over"].func(timestamp=0)
    assert await waiting(database) == [("ring", {"n": 1})]
    assert job


async def test_a_queue_behind_the_program_is_told_to_migrate(database: str) -> None:
    newest = list(queue_schema.shipped()[1])[-1]
    with psycopg.connect(database) as connection:
        connection.execute("DELETE FROM procrastinate.applied_migration WHERE name = %s", [newest])
    async with await connect(database, "test") as conn:
        with pytest.raises(SchemaWrong, match=f"lacks {newest}"):
            await require_schema(conn)


async def test_a_newer_queue_is_brought_up_step_by_step(postgres: str, database: str) -> None:
    # The last step of this version replaces a function, so it can be applied again.
    newest = list(queue_schema.shipped()[1])[-1]
    with psycopg.connect(database) as connection:
        connection.execute("DELETE FROM procrastinate.applied_migration WHERE name = %s", [newest])
    assert await migrate(database) == [newest]
    assert await migrate(database) == []
