"""What the rule engine decided, made durable: alarms and their changes, its memory, the outbox."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any, Final, TypeAlias
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.types.json import Jsonb

from hazardloop.alarms import canary_store, case_store, consequences, hold_store
from hazardloop.alarms.alarm import Change, ChangeKind
from hazardloop.alarms.evaluation import Outcome
from hazardloop.alarms.memory import CellRow, OpenAlarmRow
from hazardloop.alarms.signal import Hold
from hazardloop.devices.instants import rfc3339, utc
from hazardloop.devices.registry import CANARY_KIND, Registry
from hazardloop.devices.wire import alarm_topic

Connection: TypeAlias = AsyncConnection[tuple[Any, ...]]

# An alarm that was raised and changed within one batch is written once, as it ended.
RAISE_ALARMS: Final = """
    INSERT INTO alarm (alarm_id, enterprise_id, device_id, point_id, rule_id, rule_version,
                       tier, tier_now, value, limit_value, direction, raised_at, cleared_at,
                       found_late, version, drill, drill_id, value_unit, arithmetic, latched)
    SELECT t.*, coalesce((definition ->> 'latch')::boolean, false)
      FROM unnest(%(alarm_id)s::uuid[], %(enterprise_id)s::int[], %(device_id)s::int[],
                  %(point_id)s::int[], %(rule_id)s::text[], %(rule_version)s::int[],
                  %(tier)s::smallint[], %(tier_now)s::smallint[], %(value)s::float8[],
                  %(limit)s::float8[], %(direction)s::text[], %(raised_at)s::timestamptz[],
                  %(cleared_at)s::timestamptz[], %(found_late)s::bool[], %(changes)s::int[],
                  %(drill)s::bool[], %(drill_id)s::int[], %(unit)s::text[],
                  %(arithmetic)s::jsonb[])
           AS t (alarm_id, enterprise_id, device_id, point_id, rule_id, rule_version)
           LEFT JOIN rule_version r ON (r.rule_id, r.version) = (t.rule_id, t.rule_version)
        ON CONFLICT DO NOTHING
    RETURNING alarm_id"""

# A latch is one signal's: the next alarm of it takes it over, and is reset in its stead.
HAND_ON_LATCHES: Final = """
    WITH passed AS (
        UPDATE alarm was SET latched = false, version = was.version + 1
          FROM alarm anew
         WHERE anew.alarm_id = ANY (%(raised)s::uuid[]) AND anew.latched
           AND was.latched AND was.cleared_at IS NOT NULL
           AND (was.rule_id, was.point_id) = (anew.rule_id, anew.point_id)
           AND was.raised_at < anew.raised_at
        RETURNING was.alarm_id, was.version
    ), noted AS (
        INSERT INTO alarm_change (alarm_id, version, change, tier, changed_at, note)
        SELECT alarm_id, version, 'reset', 0, %(now)s, 'raised anew' FROM passed
    ) SELECT alarm_id FROM passed"""

MARKS: Final = """
    SELECT a.alarm_id, a.drill, h.kind
      FROM alarm a LEFT JOIN alarm_hold h
           ON h.hold_id = a.hold_id AND h.tier >= a.tier AND hold_in_force(h, %(now)s)
     WHERE a.alarm_id = ANY (%(alarm_ids)s::uuid[]) AND (a.drill OR h.kind IS NOT NULL)"""

# A tier that rises after the acknowledgement has been seen by nobody: the acknowledgement falls.
CHANGE_ALARMS: Final = """
    UPDATE alarm a
       SET tier_now = t.tier_now, tier = greatest(a.tier, t.tier), cleared_at = t.cleared_at,
           value = CASE WHEN t.tier > a.tier THEN t.value ELSE a.value END,
           limit_value = CASE WHEN t.tier > a.tier THEN t.limit_value ELSE a.limit_value END,
           arithmetic = CASE WHEN t.tier > a.tier THEN t.arithmetic ELSE a.arithmetic END,
           acknowledged_at = CASE WHEN t.tier <= a.tier THEN a.acknowledged_at END,
           acknowledged_by = CASE WHEN t.tier <= a.tier THEN a.acknowledged_by END,
           acknowledge_note = CASE WHEN t.tier <= a.tier THEN a.acknowledge_note END,
           version = a.version + t.changes
      FROM unnest(%(alarm_id)s::uuid[], %(tier)s::smallint[], %(tier_now)s::smallint[],
                  %(value)s::float8[], %(limit)s::float8[], %(cleared_at)s::timestamptz[],
                  %(changes)s::int[], %(arithmetic)s::jsonb[])
           AS t (alarm_id, tier, tier_now, value, limit_value, cleared_at, changes, arithmetic)
     WHERE a.alarm_id = t.alarm_id AND a.cleared_at IS NULL
    RETURNING a.alarm_id, a.version - t.changes"""

NOTE_CHANGES: Final = """
    INSERT INTO alarm_change (alarm_id, version, change, tier, value, limit_value, changed_at)
    SELECT * FROM unnest(%(alarm_id)s::uuid[], %(version)s::int[], %(change)s::text[],
                         %(tier)s::smallint[], %(value)s::float8[], %(limit)s::float8[],
                         %(changed_at)s::timestamptz[])"""

REMEMBER: Final = """
    INSERT INTO limit_memory (rule_id, point_id, tier, holds, since)
    SELECT * FROM unnest(%(rule_id)s::text[], %(point_id)s::int[], %(tier)s::smallint[],
                         %(holds)s::bool[], %(since)s::timestamptz[])
        ON CONFLICT (rule_id, point_id, tier)
        DO UPDATE SET holds = excluded.holds, since = excluded.since"""

FORGET: Final = """
    DELETE FROM limit_memory m
     USING unnest(%(rule_id)s::text[], %(point_id)s::int[], %(tier)s::smallint[])
           AS t (rule_id, point_id, tier)
     WHERE m.rule_id = t.rule_id AND m.point_id = t.point_id AND m.tier = t.tier"""

QUEUE: Final = """
    INSERT INTO outbox (alarm_id, version, topic, payload)
    SELECT * FROM unnest(%(alarm_id)s::uuid[], %(version)s::int[], %(topic)s::text[],
                         %(payload)s::jsonb[])"""

OUTBOX_PAGE: Final = 10_000
"""At most so many are read from the outbox at once."""

UNANNOUNCED: Final = """
    SELECT alarm_id, version, topic, payload FROM outbox
     ORDER BY created_at, version LIMIT %(page)s"""

ANNOUNCED: Final = """
    DELETE FROM outbox o USING unnest(%(alarm_id)s::uuid[], %(version)s::int[])
           AS t (alarm_id, version)
     WHERE o.alarm_id = t.alarm_id AND o.version = t.version"""

TELL_LIVE: Final = "SELECT note_live_changes(%s::uuid[])"

MEMORY: Final = """
    SELECT rule_id, point_id, tier, holds, (extract(epoch FROM since) * 1e6)::bigint
      FROM limit_memory"""

# A find that ended longer ago than readings may be old hides nothing that can still come.
OPEN_ALARMS: Final = """
    SELECT alarm_id, rule_id, point_id, CASE WHEN cleared_at IS NULL THEN tier_now ELSE tier END,
           (extract(epoch FROM raised_at) * 1e6)::bigint,
           (extract(epoch FROM cleared_at) * 1e6)::bigint,
           CASE WHEN found_late THEN tier ELSE 0 END
      FROM alarm
     WHERE cleared_at IS NULL OR (found_late AND cleared_at > now() - interval '31 days')
     ORDER BY cleared_at, recorded_at, raised_at"""


@dataclass(frozen=True, slots=True)
class Announcement:
    """One alarm change as it is told outward."""

    alarm_id: UUID
    version: int
    """0: not recorded yet."""
    topic: str
    payload: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Mark:
    """What an announcement says of its alarm beside the change."""

    drill: bool = False
    hold: str | None = None
    """What withholds sound and flash of it; None = nothing."""


UNMARKED: Final = Mark()


@dataclass(frozen=True, slots=True)
class _Recorded:
    """What is to be told of what was recorded: outward, and in the live list."""

    announcements: list[Announcement]
    alarm_ids: list[UUID]

    def with_those(self, others: "_Recorded") -> "_Recorded":
        return _Recorded(
            self.announcements + others.announcements, self.alarm_ids + others.alarm_ids
        )


NOTHING: Final = _Recorded([], [])


async def record(
    connection: Connection, outcome: Outcome, registry: Registry, now: datetime
) -> list[Announcement]:
    """What is to be announced once this transaction is committed; recorded a second time, nothing.

    Raises alarms with their cases, changes those that were open, keeps the engine's memory, and
    numbers the changes for the live list last, because that serialises all writers. What the canary
    did is kept apart, and takes the same way.
    """
    await _remember(connection, outcome.cells)
    if not outcome.changes:
        return []
    ours = [change for change in outcome.changes if not of_canary(change, registry)]
    recorded = await _record_alarms(connection, ours, registry, now) if ours else NOTHING
    if len(ours) < len(outcome.changes):
        canaries = [change for change in outcome.changes if of_canary(change, registry)]
        recorded = recorded.with_those(await _record_canaries(connection, canaries, registry))
    if not recorded.announcements:
        return []
    await _queue(connection, recorded.announcements)
    await connection.execute(TELL_LIVE, [recorded.alarm_ids])
    return recorded.announcements


def of_canary(change: Change, registry: Registry) -> bool:
    """Whether this is the watch over the path, and no alarm of anybody's."""
    measurand = registry.measurands[int(registry.measurand[change.row])]
    return measurand.kind == CANARY_KIND


