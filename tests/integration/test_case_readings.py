"""The readings around an alarm stay with its case, whatever retention does."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from uuid import UUID

import pytest
from psycopg import AsyncConnection, errors

from hazardloop.alarms.alarm import Action, Stage
from hazardloop.ingest import rollups
from hazardloop.service.freezing import freeze_due
from tests.cases import OFFICER, RAISED_AT, Desk, clear_signal, found_district, open_case

MINUTE = timedelta(minutes=1)


@pytest.fixture
async def desk(database: str) -> AsyncIterator[Desk]:
    async with await AsyncConnection.connect(database, autocommit=True) as owner:
        yield Desk(database, owner, await found_district(owner))


async def store(desk: Desk, case_id: UUID, *minutes: float) -> None:
    """A reading of the alarm's point so many minutes after its raising, its value the minutes."""
    (row,) = await desk.rows(
        "SELECT point_id FROM alarm JOIN disposal_case USING (alarm_id) WHERE case_id = %s", case_id
    )
    for after in minutes:
        at = RAISED_AT + after * MINUTE
        await desk.owner.execute("SELECT ensure_reading_partitions(%s, %s)", [at.date()] * 2)
        await desk.owner.execute(
            "INSERT INTO reading VALUES (%s, %s, %s, %s, 0)", [row["point_id"], at, at, after]
        )


async def kept(desk: Desk, case_id: UUID) -> dict[tuple[str, int], list[float]]:
    rows = await desk.rows(
        "SELECT around, nth, value FROM case_reading WHERE case_id = %s", case_id
    )
    return {(row["around"], row["nth"]): row["value"] for row in rows}


async def waiting(desk: Desk, since: datetime, until: datetime) -> bool:
    (row,) = await desk.rows("SELECT readings_are_held(%s, %s) AS held", since, until)
    return bool(row["held"])


async def test_windows_are_copied_when_complete_and_again_at_close(desk: Desk) -> None:
    case_id = await open_case(desk.owner)
    alarm_id = (await desk.load(case_id)).alarm_id
    await store(desk, case_id, -31, -30, 0, 29.9, 30)
    assert await freeze_due(desk.owner, RAISED_AT + 34 * MINUTE) == 0, "it is not complete yet"
    assert await waiting(desk, RAISED_AT, RAISED_AT + MINUTE)
    assert await freeze_due(desk.owner, RAISED_AT + 35 * MINUTE) == 1
    assert await kept(desk, case_id) == {("raised", 1): [-30, 0, 29.9]}
    assert not await waiting(desk, RAISED_AT, RAISED_AT + MINUTE)

    await clear_signal(desk.owner, [alarm_id], RAISED_AT + 60 * MINUTE)
    await store(desk, case_id, 60, 80)
    assert await freeze_due(desk.owner, RAISED_AT + 95 * MINUTE) == 1
    await store(desk, case_id, 1)  # late
    await desk.bring_to(case_id, Stage.SUBMITTED)
    close_at = RAISED_AT + 200 * MINUTE
    await desk.take(case_id, Action.CLOSE, OFFICER, taken_at=close_at)
    await store(desk, case_id, 190)
    assert await freeze_due(desk.owner, close_at + 5 * MINUTE) == 3
    assert await kept(desk, case_id) == {
        ("raised", 1): [-30, 0, 29.9],
        ("raised", 2): [-30, 0, 1, 29.9],
        ("cleared", 1): [30, 60, 80],  # the same as before: not twice
        ("closed", 1): [190],
    }
    acts = await desk.rows("SELECT body FROM ledger WHERE subject = 'case_window'")
    assert sorted(act["body"]["readings"] for act in acts) == [1, 3, 3, 3, 4]
    for statement in ("UPDATE case_reading SET value = '{1}'", "DELETE FROM case_reading"):
        with pytest.raises(errors.RestrictViolation):
            await desk.owner.execute(statement)


async def test_retention_waits_for_the_copy_and_takes_nothing_from_it(desk: Desk) -> None:
    long_ago = RAISED_AT - timedelta(days=400)
    case_id = await open_case(desk.owner, raised_at=long_ago)
    await store(desk, case_id, -400 * 1_440, -399 * 1_440)
    await rollups.roll(desk.owner)

    async def days_left() -> int:
        await rollups.tend(desk.owner, raw_days=200, minute_days=900, hour_days=900)
        (row,) = await desk.rows("SELECT count(*) AS left FROM reading")
        return int(row["left"])

    assert await days_left() == 1, "the day of the alarm is held, the one after it is not"
    await freeze_due(desk.owner, RAISED_AT)
    assert await days_left() == 0
    assert await kept(desk, case_id) == {("raised", 1): [-400 * 1_440]}
    await clear_signal(desk.owner, [(await desk.load(case_id)).alarm_id], long_ago + MINUTE)
    await desk.bring_to(case_id, Stage.CLOSED)
    await freeze_due(desk.owner, RAISED_AT + 10 * MINUTE)
    assert (await kept(desk, case_id))[("raised", 1)] == [-400 * 1_440]
    assert ("raised", 2) not in await kept(desk, case_id), "what is gone from the table is not lost"
