"""Facts of all alarms from the lines of the ledger alone, from the tables, and as published.

What a ledger cannot give is no fact of an alarm: whether devices reported, and what is registered.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, LiteralString

from hazardloop.alarms import figure_store
from hazardloop.alarms.facts import Facts, Mark, Table, together, unpacked
from hazardloop.alarms.ledger_reading import Reader

# Columns as those of figure_store.RAW, each from lines. What lines of earlier versions do not say
# (the area; whether a side of several posts had signed) is taken as it is published.
TOLD: Final = f"""
    WITH act AS MATERIALIZED (
        SELECT alarm_id, action, actor, taken_at, (body ->> 'version')::int AS version,
               lead(action) OVER (PARTITION BY alarm_id ORDER BY (body ->> 'version')::int) AS next
          FROM ledger WHERE subject = 'alarm' AND body ? 'version'
    ), seen AS (
        SELECT DISTINCT ON (alarm_id) alarm_id, actor, taken_at FROM act
         WHERE action = 'acknowledged' AND next IS DISTINCT FROM 'unacknowledged'
         ORDER BY alarm_id, version
    ), told AS (
        SELECT alarm_id,
               min(taken_at) FILTER (WHERE raised) AS raised_at,
               min(enterprise_id) FILTER (WHERE subject = 'alarm') AS enterprise_id,
               max(body ->> 'area') FILTER (WHERE raised) AS area,
               max(body ->> 'kind') FILTER (WHERE raised) AS kind,
               max((body ->> 'tier')::int) FILTER (WHERE subject = 'alarm') AS tier,
               (array_agg((body ->> 'drill')::boolean ORDER BY entry_id DESC)
                   FILTER (WHERE subject = 'alarm' AND body ? 'drill'))[1] AS drill,
               bool_or((body ->> 'found_late')::boolean) FILTER (WHERE raised) AS found_late,
               (array_agg(body ->> 'stage' ORDER BY revision DESC)
                   FILTER (WHERE subject = 'case' AND body ? 'stage'))[1] AS stage,
               (array_agg(body ->> 'verdict' ORDER BY revision DESC)
                   FILTER (WHERE subject = 'case' AND body ? 'verdict'))[1] AS verdict,
               count(*) FILTER (WHERE action = 'return') AS returned,
               count(*) FILTER (WHERE action = 'reopen') AS reopened,
               bool_or(late) FILTER (WHERE duty = 'verify') AS late_verify,
               bool_or(late) FILTER (WHERE duty = 'submit') AS late_submit,
               bool_or(late) FILTER (WHERE duty = 'review') AS late_review,
               min(taken_at) FILTER (WHERE action = 'dispatch') AS opened_at,
               min(taken_at) FILTER (WHERE action = 'verify') AS verified_at,
               min(taken_at) FILTER (WHERE action = 'submit') AS submitted_at,
               max(taken_at) FILTER (WHERE action = 'close') AS closed_at,
               max(taken_at) FILTER (WHERE signs = 'enterprise') AS enterprise_at,
               max(taken_at) FILTER (WHERE signs = 'authority') AS authority_at,
               bool_or(sign_late) FILTER (WHERE signs = 'enterprise') AS late_enterprise,
               bool_or(sign_late) FILTER (WHERE signs = 'authority') AS late_authority,
               bool_or(whole) FILTER (WHERE signs = 'enterprise') AS enterprise_signed,
               bool_or(whole) FILTER (WHERE signs = 'authority') AS authority_signed,
               bool_or(body ->> 'stage' = 'signed') AS both_signed
          FROM ledger, LATERAL (
                   SELECT subject = 'alarm' AND action = 'raised' AS raised,
                          body ->> 'fulfilled' AS duty, (body ->> 'late')::boolean AS late,
                          CASE WHEN action = 'sign' THEN actor_role END AS signs,
                          coalesce(body ->> 'sign_late', body ->> 'late')::boolean AS sign_late,
                          (body ->> 'side_signed')::boolean AS whole) AS said
         WHERE alarm_id IS NOT NULL GROUP BY alarm_id
    )
    SELECT alarm_id, (extract(epoch FROM told.raised_at) * 1e6)::bigint, told.enterprise_id,
           coalesce(told.area, a.raised_area, ''), told.kind, coalesce(seen.actor, ''), told.tier,
           coalesce(told.verdict, ''), least(told.returned, 255), least(told.reopened, 255),
           CASE WHEN told.drill THEN {Mark.DRILL:d} ELSE 0 END
           + CASE WHEN told.stage = 'closed' AND told.verdict IS NOT NULL
                  THEN {Mark.CLOSED:d} ELSE 0 END
           + CASE WHEN told.found_late THEN {Mark.FOUND_LATE:d} ELSE 0 END
           + CASE WHEN late_enterprise THEN {Mark.LATE_SIGN_ENTERPRISE:d} ELSE 0 END
           + CASE WHEN late_authority THEN {Mark.LATE_SIGN_AUTHORITY:d} ELSE 0 END
           + CASE WHEN late_verify THEN {Mark.LATE_VERIFY:d} ELSE 0 END
           + CASE WHEN late_submit THEN {Mark.LATE_SUBMIT:d} ELSE 0 END
           + CASE WHEN late_review THEN {Mark.LATE_REVIEW:d} ELSE 0 END,
           extract(epoch FROM CASE WHEN coalesce(enterprise_signed, both_signed)
                                   THEN enterprise_at END - opened_at)::float8,
           extract(epoch FROM CASE WHEN coalesce(authority_signed, both_signed)
                                   THEN authority_at END - opened_at)::float8,
           extract(epoch FROM verified_at - opened_at)::float8,
           extract(epoch FROM submitted_at - opened_at)::float8,
           extract(epoch FROM CASE WHEN told.stage = 'closed' THEN closed_at END
                              - opened_at)::float8,
           extract(epoch FROM seen.taken_at - opened_at)::float8
      FROM told LEFT JOIN seen USING (alarm_id) LEFT JOIN alarm a USING (alarm_id)
     WHERE told.raised_at IS NOT NULL AND told.enterprise_id IS NOT NULL"""

BLOCKS: Final = "SELECT marks, times, ids FROM figure_block ORDER BY month, enterprise_id"

AT_ONCE: Final = 20_000
"""Alarms that are read at once."""


@dataclass(frozen=True, slots=True)
class Told:
    """Facts of all alarms from each source; their words have one numbering."""

    ledger: Facts
    tables: Facts
    published: Facts | None
    """As packed, and where that has changed since, from the tables; None: nothing is packed."""


def read(conn: Reader) -> Told:
    """What ledger, tables and packed figures say of every alarm there is."""
    words: dict[int, str] = dict(conn.execute(figure_store.WORDS).fetchall())
    with conn.cursor() as cursor:
        cursor.execute(TOLD)
        ledger = _together(iter(lambda: cursor.fetchmany(AT_ONCE), []), words)
    tables = _of_alarms(conn, figure_store.RAISED_AT_ALL, {}, words)
    (_, packed_to, _) = conn.execute(figure_store.PROGRESS).fetchone() or (None, None, None)
    if packed_to is None:
        return Told(ledger, tables, None)
    fresh = _of_alarms(conn, figure_store.CHANGED_AT_ALL, {"since": packed_to}, words)
    blocks = conn.cursor(binary=True).execute(BLOCKS).fetchall()
    packed = unpacked(
        {table: b"".join(block[nth] for block in blocks) for nth, table in enumerate(Table)}, words
    )
    return Told(ledger, tables, together([packed.where(~packed.among(fresh)), fresh], words))


def _of_alarms(
    conn: Reader, which: LiteralString, parameters: Mapping[str, Any], words: dict[int, str]
) -> Facts:
    ids = [row[0] for row in conn.execute(which, parameters).fetchall()]
    pieces = (
        conn.execute(
            figure_store.RAW, {"alarm_ids": ids[first : first + AT_ONCE]}, prepare=False
        ).fetchall()
        for first in range(0, len(ids), AT_ONCE)
    )
    return _together(pieces, words)


def _together(pieces: Iterable[Sequence[Any]], words: dict[int, str]) -> Facts:
    parts = [figure_store.packed(rows, words) for rows in pieces]
    return together([*parts, figure_store.packed([], words)], words)
