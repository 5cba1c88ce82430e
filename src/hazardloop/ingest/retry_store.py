"""Dead letters to be taken again: asked for over the api, taken by a worker, told by its commit."""

from collections.abc import Sequence
from dataclasses import astuple, fields
from typing import Any, Final, TypeAlias

from psycopg import AsyncConnection

from hazardloop.ingest.retries import AskedAgain, RetryOutcome
from hazardloop.ingest.store import storable

Connection: TypeAlias = AsyncConnection[tuple[Any, ...]]

MOST_AT_ONCE: Final = 500
"""Letters that a worker takes in one go."""

# Who took it and died leaves it to another after a minute; whichever is done first counts.
CLAIM: Final = """
    WITH open AS (
        SELECT retry_id FROM dead_letter_retry
         WHERE done_at IS NULL AND (taken_at IS NULL OR taken_at < now() - interval '1 minute')
         ORDER BY retry_id LIMIT %(most)s FOR UPDATE SKIP LOCKED
    ), taken AS (
        UPDATE dead_letter_retry SET taken_at = now() WHERE retry_id IN (SELECT retry_id FROM open)
        RETURNING retry_id, dead_letter_id
    )
    SELECT retry_id, (extract(epoch FROM received_at) * 1e6)::bigint, topic, payload
      FROM taken JOIN dead_letter USING (dead_letter_id) ORDER BY received_at, dead_letter_id"""

NOTE: Final = """
    UPDATE dead_letter_retry r
       SET done_at = now(), stored = o.stored, duplicates = o.duplicates, reason = o.reason,
           detail = o.detail
      FROM unnest(%(retry_id)s::bigint[], %(stored)s::int[], %(duplicates)s::int[],
                  %(reason)s::text[], %(detail)s::text[])
           AS o (retry_id, stored, duplicates, reason, detail)
     WHERE r.retry_id = o.retry_id AND r.done_at IS NULL"""


async def claim(connection: Connection) -> list[AskedAgain]:
    """Letters that somebody asked for, now this worker's to take; oldest first."""
    cursor = await connection.execute(CLAIM, {"most": MOST_AT_ONCE})
    return [
        AskedAgain(retry_id, received_us, topic.encode(), payload)
        for retry_id, received_us, topic, payload in await cursor.fetchall()
    ]


async def note_outcomes(connection: Connection, outcomes: Sequence[RetryOutcome]) -> None:
    """Writes what came of them beside the request."""
    if outcomes:
        columns = [list(column) for column in zip(*map(astuple, outcomes), strict=True)]
        columns[-1] = [None if text is None else storable(text) for text in columns[-1]]
        names = [one.name for one in fields(RetryOutcome)]
        await connection.execute(NOTE, dict(zip(names, columns, strict=True)))
