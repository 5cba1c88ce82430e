"""A database server that may be killed, and what an undisturbed run of the same data gives."""

import time
from collections.abc import Iterator

import pytest

from tests.faults import runs
from tests.faults.load import Plan
from tests.faults.runs import Reference
from tests.faults.stage import DatabaseServer

SEED = 7
TEMPLATE = "template_of_faults"


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DatabaseServer]:
    """Ours alone; fsync off, since what is killed here are processes and not the machine."""
    running = DatabaseServer(tmp_path_factory.mktemp("faults"), fsync="off")
    running.start()
    running.make_template(TEMPLATE)
    yield running
    running.stop()


@pytest.fixture
def own_database(server: DatabaseServer) -> str:
    """A fresh database at the present schema on a server that may be killed."""
    return server.clone(TEMPLATE)


@pytest.fixture(scope="session")
def reference(server: DatabaseServer, tmp_path_factory: pytest.TempPathFactory) -> Reference:
    """One plan for all, so that what its alarms are must be found out once only."""
    plan = Plan(seed=SEED, base_ms=time.time_ns() // 1_000_000, messages=150, poison_share=0.02)
    return runs.undisturbed(server.clone(TEMPLATE), tmp_path_factory.mktemp("undisturbed"), plan)
