"""When the path breaks: an alarm, and everyone on duty told over every channel; then the all-clear.

The clerk does all of it by itself, in one transaction: the worker may be what is dead.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from hazardloop.alarms import notice_store, rule_store, shift_store
from hazardloop.alarms import store as alarm_store
from hazardloop.alarms.alarm import (
    Change,
    ChangeKind,
    Direction,
    Tier,
    alarm_id_of,
    case_id_of,
)
from hazardloop.alarms.evaluation import Outcome
from hazardloop.alarms.notices import Notice, NoticeKind, Post
from hazardloop.alarms.path import Leg
from hazardloop.alarms.rules import catalogue_rules
from hazardloop.alarms.store import Announcement
from hazardloop.devices import store as registry_store
from hazardloop.devices.catalog import Catalog
from hazardloop.devices.instants import microseconds_of
from hazardloop.devices.own_devices import PLATFORM
from hazardloop.devices.registry import Registry
from hazardloop.service import path_store
from hazardloop.service.database import Connection

RULE: Final = "platform.path_broken"
QUANTITY: Final = "path_silence"

HOME: Final = """
    SELECT gateway_id FROM gateway g JOIN enterprise e USING (enterprise_id)
     WHERE e.code = %(platform)s AND g.code = %(platform)s"""


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found of the path; without legs it is whole."""

    legs: tuple[Leg, ...]
    """How far no canary came."""
    silence_s: float
    """Since the last one that came the whole way was sent."""
    within_s: float
    """That is too long."""


async def break_(
    conn: Connection, holder: str, found: Finding, catalog: Catalog, now: datetime
) -> list[Announcement]:
    """What is to be announced of an outage that is new; its alarm is raised, and all are told."""
    async with conn.transaction():
        if not await path_store.break_(conn, holder, found.legs, now):
            return []
        home = await _home(conn, catalog)
        change = await _raised(conn, home, found, catalog, now)
        told = await alarm_store.record(conn, Outcome((change,)), home, now)
        await path_store.note_alarm(conn, change.alarm_id)
        legs = {"legs": list(found.legs)}
        await _tell(conn, NoticeKind.SELF_WATCH, Tier.RED, change.alarm_id, now, legs)
        return told


async def mend(
    conn: Connection, holder: str, found: Finding, catalog: Catalog, now: datetime
) -> list[Announcement]:
    """What is to be announced of an outage that is over; its alarm is cleared, and all are told."""
    async with conn.transaction():
        outage = await path_store.mend(conn, holder)
        if outage is None:
            return []
        since, alarm_id = outage
        home = await _home(conn, catalog)
        raised = await _raised(conn, home, found, catalog, since)
        cleared = replace(
            raised,
            kind=ChangeKind.CLEARED,
            alarm_id=alarm_id,
            tier=Tier.NONE,
            tier_before=Tier.RED,
            changed_at_us=microseconds_of(now),
        )
        told = await alarm_store.record(conn, Outcome((cleared,)), home, now)
        await _tell(conn, NoticeKind.SELF_WATCH_OVER, Tier.BLUE, alarm_id, now, {})
        return told


async def _home(conn: Connection, catalog: Catalog) -> Registry:
    """A registry of what the platform measures of itself."""
    row = await (await conn.execute(HOME, {"platform": PLATFORM})).fetchone()
    assert row is not None  # whoever watches has made it
    return await registry_store.load_gateway(conn, row[0], catalog)


async def _raised(
    conn: Connection, home: Registry, found: Finding, catalog: Catalog, at: datetime
) -> Change:
    (row,) = (row for (_, quantity), row in home.own.items() if quantity == QUANTITY)
    rules = [rule for rule in catalogue_rules(catalog) if rule.rule_id == RULE]
    version = (await rule_store.keep_rule_versions(conn, rules))[RULE]
    point_id, at_us = int(home.point_id[row]), microseconds_of(at)
    return Change(
        kind=ChangeKind.RAISED,
        alarm_id=alarm_id_of(RULE, point_id, at_us),
        row=row,
        point_id=point_id,
        rule_id=RULE,
        rule_version=version,
        tier=Tier.RED,
        tier_before=Tier.NONE,
        value=round(found.silence_s, 3),
        limit=found.within_s,
        direction=Direction.HIGH,
        changed_at_us=at_us,
        raised_at_us=at_us,
    )


async def _tell(
    conn: Connection,
    kind: NoticeKind,
    tier: Tier,
    alarm_id: UUID,
    now: datetime,
    body: Mapping[str, Any],
) -> None:
    """Tells everyone on duty; where nobody is, that stays to be seen among what reached nobody."""
    case_id = case_id_of(alarm_id)
    people: Sequence[tuple[int | None, str]] = await shift_store.all_on_duty(conn, now)
    notices = [
        Notice(kind, case_id, alarm_id, None, post, tier, None, body, contact_id)
        for contact_id, post in people or [(None, Post.DUTY_SUPERVISOR)]
    ]
    await notice_store.queue(conn, notices)