async def _record_canaries(
    connection: Connection, changes: Sequence[Change], registry: Registry
) -> "_Recorded":
    raised = [change for change in changes if change.kind is ChangeKind.RAISED]
    new = await canary_store.record(
        connection, {change.alarm_id: utc(change.raised_at_us) for change in raised}
    )
    told = [
        _announcement(change, version, registry, UNMARKED)
        for change, version in _numbered(changes, dict.fromkeys(new, 0))
    ]
    return _Recorded(told, new)


async def _record_alarms(
    connection: Connection, changes: Sequence[Change], registry: Registry, now: datetime
) -> "_Recorded":
    by_alarm = _by_alarm(changes)
    # Those open before come first: a signal may clear and be raised anew within one batch.
    before = await _change_alarms(connection, by_alarm)
    raised = await _raise_alarms(connection, by_alarm, registry)
    noted = _numbered(changes, before | dict.fromkeys(raised, 0))
    if not noted:
        return NOTHING
    await _note(connection, noted)
    alarm_ids = list(dict.fromkeys(change.alarm_id for change, _ in noted))
    worse = [*{change.alarm_id for change, _ in noted if change.kind is ChangeKind.ROSE}]
    moved = await _settle(connection, by_alarm, raised, worse, registry, now)
    await case_store.open_cases(connection, raised, now)
    await case_store.tighten_deadlines(connection, worse, now)
    await consequences.of_opening(connection, [*raised, *worse], now)
    marks = await _marks(connection, alarm_ids, now)
    announcements = [
        _announcement(change, version, registry, marks.get(change.alarm_id, UNMARKED))
        for change, version in noted
    ]
    return _Recorded(announcements, list(dict.fromkeys(alarm_ids + moved)))


