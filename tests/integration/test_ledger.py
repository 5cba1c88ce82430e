"""The ledger of every act: who may add to it and read it, and that every change of it shows."""

import asyncio
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from psycopg import AsyncConnection, errors, sql
from psycopg.conninfo import make_conninfo

from hazardloop.alarms import figure_store, ledger_reading, ledger_store
from hazardloop.alarms.alarm import Stage
from hazardloop.alarms.errors import ChainBroken
from hazardloop.alarms.facts import Mark
from hazardloop.alarms.ledger import BEGINNING, Checkpoint, Head, sign
from hazardloop.alarms.ledger_store import Act
from hazardloop.service import ledger, ledger_hands
from hazardloop.service.ledger import Verdict
from hazardloop.service.settings import Settings
from tests.cases import RAISED_AT, Desk, clear_signal, found_district, open_case

OUR_LINES = "SELECT subject_id FROM ledger WHERE subject = 'contact' ORDER BY entry_id"
NOW = datetime(2026, 11, 22, 2, 0, tzinfo=UTC)


async def test_an_act_is_written_and_seen_by_whom_it_concerns(database: str) -> None:
    """A line that names no enterprise is for those who see all."""
    async with await AsyncConnection.connect(database, autocommit=True) as owner:
        enterprises = await found_district(owner)
    async with await AsyncConnection.connect(database) as conn:
        await conn.execute("SET LOCAL ROLE hazardloop_api")
        await conn.execute("SELECT set_config('hazardloop.scope', '*', true)")
        for subject_id, enterprise_id in {"own": enterprises["E1"], "ours": None}.items():
            act = Act(
                "contact", subject_id, "made", "wang", "supervisor", NOW,
                body={"post": "superior"}, enterprise_id=enterprise_id,
            )  # fmt: skip
            await ledger_store.note_act(conn, act)
        seen = {}
        for scope in ("*", *map(str, enterprises.values())):
            await conn.execute("SELECT set_config('hazardloop.scope', %s, true)", [scope])
            found = await conn.execute(OUR_LINES)
            seen[scope] = [row[0] for row in await found.fetchall()]
    assert seen == {
        "*": ["own", "ours"], str(enterprises["E1"]): ["own"], str(enterprises["E2"]): []
    }  # fmt: skip


def test_a_request_does_not_speak_for_the_service(database: str) -> None:
    with psycopg.connect(database) as conn:
        conn.execute("SET LOCAL ROLE hazardloop_api")
        conn.execute("SELECT set_config('hazardloop.scope', '*', true)")
        with pytest.raises(errors.InsufficientPrivilege):
            conn.execute(
                "INSERT INTO ledger (subject, subject_id, action, actor, actor_role, taken_at)"
                " VALUES ('drill', '1', 'made', 'system', 'system', now())"
            )


@dataclass(frozen=True)
class Records:
    """A database in which something happened, and the checkpoint of its end."""

    conninfo: str
    kept: list[Checkpoint]


KEY = Ed25519PrivateKey.generate()


@pytest.fixture(scope="module")
def records(postgres: str, template: str) -> Iterator[Records]:
    name = sql.Identifier(f"hazardloop_ledger_{os.getpid()}")
    with psycopg.connect(postgres, autocommit=True) as admin:
        admin.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(name, sql.Identifier(template))
        )
        conninfo = make_conninfo(postgres, dbname=name.as_string().strip('"'))
        asyncio.run(live_through_something(conninfo))
        with psycopg.connect(conninfo) as conn:
            end = ledger_reading.extent(conn).position
            heads = [Head(at, ledger_reading.hash_at(conn, at) or b"") for at in (5, end)]
        yield Records(conninfo, [sign(head, NOW, None, KEY) for head in heads])
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))


async def live_through_something(conninfo: str) -> None:
    """Two alarms, one of them closed; a user that comes and goes."""
    async with await AsyncConnection.connect(conninfo, autocommit=True) as owner:
        desk = Desk(conninfo, owner, await found_district(owner))
        closed = await open_case(owner)
        await clear_signal(owner, [(await desk.load(closed)).alarm_id], RAISED_AT)
        await desk.bring_to(closed, Stage.CLOSED)
        await open_case(owner, enterprise="E2")
        await owner.execute(
            "INSERT INTO user_account (username, display_name, role, password_hash)"
            " VALUES ('zhao', '赵', 'operator', 'the-hash')"
        )
        await owner.execute("UPDATE user_account SET active = false, password_hash = 'another'")


def verdict_on(conn: psycopg.Connection, kept: Sequence[Checkpoint] = ()) -> Verdict:
    return ledger.verify(conn, kept, KEY.public_key().public_bytes_raw(), lambda _: None)


