"""A connection that breaks while committing: the work is stored once, whichever way it broke."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import numpy as np
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from hazardloop.alarms import rule_store
from hazardloop.alarms.alarm import Change, ChangeKind, Direction, Tier, alarm_id_of
from hazardloop.alarms.evaluation import Outcome
from hazardloop.alarms.rules import catalogue_rules
from hazardloop.devices.catalog import shipped_catalog
from hazardloop.devices.readings import Readings
from hazardloop.devices.registry import Registry
from hazardloop.devices.store import load_registry
from hazardloop.service.database import connect, migrate
from hazardloop.service.embedded.postgres import EmbeddedPostgres
from hazardloop.service.errors import DatabaseAway
from hazardloop.service.keeping import Keeper
from hazardloop.service.work import Work
from tests import worlds
from tests.worlds import PATIENCE_S, eventually, query

START_US = 1_795_300_000_000_000
RULE = "gas_detector.lel.high"


class Cutter:
    """Between a client and PostgreSQL; breaks the connection at one COMMIT."""

    def __init__(self, socket: Path, *, after: bool) -> None:
        self.socket = socket
        self.after = after
        """The server gets the COMMIT, and its answer is lost; else it never hears of it."""
        self.cuts = 0
        self.serving: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.serving.add(task)
        upstream, server = await asyncio.open_unix_connection(str(self.socket))
        back = asyncio.create_task(_copy(upstream, writer))
        while data := await reader.read(1 << 16):
            if b"COMMIT" in data and not self.cuts:
                self.cuts += 1
                back.cancel()
                with suppress(asyncio.CancelledError):
                    await back
                if self.after:
                    server.write(data)
                    await upstream.read(1 << 16)  # the commit is done, and told to nobody
                break
            server.write(data)
        back.cancel()
        for stream in (server, writer):
            stream.close()
            with suppress(ConnectionError):
                await stream.wait_closed()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)


@asynccontextmanager
async def through(cutter: Cutter, database: str) -> AsyncIterator[str]:
    server = await asyncio.start_server(cutter.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        yield make_conninfo(database, host="127.0.0.1", port=port, sslmode="disable")
        await asyncio.gather(*cutter.serving)


def some_work(registry: Registry) -> Work:
    n = len(registry)
    times = np.full(n, START_US)
    readings = Readings(
        np.arange(n, dtype=np.int32), times, times, np.full(n, 60.0), np.zeros(n, np.int16),
        np.zeros(n, np.int32),
    )  # fmt: skip
    row, point_id = 0, int(registry.point_id[0])
    raised = Change(
        ChangeKind.RAISED, alarm_id_of(RULE, point_id, START_US), row, point_id, RULE, 1,
        Tier.ORANGE, Tier.NONE, 60.0, 50.0, Direction.HIGH, START_US, START_US,
    )  # fmt: skip
    return Work(registry, Outcome((raised,)), readings=readings)


async def district(database: str) -> Registry:
    """Its registry, and all that work on it needs in the database."""
    worlds.register(database)
    async with await connect(database, "test") as connection:
        await rule_store.keep_rule_versions(connection, catalogue_rules(shipped_catalog()))
        await connection.execute(
            "SELECT ensure_reading_partitions(to_timestamp(%s)::date, to_timestamp(%s)::date)",
            [START_US / 1e6, START_US / 1e6],
        )
        return await load_registry(connection, shipped_catalog())


@pytest.mark.parametrize("after", [True, False], ids=["answer lost", "commit lost"])
async def test_work_is_stored_once(database: str, after: bool) -> None:
    where = conninfo_to_dict(database)
    if not str(where.get("host", "")).startswith("/"):
        pytest.fail("this test stands before a server's Unix socket; the given server has none")
    registry = await district(database)
    socket = Path(str(where["host"])) / f".s.PGSQL.{where.get('port', 5432)}"
    cutter = Cutter(socket, after=after)
    async with through(cutter, database) as conninfo:
        keeper = Keeper(conninfo, give_up_s=PATIENCE_S)
        told = await keeper.keep(some_work(registry))
        await keeper.close()
    assert cutter.cuts == 1
    assert [one.version for one in told] == [1]
    assert query(database, "SELECT count(*) FROM reading") == [(len(registry),)]
    assert query(database, "SELECT version FROM alarm") == [(1,)]
    assert query(database, "SELECT count(*) FROM alarm_change") == [(1,)]
    assert query(database, "SELECT count(*) FROM ledger WHERE subject = 'case'") == [(2,)]


async def test_work_that_a_crash_undid_is_not_taken_for_recorded_when_its_number_is_given_again(
    tmp_path: Path,
) -> None:
    server = EmbeddedPostgres(tmp_path, settings={"wal_writer_delay": "10s"})
    server.start()
    try:
        await migrate(server.conninfo)
        registry = await district(server.conninfo)
        keeper = Keeper(server.conninfo, give_up_s=2.0)
        other = psycopg.connect(server.conninfo)
        other.execute("LOCK TABLE reading IN ACCESS EXCLUSIVE MODE")
        keeping = asyncio.create_task(keeper.keep(some_work(registry)))
        waits = (
            "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            " AND application_name = 'hazardloop-worker-keep'"
        )
        await asyncio.to_thread(eventually, lambda: query(server.conninfo, waits), "it has begun")
        server.child.send(signal.SIGQUIT)
        with pytest.raises(DatabaseAway):
            await keeping
        eventually(lambda: not server.child.runs(), "the server has crashed")
        other.close()
        unsure = keeper.take_unsure()
        assert unsure is not None
        server.start()
        number = unsure.split()[0]
        again = "SELECT pg_xact_status(%s::text::xid8) WHERE pg_current_xact_id() > %s::text::xid8"
        eventually(lambda: query(server.conninfo, again, [number, number]), "given again")
        assert query(server.conninfo, again, [number, number]) == [("committed",)]
        assert not await keeper.recorded(unsure)
        await keeper.close()
    finally:
        server.stop()
