"""What the database refuses, whoever asks: requests with the API's rights, and the service."""

import asyncio
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from itertools import product
from uuid import UUID

import psycopg
import pytest
from psycopg import AsyncConnection, sql
from psycopg.conninfo import make_conninfo

from hazardloop.alarms.alarm import Stage, Tier
from hazardloop.alarms.lifecycle import TRANSITIONS
from tests.cases import RAISED_AT, Desk, clear_signal, found_district, open_case

STANDING = (
    Stage.DISPATCHED,
    Stage.SIGNED,
    Stage.VERIFIED,
    Stage.HANDLING,
    Stage.SUBMITTED,
    Stage.CLOSED,
)


@dataclass(frozen=True)
class Archive:
    """A database with one red case at each stage; only the closed one's signal cleared."""

    conninfo: str
    cases: dict[Stage, UUID]


@pytest.fixture(scope="module")
def archive(postgres: str, template: str) -> Iterator[Archive]:
    name = sql.Identifier(f"hazardloop_forgeries_{os.getpid()}")
    with psycopg.connect(postgres, autocommit=True) as admin:
        admin.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(name, sql.Identifier(template))
        )
        conninfo = make_conninfo(postgres, dbname=name.as_string().strip('"'))
        yield Archive(conninfo, asyncio.run(_fill(conninfo)))
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))


async def _fill(conninfo: str) -> dict[Stage, UUID]:
    async with await AsyncConnection.connect(conninfo, autocommit=True) as owner:
        desk = Desk(conninfo, owner, await found_district(owner))
        cases = {}
        for stage in STANDING:
            case_id = cases[stage] = await open_case(owner, tier=Tier.RED)
            if stage is Stage.CLOSED:
                alarm_id = (await desk.load(case_id)).alarm_id
                await clear_signal(owner, [alarm_id], RAISED_AT + timedelta(minutes=1))
            await desk.bring_to(case_id, stage)
            if stage is Stage.SIGNED:
                await desk.attach(case_id)
        return cases


def attempt(archive: Archive, stage: Stage, statements: str, *, as_request: bool) -> None:
    """Runs statements on the case at `stage` as far as a commit would, then takes them back."""
    with psycopg.connect(archive.conninfo) as conn, conn.transaction(force_rollback=True):
        if as_request:
            conn.execute("SET LOCAL ROLE hazardloop_api")
            conn.execute("SELECT set_config('hazardloop.scope', '*', true)")
        for statement in statements.split("; "):
            conn.execute(
                statement, {"case": archive.cases[stage]} if "%(case)s" in statement else None
            )
        conn.execute("SET CONSTRAINTS ALL IMMEDIATE")


HERE = "WHERE case_id = %(case)s"
ITS_ALARM = f"WHERE alarm_id = (SELECT alarm_id FROM disposal_case {HERE})"
WRITE = (
    "INSERT INTO ledger (case_id, alarm_id, revision, action, actor, actor_role, taken_at)"
    " SELECT case_id, alarm_id, revision, 'comment', 'li', 'authority', now()"
    f" FROM disposal_case {HERE}"
)


def becomes(stage: str, *changes: str) -> str:
    """An update of the case to `stage` as a step would make it, with `changes` beside."""
    changes = (f"stage = '{stage}'", "revision = revision + 1", *changes)
    return f"UPDATE disposal_case SET {', '.join(changes)} {HERE}"


CLOSED_BY_LI = ("closed_by = 'li'", "closed_at = now()")
FIVE = ("responsible = 'x'", "funds = 'x'", "deadline = now()", "plan = 'x'")
REPORTED = ("submitted_by = 'zhang'", "cause = 'x'", "measures = 'x'")

