"""Runs appended, folded bit by bit and read back, whatever the moment of asking."""

from collections.abc import Sequence
from dataclasses import astuple
from datetime import UTC, date, datetime
from random import Random

import numpy as np
import psycopg
import pytest

from hazardloop.ingest import balance_store
from hazardloop.ingest.arrivals import AGAIN, UNNUMBERED, Arrivals
from hazardloop.ingest.balance import Account, Tally, folded
from hazardloop.service.database import connect
from tests.worlds import query

Run = tuple[int, int, int, int, int]
MINUTE = 29_920_000
ALL_MINUTES = (0, 2**31 - 1)
ALL_DAYS = (date(2000, 1, 1), date(2100, 1, 1))


def day_of(minute: int) -> date:
    return datetime.fromtimestamp(minute * 60, UTC).date()


def arrivals(runs: Sequence[Run]) -> Arrivals:
    columns = list(zip(*runs, strict=True))
    types = (np.int32, np.int32, np.int64, np.int32, np.int16)
    return Arrivals(*(np.array(c, t) for c, t in zip(columns, types, strict=True)))  # type: ignore[arg-type]


def some_batches(chance: Random) -> list[list[Run]]:
    """Of three gateways that lose, repeat, overtake and count anew, over two days."""
    at = {1: 0, 2: 1, 3: 2**40}
    batches: list[list[Run]] = []
    for nth in range(60):
        batch: list[Run] = []
        for gateway in chance.sample(sorted(at), chance.randint(1, 3)):
            if chance.random() < 0.05:
                at[gateway] = 1
            first = max(0, at[gateway] + chance.choice([0, 0, 0, 0, 1, 3, -2]))
            messages = chance.randint(1, 9)
            kind = chance.choice([0, 0, 0, 0, 1, 2, AGAIN | 1, AGAIN, UNNUMBERED])
            at[gateway] = max(at[gateway], first + messages)
            batch.append((gateway, MINUTE + nth * 40, first, messages, kind))
        batches.append(batch)
    return batches


def expected(batches: list[list[Run]]) -> dict[tuple[int, int], Tally]:
    accounts: dict[int, Account] = {}
    folded((run for batch in batches for run in batch), accounts)
    return {
        (gateway, minute): tally
        for gateway, account in accounts.items()
        for minute, tally in account.changes.items()
        if any(astuple(tally))
    }


@pytest.mark.parametrize("seed", range(3))
async def test_the_balance_is_exact_at_every_moment_folded_or_not(database: str, seed: int) -> None:
    chance = Random(seed)
    batches = some_batches(chance)
    async with await connect(database, "test") as connection:
        await connection.execute("INSERT INTO enterprise (code, name) VALUES ('E', '')")
        await connection.execute(GATEWAYS)
        for nth, batch in enumerate(batches, 1):
            await balance_store.append(connection, arrivals(batch))
            if chance.random() < 0.3:
                await balance_store.fold(connection, day_of, 0)
            if nth % 10 == 0:
                async with connection.transaction():
                    await connection.execute("SELECT set_config('hazardloop.scope', '*', true)")
                    _, minutes, days = await balance_store.balance_of(
                        connection, [1, 2, 3], ALL_MINUTES, ALL_DAYS, day_of
                    )
                found = {key: tally for key, tally in minutes.items() if any(astuple(tally))}
                assert found == expected(batches[:nth])
                by_day: dict[tuple[int, date], Tally] = {}
                for (gateway, minute), tally in found.items():
                    by_day.setdefault((gateway, day_of(minute)), Tally()).add(tally)
                assert {key: tally for key, tally in days.items() if any(astuple(tally))} == by_day
        while await balance_store.fold(connection, day_of, 0):
            pass
    assert query(database, "SELECT count(*) FROM balance_arrival") == [(0,)]
    assert query(
        database,
        "SELECT sum(sent), sum(stored + duplicate + rejected + missing) FROM balance_minute",
    ) == query(database, "SELECT sum(sent), sum(sent) FROM balance_day")


GATEWAYS = """
    INSERT INTO gateway (enterprise_id, code, mqtt_username, secret_bcrypt, secret_pbkdf2)
    SELECT 1, 'G' || n, 'E.G' || n, '', '' FROM generate_series(1, 3) n"""


def test_the_database_itself_refuses_a_minute_that_does_not_add_up(database: str) -> None:
    with pytest.raises(psycopg.errors.CheckViolation, match="balance_minute_adds_up"):
        query(
            database,
            "INSERT INTO balance_minute (gateway_id, minute, numbers, repeated, stored, duplicate,"
            " rejected, missing, redelivered, unnumbered_stored, unnumbered_duplicate,"
            " unnumbered_rejected) VALUES (1, 1, 2, 0, 1, 0, 0, 0, 0, 0, 0, 0) RETURNING 1",
        )


async def test_two_clerks_at_once_fold_each_batch_once(database: str) -> None:
    async with await connect(database, "a") as one, await connect(database, "b") as other:
        await balance_store.append(one, arrivals([(1, MINUTE, 1, 5, 0)]))
        async with one.transaction():
            await one.execute(balance_store.MINE)
            assert await balance_store.fold(other, day_of, 0) == 0
        assert await balance_store.fold(other, day_of, 0) == 1
        assert await balance_store.fold(one, day_of, 0) == 0
    assert query(database, "SELECT sent, stored FROM balance_minute") == [(5, 5)]
