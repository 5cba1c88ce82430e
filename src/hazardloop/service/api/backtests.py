"""Backtests: ask for one, follow it, call it off."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path
from psycopg.types.json import Jsonb

from hazardloop.alarms import jobs
from hazardloop.alarms.rule import Rule
from hazardloop.devices.catalog import Catalog
from hazardloop.devices.instants import rfc3339
from hazardloop.devices.marked_yaml import FileRefused
from hazardloop.replay.errors import ReplayError
from hazardloop.service.api import lookup
from hazardloop.service.api.access import Account, Actor, Conn, Here, Now, require
from hazardloop.service.api.backtest_forms import BacktestIn, BacktestOut, BacktestWithResult
from hazardloop.service.api.paging import Listing, Paging, listing
from hazardloop.service.api.problems import Problem, problems
from hazardloop.service.api.rows import fetch, fetch_one
from hazardloop.service.backtest_job import asked_of
from hazardloop.service.backtesting import plan_of
from hazardloop.service.backtests import TASK
from hazardloop.service.database import Connection
from hazardloop.service.site import rules_in_force

router = APIRouter(tags=["rules"])

LONGEST: Final = timedelta(days=366)
MOST_WAITING: Final = 5
"""Backtests that one person may have on their way."""

BacktestId = Annotated[int, Path(ge=1, le=2**31 - 1)]

SELECT: Final = """
    SELECT b.backtest_id AS id, e.code AS enterprise, b.asked_by, b.asked_at, b.begun_at,
           b.ended_at, b.failure, b.question ->> 'from' AS "from", b.question ->> 'to' AS "to",
           jsonb_path_query_array(b.question, '$.rules[*].id') AS rules,
           jsonb_build_object('share', b.share, 'readings', b.readings) AS progress,
           CASE WHEN b.cancelled_at IS NOT NULL AND b.result IS NULL AND b.failure IS NULL
                THEN 'cancelled'
                WHEN b.failure IS NOT NULL THEN 'failed' WHEN b.result IS NOT NULL THEN 'done'
                WHEN b.begun_at IS NULL THEN 'planned' ELSE 'running' END AS state{more}
      FROM backtest b LEFT JOIN enterprise e USING (enterprise_id)"""
LIST: Final = f"""{SELECT.format(more="")}
     WHERE (%(before)s::int IS NULL OR b.backtest_id < %(before)s)
     ORDER BY b.backtest_id DESC LIMIT %(limit)s"""
ONE: Final = f"{SELECT.format(more=', b.question, b.result')} WHERE b.backtest_id = %(id)s"


@router.get("/backtests", dependencies=[require("rules.backtest")])
async def list_backtests(conn: Conn, page: Paging) -> Listing[BacktestOut]:
    """Backtests of the last 90 days, the newest first."""
    if page.after and [type(part) for part in page.after] != [int]:
        raise Problem("bad_request", "this cursor is none that this list gave")
    before = page.after[0] if page.after else None
    rows = await fetch(conn, LIST, {"before": before, "limit": page.limit + 1})
    shown = [BacktestOut.model_validate(row) for row in rows]
    return listing(shown, page, key=lambda one: (one.id,))


WAITING: Final = """
    SELECT count(*) AS waiting FROM backtest WHERE ended_at IS NULL AND asked_by = %(by)s"""
ASK: Final = """
    INSERT INTO backtest (enterprise_id, asked_by, asked_at, question)
    VALUES (%(enterprise)s, %(by)s, %(now)s, %(question)s) RETURNING backtest_id"""


@router.post(
    "/rules/backtest",
    status_code=202,
    dependencies=[require("rules.backtest")],
    responses=problems("not_found", "too_many_requests", "invalid"),
)
async def ask_for_backtest(
    body: BacktestIn, conn: Conn, account: Actor, here: Here, now: Now
) -> BacktestOut:
    """Replay stored readings through candidate rules; a clerk does it, `/backtests/{id}` tells.

    Nothing that is in force changes.
    """
    enterprise = await _whose(conn, account, body.enterprise)
    question = _question(body)
    catalog = Catalog(here.kinds)
    rules = await rules_in_force(conn, catalog)
    await asyncio.to_thread(_refuse_wrong, question, rules, catalog)
    given = {"enterprise": enterprise, "by": account.username, "now": now}
    waiting = await fetch_one(conn, WAITING, given)
    if waiting is None or waiting["waiting"] >= MOST_WAITING:
        raise Problem(
            "too_many_requests", f"{MOST_WAITING} of your backtests are still on their way"
        )
    row = await fetch_one(conn, ASK, given | {"question": Jsonb(question)})
    assert row is not None  # INSERT ... RETURNING
    await jobs.defer(conn, TASK, {"backtest_id": row["backtest_id"]})
    return BacktestOut.model_validate(await _one(conn, row["backtest_id"]))


def _question(body: BacktestIn) -> dict[str, Any]:
    if not timedelta() < body.end - body.start <= LONGEST:
        raise Problem("invalid", f"from, to: a period of up to {LONGEST.days} days")
    return {
        "rules": body.rules,
        "from": rfc3339(body.start),
        "to": rfc3339(body.end),
        "instead_of": body.instead_of,
        "sweep": body.sweep,
        "seats": body.seats,
    }


def _refuse_wrong(question: dict[str, Any], rules: Sequence[Rule], catalog: Catalog) -> None:
    """Problem invalid: with everything that is wrong with the rules, or with the question."""
    try:
        plan_of(asked_of(question, None), rules, catalog)
    except FileRefused as refused:
        errors: list[dict[str, Any]] = [{"message": one.message} for one in refused.problems]
        raise Problem("invalid", "rules: they cannot be used", errors=errors) from refused
    except ReplayError as wrong:
        raise Problem("invalid", str(wrong)) from wrong


async def _whose(conn: Connection, account: Account, asked: str | None) -> int | None:
    """Of whom; an enterprise's user asks for its own. Problem not_found: none that it may see."""
    if asked is not None:
        return await lookup.enterprise_id(conn, asked)
    return account.enterprise_id


async def _one(conn: Connection, backtest_id: int) -> dict[str, Any]:
    row = await fetch_one(conn, ONE, {"id": backtest_id})
    if row is None:
        raise Problem("not_found", f"no backtest {backtest_id} is known here")
    return row


@router.get(
    "/backtests/{backtest_id}",
    dependencies=[require("rules.backtest")],
    responses=problems("not_found"),
)
async def get_backtest(backtest_id: BacktestId, conn: Conn) -> BacktestWithResult:
    """A backtest, how far it is, and what came of it."""
    return BacktestWithResult.model_validate(await _one(conn, backtest_id))


CANCEL: Final = """
    UPDATE backtest SET cancelled_at = %(now)s, cancelled_by = %(by)s,
           ended_at = CASE WHEN begun_at IS NULL THEN %(now)s END
     WHERE backtest_id = %(id)s AND ended_at IS NULL AND cancelled_at IS NULL"""


@router.post(
    "/backtests/{backtest_id}/cancel",
    dependencies=[require("rules.backtest")],
    responses=problems("not_found"),
)
async def cancel_backtest(
    backtest_id: BacktestId, conn: Conn, account: Actor, now: Now
) -> BacktestOut:
    """Call it off; one that has ended stays as it is."""
    await conn.execute(CANCEL, {"id": backtest_id, "by": account.username, "now": now})
    return BacktestOut.model_validate(await _one(conn, backtest_id))