FORGERIES = {
    "closing without a verdict": (
        Stage.SUBMITTED, becomes("closed", "verdict = NULL", "bypass_permit = '{}'", *CLOSED_BY_LI),
        "findings do not change",
    ),
    "closing without cause": (
        Stage.SUBMITTED, becomes("closed", "cause = NULL", "bypass_permit = '{}'", *CLOSED_BY_LI),
        "findings do not change",
    ),
    "closing what was never submitted": (
        Stage.HANDLING, becomes("closed", *CLOSED_BY_LI), "closed does not follow handling",
    ),
    "closing by who handled it": (
        Stage.SUBMITTED, becomes("closed", "closed_by = 'zhang'", "closed_at = now()"),
        "somebody who did not handle it",
    ),
    "forgetting who handled it": (
        Stage.SUBMITTED, becomes("closed", "handlers = '{}'", "closed_by = 'zhang'"),
        "never taken back",
    ),
    "closing under an active signal": (
        Stage.SUBMITTED, becomes("closed", *CLOSED_BY_LI), "its signal is active",
    ),
    "signing for both sides at once": (
        Stage.DISPATCHED, becomes("signed"), "both sides must have signed",
    ),
    "going back to the start": (
        Stage.DISPATCHED, becomes("raised"), "raised does not follow dispatched",
    ),
    "a step that is no revision": (
        Stage.SUBMITTED, f"UPDATE disposal_case SET stage = 'handling', returned = 1 {HERE}",
        "does not follow",
    ),
    "a return that is not counted": (
        Stage.SUBMITTED, becomes("handling"), "a return is counted",
    ),
    "a reopening that is not counted": (
        Stage.CLOSED, becomes("handling"), "a reopening is counted",
    ),
    "other findings in a closed case": (
        Stage.CLOSED, becomes("closed", "verdict = 'test'"), "keeps its findings",
    ),
    "a step without a line in the ledger": (
        Stage.SUBMITTED, becomes("handling", "returned = returned + 1"),
        "has no line in the ledger",
    ),
    "verifying without a verdict": (Stage.SIGNED, becomes("verified"), "no verdict"),
    "handling by nobody": (Stage.VERIFIED, becomes("handling"), "nobody took it in hand"),
    "submitting without cause": (
        Stage.HANDLING, becomes("submitted", "submitted_by = 'zhang'"), "cause and measures",
    ),
    "submitting by a stranger": (
        Stage.HANDLING, becomes("submitted", "submitted_by = 'li'", *REPORTED[1:]),
        "not among its handlers",
    ),
    "submitting red without evidence": (
        Stage.HANDLING, becomes("submitted", *REPORTED, *FIVE), "need evidence",
    ),
    "submitting red without the five": (
        Stage.HANDLING,
        "WITH seen AS (INSERT INTO evidence VALUES (gen_random_uuid(), %(case)s, 'x', 'x', 1, '',"
        " 'zhang', now()) RETURNING case_id) SELECT FROM seen; " + becomes("submitted", *REPORTED),
        "red needs responsible",
    ),
    "handing a case to another alarm": (
        Stage.SIGNED, f"UPDATE disposal_case SET alarm_id = gen_random_uuid() {HERE}",
        "permission denied",
    ),
    "making a case": (
        Stage.SIGNED,
        "INSERT INTO disposal_case SELECT (c).* FROM (SELECT c FROM disposal_case c) AS c",
        "permission denied",
    ),
    "deleting a case": (Stage.SIGNED, f"DELETE FROM disposal_case {HERE}", "permission denied"),
    "emptying the cases": (Stage.SIGNED, "TRUNCATE disposal_case CASCADE", "permission denied"),
    "deleting an alarm": (Stage.SIGNED, f"DELETE FROM alarm {ITS_ALARM}", "permission denied"),
    "deleting a charge": (Stage.SIGNED, f"DELETE FROM assignment {HERE}", "permission denied"),
    "deleting from the ledger": (Stage.SIGNED, f"DELETE FROM ledger {HERE}", "permission denied"),
    "emptying the ledger": (Stage.SIGNED, "TRUNCATE ledger", "permission denied"),
    "rewriting the ledger": (
        Stage.SIGNED, f"UPDATE ledger SET actor = 'li' {HERE}", "permission denied",
    ),
    "rewriting evidence": (
        Stage.SIGNED, f"UPDATE evidence SET sha256 = '' {HERE}", "permission denied",
    ),
    "deleting evidence": (Stage.SIGNED, f"DELETE FROM evidence {HERE}", "permission denied"),
    "a second line for a revision": (Stage.SIGNED, WRITE, "ledger_one_line_per_revision"),
    "a line for a revision to come": (
        Stage.SIGNED, WRITE.replace("revision, 'comment'", "revision + 1, 'comment'"),
        "row-level security",
    ),
    "a line in the name of the service": (
        Stage.SIGNED, WRITE.replace("'li', 'authority'", "'system', 'system'"),
        "row-level security",
    ),
    "signing over a signature": (
        Stage.SIGNED, f"UPDATE assignment SET signed_by = 'wang', signed_at = now() {HERE}",
        "signs once",
    ),
    "handing a charge on": (
        Stage.SIGNED, f"UPDATE assignment SET assigned_to = 'x' {HERE}", "permission denied",
    ),
    "stretching a deadline": (
        Stage.SIGNED, f"UPDATE assignment SET sign_due_at = 'infinity' {HERE}",
        "permission denied",
    ),
    "clearing a signal": (
        Stage.SIGNED, f"UPDATE alarm SET tier_now = 0, cleared_at = now() {ITS_ALARM}",
        "permission denied",
    ),
    "calling it a drill afterwards": (
        Stage.SIGNED, f"UPDATE alarm SET drill = true {ITS_ALARM}", "permission denied",
    ),
    "making it less bad": (
        Stage.SIGNED, f"UPDATE alarm SET tier = 1 {ITS_ALARM}", "permission denied",
    ),
    "writing that the signal cleared": (
        Stage.SIGNED,
        "INSERT INTO alarm_change (alarm_id, version, change, tier, changed_at, actor)"
        f" SELECT alarm_id, 99, 'cleared', 0, now(), 'li' FROM alarm {ITS_ALARM}",
        "row-level security",
    ),
}  # fmt: skip


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_request_cannot_forge_what_people_did(archive: Archive, forgery: str) -> None:
    stage, statements, refusal = FORGERIES[forgery]
    with pytest.raises(psycopg.Error, match=refusal):
        attempt(archive, stage, statements, as_request=True)


