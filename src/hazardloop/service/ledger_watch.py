"""The clerk's part in the ledger: checkpoints, and what changes figures without anybody's act."""

import asyncio
import logging
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import psycopg

from hazardloop.alarms import ledger_store
from hazardloop.alarms.errors import ChainBroken, CheckpointUnreadable
from hazardloop.alarms.ledger_reading import Reader
from hazardloop.alarms.ledger_store import Act
from hazardloop.service import checkpoints, metrics
from hazardloop.service.database import Connection, SteadyConnection, patient
from hazardloop.service.settings import Settings

log = logging.getLogger(__name__)

LOOK_EVERY_S: Final = 10.0
CLOCK_STEP_LEAST_S: Final = 1.0
"""By so much the clock must have been moved to be worth a line."""
PRIVATE: Final = {"home", "database_url", "database_owner_url", "mqtt_url"}
"""Settings that say where things are, or hold a password."""

LAST_SETTINGS: Final = """
    SELECT body FROM ledger WHERE subject = 'settings' AND subject_id = %(of)s
     ORDER BY entry_id DESC LIMIT 1"""


async def keep_ledger(settings: Settings) -> None:
    """Watches over the ledger until it is cancelled."""
    database = SteadyConnection(settings.database_url, "clerk-ledger")
    next_checkpoint, clock = time.monotonic(), ClockWatch()
    try:
        await database(lambda conn: note_settings(conn, settings, datetime.now(UTC)))
        while True:
            if moved_s := clock.moved_s():
                await database(lambda conn: note_clock_step(conn, moved_s))
            if time.monotonic() >= next_checkpoint and await checkpoint(settings):
                next_checkpoint = time.monotonic() + checkpoints.EVERY_S
            await asyncio.sleep(LOOK_EVERY_S)
    finally:
        await database.close()


async def checkpoint(settings: Settings) -> bool:
    """Makes one, in a thread of its own; False: the database is away, try again soon."""
    try:
        wrong = await asyncio.to_thread(_checkpoint, settings)
    except (psycopg.OperationalError, psycopg.InterfaceError) as error:
        log.warning("no checkpoint: the database is away", extra={"reason": str(error).strip()})
        return False
    except (ChainBroken, CheckpointUnreadable, OSError, ValueError) as error:
        wrong = [str(error)]
    metrics.LEDGER_BROKEN.set(1 if wrong else 0)
    if wrong:
        log.error("the ledger is not whole: no checkpoint", extra={"reason": "; ".join(wrong)})
    else:
        metrics.LEDGER_CHECKPOINT.set(time.time())
    return True


def _checkpoint(settings: Settings) -> list[str]:
    with psycopg.connect(patient(settings.database_url, "clerk-checkpoint")) as conn:
        reader: Reader = conn
        return checkpoints.make(reader, settings, datetime.now(UTC))


async def note_settings(conn: Connection, settings: Settings, now: datetime) -> None:
    """Writes down how the service is set, if that differs from what was written last."""
    now_set = settings.model_dump(mode="json", exclude=PRIVATE)
    row = await (await conn.execute(LAST_SETTINGS, {"of": "clerk"})).fetchone()
    before: Mapping[str, Any] = row[0] if row else {}
    if before != now_set:
        action = "changed" if row else "made"
        act = Act("settings", "clerk", action, "clerk", "system", now, body=now_set)
        await ledger_store.note_act(conn, act)


async def note_clock_step(conn: Connection, moved_s: float) -> None:
    """Writes down that the clock of this machine was moved."""
    act = Act(
        "clock", "clerk", "moved", "clerk", "system", datetime.now(UTC),
        body={"by_s": round(moved_s, 3)},
    )  # fmt: skip
    await ledger_store.note_act(conn, act)
    log.warning("the clock was moved", extra={"by_s": round(moved_s, 3)})


class ClockWatch:
    """Notices when the clock runs other than time does."""

    def __init__(self) -> None:
        self._apart_s = time.time() - time.monotonic()

    def moved_s(self) -> float:
        """Seconds by which the clock was moved since last asked; 0.0 where it just ran."""
        before, self._apart_s = self._apart_s, time.time() - time.monotonic()
        moved_s = self._apart_s - before
        if abs(moved_s) < CLOCK_STEP_LEAST_S:
            self._apart_s = before  # what creeps adds up
            return 0.0
        return moved_s
