"""Hazards and their deeds in PostgreSQL; the caller owns the transaction."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final
from uuid import UUID

from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from hazardloop.alarms import ledger_store
from hazardloop.alarms.alarm import Actor
from hazardloop.alarms.case_store import Connection
from hazardloop.alarms.errors import HazardOvertaken
from hazardloop.alarms.hazard import (
    ALL_REGIMES,
    FIVE,
    Deed,
    Grade,
    Hazard,
    Origin,
    Regime,
    Station,
    advance,
)
from hazardloop.alarms.ledger_store import Act


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found, where, and how grave it is."""

    enterprise_id: int
    hazard_unit_id: int | None
    alarm_id: UUID | None
    sector: str
    grade: Grade
    origin: Origin
    title: str
    place: str


FIND: Final = """
    INSERT INTO hazard (enterprise_id, hazard_unit_id, alarm_id, sector, grade, origin, title,
                        place, found_at, found_by)
    VALUES (%(enterprise_id)s, %(hazard_unit_id)s, %(alarm_id)s, %(sector)s, %(grade)s, %(origin)s,
            %(title)s, %(place)s, %(found_at)s, %(found_by)s)
        ON CONFLICT (alarm_id) DO NOTHING
    RETURNING hazard_id"""


async def find(
    conn: Connection, finding: Finding, actor: Actor, note: str | None, now: datetime
) -> int | None:
    """Id of the hazard just entered; None: that alarm has been promoted to one already."""
    said = {name: getattr(finding, name) for name in Finding.__slots__}
    row = await _one(conn, FIND, said | {"found_at": now, "found_by": actor.username})
    if row is None:
        return None
    body = {name: str(value) for name, value in said.items() if value is not None}
    await _write(conn, row["hazard_id"], finding.enterprise_id, 1, "find", actor, now, note, body)
    return int(row["hazard_id"])


LOAD: Final = "SELECT * FROM hazard WHERE hazard_id = %(hazard_id)s FOR UPDATE"
REGIMES: Final = "SELECT regimes FROM hazard_regime WHERE sector = %(sector)s"
SAVE: Final = """
    UPDATE hazard
       SET station = %(station)s, revision = %(revision)s, responsible = %(responsible)s,
           measures = %(measures)s, funds = %(funds)s, deadline = %(deadline)s, plan = %(plan)s,
           fixers = %(fixers)s, notified = %(notified)s, supervised = %(supervised)s,
           supervision = coalesce(%(supervision)s, supervision), returned = %(returned)s,
           recurred = %(recurred)s, recheck_due = %(recheck_due)s, closed_by = %(closed_by)s,
           closed_at = CASE WHEN %(closed_by)s::text IS NOT NULL
                            THEN coalesce(closed_at, %(taken_at)s) END
     WHERE hazard_id = %(hazard_id)s AND revision = %(revision)s - 1"""


async def regimes(conn: Connection, sector: str) -> tuple[Regime, ...]:
    """What a sector asks for."""
    row = await _one(conn, REGIMES, {"sector": sector})
    return ALL_REGIMES if row is None else tuple(Regime(name) for name in row["regimes"])


async def act(
    conn: Connection, hazard_id: int, deed: Deed, listing: Mapping[str, Any] | None = None
) -> Hazard | None:
    """The hazard after `deed`, saved with its deed and its ledger line; None: not known here.

    `listing`: of a supervision, its level and batch. Raises what `advance` raises.
    """
    row = await _one(conn, LOAD, {"hazard_id": hazard_id})
    if row is None:
        return None
    after = advance(hazard_of(row), deed, await regimes(conn, row["sector"]))
    said = {name: getattr(after, name) for name in _SAVED} | dict(after.settled)
    said |= {"fixers": list(after.fixers), "taken_at": deed.taken_at}
    said["supervision"] = None if listing is None else Jsonb(dict(listing))
    saved = await conn.execute(SAVE, said)
    if saved.rowcount == 0:
        raise HazardOvertaken(hazard_id, after.revision)
    body: dict[str, Any] = {"station": after.station, **(listing or {})}
    body |= {name: str(value) for name, value in (deed.settled or {}).items() if value}
    if deed.recurred:
        body["recurred"] = True
    where = (hazard_id, after.enterprise_id, after.revision)
    await _write(conn, *where, deed.act, deed.actor, deed.taken_at, deed.note, body)
    return after


WRITE: Final = """
    INSERT INTO hazard_deed (hazard_id, revision, act, actor, actor_role, taken_at, station, note,
                             body)
    SELECT hazard_id, %(revision)s, %(act)s, %(actor)s, %(role)s, %(at)s, station, %(note)s,
           %(body)s
      FROM hazard WHERE hazard_id = %(hazard_id)s"""


async def _write(
    conn: Connection,
    hazard_id: int,
    enterprise_id: int,
    revision: int,
    act: str,
    actor: Actor,
    at: datetime,
    note: str | None,
    body: Mapping[str, Any],
) -> None:
    """Writes a deed down, with the hazard and in the ledger."""
    said = {"hazard_id": hazard_id, "revision": revision, "act": act, "actor": actor.username}
    said |= {"role": actor.role, "at": at, "note": note}
    await conn.execute(WRITE, said | {"body": Jsonb(dict(body))})
    who = (actor.username, actor.role, at, note, {**body, "revision": revision}, enterprise_id)
    await ledger_store.note_act(conn, Act("hazard", str(hazard_id), act, *who))


def hazard_of(row: Mapping[str, Any]) -> Hazard:
    """A row of `hazard` as a hazard."""
    settled: dict[str, str | date | None] = {name: row[name] for name in FIVE}
    return Hazard(
        **{name: row[name] for name in _SAVED if name not in ("station", "closed_by")},
        enterprise_id=row["enterprise_id"],
        grade=Grade(row["grade"]),
        origin=Origin(row["origin"]),
        station=Station(row["station"]),
        found_by=row["found_by"],
        settled=settled,
        fixers=tuple(row["fixers"]),
        closed_by=row["closed_by"],
    )


_SAVED: Final = (
    "hazard_id",
    "station",
    "revision",
    "notified",
    "supervised",
    "returned",
    "recurred",
    "recheck_due",
    "closed_by",
)
"""Fields of a hazard that are columns of the same name and may change."""


async def _one(
    conn: Connection, query: str, parameters: Mapping[str, Any] | Sequence[Any]
) -> dict[str, Any] | None:
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(query, parameters)
        return await cursor.fetchone()
