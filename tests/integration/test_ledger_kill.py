"""The chain after the database was killed in the middle of writing it."""

import asyncio
import os
import signal
import threading
from pathlib import Path

import psycopg

from hazardloop.service import database, ledger
from hazardloop.service.embedded.postgres import EmbeddedPostgres
from tests.worlds import eventually

WRITE = """
    INSERT INTO ledger (subject, subject_id, action, actor, actor_role, taken_at)
    SELECT 'shift', %s || '.' || n, 'made', 'w', 'operator', now() FROM generate_series(1, 20) n"""


def test_a_killed_database_leaves_a_chain_of_all_that_was_committed(home: Path) -> None:
    server = EmbeddedPostgres(home)
    server.start()
    asyncio.run(database.migrate(server.conninfo))
    committed: list[str] = []

    def write(number: int) -> None:
        try:
            with psycopg.connect(server.conninfo, autocommit=True) as conn:
                for nth in range(100_000):
                    conn.execute(WRITE, [f"{number}.{nth}"])
                    committed.append(f"{number}.{nth}.20")
        except psycopg.OperationalError:
            return  # it was killed

    writers = [threading.Thread(target=write, args=[number]) for number in range(3)]
    for writer in writers:
        writer.start()
    eventually(lambda: len(committed) > 60, "writers are on their way")
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    for writer in writers:
        writer.join()
    server.stop()
    server.start()
    try:
        with psycopg.connect(server.conninfo) as conn:
            assert ledger.verify(conn, [], None, lambda _: None).findings == []
            there = {row[0] for row in conn.execute("SELECT subject_id FROM ledger").fetchall()}
            (half,) = conn.execute(
                "SELECT count(*) FROM (SELECT FROM ledger WHERE subject = 'shift'"
                " GROUP BY substring(subject_id, '^\\d+\\.\\d+') HAVING count(*) <> 20) AS half"
            ).fetchone() or (None,)
    finally:
        server.stop()
    assert set(committed) <= there
    assert half == 0
