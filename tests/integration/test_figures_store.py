"""What the figures are counted from: alarms as raised, whatever became of anything since."""

from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID

import pytest
from psycopg import AsyncConnection

from hazardloop.alarms import figure_store
from hazardloop.alarms.alarm import Action, Stage, Tier
from hazardloop.alarms.figures import GroupBy, Record, handling, handling_by
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

END = RAISED_AT + timedelta(hours=1)


@pytest.fixture
async def desk(database: str) -> AsyncIterator[Desk]:
    async with await AsyncConnection.connect(database, autocommit=True) as owner:
        yield Desk(database, owner, await found_district(owner))


async def closed_case(desk: Desk, **alarm: object) -> UUID:
    """A case walked to its end in a minute."""
    case_id = await open_case(desk.owner, **alarm)
    await clear_signal(desk.owner, [(await desk.load(case_id)).alarm_id], RAISED_AT)
    await desk.bring_to(case_id, Stage.CLOSED)
    return case_id


async def figures(desk: Desk) -> list[Record]:
    return await figure_store.raised_in(desk.owner, RAISED_AT, END)


async def test_an_alarm_counts_in_the_period_in_which_it_was_raised(desk: Desk) -> None:
    for at in (RAISED_AT - timedelta(microseconds=1), RAISED_AT, END):
        await open_case(desk.owner, raised_at=at)
    assert handling(await figures(desk)).raised == 1


async def test_all_closed_with_a_verdict_is_a_rate_of_one(desk: Desk) -> None:
    await closed_case(desk, tier=Tier.RED)
    await closed_case(desk)
    whole = handling(await figures(desk))
    assert (whole.raised, whole.closed, whole.on_time, whole.rate) == (2, 2, 2, 1.0)
    await open_case(desk.owner, enterprise="E2", kind="smoke_detector")
    by = handling_by(await figures(desk), GroupBy.ENTERPRISE)
    assert {key: one.rate for key, one in by.items()} == {"E1": 1.0, "E2": 0.0}


async def test_an_alarm_whose_signal_cleared_and_one_without_a_case_are_not_handled(
    desk: Desk,
) -> None:
    case_id = await open_case(desk.owner)
    await clear_signal(desk.owner, [(await desk.load(case_id)).alarm_id], RAISED_AT)
    await raise_alarms(desk.owner)
    whole = handling(await figures(desk))
    assert (whole.raised, whole.closed, whole.open) == (2, 0, 2)


async def test_a_reopened_case_is_open_again(desk: Desk) -> None:
    case_id = await closed_case(desk)
    await desk.take(case_id, Action.REOPEN, OFFICER)
    assert handling(await figures(desk)).rate == 0.0


@pytest.mark.parametrize(
    ("submit_after", "close_after", "on_time"),
    [
        pytest.param(timedelta(hours=72), timedelta(hours=24), 1, id="to the last moment"),
        pytest.param(timedelta(hours=72, seconds=1), timedelta(), 0, id="a late report"),
        pytest.param(timedelta(), timedelta(hours=24, seconds=1), 0, id="a late review"),
    ],
)
async def test_on_time_is_report_and_review_within_their_deadlines(
    desk: Desk, submit_after: timedelta, close_after: timedelta, on_time: int
) -> None:
    case_id = await open_case(desk.owner)
    await clear_signal(desk.owner, [(await desk.load(case_id)).alarm_id], RAISED_AT)
    await desk.bring_to(case_id, Stage.HANDLING)
    verified_at = RAISED_AT + timedelta(minutes=1)  # when the report's clock began
    submitted_at = verified_at + submit_after
    await desk.take(case_id, Action.SUBMIT, desk.site, taken_at=submitted_at, **REPORT)
    await desk.take(case_id, Action.CLOSE, OFFICER, taken_at=submitted_at + close_after)
    whole = handling(await figures(desk))
    assert (whole.closed, whole.on_time) == (1, on_time)


async def test_drills_are_told_apart(desk: Desk) -> None:
    await open_case(desk.owner, drill=True)
    whole = handling(await figures(desk))
    assert (whole.raised, whole.drills, whole.rate) == (0, 1, None)


async def test_renaming_moving_and_dismissing_shrinks_no_denominator(desk: Desk) -> None:
    await open_case(desk.owner)
    await desk.owner.execute("UPDATE device SET kind = 'tank', code = code || '-old'")
    await desk.owner.execute("UPDATE enterprise SET code = 'X' || code")
    assert handling(await figures(desk)).raised == 1


async def test_an_enterprise_counts_its_own_alarms_only(desk: Desk) -> None:
    await open_case(desk.owner)
    await open_case(desk.owner, enterprise="E2")
    async with as_request(desk.conninfo, desk.scope["E2"]) as conn:
        seen = await figure_store.raised_in(conn, RAISED_AT, END)
    assert [one.enterprise for one in seen] == ["E2"]
    only = await figure_store.raised_in(desk.owner, RAISED_AT, END, int(desk.scope["E1"]))
    assert [one.enterprise for one in only] == ["E1"]
