"""The read side of alarms: SQL, and rows to what lists and the live stream show of them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

import msgspec

from hazardloop.alarms import flood_store
from hazardloop.alarms.alarm import Direction, Stage, Tier
from hazardloop.alarms.deadlines import DUTIES
from hazardloop.service.api.rows import fetch
from hazardloop.service.database import Connection

MOST_OPEN: Final = 10_000
"""Alarms in one snapshot; the least severe are left out beyond."""

OPEN_IDS: Final = """
    SELECT alarm_id FROM alarm WHERE cleared_at IS NULL
     UNION SELECT alarm_id FROM alarm WHERE latched
     UNION SELECT alarm_id FROM disposal_case WHERE stage <> 'closed'"""
"""Open: the signal is active or latched, or its case is not closed. Each part has an index."""

HELD: Final = """
           LEFT JOIN alarm_hold hold ON hold.hold_id = a.hold_id AND hold.tier >= a.tier
                                    AND hold_in_force(hold, %(now)s)"""
"""What withholds the alarm `a` now; joined by its own end, whether or not it was written down."""
BACK_UNSEEN: Final = "a.hold_id IS NOT NULL AND hold.hold_id IS NULL AND a.cleared_at IS NULL"
"""It has come back from a hold with its condition true: the acknowledgement has fallen."""

FACTS: Final = f"""
    SELECT a.alarm_id, a.version, a.tier, a.tier_now, a.rule_id, a.cleared_at,
           CASE WHEN {BACK_UNSEEN} THEN NULL ELSE a.acknowledged_at END AS acknowledged_at,
           a.acknowledged_by, a.enterprise_id, e.code AS enterprise, e.name AS enterprise_name,
           d.code AS device, d.name AS device_name, d.location, p.quantity,
           coalesce(a.value_unit, p.unit) AS unit, a.value,
           a.limit_value, a.direction, a.raised_at, a.found_late, a.drill, c.case_id, c.stage,
           c.revision, c.stage_at, c.stage_due_at, latest.recorded_at AS changed_at, a.latched,
           hold.kind AS hold, hold.granted_by AS hold_by, hold.reason AS hold_why,
           hold.until AS hold_until
      FROM alarm a JOIN point p USING (point_id) JOIN device d ON d.device_id = a.device_id
           JOIN enterprise e ON e.enterprise_id = a.enterprise_id
           LEFT JOIN disposal_case c USING (alarm_id)
           LEFT JOIN LATERAL (SELECT recorded_at FROM alarm_change
                               WHERE alarm_change.alarm_id = a.alarm_id
                               ORDER BY version DESC LIMIT 1) latest ON true{HELD}"""


class Facts(NamedTuple):
    """What a list shows of an alarm, as the database has it; made 10,000 times for a snapshot."""

    alarm_id: UUID
    version: int
    tier: int
    tier_now: int
    rule_id: str
    cleared_at: datetime | None
    acknowledged_at: datetime | None
    acknowledged_by: str | None
    enterprise_id: int
    enterprise: str
    enterprise_name: str
    device: str
    device_name: str
    location: str
    quantity: str
    unit: str
    value: float
    limit_value: float
    direction: str
    raised_at: datetime
    found_late: bool
    drill: bool
    case_id: UUID | None
    stage: str | None
    revision: int | None
    stage_at: datetime | None
    stage_due_at: datetime | None
    changed_at: datetime | None
    latched: bool = False
    hold: str | None = None
    hold_by: str | None = None
    hold_why: str | None = None
    hold_until: datetime | None = None

    @property
    def is_open(self) -> bool:
        """Whether it belongs into the live list."""
        handled = self.stage is None or self.stage == Stage.CLOSED
        return self.cleared_at is None or self.latched or not handled


class Acknowledged(msgspec.Struct, frozen=True):
    """Who saw an alarm, and when."""

    by: str
    at: datetime


class Shelf(msgspec.Struct, frozen=True):
    """What withholds sound and flash of an alarm, by whose leave, why, until when."""

    kind: str
    by: str
    why: str
    until: datetime


class Compact(msgspec.Struct, omit_defaults=True, frozen=True):
    """An alarm in the live list; what is empty is left out."""

    id: UUID
    ver: int
    tier: str
    kind: str
    """Id of its rule."""
    cond: str
    wf: str
    ent: tuple[str, str]
    dev: tuple[str, str]
    pt: str
    dir: str
    raised: datetime
    upd: datetime
    tier_now: str | None = None
    stage: str | None = None
    ack: Acknowledged | None = None
    loc: str = ""
    val: float | None = None
    unit: str = ""
    lim: float | None = None
    rtn: datetime | None = None
    case: UUID | None = None
    rev: int | None = None
    due: tuple[str, datetime] | None = None
    late: bool = False
    sim: bool = False
    flags: tuple[str, ...] = ()
    """`latched`: normal, waits for its reset; `shelved`, `suppressed`, `out_of_service`."""
    shelf: Shelf | None = None


def compact(facts: Facts) -> Compact:
    """`facts` as the live list shows them."""
    acknowledged = None
    if facts.acknowledged_at is not None:
        acknowledged = Acknowledged(facts.acknowledged_by or "", facts.acknowledged_at)
    shelf = None
    if facts.hold is not None and facts.hold_until is not None:
        shelf = Shelf(facts.hold, facts.hold_by or "", facts.hold_why or "", facts.hold_until)
    latched = facts.latched and facts.cleared_at is not None
    moments = (facts.raised_at, facts.acknowledged_at, facts.stage_at, facts.changed_at)
    return Compact(
        id=facts.alarm_id,
        ver=facts.version,
        tier=Tier(facts.tier).wire,
        tier_now=Tier(facts.tier_now).wire if facts.tier_now else None,
        kind=facts.rule_id,
        cond="active" if facts.cleared_at is None else "cleared",
        wf=workflow(facts.stage, acknowledged is not None),
        stage=facts.stage,
        ack=acknowledged,
        ent=(facts.enterprise, facts.enterprise_name),
        dev=(facts.device, facts.device_name),
        pt=f"{facts.device}.{facts.quantity}",
        loc=facts.location,
        val=facts.value if facts.value == facts.value else None,
        unit=shown_unit(facts.direction, facts.unit),
        lim=facts.limit_value,
        dir=facts.direction,
        raised=facts.raised_at,
        upd=max(moment for moment in moments if moment is not None),
        rtn=facts.cleared_at,
        case=facts.case_id,
        rev=facts.revision,
        due=due_of(facts.stage, facts.stage_due_at),
        late=facts.found_late,
        sim=facts.drill,
        flags=(("latched",) if latched else ()) + ((facts.hold,) if facts.hold else ()),
        shelf=shelf,
    )


def workflow(stage: str | None, acknowledged: bool) -> str:
    """The word for what people have done: `new` until somebody saw it or signed, then its stage."""
    if stage in (None, Stage.RAISED, Stage.DISPATCHED) and not acknowledged:
        return "new"
    return "acked" if stage in (None, Stage.RAISED) else str(stage)


def due_of(stage: str | None, due_at: datetime | None) -> tuple[str, datetime] | None:
    """Which duty is owed and by when; None where nothing is."""
    duty = DUTIES.get(Stage(stage)) if stage else None
    return None if duty is None or due_at is None else (duty.value, due_at)


def shown_unit(direction: str, unit: str) -> str:
    """The unit of an alarm's value and limit: silence is in seconds, a state has none."""
    if direction == Direction.STALE:
        return "s"
    return "" if direction == Direction.STATE else unit


