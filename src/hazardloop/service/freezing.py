"""Copies the readings around alarms to their cases, where no retention reaches them."""

import logging
from datetime import datetime
from typing import Any, Final

from psycopg.rows import dict_row

from hazardloop.alarms import ledger_store
from hazardloop.alarms.ledger_store import Act
from hazardloop.service.database import Connection

log = logging.getLogger(__name__)

AT_ONCE: Final = 50
"""Windows in one transaction."""

FREEZE: Final = """
    WITH due AS MATERIALIZED (
        SELECT case_id, around, nth FROM case_window
         WHERE frozen_at IS NULL AND due_at <= %(now)s
         ORDER BY due_at LIMIT %(most)s FOR UPDATE SKIP LOCKED
    )
    SELECT frozen.case_id, frozen.around, frozen.nth, frozen.readings,
           encode(frozen.sha256, 'hex') AS sha256, enterprise_id
      FROM due CROSS JOIN LATERAL freeze_window(case_id, around, nth, %(now)s) AS frozen
           JOIN disposal_case ON disposal_case.case_id = frozen.case_id"""


async def freeze_due(connection: Connection, now: datetime) -> int:
    """How many windows were copied to their cases; those that others copy just now are left out."""
    frozen = 0
    while some := await _freeze_some(connection, now):
        frozen += some
    if frozen:
        log.info("readings kept with cases", extra={"windows": frozen})
    return frozen


async def _freeze_some(connection: Connection, now: datetime) -> int:
    async with connection.transaction(), connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(FREEZE, {"now": now, "most": AT_ONCE})
        windows = await cursor.fetchall()
        for window in windows:
            await ledger_store.note_act(connection, _act(window, now))
    return len(windows)


def _act(window: dict[str, Any], now: datetime) -> Act:
    """The line of the ledger that holds the content's hash."""
    return Act(
        "case_window",
        f"{window['case_id']}/{window['around']}/{window['nth']}",
        "freeze",
        "system",
        "system",
        now,
        body={"readings": window["readings"], "sha256": window["sha256"]},
        enterprise_id=window["enterprise_id"],
    )
