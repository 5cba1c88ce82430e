"""Clerks, api and database killed at random: no level is lost, none told twice, no step either."""

from pathlib import Path

from benchmarks.escalation import IN_TURN, campaign


async def test_killing_any_process_loses_and_doubles_no_escalation_and_no_step(
    tmp_path: Path,
) -> None:
    outcome = await campaign(tmp_path, kills=len(IN_TURN), seed=20)
    assert not any(outcome.faults.values()), outcome
    assert outcome.kills == {"clerk": 2, "api": 2, "database": 1}
    assert outcome.fired
    assert outcome.confirmed
    assert outcome.latest_s > 0
