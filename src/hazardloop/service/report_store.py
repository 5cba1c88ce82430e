"""Reports in PostgreSQL: planned, frozen, made into files; the caller owns the transaction."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from psycopg.rows import class_row, dict_row
from psycopg.types.json import Jsonb

from hazardloop.alarms.facts import Facts, Table, unpacked
from hazardloop.reports.period import Kind, Period, following, period_of
from hazardloop.service.database import Connection


@dataclass(frozen=True, slots=True)
class Planned:
    """A report that is to be made."""

    report_id: int
    kind: str
    first_day: date
    last_day: date
    enterprise_id: int | None
    by_calendar: bool
    asked_by: str
    asked_at: datetime
    due_at: datetime
    frozen: bool

    @property
    def period(self) -> Period:
        """What it is of."""
        return Period(Kind(self.kind), self.first_day, self.last_day)


NEXT: Final = "SELECT next_first FROM report_calendar WHERE kind = %(kind)s FOR UPDATE"
BEGIN: Final = """
    INSERT INTO report_calendar (kind, next_first) VALUES (%(kind)s, %(first)s)
        ON CONFLICT (kind) DO NOTHING"""
ADVANCE: Final = "UPDATE report_calendar SET next_first = %(first)s WHERE kind = %(kind)s"
PLAN: Final = """
    INSERT INTO report (kind, first_day, last_day, enterprise_id, by_calendar, asked_by, asked_at,
                        due_at)
    SELECT %(kind)s, %(first)s, %(last)s, enterprise_id, true, 'system', %(now)s, %(due_at)s
      FROM (SELECT NULL::int AS enterprise_id
             UNION ALL SELECT enterprise_id FROM enterprise
                        WHERE NOT internal AND created_at < %(end)s) AS wanted
     ORDER BY enterprise_id NULLS FIRST
        ON CONFLICT (kind, first_day, enterprise_id) WHERE by_calendar DO NOTHING"""


async def plan(conn: Connection, zone: ZoneInfo, now: datetime) -> int:
    """How many reports were planned just now: of every period that ended since the last time.

    The first time, the calendar begins with the periods in which `now` lies.
    """
    planned = 0
    for kind in Kind:
        row = await (await conn.execute(NEXT, {"kind": kind.value})).fetchone()
        if row is None:
            period = period_of(kind, now.astimezone(zone).date())
            await conn.execute(BEGIN, {"kind": kind.value, "first": period.first})
            continue
        period = first = period_of(kind, row[0])
        while period.due_at(zone) <= now:
            planned += (await conn.execute(PLAN, _wanted(period, zone, now))).rowcount
            period = following(period)
        if period != first:
            await conn.execute(ADVANCE, {"kind": kind.value, "first": period.first})
    return planned


def _wanted(period: Period, zone: ZoneInfo, now: datetime) -> dict[str, Any]:
    return {
        "kind": period.kind.value,
        "first": period.first,
        "last": period.last,
        "due_at": period.due_at(zone),
        "end": period.bounds(zone)[1],
        "now": now,
    }


# What a person waits for comes before what the calendar wants.
TO_WRITE: Final = """
    SELECT report_id, kind, first_day, last_day, enterprise_id, by_calendar, asked_by, asked_at,
           due_at, frozen_at IS NOT NULL AS frozen
      FROM report WHERE written_at IS NULL AND report_id <> ALL (%(but)s::int[])
     ORDER BY by_calendar, due_at, report_id LIMIT 1"""


async def next_to_write(conn: Connection, but: list[int]) -> Planned | None:
    """The report to be made next; None: all are made, but for those."""
    async with conn.cursor(row_factory=class_row(Planned)) as cursor:
        await cursor.execute(TO_WRITE, {"but": but})
        return await cursor.fetchone()


LATEST: Final = """
    SELECT version, encode(sha256, 'hex') AS sha256, contents FROM report
     WHERE kind = %(kind)s AND first_day = %(first_day)s AND version IS NOT NULL
       AND enterprise_id IS NOT DISTINCT FROM %(enterprise_id)s
     ORDER BY version DESC LIMIT 1"""


async def latest_version(conn: Connection, planned: Planned) -> dict[str, Any] | None:
    """Version, sha256 and contents of the newest report of the same; None: there is none."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        wanted = ("kind", "first_day", "enterprise_id")
        await cursor.execute(LATEST, {name: getattr(planned, name) for name in wanted})
        return await cursor.fetchone()


