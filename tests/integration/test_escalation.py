"""Escalations in a real database: owed ones are told exactly once, moot ones never."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import AsyncConnection, errors

from hazardloop.alarms import case_store, consequences
from hazardloop.alarms.alarm import Action, Case, Stage, Tier, Verdict
from hazardloop.alarms.chasing import chase
from hazardloop.alarms.deadlines import DUTIES, Duty
from hazardloop.alarms.errors import StepForbidden, StepRefused
from hazardloop.alarms.escalation import PROJECT_LADDER
from hazardloop.service.database import open_pool
from hazardloop.service.jobs import TASKS, Office, run_jobs
from hazardloop.service.settings import read_settings
from tests.cases import (
    OFFICER,
    RAISED_AT,
    REPORT,
    Desk,
    as_request,
    clear_signal,
    found_district,
    open_case,
    raise_alarms,
)

MINUTE = timedelta(minutes=1)


@pytest.fixture
async def desk(database: str) -> AsyncIterator[Desk]:
    async with await AsyncConnection.connect(database, autocommit=True) as owner:
        yield Desk(database, owner, await found_district(owner))


async def opened(desk: Desk, raised_at: datetime = RAISED_AT, **alarm: Any) -> UUID:
    """A case just dispatched, its clocks running."""
    case_id = await open_case(desk.owner, raised_at=raised_at, **alarm)
    case = await desk.load(case_id)
    await consequences.of_opening(desk.owner, [case.alarm_id], raised_at)
    return case_id


async def planned(desk: Desk, case_id: UUID) -> list[dict[str, Any]]:
    return await desk.rows("SELECT * FROM escalation WHERE case_id = %s ORDER BY 1", case_id)


async def waiting_jobs(desk: Desk) -> list[datetime]:
    rows = await desk.rows(
        "SELECT scheduled_at FROM procrastinate.procrastinate_jobs"
        " WHERE status = 'todo' AND task_name = 'escalate' ORDER BY scheduled_at"
    )
    return [row["scheduled_at"] for row in rows]


async def test_both_sides_are_chased_by_themselves(desk: Desk) -> None:
    case_id = await opened(desk, tier=Tier.RED)
    due_at = RAISED_AT + 5 * MINUTE
    rows = await planned(desk, case_id)
    assert sorted((row["party"], row["level"], row["due_at"] - due_at) for row in rows) == [
        (party, level, (level - 1) * 2 * MINUTE)
        for party in ("authority", "enterprise")
        for level in (1, 2, 3, 4)
    ]
    assert await waiting_jobs(desk) == [due_at]

    await desk.take(case_id, Action.SIGN, OFFICER)
    rows = await planned(desk, case_id)
    assert {(row["party"], row["cancelled_by_revision"]) for row in rows} == {
        ("authority", 3),
        ("enterprise", None),
    }
    assert await chase(desk.owner, due_at - MINUTE) == 0
    assert await chase(desk.owner, due_at) == 1
    assert await chase(desk.owner, due_at) == 0
    fired = [row for row in await planned(desk, case_id) if row["fired_at"]]
    assert [(row["party"], row["level"], row["late_by"]) for row in fired] == [
        ("enterprise", 1, timedelta())
    ]
    assert await waiting_jobs(desk) == [due_at, due_at + 2 * MINUTE]

    await desk.take(case_id, Action.SIGN, desk.site, taken_at=due_at + MINUTE)
    assert await chase(desk.owner, due_at + 9 * MINUTE) == 0
    verify_at = due_at + MINUTE + 15 * MINUTE
    assert await waiting_jobs(desk) == [due_at, verify_at], "the one for the signature is gone"


async def test_what_was_missed_is_told_late_and_says_how_late(desk: Desk) -> None:
    case_id = await opened(desk, tier=Tier.RED)
    (before,) = await desk.rows("SELECT seq FROM live_counter")
    back_at = RAISED_AT + 60 * MINUTE
    assert await chase(desk.owner, back_at) == 8
    rows = await planned(desk, case_id)
    notices = await desk.rows(
        "SELECT notice_id, post, party FROM notice WHERE kind = 'overdue' ORDER BY 1"
    )
    assert sorted(row["receipt"] for row in rows) == [[one["notice_id"]] for one in notices]
    assert sum(one["party"] is None for one in notices) == 4, "the district is told for itself"
    assert sorted({row["late_by"] for row in rows}) == [
        49 * MINUTE + n * 2 * MINUTE for n in range(4)
    ]
    lines = await desk.rows(
        "SELECT actor, taken_at, (body ->> 'late_by_s')::float AS late_by_s, enterprise_id"
        " FROM ledger WHERE subject = 'escalation' AND subject_id = %s ORDER BY entry_id",
        str(case_id),
    )
    assert [line["late_by_s"] for line in lines] == sorted(
        (row["late_by"].total_seconds() for row in rows), reverse=True
    )
    assert {(line["actor"], line["taken_at"]) for line in lines} == {("system", back_at)}
    (after,) = await desk.rows("SELECT seq FROM live_counter")
    assert after["seq"] == before["seq"] + 1, "the live list is told once of its alarm"


async def test_a_tier_that_rises_starts_the_chase_anew(desk: Desk) -> None:
    case_id = await opened(desk, tier=Tier.BLUE)
    case = await desk.load(case_id)
    risen_at = RAISED_AT + MINUTE
    await desk.owner.execute(
        "UPDATE alarm SET tier = 4, tier_now = 4 WHERE alarm_id = %s", [case.alarm_id]
    )
    await case_store.tighten_deadlines(desk.owner, [case.alarm_id], risen_at)
    await consequences.of_opening(desk.owner, [case.alarm_id], risen_at)
    rows = await planned(desk, case_id)
    assert {(row["tier"], row["cancelled_by_revision"]) for row in rows} == {(1, 3), (4, None)}
    assert await waiting_jobs(desk) == [risen_at + 5 * MINUTE]


async def test_an_enterprise_sees_its_own_and_forges_none(desk: Desk) -> None:
    case_id = await opened(desk)
    for scope, seen in (("E1", 8), ("E2", 0)):
        async with as_request(desk.conninfo, desk.scope[scope]) as conn:
            found = await conn.execute("SELECT count(*) FROM escalation")
            assert await found.fetchone() == (seen,)
    for forgery, error in (
        ("UPDATE escalation SET fired_at = now()", errors.InsufficientPrivilege),
        ("UPDATE escalation SET due_at = now() + interval '1 year'", errors.InsufficientPrivilege),
        ("DELETE FROM escalation", errors.InsufficientPrivilege),
    ):
        with pytest.raises(error):
            async with as_request(desk.conninfo, "*") as conn:
                await conn.execute(forgery)
    await chase(desk.owner, RAISED_AT + 30 * MINUTE)
    with pytest.raises(errors.CheckViolation, match="ends once"):
        await desk.owner.execute(
            "UPDATE escalation SET fired_at = NULL WHERE case_id = %s", [case_id]
        )
    with pytest.raises(errors.RestrictViolation):
        await desk.owner.execute("DELETE FROM escalation")


async def test_many_at_once_are_planned_in_bulk_and_told_once_by_several_clerks(
    desk: Desk, tmp_path: Path
) -> None:
    alarm_ids = await raise_alarms(desk.owner, 300, tier=Tier.RED)
    async with desk.owner.transaction():
        await case_store.open_cases(desk.owner, alarm_ids, RAISED_AT)
        await consequences.of_opening(desk.owner, alarm_ids, RAISED_AT)
        await consequences.of_opening(desk.owner, alarm_ids, RAISED_AT)
    assert await desk.rows("SELECT count(*) AS n FROM escalation") == [{"n": 2_400}]
    assert await waiting_jobs(desk) == [RAISED_AT + 5 * MINUTE]

    async def clerk() -> int:
        told = 0
        async with await AsyncConnection.connect(desk.conninfo, autocommit=True) as conn:
            while count := await chase(conn, RAISED_AT + 20 * MINUTE, most=50):
                told += count
        return told

    told = await asyncio.gather(clerk(), clerk(), clerk())
    assert sum(told) == 2_400
    lines = await desk.rows(
        "SELECT count(*) AS lines, count(DISTINCT body ->> 'escalation_id') AS levels"
        " FROM ledger WHERE subject = 'escalation'"
    )
    assert lines == [{"lines": 2_400, "levels": 2_400}]


async def test_a_clerk_tells_by_itself_what_is_due(desk: Desk, tmp_path: Path) -> None:
    configured = read_settings({}, tmp_path / "none", database_url=desk.conninfo, home=tmp_path)
    case_id = await opened(desk, tier=Tier.RED)
    clerk = asyncio.create_task(run_jobs(configured))
    while not all(row["fired_at"] for row in await planned(desk, case_id)):  # noqa: ASYNC110  nobody tells us
        await asyncio.sleep(0.05)
    clerk.cancel()
    with suppress(asyncio.CancelledError):
        await clerk
    async with open_pool(desk.conninfo, "test") as pool:
        await TASKS["escalate"](Office(configured, pool), {})
    lines = await desk.rows("SELECT count(*) AS n FROM ledger WHERE subject = 'escalation'")
    assert lines == [{"n": 8}]


# Random histories against an oracle that knows nothing of rows: it walks along the time.


@dataclass
class Told:
    """What must have been told, by a straight account of who owed what from when to when."""

    fired: set[tuple[str, str, int, int, datetime]] = field(default_factory=set)

    def look(self, case: Case, now: datetime) -> None:
        """Everything that is owed at `now` and due by then has been told at the latest now."""
        duty = DUTIES.get(case.stage)
        if duty is None or case.stage_due_at is None:
            return
        owing = {Duty.REVIEW: "authority"}.get(duty, "enterprise")
        due = [(owing, case.stage_due_at)]
        if duty is Duty.SIGN:
            due = [(one.party, one.sign_due_at) for one in case.assignments if not one.signed_at]
        wait = PROJECT_LADDER.waits[duty][case.tier]
        self.fired |= {
            (duty, party, int(case.tier), level, at + (level - 1) * wait)
            for party, at in due
            for level in (1, 2, 3, 4)
            if at + (level - 1) * wait <= now
        }


STEPS: dict[Action, dict[str, Any]] = {
    Action.SIGN: {},
    Action.VERIFY: {"verdict": Verdict.REAL},
    Action.HANDLE: {},
    Action.SUBMIT: REPORT,
    Action.RETURN: {"note": "补充"},
    Action.CLOSE: {},
    Action.REOPEN: {},
    Action.COMMENT: {"note": "已通知"},
}
PACES = st.sampled_from([0, 1, 7, 25, 90, 600, 2_000])
DEEDS = st.one_of(st.sampled_from([*STEPS]), st.sampled_from(["look", "rise"]))


@settings(
    max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(
    tier=st.sampled_from([Tier.BLUE, Tier.YELLOW]),
    history=st.lists(st.tuples(PACES, DEEDS, st.booleans()), min_size=5, max_size=25),
)
def test_exactly_the_levels_owed_are_told_in_any_history(
    database: str, tier: Tier, history: list[tuple[int, Any, bool]]
) -> None:
    asyncio.run(_live_through(database, tier, history))


async def _live_through(database: str, tier: Tier, history: list[tuple[int, Any, bool]]) -> None:
    async with await AsyncConnection.connect(database, autocommit=True) as owner:
        if not await (await owner.execute("SELECT 1 FROM enterprise")).fetchone():
            await found_district(owner)
        rows = await (await owner.execute("SELECT code, enterprise_id FROM enterprise")).fetchall()
        desk = Desk(database, owner, dict(rows))
        case_id, now, told = await opened(desk, tier=tier), RAISED_AT, Told()
        await clear_signal(owner, [(await desk.load(case_id)).alarm_id], now)
        for minutes, deed, by_site in history:
            now += minutes * MINUTE
            if deed == "look":
                told.look(await desk.load(case_id), now)
                while await chase(owner, now, most=3):
                    pass
            elif deed == "rise":
                await _rise(desk, case_id, now)
            else:
                actor = desk.site if by_site else OFFICER
                with suppress(StepRefused, StepForbidden):
                    await desk.take(case_id, deed, actor, taken_at=now, **STEPS[deed])
        rows = await planned(desk, case_id)
        fired = [
            (r["duty"], r["party"], r["tier"], r["level"], r["due_at"])
            for r in rows
            if r["fired_at"]
        ]
        assert sorted(fired) == sorted(told.fired)
        assert all(row["late_by"] >= timedelta() for row in rows if row["fired_at"])
        case = await desk.load(case_id)
        left = {row["duty"] for row in rows if not row["fired_at"] and not row["cancelled_at"]}
        assert left <= {DUTIES.get(case.stage)}, "what nobody owes any more is not waiting"
        if case.stage is Stage.CLOSED:
            assert left == set()


async def _rise(desk: Desk, case_id: UUID, now: datetime) -> None:
    """The alarm goes one tier up, as far as yellow: what is worse needs evidence to go on."""
    case = await desk.load(case_id)
    if case.tier < Tier.YELLOW:
        await desk.owner.execute(
            "UPDATE alarm SET tier = tier + 1 WHERE alarm_id = %s", [case.alarm_id]
        )
        async with desk.owner.transaction():
            await case_store.tighten_deadlines(desk.owner, [case.alarm_id], now)
            await consequences.of_opening(desk.owner, [case.alarm_id], now)
