"""Rows by name."""

from typing import Any

from psycopg.rows import dict_row

from hazardloop.service.database import Connection


async def fetch(
    conn: Connection, query: str, arguments: dict[str, Any] | None = None
) -> list[dict[str, Any]]:
    """All rows of `query`, each by column name."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(query, arguments)
        return await cursor.fetchall()


async def fetch_one(
    conn: Connection, query: str, arguments: dict[str, Any] | None = None
) -> dict[str, Any] | None:
    """The first row of `query` by column name, None where there is none."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(query, arguments)
        return await cursor.fetchone()