FREEZE: Final = """
    UPDATE report
       SET version = %(version)s, frozen_at = %(frozen_at)s, contents = %(contents)s,
           sha256 = %(sha256)s, ids = %(ids)s, marks = %(marks)s, times = %(times)s,
           words = %(words)s
     WHERE report_id = %(report_id)s AND frozen_at IS NULL"""


async def freeze(
    conn: Connection,
    report_id: int,
    version: int,
    frozen_at: datetime,
    text: str,
    sha256: bytes,
    facts: Facts,
) -> bool:
    """Whether these contents are the report's now; False: it was frozen before."""
    used = {int(n) for name in ("area", "kind", "operator") for n in set(facts.column(name))}
    frozen = {
        "report_id": report_id,
        "version": version,
        "frozen_at": frozen_at,
        "contents": text,
        "sha256": sha256,
        "words": Jsonb({str(number): facts.words[number] for number in sorted(used)}),
    }
    columns = {table.value: facts.packed(table) for table in Table}
    return (await conn.execute(FREEZE, frozen | columns)).rowcount == 1


FROZEN: Final = """
    SELECT contents, encode(sha256, 'hex') AS sha256, ids, marks, times, words
      FROM report WHERE report_id = %(report_id)s AND frozen_at IS NOT NULL"""


@dataclass(frozen=True, slots=True)
class Frozen:
    """What a report says, and the facts that it counted."""

    text: str
    sha256: str
    facts: Facts

    def contents(self) -> dict[str, Any]:
        """The text as values."""
        found: dict[str, Any] = json.loads(self.text)
        return found


async def frozen(conn: Connection, report_id: int) -> Frozen | None:
    """What was frozen; None: not known here, or not frozen yet."""
    async with conn.cursor(row_factory=dict_row, binary=True) as cursor:
        await cursor.execute(FROZEN, {"report_id": report_id})
        row = await cursor.fetchone()
    if row is None:
        return None
    words = {int(number): word for number, word in row["words"].items()}
    facts = unpacked({table: row[table.value] for table in Table}, words)
    return Frozen(row["contents"], row["sha256"], facts)


MADE: Final = """
    SELECT format, lang, encode(sha256, 'hex') AS sha256, octet_length(content) AS size_bytes
      FROM report_file WHERE report_id = %(report_id)s ORDER BY lang DESC, format DESC"""
KEEP: Final = """
    INSERT INTO report_file (report_id, format, lang, content, sha256)
    VALUES (%(report_id)s, %(format)s, %(lang)s, %(content)s, sha256(%(content)s::bytea))
        ON CONFLICT (report_id, format, lang) DO NOTHING"""
WRITTEN: Final = """
    UPDATE report SET written_at = %(now)s WHERE report_id = %(report_id)s AND written_at IS NULL"""


async def made(conn: Connection, report_id: int) -> list[dict[str, Any]]:
    """Format, language, sha256 and size of each file that is there, Chinese first."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(MADE, {"report_id": report_id})
        return await cursor.fetchall()


async def keep_file(conn: Connection, report_id: int, form: str, lang: str, content: bytes) -> None:
    """Adds a file; one that is there already stays."""
    await conn.execute(
        KEEP, {"report_id": report_id, "format": form, "lang": lang, "content": content}
    )


async def written(conn: Connection, report_id: int, now: datetime) -> bool:
    """Whether the report was ended just now, all its files being there."""
    return (await conn.execute(WRITTEN, {"report_id": report_id, "now": now})).rowcount == 1


def body_of(planned: Planned, **more: Any) -> Mapping[str, Any]:
    """What the ledger tells of a report."""
    told = {"kind": planned.kind, "first": planned.first_day.isoformat()}
    return told | {"last": planned.last_day.isoformat(), **more}
