"""Facts of alarms, read from alarms, cases and ledger, and packed into blocks for quick reading."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, TypeAlias

import numpy as np

from hazardloop.alarms import packed_months
from hazardloop.alarms.case_store import Connection
from hazardloop.alarms.facts import (
    MARKS,
    TIMES,
    VERDICTS,
    Columns,
    Facts,
    Mark,
    Table,
    together,
    unpacked,
)
from hazardloop.alarms.packed_months import PackedMonths
from hazardloop.devices.instants import microseconds_of, utc
from hazardloop.devices.readings import Times

Key: TypeAlias = tuple[date, int]
"""A block: the first day of a UTC month, and an enterprise."""

ALARMS_AT_ONCE: Final = 20_000
"""So many are packed in one transaction."""

# The first acknowledgement that was not taken back counts, whatever sounded again afterwards. From
# the alarm outwards and by LEFT JOIN: nothing that is done to a case, a device or a person
# takes an alarm out of the denominator. A side of several posts has signed once all of them have.
# Duties are late where a line of the ledger says so.
RAW: Final = f"""
    SELECT a.alarm_id, (extract(epoch FROM a.raised_at) * 1e6)::bigint, a.enterprise_id,
           a.raised_area, a.raised_kind, coalesce(seen.actor, ''), a.tier,
           coalesce(c.verdict, ''),
           least(coalesce(c.returned, 0), 255), least(coalesce(c.reopened, 0), 255),
           CASE WHEN a.drill THEN {Mark.DRILL:d} ELSE 0 END
           + CASE WHEN c.stage = 'closed' AND c.verdict IS NOT NULL THEN {Mark.CLOSED:d} ELSE 0 END
           + CASE WHEN a.found_late THEN {Mark.FOUND_LATE:d} ELSE 0 END
           + CASE WHEN s.late_enterprise THEN {Mark.LATE_SIGN_ENTERPRISE:d} ELSE 0 END
           + CASE WHEN s.late_authority THEN {Mark.LATE_SIGN_AUTHORITY:d} ELSE 0 END
           + CASE WHEN l.late_verify THEN {Mark.LATE_VERIFY:d} ELSE 0 END
           + CASE WHEN l.late_submit THEN {Mark.LATE_SUBMIT:d} ELSE 0 END
           + CASE WHEN l.late_review THEN {Mark.LATE_REVIEW:d} ELSE 0 END,
           extract(epoch FROM s.enterprise_at - c.opened_at)::float8,
           extract(epoch FROM s.authority_at - c.opened_at)::float8,
           extract(epoch FROM l.verified_at - c.opened_at)::float8,
           extract(epoch FROM l.submitted_at - c.opened_at)::float8,
           extract(epoch FROM l.closed_at - c.opened_at)::float8,
           extract(epoch FROM seen.changed_at - c.opened_at)::float8
      FROM alarm a LEFT JOIN disposal_case c ON c.alarm_id = a.alarm_id
           LEFT JOIN LATERAL (
               SELECT max(signed_at) FILTER (WHERE party = 'enterprise' AND whole) AS enterprise_at,
                      max(signed_at) FILTER (WHERE party = 'authority' AND whole) AS authority_at,
                      bool_or(late AND party = 'enterprise') AS late_enterprise,
                      bool_or(late AND party = 'authority') AS late_authority
                 FROM (SELECT party, max(signed_at) AS signed_at,
                              bool_and(signed_at IS NOT NULL) AS whole,
                              bool_or(signed_at > sign_due_at) AS late
                         FROM assignment WHERE assignment.case_id = c.case_id
                        GROUP BY party) AS side) s ON true
           LEFT JOIN LATERAL (
               SELECT min(taken_at) FILTER (WHERE action = 'verify') AS verified_at,
                      min(taken_at) FILTER (WHERE action = 'submit') AS submitted_at,
                      max(taken_at) FILTER (WHERE action = 'close' AND c.stage = 'closed')
                          AS closed_at,
                      bool_or(late AND duty = 'verify') AS late_verify,
                      bool_or(late AND duty = 'submit') AS late_submit,
                      bool_or(late AND duty = 'review') AS late_review
                 FROM ledger, LATERAL (SELECT body ->> 'fulfilled' AS duty,
                                              (body ->> 'late')::boolean AS late) AS clock
                WHERE ledger.case_id = c.case_id) l ON true
           LEFT JOIN LATERAL (
               SELECT changed_at, actor FROM alarm_change one
                WHERE alarm_id = a.alarm_id AND change = 'acknowledged'
                  AND NOT EXISTS (SELECT FROM alarm_change next
                                   WHERE next.alarm_id = one.alarm_id
                                     AND next.change = 'unacknowledged'
                                     AND next.version = (SELECT min(version) FROM alarm_change
                                                          WHERE alarm_change.alarm_id = one.alarm_id
                                                            AND version > one.version))
                ORDER BY version LIMIT 1) seen ON true
     WHERE a.alarm_id = ANY (%(alarm_ids)s::uuid[])"""

PROGRESS: Final = """
    SELECT epoch, progress.seq, live.seq
      FROM live_counter AS live LEFT JOIN figure_progress AS progress USING (epoch)"""

CHANGED: Final = """
    SELECT DISTINCT alarm_id FROM live_change JOIN alarm USING (alarm_id)
     WHERE seq > %(since)s AND raised_at >= %(from)s AND raised_at < %(to)s
       AND enterprise_id = ANY (%(only)s::int[])"""

RAISED: Final = """
    SELECT alarm_id FROM alarm
     WHERE raised_at >= %(from)s AND raised_at < %(to)s AND enterprise_id = ANY (%(only)s::int[])"""

CHANGED_AT_ALL: Final = "SELECT DISTINCT alarm_id FROM live_change WHERE seq > %(since)s"

RAISED_AT_ALL: Final = "SELECT alarm_id FROM alarm ORDER BY raised_at"

BLOCKS_OF: Final = """
    SELECT marks, times, ids
      FROM figure_block JOIN unnest(%(months)s::date[], %(enterprises)s::int[])
                             AS key (month, enterprise_id) USING (month, enterprise_id)"""

WORDS: Final = "SELECT word_id, word FROM figure_word"

# A word that is there already must not be tried: each try takes one of 32,767 numbers.
ADD_WORDS: Final = """
    INSERT INTO figure_word (word)
    SELECT word FROM unnest(%(words)s::text[]) AS wanted (word)
     WHERE NOT EXISTS (SELECT FROM figure_word AS known WHERE known.word = wanted.word)
        ON CONFLICT DO NOTHING"""

KEEP_BLOCKS: Final = """
    INSERT INTO figure_block (month, enterprise_id, ids, marks, times)
    SELECT * FROM unnest(%(months)s::date[], %(enterprises)s::int[], %(ids)s::bytea[],
                         %(marks)s::bytea[], %(times)s::bytea[])
        ON CONFLICT (month, enterprise_id)
        DO UPDATE SET ids = excluded.ids, marks = excluded.marks, times = excluded.times,
                      version = gen_random_uuid()"""

KEEP_PROGRESS: Final = """
    INSERT INTO figure_progress (epoch, seq) VALUES (%(epoch)s, %(seq)s)
        ON CONFLICT (only_row) DO UPDATE SET epoch = excluded.epoch, seq = excluded.seq"""

MINE: Final = "SELECT pg_try_advisory_lock(hashtext('hazardloop.figures'))"
NOT_MINE: Final = "SELECT pg_advisory_unlock(hashtext('hazardloop.figures'))"


async def facts_of(
    conn: Connection,
    start: datetime,
    end: datetime,
    enterprises: Iterable[int],
    *,
    tables: Collection[Table] = tuple(Table),
    kept: PackedMonths | None = None,
) -> Facts:
    """Every alarm of `enterprises` raised in [start, end) by data time that may be seen.

    From blocks what has not changed since they were packed, the rest from the alarms themselves:
    the answer is the same with and without blocks. It has the columns of `tables`, MARKS always;
    what is in `kept` is not read again.
    """
    wanted = {"from": start, "to": end, "only": list(enterprises)}
    _, packed_to, _ = (await _rows(conn, PROGRESS))[0]
    if packed_to is None:
        rows = await _raw(conn, await _rows(conn, RAISED, wanted))
        months: dict[date, dict[Table, Columns]] = {}
    else:
        rows = await _raw(conn, await _rows(conn, CHANGED, wanted | {"since": packed_to}))
        changed = {utc(row[1]).date().replace(day=1) for row in rows}
        months = await packed_months.read(conn, wanted, tables, changed, kept)
    words = dict(await _rows(conn, WORDS))  # after the blocks: it knows all of their words
    fresh = packed(rows, words)
    parts = [
        _inside(Facts(_merged(found), words), month, start, end, fresh)
        for month, found in months.items()
    ]
    return together([*parts, fresh], words)


def _merged(tables: Mapping[Table, Columns]) -> Columns:
    merged: dict[str, Any] = {}
    for columns in tables.values():
        merged |= columns
    return merged


def _inside(packed: Facts, month: date, start: datetime, end: datetime, fresh: Facts) -> Facts:
    """What a packed month tells of [start, end), but for the alarms that `fresh` tells of."""
    raised_us = packed.column("raised_us")
    keep = np.ones(len(packed), np.bool_)
    begins = datetime(month.year, month.month, 1, tzinfo=UTC)
    if not start <= begins or not begins + timedelta(days=31) <= end:
        keep = (raised_us >= microseconds_of(start)) & (raised_us < microseconds_of(end))
    if "alarm_id" in packed.columns and len(fresh):
        keep &= ~packed.among(fresh)
    return packed.where(keep)


async def pack(conn: Connection) -> int:
    """How many alarms were packed: those that changed since the last time.

    Takes transactions of its own; another process that is at it already is left alone (0).
    """
    if not (await _rows(conn, MINE))[0][0]:
        return 0
    try:
        epoch, packed_to, reached = (await _rows(conn, PROGRESS))[0]
        if packed_to is None:
            rows = await _rows(conn, RAISED_AT_ALL)
        else:
            rows = await _rows(conn, CHANGED_AT_ALL, {"since": packed_to})
        for first in range(0, len(rows), ALARMS_AT_ONCE):
            async with conn.transaction():
                await _pack(conn, rows[first : first + ALARMS_AT_ONCE])
        # What changed meanwhile has a higher number and is packed next time.
        await conn.execute(KEEP_PROGRESS, {"epoch": epoch, "seq": reached})
        return len(rows)
    finally:
        await conn.execute(NOT_MINE)


async def _pack(conn: Connection, rows: Sequence[Any]) -> None:
    """Puts these alarms into their blocks, in the place of what the blocks said of them."""
    told = await _raw(conn, rows)
    await conn.execute(ADD_WORDS, {"words": sorted({word for row in told for word in row[3:6]})})
    words = dict(await _rows(conn, WORDS))
    fresh = packed(told, words)
    keys = sorted(set(_keys(fresh)))
    where = {"months": [key[0] for key in keys], "enterprises": [key[1] for key in keys]}
    blocks = await _rows(conn, BLOCKS_OF, where, binary=True)
    old = unpacked(
        {table: b"".join(block[nth] for block in blocks) for nth, table in enumerate(Table)}, words
    )
    facts = together([old.where(~old.among(fresh)), fresh], words)
    place = {key: nth for nth, key in enumerate(keys)}
    places = np.array([place[key] for key in _keys(facts)])
    parts = [facts.where(places == nth) for nth in range(len(keys))]
    columns = {table.value: [one.packed(table) for one in parts] for table in Table}
    await conn.execute(KEEP_BLOCKS, where | columns)


def _keys(facts: Facts) -> list[Key]:
    """The block of each alarm."""
    raised_us: Times = facts.column("raised_us").view("M8[us]")
    months = raised_us.astype("M8[M]").astype("M8[D]").tolist()
    return list(zip(months, facts.column("enterprise").tolist(), strict=True))


def packed(rows: Sequence[Sequence[Any]], words: dict[int, str]) -> Facts:
    """Rows of RAW as facts; words that have no number yet get a negative one, in `words` too."""
    numbers = {word: number for number, word in words.items()}
    for row in rows:
        for word in row[3:6]:
            if word not in numbers:
                numbers[word] = -1 - len(numbers)
                words[numbers[word]] = word
    marks = [
        (
            raised_us,
            enterprise,
            numbers[area],
            numbers[kind],
            numbers[operator],
            flags,
            tier,
            VERDICTS[verdict or None],
            returned or 0,
            reopened or 0,
        )
        for (
            _,
            raised_us,
            enterprise,
            area,
            kind,
            operator,
            tier,
            verdict,
            returned,
            reopened,
            flags,
            *_,
        ) in rows
    ]
    return unpacked(
        {
            Table.MARKS: np.array(marks, MARKS).tobytes(),
            Table.TIMES: np.array([tuple(row[11:]) for row in rows], TIMES).tobytes(),
            Table.IDS: b"".join(row[0].bytes for row in rows),
        },
        words,
    )


async def _raw(conn: Connection, rows: Sequence[Any]) -> list[Any]:
    """Rows of RAW for rows that begin with an alarm_id."""
    return await _rows(conn, RAW, {"alarm_ids": [row[0] for row in rows]}) if rows else []


async def _rows(
    conn: Connection, query: str, parameters: Mapping[str, Any] | None = None, binary: bool = False
) -> list[Any]:
    # A plan that knows how many alarms and which period; one for any number of them is far slower.
    cursor = await conn.cursor(binary=binary).execute(query, parameters, prepare=False)
    return await cursor.fetchall()
