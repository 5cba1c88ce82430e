"""Rows by name, of several queries in one round trip."""

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any, TypeAlias

from psycopg import AsyncConnection
from psycopg.rows import dict_row

Row: TypeAlias = dict[str, Any]


async def fetch_each(
    conn: AsyncConnection[Any], *asked: tuple[str, Mapping[str, Any]]
) -> list[list[Row]]:
    """All rows of each query with its arguments, run one after the other, by column name.

    Each sees what those before it did, and what others committed while they waited for a lock.
    """
    # To enter a pipeline within another would wait for all that is on its way.
    one_trip = len(asked) == 1 or conn.pgconn.pipeline_status
    async with nullcontext() if one_trip else conn.pipeline():
        cursors = [conn.cursor(row_factory=dict_row) for _ in asked]
        for cursor, (query, arguments) in zip(cursors, asked, strict=True):
            await cursor.execute(query, arguments)
        return [await cursor.fetchall() for cursor in cursors]
