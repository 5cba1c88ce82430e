"""Whatever somebody does to look better, a figure stays, or it is told: the ledger and its check.

Each attack is made on a district with an open, a closed and an overdue case and a drill. Afterwards
every figure, in the whole and in every group, is counted anew from the alarms themselves and is to
be what it was; and `ledger verify` is to find nothing, or to name what was done.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import AsyncConnection, errors

from hazardloop.alarms import case_store, disposal, figure_store, hold_store
from hazardloop.alarms.alarm import Action, Actor, Role, Stage, Step, Tier
from hazardloop.alarms.errors import StepRefused
from hazardloop.alarms.figures import FIGURES, GroupBy, counts, grouped, spreads
from hazardloop.alarms.hold import Hold, Wish
from hazardloop.alarms.hold_store import Permit, Scope
from hazardloop.service import ledger, ledger_watch
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

OPERATOR = Actor("zhao", "赵六", Role.OPERATOR)
HOUR = timedelta(hours=1)
PEOPLE = """
    INSERT INTO user_account (username, display_name, role, password_hash, enterprise_id)
    VALUES ('zhao', '赵六', 'operator', '-', NULL), ('li', '李四', 'authority', '-', NULL),
           ('zhang', '张三', 'enterprise', '-', %s)"""
ACKNOWLEDGED = """
    WITH said AS (
        INSERT INTO alarm_change (alarm_id, version, change, tier, changed_at, actor)
        SELECT alarm_id, 50, 'acknowledged', tier, raised_at + interval '2 minutes', 'zhao'
          FROM alarm RETURNING alarm_id
    ) SELECT note_live_changes(array_agg(alarm_id)) FROM said"""


class Town:
    """The district that is attacked."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.owner = desk.owner
        self.open: UUID
        self.other: UUID
        self.closed: UUID

    async def settle(self) -> None:
        """Two open cases of one device, one closed, one late, a drill."""
        await self.owner.execute(PEOPLE, [self.desk.ids["E1"]])
        self.open = await open_case(self.owner, tier=Tier.ORANGE)
        self.other = await open_case(self.owner, tier=Tier.ORANGE)
        self.closed = await self._walked_to(Stage.CLOSED)
        late = await self._walked_to(Stage.HANDLING)
        await self.desk.take(
            late, Action.SUBMIT, self.desk.site, taken_at=RAISED_AT + 400 * HOUR, **REPORT
        )
        await open_case(self.owner, drill=True)
        await self.owner.execute(ACKNOWLEDGED)

    async def _walked_to(self, stage: Stage) -> UUID:
        case_id = await open_case(self.owner)
        await clear_signal(self.owner, [await self.alarm_of(case_id)], RAISED_AT)
        await self.desk.bring_to(case_id, stage)
        return case_id

    async def alarm_of(self, case_id: UUID) -> UUID:
        return (await self.desk.load(case_id)).alarm_id

    async def figures(self) -> dict[GroupBy, Any]:
        """Every figure and station of every group, from the alarms themselves."""
        await self.owner.execute("DELETE FROM figure_block; DELETE FROM figure_progress")
        ids = {number: str(number) for number in self.desk.ids.values()}
        facts = await figure_store.facts_of(
            self.owner, RAISED_AT - 24 * HOUR, RAISED_AT + 24 * HOUR, ids
        )
        split = {by: grouped(facts, by, ids) for by in GroupBy}
        return {
            by: (groups.keys, counts(facts, groups, tuple(FIGURES)), spreads(facts, groups))
            for by, groups in split.items()
        }

    def findings(self) -> list[str]:
        """What `ledger verify` says."""
        with psycopg.connect(self.desk.conninfo) as conn:
            return ledger.verify(conn, [], None, lambda _: None).findings

    async def told(self, subject: str, action: str) -> bool:
        """Whether the ledger has such a line."""
        query = "SELECT FROM ledger WHERE subject = %s AND action = %s"
        return bool(await self.desk.rows(query, subject, action))

    async def by_service(self, statement: str, *arguments: Any) -> None:
        """As the processes of the service may, whatever runs in them."""
        async with await AsyncConnection.connect(self.desk.conninfo) as conn:
            await conn.execute("SET ROLE hazardloop_service")
            await conn.execute(statement, arguments)

    async def refused(self, *statements: str) -> None:
        """Each by a guard of the database, even for who owns the tables."""
        for statement in statements:
            with pytest.raises((errors.IntegrityError, errors.InsufficientPrivilege)):
                await self.owner.execute(statement)