def unrecorded(
    outcome: Outcome, registry: Registry, holds: Sequence[Hold | None]
) -> list[Announcement]:
    """What is to be announced of changes that the database does not know yet.

    `holds`: what withholds each of them.

    They have no version: that counts what people do with the alarm, too, and only the database
    knows it. Once recorded each change is announced again, with its version.
    """
    return [
        _announcement(change, None, registry, Mark(change.drill_id is not None, hold))
        for change, hold in zip(outcome.changes, holds, strict=True)
    ]


def _by_alarm(changes: Iterable[Change]) -> dict[UUID, list[Change]]:
    by_alarm: dict[UUID, list[Change]] = {}
    for change in changes:
        by_alarm.setdefault(change.alarm_id, []).append(change)
    return by_alarm


def _ends(histories: Sequence[Sequence[Change]]) -> dict[str, list[Any]]:
    """Columns of how each alarm stands after its changes, and of the worst it went through."""
    worst = [max(history, key=lambda change: change.tier) for history in histories]
    last = [history[-1] for history in histories]
    return {
        "alarm_id": [change.alarm_id for change in last],
        "tier": [int(change.tier) for change in worst],
        "tier_now": [int(change.tier) for change in last],
        "value": [change.value for change in worst],
        "limit": [change.limit for change in worst],
        "arithmetic": [
            None if change.arithmetic is None else Jsonb(change.arithmetic) for change in worst
        ],
        "cleared_at": [
            utc(change.changed_at_us) if change.kind is ChangeKind.CLEARED else None
            for change in last
        ],
        "changes": [len(history) for history in histories],
    }


