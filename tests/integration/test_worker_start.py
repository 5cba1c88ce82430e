"""What a worker says when something it needs is not there."""

import asyncio
import signal
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import psycopg
import pytest

from hazardloop.service import worker
from hazardloop.service.errors import BrokerAbsent, SchemaWrong
from hazardloop.service.settings import Settings
from hazardloop.service.spool_state import said_in, state_file
from tests.worlds import PATIENCE_S, eventually, process, query


def test_without_database_and_snapshot_it_says_what_it_waits_for(
    home: Path, free_port: int
) -> None:
    nowhere = f"postgresql://x@127.0.0.1:{free_port}/x"
    damaged = home / "worker" / "known-1.snapshot"
    damaged.parent.mkdir(parents=True)
    damaged.write_text("left over, and nothing that stands")
    with process("worker", home, database_url=nowhere) as worker:
        state = eventually(lambda: said_in(state_file(home)), "it says how it stands")
        assert state["waiting"].startswith("there is no snapshot to start from (nothing waits in")
        assert f"127.0.0.1:{free_port} (Connection refused): start PostgreSQL" in state["away"]
        log = (home / "worker.log").read_text()
        assert "ERROR worker waiting for the database" in log
        assert state["waiting"] in log
        assert f"no database at 127.0.0.1:{free_port}" in log
        assert not damaged.exists()
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(30) == 0
    assert "Traceback" not in (home / "worker.log").read_text()


async def test_a_database_without_the_schema_is_told_to_migrate(database: str, home: Path) -> None:
    query(database, "DELETE FROM schema_migration RETURNING 1")
    with pytest.raises(SchemaWrong, match="run `hazardloop migrate` first"):
        await worker.run_worker(Settings(home=home, database_url=database))


async def test_no_broker_is_told_and_leaves_no_sign_of_an_unclean_stop(
    database: str, home: Path, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "BROKER_WITHIN_S", 0.5)
    settings = Settings(home=home, database_url=database, mqtt_url=f"mqtt://127.0.0.1:{free_port}")
    with pytest.raises(BrokerAbsent, match=f"no broker at 127.0.0.1:{free_port}"):
        await asyncio.wait_for(worker.run_worker(settings), PATIENCE_S)
    assert not (home / "worker" / "running").exists()
    with psycopg.connect(database) as connection:
        assert connection.execute("SELECT count(*) FROM process_heartbeat").fetchone() == (0,)


def test_a_clerk_by_itself_serves_its_figures(database: str, home: Path, free_port: int) -> None:
    def figures() -> str:
        try:
            with urlopen(f"http://127.0.0.1:{free_port}/metrics", timeout=30) as answer:
                return str(answer.read(), "utf-8")
        except URLError:
            return ""

    with process("clerk", home, database_url=database, metrics_port=free_port):
        assert "hazardloop_readings_stored_total" in eventually(figures, "the figures are served")
