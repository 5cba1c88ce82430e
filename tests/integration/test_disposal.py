"""Steps on cases in a real database: saved whole, numbered, refused by it when forged."""

import asyncio
from collections.abc import AsyncIterator
from datetime import date, datetime, timedelta
from uuid import UUID

import pytest
from psycopg import AsyncConnection, errors

from hazardloop.alarms import case_store, disposal
from hazardloop.alarms.alarm import (
    Action,
    Actor,
    Case,
    Party,
    Stage,
    Step,
    Tier,
    Verdict,
    case_id_of,
)
from hazardloop.alarms.errors import CaseOvertaken, CaseUnknown, StepRefused
from tests.cases import (
    OFFICER,
    RAISED_AT,
    REPORT,
    SUPERVISOR,
    Desk,
    as_request,
    clear_signal,
    found_district,
    open_case,
    raise_alarms,
)


@pytest.fixture
async def desk(database: str) -> AsyncIterator[Desk]:
    async with await AsyncConnection.connect(database, autocommit=True) as owner:
        yield Desk(database, owner, await found_district(owner))


async def test_a_case_is_dispatched_to_both_sides_at_the_instant_it_opens(desk: Desk) -> None:
    case = await desk.load(await open_case(desk.owner, tier=Tier.RED))
    assert (case.stage, case.revision, case.tier, case.signal_active) == (
        Stage.DISPATCHED,
        2,
        Tier.RED,
        True,
    )
    assert [(one.party, one.assigned_to) for one in case.assignments] == [
        (Party.ENTERPRISE, "示范化工"),
        (Party.AUTHORITY, "城东监管所"),
    ]
    due_at = RAISED_AT + timedelta(minutes=5)
    assert {(one.dispatched_at, one.sign_due_at) for one in case.assignments} == {
        (RAISED_AT, due_at)
    }
    assert case.stage_due_at == due_at
    ledger = await desk.rows(
        "SELECT revision, action, actor, body FROM ledger WHERE subject = 'case' ORDER BY entry_id"
    )
    assert [(line["revision"], line["action"], line["actor"]) for line in ledger] == [
        (1, "raise", "system"),
        (2, "dispatch", "system"),
    ]
    assert datetime.fromisoformat(ledger[1]["body"]["due_at"]) == due_at


async def test_an_enterprise_without_area_is_supervised_by_the_territorial_department(
    desk: Desk,
) -> None:
    case = await desk.load(await open_case(desk.owner, enterprise="E2"))
    assert case.assignments[1].assigned_to == "属地监管部门"


@pytest.mark.parametrize(
    ("tier", "minutes"), [(Tier.RED, 5), (Tier.ORANGE, 10), (Tier.YELLOW, 30), (Tier.BLUE, 60)]
)
async def test_the_time_to_sign_follows_the_tier(desk: Desk, tier: Tier, minutes: int) -> None:
    case = await desk.load(await open_case(desk.owner, tier=tier))
    assert case.stage_due_at == RAISED_AT + timedelta(minutes=minutes)


async def test_a_flood_opens_all_its_cases_at_once_and_repeated_none(desk: Desk) -> None:
    alarm_ids = await raise_alarms(desk.owner, 3_000, tier=Tier.ORANGE)
    assert await case_store.open_cases(desk.owner, alarm_ids, RAISED_AT) == 3_000
    later = RAISED_AT + timedelta(hours=1)
    assert await case_store.open_cases(desk.owner, alarm_ids, later) == 0
    (counts,) = await desk.rows(
        "SELECT (SELECT count(*) FROM disposal_case) AS cases,"
        " (SELECT count(*) FROM assignment) AS charges,"
        " (SELECT count(*) FROM ledger WHERE subject = 'case') AS lines,"
        " (SELECT count(DISTINCT opened_at) FROM disposal_case) AS instants"
    )
    assert counts == {"cases": 3_000, "charges": 6_000, "lines": 6_000, "instants": 1}
    case = await desk.load(case_id_of(alarm_ids[17]))
    assert case.alarm_id == alarm_ids[17]


