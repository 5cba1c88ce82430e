"""Reports on their way: planned by the calendar or asked for, frozen once, then made into files.

What a report says is frozen in one transaction with its line of the ledger; the files are made of
what was frozen, one after the other. A clerk that dies anywhere in between leaves the rest to the
next one, which changes nothing of what is there. Decision 24.
"""

import asyncio
import hashlib
import json
import logging
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from hazardloop.alarms import ledger_store
from hazardloop.alarms.ledger_store import Act
from hazardloop.devices.instants import rfc3339
from hazardloop.reports.headlines import differences
from hazardloop.reports.period import LATE_AFTER
from hazardloop.service import metrics, report_files, report_store
from hazardloop.service.database import EVERYTHING, LOST, Connection, Pool, request_scope
from hazardloop.service.report_figures import Scope, canonical, gathered
from hazardloop.service.report_store import Planned
from hazardloop.service.settings import Settings
from hazardloop.service.site import known_kinds

log = logging.getLogger(__name__)

TASK: Final = "write_reports"

# Held for as long as reports are being made: one clerk at a time, one report after the other, so
# that they never take the hands that notices and escalations want.
MINE: Final = "SELECT pg_try_advisory_lock(hashtext('hazardloop.reports'))"
NOT_MINE: Final = "SELECT pg_advisory_unlock(hashtext('hazardloop.reports'))"
NOW: Final = "SELECT clock_timestamp()"


async def keep_calendar(pool: Pool, settings: Settings) -> None:
    """Plans the reports that are due, and makes all that are planned."""
    async with pool.connection() as conn, conn.transaction():
        planned = await report_store.plan(conn, ZoneInfo(settings.tz), await _now(conn))
    if planned:
        log.info("reports planned", extra={"reports": planned})
    await write_reports(pool, settings)


async def write_reports(pool: Pool, settings: Settings, now: datetime | None = None) -> int:
    """How many reports were made: all that are planned; none while another clerk is at it.

    `now`: of the database's clock if not given. One that cannot be made does not hold up the
    others: it is logged, and tried again the next time.
    """
    made, failed = 0, list[int]()
    async with pool.connection() as conn:
        async with conn.transaction():
            if not await _value(conn, MINE):
                return 0
        try:
            while planned := await _next(conn, failed):
                try:
                    await _write(pool, conn, settings, planned, now)
                    made += 1
                except LOST:
                    raise
                except Exception:
                    metrics.REPORTS_FAILED.inc()
                    log.exception("report not made", extra={"report": planned.report_id})
                    failed.append(planned.report_id)
        finally:
            async with conn.transaction():
                await conn.execute(NOT_MINE)
    return made


async def _next(conn: Connection, but: list[int]) -> Planned | None:
    async with conn.transaction():
        return await report_store.next_to_write(conn, but)


async def _write(
    pool: Pool, conn: Connection, settings: Settings, planned: Planned, now: datetime | None
) -> None:
    """Takes one report as far as it can go: frozen, its files, its end."""
    report_id = planned.report_id
    if not planned.frozen:
        await _freeze(pool, conn, settings, planned, now)
    async with conn.transaction():
        frozen = await report_store.frozen(conn, report_id)
        there = {(one["format"], one["lang"]) for one in await report_store.made(conn, report_id)}
    assert frozen is not None  # just above, or before
    for form, lang in report_files.FILES:
        if (form, lang) not in there:
            content = await asyncio.to_thread(
                report_files.file_of, frozen.text, frozen.sha256, frozen.facts, form, lang
            )
            async with conn.transaction():
                await report_store.keep_file(conn, report_id, form, lang, content)
    async with conn.transaction():
        at = now or await _now(conn)
        if await report_store.written(conn, report_id, at):
            files = await report_store.made(conn, report_id)
            hashes = {f"{one['format']} {one['lang']}": one["sha256"] for one in files}
            await ledger_store.note_act(conn, _act(planned, "write", at, {"files": hashes}))
    log.info("report made", extra={"report": report_id, "kind": planned.kind})


async def _freeze(
    pool: Pool, conn: Connection, settings: Settings, planned: Planned, now: datetime | None
) -> None:
    """Asks the figures at one instant, with the eyes of whom the report is for, and keeps them."""
    own = planned.enterprise_id
    zone = ZoneInfo(settings.tz)
    scope = Scope(planned.period, zone, own)
    kinds = {
        code: {"zh": kind.name.zh, "en": kind.name.en}
        for code, kind in known_kinds(settings).kinds.items()
    }
    async with request_scope(
        pool, EVERYTHING if own is None else str(own), one_instant=True
    ) as seen:
        at = now or await _now(seen)
        contents, facts = await gathered(seen, scope, kinds, at)
    async with conn.transaction():
        before = await report_store.latest_version(conn, planned)
        version = 1 if before is None else before["version"] + 1
        contents["report"] = _told(planned, scope, contents, version, at)
        contents["report"]["follows"] = before and {
            "version": before["version"], "sha256": before["sha256"]
        }  # fmt: skip
        if before is not None:
            contents["differs"] = differences(json.loads(before["contents"]), contents)
        text = canonical(contents)
        digest = hashlib.sha256(text.encode())
        if await report_store.freeze(
            conn, planned.report_id, version, at, text, digest.digest(), facts
        ):
            said = {"version": version, "sha256": digest.hexdigest()}
            await ledger_store.note_act(conn, _act(planned, "freeze", at, said))


def _told(
    planned: Planned, scope: Scope, contents: Mapping[str, Any], version: int, at: datetime
) -> dict[str, Any]:
    """What a report says of itself."""
    start, end = planned.period.bounds(scope.zone)
    whose = next(iter(contents["enterprises"].items()), ("", ""))
    own = planned.enterprise_id is not None
    return {
        "id": planned.report_id,
        "kind": planned.kind,
        "first": planned.first_day.isoformat(),
        "last": planned.last_day.isoformat(),
        "from": rfc3339(start),
        "to": rfc3339(scope.until(at)),
        "time_zone": scope.zone.key,
        "enterprise": {"code": whose[0], "name": whose[1]} if own else None,
        "version": version,
        "asked_by": planned.asked_by,
        "asked_at": rfc3339(planned.asked_at),
        "due_at": rfc3339(planned.due_at),
        "frozen_at": rfc3339(at),
        "provisional": at < end,
        "late": planned.by_calendar and at > planned.due_at + LATE_AFTER,
    }


def _act(planned: Planned, action: str, at: datetime, said: Mapping[str, Any]) -> Act:
    return Act(
        "report",
        str(planned.report_id),
        action,
        "system",
        "system",
        at,
        body=report_store.body_of(planned, **said),
        enterprise_id=planned.enterprise_id,
    )


async def _now(conn: Connection) -> datetime:
    found: datetime = await _value(conn, NOW)
    return found


async def _value(conn: Connection, query: str) -> Any:
    row = await (await conn.execute(query)).fetchone()
    assert row is not None  # one value
    return row[0]