def test_a_ledger_that_nobody_touched_is_whole(records: Records) -> None:
    with psycopg.connect(records.conninfo) as conn:
        verdict = verdict_on(conn, records.kept)
        lines = conn.execute(
            "SELECT subject, action, count(*) FROM ledger WHERE subject <> 'case' GROUP BY 1, 2"
        ).fetchall()
        user = conn.execute("SELECT body FROM ledger WHERE subject = 'user' ORDER BY entry_id")
        made, changed = (row[0] for row in user.fetchall())
    assert verdict.findings == []
    assert verdict.checkpoints == 2
    (month,) = verdict.rates
    assert (month["month"], month["ledger"]) == ("2026-11", month["tables"])
    some = {"raised": 2, "closed": 1, "handling rate": 0.5, "on_time": 1, "responded": 1}
    assert month["ledger"] == month["ledger"] | some
    assert {("alarm", "raised", 2), ("user", "made", 1), ("user", "changed", 1)} <= set(lines)
    assert {("enterprise", "made", 2), ("gateway", "made", 2), ("device", "made", 4)} <= set(lines)
    assert made["password_hash"] == changed["password_hash"] == "secret"
    assert changed["active"] == [True, False]


WATCHED = ("ledger", "ledger_chain", "alarm", "disposal_case", "assignment")

STAMP_ANEW = """
    DO $$
    DECLARE
        ids bigint[] := (SELECT array_agg(entry_id) FROM ledger);
    BEGIN
        DELETE FROM ledger_chain;
        PERFORM append_to_chain(ids);
    END $$"""

