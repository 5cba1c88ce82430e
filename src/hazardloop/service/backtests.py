"""The clerk's part in backtests: one at a time in the whole service, each a process of its own, so
that no clock waits for it.
"""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Final

from hazardloop.alarms import jobs
from hazardloop.service import backtest_store
from hazardloop.service.database import Pool
from hazardloop.service.settings import PREFIX, Settings

TASK: Final = "run_backtest"
AGAIN_AFTER: Final = timedelta(seconds=5)
"""While another is under way, this one is looked at again so much later."""
MINE: Final = "SELECT pg_try_advisory_lock(hashtext('hazardloop.backtest'))"
NOT_MINE: Final = "SELECT pg_advisory_unlock(hashtext('hazardloop.backtest'))"


async def run_backtest(pool: Pool, settings: Settings, backtest_id: int) -> None:
    """Does that one, or puts it off while another is done."""
    async with _turn(pool) as mine:
        if mine:
            await _in_a_process(pool, settings, backtest_id)
            return
    async with pool.connection() as conn:
        again = datetime.now(UTC) + AGAIN_AFTER
        await jobs.defer(conn, TASK, {"backtest_id": backtest_id}, again)


@contextlib.asynccontextmanager
async def _turn(pool: Pool) -> AsyncIterator[bool]:
    """Whether it is ours to do one now."""
    async with pool.connection() as conn:
        async with conn.transaction():
            row = await (await conn.execute(MINE)).fetchone()
        if row is None or not row[0]:
            yield False
            return
        try:
            yield True
        finally:
            async with conn.transaction():
                await conn.execute(NOT_MINE)


async def _in_a_process(pool: Pool, settings: Settings, backtest_id: int) -> None:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(PREFIX)}
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "hazardloop.service.backtest_job", str(backtest_id)),
        env=kept | settings.environment(),
    )
    try:
        code = await child.wait()
    finally:
        if child.returncode is None:
            child.terminate()
            await child.wait()
    async with pool.connection() as conn:
        if code:
            why = f"its process ended with {code}: the clerk's log says more"
            await backtest_store.end(conn, backtest_id, None, why)
        await backtest_store.forget(conn, datetime.now(UTC))
