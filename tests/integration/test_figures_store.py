"""What the figures are counted from: alarms as raised, whatever became of anything since."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from uuid import UUID

import psycopg
import pytest
from psycopg import AsyncConnection, errors

from hazardloop.alarms import agreement, figure_store, ledger_figures
from hazardloop.alarms.alarm import Action, Stage, Tier
from hazardloop.alarms.facts import Facts
from hazardloop.alarms.figures import FIGURES, GroupBy, counts, grouped, spreads, whole
from hazardloop.alarms.packed_months import PackedMonths
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


async def facts(desk: Desk, *, start: datetime = RAISED_AT, end: datetime = END) -> Facts:
    """Facts of the period: the same whether packed or not, and as the ledger alone tells them."""
    codes = {number: code for code, number in desk.ids.items()}
    ids = list(codes)
    fresh = await figure_store.facts_of(desk.owner, start, end, ids)
    await figure_store.pack(desk.owner)
    packed = await figure_store.facts_of(desk.owner, start, end, ids)
    for group_by in GroupBy:
        told = [
            (groups.keys, counts(one, groups, tuple(FIGURES)), spreads(one, groups))
            for one in (fresh, packed)
            for groups in [
                grouped(one, group_by, {number: code for code, number in desk.ids.items()})
            ]
        ]
        assert told[0] == told[1]
    with psycopg.connect(desk.conninfo) as conn:
        accounts = ledger_figures.read(conn)
    assert accounts.published is not None
    for account in (accounts.tables, accounts.published):
        matched = agreement.match(accounts.ledger, account)
        assert agreement.differences(matched) == []
        assert list(agreement.figures_that_differ(matched)) == []
    return packed


async def handled(desk: Desk, **period: datetime) -> dict[str, int]:
    """Every figure of the period."""
    found = await facts(desk, **period)
    return counts(found, whole(found), tuple(FIGURES))[0]


async def handled_by(desk: Desk, group_by: GroupBy) -> dict[str, dict[str, int]]:
    found = await facts(desk)
    groups = grouped(found, group_by, {number: code for code, number in desk.ids.items()})
    return dict(zip(groups.keys, counts(found, groups, tuple(FIGURES)), strict=True))


async def test_an_alarm_counts_in_the_period_in_which_it_was_raised(desk: Desk) -> None:
    for at in (RAISED_AT - timedelta(microseconds=1), RAISED_AT, END):
        await open_case(desk.owner, raised_at=at)
    assert (await handled(desk))["raised"] == 1


async def test_all_closed_with_a_verdict_is_a_rate_of_one(desk: Desk) -> None:
    await closed_case(desk, tier=Tier.RED)
    await closed_case(desk)
    found = await handled(desk)
    assert (found["raised"], found["closed"], found["on_time"]) == (2, 2, 2)
    await open_case(desk.owner, enterprise="E2", kind="smoke_detector")
    by = await handled_by(desk, GroupBy.ENTERPRISE)
    assert {key: (one["closed"], one["raised"]) for key, one in by.items()} == {
        "E1": (2, 2),
        "E2": (0, 1),
    }


async def test_an_alarm_whose_signal_cleared_and_one_without_a_case_are_not_handled(
    desk: Desk,
) -> None:
    case_id = await open_case(desk.owner)
    await clear_signal(desk.owner, [(await desk.load(case_id)).alarm_id], RAISED_AT)
    await raise_alarms(desk.owner)
    found = await handled(desk)
    assert (found["raised"], found["closed"], found["open"]) == (2, 0, 2)
    assert (found["returned"], found["reopened"]) == (0, 0)


async def test_a_reopened_case_is_open_again(desk: Desk) -> None:
    case_id = await closed_case(desk)
    assert (await handled(desk))["closed"] == 1
    await desk.take(case_id, Action.REOPEN, OFFICER)
    found = await handled(desk)
    assert (found["closed"], found["open"], found["reopened"]) == (0, 1, 1)


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
    found = await handled(desk)
    assert (found["closed"], found["on_time"]) == (1, on_time)


async def test_drills_are_told_apart(desk: Desk) -> None:
    await open_case(desk.owner, drill=True)
    found = await handled(desk)
    assert (found["raised"], found["drills"]) == (0, 1)


@pytest.mark.parametrize(
    ("answered", "responded"),
    [
        pytest.param(timedelta(minutes=30), (1, 1, 1), id="both within 30 minutes"),
        pytest.param(timedelta(minutes=30, seconds=1), (0, 1, 0), id="one side came too late"),
    ],
)
async def test_a_response_is_the_signature_of_both_sides(
    desk: Desk, answered: timedelta, responded: tuple[int, ...]
) -> None:
    case_id = await open_case(desk.owner)
    await desk.take(case_id, Action.SIGN, desk.site, taken_at=RAISED_AT + timedelta(minutes=2))
    assert (await handled(desk))["responded"] == 0
    await desk.take(case_id, Action.SIGN, OFFICER, taken_at=RAISED_AT + answered)
    found = await handled(desk)
    names = ("responded", "responded_enterprise", "responded_authority")
    assert tuple(found[name] for name in names) == responded
    late = (found["late_sign_enterprise"], found["late_sign_authority"])
    assert late == (0, 1 - responded[0])


async def test_a_side_of_several_posts_is_one_side_and_its_alarm_one_alarm(desk: Desk) -> None:
    await desk.owner.execute('UPDATE device SET tags = \'{"maintenance_unit": "维保一队"}\'')
    case_id = await open_case(desk.owner)
    assert len((await desk.load(case_id)).assignments) == 3
    await desk.take(case_id, Action.SIGN, OFFICER)
    await desk.take(case_id, Action.SIGN, desk.site, taken_at=RAISED_AT + timedelta(minutes=2))
    found = await handled(desk)
    assert (found["raised"], found["responded_enterprise"], found["responded"]) == (1, 0, 0)
    await desk.take(case_id, Action.SIGN, desk.site, taken_at=RAISED_AT + timedelta(hours=2))
    found = await handled(desk)
    assert (found["raised"], found["responded"], found["responded_authority"]) == (1, 0, 1)
    assert (found["late_sign_enterprise"], found["late_sign_authority"]) == (1, 0)


async def test_packing_again_uses_up_no_numbers_of_words(desk: Desk) -> None:
    for _ in range(3):
        await open_case(desk.owner)
        await figure_store.pack(desk.owner)
    numbers = await desk.owner.execute(
        "SELECT count(*), (SELECT last_value FROM figure_word_word_id_seq) FROM figure_word"
    )
    known, last = await numbers.fetchone() or (0, 0)
    assert known == last


async def test_nobody_shrinks_a_denominator_or_moves_an_alarm(desk: Desk) -> None:
    await open_case(desk.owner)
    before = [await handled_by(desk, group_by) for group_by in (GroupBy.KIND, GroupBy.AREA)]
    await desk.owner.execute("UPDATE device SET kind = 'tank', code = code || '-old'")
    await desk.owner.execute("UPDATE enterprise SET code = 'X' || code, area = '别处'")
    # Packed anew from the alarms themselves, the figures are still what they were.
    await desk.owner.execute("DELETE FROM figure_block; DELETE FROM figure_progress")
    after = [await handled_by(desk, group_by) for group_by in (GroupBy.KIND, GroupBy.AREA)]
    assert after == before
    assert [list(each) for each in after] == [["gas_detector"], ["城东监管所"]]
    for rewriting in (
        "raised_kind = 'tank'",
        "raised_area = '别处'",
        "drill = true",
        "raised_at = now()",
    ):
        with pytest.raises(errors.CheckViolation):
            await desk.owner.execute(f"UPDATE alarm SET {rewriting}")


async def test_an_enterprise_counts_its_own_alarms_only(desk: Desk) -> None:
    await open_case(desk.owner)
    await open_case(desk.owner, enterprise="E2")
    both = list(desk.ids.values())
    for packed in (False, True):
        if packed:
            await figure_store.pack(desk.owner)
        async with as_request(desk.conninfo, desk.scope["E2"]) as conn:
            seen = await figure_store.facts_of(conn, RAISED_AT, END, both)
        assert seen.column("enterprise").tolist() == [desk.ids["E2"]]
        only = await figure_store.facts_of(desk.owner, RAISED_AT, END, [desk.ids["E1"]])
        assert only.column("enterprise").tolist() == [desk.ids["E1"]]


async def test_what_one_enterprise_read_is_kept_from_another(desk: Desk) -> None:
    await open_case(desk.owner)
    await open_case(desk.owner, enterprise="E2")
    await figure_store.pack(desk.owner)
    kept, both = PackedMonths(), list(desk.ids.values())
    for _ in range(2):  # the second time everything is remembered
        for code in ("E1", "E2"):
            async with as_request(desk.conninfo, desk.scope[code]) as conn:
                seen = await figure_store.facts_of(conn, RAISED_AT, END, both, kept=kept)
            assert seen.column("enterprise").tolist() == [desk.ids[code]]
        seen = await figure_store.facts_of(desk.owner, RAISED_AT, END, both, kept=kept)
        assert sorted(seen.column("enterprise").tolist()) == sorted(desk.ids.values())
        only = [desk.ids["E1"]]
        seen = await figure_store.facts_of(desk.owner, RAISED_AT, END, only, kept=kept)
        assert seen.column("enterprise").tolist() == only


async def test_what_is_kept_is_read_again_once_it_was_packed_anew(desk: Desk) -> None:
    kept, ids = PackedMonths(), list(desk.ids.values())
    month = timedelta(days=31)
    first = await open_case(desk.owner, raised_at=RAISED_AT - 2 * month)
    second = await open_case(desk.owner)

    async def told() -> dict[str, int]:
        start = RAISED_AT - 3 * month
        found = await figure_store.facts_of(desk.owner, start, END, ids, kept=kept)
        return counts(found, whole(found), ("raised", "closed"))[0]

    await figure_store.pack(desk.owner)
    assert await told() == {"raised": 2, "closed": 0}
    read_once = kept.bytes
    assert await told() == {"raised": 2, "closed": 0}
    assert kept.bytes == read_once
    for case_id in (first, second):
        await clear_signal(desk.owner, [(await desk.load(case_id)).alarm_id], RAISED_AT)
        await desk.bring_to(case_id, Stage.CLOSED)
        expected = {"raised": 2, "closed": 1 if case_id == first else 2}
        assert await told() == expected  # from the alarms
        await figure_store.pack(desk.owner)
        assert await told() == expected  # from blocks that were packed anew
    # A database that was restored holds other blocks, whatever their numbers.
    await desk.owner.execute("DELETE FROM figure_block; DELETE FROM figure_progress")
    assert await told() == {"raised": 2, "closed": 2}


async def test_what_changes_after_packing_is_counted_at_once_and_packed_the_next_time(
    desk: Desk,
) -> None:
    first = await open_case(desk.owner)
    assert await figure_store.pack(desk.owner) == 1
    assert await figure_store.pack(desk.owner) == 0
    await open_case(desk.owner, tier=Tier.RED)
    await clear_signal(desk.owner, [(await desk.load(first)).alarm_id], RAISED_AT)
    await desk.bring_to(first, Stage.CLOSED)
    ids = list(desk.ids.values())
    found = await figure_store.facts_of(desk.owner, RAISED_AT, END, ids)
    assert counts(found, whole(found), ("raised", "closed")) == [{"raised": 2, "closed": 1}]
    assert await figure_store.pack(desk.owner) == 2
    # From now on the blocks alone tell it: nothing of it is newer than they are.
    packed = await desk.rows("SELECT sum(length(ids)) / 16 AS alarms FROM figure_block")
    assert packed[0]["alarms"] == 2
    # Another life of the counter (a restored database): blocks are not believed.
    await desk.owner.execute("UPDATE live_counter SET epoch = gen_random_uuid()")
    assert await figure_store.pack(desk.owner) == 2


SAID = """
    INSERT INTO alarm_change (alarm_id, version, change, tier, changed_at, actor)
    VALUES (%s, %s, %s, 2, %s, %s)"""


async def test_the_first_acknowledgement_that_stands_is_counted_whatever_sounds_again(
    desk: Desk,
) -> None:
    case_id = await open_case(desk.owner)
    alarm_id = (await desk.load(case_id)).alarm_id
    history = (
        ("acknowledged", 1, "chen"),
        ("unacknowledged", 2, "chen"),
        ("acknowledged", 3, "zhao"),
        ("re_alarmed", 9, None),
        ("acknowledged", 10, "chen"),
    )
    for version, (change, minute, actor) in enumerate(history, start=10):
        at = RAISED_AT + timedelta(minutes=minute)
        await desk.owner.execute(SAID, [alarm_id, version, change, at, actor])
    await desk.owner.execute("SELECT note_live_changes(%s::uuid[])", [[alarm_id]])
    by = await handled_by(desk, GroupBy.OPERATOR)
    assert {key: one["raised"] for key, one in by.items()} == {"zhao": 1}
    found = await facts(desk)
    assert found.column("acknowledged").tolist() == [180.0]