async def _change_alarms(
    connection: Connection, by_alarm: Mapping[UUID, Sequence[Change]]
) -> dict[UUID, int]:
    """The version each alarm had before these changes, of those that were open before them."""
    histories = [
        history for history in by_alarm.values() if history[0].kind is not ChangeKind.RAISED
    ]
    if not histories:
        return {}
    cursor = await connection.execute(CHANGE_ALARMS, _ends(histories))
    return {alarm_id: version for alarm_id, version in await cursor.fetchall()}  # noqa: C416


async def _raise_alarms(
    connection: Connection, by_alarm: Mapping[UUID, Sequence[Change]], registry: Registry
) -> list[UUID]:
    """Ids of the alarms that are new."""
    histories = [history for history in by_alarm.values() if history[0].kind is ChangeKind.RAISED]
    if not histories:
        return []
    first = [history[0] for history in histories]
    points = [registry.points[change.row] for change in first]
    cursor = await connection.execute(
        RAISE_ALARMS,
        _ends(histories)
        | {
            "enterprise_id": [point.enterprise_id for point in points],
            "device_id": [point.device_id for point in points],
            "point_id": [change.point_id for change in first],
            "rule_id": [change.rule_id for change in first],
            "rule_version": [change.rule_version for change in first],
            "direction": [str(change.direction) for change in first],
            "raised_at": [utc(change.raised_at_us) for change in first],
            "found_late": [change.found_late for change in first],
            "drill": [change.drill_id is not None for change in first],
            "drill_id": [change.drill_id for change in first],
            "unit": [change.unit for change in first],
        },
    )
    return [alarm_id for (alarm_id,) in await cursor.fetchall()]


async def _settle(
    connection: Connection,
    by_alarm: Mapping[UUID, Sequence[Change]],
    raised: Sequence[UUID],
    worse: Sequence[UUID],
    registry: Registry,
    now: datetime,
) -> list[UUID]:
    """Ids of alarms that these changes moved: latches handed on, holds begun and ended."""
    cursor = await connection.execute(HAND_ON_LATCHES, {"raised": list(raised), "now": now})
    moved = [alarm_id for (alarm_id,) in await cursor.fetchall()]
    devices = {registry.points[history[0].row].device_id for history in by_alarm.values()}
    devices.update(await hold_store.end_overtaken(connection, raised, worse, now))
    return moved + await hold_store.settle(connection, [*devices], now, raised)


async def _marks(
    connection: Connection, alarm_ids: Sequence[UUID], now: datetime
) -> dict[UUID, Mark]:
    cursor = await connection.execute(MARKS, {"alarm_ids": list(alarm_ids), "now": now})
    return {alarm_id: Mark(drill, hold) for alarm_id, drill, hold in await cursor.fetchall()}


def _numbered(changes: Iterable[Change], before: Mapping[UUID, int]) -> list[tuple[Change, int]]:
    """The changes that took effect, each with the alarm version it made."""
    versions = dict(before)
    numbered: list[tuple[Change, int]] = []
    for change in changes:
        if change.alarm_id in versions:
            versions[change.alarm_id] += 1
            numbered.append((change, versions[change.alarm_id]))
    return numbered