TAMPERING = {
    "a changed actor": (
        "UPDATE ledger SET actor = 'li' WHERE entry_id = 7", "position 7: expected"
    ),
    "a changed body": (
        """UPDATE ledger SET body = body || '{"late": false}' WHERE entry_id = 9""",
        "position 9: expected",
    ),
    "a deleted line": ("DELETE FROM ledger WHERE entry_id = 4", "line 4 of the ledger is gone"),
    "a line deleted with its link": (
        "DELETE FROM ledger WHERE entry_id = 4; DELETE FROM ledger_chain WHERE entry_id = 4",
        "position 4 is missing: 5 follows on 3",
    ),
    "two lines that changed places": (
        "UPDATE ledger_chain SET position = 1000 WHERE position = 6;"
        " UPDATE ledger_chain SET position = 6 WHERE position = 7;"
        " UPDATE ledger_chain SET position = 7 WHERE position = 1000",
        "position 6: expected",
    ),
    "a line put in between": (
        "INSERT INTO ledger (subject, subject_id, action, actor, actor_role, taken_at)"
        " VALUES ('user', '1', 'made', 'x', 'x', now())",
        "of the ledger is not in the chain",
    ),
    "a tail cut off": (
        "DELETE FROM ledger WHERE entry_id > 10; DELETE FROM ledger_chain WHERE position > 10",
        "the ledger ends at 10",
    ),
    "everything gone": ("DELETE FROM ledger; DELETE FROM ledger_chain", "the ledger ends at 0"),
    "a chain made anew": (
        f"UPDATE ledger SET actor = 'li' WHERE entry_id = 3; {STAMP_ANEW}",
        "checkpoint of 2026-11-22T02:00:00.000Z at position 5: expected hash",
    ),
    "a chain made anew without a line": (
        f"DELETE FROM ledger WHERE entry_id = 8; {STAMP_ANEW}", "the last 1 lines or more"
    ),
    "an alarm that became a drill": (
        "UPDATE alarm SET drill = true",
        "raised of 2026-11: the ledger gives 2, the tables say 0; by ",
    ),
    "an alarm that nobody raised": (
        "INSERT INTO alarm SELECT (jsonb_populate_record(a, jsonb_build_object("
        "'alarm_id', gen_random_uuid(), 'rule_id', 'smoke_detector.high'))).* FROM alarm a LIMIT 1",
        "the ledger says null",
    ),
    "a case closed by hand": (
        "UPDATE disposal_case SET stage = 'closed', verdict = 'real', cause = 'x', measures = 'x',"
        " closed_by = 'li', closed_at = now(), handlers = '{}'",
        "closed of 2026-11: the ledger gives 1, the tables say 2; by ",
    ),
    "a signature that came earlier": (
        "UPDATE assignment SET signed_at = dispatched_at WHERE signed_at IS NOT NULL",
        "signed_by_enterprise p50_s of 2026-11: the ledger gives 60.0, the tables say 0.0",
    ),
    "a signature on a case that nobody signed": (
        "UPDATE assignment SET signed_at = dispatched_at, signed_by = 'li'",
        "responded of 2026-11: the ledger gives 1, the tables say 2; by ",
    ),
    "a deadline that was moved": (
        "UPDATE assignment SET sign_due_at = dispatched_at",
        "late_sign_authority of 2026-11: the ledger gives 0, the tables say 1; by ",
    ),
    "another verdict": (
        "UPDATE disposal_case SET verdict = 'test' WHERE verdict IS NOT NULL",
        "verdict_real of 2026-11: the ledger gives 1, the tables say 0; by ",
    ),
    "a return that never was": (
        "UPDATE disposal_case SET returned = 1, reopened = 0 WHERE stage = 'closed'",
        "returned of 2026-11: the ledger gives 0, the tables say 1; by ",
    ),
    "an alarm of another month": (
        "UPDATE alarm SET raised_at = raised_at - interval '40 days'",
        "raised of 2026-10: the ledger gives 0, the tables say 2; by ",
    ),
    "an alarm of another district": (
        "UPDATE alarm SET raised_area = '别处'",
        'the ledger says {"area": "城东监管所"}, the tables say {"area": "别处"}',
    ),
    "one alarm closed by hand and another one opened": (
        "UPDATE disposal_case SET stage = CASE stage WHEN 'closed' THEN 'submitted' ELSE 'closed'"
        " END, verdict = 'real', cause = 'x', measures = 'x', closed_by = 'li', closed_at = now(),"
        " handlers = '{}', stage_due_at = NULL",
        "closed of 2026-11: the ledger gives 1, the tables say 1; by ",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("statements", "told"), TAMPERING.values(), ids=TAMPERING.keys())
def test_tampering_is_named(records: Records, statements: str, told: str) -> None:
    """By who owns the tables and switches their triggers off, as no role of the service can."""
    with psycopg.connect(records.conninfo) as conn, conn.transaction(force_rollback=True):
        for table in WATCHED:
            conn.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        conn.execute(statements)
        findings = verdict_on(conn, records.kept).findings
    assert any(told in finding for finding in findings), findings


FLAGGED = """
    UPDATE figure_block SET marks = set_byte(marks, 18, get_byte(marks, 18) | {mark}),
                            version = gen_random_uuid()"""
"""Where the low byte of `flags` of a block's first alarm is."""


async def test_what_is_packed_is_held_against_the_ledger_too(database: str) -> None:
    await live_through_something(database)
    async with await AsyncConnection.connect(database, autocommit=True) as owner:
        assert await figure_store.pack(owner) == 2
        case_id = await open_case(owner)  # since then
    with psycopg.connect(database) as conn:
        assert verdict_on(conn).findings == []
        conn.execute(FLAGGED.format(mark=int(Mark.LATE_SUBMIT)))
        findings = verdict_on(conn).findings
    assert case_id
    told = "late_submit of 2026-11: the ledger gives 0, the packed figures say 2; by "
    assert any(told in finding for finding in findings), findings
    assert not any("the tables say" in finding for finding in findings)


SOMETHING = """
    INSERT INTO ledger (subject, subject_id, action, actor, actor_role, taken_at)
    SELECT 'shift', n::text, 'made', 'w', 'operator', now() FROM generate_series(1, 40) n"""

BREAKS = {
    "nothing is broken": ("SELECT 1", None),
    "in the first part": ("UPDATE ledger SET actor = 'x' WHERE entry_id = 2", "position 2: "),
    "in the last part": ("UPDATE ledger SET actor = 'x' WHERE entry_id = 39", "position 39: "),
    "in several": ("UPDATE ledger SET actor = 'x' WHERE entry_id IN (11, 25, 39)", "position 11: "),
    "where a part begins": ("UPDATE ledger_chain SET hash = sha256('x') WHERE position = 20",
                            "position 20: "),
    "a part begins at a link that is gone": ("DELETE FROM ledger_chain WHERE position = 20",
                                             "position 20 is missing: 21 follows on 19"),
    "a whole part is gone": ("DELETE FROM ledger_chain WHERE position BETWEEN 10 AND 30",
                             "position 10 is missing: 31 follows on 9"),
}  # fmt: skip


@pytest.mark.parametrize(("statement", "told"), BREAKS.values(), ids=BREAKS.keys())
def test_several_processes_find_what_one_finds(
    database: str, statement: str, told: str | None
) -> None:
    with psycopg.connect(database) as owner:
        owner.execute(SOMETHING)
    with psycopg.connect(database) as owner:
        for table in ("ledger", "ledger_chain"):
            owner.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        owner.execute(statement)
    met = {one: {7: b"", 20: b"", 40: b""} for one in ("alone", "parts")}
    heads = {}
    with ledger.snapshot(Settings(database_url=database)) as conn:
        ways: dict[str, Callable[[], Head]] = {
            "alone": lambda: ledger_reading.follow_chain(
                conn, BEGINNING, 40, met["alone"], lambda _: None
            ),
            "parts": lambda: ledger_hands.follow_in_parts(
                conn, database, 40, met["parts"], lambda _: None, hands=4
            ),
        }
        for name, follow in ways.items():
            if told is None:
                heads[name] = follow()
                continue
            with pytest.raises(ChainBroken) as broken:
                follow()
            heads[name] = str(broken.value)
            assert told in heads[name]
    assert heads["alone"] == heads["parts"]
    if told is None:
        assert met["alone"] == met["parts"]
        assert all(met["parts"].values())
