"""Real servers for the tests: one PostgreSQL a run, a migrated database a test."""

import asyncio
import itertools
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from hazardloop.service.database import migrate
from hazardloop.service.embedded.postgres import EmbeddedPostgres

TEMPLATE = "hazardloop_test_template"


# How long an example takes says more of the machine than of the code.
hypothesis.settings.register_profile("untimed", hypothesis.settings.default, deadline=None)
hypothesis.settings.load_profile("untimed")


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Conninfo of a server on which databases may be made."""
    if given := os.environ.get("HAZARDLOOP_TEST_DATABASE_URL"):
        yield given
        return
    server = EmbeddedPostgres(
        tmp_path_factory.mktemp("postgres"), settings={"fsync": "off", "max_connections": "100"}
    )
    server.start()
    yield server.conninfo
    server.stop()


@pytest.fixture(scope="session")
def template(postgres: str) -> Iterator[str]:
    """Name of a database at the present schema, to be cloned."""
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(TEMPLATE)))
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(TEMPLATE)))
        asyncio.run(migrate(make_conninfo(postgres, dbname=TEMPLATE)))
        yield TEMPLATE
        connection.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(TEMPLATE)))


_numbers = itertools.count(1)


@pytest.fixture
def database(postgres: str, template: str) -> Iterator[str]:
    """Conninfo of a fresh database at the present schema."""
    name = f"hazardloop_test_{os.getpid()}_{next(_numbers)}"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
                sql.Identifier(name), sql.Identifier(template)
            )
        )
        yield make_conninfo(postgres, dbname=name)
        # WITH (FORCE) may not end an autovacuum of the superuser's; a plain DROP asks it to leave.
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = %s AND backend_type = 'client backend'",
            [name],
        )
        connection.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(name)))


@pytest.fixture
def free_port() -> int:
    """A TCP port on the loopback that nobody listens on just now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An empty home."""
    return tmp_path / "home"