async def test_a_case_goes_from_dispatch_to_closed_and_every_step_is_in_the_ledger(
    desk: Desk,
) -> None:
    case_id = await open_case(desk.owner, tier=Tier.RED)
    case = await desk.load(case_id)
    await clear_signal(desk.owner, [case.alarm_id], RAISED_AT + timedelta(minutes=2))
    await desk.bring_to(case_id, Stage.CLOSED)
    closed = await desk.load(case_id)
    assert (closed.stage, closed.closed_by, closed.handlers) == (Stage.CLOSED, "li", ("zhang",))
    assert (closed.verdict, closed.cause) == (Verdict.REAL, "法兰泄漏")
    assert closed.deadline == date(2026, 12, 1)
    ledger = await desk.rows("SELECT * FROM ledger WHERE subject = 'case' ORDER BY entry_id")
    assert [(line["action"], line["actor"], line["body"]["stage"]) for line in ledger] == [
        ("raise", "system", "raised"),
        ("dispatch", "system", "dispatched"),
        ("sign", "zhang", "dispatched"),
        ("sign", "li", "signed"),
        ("verify", "zhang", "verified"),
        ("handle", "zhang", "handling"),
        ("attach", "zhang", "handling"),
        ("submit", "zhang", "submitted"),
        ("close", "li", "closed"),
    ]
    assert [line["revision"] for line in ledger] == list(range(1, closed.revision + 1))
    assert ledger[7]["body"]["deadline"] == "2026-12-01"
    assert [line["body"].get("fulfilled") for line in ledger[3:]] == [
        "sign",
        "verify",
        None,
        None,
        "submit",
        "review",
    ]


async def test_a_step_after_its_deadline_is_written_down_as_late(desk: Desk) -> None:
    case_id = await open_case(desk.owner, tier=Tier.RED)
    late = RAISED_AT + timedelta(minutes=5, microseconds=1)
    await desk.take(case_id, Action.SIGN, OFFICER)
    await desk.take(case_id, Action.SIGN, desk.site, taken_at=late)
    (line,) = await desk.rows("SELECT body FROM ledger ORDER BY entry_id DESC LIMIT 1")
    assert (line["body"]["fulfilled"], line["body"]["late"]) == ("sign", True)


async def test_clearing_the_signal_closes_nothing(desk: Desk) -> None:
    case_id = await open_case(desk.owner)
    before = await desk.load(case_id)
    await clear_signal(desk.owner, [before.alarm_id], RAISED_AT + timedelta(minutes=2))
    after = await desk.load(case_id)
    assert (after.stage, after.revision) == (before.stage, before.revision)
    assert not after.signal_active


async def test_of_two_steps_on_one_revision_exactly_one_wins(desk: Desk) -> None:
    case_id = await open_case(desk.owner)
    await desk.bring_to(case_id, Stage.SIGNED)
    revision = (await desk.load(case_id)).revision
    outcomes = await asyncio.gather(
        *(
            desk.take(case_id, Action.VERIFY, actor, verdict=verdict, revision=revision)
            for actor, verdict in [(desk.site, Verdict.REAL), (SUPERVISOR, Verdict.TEST)]
        ),
        return_exceptions=True,
    )
    (won,) = [outcome for outcome in outcomes if isinstance(outcome, Case)]
    (lost,) = [outcome for outcome in outcomes if not isinstance(outcome, Case)]
    assert isinstance(lost, CaseOvertaken)
    assert (lost.revision, lost.seen) == (revision + 1, revision)
    assert (await desk.load(case_id)).verdict is won.verdict
    assert len(await desk.rows("SELECT FROM ledger WHERE action = 'verify'")) == 1


async def test_a_step_that_waited_for_another_is_overtaken_by_it(desk: Desk) -> None:
    case_id = await open_case(desk.owner)
    await desk.bring_to(case_id, Stage.SIGNED)
    case = await desk.load(case_id)
    async with as_request(desk.conninfo, "*") as first:
        step = Step(Action.VERIFY, SUPERVISOR, case.revision, RAISED_AT, verdict=Verdict.REAL)
        await disposal.take_step(first, case_id, step)
        second = asyncio.create_task(
            desk.take(case_id, Action.VERIFY, desk.site, verdict=Verdict.TEST)
        )
        await _wait_until_it_waits(second, desk)
    with pytest.raises(CaseOvertaken, match=f"at revision {case.revision + 1}"):
        await second


async def _wait_until_it_waits(step: asyncio.Task[Case], desk: Desk) -> None:
    """Returns once the step waits for a lock of the database, or is over."""
    while not step.done() and not await desk.rows(
        "SELECT FROM pg_stat_activity WHERE datname = current_database()"
        " AND wait_event_type = 'Lock'"
    ):
        pass


