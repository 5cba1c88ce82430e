"""The message balance in the database: workers append runs, a clerk folds them, anyone reads."""

from collections.abc import Callable, Sequence
from dataclasses import astuple
from datetime import date
from typing import Any, Final, TypeAlias

import numpy as np
from psycopg import AsyncConnection

from hazardloop.ingest.arrivals import Arrivals, in_runs, joined
from hazardloop.ingest.balance import TALLIED, Account, Gap, Series, Tally, folded

Connection: TypeAlias = AsyncConnection[tuple[Any, ...]]

BATCHES_AT_ONCE: Final = 1_000
"""Rows of `balance_arrival` that one fold takes; the next takes the rest."""

APPEND: Final = """
    INSERT INTO balance_arrival (gateway_id, minute, first_seq, messages, kind)
    VALUES (%(gateway_id)s::int[], %(minute)s::int[], %(first_seq)s::bigint[],
            %(messages)s::int[], %(kind)s::smallint[])"""

MINE: Final = "SELECT pg_try_advisory_xact_lock(hashtext('hazardloop.balance'))"

TAKE: Final = """
    DELETE FROM balance_arrival
     WHERE arrival_id IN (SELECT arrival_id FROM balance_arrival
                           ORDER BY arrival_id LIMIT %(most)s)
    RETURNING arrival_id, gateway_id, minute, first_seq, messages, kind"""

SERIES: Final = """
    SELECT gateway_id, nth, first_seq, last_seq, first_minute, gap_first, gap_last, gap_minute
      FROM balance_series WHERE gateway_id = ANY (%(gateways)s) ORDER BY gateway_id, rank"""

CLOSE_SERIES: Final = """
    DELETE FROM balance_series s
     WHERE gateway_id = ANY (%(gateways)s)
       AND NOT EXISTS (SELECT FROM unnest(%(gateway_id)s::int[], %(nth)s::int[])
                              AS kept (gateway_id, nth)
                        WHERE kept.gateway_id = s.gateway_id AND kept.nth = s.nth)"""

SAVE_SERIES: Final = """
    INSERT INTO balance_series (gateway_id, nth, rank, first_seq, last_seq, first_minute,
                                gap_first, gap_last, gap_minute)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT (gateway_id, nth) DO UPDATE
       SET rank = EXCLUDED.rank, first_seq = EXCLUDED.first_seq, last_seq = EXCLUDED.last_seq,
           first_minute = EXCLUDED.first_minute, gap_first = EXCLUDED.gap_first,
           gap_last = EXCLUDED.gap_last, gap_minute = EXCLUDED.gap_minute"""


def _booking(table: str, key: str, kind: str) -> str:
    """MERGE, and not INSERT ... ON CONFLICT: that would check a change as if it were a row."""
    return f"""
    MERGE INTO {table} b
    USING unnest(%(gateway_id)s::int[], %(key)s::{kind}[],
                 {", ".join(f"%({name})s::int[]" for name in TALLIED)})
          AS c (gateway_id, {key}, {", ".join(TALLIED)})
       ON b.gateway_id = c.gateway_id AND b.{key} = c.{key}
     WHEN MATCHED THEN UPDATE SET {", ".join(f"{name} = b.{name} + c.{name}" for name in TALLIED)}
     WHEN NOT MATCHED THEN INSERT (gateway_id, {key}, {", ".join(TALLIED)})
          VALUES (c.gateway_id, c.{key}, {", ".join("c." + name for name in TALLIED)})"""


BOOK_MINUTES: Final = _booking("balance_minute", "minute", "int")
BOOK_DAYS: Final = _booking("balance_day", "day", "date")

# By gateway, because the key begins with it.
FORGET_MINUTES: Final = """
    DELETE FROM balance_minute b USING gateway g
     WHERE b.gateway_id = g.gateway_id
       AND b.minute < extract(epoch FROM now() - %(days)s * interval '1 day') / 60"""

FORGET_DAYS: Final = "DELETE FROM balance_day WHERE day < now()::date - %(days)s::int"

# One statement, and so one snapshot: a fold in between would be seen half.
BALANCE_OF: Final = f"""
    SELECT ARRAY(SELECT to_jsonb(s) FROM balance_series s
                  WHERE gateway_id = ANY (%(gateways)s) ORDER BY gateway_id, rank),
           ARRAY(SELECT jsonb_build_array(gateway_id, minute, first_seq, messages, kind)
                   FROM balance_unfolded(%(gateways)s)),
           ARRAY(SELECT jsonb_build_array(gateway_id, minute, {", ".join(TALLIED)})
                   FROM balance_minute
                  WHERE gateway_id = ANY (%(gateways)s)
                    AND minute >= %(first_minute)s AND minute < %(end_minute)s),
           ARRAY(SELECT jsonb_build_array(gateway_id, day, {", ".join(TALLIED)})
                   FROM balance_day
                  WHERE gateway_id = ANY (%(gateways)s)
                    AND day >= %(first_day)s AND day < %(end_day)s)"""


async def append(connection: Connection, arrivals: Arrivals) -> None:
    """Keeps the runs of a batch."""
    if not len(arrivals):
        return
    await connection.execute(APPEND, row_of(arrivals))


def row_of(arrivals: Arrivals) -> dict[str, list[int]]:
    """What `APPEND` is to be given."""
    return {
        "gateway_id": arrivals.gateway_id.tolist(),
        "minute": arrivals.minute.tolist(),
        "first_seq": arrivals.first.tolist(),
        "messages": arrivals.messages.tolist(),
        "kind": arrivals.kind.tolist(),
    }