async def _facts(conn: Connection, query: str, arguments: dict[str, Any]) -> list[Facts]:
    # Binary: times and ids are read five times faster than from text.
    async with conn.cursor(binary=True) as cursor:
        await cursor.execute(query, arguments)
        return [Facts(*row) for row in await cursor.fetchall()]


OPEN: Final = f"""{FACTS}
     WHERE a.alarm_id IN ({OPEN_IDS}) ORDER BY a.tier DESC, a.raised_at DESC LIMIT %(limit)s"""


async def open_alarms(conn: Connection, now: datetime) -> list[Facts]:
    """The open alarms, worst and newest first, at most one more than MOST_OPEN."""
    return await _facts(conn, OPEN, {"limit": MOST_OPEN + 1, "now": now})


async def alarms_by_id(conn: Connection, ids: Sequence[UUID], now: datetime) -> list[Facts]:
    """The alarms of these ids as far as they may be seen."""
    query = f"{FACTS} WHERE a.alarm_id = ANY (%(ids)s)"
    return await _facts(conn, query, {"ids": list(ids), "now": now})


async def count_open(conn: Connection) -> int:
    """How many alarms are open."""
    cursor = await conn.execute(f"SELECT count(*) FROM ({OPEN_IDS}) open")
    return int((await cursor.fetchone() or (0,))[0])


