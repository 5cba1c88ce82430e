"""No illegal way to a closed case, whatever people of all roles try at the API."""

from pathlib import Path

from psycopg import AsyncConnection

from tests.case_fuzzer import fuzz
from tests.case_oracle import wrongs
from tests.cases import found_district, open_case


def test_no_illegal_way_leads_to_closed(database: str, home: Path) -> None:
    """A few runs; `python -m benchmarks.fuzz_cases` makes many."""
    done = fuzz(database, home, examples=6, steps=25, seed=None)
    assert set(done) >= {"sign taken", "sign refused", "verify taken", "merge refused"}


async def test_the_oracle_sees_what_went_around_the_guards(database: str) -> None:
    async with await AsyncConnection.connect(database, autocommit=True) as owner:
        await found_district(owner)
        case_id = await open_case(owner)
        assert await wrongs(owner) == {}
        for table in ("disposal_case", "ledger"):
            await owner.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        await owner.execute(
            "UPDATE disposal_case SET stage = 'closed', revision = 3, verdict = 'real',"
            " cause = 'x', measures = 'x', closed_by = 'li', closed_at = now()"
        )
        assert await wrongs(owner) == {"the case is not where its ledger ends": [str(case_id)]}
        await owner.execute(
            """INSERT INTO ledger (case_id, alarm_id, revision, action, actor, actor_role, taken_at,
                                   body)
               SELECT case_id, alarm_id, 3, 'close', 'li', 'authority', now(), '{"stage": "closed"}'
                 FROM disposal_case"""
        )
        assert set(await wrongs(owner)) == {
            "a stage was reached by no way there is",
            "somebody acted who is not who they say",
            "closed without both receipts",
            "closed without verdict, handling or report",
            "closed although the signal did not rest",
        }
