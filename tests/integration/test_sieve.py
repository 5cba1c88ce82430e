"""Rows that the database refuses are set aside with the reason; their neighbours are stored."""

import random
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from psycopg import OperationalError

from hazardloop.alarms import rule_store
from hazardloop.alarms.alarm import alarm_id_of
from hazardloop.alarms.evaluation import Outcome
from hazardloop.alarms.rules import catalogue_rules
from hazardloop.devices.catalog import shipped_catalog
from hazardloop.devices.registry import Registry
from hazardloop.devices.store import load_registry
from hazardloop.ingest.opening import StatusSaid
from hazardloop.ingest.store import DeadLetter
from hazardloop.service.database import Connection, connect
from hazardloop.service.keeping import Keeper
from hazardloop.service.sieve import sieve
from hazardloop.service.work import Work
from tests import worlds
from tests.integration.test_keeping import RULE, START_US, some_work
from tests.worlds import query


@pytest.mark.parametrize("culprits", [0, 1, 2, 7, 100])
async def test_it_finds_the_culprits_and_stores_the_rest(database: str, culprits: int) -> None:
    rows = list(range(100))
    bad = set(random.Random(culprits).sample(rows, culprits))
    tries = 0
    async with await connect(database, "test") as connection:
        await connection.execute("CREATE TABLE t (n int CHECK (n >= 0), said text)")

        async def put(some: list[int]) -> None:
            nonlocal tries
            tries += 1
            for n in some:
                await connection.execute(
                    "INSERT INTO t VALUES (%s, 'x')", [-n - 1 if n in bad else n]
                )

        async with connection.transaction():
            await connection.execute("INSERT INTO t VALUES (1000, 'before')")
            refused = await sieve(connection, rows, put)
    assert {each.nth for each in refused} == bad
    assert all("t_n_check" in each.reason for each in refused)
    stored = {n for (n,) in query(database, "SELECT n FROM t")}
    assert stored == {1000} | set(rows) - bad
    assert tries <= 1 + 2 * max(1, culprits) * np.ceil(np.log2(100))


async def test_what_is_not_the_fault_of_the_data_is_not_its_business(database: str) -> None:
    async with await connect(database, "test") as connection:

        async def put(some: list[int]) -> None:
            raise OperationalError("the server is gone")

        with pytest.raises(OperationalError):
            async with connection.transaction():
                await sieve(connection, [1, 2], put)


async def test_a_culprit_that_never_reaches_the_server_is_found_too(database: str) -> None:
    async with await connect(database, "test") as connection:
        await connection.execute("CREATE TABLE t (said text)")

        async def put(some: list[str]) -> None:
            for said in some:
                await connection.execute("INSERT INTO t VALUES (%s)", [said])

        refused = await _in_one(connection, ["a", "b\0", "c"], put)
    assert [each.nth for each in refused] == [1]
    assert query(database, "SELECT said FROM t ORDER BY 1") == [("a",), ("c",)]


async def _in_one(connection: Connection, rows: list[str], put: object) -> list[object]:
    async with connection.transaction():
        return await sieve(connection, rows, put)  # type: ignore[arg-type]


class TestWork:
    """A worker's work of which a part is refused."""

    async def kept(self, database: str, harm: str, work: Callable[[Registry], Work]) -> None:
        """Stores it after the database was made to refuse something."""
        worlds.register(database)
        async with await connect(database, "test") as connection:
            await rule_store.keep_rule_versions(connection, catalogue_rules(shipped_catalog()))
            registry = await load_registry(connection, shipped_catalog())
            await connection.execute(
                "SELECT ensure_reading_partitions(to_timestamp(%s)::date, to_timestamp(%s)::date)",
                [START_US / 1e6, START_US / 1e6],
            )
            if harm:
                await connection.execute(harm)
        keeper = Keeper(database)
        await keeper.keep(work(registry))
        await keeper.close()

    async def test_a_reading_that_is_refused_is_listed_and_all_else_is_kept(
        self, database: str
    ) -> None:
        harm = "ALTER TABLE reading ADD CONSTRAINT unlucky CHECK (value <> 13)"

        def unlucky(registry: Registry) -> Work:
            work = some_work(registry)
            work.readings.value[3] = 13
            return work

        await self.kept(database, harm, unlucky)
        stored = query(database, "SELECT count(*), count(*) FILTER (WHERE value = 13) FROM reading")
        points = query(database, "SELECT count(*) FROM point")[0][0]
        assert stored == [(points - 1, 0)]
        ((reason, detail),) = query(database, "SELECT reason, detail FROM dead_letter")
        assert reason == "bad_shape"
        assert "13.0 at" in detail
        assert "unlucky" in detail
        assert query(database, "SELECT count(*) FROM alarm") == [(1,)]

    async def test_a_letter_that_is_refused_costs_nothing_but_itself(self, database: str) -> None:
        def letters(registry: Registry) -> Work:
            known = DeadLetter(datetime.now(UTC), "not_json", "d", "t", None, None, b"x", 1, 0)
            return replace(
                some_work(registry), letters=[known, replace(known, gateway_id=-7, detail="e")]
            )

        await self.kept(database, "", letters)
        assert query(database, "SELECT detail = 'd' FROM dead_letter ORDER BY 1") == [
            (False,),
            (True,),
        ]
        assert query(database, "SELECT count(*) FROM alarm") == [(1,)]

    async def test_an_alarm_that_is_refused_costs_the_others_nothing(self, database: str) -> None:
        def two(registry: Registry) -> Work:
            work = some_work(registry)
            (good,) = work.outcome.changes
            bad = replace(
                good, alarm_id=alarm_id_of("no.such.rule", 1, START_US), rule_id="no.such.rule"
            )
            return replace(work, outcome=Outcome((bad, good)))

        await self.kept(database, "", two)
        assert query(database, "SELECT rule_id FROM alarm") == [(RULE,)]
        assert query(database, "SELECT count(*) > 0 FROM reading") == [(True,)]

    async def test_a_status_that_is_refused_costs_the_readings_nothing(self, database: str) -> None:
        def nul(registry: Registry) -> Work:
            return replace(some_work(registry), statuses=[StatusSaid(1, True, START_US, "1\0")])

        await self.kept(database, "", nul)
        assert query(database, "SELECT count(*) > 0 FROM reading") == [(True,)]