@pytest.fixture
async def town(database: str) -> AsyncIterator[Town]:
    async with await AsyncConnection.connect(database, autocommit=True) as owner:
        town = Town(Desk(database, owner, await found_district(owner)))
        await town.settle()
        yield town


async def delete_the_people(town: Town) -> None:
    await town.owner.execute("DELETE FROM user_account WHERE username IN ('zhao', 'li', 'zhang')")
    assert await town.told("user", "removed")


async def rename_and_lock_the_people(town: Town) -> None:
    await town.owner.execute(
        "UPDATE user_account SET username = username || '.old', active = false"
    )
    assert await town.told("user", "changed")


async def shrink_the_rule(town: Town) -> None:
    """A new version that would have raised nothing; the old one cannot be rewritten."""
    await town.owner.execute(
        "INSERT INTO rule_version (rule_id, version, definition)"
        " VALUES ('gas_detector.high', 2, '{\"select\": {\"enterprise\": []}}')"
    )
    assert await town.told("rule", "made")
    await town.refused(
        "UPDATE rule_version SET definition = '{}' WHERE rule_id = 'gas_detector.high'",
        "DELETE FROM rule_version WHERE rule_id = 'gas_detector.high'",
        "UPDATE alarm SET rule_id = 'smoke_detector.high'",
        "UPDATE alarm SET tier = 1",
        "DELETE FROM alarm",
    )


async def close_in_bulk(town: Town) -> None:
    """By the tables, and by the step that belongs to the end."""
    closing = (
        "UPDATE disposal_case SET stage = 'closed', verdict = 'false_alarm', cause = 'x',"
        " measures = 'x', closed_by = 'li', closed_at = now(), revision = revision + 1,"
        " stage_at = now(), stage_due_at = NULL WHERE stage <> 'closed'"
    )
    await town.refused(closing, "DELETE FROM disposal_case", "UPDATE disposal_case SET stage = 'x'")
    with pytest.raises((errors.IntegrityError, errors.InsufficientPrivilege)):
        await town.by_service(closing)
    for case_id in (town.open, town.other):
        with pytest.raises(StepRefused):
            await town.desk.take(case_id, Action.CLOSE, OFFICER)


async def merge_the_cases(town: Town) -> None:
    """Two of one device become one matter, and stay two in every figure."""
    lead, member = await town.desk.load(town.open), await town.desk.load(town.other)
    step = Step(Action.MERGE, OPERATOR, lead.revision, RAISED_AT + HOUR)
    async with as_request(town.desk.conninfo, "*") as conn:
        await disposal.merge(conn, town.open, {town.other: member.revision}, step)
    assert (await town.desk.load(town.open)).members == (town.other,)


async def shelve_the_alarms(town: Town) -> None:
    """The signal keeps quiet; the alarm stays raised and open."""
    now = datetime.now(UTC)
    (point,) = await town.desk.rows(
        "SELECT enterprise_id, device_id, point_id FROM alarm WHERE alarm_id = %s",
        await town.alarm_of(town.open),
    )
    scope = Scope(**point, rule_id="gas_detector.high", while_rule=None)
    wish = Wish(Hold.SHELVED, Tier.ORANGE, now + HOUR, "探头故障，已派人更换")
    async with town.owner.transaction():
        await hold_store.ask(town.owner, wish, scope, Permit(None, None, None), SUPERVISOR, now)
        await hold_store.settle(town.owner, [point["device_id"]], now)
    held = await town.desk.rows("SELECT count(*) AS held FROM alarm WHERE hold_id IS NOT NULL")
    assert held == [{"held": 1}]


async def import_again(town: Town) -> None:
    """The same devices come back as others, elsewhere; those with a history cannot be removed."""
    await town.owner.execute(
        "UPDATE device SET kind = 'tank', code = code || '-old', hazard_unit_id = NULL;"
        " UPDATE enterprise SET code = 'X' || code, area = '别处' WHERE NOT internal"
    )
    assert await town.told("device", "changed")
    assert await town.told("enterprise", "changed")
    await town.refused(
        "DELETE FROM device", "DELETE FROM point", "DELETE FROM enterprise WHERE NOT internal",
        "UPDATE alarm SET raised_kind = 'tank'", "UPDATE alarm SET raised_area = '别处'",
        "UPDATE alarm SET enterprise_id = (SELECT max(enterprise_id) FROM enterprise)",
    )  # fmt: skip
    # The alarm comes once more, and its case is asked for once more.
    assert await case_store.open_cases(town.owner, [await town.alarm_of(town.open)], RAISED_AT) == 0


