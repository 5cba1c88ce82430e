"""Clerks and database killed at random: no level is lost, none told twice."""

from pathlib import Path

from benchmarks.escalation import campaign


async def test_killing_clerks_and_database_loses_and_doubles_no_escalation(tmp_path: Path) -> None:
    outcome = await campaign(tmp_path, kills=5, seed=20)
    assert not any(outcome.faults.values()), outcome
    assert outcome.database_kills == 1
    assert outcome.fired
    assert outcome.latest_s > 0