BY_THE_SERVICE = {
    "rewriting the ledger": (f"UPDATE ledger SET note = 'x' {HERE}", "append-only"),
    "deleting from the ledger": (f"DELETE FROM ledger {HERE}", "append-only"),
    "emptying the ledger": ("TRUNCATE ledger", "append-only"),
    "deleting a case": (f"DELETE FROM disposal_case {HERE}", "append-only"),
    "deleting evidence": (f"DELETE FROM evidence {HERE}", "append-only"),
    "calling it a drill afterwards": (
        f"UPDATE alarm SET drill = true {ITS_ALARM}",
        "does not change",
    ),
    "making it less bad": (f"UPDATE alarm SET tier = 1 {ITS_ALARM}", "does not fall"),
    "moving it to another period": (
        f"UPDATE alarm SET raised_at = raised_at - interval '1 year' {ITS_ALARM}",
        "does not change",
    ),
    "handing a case to another alarm": (
        f"UPDATE disposal_case SET revision = revision + 1, alarm_id = (SELECT alarm_id FROM"
        f" disposal_case WHERE case_id <> %(case)s LIMIT 1) {HERE}",
        "belongs to its alarm for good",
    ),
    "stretching a deadline": (
        f"UPDATE assignment SET sign_due_at = 'infinity' {HERE}",
        "signs once",
    ),
    "closing when nobody did": (becomes("closed", *CLOSED_BY_LI), "closed does not follow signed"),
}


@pytest.mark.parametrize("forgery", BY_THE_SERVICE)
def test_the_service_cannot_either(archive: Archive, forgery: str) -> None:
    statement, refusal = BY_THE_SERVICE[forgery]
    with pytest.raises(psycopg.Error, match=refusal):
        attempt(archive, Stage.SIGNED, statement, as_request=False)


def test_a_request_may_do_what_a_step_does(archive: Archive) -> None:
    """The same attempt as the forgeries, honest: so they fail for what is wrong with them."""
    closing = becomes("closed", "bypass_permit = '{}'", *CLOSED_BY_LI)
    written = WRITE.replace("'comment'", "'close'")
    attempt(archive, Stage.SUBMITTED, f"{closing}; {written}", as_request=True)


GUARD = """
    SELECT step_refusal(
        jsonb_populate_record(c, jsonb_build_object('stage', %(before)s::text)),
        jsonb_populate_record(c, jsonb_build_object(
            'stage', %(after)s::text, 'revision', revision + 1,
            'returned', returned + 1, 'reopened', reopened + 1)))
      FROM disposal_case AS c WHERE case_id = %(case)s"""


def test_the_database_knows_the_same_table_of_steps(archive: Archive) -> None:
    """Its guard is asked of every pair of stages, on a case that lacks nothing."""
    allowed = set()
    with psycopg.connect(archive.conninfo) as conn:
        for before, after in product(Stage, Stage):
            asked = {"before": before, "after": after, "case": archive.cases[Stage.CLOSED]}
            (refusal,) = conn.execute(GUARD, asked).fetchone() or (None,)
            if refusal is None and before is not after:
                allowed.add((before, after))
    assert allowed == {
        (before, after) for (before, _), after in TRANSITIONS.items() if before is not after
    }
