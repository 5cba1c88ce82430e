"""The ledger of every act: who may add to it, who may read which lines."""

from datetime import UTC, datetime

import psycopg
import pytest
from psycopg import AsyncConnection, errors

from hazardloop.alarms import ledger_store
from hazardloop.alarms.ledger_store import Act
from tests.cases import found_district

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