_STORED_AS: Final = {
    ChangeKind.RAISED: "raised",
    ChangeKind.ROSE: "tier",
    ChangeKind.FELL: "tier",
    ChangeKind.CLEARED: "cleared",
}


async def _note(connection: Connection, noted: Sequence[tuple[Change, int]]) -> None:
    await connection.execute(
        NOTE_CHANGES,
        {
            "alarm_id": [change.alarm_id for change, _ in noted],
            "version": [version for _, version in noted],
            "change": [_STORED_AS[change.kind] for change, _ in noted],
            "tier": [int(change.tier) for change, _ in noted],
            "value": [change.value for change, _ in noted],
            "limit": [change.limit for change, _ in noted],
            "changed_at": [utc(change.changed_at_us) for change, _ in noted],
        },
    )


def _announcement(
    change: Change, version: int | None, registry: Registry, mark: Mark
) -> Announcement:
    point = registry.points[change.row]
    return Announcement(
        change.alarm_id,
        version or 0,
        alarm_topic(point.enterprise),
        {
            "id": str(change.alarm_id),
            "version": version,
            "change": _STORED_AS[change.kind],
            "tier": change.tier.wire if change.tier else None,
            "tier_before": change.tier_before.wire if change.tier_before else None,
            "point": point.code,
            "device": point.device,
            "kind": point.kind,
            "value": change.value if change.value == change.value else None,
            "unit": "s" if change.direction == "stale" else change.unit or point.unit,
            "limit": change.limit,
            "direction": str(change.direction),
            "rule": change.rule_id,
            "rule_version": change.rule_version,
            "raised_at": rfc3339(utc(change.raised_at_us)),
            "changed_at": rfc3339(utc(change.changed_at_us)),
            "found_late": change.found_late,
            "drill": mark.drill,
            "withheld": mark.hold,
            "recorded": version is not None,
        },
    )


async def _queue(connection: Connection, announcements: Sequence[Announcement]) -> None:
    await connection.execute(
        QUEUE,
        {
            "alarm_id": [one.alarm_id for one in announcements],
            "version": [one.version for one in announcements],
            "topic": [one.topic for one in announcements],
            "payload": [Jsonb(one.payload) for one in announcements],
        },
    )


async def _remember(connection: Connection, cells: Sequence[CellRow]) -> None:
    ordered = sorted(cells, key=lambda cell: cell.at_rest)
    for at_rest, group in groupby(ordered, key=lambda cell: cell.at_rest):
        rows = list(group)
        await connection.execute(
            FORGET if at_rest else REMEMBER,
            {
                "rule_id": [cell.rule_id for cell in rows],
                "point_id": [cell.point_id for cell in rows],
                "tier": [cell.tier for cell in rows],
                "holds": [cell.holds for cell in rows],
                "since": [None if cell.since_us is None else utc(cell.since_us) for cell in rows],
            },
        )


async def load_memory(connection: Connection) -> tuple[list[CellRow], list[OpenAlarmRow]]:
    """What the engine remembered of limits, and the alarms it must know of."""
    cells = await (await connection.execute(MEMORY)).fetchall()
    alarms = await (await connection.execute(OPEN_ALARMS)).fetchall()
    return [CellRow(*row) for row in cells], [OpenAlarmRow(*row) for row in alarms]


async def unannounced(connection: Connection) -> list[Announcement]:
    """What was recorded but not yet taken by the broker, oldest first; `OUTBOX_PAGE` at most."""
    cursor = await connection.execute(UNANNOUNCED, {"page": OUTBOX_PAGE})
    return [Announcement(*row) for row in await cursor.fetchall()]


async def note_announced(connection: Connection, announcements: Sequence[Announcement]) -> None:
    """Takes announcements out of the outbox; the broker has them."""
    await connection.execute(
        ANNOUNCED,
        {
            "alarm_id": [one.alarm_id for one in announcements],
            "version": [one.version for one in announcements],
        },
    )
