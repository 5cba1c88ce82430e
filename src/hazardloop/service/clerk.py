"""Durable housekeeping: jobs that are due, partitions made ahead, what has had its time taken away.

Any number of clerks may run; a job, or a round of chores, is done by whichever comes first.
"""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import time
from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

from hazardloop.alarms import figure_store
from hazardloop.alarms.rules import catalogue_rules
from hazardloop.ingest import connectivity, rollups
from hazardloop.service import (
    balance_chores,
    heartbeat,
    jobs,
    ledger_watch,
    level_chores,
    path_watch,
    signal_chores,
)
from hazardloop.service.database import (
    Connection,
    SteadyConnection,
    connect,
    ensure_partitions,
    require_schema,
)
from hazardloop.service.freezing import freeze_due
from hazardloop.service.settings import Settings
from hazardloop.service.site import known_kinds

log = logging.getLogger(__name__)

BEAT_S: Final = 1.0
CHORES_EVERY_S: Final = 600.0
ROLL_EVERY_S: Final = 60.0

MINE: Final = "SELECT pg_try_advisory_xact_lock(hashtext('hazardloop.chores'))"

FORGET_SESSIONS: Final = "DELETE FROM user_session WHERE expires_at < now()"

FORGET_DEAD_LETTERS: Final = """
    DELETE FROM dead_letter WHERE received_at < now() - %(days)s * interval '1 day'"""

# A console resumes within this window; beyond it, it takes a new snapshot. What the figures have
# not packed yet stays in any case.
FORGET_LIVE_CHANGES: Final = """
    DELETE FROM live_change
     WHERE changed_at < now() - interval '1 hour'
       AND seq <= (SELECT seq FROM live_counter) - 50000
       AND seq <= (SELECT seq FROM figure_progress)"""

FORGET_CANARIES: Final = """
    DELETE FROM canary_alarm WHERE raised_at < now() - interval '7 days'"""

# Longer than a phone is without network and still has something to send.
FORGET_REQUESTS: Final = """
    DELETE FROM taken_request WHERE taken_at < now() - interval '30 days'"""

FORGET_HEARTBEATS: Final = """
    DELETE FROM process_heartbeat WHERE beat_at < now() - interval '1 day'"""


async def run_clerk(settings: Settings) -> None:
    """Works until SIGTERM or SIGINT. DatabaseAbsent or SchemaWrong at the start."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with await connect(settings.database_url, "clerk-start") as connection:
        await require_schema(connection)
    async with asyncio.TaskGroup() as group:
        beside = [
            group.create_task(_keep_rollups(settings)),
            group.create_task(jobs.run_jobs(settings)),
            group.create_task(ledger_watch.keep_ledger(settings)),
            group.create_task(level_chores.keep_levels(settings)),
            group.create_task(path_watch.watch_path(settings)),
        ]
        await _keep_house(settings, stop)
        for one in beside:
            one.cancel()
    log.info("clerk stopped")


async def _keep_house(settings: Settings, stop: asyncio.Event) -> None:
    """Beats, and does the chores when they are due, until `stop`."""
    database = SteadyConnection(settings.database_url, "clerk")
    instance = f"{socket.gethostname()}:{os.getpid()}"
    next_chores = next_fold = time.monotonic()
    while not stop.is_set():
        await database(lambda connection: heartbeat.beat(connection, "clerk", instance, {}))
        await database(signal_chores.tend_signals)
        if time.monotonic() >= next_chores:
            next_chores = time.monotonic() + CHORES_EVERY_S
            await database(lambda connection: do_chores(connection, settings))
        if time.monotonic() >= next_fold:
            next_fold = time.monotonic() + balance_chores.FOLD_EVERY_S
            await database(lambda connection: balance_chores.fold_balance(connection, settings))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), BEAT_S)
    await database.close()


async def _keep_rollups(settings: Settings) -> None:
    """Sums up readings, packs figures, drops what is old; may take minutes: beside chores."""
    database = SteadyConnection(settings.database_url, "clerk-rollups")
    what, zone = watched_quantities(settings), ZoneInfo(settings.tz)
    try:
        while True:
            began = time.monotonic()
            await database(rollups.roll)
            await database(figure_store.pack)
            await database(lambda found: connectivity.tally(found, what, settings.hour_days, zone))
            await database(lambda connection: freeze_due(connection, datetime.now(UTC)))
            dropped = await database(lambda connection: tend_readings(connection, settings))
            took_s = time.monotonic() - began
            if dropped or took_s > BEAT_S:
                log.info("readings summed up", extra={"dropped": dropped, "seconds": took_s})
            await asyncio.sleep(ROLL_EVERY_S)
    finally:
        await database.close()


def watched_quantities(settings: Settings) -> connectivity.Watched:
    """What of each kind of device of this site a rule looks at, and how often it reports."""
    catalog = known_kinds(settings)
    looked_at = ((rule.device_kind, rule.quantity) for rule in catalogue_rules(catalog))
    return connectivity.watched(catalog, looked_at)


async def tend_readings(connection: Connection, settings: Settings) -> int:
    """How many days and months of readings and sums were dropped: they had their time."""
    return await rollups.tend(
        connection,
        raw_days=settings.raw_days,
        minute_days=settings.minute_days,
        hour_days=settings.hour_days,
    )


async def do_chores(connection: Connection, settings: Settings) -> bool:
    """One round; whether it was ours to do, and not another clerk's at this moment."""
    async with connection.transaction():
        row = await (await connection.execute(MINE)).fetchone()
        if row is None or not row[0]:
            return False
        made = await ensure_partitions(connection, datetime.now(UTC))
        gone = 0
        for chore, arguments in (
            (FORGET_SESSIONS, None),
            (FORGET_DEAD_LETTERS, {"days": settings.dead_letter_days}),
            (FORGET_LIVE_CHANGES, None),
            (FORGET_CANARIES, None),
            (FORGET_HEARTBEATS, None),
            (FORGET_REQUESTS, None),
        ):
            gone += (await connection.execute(chore, arguments)).rowcount
        gone += await balance_chores.forget_balance(connection, settings)
    log.info("chores done", extra={"partitions_made": made, "rows_removed": gone})
    return True