async def test_both_sides_signing_at_once_both_get_their_turn(desk: Desk) -> None:
    case_id = await open_case(desk.owner)

    async def sign(actor: Actor) -> None:
        while True:
            try:
                await desk.take(case_id, Action.SIGN, actor)
                return
            except CaseOvertaken:
                continue  # read again and sign again, as the page does

    await asyncio.gather(sign(desk.site), sign(OFFICER))
    case = await desk.load(case_id)
    assert (case.stage, case.revision) == (Stage.SIGNED, 4)


async def test_photographs_sent_at_once_are_all_kept(desk: Desk) -> None:
    case_id = await open_case(desk.owner)
    await asyncio.gather(*(desk.attach(case_id, f"第 {n} 张") for n in range(5)))
    case = await desk.load(case_id)
    assert (case.evidence, case.revision) == (5, 7)


async def test_each_step_is_one_number_of_the_live_list_and_one_version_of_its_alarm(
    desk: Desk,
) -> None:
    case_id = await open_case(desk.owner)
    alarm_id = (await desk.load(case_id)).alarm_id
    await desk.bring_to(case_id, Stage.HANDLING)
    with pytest.raises(StepRefused):
        await desk.take(case_id, Action.CLOSE, OFFICER)
    changes = await desk.rows("SELECT seq, alarm_id FROM live_change ORDER BY seq")
    assert changes == [{"seq": n, "alarm_id": alarm_id} for n in range(1, 1 + 1 + 4)]
    (alarm,) = await desk.rows("SELECT version FROM alarm")
    assert alarm["version"] == 1 + 4


async def test_a_refused_step_leaves_nothing_even_if_its_transaction_goes_on(desk: Desk) -> None:
    case_id = await open_case(desk.owner)
    case = await desk.load(case_id)
    async with as_request(desk.conninfo, "*") as conn:
        await conn.execute("UPDATE disposal_case SET revision = revision WHERE false")
        with pytest.raises(CaseOvertaken):
            await disposal.take_step(
                conn, case_id, Step(Action.SIGN, OFFICER, case.revision - 1, RAISED_AT)
            )
    assert await desk.load(case_id) == case
    assert await desk.rows("SELECT seq FROM live_change") == [{"seq": 1}]  # of the raise


async def test_a_case_of_another_enterprise_is_unknown(desk: Desk) -> None:
    case_id = await open_case(desk.owner, enterprise="E2")
    async with as_request(desk.conninfo, desk.scope["E1"]) as conn:
        with pytest.raises(CaseUnknown):
            await disposal.take_step(conn, case_id, Step(Action.SIGN, desk.site, 2, RAISED_AT))
    async with as_request(desk.conninfo, "") as conn:
        assert await case_store.load_case(conn, case_id) is None


async def test_a_permit_lets_a_case_be_closed_and_is_gone_when_it_is_reopened(desk: Desk) -> None:
    case_id = await open_case(desk.owner)
    await desk.bring_to(case_id, Stage.SUBMITTED)
    await desk.take(case_id, Action.ATTACH, SUPERVISOR, permit="探头损坏")
    (row,) = await desk.rows("SELECT bypass_permit FROM disposal_case")
    assert row["bypass_permit"]["granted_by"] == "wang"
    assert row["bypass_permit"]["reason"] == "探头损坏"
    await desk.take(case_id, Action.COMMENT, OFFICER, note="同意")
    await desk.take(case_id, Action.CLOSE, OFFICER)
    await desk.take(case_id, Action.REOPEN, OFFICER)
    assert await desk.rows("SELECT bypass_permit FROM disposal_case") == [{"bypass_permit": None}]