COUNTS: Final = f"""
    SELECT a.enterprise_id, a.tier, count(*) AS open,
           count(*) FILTER (WHERE hold.hold_id IS NULL
                              AND (a.acknowledged_at IS NULL OR {BACK_UNSEEN})) AS unacked,
           count(*) FILTER (WHERE c.stage <> 'closed' AND c.stage_due_at < %(now)s) AS overdue,
           count(hold.hold_id) AS shelved
      FROM alarm a LEFT JOIN disposal_case c USING (alarm_id){HELD}
     WHERE a.alarm_id IN ({OPEN_IDS}) GROUP BY a.enterprise_id, a.tier"""


RATE: Final = """
    SELECT a.enterprise_id, e.internal, count(*) AS m10,
           count(*) FILTER (WHERE a.raised_at > %(now)s - interval '1 minute') AS m1
      FROM alarm a JOIN enterprise e USING (enterprise_id)
     WHERE a.raised_at > %(now)s - interval '10 minutes' AND a.raised_at <= %(now)s
       AND NOT a.drill AND NOT a.found_late
     GROUP BY a.enterprise_id, e.internal"""


class FloodNow(msgspec.Struct, frozen=True):
    """Whether there is an alarm flood, and how bad it is."""

    on: bool = False
    id: int | None = None
    since: datetime | None = None
    n: int = 0
    """Alarms raised in it."""
    peak: int = 0
    """Most in any ten minutes."""
    seats: int = 1
    first_out: UUID | None = None


class Counts(msgspec.Struct):
    """How many alarms are open, and how fast they come."""

    tiers: dict[str, dict[str, int]] = msgspec.field(
        default_factory=lambda: {
            tier.wire: {"open": 0, "unacked": 0, "overdue": 0} for tier in reversed(Tier) if tier
        }
    )
    shelved: int = 0
    """Open, but sound and flash are withheld; these do not count as unacknowledged."""
    rate: dict[str, int] = msgspec.field(default_factory=lambda: {"m1": 0, "m10": 0})
    """Raised in the last minute, in the last ten."""
    flood: FloodNow | None = None
    """At the centre's desk; None to an enterprise."""


async def counts(conn: Connection, now: datetime) -> dict[int | None, Counts]:
    """Open, unacknowledged, overdue alarms by tier; of each enterprise, and of all under None.

    Rate and flood are of what rings the operators up: without drills and what was found late.
    """
    totals: dict[int | None, Counts] = {None: Counts()}
    for row in await fetch(conn, COUNTS, {"now": now}):
        for enterprise in (None, row["enterprise_id"]):
            total = totals.setdefault(enterprise, Counts())
            total.shelved += row["shelved"]
            tier = total.tiers[Tier(row["tier"]).wire]
            for name in tier:
                tier[name] += row[name]
    for row in await fetch(conn, RATE, {"now": now}):
        for enterprise in (
            (row["enterprise_id"],) if row["internal"] else (None, row["enterprise_id"])
        ):
            rate = totals.setdefault(enterprise, Counts()).rate
            for name in rate:
                rate[name] += row[name]
    totals[None].flood = await flood_now(conn)
    return totals


async def flood_now(conn: Connection) -> FloodNow:
    """The flood that goes on, if one does."""
    row = await flood_store.standing(conn)
    if row is None:
        return FloodNow()
    return FloodNow(
        True, row["flood_id"], row["began_at"], row["alarms"], row["peak"], row["seats"],
        row["first_out"],
    )  # fmt: skip


async def live_position(conn: Connection) -> tuple[UUID, int]:
    """Epoch of the live stream, and the number of its newest committed change."""
    cursor = await conn.execute("SELECT epoch, seq FROM live_counter")
    row = await cursor.fetchone()
    assert row is not None
    return row[0], row[1]


CHANGED: Final = """
    SELECT count(*), array_agg(DISTINCT alarm_id) FROM live_change
     WHERE seq > %(after)s AND seq <= %(upto)s"""


async def changed_between(conn: Connection, after: int, upto: int) -> list[UUID] | None:
    """Alarms changed in (after, upto]; None when the record of some of it is gone already."""
    cursor = await conn.execute(CHANGED, {"after": after, "upto": upto})
    row = await cursor.fetchone()
    assert row is not None
    return None if row[0] != upto - after else list(row[1] or [])
