"""Who is told of a case: both sides at one instant, once for each tier; and of a return."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from psycopg import AsyncConnection

from hazardloop.alarms import consequences
from hazardloop.alarms.alarm import Action, Stage, Tier
from hazardloop.service.notification.sending import put_into_messages
from tests.cases import OFFICER, RAISED_AT, Desk, found_district, open_case

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
