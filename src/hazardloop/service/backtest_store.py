"""Backtests in PostgreSQL: asked for, under way, told; the caller owns the transaction."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from psycopg.types.json import Jsonb

from hazardloop.service.backtesting import Progress
from hazardloop.service.database import Connection

KEPT: Final = timedelta(days=90)
"""An answer that nobody can follow to readings any more is of no use."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """One that is to be done."""

    question: dict[str, Any]
    enterprise_id: int | None


BEGIN: Final = """
    UPDATE backtest SET begun_at = clock_timestamp(), share = 0, readings = 0
     WHERE backtest_id = %(id)s AND ended_at IS NULL AND cancelled_at IS NULL
    RETURNING question, enterprise_id"""


async def begin(conn: Connection, backtest_id: int) -> Wanted | None:
    """What is to be done; None: it is done, or nobody wants it any more."""
    row = await (await conn.execute(BEGIN, {"id": backtest_id})).fetchone()
    return Wanted(*row) if row else None


NOTE: Final = """
    UPDATE backtest SET share = %(share)s, readings = %(readings)s
     WHERE backtest_id = %(id)s RETURNING cancelled_at IS NULL"""


async def note(conn: Connection, backtest_id: int, progress: Progress) -> bool:
    """Whether it is still wanted."""
    given = {"id": backtest_id, "share": progress.share, "readings": progress.readings}
    row = await (await conn.execute(NOTE, given)).fetchone()
    return row is not None and bool(row[0])


END: Final = """
    UPDATE backtest SET ended_at = clock_timestamp(), result = %(result)s, failure = %(failure)s,
           share = CASE WHEN %(result)s::jsonb IS NULL THEN share ELSE 1 END
     WHERE backtest_id = %(id)s AND ended_at IS NULL"""


async def end(
    conn: Connection, backtest_id: int, result: dict[str, Any] | None, failure: str | None = None
) -> None:
    """How it ended; neither of both: it was cancelled."""
    given = {"id": backtest_id, "result": None if result is None else Jsonb(result)}
    await conn.execute(END, given | {"failure": failure})


FORGET: Final = "DELETE FROM backtest WHERE ended_at < %(before)s"


async def forget(conn: Connection, now: datetime) -> None:
    """Removes old ones."""
    await conn.execute(FORGET, {"before": now - KEPT})