async def fold(
    connection: Connection, day_of: Callable[[int], date], forget_gaps_before: int
) -> int:
    """How many batches were folded into minutes and days; 0 too while another clerk does it.

    Args:
        connection: outside a transaction.
        day_of: the day that a minute (since the Unix epoch) belongs to.
        forget_gaps_before: a minute; numbers missing since before stay missing.
    """
    async with connection.transaction():
        row = await (await connection.execute(MINE)).fetchone()
        if row is None or not row[0]:
            return 0
        async with connection.cursor(binary=True) as cursor:
            await cursor.execute(TAKE, {"most": BATCHES_AT_ONCE})
            batches = sorted(await cursor.fetchall())
        if not batches:
            return 0
        arrivals = in_runs(joined([_arrivals(batch) for batch in batches]))
        gateways = np.unique(arrivals.gateway_id).tolist()
        accounts = await load(connection, gateways)
        for account in accounts.values():
            account.forget_gaps_before(forget_gaps_before)
        folded(arrivals.runs(), accounts)
        await _save(connection, accounts)
        await _book(connection, accounts, day_of)
    return len(batches)


def _arrivals(batch: Sequence[Any]) -> Arrivals:
    _, gateway_id, minute, first, messages, kind = batch
    return Arrivals(
        np.array(gateway_id, np.int32),
        np.array(minute, np.int32),
        np.array(first, np.int64),
        np.array(messages, np.int32),
        np.array(kind, np.int16),
    )


async def load(connection: Connection, gateways: list[int]) -> dict[int, Account]:
    """The accounts of gateways that have one."""
    cursor = await connection.execute(SERIES, {"gateways": gateways})
    accounts: dict[int, Account] = {}
    for gateway_id, *series in await cursor.fetchall():
        accounts.setdefault(gateway_id, Account()).series.append(_series(*series))
    return accounts


def _series(
    nth: int,
    first: int,
    last: int,
    first_minute: int,
    gap_first: list[int],
    gap_last: list[int],
    gap_minute: list[int],
) -> Series:
    gaps = [Gap(*gap) for gap in zip(gap_first, gap_last, gap_minute, strict=True)]
    return Series(nth, first, last, first_minute, gaps)


async def _save(connection: Connection, accounts: dict[int, Account]) -> None:
    rows = [
        (
            gateway_id,
            series.nth,
            rank,
            series.first,
            series.last,
            series.first_minute,
            [gap.first for gap in series.gaps],
            [gap.last for gap in series.gaps],
            [gap.minute for gap in series.gaps],
        )
        for gateway_id, account in accounts.items()
        for rank, series in enumerate(account.series)
    ]
    await connection.execute(
        CLOSE_SERIES,
        {
            "gateways": list(accounts),
            "gateway_id": [row[0] for row in rows],
            "nth": [row[1] for row in rows],
        },
    )
    async with connection.cursor() as cursor:
        await cursor.executemany(SAVE_SERIES, rows)


async def _book(
    connection: Connection, accounts: dict[int, Account], day_of: Callable[[int], date]
) -> None:
    minutes: dict[tuple[int, int], Tally] = {}
    days: dict[tuple[int, date], Tally] = {}
    for gateway_id, account in accounts.items():
        for minute, tally in account.changes.items():
            minutes[gateway_id, minute] = tally
            days.setdefault((gateway_id, day_of(minute)), Tally()).add(tally)
    for statement, booked in ((BOOK_MINUTES, minutes), (BOOK_DAYS, days)):
        columns = list(zip(*map(astuple, booked.values()), strict=True))
        await connection.execute(
            statement,
            {
                "gateway_id": [gateway_id for gateway_id, _ in booked],
                "key": [key for _, key in booked],
                **{name: list(column) for name, column in zip(TALLIED, columns, strict=True)},
            },
        )


async def balance_of(
    connection: Connection,
    gateways: list[int],
    minutes: tuple[int, int],
    days: tuple[date, date],
    day_of: Callable[[int], date],
) -> tuple[dict[int, Account], dict[tuple[int, int], Tally], dict[tuple[int, date], Tally]]:
    """Accounts, minutes and days of gateways, exact to this moment: with what is not folded yet.

    Args:
        connection: in a transaction that sees what may be seen.
        gateways: their ids.
        minutes: the first, and the first after.
        days: the first, and the first after.
        day_of: the day that a minute belongs to.
    """
    cursor = await connection.execute(
        BALANCE_OF,
        {
            "gateways": gateways,
            "first_minute": minutes[0],
            "end_minute": minutes[1],
            "first_day": days[0],
            "end_day": days[1],
        },
    )
    row = await cursor.fetchone()
    assert row is not None  # a SELECT of one row
    accounts: dict[int, Account] = {}
    for one in row[0]:
        accounts.setdefault(one["gateway_id"], Account()).series.append(
            _series(*(one[name] for name in _SERIES))
        )
    by_minute = {(one[0], one[1]): Tally(*one[2:]) for one in row[2]}
    by_day = {(one[0], date.fromisoformat(one[1])): Tally(*one[2:]) for one in row[3]}
    folded(row[1], accounts)
    for gateway_id, account in accounts.items():
        for minute, tally in account.changes.items():
            if minutes[0] <= minute < minutes[1]:
                by_minute.setdefault((gateway_id, minute), Tally()).add(tally)
            if days[0] <= (day := day_of(minute)) < days[1]:
                by_day.setdefault((gateway_id, day), Tally()).add(tally)
    return accounts, by_minute, by_day


_SERIES: Final = (
    "nth", "first_seq", "last_seq", "first_minute", "gap_first", "gap_last", "gap_minute",
)  # fmt: skip