class TestATierThatRises:
    """What happens to the clocks of a case when its alarm gets worse."""

    LATER = RAISED_AT + timedelta(minutes=4)

    async def rise(self, desk: Desk, alarm_id: UUID, tier: Tier = Tier.RED) -> int:
        await desk.owner.execute("UPDATE alarm SET tier = %s, tier_now = %s", [tier, tier])
        return await case_store.tighten_deadlines(desk.owner, [alarm_id], self.LATER)

    async def test_shortens_the_running_clock_and_that_of_who_has_not_signed(
        self, desk: Desk
    ) -> None:
        case_id = await open_case(desk.owner, tier=Tier.YELLOW)
        await desk.take(case_id, Action.SIGN, OFFICER)
        before = await desk.load(case_id)
        assert await self.rise(desk, before.alarm_id) == 1
        after = await desk.load(case_id)
        due_at = self.LATER + timedelta(minutes=5)
        assert (after.stage_due_at, after.revision) == (due_at, before.revision + 1)
        assert [one.sign_due_at for one in after.assignments] == [
            due_at,
            RAISED_AT + timedelta(minutes=30),
        ]
        (line,) = await desk.rows("SELECT * FROM ledger ORDER BY entry_id DESC LIMIT 1")
        assert (line["action"], line["actor"], line["body"]["tier"]) == ("tighten", "system", "red")

    async def test_asks_for_more_than_the_report_brought(self, desk: Desk) -> None:
        case_id = await open_case(desk.owner)
        await desk.bring_to(case_id, Stage.HANDLING)
        short = {"cause": "法兰泄漏", "measures": "更换垫片"}
        await desk.take(case_id, Action.SUBMIT, desk.site, **short)
        alarm_id = (await desk.load(case_id)).alarm_id
        await self.rise(desk, alarm_id)
        await clear_signal(desk.owner, [alarm_id], self.LATER)
        with pytest.raises(StepRefused, match="lacks responsible, funds, deadline, plan"):
            await desk.take(case_id, Action.CLOSE, OFFICER)
        closing = (
            "UPDATE disposal_case SET stage = 'closed', revision = revision + 1,"
            " closed_by = 'li', closed_at = now(), bypass_permit = '{}'"
        )
        with pytest.raises(errors.CheckViolation, match="evidence, also those that rose"):
            await desk.owner.execute(closing)
        await desk.attach(case_id)
        with pytest.raises(errors.CheckViolation, match="red needs responsible"):
            await desk.owner.execute(closing)
        await desk.take(case_id, Action.AMEND, desk.site, **REPORT | short)
        assert (await desk.take(case_id, Action.CLOSE, OFFICER)).stage is Stage.CLOSED

    async def test_never_lengthens_one(self, desk: Desk) -> None:
        case_id = await open_case(desk.owner, tier=Tier.ORANGE)
        alarm_id = (await desk.load(case_id)).alarm_id
        await desk.owner.execute("UPDATE alarm SET tier = 4, tier_now = 4")
        late = RAISED_AT + timedelta(minutes=9)
        await case_store.tighten_deadlines(desk.owner, [alarm_id], late)
        assert (await desk.load(case_id)).stage_due_at == RAISED_AT + timedelta(minutes=10)

    @pytest.mark.parametrize(
        ("stage", "limit"),
        [
            (Stage.SIGNED, timedelta(minutes=15)),
            (Stage.VERIFIED, timedelta(hours=4)),
            (Stage.HANDLING, timedelta(hours=4)),
            (Stage.SUBMITTED, timedelta(hours=23, minutes=57)),
        ],
    )
    async def test_shortens_the_clock_of_whatever_stage(
        self, desk: Desk, stage: Stage, limit: timedelta
    ) -> None:
        case_id = await open_case(desk.owner, tier=Tier.YELLOW)
        await desk.bring_to(case_id, stage)
        await self.rise(desk, (await desk.load(case_id)).alarm_id)
        assert (await desk.load(case_id)).stage_due_at == self.LATER + limit

    async def test_told_twice_counts_once(self, desk: Desk) -> None:
        case_id = await open_case(desk.owner, tier=Tier.YELLOW)
        alarm_id = (await desk.load(case_id)).alarm_id
        assert [await self.rise(desk, alarm_id), await self.rise(desk, alarm_id)] == [1, 0]

    async def test_leaves_a_closed_case_alone(self, desk: Desk) -> None:
        case_id = await open_case(desk.owner, tier=Tier.YELLOW)
        await desk.bring_to(case_id, Stage.SUBMITTED)
        await desk.take(case_id, Action.ATTACH, SUPERVISOR, permit="探头损坏")
        await desk.take(case_id, Action.CLOSE, OFFICER)
        assert await self.rise(desk, (await desk.load(case_id)).alarm_id) == 0

    async def test_overtakes_who_was_about_to_submit_the_lesser_one(self, desk: Desk) -> None:
        case_id = await open_case(desk.owner, tier=Tier.YELLOW)
        await desk.bring_to(case_id, Stage.HANDLING)
        seen = await desk.load(case_id)
        await self.rise(desk, seen.alarm_id)
        with pytest.raises(CaseOvertaken):
            await desk.take(case_id, Action.SUBMIT, desk.site, revision=seen.revision, **REPORT)
