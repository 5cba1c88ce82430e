"""Migrations against a real PostgreSQL."""

import psycopg
import pytest

from hazardloop.service.database import connect, migrate, migration_texts, require_schema
from hazardloop.service.errors import SchemaWrong


async def test_migrating_twice_changes_nothing(database: str) -> None:
    assert await migrate(database) == []


async def test_an_edited_migration_is_refused(database: str) -> None:
    with psycopg.connect(database) as connection:
        connection.execute("UPDATE schema_migration SET sha256 = 'x' WHERE name LIKE '0001%'")
    with pytest.raises(SchemaWrong, match=r"0001_registry\.sql differs"):
        await migrate(database)


async def test_a_database_behind_the_program_is_told_to_migrate(database: str) -> None:
    newest = migration_texts()[-1][0]
    with psycopg.connect(database) as connection:
        connection.execute("DELETE FROM schema_migration WHERE name = %s", [newest])
    async with await connect(database, "test") as connection:
        with pytest.raises(SchemaWrong, match=f"lacks migration {newest}"):
            await require_schema(connection)


@pytest.mark.parametrize(
    "table", ["ledger", "alarm_change", "rule_version", "alarm", "disposal_case"]
)
@pytest.mark.parametrize("attack", ["DELETE FROM {}", "TRUNCATE {} CASCADE"])
def test_history_cannot_be_deleted_even_by_its_owner(
    database: str, table: str, attack: str
) -> None:
    with psycopg.connect(database) as connection, pytest.raises(psycopg.Error, match="append-only"):
        connection.execute(attack.format(table))  # type: ignore[arg-type]


def test_a_request_without_a_scope_sees_nothing(database: str) -> None:
    with psycopg.connect(database) as connection:
        connection.execute(
            "INSERT INTO enterprise (code, name) VALUES ('E1', 'one'), ('E2', 'two')"
        )
        connection.execute("SET LOCAL ROLE hazardloop_api")
        assert connection.execute("SELECT count(*) FROM enterprise").fetchone() == (0,)
        connection.execute("SELECT set_config('hazardloop.scope', '*', true)")
        assert connection.execute("SELECT count(*) FROM enterprise").fetchone() == (2,)
        connection.execute("SELECT set_config('hazardloop.scope', '1', true)")
        assert connection.execute("SELECT code FROM enterprise").fetchall() == [("E1",)]
