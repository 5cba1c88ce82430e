"""The tables of the job queue, as the installed procrastinate brings them, in their own schema."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from psycopg import AsyncConnection, sql

from hazardloop.service.errors import SchemaWrong

Connection = AsyncConnection[tuple[Any, ...]]

SCHEMA: Final = "procrastinate"

IN_IT: Final = f"SET search_path TO {SCHEMA}, public"

# The queue keeps no account of what was applied; this one is ours.
FOUND: Final = f"""
    CREATE SCHEMA {SCHEMA};
    CREATE TABLE {SCHEMA}.applied_migration (
        name text PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now()
    )"""
NOTE: Final = f"INSERT INTO {SCHEMA}.applied_migration (name) VALUES (%s)"
KNOWN: Final = f"SELECT name FROM {SCHEMA}.applied_migration"
PRESENT: Final = f"SELECT to_regclass('{SCHEMA}.applied_migration') IS NOT NULL"


def shipped() -> tuple[str, dict[str, Path]]:
    """The schema of the installed queue as SQL, and the steps that led to it, by name, in order."""
    spec = find_spec("procrastinate")  # without importing it: the api asks, too
    if spec is None or not spec.submodule_search_locations:
        raise SchemaWrong("procrastinate is not installed: install what requirements/ names")
    folder = Path(spec.submodule_search_locations[0]) / "sql"
    steps = {file.name: file for file in sorted((folder / "migrations").glob("*.sql"))}
    return (folder / "schema.sql").read_text(encoding="utf-8"), steps


async def apply(connection: Connection) -> list[str]:
    """Names of the steps applied just now, within the caller's transaction."""
    whole, steps = shipped()
    fresh = not await _present(connection)
    if fresh:
        await connection.execute(FOUND)
    missing = [name for name in steps if name not in await _known(connection)]
    if missing:
        path = await _path(connection, f"{SCHEMA}, public")
        for text in [whole] if fresh else [steps[name].read_text("utf-8") for name in missing]:
            await connection.execute(sql.SQL(text))
        await _path(connection, path)
        for name in missing:
            await connection.execute(NOTE, [name])
    return missing


async def require(connection: Connection) -> None:
    """Raises SchemaWrong unless the queue's tables are at the installed version, or beyond it."""
    known = await _known(connection) if await _present(connection) else set()
    if missing := sorted(shipped()[1].keys() - known):
        raise SchemaWrong(
            f"the job queue in the database lacks {missing[0]}: run `hazardloop migrate` first"
        )


async def _present(connection: Connection) -> bool:
    row = await (await connection.execute(PRESENT)).fetchone()
    return row is not None and bool(row[0])


async def _known(connection: Connection) -> set[str]:
    return {row[0] for row in await (await connection.execute(KNOWN)).fetchall()}


async def _path(connection: Connection, path: str) -> str:
    """Sets where names are looked up until the transaction ends; the path before."""
    row = await (await connection.execute("SELECT current_setting('search_path')")).fetchone()
    await connection.execute("SELECT set_config('search_path', %s, true)", [path])
    assert row is not None  # one value
    return str(row[0])