async def turn_the_clock(town: Town) -> None:
    """It is noted; what was written at which time stays."""
    await ledger_watch.note_clock_step(town.owner, -3_600.0)
    assert await town.told("clock", "moved")
    await town.refused(
        "UPDATE alarm SET raised_at = raised_at - interval '40 days'",
        "UPDATE disposal_case SET opened_at = opened_at + interval '1 hour', revision = revision",
        "UPDATE assignment SET sign_due_at = sign_due_at + interval '1 hour'"
        " WHERE signed_at IS NOT NULL",
        "UPDATE assignment SET signed_at = dispatched_at WHERE signed_at IS NOT NULL",
        "UPDATE ledger SET taken_at = taken_at - interval '1 hour'",
        "UPDATE ledger SET body = '{}'",
        "DELETE FROM ledger",
    )


async def call_it_a_drill(town: Town) -> None:
    """Afterwards: neither the alarm can be marked, nor a drill announced for what has begun."""
    await town.refused(
        "UPDATE alarm SET drill = true",
        "INSERT INTO drill (enterprise_id, kind, title, tier, starts_at, ends_at, announced_by)"
        f" SELECT enterprise_id, 'drill', '演练', 4, '{RAISED_AT.isoformat()}',"
        f" '{(RAISED_AT + HOUR).isoformat()}', 'wang' FROM enterprise WHERE code = 'E1'",
        "UPDATE drill SET starts_at = starts_at - interval '1 hour'",
        "UPDATE drill SET enterprise_id = enterprise_id + 1",
    )


ATTACKS: tuple[Callable[[Town], Awaitable[None]], ...] = (
    delete_the_people,
    rename_and_lock_the_people,
    shrink_the_rule,
    close_in_bulk,
    merge_the_cases,
    shelve_the_alarms,
    import_again,
    turn_the_clock,
    call_it_a_drill,
)


@pytest.mark.parametrize("attack", ATTACKS, ids=[attack.__name__ for attack in ATTACKS])
async def test_no_attack_moves_a_figure(
    town: Town, attack: Callable[[Town], Awaitable[None]]
) -> None:
    before = await town.figures()
    await attack(town)
    assert await town.figures() == before
    assert town.findings() == []


async def test_these_figures_would_show_it(town: Town) -> None:
    """The control: what is done in earnest moves them."""
    before = await town.figures()
    (found,) = before[GroupBy.OPERATOR][1]
    some = {"raised": 4, "closed": 1, "open": 3, "drills": 1, "late_submit": 1}
    assert found == found | some
    await raise_alarms(town.owner)
    after = await town.figures()
    assert after != before
    for case_id in (town.open, town.other):
        await clear_signal(town.owner, [await town.alarm_of(case_id)], RAISED_AT)
        await town.desk.bring_to(case_id, Stage.CLOSED)
    assert await town.figures() != after
    assert town.findings() == []


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        pytest.param(
            "UPDATE alarm SET drill = true WHERE NOT drill",
            "raised of 2026-11: the ledger gives 4, the tables say 0; by ",
            id="marked as a drill afterwards",
        ),
        pytest.param(
            "UPDATE assignment SET sign_due_at = sign_due_at - interval '1 day'",
            "late_sign_enterprise of 2026-11: the ledger gives 0, the tables say 2; by ",
            id="deadlines that moved",
        ),
        pytest.param(
            "DELETE FROM alarm_change WHERE change = 'acknowledged'",
            'the ledger says {"operator": "zhao", "acknowledged": 120.0}, the tables say'
            ' {"operator": "", "acknowledged": null}',
            id="an acknowledgement taken away",
        ),
    ],
)
async def test_who_owns_the_tables_and_goes_around_the_guards_is_named(
    town: Town, statement: str, told: str
) -> None:
    table = statement.split()[2] if statement.startswith("DELETE") else statement.split()[1]
    await town.owner.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
    await town.owner.execute(statement)
    findings = town.findings()
    assert any(told in finding for finding in findings), findings
