"""Real servers for the tests: one PostgreSQL a run, a migrated database a test."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from hazardloop.service.database import migrate
from hazardloop.service.embedded.postgres import EmbeddedPostgres
from tests import brokers, worlds

WORKER = os.environ.get("PYTEST_XDIST_WORKER", "alone")
"""Name of this process among those that share a run."""
TEMPLATE = f"hazardloop_test_template_{WORKER}"
LONGEST = (
    "tests/faults",
    "tests/unit/test_checks.py",
    "tests/browser",
    "tests/acceptance",
    "tests/integration",
)
"""What is begun first, so that no process is left with it when the others have ended."""


# How long an example takes says more of the machine than of the code. Whoever works on it meets
# new examples in each run; a run that judges a change meets the same ones every time.
hypothesis.settings.register_profile(
    "untimed",
    hypothesis.settings.default,
    deadline=None,
    derandomize=os.environ.get("CI") == "true",
)
hypothesis.settings.load_profile("untimed")


@pytest.hookimpl(optionalhook=True)
def pytest_addoption(parser: pytest.Parser) -> None:
    """Where the browser tests leave pictures of the screens they see."""
    parser.addoption("--screens", metavar="DIR", help="keep a picture of every screen in DIR")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Two more than there are processors, since tests wait for servers; none for a single file."""
    asked = {argument.partition("::")[0] for argument in config.args}
    enough = len(os.sched_getaffinity(0)) + 2
    if not all(Path(path).is_file() for path in asked):
        return enough
    return 0 if len(asked) == 1 else min(len(asked), enough)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where processes share a run, each file is one's alone, and the longest files come first."""
    if hasattr(config, "workerinput"):
        items.sort(key=_turn)


def _turn(item: pytest.Item) -> int:
    file = str(item.path.relative_to(item.config.rootpath))
    return next((nth for nth, first in enumerate(LONGEST) if file.startswith(first)), len(LONGEST))


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
        # Roles are of the server, on which another process may migrate its own template.
        connection.execute("SELECT pg_advisory_lock(hashtext('roles'))")
        asyncio.run(migrate(make_conninfo(postgres, dbname=TEMPLATE)))
        connection.execute("SELECT pg_advisory_unlock(hashtext('roles'))")
        yield TEMPLATE
        connection.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(TEMPLATE)))


@pytest.fixture
def database(postgres: str, template: str) -> Iterator[str]:
    """Conninfo of a fresh database at the present schema."""
    with worlds.cloned(postgres, template) as conninfo:
        yield conninfo


@pytest.fixture
def free_port() -> int:
    """A TCP port on the loopback that nobody listens on, kept for this test."""
    return brokers.free_port()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An empty home."""
    return tmp_path / "home"
