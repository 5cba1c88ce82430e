"""Who is told of a case: both sides at one instant, once for each tier; and of a return."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from psycopg import AsyncConnection, errors

from hazardloop.alarms import consequences, hold_store, notice_store
from hazardloop.alarms.alarm import Action, Stage, Tier
from hazardloop.alarms.hold import Ending
from hazardloop.alarms.notices import Notice, NoticeKind, Post
from hazardloop.service.notification.sending import put_into_messages
from tests.cases import OFFICER, RAISED_AT, SUPERVISOR, Desk, found_district, open_case

CONTACTS = """
    INSERT INTO user_account (username, display_name, role, enterprise_id, password_hash)
    SELECT 'zhang', '张三', 'enterprise', enterprise_id, '-' FROM enterprise WHERE code = 'E1';
    INSERT INTO contact (name, user_id, enterprise_id, area, post)
    SELECT '张三', user_id, enterprise_id, '', 'assignee' FROM user_account
    UNION ALL
    SELECT '另一家', NULL, enterprise_id, '', 'assignee' FROM enterprise WHERE code = 'E2'
    UNION ALL VALUES ('监管员', NULL::int, NULL::int, '城东监管所', 'assignee'),
                     ('总值班', NULL, NULL, '', 'assignee'),
                     ('村干部', NULL, NULL, '', 'village')"""


@pytest.fixture
async def desk(database: str) -> AsyncIterator[Desk]:
    async with await AsyncConnection.connect(database, autocommit=True) as owner:
        ids = await found_district(owner)
        await owner.execute(CONTACTS)
        yield Desk(database, owner, ids)


async def told(desk: Desk) -> list[tuple[Any, ...]]:
    rows = await desk.rows("SELECT kind, party, tier, due_at FROM notice ORDER BY notice_id")
    return [tuple(row.values()) for row in rows]


async def opened(desk: Desk, **alarm: Any) -> tuple[UUID, UUID]:
    case_id = await open_case(desk.owner, **alarm)
    ((found,)) = await desk.rows("SELECT alarm_id FROM disposal_case WHERE case_id = %s", case_id)
    async with desk.owner.transaction():
        await consequences.of_opening(desk.owner, [found["alarm_id"]], RAISED_AT)
    return case_id, found["alarm_id"]


async def test_both_sides_are_told_at_one_instant_and_of_each_tier_once(desk: Desk) -> None:
    case_id, alarm_id = await opened(desk, tier=Tier.ORANGE)
    due = RAISED_AT + timedelta(minutes=10)
    both = [("dispatched", "authority", 3, due), ("dispatched", "enterprise", 3, due)]
    assert await told(desk) == both
    instants = await desk.rows("SELECT DISTINCT xmin::text FROM notice")
    assert len(instants) == 1
    async with desk.owner.transaction():
        await consequences.of_opening(desk.owner, [alarm_id], RAISED_AT)
    assert await told(desk) == both
    await desk.owner.execute(
        "UPDATE alarm SET tier = 4, tier_now = 4 WHERE alarm_id = %s", [alarm_id]
    )
    for _ in range(2):
        async with desk.owner.transaction():
            await consequences.of_opening(desk.owner, [alarm_id], RAISED_AT)
    assert [(kind, tier) for kind, _, tier, _ in (await told(desk))[2:]] == [("risen", 4)] * 2

    ids = [row["notice_id"] for row in await desk.rows("SELECT notice_id FROM notice")]
    async with desk.owner.transaction():
        await put_into_messages(desk.owner, ids, datetime.now(UTC))
        await put_into_messages(desk.owner, ids, datetime.now(UTC))
    carried = await desk.rows(
        "SELECT name, count(*) AS n FROM notice_message JOIN contact USING (contact_id)"
        " JOIN notice_in_message USING (message_id) GROUP BY name ORDER BY name"
    )
    assert [tuple(row.values()) for row in carried] == [("张三", 2), ("监管员", 2)]

    await desk.take(case_id, Action.SIGN, desk.site)
    read = await desk.rows(
        "SELECT name, read_by FROM notice_message JOIN contact USING (contact_id)"
        " ORDER BY message_id"
    )
    assert {(row["name"], row["read_by"]) for row in read} == {("张三", "sign"), ("监管员", None)}


async def test_who_has_to_work_on_it_again_is_told_why(desk: Desk) -> None:
    case_id, _ = await opened(desk, tier=Tier.YELLOW)
    await desk.bring_to(case_id, Stage.SUBMITTED)
    await desk.take(case_id, Action.RETURN, OFFICER, note="照片不清")
    (_, _, last) = await desk.rows("SELECT kind, party, body FROM notice ORDER BY notice_id")
    assert tuple(last.values()) == ("returned", "enterprise", {"note": "照片不清"})


async def test_a_notice_does_not_wait_for_who_settles_the_holds_of_its_alarm(desk: Desk) -> None:
    """Who escalates holds what the worker is about to cancel: waiting would close a ring."""
    case_id, alarm_id = await opened(desk, tier=Tier.ORANGE)
    await desk.owner.execute(
        "INSERT INTO alarm_hold (kind, enterprise_id, device_id, point_id, rule_id, tier, reason,"
        " asked_at, asked_by, asked_role, granted_at, granted_by, granted_role, until)"
        " SELECT 'shelved', enterprise_id, device_id, point_id, rule_id, tier, '校准', now(), 'wu',"
        " 'supervisor', now(), 'wu', 'supervisor', now() + interval '30 minutes' FROM alarm"
    )
    settle = "SELECT settle_holds(array_agg(device_id), array_agg(alarm_id), now()) FROM alarm"
    overdue = Notice(
        NoticeKind.OVERDUE, case_id, alarm_id, None, Post.ASSIGNEE, Tier.ORANGE, RAISED_AT
    )
    async with await AsyncConnection.connect(desk.conninfo) as worker:
        assert (await (await worker.execute(settle)).fetchone()) == ([alarm_id],)
        async with desk.owner.transaction():
            await desk.owner.execute("SET LOCAL lock_timeout = '2s'")
            assert len(await notice_store.queue(desk.owner, [overdue])) == 1
        # A person who ends the hold at that moment is the one to be broken off, not the worker.
        with pytest.raises(errors.LockNotAvailable):
            await release(desk)


async def release(desk: Desk) -> None:
    """Ends the only hold, or fails; a test that would wait for ever ends, too."""
    (hold,) = await desk.rows("SELECT hold_id, device_id FROM alarm_hold")
    async with desk.owner.transaction():
        await desk.owner.execute("SET LOCAL statement_timeout = '20s'")
        await hold_store.end(
            desk.owner, hold["hold_id"], Ending.RELEASED, SUPERVISOR, datetime.now(UTC)
        )
        await hold_store.settle(desk.owner, [hold["device_id"]], datetime.now(UTC))
